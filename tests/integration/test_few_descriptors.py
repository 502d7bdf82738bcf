"""
A real service that may open few files (H8).
"""

import socket
import time
from pathlib import Path

import pytest

from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import running

TICKS_PER_S = 100


def cpu_s(pid: int) -> float:
    """How much processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("files", [64, 256])
def test_many_tasks_with_few_files(files: int, nginx: Nginx, streams: dict[str, Stream], tmp_path: Path) -> None:
    """Sixteen tasks with many connections each end well; what is done leaves nothing open."""
    with running(tmp_path, "--max-active", "16", before=["prlimit", f"--nofile={files}:{files}"]) as service:
        assert (files < 256) == ("files may be open" in service.log)
        at_rest = descriptors(service.pid)
        url = nginx.base + streams["plain"].path
        tasks, most = [], 0
        for number in range(16):
            tasks.append(service.add(f"{url}?{number}", f"film{number}", download_threads=32))
            most = max(most, descriptors(service.pid))
        while [task for task in tasks if service.task(task)["status"] != "已完成"]:
            most = max(most, descriptors(service.pid))
            stuck = [task for task in map(service.task, tasks) if task["status"] == "失败"]
            assert [] == stuck
            time.sleep(0.05)
        assert at_rest < most <= files
        assert "Traceback" not in service.log


def test_clients_that_take_everything(nginx: Nginx, streams: dict[str, Stream], tmp_path: Path) -> None:
    """More clients than there are descriptors: nothing spins, nothing fails, and without them all goes on."""
    url = nginx.base + streams["plain"].path
    with running(tmp_path, before=["prlimit", "--nofile=64:64"]) as service:
        host, port = service.base.removeprefix("http://").split(":")
        crowd = []
        for _ in range(100):
            client = socket.socket()
            client.settimeout(5)
            client.connect((host, int(port)))
            crowd.append(client)
        time.sleep(1)
        before = cpu_s(service.pid)
        time.sleep(2)
        assert cpu_s(service.pid) - before < 1.0
        for client in crowd:
            client.close()
        service.finish(url, "film")
