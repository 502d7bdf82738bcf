"""Limits of failures, and sessions: time is an argument."""

import pytest

from m3u8svc.access.failures import FROM_ELSEWHERE, HERE, PER_ADDRESS, Failures, source_of
from m3u8svc.access.roles import Principal, Role
from m3u8svc.access.sessions import LASTS_S, MAX_OF_ONE, MAX_SESSIONS, Sessions
from m3u8svc.access.tokens import TokenRecord, digest_of

ME = Principal(name="me", role=Role.USER)


def failing(failures: Failures, address: str, times: int, at: float = 0.0) -> None:
    for _ in range(times):
        failures.begin(address, at)


def test_ten_a_minute() -> None:
    """The tenth is looked at, the eleventh must wait until the first is a minute old."""
    failures = Failures()
    for number in range(10):
        assert 0 == failures.wait_s("192.0.2.1", float(number))
        failures.begin("192.0.2.1", float(number))
    assert 51 == failures.wait_s("192.0.2.1", 9.0)
    assert 0 == failures.wait_s("192.0.2.2", 9.0)
    assert pytest.approx(0.5) == failures.wait_s("192.0.2.1", 59.5)
    assert 0 == failures.wait_s("192.0.2.1", 60.0)
    failures.begin("192.0.2.1", 60.0)
    assert 1 == failures.wait_s("192.0.2.1", 60.0)


def test_who_was_right_is_not_counted() -> None:
    """A client that sends its password with each request never has to wait."""
    failures = Failures()
    for address in ("192.0.2.1", "127.0.0.1"):
        for number in range(100):
            assert 0 == failures.wait_s(address, 0.0)
            failures.begin(address, number / 100)
            failures.forgive(address, number / 100)
    assert 0 == len(failures)
    failures.forgive("192.0.2.1", 5.0)
    failures.forgive("::1", 5.0)


def test_many_addresses_cannot_lock_out_this_machine() -> None:
    """From a number of failures on all others wait together, and who sits here does not."""
    failures = Failures()
    for number in range(FROM_ELSEWHERE):
        assert 0 == failures.wait_s(f"192.0.2.{number}", 0.0)
        failures.begin(f"192.0.2.{number}", 0.0)
    assert 60 == failures.wait_s("198.51.100.1", 0.0)
    assert [0, 0, 0] == [failures.wait_s(address, 0.0) for address in ("127.0.0.1", "::1", "")]
    failing(failures, "127.0.0.1", PER_ADDRESS)
    assert 60 == failures.wait_s("127.0.0.9", 0.0)


def test_memory_is_bounded() -> None:
    """However many come from however many addresses, if each asks first."""
    failures = Failures()
    most = 0
    for number in range(20_000):
        address, now = f"192.0.{number % 250}.{number // 250}", number / 20
        if failures.wait_s(address, now) == 0:
            failures.begin(address, now)
        most = max(most, len(failures))
    assert FROM_ELSEWHERE == most
    failures.wait_s("192.0.2.1", 1e6)
    assert 0 == len(failures)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("127.1.2.3", HERE),
        ("::1", HERE),
        ("", HERE),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", HERE),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whom_an_address_stands_for(address: str, source: str) -> None:
    """One customer is one source, however it is written."""
    assert source == source_of(address)


# -- Sessions --------------------------------------------------------------------------------------------------------


def test_a_session_ends_by_itself() -> None:
    """After a week, whatever happened meanwhile."""
    sessions = Sessions()
    sessions.open("id", ME, 0.0)
    assert [ME, ME, None] == [sessions.find("id", at, ()) for at in (0.0, LASTS_S - 1.0, float(LASTS_S))]
    assert sessions.find("other", 0.0, ()) is None


def test_logging_out() -> None:
    """The session is gone, others are not; ending one that is none is nothing."""
    sessions = Sessions()
    for name in ("a", "b"):
        sessions.open(name, ME, 0.0)
    sessions.close("a")
    sessions.close("a")
    assert [None, ME] == [sessions.find(name, 0.0, ()) for name in ("a", "b")]


def test_a_session_ends_with_its_token() -> None:
    """One made with a token lives as long as the token at most."""
    sessions = Sessions()
    record = TokenRecord(name="t", role=Role.USER, digest=digest_of("x"), created_at="2026-01-01")
    sessions.open("id", ME, 0.0, token=record.digest)
    assert [ME, None] == [sessions.find("id", 0.0, known) for known in ([record], [])]


def test_sessions_are_bounded() -> None:
    """The oldest ends for the newest; what is over makes room first."""
    sessions = Sessions()
    people = [Principal(name=f"user{number}", role=Role.USER) for number in range(MAX_SESSIONS + 1)]
    for number, each in enumerate(people):
        sessions.open(str(number), each, 0.0)
    assert MAX_SESSIONS == len(sessions)
    assert [None, people[1]] == [sessions.find(each, 0.0, ()) for each in ("0", "1")]
    sessions.open("new", ME, float(LASTS_S))
    assert 1 == len(sessions)


def test_nobody_ends_the_sessions_of_others() -> None:
    """Who logs in over and over ends his own oldest one."""
    sessions = Sessions()
    other = Principal(name="other", role=Role.ADMIN)
    sessions.open("theirs", other, 0.0)
    for number in range(MAX_OF_ONE + 1):
        sessions.open(str(number), ME, 0.0)
    assert [other, None, ME] == [sessions.find(each, 0.0, ()) for each in ("theirs", "0", "1")]
    assert 1 + MAX_OF_ONE == len(sessions)
