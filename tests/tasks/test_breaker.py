"""A host that answers nobody is left alone, and tried again by one."""

from m3u8svc.tasks.breaker import OPEN_S, OPENS_AFTER, Breaker


def opened(at: float = 100.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(OPENS_AFTER):
        breaker = breaker.failed(at, started_at=at)
    return breaker


def test_twenty_failures_in_a_row_open_it() -> None:
    """Nineteen do not; then nobody asks for thirty seconds."""
    breaker = Breaker()
    for _ in range(OPENS_AFTER - 1):
        breaker = breaker.failed(100.0, started_at=100.0)
    assert breaker.admits(100.0)
    breaker = breaker.failed(100.0, started_at=100.0)
    assert not breaker.admits(100.0)
    assert not breaker.admits(100.0 + OPEN_S - 0.1)
    assert breaker.admits(100.0 + OPEN_S)


def test_connections_that_break_all_at_once_do_not_open_it() -> None:
    """Sixty-four are one event; it counts as such until something fails that went out later."""
    breaker = Breaker()
    for number in range(64):
        breaker = breaker.failed(100.0 + number / 1000, started_at=99.0)
    assert breaker.admits(100.1)
    assert not breaker.failed(101.0, started_at=100.1).admits(101.0)
    assert breaker.answered().failed(101.0, started_at=100.1).admits(101.0)


def test_an_answer_ends_the_row() -> None:
    """Failures count only as long as nothing comes in between."""
    breaker = Breaker()
    for _ in range(3 * OPENS_AFTER):
        breaker = breaker.failed(1.0, started_at=0.0)
        if breaker.failures == OPENS_AFTER - 1:
            breaker = breaker.answered()
    assert breaker.admits(1.0)


def test_one_probe_at_a_time() -> None:
    """After the pause one goes, and all others wait for how it ends."""
    probing = opened().entered()
    assert not probing.admits(500.0)
    assert probing.answered() == Breaker()
    again = probing.failed(200.0, started_at=131.0)
    assert not again.admits(200.0 + OPEN_S - 0.1)
    assert again.admits(200.0 + OPEN_S)


def test_failures_from_before_the_pause_do_not_lengthen_it() -> None:
    """What was under way when it opened fails later, and is no news; nor does it count as the probe's end."""
    breaker = opened(100.0).failed(125.0, started_at=99.0)
    assert breaker.admits(130.0)
    assert not breaker.entered().failed(131.0, started_at=99.0).admits(500.0)


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    """A task that was paused takes nobody's turn; another's request from before the pause is no probe."""
    probing = opened(100.0).entered()
    assert not probing.abandoned(started_at=99.0).admits(500.0)
    assert probing.abandoned(started_at=131.0).admits(500.0)
    assert Breaker(failures=3) == Breaker(failures=3).abandoned(started_at=1.0)
