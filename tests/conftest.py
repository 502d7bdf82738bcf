"""
For every test: an error that nobody handled fails the test that let it happen.

pytest-twisted does not do that by itself. Twisted reports an unhandled Deferred when it is collected, so the garbage
of each test is collected at its end.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

CI = os.environ.get("CI") == "true"
"""With CI=true a missing real component is an error, not a skip."""


@pytest.fixture(autouse=True)
def no_unhandled_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Fail on a critical log event, unless the test is marked with `logs_failures`.
    """
    seen: list[str] = []

    def watch(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            failure = event.get("log_failure")
            seen.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))

    globalLogPublisher.addObserver(watch)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(watch)
    if seen and request.node.get_closest_marker("logs_failures") is None:
        pytest.fail("unhandled:\n" + "\n".join(seen))
