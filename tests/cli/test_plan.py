"""``m3u8svc plan``: here, in a process of its own, and by a service."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.testing.playlists import RenditionLine, SegmentLine, VariantLine, master_playlist, media_playlist
from tests.cli.conftest import CHINESE, Invoke, Raw, StubService
from tests.visited import VisitedServer

MASTER = master_playlist(
    [
        VariantLine(uri="low.m3u8", bandwidth=800_000, resolution=(640, 360), codecs="avc1.4d401e", audio="a"),
        VariantLine(
            uri="high.m3u8",
            bandwidth=2_400_000,
            resolution=(1280, 720),
            frame_rate=50,
            video_range="PQ",
            codecs="hvc1.2,mp4a.40.2",
            audio="a",
        ),
    ],
    renditions=[
        RenditionLine(group="a", name="English", language="en", uri="en.m3u8", default=True),
        RenditionLine(group="a", name="[bold]Français", language="fr", uri="fr.m3u8"),
    ],
)
MEDIA = media_playlist([SegmentLine(uri=f"{n}.ts?token=CANARY", discontinuity=n in (3, 5)) for n in range(1, 7)])


class Files(SimpleHTTPRequestHandler):
    """Serves a directory without a word; the server keeps the paths. /slow never answers."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Origin)
        server.visits.append(self.path)
        if self.path == "/slow":
            time.sleep(30)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


class Origin(VisitedServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Files, directory=str(directory)))
        self.visits: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    directory = tmp_path / "origin"
    directory.mkdir()
    (directory / "m.m3u8").write_text(MASTER)
    for name in ("low", "high", "en", "fr"):
        (directory / f"{name}.m3u8").write_text(MEDIA)
    server = Origin(directory)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def plan(*arguments: str, locale: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "m3u8svc", "plan", *arguments]
    environment = {**os.environ, "LC_ALL": locale}
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)


def test_plan_needs_no_service(origin: Origin, tmp_path: Path) -> None:
    """Only playlists are asked for, and nothing is written anywhere."""
    found = plan(origin.url("/m.m3u8"), "-f", "worst", "--audio", "fr", "--groups", "1", "--skip", "1", "--json")
    assert 0 == found.returncode, found.stderr
    answer = json.loads(found.stdout)
    assert ["/m.m3u8", "/low.m3u8", "/fr.m3u8"] == origin.visits
    assert [True, False] == [each["chosen"] for each in answer["variants"]]
    assert [False, True] == [each["chosen"] for each in answer["renditions"]]
    assert ({"count": 6, "skipped": 5, "gaps": 0}, 6.0, 600_000) == (
        {name: answer["segments"][name] for name in ("count", "skipped", "gaps")},
        answer["duration"],
        answer["estimated_bytes"],
    )
    assert "CANARY" not in found.stdout
    assert {"origin"} == set(os.listdir(tmp_path))


def test_plan_for_people(origin: Origin) -> None:
    """Tables: what is chosen has a mark, names are text and not markup."""
    said = plan(origin.url("/m.m3u8"), "--audio", "fr").stdout
    lines = {" ".join(line.split()) for line in said.splitlines()}
    assert "✓ 1280x720 50 2400k PQ hvc1.2, mp4a.40.2" in lines
    assert "640x360 800k avc1.4d401e" in lines
    assert "✓ audio fr [bold]Français" in lines
    assert "audio en English default" in lines
    assert f"2 3-4 00:12 12 s {origin.url('/*.ts')}" in lines
    assert "Segments 6, 0 skipped, 0 missing" in lines
    assert "Tracks main, audio1" in lines
    assert "Duration 00:36" in lines
    assert "Size about 10.8 MB" in lines


def test_plan_of_a_local_playlist(origin: Origin, tmp_path: Path) -> None:
    """Nobody is asked when the file is all there is to know; relative links need to be told from where."""
    path = tmp_path / "x.m3u8"
    path.write_text(MEDIA)
    found = plan(str(path), "--base-url", origin.url("/"), "--json")
    assert (0, 6, []) == (found.returncode, json.loads(found.stdout)["segments"]["count"], origin.visits)
    alone = plan(str(path))
    assert (1, True) == (alone.returncode, "base_url" in alone.stderr), alone.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["-f", "height=480"], "[no_such_variant]"), (["--skip", "1-6"], "[nothing_to_download]")],
)
def test_plan_of_what_cannot_be_downloaded(origin: Origin, arguments: list[str], said: str) -> None:
    """Status 1, one line, with what there is instead."""
    failed = plan(origin.url("/m.m3u8"), *arguments)
    assert (1, "", 1) == (failed.returncode, failed.stdout, len(failed.stderr.splitlines()))
    assert said in failed.stderr
    if said == "[no_such_variant]":
        assert "1280x720 50fps 2400k PQ hvc1.2,mp4a.40.2" in failed.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["ftp://h/x"], ["http://h/x", "--skip", "1-"], ["gone.m3u8"]])
def test_plan_bad_usage(arguments: list[str]) -> None:
    """Status 2, and no traceback."""
    wrong = plan(*arguments)
    assert 2 == wrong.returncode and "Traceback" not in wrong.stderr


def test_plan_stopped(origin: Origin) -> None:
    """Ctrl-C ends it at once with 130."""
    line = [sys.executable, "-m", "m3u8svc", "plan", origin.url("/slow")]
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not origin.visits and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=10)
    assert (130, "") == (running.returncode, said)


ANSWER: dict[str, Any] = {
    "status": "success",
    "duration": 12.0,
    "estimated_bytes": None,
    "segments": {
        "count": 2,
        "skipped": 1,
        "gaps": 0,
        "skips": [{"positions": "1", "count": 1, "reason": "跳过表达式: 1", "reason_en": "skip expression: 1"}],
    },
    "encryption": {"methods": ["AES-128"], "key_formats": ["identity"]},
    "variants": [],
    "renditions": [],
    "tracks": [{"track": "main", "segments": 2, "duration": 12.0}],
    "groups": [],
    "warnings": ["\x1b[2J"],
    "warnings_en": ["a\x1b[2J"],
}


def test_plan_by_a_service(service: StubService, invoke: Invoke) -> None:
    """With --server the service is asked, with the fields of `add`; what it says is safe for a terminal."""
    service.answer = Raw(body=json.dumps(ANSWER).encode())
    result = invoke("plan", "http://h/x", "--server", service.url, "--skip", "1", "-f", "720p", locale=CHINESE)
    assert 0 == result.exit_code, result.stderr
    (visit,) = service.visits
    assert ("POST", {"dry_run": "true"}) == (visit.method, visit.query)
    assert {
        "url": "http://h/x",
        "filename": "",
        "advanced": True,
        "skip_ts_info": "1",
        "variant": "720p",
    } == visit.body
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert ["分片 2 个，跳过 1，缺失 0", "跳过 1: 跳过表达式: 1", "轨道 main", "时长 00:12", "加密 AES-128"] == lines[
        :5
    ]
    assert "注意 \\x1b[2J" in lines
    english = invoke("plan", "http://h/x", "--server", service.url)
    lines = [" ".join(line.split()) for line in english.stdout.splitlines()]
    assert [True, True] == ["Warning a\\x1b[2J" in lines, "Skipped 1: skip expression: 1" in lines]


def test_plan_a_service_refuses(service: StubService, invoke: Invoke) -> None:
    """Its own words and code; an answer of another kind is not ours."""
    service.answer = Raw(status=400, body='"没有码流"'.encode(), headers=(("X-Error-Code", "no_such_variant"),))
    result = invoke("plan", "http://h/x", "--server", service.url)
    said, advice = result.stderr.splitlines()
    assert (1, "Error: 没有码流 [no_such_variant]") == (result.exit_code, said)
    assert "What to do: choose one of the variants it lists" == advice
    service.answer = Raw(body=b'{"status": "success", "id": "x"}')
    assert 3 == invoke("plan", "http://h/x", "--server", service.url).exit_code
