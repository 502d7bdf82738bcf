"""
How many connections a real server gets: nginx limits them, or an origin says in which order two tasks had theirs.
"""

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from m3u8svc.testing.origin import Origin
from tests.holding_origin import HELD, HoldingOrigin
from tests.integration.conftest import require
from tests.integration.media import Stream, encode, packets, segment
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

SEGMENTS = 24
CONNECTIONS = 4


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


def put_list(at: Origin, name: str, served: Path, urls: list[str]) -> str:
    """
    The playlist of the film with these segments; its URL.
    """
    text = (served / "longer" / "index.m3u8").read_text()
    for number, url in enumerate(urls):
        text = text.replace(f"\nindex{number}.ts", f"\n{url}")
    at.put(f"/{name}.m3u8", text.encode(), content_type="application/vnd.apple.mpegurl")
    return at.url(f"/{name}.m3u8")


@pytest_twisted.ensureDeferred
async def test_two_tasks_share_a_server(start_service: Callable[..., Service], served: Path, film: Stream) -> None:
    """The second one has as many of the connections as the first, which had all of them."""
    origin, lists = await HoldingOrigin.start(reactor, directory=served), await Origin.start(reactor)
    delays = {"early": [0, 0] + [HELD] * CONNECTIONS + [0.3] * (SEGMENTS - 2 - CONNECTIONS), "late": [0.3] * SEGMENTS}
    urls = {
        name: [origin.url(f"/longer/index{number}.ts", name=name, delay=delay) for number, delay in enumerate(each)]
        for name, each in delays.items()
    }

    def in_a_service() -> None:
        service = start_service("--max-connections-per-host", str(CONNECTIONS))
        early = service.add(put_list(lists, "early", served, urls["early"]), "early", download_threads=8)
        while CONNECTIONS != sum(not visit.finished for visit in origin.visits()):
            time.sleep(0.05)
        late = service.add(put_list(lists, "late", served, urls["late"]), "late", download_threads=8)
        while SEGMENTS != service.task(late)["segments_total"]:
            time.sleep(0.05)
        reactor.callFromThread(origin.release)
        for task in (early, late):
            service.wait(task, "已完成")

    await deferToThread(in_a_service)
    ended = [parse_qs(visit.query)["name"][0] for visit in sorted(origin.visits(), key=lambda visit: visit.ended or 0)]
    await origin.stop()
    await lists.stop()
    assert {"early": SEGMENTS, "late": SEGMENTS} == {name: ended.count(name) for name in urls}
    both = ended[ended.index("late") : len(ended) - ended[::-1].index("early")]
    assert 20 <= len(both)
    assert 0.35 <= both.count("late") / len(both) <= 0.65
