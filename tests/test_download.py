"""
A download whose servers fail: what is asked again, when, how often, and what is said of it. On a clock, without
sockets; where the bytes on the wire matter, against the misbehaving origin.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import error as net
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from m3u8svc.errors import ProxyUnreachable
from m3u8svc.hookspecs import hookimpl
from m3u8svc.tasks.budget import FLOOR
from m3u8svc.tasks.completeness import UNVERIFIED
from m3u8svc.tasks.concurrency import FIRST, PER_HOST
from m3u8svc.tasks.retry import RETRIES
from m3u8svc.tasks.task import Status
from m3u8svc.testing.harness import ORIGIN, Harness, Run, ts_segment
from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist
from tests.test_job import COUNT, Bench, bench, cancelled, encrypted, lines, pictures, segments, test
from tests.until import until

__all__ = ["bench", "segments"]  # fixtures

Script = Callable[[str, int], object]
"""What becomes of a request, given its path and how often that was asked for: an exception it fails with, seconds it
takes, a Deferred whose cancel the test sees, or None for an answer at once."""


@implementer(IAgent)
class Scripted:
    """A plugin that carries requests to the harness's origin, as a script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.harness: Any = None
        self.journal: list[tuple[float, str]] = []
        self.under_way = 0

    @hookimpl
    def provide_agent(self) -> IAgent:
        return self

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: object = None
    ) -> "Deferred[IResponse]":
        path = uri.decode().removeprefix(ORIGIN)
        self.journal.append((self.harness.clock.seconds(), path))
        self.under_way += 1
        answer = self._script(path, self.count(path))
        if isinstance(answer, Exception):
            asked: Deferred[Any] = fail(answer)
        elif isinstance(answer, Deferred):
            asked = answer
        else:
            asked = deferLater(self.harness.clock, float(str(answer or 0.01)))
            asked.addCallback(lambda ignored: self.harness.origin.request(method, uri, headers, bodyProducer))
        return asked.addBoth(self._ended)

    def _ended(self, result: Any) -> Any:
        self.under_way -= 1
        return result

    def count(self, path: str) -> int:
        return sum(each == path for _, each in self.journal)

    def times(self, path: str) -> list[float]:
        return [at for at, each in self.journal if each == path]


REFUSED = net.ConnectionRefusedError()
RESET = ResponseNeverReceived([Failure(net.ConnectionLost())])


@pytest.fixture
def rig(tmp_path: Path) -> Callable[[Script], Scripted]:
    """Makes an origin that does as a script says, and its harness."""

    def make(script: Script) -> Scripted:
        origin = Scripted(script)
        origin.harness = Harness(origin, tmp_path)
        origin.harness.clock.advance(1000.0)
        return origin

    return make


def seg(number: int) -> str:
    return f"/seg{number:05d}.ts"


def downloaded(origin: Scripted, count: int, *, workers: int = 4, **fields: Any) -> Run:
    """A stream of so many segments, downloaded."""
    origin.harness.serve_stream("/list.m3u8", segments=count)
    run: Run = origin.harness.download("/list.m3u8", download_threads=workers, **fields)
    return run


def output_of(count: int) -> bytes:
    """What a stream of so many segments becomes."""
    return b"".join(ts_segment(f"seg{number:05d}.ts") for number in range(1, count + 1))


# -- Asking again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "workers"), [(3, 1), (6, 3), (40, 16)])
def test_S1_an_origin_that_is_down_for_twenty_seconds(
    rig: Callable[[Script], Scripted], count: int, workers: int
) -> None:
    """Nobody listens, then somebody does: the task completes, with few requests, and nothing is fetched twice."""
    origin = rig(lambda path, nth: REFUSED if 1001.5 <= origin.harness.clock.seconds() < 1021.5 else 1.0)
    run = downloaded(origin, count, workers=workers)
    assert (Status.COMPLETED, None) == (run.status, run.error)
    assert output_of(count) == run.output
    refused = sum(1001.5 <= at < 1021.5 for at, _ in origin.journal)
    assert refused + count + 1 == len(origin.journal)
    assert 0 < refused <= FLOOR


def test_S5_a_server_error_is_retried_within_bounds(rig: Callable[[Script], Scripted], tmp_path: Path) -> None:
    """Six requests for the segment that never comes, and one for each other; the code is that of its last answer."""
    origin = rig(lambda path, nth: None)
    origin.harness.serve_stream("/list.m3u8", segments=6)
    origin.harness.serve(seg(3), b"", status=500)
    run = origin.harness.download("/list.m3u8", download_threads=4)
    assert ("http_5xx", Status.FAILED) == (run.error.code, run.status)
    assert [1, 1, RETRIES + 1, 1, 1, 1] == [origin.count(seg(number)) for number in range(1, 7)]


@pytest.mark.parametrize("status", [500, 503])
def test_S5_one_segment_that_fails_slows_down_no_other(rig: Callable[[Script], Scripted], status: int) -> None:
    """A single file that a host does not give at first is no sign of a crowd: the others come as fast as ever."""
    origin = rig(lambda path, nth: 0.5)
    origin.harness.serve_stream("/list.m3u8", segments=160)
    origin.harness.serve(seg(3), b"", status=status)

    def script(path: str, nth: int) -> object:
        if path == seg(3) and nth == 5:
            origin.harness.serve(seg(3), ts_segment("seg00003.ts"))
        return 0.5

    origin._script = script
    run = origin.harness.download("/list.m3u8", download_threads=8)
    assert output_of(160) == run.output and 5 == origin.count(seg(3))
    others = [at for at, path in origin.journal if path not in (seg(3), "/list.m3u8")]
    assert max(others) - min(others) < 12.5  # twenty rounds of half a second, and one worker that waits now and then


@pytest.mark.parametrize("workers", [1, 16])
def test_a_proxy_that_is_away_for_twenty_seconds(rig: Callable[[Script], Scripted], workers: int) -> None:
    """As a host that is: nothing fails, and few ask meanwhile."""
    gone = ProxyUnreachable(proxy="p.test:1", reason="x")
    origin = rig(lambda path, nth: gone if 1001.5 <= origin.harness.clock.seconds() < 1021.5 else 1.0)
    run = downloaded(origin, 40, workers=workers)
    assert (Status.COMPLETED, None) == (run.status, run.error)
    assert output_of(40) == run.output
    assert 0 < sum(1001.5 <= at < 1021.5 for at, _ in origin.journal) <= FLOOR


@pytest.mark.parametrize("workers", [1, 16])
def test_S7_what_is_forbidden_for_good_is_asked_thrice(rig: Callable[[Script], Scripted], workers: int) -> None:
    """It may mean "too often", so twice more; then the task says 403, and not how often it has asked."""
    origin = rig(lambda path, nth: None)
    origin.harness.serve_stream("/list.m3u8", segments=20)
    for number in range(1, 21):
        origin.harness.serve(seg(number), b"", status=403)
    run = origin.harness.download("/list.m3u8", download_threads=workers)
    assert ("http_4xx", "403") == (run.error.code, str(run.error.fields["cause"].fields["status"]))
    assert 3 == max(origin.count(seg(number)) for number in range(1, 21))
    assert workers != 1 or 3 == origin.count(seg(1))


def test_S7_what_is_forbidden_is_named_when_nothing_may_be_asked_again(rig: Callable[[Script], Scripted]) -> None:
    """Others have used up the budget: the task ends all the same by what is wrong with this one."""
    used_up = range(1, 1 + FLOOR // RETRIES)
    origin = rig(lambda path, nth: RESET if path in map(seg, used_up) and nth <= RETRIES else None)
    origin.harness.serve_stream("/list.m3u8", segments=20)
    origin.harness.serve(seg(20), b"", status=403)
    run = origin.harness.download("/list.m3u8", download_threads=1)
    assert ("http_4xx", 1) == (run.error.code, origin.count(seg(20)))


@pytest.mark.parametrize("status", [400, 401, 404, 410, 451])
def test_S7_what_asking_again_does_not_change_is_asked_once(rig: Callable[[Script], Scripted], status: int) -> None:
    """The segment is gone or forbidden: one request says so."""
    origin = rig(lambda path, nth: None)
    origin.harness.serve_stream("/list.m3u8", segments=3)
    origin.harness.serve(seg(2), b"", status=status)
    run = origin.harness.download("/list.m3u8", download_threads=1)
    assert ("http_4xx", 1) == (run.error.code, origin.count(seg(2)))


def test_a_task_does_not_ask_without_end(rig: Callable[[Script], Scripted]) -> None:
    """Every other segment fails four times: the task ends when a fifth of its segments were asked for anew."""
    origin = rig(lambda path, nth: RESET if path.startswith("/seg") and nth < 5 and int(path[4:9]) % 2 else 0.01)
    run = downloaded(origin, 200, workers=8)
    assert "retries_exhausted" == run.error.code
    assert 40 == run.error.fields["cause"].fields["limit"]
    assert sum(max(0, origin.count(seg(number)) - 1) for number in range(1, 201)) <= 40


def test_a_task_that_allows_gaps_goes_on_without_what_the_budget_does_not_cover(
    rig: Callable[[Script], Scripted],
) -> None:
    """Its segments are lost one by one then, each with its reason."""
    origin = rig(lambda path, nth: None)
    origin.harness.serve_stream("/list.m3u8", segments=20)
    for number in range(1, 11):
        origin.harness.serve(seg(number), b"", status=500)
    run = origin.harness.download("/list.m3u8", download_threads=2, allow_gaps=True)
    assert Status.COMPLETED is run.status
    extra = len(origin.journal) - 21
    assert FLOOR == extra
    assert "重试次数已用完" in "".join(run.warnings)


def test_how_segments_ended_is_counted(rig: Callable[[Script], Scripted]) -> None:
    """Each once: at the first attempt, at a later one, given up; and each attempt that failed, by its code."""
    origin = rig(lambda path, nth: RESET if path == seg(1) and nth == 1 else None)
    origin.harness.serve_stream("/list.m3u8", segments=5)
    origin.harness.serve(seg(2), b"", status=404)
    run = origin.harness.download("/list.m3u8", download_threads=1, allow_gaps=True)
    assert Status.COMPLETED is run.status
    counts = origin.harness.counts
    assert {"done": 3, "retried": 1, "skipped": 0, "lost": 1} == counts.segments
    assert {"http_4xx": 1, "reset": 1} == counts.failures


# -- The whole host --------------------------------------------------------------------------------------------------


def test_S6_a_host_that_says_later_is_left_alone_by_all(rig: Callable[[Script], Scripted]) -> None:
    """One segment is answered with Retry-After: no worker asks that host meanwhile, and then the rest comes."""
    origin = rig(lambda path, nth: 0.5)
    origin.harness.serve_stream("/list.m3u8", segments=20)
    origin.harness.serve(seg(5), b"", status=429, headers={"Retry-After": "120"})

    told: list[float] = []

    def script(path: str, nth: int) -> object:
        if path == seg(5) and nth == 2:
            origin.harness.serve(seg(5), ts_segment("seg00005.ts"))
        return 0.5

    origin._script = script
    run = origin.harness.download("/list.m3u8", download_threads=4)
    assert output_of(20) == run.output
    told.append(origin.times(seg(5))[0] + 0.5)
    assert [] == [at for at, _ in origin.journal if told[0] < at < told[0] + 119.9]
    assert 22 == len(origin.journal)


@pytest.mark.parametrize("later", ["-5", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_S6_a_wish_that_makes_no_sense_is_ignored(rig: Callable[[Script], Scripted], later: str) -> None:
    """The segment is asked for again as if nothing had been said."""
    origin = rig(lambda path, nth: 0.01)
    origin.harness.serve_stream("/list.m3u8", segments=2)
    origin.harness.serve(seg(1), b"", status=503, headers={"Retry-After": later})
    origin.harness.download("/list.m3u8", download_threads=1)
    assert RETRIES + 1 == origin.count(seg(1))
    assert origin.times(seg(1))[-1] - 1000 < 30


def test_a_host_that_is_down_is_hardly_asked(rig: Callable[[Script], Scripted]) -> None:
    """Its breaker opens: from then on one request in thirty seconds, until it answers; the task lives through it."""
    origin = rig(lambda path, nth: None)
    clock = origin.harness.clock
    origin._script = lambda path, nth: RESET if path.startswith("/seg") and clock.seconds() < 1200 else 0.01
    run = downloaded(origin, 40, workers=16)
    assert (Status.COMPLETED, output_of(40)) == (run.status, run.output)
    failed = [at for at, path in origin.journal if path.startswith("/seg") and at < 1200]
    assert 20 <= len(failed) <= 20 + 16 + 7  # in flight when it opened, then the probes
    late = [at for at in failed if at > 1020]
    assert len(late) >= 5 and all(after - before >= 29.9 for before, after in zip(late, late[1:], strict=False))


def test_a_task_waits_for_a_host_that_failed_another_and_does_not_fail_by_waiting(
    rig: Callable[[Script], Scripted],
) -> None:
    """The breaker is shared: the second task sends nothing while it is open, and then completes."""
    origin = rig(lambda path, nth: RESET if path.startswith("/seg") else 0.01)
    first = downloaded(origin, 4, workers=4, filename="first")
    assert ("reset", Status.FAILED) == (first.error.code, first.status)
    ended_at, asked = origin.journal[-1][0], len(origin.journal)
    origin._script = lambda path, nth: 0.01
    second = origin.harness.download("/list.m3u8", download_threads=4, filename="second")
    assert (Status.COMPLETED, output_of(4)) == (second.status, second.output)
    assert 29.9 <= origin.journal[asked][0] - ended_at <= 31
    assert () == second.task.incidents


def test_a_host_that_is_worth_many_requests_gets_them(rig: Callable[[Script], Scripted]) -> None:
    """A few at first; where the task sets a number of its own, no more than that."""
    for workers, most in ((0, PER_HOST), (10, 10)):
        origin = rig(lambda path, nth: None)
        at_once: list[int] = []

        def script(path: str, nth: int, origin: Scripted = origin, at_once: list[int] = at_once) -> float:
            at_once.append(origin.under_way)
            return 0.3

        origin._script = script
        run = downloaded(origin, 800, workers=workers)
        assert Status.COMPLETED == run.status
        late = at_once[len(at_once) // 2 :]
        assert (FIRST, most, True) == (max(at_once[:5]), max(at_once), sum(late) > 0.7 * most * len(late))


def test_a_segment_that_is_asked_for_again_goes_before_later_ones(rig: Callable[[Script], Scripted]) -> None:
    """No merge waits for what stands behind sixty others."""
    origin = rig(lambda path, nth: RESET if path == seg(1) and nth == 1 else 0.01 if path.endswith("m3u8") else 2.0)
    run = downloaded(origin, 60, workers=0)
    assert (Status.COMPLETED, output_of(60)) == (run.status, run.output)
    asked = [path for _, path in origin.journal if path.startswith("/seg")]
    assert asked.index(seg(1), 1) <= 2 * FIRST + 1


def test_S18_a_host_that_takes_two_requests_at_once(rig: Callable[[Script], Scripted]) -> None:
    """It turns away whatever is beyond: the task comes down to that and completes within its budget."""
    origin = rig(lambda path, nth: None)
    origin._script = lambda path, nth: RESET if origin.under_way > 2 else 0.5
    run = downloaded(origin, 100, workers=16)
    assert Status.COMPLETED is run.status
    assert output_of(100) == run.output
    assert len(origin.journal) - 101 <= FLOOR


def test_S19_a_slow_mirror_starves_nobody(rig: Callable[[Script], Scripted]) -> None:
    """While a quarter of a minute passes for each of its segments, those of the other host have long come."""
    slow = [f"http://slow.test/{number}.ts" for number in range(16)]
    fast = [f"fast{number}.ts" for number in range(40)]
    origin = rig(lambda path, nth: 15.0 if "slow" in path else 0.1)
    origin.harness.serve_stream("/list.m3u8", segments=slow + fast)
    run = origin.harness.download("/list.m3u8", download_threads=8)
    assert Status.COMPLETED is run.status
    assert max(at for at, path in origin.journal if "fast" in path) < 1010
    assert max(at for at, path in origin.journal if "slow" in path) > 1014


# -- The end ---------------------------------------------------------------------------------------------------------


def test_a_slow_last_segment_is_asked_for_twice(rig: Callable[[Script], Scripted]) -> None:
    """The second request brings it; the first one is cancelled, and nothing of it stays."""
    cancelled: list[object] = []
    hanging: Deferred[object] = Deferred(cancelled.append)
    origin = rig(lambda path, nth: hanging if (path, nth) == (seg(12), 1) else 0.5)
    run = downloaded(origin, 12, workers=4)
    assert output_of(12) == run.output
    assert 2 == origin.count(seg(12)) and 1 == len(cancelled)
    first, second = origin.times(seg(12))
    assert 3.0 <= second - first <= 4.5
    assert {1} == {origin.count(seg(number)) for number in range(1, 12)}


def test_a_slow_segment_in_the_middle_is_not(rig: Callable[[Script], Scripted]) -> None:
    """While others can be begun it holds up nobody."""
    origin = rig(lambda path, nth: 10.0 if path == seg(2) else 0.5)
    run = downloaded(origin, 60, workers=2)
    assert output_of(60) == run.output
    assert 61 == len(origin.journal)


def test_the_first_request_may_still_win(rig: Callable[[Script], Scripted]) -> None:
    """Then the second is cancelled."""
    cancelled: list[object] = []
    hanging: Deferred[object] = Deferred(cancelled.append)
    script = {(seg(12), 1): 6.0, (seg(12), 2): hanging}
    origin = rig(lambda path, nth: script.get((path, nth), 0.5))
    run = downloaded(origin, 12, workers=4)
    assert output_of(12) == run.output
    assert 1 == len(cancelled)
    assert () == run.task.incidents


def test_a_second_request_that_fails_is_no_failure(rig: Callable[[Script], Scripted]) -> None:
    """It was only to help."""
    script = {(seg(12), 1): 8.0, (seg(12), 2): REFUSED}
    origin = rig(lambda path, nth: script.get((path, nth), 0.5))
    run = downloaded(origin, 12, workers=4)
    assert output_of(12) == run.output and 2 == origin.count(seg(12))


def test_what_the_end_waits_for_is_said(rig: Callable[[Script], Scripted]) -> None:
    """A last segment that takes long is an incident: which, from where."""
    origin = rig(lambda path, nth: 25.0 if path == seg(3) else 0.1)
    run = downloaded(origin, 3, workers=3)
    assert Status.COMPLETED is run.status
    [incident] = run.task.incidents
    assert ("segment_slow", "00003.ts", 1) == (incident.code, incident.segment, incident.attempt)
    assert "origin.test" in incident.text and f"{ORIGIN}{seg(3)}" == incident.url


@test
async def test_the_slow_request_is_closed_on_the_wire(bench: Bench) -> None:
    """A last segment that hangs at its server is whole a few seconds later, over another connection."""
    outcome = await bench.run(bench.put_list(lines(s5="hang=body&times=1")))
    assert 150 == pictures(Path(outcome.output))
    assert [1, 1, 1, 1, 1, 2] == bench.counts()
    hanging, second = bench.origin.visits("/5.ts")
    assert (True, False) == (hanging.aborted, hanging.finished)
    assert second.finished and second.connection != hanging.connection
    assert [] == list(bench.save.glob("**/*.part"))


# -- What is told ----------------------------------------------------------------------------------------------------


def test_every_failed_attempt_is_an_incident(rig: Callable[[Script], Scripted]) -> None:
    """With its code, its segment and how often; a playlist and a key have them, too."""
    origin = rig(
        lambda path, nth: REFUSED if nth <= 2 and path in (seg(2), "/list.m3u8") else 0.01,
    )
    run = downloaded(origin, 3, workers=1)
    assert Status.COMPLETED is run.status
    assert [("refused", "", 2, 2), ("refused", "00002.ts", 2, 2)] == [
        (each.code, each.segment, each.attempt, each.count) for each in run.task.incidents
    ]


# -- Keys ------------------------------------------------------------------------------------------------------------

KEY, IV = b"k" * 16, 1


def locked(origin: Scripted, count: int) -> None:
    """A stream of so many segments under one key, whose bytes the test serves."""
    keyed = [SegmentLine(uri=f"seg{number:05d}.ts", duration_s=6.0) for number in range(1, count + 1)]
    keyed[0] = attrs.evolve(keyed[0], keys=(KeyLine(uri="the.key", iv=hex(IV)),))
    origin.harness.serve("/list.m3u8", media_playlist(keyed))
    for number in range(1, count + 1):
        origin.harness.serve(seg(number), encrypted(ts_segment(f"seg{number:05d}.ts"), KEY, IV))


def test_S15_a_key_that_has_changed_is_fetched_once_more(rig: Callable[[Script], Scripted]) -> None:
    """What it opens is nonsense: the server has another one by now, and everything comes out right."""

    def script(path: str, nth: int) -> object:
        if path == "/the.key":
            origin.harness.serve("/the.key", b"old" * 5 + b"x" if nth == 1 else KEY)
        return 0.01

    origin = rig(script)
    locked(origin, 6)
    run = origin.harness.download("/list.m3u8", download_threads=3)
    assert output_of(6) == run.output
    assert 2 == origin.count("/the.key")
    assert all(origin.count(seg(number)) <= 2 for number in range(1, 7))


def test_S15_one_wrong_key_is_doubted_once_by_all_who_had_it(rig: Callable[[Script], Scripted]) -> None:
    """Sixteen segments had it: they take one request for the key from the budget, and enough is left for others."""

    def script(path: str, nth: int) -> object:
        if path == "/the.key":
            origin.harness.serve("/the.key", b"old" * 5 + b"x" if nth == 1 else KEY)
        return RESET if path == seg(40) and nth == 1 else 0.01

    origin = rig(script)
    locked(origin, 40)
    run = origin.harness.download("/list.m3u8", download_threads=16)
    assert output_of(40) == run.output
    assert (2, 2) == (origin.count("/the.key"), origin.count(seg(40)))


def test_S15_a_key_that_stays_wrong_fails_the_task(rig: Callable[[Script], Scripted]) -> None:
    """After it was fetched once more, and no sooner or later."""
    origin = rig(lambda path, nth: 0.01)
    locked(origin, 6)
    origin.harness.serve("/the.key", b"x" * 16)
    run = origin.harness.download("/list.m3u8", download_threads=1)
    assert "decrypt_failed" == run.error.code
    assert (2, 2) == (origin.count("/the.key"), origin.count(seg(1)))


def test_S15_a_wrong_key_shows_at_the_start_of_large_segments(rig: Callable[[Script], Scripted]) -> None:
    """They are no media long before their padding is wrong; a few requests, and the advice is about the key."""
    origin = rig(lambda path, nth: 0.01)
    locked(origin, 40)
    for number in range(1, 41):
        origin.harness.serve(seg(number), encrypted(ts_segment(packets=1000), KEY, IV))
    origin.harness.serve("/the.key", b"x" * 16)
    run = origin.harness.download("/list.m3u8", download_threads=16)
    assert "decrypt_failed" == run.error.code
    assert 2 <= origin.count("/the.key") <= 3
    assert 32 >= sum(origin.count(seg(number)) for number in range(1, 41))


@pytest.mark.parametrize(
    ("body", "status", "code", "requests"),
    [
        (b"k" * 15, 200, "key_invalid", 3),
        (b"", 200, "key_invalid", 3),
        (b"<html>", 200, "key_invalid", 3),
        (b"", 404, "http_4xx", 1),
        (b"", 500, "http_5xx", RETRIES + 1),
    ],
)
def test_S15_a_key_that_cannot_be_had(
    rig: Callable[[Script], Scripted], body: bytes, status: int, code: str, requests: int
) -> None:
    """It is asked for as often as its failure is worth, by one of the segments that wait for it; none of them is."""
    origin = rig(lambda path, nth: 0.01)
    locked(origin, 6)
    origin.harness.serve("/the.key", body, status=status)
    run = origin.harness.download("/list.m3u8", download_threads=6)
    assert (code, requests) == (run.error.code, origin.count("/the.key"))
    assert 0 == sum(origin.count(seg(number)) for number in range(1, 7))


def test_a_key_that_comes_late_costs_no_segment_an_attempt(rig: Callable[[Script], Scripted]) -> None:
    """Its server fails twice; each segment is asked for once."""
    origin = rig(lambda path, nth: REFUSED if path == "/the.key" and nth <= 2 else 0.01)
    locked(origin, 6)
    origin.harness.serve("/the.key", KEY)
    run = origin.harness.download("/list.m3u8", download_threads=3)
    assert output_of(6) == run.output
    assert [3, *[1] * 6] == [origin.count(path) for path in ("/the.key", *map(seg, range(1, 7)))]


# -- Bodies whose end nobody announced (R-INT-1) ---------------------------------------------------------------------

UNKNOWN = "cl=none"


@test
async def test_a_body_of_unknown_length_is_compared_with_another_copy(bench: Bench) -> None:
    """Two requests for it, the same bytes: nothing is left to say."""
    outcome = await bench.run(bench.put_list(lines(s2=UNKNOWN)))
    assert 150 == pictures(Path(outcome.output))
    assert ([1, 1, 2, 1, 1, 1], ()) == (bench.counts(), outcome.warnings)


@test
async def test_S3_a_body_of_unknown_length_that_was_cut_between_packets(bench: Bench, segments: list[bytes]) -> None:
    """It ends like a whole one: the other copy shows that it is none, and it is fetched again."""
    cut = 188 * (len(segments[2]) // 188 // 2)
    outcome = await bench.run(bench.put_list(lines(s2=f"{UNKNOWN}&cut={cut}&times=1")))
    assert 150 == pictures(Path(outcome.output))
    assert ([1, 1, 3, 1, 1, 1], ()) == (bench.counts(), outcome.warnings)


@test
async def test_a_body_that_was_not_compared_yet_is_not_kept(bench: Bench, segments: list[bytes]) -> None:
    """The run is stopped while the other copy comes: the next run does not find half of a segment."""
    cut = 188 * (len(segments[2]) // 188 // 2)
    path = bench.put_list(lines(s2=f"{UNKNOWN}&delay=0.3"))
    bench.origin.put("/2.ts", segments[2][:cut], content_type="video/mp2t")
    running = Deferred.fromCoroutine(bench.run(path))
    await until(lambda: 2 == bench.origin.count("/2.ts"))
    await cancelled(running)
    bench.origin.put("/2.ts", segments[2], content_type="video/mp2t")
    assert 150 == pictures(Path((await bench.run(path)).output))


@test
async def test_what_cannot_be_compared_is_said_to_be_unverified(bench: Bench) -> None:
    """No budget lets all of a long stream come twice: the others are counted, and the report names them."""
    many = [SegmentLine(uri=f"{n % COUNT}.ts?{UNKNOWN}&n={n}", duration_s=1.0, discontinuity=n > 0) for n in range(60)]
    outcome = await bench.run(bench.put_list(many), download_threads=16)
    assert (f"{60 - 16} 个分片：{UNVERIFIED}",) == outcome.warnings[-1:]
    assert 60 + 16 == sum(bench.counts())
    [report] = bench.records.reports.values()
    summary = json.loads(report.summary)
    assert (44, []) == (len(summary["unverified"]), summary["continuity_errors"])


@test
async def test_padding_shows_that_a_body_is_whole(bench: Bench, segments: list[bytes]) -> None:
    """An encrypted segment of unknown length needs no other copy."""
    bench.origin.put("/locked.ts", encrypted(segments[0], KEY, IV))
    bench.origin.put("/the.key", KEY)
    line = SegmentLine(uri=f"locked.ts?{UNKNOWN}", duration_s=1.0, keys=(KeyLine(uri="the.key", iv=hex(IV)),))
    outcome = await bench.run(bench.put_list([line]))
    assert (25, 1) == (pictures(Path(outcome.output)), bench.origin.count("/locked.ts"))
