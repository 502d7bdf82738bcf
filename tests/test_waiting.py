"""Waiting for several things, for threads, for something shared."""

import gc
import inspect
from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from m3u8svc.waiting import Once, either, few_at_once, in_background, settled, together


def run(coroutine: object) -> tuple[Deferred[object], list[object]]:
    """Start a coroutine; its result or Failure arrives in the list."""
    outcome: list[object] = []
    deferred = Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]
    deferred.addBoth(outcome.append)
    return deferred, outcome


async def waiting(on: Deferred[str]) -> str:
    return await on


def test_together_gives_results_in_order() -> None:
    """The results stand where their coroutines stood, whoever came first."""
    first, second = Deferred[str](), Deferred[str]()
    _, outcome = run(together(waiting(first), waiting(second)))
    second.callback("b")
    assert [] == outcome
    first.callback("a")
    assert [["a", "b"]] == outcome


def test_work_of_one_sort_takes_few_threads() -> None:
    """What is more than its share waits, in order, and goes on when one ends, however that ends."""
    threads: list[tuple[int, Deferred[str]]] = []

    def in_thread(number: int) -> Deferred[str]:
        threads.append((number, Deferred()))
        return threads[-1][1]

    in_few = few_at_once(in_thread, 2)
    outcomes = [run(settled(in_few(number)))[1] for number in range(4)]
    assert [0, 1] == [number for number, _ in threads]
    threads[1][1].callback("b")
    assert [0, 1, 2] == [number for number, _ in threads]
    threads[0][1].errback(Failure(OSError()))
    assert [0, 1, 2, 3] == [number for number, _ in threads]
    assert [OSError, "b"] == [outcomes[0][0].type, outcomes[1][0]]  # type: ignore[attr-defined]


def test_whoever_is_cancelled_keeps_his_thread_until_it_ends() -> None:
    """A thread cannot be stopped: until it ends nobody else comes in its place."""
    threads: list[Deferred[str]] = []

    def in_thread() -> Deferred[str]:
        threads.append(Deferred())
        return threads[-1]

    in_one = few_at_once(in_thread, 1)
    deferred, _ = run(settled(in_one()))
    deferred.cancel()
    run(settled(in_one()))
    assert 1 == len(threads)
    threads[0].callback("a")
    assert 2 == len(threads)


def test_together_of_nothing_is_nothing() -> None:
    """No coroutine: done at once."""
    assert [[]] == run(together())[1]


def test_together_failure_cancels_the_others_and_waits_for_them() -> None:
    """The first failure is raised only when the others have really ended."""
    ended: list[str] = []
    cleanup = Deferred[None]()

    async def careful() -> str:
        try:
            return await Deferred[str]()
        except CancelledError:
            await cleanup
            ended.append("careful")
            raise

    broken = Deferred[str]()
    _, outcome = run(together(careful(), waiting(broken)))
    broken.errback(Failure(ValueError("no")))
    assert [] == outcome
    cleanup.callback(None)
    assert ["careful"] == ended
    assert isinstance(outcome[0], Failure) and outcome[0].check(ValueError)


def test_together_failing_at_once_starts_no_more() -> None:
    """A coroutine that fails before it waits keeps the next from starting."""
    started: list[str] = []

    async def broken() -> None:
        raise ValueError("no")

    async def next_one() -> None:
        started.append("next")

    _, outcome = run(together(broken(), next_one()))
    assert [] == started
    assert isinstance(outcome[0], Failure)


def test_together_cancelled_cancels_all() -> None:
    """Cancelling the whole cancels each."""
    felt: list[int] = []
    parts = [Deferred[str](lambda _, number=number: felt.append(number)) for number in range(3)]
    whole, outcome = run(together(*(waiting(part) for part in parts)))
    whole.cancel()
    assert [0, 1, 2] == felt
    assert isinstance(outcome[0], Failure) and outcome[0].check(CancelledError)


def test_settled_waits_for_the_thread_when_cancelled() -> None:
    """Cancelled, it ends only when the work has."""
    work = Deferred[str]()
    whole, outcome = run(settled(work))
    whole.cancel()
    assert [] == outcome
    work.callback("done")
    assert isinstance(outcome[0], Failure) and outcome[0].check(CancelledError)


def test_settled_passes_results_and_failures() -> None:
    """Not cancelled, it is transparent."""
    work = Deferred[str]()
    _, outcome = run(settled(work))
    work.callback("x")
    assert ["x"] == outcome
    broken = Deferred[str]()
    _, outcome = run(settled(broken))
    broken.errback(Failure(OSError("disk")))
    assert isinstance(outcome[0], Failure) and outcome[0].check(OSError)


def test_in_background_survives_its_failure() -> None:
    """A failing job of nobody's is logged, and nothing else happens."""

    async def broken() -> None:
        raise ValueError("http://u:p@h/x?token=1")

    assert in_background("job", broken()).called


def counted(results: list[Deferred[str]], calls: list[int]) -> Callable[[], Awaitable[str]]:
    async def make() -> str:
        calls.append(1)
        return await results[len(calls) - 1]

    return make


def test_once_runs_once_for_all_who_ask() -> None:
    """Ten callers share one run, and later ones its result."""
    result, calls = Deferred[str](), list[int]()
    once = Once()
    outcomes = [run(once.get("key", counted([result], calls)))[1] for _ in range(10)]
    result.callback("k")
    outcomes.append(run(once.get("key", counted([result], calls)))[1])
    assert [["k"]] * 11 == outcomes
    assert [1] == calls


def test_once_forgets_failures() -> None:
    """Whoever comes after a failure tries again."""
    results, calls = [Deferred[str](), Deferred[str]()], list[int]()
    once, make = Once(), counted(results, calls)
    _, first = run(once.get("key", make))
    results[0].errback(Failure(ValueError("no")))
    assert isinstance(first[0], Failure)
    _, second = run(once.get("key", make))
    results[1].callback("k")
    assert ["k"] == second


def test_once_one_callers_cancel_leaves_the_others() -> None:
    """The run goes on while somebody waits, and stops when nobody does."""
    felt: list[str] = []
    result, calls = Deferred[str](lambda _: felt.append("cancelled")), list[int]()
    once, make = Once(), counted([result], calls)
    one, _ = run(once.get("key", make))
    other, _ = run(once.get("key", make))
    one.cancel()
    assert [] == felt
    other.cancel()
    assert ["cancelled"] == felt


@pytest.mark.parametrize("error", [ValueError("no")])
def test_once_immediate_failure_reaches_the_caller(error: Exception) -> None:
    """A run that fails before it waits leaves nothing behind."""

    async def broken() -> str:
        raise error

    once = Once()
    for _ in range(2):
        _, outcome = run(once.get("key", broken))
        assert isinstance(outcome[0], Failure) and outcome[0].value is error


# -- Either ----------------------------------------------------------------------------------------------------------


class Pair:
    """A first and a second one, each waiting for a Deferred, and when the second is due."""

    def __init__(self) -> None:
        self.first, self.second, self.due = Deferred[str](), Deferred[str](), Deferred[None]()
        self.started = 0
        self.deferred, self.outcome = run(either(waiting(self.first), self.start, self.due))

    async def start(self) -> str:
        self.started += 1
        return await self.second


def test_either_is_the_first_while_the_second_is_not_due() -> None:
    """Nobody starts the second, also not when it becomes due afterwards."""
    pair = Pair()
    pair.first.callback("first")
    assert ["first"] == pair.outcome
    pair.due.callback(None)
    assert 0 == pair.started


def test_either_fails_with_the_first_while_the_second_is_not_due() -> None:
    """There is nothing else to wait for."""
    pair = Pair()
    pair.first.errback(ValueError("first"))
    assert isinstance(pair.outcome[0], Failure) and "first" in str(pair.outcome[0].value)
    pair.due.callback(None)
    assert 0 == pair.started


@pytest.mark.parametrize("winner", ["first", "second"])
def test_either_takes_the_one_that_succeeds_first(winner: str) -> None:
    """The other is cancelled."""
    pair = Pair()
    pair.due.callback(None)
    loser = pair.second if winner == "first" else pair.first
    (pair.first if winner == "first" else pair.second).callback(winner)
    assert [winner] == pair.outcome and 1 == pair.started
    assert loser.called  # by the cancel


@pytest.mark.parametrize("failing", ["first", "second"])
def test_either_waits_for_the_other_when_one_fails(failing: str) -> None:
    """One failure is none."""
    pair = Pair()
    pair.due.callback(None)
    bad, good = (pair.first, pair.second) if failing == "first" else (pair.second, pair.first)
    bad.errback(ValueError(failing))
    assert [] == pair.outcome
    good.callback("good")
    assert ["good"] == pair.outcome


def test_either_raises_the_failure_of_the_first_when_both_fail() -> None:
    """The second was only there to help."""
    pair = Pair()
    pair.due.callback(None)
    pair.second.errback(ValueError("second"))
    pair.first.errback(ValueError("first"))
    assert isinstance(pair.outcome[0], Failure) and "first" in str(pair.outcome[0].value)


def test_either_raises_the_failure_of_the_second_when_the_first_gave_way_to_it() -> None:
    """That the first left it to the other is no reason; why the other failed is."""
    pair = Pair()
    pair.due.callback(None)
    pair.first.errback(CancelledError())
    pair.second.errback(ValueError("second"))
    assert isinstance(pair.outcome[0], Failure) and "second" in str(pair.outcome[0].value)


def test_either_cancelled_cancels_both_and_waits_for_them() -> None:
    """Nothing goes on behind the back of whoever cancelled."""
    pair = Pair()
    pair.due.callback(None)
    pair.deferred.cancel()
    assert pair.first.called and pair.second.called
    assert isinstance(pair.outcome[0], Failure) and pair.outcome[0].check(CancelledError)


def test_once_forgets_what_is_no_good() -> None:
    """The next caller fetches it anew; whoever speaks of an older result is too late."""
    once, made = Once(), iter(["old", "new"])

    async def make() -> str:
        return next(made)

    assert ["old"] == run(once.get("key", make))[1]
    once.forget("key", "another")
    assert ["old"] == run(once.get("key", make))[1]
    once.forget("key", "old")
    assert ["new"] == run(once.get("key", make))[1]
    once.forget("key", "old")
    assert ["new"] == run(once.get("key", make))[1]


def test_once_is_thrown_away_quietly() -> None:
    """A run that is collected with all who wait for it, as at the end of a process, tells nobody of a failure."""
    once, waiting = Once(), Deferred[object]()
    once._waiting["a"] = [waiting]  # in which order the collector takes them cannot be asked for
    running = once._run("a", lambda: Deferred())
    running.send(None)
    running.close()
    assert not waiting.called


@pytest.mark.parametrize("order", [("Once._run", "Once.get"), ("Once.get", "Once._run")])
def test_once_is_thrown_away_in_whatever_order(order: tuple[str, str]) -> None:
    """Who waits and what is waited for are closed one after the other by the collector: nothing is left to cancel."""
    once = Once()
    waiting = Deferred.fromCoroutine(once.get("key", lambda: Deferred()))
    coroutines = {each.__qualname__: each for each in gc.get_objects() if inspect.iscoroutine(each)}
    for name in order:
        coroutines.pop(name).close()
    del waiting, once, coroutines
    gc.collect()  # a failure that nobody heard of is told now
