"""
What the end-to-end tests share: a service of their own, nginx, and streams made by ffmpeg.

A missing program skips the test and names it; with CI=true it fails.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.media import Stream, make_streams
from tests.integration.nginx_server import Nginx, serving
from tests.integration.service_child import Service, running


def require(*programs: str) -> None:
    """
    Skip if one of these is not installed.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """
    Show what the service printed beside a failure.
    """
    report: pytest.TestReport = yield
    service = getattr(item, "funcargs", {}).get("service")
    if report.failed and isinstance(service, Service):
        report.sections.append((f"the service's log, {service.log_file}", service.log[-8000:]))
    return report


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """
    A service for the tests of one file.
    """
    require("curl")
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """
    Starts a service of one test's own, with these options.
    """
    require("curl")
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path / "service", *options))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The directory that `nginx` serves.
    """
    return tmp_path_factory.mktemp("served", numbered=False)


@pytest.fixture(scope="session")
def streams(served: Path) -> dict[str, Stream]:
    """
    The streams by name; their files are below `nginx`'s root.
    """
    require("ffmpeg", "ffprobe")
    return make_streams(served)


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, served: Path) -> Iterator[Nginx]:
    """
    nginx over `served`.
    """
    require("nginx", "openssl")
    with serving(tmp_path_factory.mktemp("nginx"), served) as started:
        yield started
