"""
A real service on a machine that has no time for it (H14).
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.media import SECONDS, Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import running

LONG_S = 180.0


@pytest.fixture
def busy() -> Iterator[None]:
    """Twice as many processes as there are processors, each of which takes all it gets."""
    count = 2 * (os.cpu_count() or 1)
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def test_no_timeout_fires_for_want_of_time(
    busy: None, nginx: Nginx, streams: dict[str, Stream], tmp_path: Path
) -> None:
    """A download is slow and nothing else: each segment is asked for once, and nothing is said to have timed out."""
    with running(tmp_path) as service:
        task_id = service.add(nginx.base + streams["plain"].path + "?starved", "film")
        task = service.wait(task_id, "已完成", within_s=LONG_S)
        assert (SECONDS, []) == (task["segments_done"], task["incidents"])
        assert "timed out" not in service.log
