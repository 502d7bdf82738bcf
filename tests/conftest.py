"""
For every test: an error that nobody handled fails the test that let it happen. A PostgreSQL for those that ask. And
the seeds of a run, before the processes that share it are started. And Hypothesis without a clock.

pytest-twisted does not do that by itself. Twisted reports an unhandled Deferred when it is collected, so the garbage
of each test is collected at its end.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # Any: pytest does not export the type

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from tests import seeds

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # how long an example takes says what else the machine does; the rest is as it was

SEEDS = seeds.drawn()
EARLIER: list[str] = []
"""The files of tests that this process has run, in order."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how to repeat this run."""
    terminalreporter.write_line(f"seeds: {SEEDS}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """
    What is logged as critical meanwhile, also by the garbage that is left at the end.
    """
    seen: list[str] = []

    def watch(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            failure = event.get("log_failure")
            seen.append(failure.getTraceback() if failure is not None else str(event.get("log_format")))

    globalLogPublisher.addObserver(watch)
    yield seen
    gc.collect()
    globalLogPublisher.removeObserver(watch)


@pytest.fixture(scope="module", autouse=True)
def only_new_garbage(request: pytest.FixtureRequest) -> None:
    """
    What was imported, and what earlier files of tests left, is no garbage of a test: looking at all of it after each
    would take most of the run. It is looked at once a file. What died only in the last one may be of that before it.
    """
    with watched() as seen:
        gc.unfreeze()
    gc.freeze()
    suspects = EARLIER[-2:]
    EARLIER.append(request.module.__name__)
    if seen:
        pytest.fail(f"unhandled, by an earlier file of tests ({', '.join(suspects)}):\n" + "\n".join(seen))


@pytest.fixture(autouse=True)
def no_unhandled_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Fail on a critical log event, unless the test is marked with `logs_failures`.
    """
    with watched() as seen:
        yield
    if seen and request.node.get_closest_marker("logs_failures") is None:
        pytest.fail("unhandled:\n" + "\n".join(seen))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL that ends with the file of tests; its URL."""
    from tests.databases import postgres_server  # it imports the reactor, which pytest-twisted chooses

    with postgres_server() as server:
        yield server.url
