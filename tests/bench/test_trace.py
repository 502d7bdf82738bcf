"""
What is read of a trace of Chromium, without a browser.
"""

import json

import pytest

from tests.bench.test_dashboard import read_trace


def trace(**times: int) -> bytes:
    """Of one task with these times, in microseconds, on the main thread of a renderer."""
    main = {"pid": 1, "tid": 2}
    named = {**main, "ph": "M", "ts": 0, "name": "thread_name", "args": {"name": "CrRendererMain"}}
    return json.dumps(
        {"traceEvents": [named, {**main, "ph": "X", "ts": 1_000_000, "name": "RunTask", **times}]}
    ).encode()


def test_the_times_of_a_task() -> None:
    """Begin, how long it lasted, and what of that it had the processor."""
    assert [(1.0, 0.5, 0.25)] == read_trace(trace(dur=500_000, tdur=250_000)).tasks


@pytest.mark.parametrize("times", [{"dur": 500_000}, {"dur": 500_000, "tdur": 0}])
def test_a_trace_without_processor_times(times: dict[str, int]) -> None:
    """It cannot be held to a limit, which nothing would ever exceed."""
    with pytest.raises((KeyError, AssertionError), match="tdur|processor"):
        read_trace(trace(**times))
