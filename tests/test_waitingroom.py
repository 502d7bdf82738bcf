"""A few at work, some in the waiting room, the others sent away."""

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from m3u8svc.errors import TooBusy
from m3u8svc.waitingroom import WaitingRoom


class Visit:
    """Somebody who wants a turn: `outcome` is empty until it had one, or was sent away."""

    def __init__(self, room: WaitingRoom) -> None:
        self.begun = False
        self.work: Deferred[None] = Deferred()
        self.outcome: list[object] = []
        self.whole = Deferred.fromCoroutine(self._go(room))
        self.whole.addBoth(self.outcome.append)

    async def _go(self, room: WaitingRoom) -> str:
        async with room.turn():
            self.begun = True
            await self.work
        return "done"


def test_those_who_find_no_seat_are_sent_away() -> None:
    """Two work, one waits, the fourth is told when to come back; every turn goes to who waits."""
    room = WaitingRoom(places=2, seats=1, retry_after_s=7)
    first, second, third, fourth = (Visit(room) for _ in range(4))
    assert [True, True, False, False] == [visit.begun for visit in (first, second, third, fourth)]
    (sent_away,) = fourth.outcome
    assert isinstance(sent_away, Failure) and sent_away.check(TooBusy)
    assert (7, 1) == (sent_away.value.retry_after_s, sent_away.value.fields["limit"])
    second.work.callback(None)
    assert (["done"], True) == (second.outcome, third.begun)
    assert not Visit(room).outcome


def test_a_failure_gives_the_place_back() -> None:
    """So does somebody who stops waiting give back the seat."""
    room = WaitingRoom(places=1, seats=1, retry_after_s=1)
    first, second = Visit(room), Visit(room)
    second.whole.cancel()
    third = Visit(room)
    assert not third.outcome
    first.work.errback(ValueError("no"))
    assert third.begun


def test_no_seats_is_no_waiting() -> None:
    """A place that is free is not waited for."""
    room = WaitingRoom(places=1, seats=0, retry_after_s=1)
    first = Visit(room)
    assert first.begun
    assert Visit(room).outcome
    first.work.callback(None)
    assert Visit(room).begun
