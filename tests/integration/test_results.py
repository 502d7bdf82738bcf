"""
Over REST, with a real service and curl: finished files are sent, gone on with and broken off; lists are searched.
"""

import subprocess
from pathlib import Path

import pytest

from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service


@pytest.fixture
def plain(nginx: Nginx, streams: dict[str, Stream]) -> str:
    """The URL of the plain stream, eight segments of a second each."""
    return nginx.base + streams["plain"].path


def curl(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """What a user types."""
    return subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, arguments)], capture_output=True, check=False)


def test_a_finished_file(service: Service, plain: str, tmp_path: Path) -> None:
    """
    Whole, under its name, gone on with where somebody stopped, and from its end; whoever hangs up half-way leaves
    nothing in the log.
    """
    task = service.finish(plain, "电影")
    result = Path(task["output"]).read_bytes()
    url = f"{service.base}/api/tasks/file?id={task['id']}"
    got = tmp_path / "got.mp4"
    assert 0 == curl("-o", got, url).returncode
    assert result == got.read_bytes()
    got.write_bytes(result[:1000])
    assert 0 == curl("-C", "-", "-o", got, url).returncode
    assert result == got.read_bytes()
    assert result[-10:] == curl("-r", "-10", url).stdout
    headers = curl("-I", f"{url}&download=true").stdout.decode().lower()
    assert f"content-length: {len(result)}\r\n" in headers
    assert "attachment" in headers and "%e7%94%b5%e5%bd%b1.mp4" in headers
    assert 0 != curl("-o", "/dev/null", "--limit-rate", "1000", "--max-time", "1", url).returncode
    assert 200 == service.ask("GET", f"/api/tasks?id={task['id']}").status
    assert [] == service.complaints()


def test_a_list_that_is_searched(service: Service, plain: str) -> None:
    """By name, in the other direction; the counts and a closer look say the same."""
    first, second = (service.finish(plain, name)["id"] for name in ("listed Alpha", "Listed beta"))
    for query, ids, total in [
        ("q=ALPHA", [first], 1),
        ("q=listed&sort=name&order=desc", [second, first], 2),
        ("q=listed&sort=created&limit=1", [first], 2),
        ("q=listed&status=%E5%A4%B1%E8%B4%A5", [], 0),
    ]:
        answer = service.ask("GET", f"/api/tasks?{query}")
        assert (ids, str(total)) == ([each["id"] for each in answer.value], answer.headers["x-total-count"])
    counts = service.ask("GET", "/api/counts").value
    assert str(counts["total"]) == service.ask("GET", "/api/tasks?limit=1").headers["x-total-count"]
    assert counts["已完成"] >= 2
    said = [line["text_en"] for line in service.ask("GET", f"/api/tasks/live?id={first}").value["log"]]
    assert ("looking for the playlist", "done") == (said[0], said[-1])
