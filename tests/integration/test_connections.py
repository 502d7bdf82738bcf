"""
How many connections a real server gets: nginx limits them, or says in which order two tasks had theirs.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import require
from tests.integration.media import Stream, encode, packets, segment
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

SEGMENTS = 24


@pytest.fixture(scope="module")
def film(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """One whose segments take a second each."""
    require("ffmpeg", "ffprobe")
    source = encode(tmp_path_factory.mktemp("film") / "film.mp4", size="640x360", seconds=SEGMENTS)
    segment(source, served / "longer")
    return Stream(path="/longer/index.m3u8", source=source, packets=packets(source))


def test_a_server_that_takes_two_gets_two(start_service: Callable[..., Service], nginx: Nginx, film: Stream) -> None:
    """It answers 503 to whoever comes beyond: that happens a few times at first, and no segment fails for it."""
    task = start_service().finish(f"{nginx.base}/two{film.path}", "two")
    assert film.packets == packets(Path(task["output"]))
    statuses = [line.split()[0] for line in nginx.lines() if " /two/longer/" in line and ".ts" in line]
    assert SEGMENTS == statuses.count("200")
    refused = statuses.count("503")
    assert 10 >= refused > 0
    assert 3 >= statuses[len(statuses) // 2 :].count("503")  # a third one is tried now and then


def test_two_tasks_share_a_server(start_service: Callable[..., Service], nginx: Nginx, film: Stream) -> None:
    """The second one has as many of the connections as the first, which had all of them."""
    service = start_service("--max-connections-per-host", "4")
    urls = {name: f"{nginx.base}/for/{name}{film.path}" for name in ("early", "late")}
    early = service.add(urls["early"], "early")
    while not service.task(early)["progress"] > 5:
        time.sleep(0.05)
    late = service.add(urls["late"], "late")
    for task in (early, late):
        service.wait(task, "已完成")
    ended = [call.path.split("/")[2] for call in nginx.calls("/for/") if call.path.endswith(".ts")]
    assert {"early": SEGMENTS, "late": SEGMENTS} == {name: ended.count(name) for name in urls}
    both = ended[ended.index("late") : len(ended) - ended[::-1].index("early")]
    assert 20 <= len(both)
    assert 0.35 <= both.count("late") / len(both) <= 0.65
