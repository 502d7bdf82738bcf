"""
When links are renewed: how often the playlists are read, who waits for whom, and what is believed.
"""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from m3u8svc.errors import FetchError, HttpStatusError, M3u8svcError, NeedsUrl, Truncated
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import SegmentJob, plan_download
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.refresh import LEAST_S, MOST_S, Links
from m3u8svc.tasks.remembered import write_presentation
from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist

COUNT = 8


def presentation(token: str, *, count: int = COUNT, recut: int = 0) -> Presentation:
    """A film of so many segments with a key, the first `recut` of them longer than they were."""
    lines = [SegmentLine(uri=f"{n}.ts?t={token}", duration_s=7.0 if n < recut else 6.0) for n in range(count)]
    lines[0] = attrs.evolve(lines[0], keys=(KeyLine(uri=f"k?t={token}"),))
    parsed = parse_playlist(media_playlist(lines), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Presentation(streams=(Stream(track=MAIN, playlist=parsed),))


def answered(status: int) -> HttpStatusError:
    return HttpStatusError(url="https://h.test/x", status=status, retry_after_s=None, purpose="segment")


class Server:
    """Gives readings of a playlist when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Presentation]] = []
        self.clock = Clock()
        first = presentation("0")
        self.jobs: list[SegmentJob] = list(plan_download(first.main, {}).jobs)
        self.links = Links(
            first,
            written=write_presentation(first),
            task_id="t",
            url="https://h.test/list.m3u8?t=s3cret",
            reload=self._reload,
            clock=self.clock,
            in_thread=maybeDeferred,
            note=lambda line: None,
        )

    async def _reload(self) -> Presentation:
        self.asked.append(Deferred())
        return await self.asked[-1]

    def fails(self, number: int, error: M3u8svcError | None = None, *, again: bool = False) -> Deferred[bool]:
        """A worker whose segment of this number, with the links of now, failed."""
        job = self.jobs[number]
        return self.failed_with(job, self.links.renewed(job), error, again=again)

    def failed_with(
        self, job: SegmentJob, tried: SegmentJob, error: M3u8svcError | None = None, *, again: bool = False
    ) -> Deferred[bool]:
        waiting = Deferred.fromCoroutine(self.links.renew(job, tried, error or answered(403), again=again))
        self.clock.advance(0)
        return waiting

    def link(self, number: int) -> str:
        return self.links.renewed(self.jobs[number]).segment.uri


def error_of(failed: Deferred[bool]) -> Any:
    """What a worker got instead of an answer."""
    caught: list[Failure] = []
    failed.addErrback(caught.append)
    return caught[0].value


def test_workers_that_fail_at_once_share_one_reading() -> None:
    """All get new links from it, also for segments that nobody has tried yet."""
    server = Server()
    waiting = [server.fails(number) for number in range(5)]
    assert 1 == len(server.asked)
    assert not any(each.called for each in waiting)
    server.asked[0].callback(presentation("1"))
    assert [True] * 5 == [each.result for each in waiting]
    assert [f"https://h.test/{n}.ts?t=1" for n in range(COUNT)] == [server.link(n) for n in range(COUNT)]


def test_who_comes_late_with_an_old_link_just_goes_on() -> None:
    """Its request was under way when the others' were answered: nobody reads anything for it."""
    server = Server()
    old = server.jobs[7]
    server.fails(0)
    server.asked[0].callback(presentation("1"))
    late = server.failed_with(old, old)
    assert True is late.result
    assert 1 == len(server.asked)


def test_the_names_of_keys_do_not_grow_with_the_readings() -> None:
    """A key is known by its first link at those of now and of the reading before; at older ones it is fetched anew."""
    server = Server()
    for number in range(3):
        server.fails(number)
        server.asked[number].callback(presentation(str(number + 1)))
        server.clock.advance(MOST_S)
    first = "https://h.test/k?t=0"
    names = [server.links.key_name(f"https://h.test/k?t={token}") for token in range(4)]
    assert [first, "https://h.test/k?t=1", first, first] == names


@pytest.mark.parametrize("error", [answered(500), answered(451), Truncated(url="u", expected=2, got=1)])
def test_other_errors_are_none_of_its_business(error: M3u8svcError) -> None:
    """Links do not expire with them."""
    server = Server()
    assert False is server.fails(0, error).result
    assert [] == server.asked


def test_a_short_life_is_waited_out() -> None:
    """When links expire sooner than playlists may be read, workers wait; they do not give up, and do not hammer."""
    server = Server()
    server.fails(0)
    server.asked[0].callback(presentation("1"))
    server.clock.advance(1)
    waiting = [server.fails(1), server.fails(2)]
    server.clock.advance(LEAST_S - 1.1)
    assert 1 == len(server.asked)
    server.clock.advance(0.2)
    assert 2 == len(server.asked)
    server.asked[1].callback(presentation("2"))
    assert [True, True] == [each.result for each in waiting]


@pytest.mark.parametrize(("reading_s", "pause_s"), [(0.1, LEAST_S), (1.0, 20.0), (30.0, MOST_S)])
def test_a_list_that_is_long_to_read_is_read_less_often(reading_s: float, pause_s: float) -> None:
    """Twenty times as long as it takes, within bounds."""
    server = Server()
    server.fails(0)
    server.clock.advance(reading_s)
    server.asked[0].callback(presentation("1"))
    server.fails(1)
    server.clock.advance(pause_s - 0.01)
    assert 1 == len(server.asked)
    server.clock.advance(0.02)
    assert 2 == len(server.asked)


def test_a_status_that_a_new_link_is_answered_with_is_believed() -> None:
    """For a while, and for all: the next segment that is answered so is not waited for."""
    server = Server()
    server.fails(0)
    server.asked[0].callback(presentation("1"))
    assert False is server.fails(0, again=True).result
    assert False is server.fails(1).result
    assert 1 == len(server.asked)
    server.clock.advance(LEAST_S)
    server.fails(2)
    assert 2 == len(server.asked), "by then links may have expired after all"


def test_only_that_status_is_believed() -> None:
    """A dead segment's 404 does not hide the 403 of links that expire meanwhile."""
    server = Server()
    server.fails(0, answered(404))
    server.asked[0].callback(presentation("1"))
    assert False is server.fails(0, answered(404), again=True).result
    server.clock.advance(1)
    server.fails(1, answered(403))
    server.clock.advance(LEAST_S)
    assert 2 == len(server.asked)


def test_links_that_did_not_change_are_no_new_links() -> None:
    """The server means what it says."""
    server = Server()
    waiting = server.fails(0)
    server.asked[0].callback(presentation("0"))
    assert False is waiting.result
    assert False is server.fails(1).result
    assert 1 == len(server.asked)


@pytest.mark.parametrize("later", [presentation("1", recut=1), Presentation(streams=()), presentation("1", count=3)])
def test_another_playlist_gives_no_links(later: Presentation) -> None:
    """Cut anew even elsewhere, without the track, without the segment that is asked for: the user is asked."""
    server = Server()
    waiting = server.fails(5)
    server.asked[0].callback(later)
    error = error_of(waiting)
    assert isinstance(error, NeedsUrl)
    assert "playlist_changed" == error.fields["cause"].code
    assert server.jobs[5].segment.uri == server.link(5)


def test_a_shorter_playlist_renews_what_it_has() -> None:
    """The rest goes on; only who is not in it any more asks for another URL, or is gone if the server says 404."""
    server = Server()
    waiting, gone = server.fails(1), server.fails(5, answered(404))
    server.asked[0].callback(presentation("1", count=3))
    assert (True, False) == (waiting.result, gone.result)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_entry_that_has_expired_is_told_to_all(status: int) -> None:
    """Whoever waits, and the secret is not shown."""
    server = Server()
    waiting = [server.fails(number) for number in range(3)]
    server.asked[0].errback(answered(status))
    errors = [error_of(each) for each in waiting]
    assert [NeedsUrl] * 3 == [type(error) for error in errors]
    assert "s3cret" not in errors[0].text("zh") + str(errors[0])


def test_a_404_is_no_reason_to_ask_the_user() -> None:
    """The segment may simply be gone: the task decides about that."""
    server = Server()
    waiting = server.fails(0, answered(404))
    server.asked[0].errback(answered(403))
    assert False is waiting.result


@pytest.mark.parametrize("error", [FetchError(url="u", reason="r"), answered(503)])
def test_a_reading_that_fails_for_now_is_tried_again_later(error: M3u8svcError) -> None:
    """The usual decision is taken meanwhile; nothing is known about the links."""
    server = Server()
    waiting = server.fails(0)
    server.asked[0].errback(error)
    assert False is waiting.result
    server.clock.advance(LEAST_S)
    waiting = server.fails(0)
    server.asked[1].callback(presentation("1"))
    assert True is waiting.result


def test_a_worker_that_is_cancelled_does_not_take_the_reading_along() -> None:
    """The others still wait for it; when all are gone, nobody reads any more."""
    server = Server()
    first, second = server.fails(0), server.fails(1)
    first.cancel()
    assert error_of(first).__class__ is CancelledError
    assert not server.asked[0].called
    second.cancel()
    assert error_of(second).__class__ is CancelledError
    assert server.asked[0].called


def test_a_bug_in_reading_is_not_hidden() -> None:
    """Only errors of ours are decided about."""
    server = Server()
    waiting = server.fails(0)
    server.asked[0].errback(ZeroDivisionError())
    assert isinstance(error_of(waiting), ZeroDivisionError)
