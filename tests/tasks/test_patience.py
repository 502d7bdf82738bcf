"""How long a held task waits before it tries again."""

import pytest

from m3u8svc.tasks.patience import Patience

EVERY_S = 10.0


def waits(*ran_s: float) -> list[float]:
    """How long it waits each time it is held, having run for so many seconds before."""
    patience, now, found = Patience(every_s=EVERY_S), 0.0, []
    for each in ran_s:
        now += each
        patience = patience.held(now)
        found.append(max(0.0, patience.until - now))
        now = max(now, patience.until)
        assert patience.may_try(now)
        patience = patience.goes_on(now)
    return found


def test_each_try_in_vain_waits_longer() -> None:
    """Not the first time; then ten seconds, doubling, and never more than fifty."""
    assert [0, 10, 20, 40, 50, 50] == waits(0, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(("ran_s", "then_s"), [(59.9, 20), (60, 0)])
def test_a_minute_is_not_in_vain(ran_s: float, then_s: float) -> None:
    """A task that got on for that long begins anew."""
    assert [0, 10, then_s] == waits(0, 1, ran_s)


def test_being_told_twice_changes_nothing() -> None:
    """It is held since it was, and runs since it went on."""
    held = Patience(every_s=EVERY_S).held(5.0).goes_on(6.0).held(7.0)
    assert held == held.held(12.0)
    assert not held.may_try(16.9) and held.may_try(17.0)
    running = held.goes_on(20.0)
    assert running == running.goes_on(90.0)
