"""
A film is played while it is fetched: by ffmpeg, off the real service, from an origin that holds segments back.

The origin is told what to hold, and nobody sleeps: a player that hung up after its time has asked, and a segment that
is held has been asked for.
"""

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from m3u8svc.testing.playlists import RenditionLine, VariantLine, master_playlist
from tests.integration.conftest import require
from tests.integration.media import SECONDS, decoding_errors, encode, ffmpeg, packets, probe, segment
from tests.integration.service_child import Service

WITHIN_S = 60.0
OPEN = ("-allowed_segment_extensions", "ALL", "-extension_picky", "0")
"""Our links tell what they lead to by its type, not by a name: ffmpeg wants to be told that this will do."""
SOON = ("-analyzeduration", "1000000", "-t", "2")
"""Two seconds, without looking at five before it begins."""


class Source(ThreadingHTTPServer):
    """
    Serves a directory. What is in `held` is not answered until `release`; `asked` are the paths in their order.
    """

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(directory)))
        self.asked: list[str] = []
        self.held: set[str] = set()
        self._changed = threading.Condition()

    def url(self, path: str) -> str:
        """The address of a file."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def hold(self, *paths: str) -> None:
        """Do not answer these."""
        with self._changed:
            self.held |= set(paths)

    def release(self, *paths: str) -> None:
        """Answer them; without a name, everything."""
        with self._changed:
            self.held -= set(paths) or set(self.held)
            self._changed.notify_all()

    def ask(self, path: str) -> None:
        """Somebody asks, and waits here."""
        with self._changed:
            self.asked.append(path)
            self._changed.notify_all()
            self._changed.wait_for(lambda: path not in self.held)

    def until_asked(self, path: str) -> None:
        """Wait until somebody has asked for it."""
        with self._changed:
            assert self._changed.wait_for(lambda: path in self.asked, WITHIN_S), (path, self.asked)

    def media(self, kind: str = ".ts") -> list[str]:
        """The segments that were asked for, in order."""
        return [path for path in self.asked if path.endswith(kind)]


class _Handler(SimpleHTTPRequestHandler):
    server: Source

    def do_GET(self) -> None:
        self.server.ask(urlsplit(self.path).path)
        try:
            super().do_GET()
        except ConnectionError:  # whoever asked was stopped meanwhile
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of streams: TS, encrypted TS, and fMP4 with its sound apart."""
    require("ffmpeg", "ffprobe")
    root = tmp_path_factory.mktemp("films")
    film = encode(root / "film.mkv")
    segment(film, root / "plain")
    (root / "key.bin").write_bytes(b"k" * 16)
    (root / "key.txt").write_text(f"/key.bin\n{root / 'key.bin'}\n{'0f' * 16}\n")
    segment(film, root / "aes", "-hls_key_info_file", root / "key.txt")
    for name, stream in (("video", "0:v"), ("audio", "0:a")):
        segment(film, root / name, "-map", stream, "-hls_segment_type", "fmp4")
    variant = VariantLine(uri="video/index.m3u8", bandwidth=900_000, resolution=(320, 180), audio="a")
    apart = master_playlist([variant], renditions=[RenditionLine(group="a", name="Ton", uri="audio/index.m3u8")])
    (root / "apart.m3u8").write_text(apart)
    return root


@pytest.fixture
def source(films: Path) -> Iterator[Source]:
    """The origin, everything of which is answered at the end, so that whoever waits ends."""
    with Source(films) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.release()
        server.shutdown()


def until(holds: Callable[[], bool]) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def states(service: Service, task_id: str) -> list[str]:
    """The letters of each track."""
    tracks = service.ask("GET", f"/api/tasks/segments?id={task_id}").value["tracks"]
    return [track["states"] for track in tracks]


def play_link(service: Service, task_id: str) -> str:
    """Where the film is while it is fetched."""
    return f"{service.base}/api/tasks/play?id={task_id}"


def sha256(task: dict[str, Any]) -> str:
    """Of a result."""
    return hashlib.sha256(Path(task["output"]).read_bytes()).hexdigest()


def seek(service: Service, task_id: str, number: int) -> None:
    """A player that asks for a segment and hangs up after a while: it is heard, whatever comes."""
    link = f"{service.base}/api/tasks/media?id={task_id}&segment={number}"
    ran = subprocess.run(["curl", "--silent", "--max-time", "3", "--output", "/dev/null", link], check=False)
    assert 28 == ran.returncode  # it timed out


@pytest.mark.parametrize("name", ["plain", "aes"])
def test_the_first_half_plays_while_the_origin_holds_the_second_back(
    service: Service, source: Source, tmp_path: Path, name: str
) -> None:
    """Whole pictures and sound of what is there; the file is the same as of a run that nobody watched."""
    list_path = source.url(f"/{name}/index.m3u8")
    unwatched = service.finish(list_path, f"{name} unwatched")
    source.hold(*(f"/{name}/index{number}.ts" for number in range(4, SECONDS)))
    task = service.add(list_path, f"{name} watched")
    until(lambda: states(service, task)[0:1] != [] and states(service, task)[0][:4] == "dddd")
    half = tmp_path / "half.ts"
    ffmpeg(*OPEN, *SOON, "-i", play_link(service, task), "-c", "copy", half)
    assert packets(half)["h264"] >= 50 and packets(half)["aac"] >= 90
    assert "" == decoding_errors(half)
    assert "已完成" != service.task(task)["status"]
    source.release()
    watched = service.wait(task, "已完成")
    assert sha256(unwatched) == sha256(watched)
    refused = service.ask("GET", f"/api/tasks/play?id={task}")
    assert (409, "watch_the_file") == (refused.status, refused.headers["x-error-code"])


def test_after_a_seek_to_the_end_the_end_is_asked_for_first(service: Service, source: Source) -> None:
    """Then what was passed over, in order; the file is the same."""
    list_path = source.url("/plain/index.m3u8")
    unwatched = service.finish(list_path, "in order")
    source.asked.clear()
    source.hold("/plain/index0.ts")
    task = service.add(list_path, "sought", download_threads=1)
    source.until_asked("/plain/index0.ts")
    seek(service, task, SECONDS - 1)
    source.release()
    watched = service.wait(task, "已完成")
    order = [0, SECONDS - 2, SECONDS - 1, *range(1, SECONDS - 2)]
    asked = dict.fromkeys(source.media())  # the last ones, when they are slow, may be asked for beside themselves
    assert [f"/plain/index{number}.ts" for number in order] == list(asked)
    assert sha256(unwatched) == sha256(watched)


def test_fmp4_with_its_sound_apart(service: Service, source: Source, tmp_path: Path) -> None:
    """A multivariant playlist, whose init sections lead where they should."""
    source.hold(*(f"/{kind}/index{number}.m4s" for kind in ("video", "audio") for number in range(5, SECONDS)))
    task = service.add(source.url("/apart.m3u8"), "apart")
    until(lambda: [each[:5] for each in states(service, task)] == ["ddddd"] * 2)
    text = service.ask("GET", f"/api/tasks/play?id={task}").text
    assert f'URI="play?id={task}&track=1"' in text and f"\nplay?id={task}&track=0\n" in text
    own = service.ask("GET", f"/api/tasks/play?id={task}&track=0").text
    assert f'#EXT-X-MAP:URI="media?id={task}&track=0&segment=1&init=true"' in own
    for track, kind in ((0, "video"), (1, "audio")):
        part = tmp_path / f"{kind}.mp4"
        ffmpeg(*OPEN, *SOON, "-i", f"{play_link(service, task)}&track={track}", "-c", "copy", part)
        assert [kind] == [each["codec_type"] for each in probe(part, "-show_entries", "stream=codec_type")["streams"]]
        assert "" == decoding_errors(part)
    source.release()
    service.wait(task, "已完成")


def test_killed_after_a_seek(start_service: Callable[..., Service], source: Source) -> None:
    """What was fetched out of order is there after kill -9, and fetched no second time; the file is the same."""
    service = start_service()
    list_path = source.url("/plain/index.m3u8")
    unwatched = service.finish(list_path, "unhurt")
    source.asked.clear()
    source.hold("/plain/index0.ts", "/plain/index1.ts")
    task = service.add(list_path, "killed", download_threads=1)
    source.until_asked("/plain/index0.ts")
    seek(service, task, SECONDS - 1)
    source.release("/plain/index0.ts")
    source.until_asked("/plain/index1.ts")
    until(lambda: states(service, task) == ["df" + "." * (SECONDS - 4) + "dd"])
    service.kill()
    source.release()
    service.start()
    done = service.wait(task, "已完成")
    counts = [source.asked.count(f"/plain/index{number}.ts") for number in range(SECONDS)]
    held = counts.pop(1)
    assert held >= 2  # once before the kill and once after it; one that hangs for long is asked for beside itself
    assert [1] * (SECONDS - 1) == counts
    assert sha256(unwatched) == sha256(done)


def test_kept_segments_play_when_all_is_done(service: Service, source: Source, tmp_path: Path) -> None:
    """The whole film, off the directory that is kept."""
    done = service.finish(source.url("/plain/index.m3u8"), "kept", keep_ts_files=True)
    whole = tmp_path / "whole.ts"
    ffmpeg(*OPEN, "-i", play_link(service, done["id"]), "-c", "copy", whole)
    assert SECONDS * 25 == packets(whole)["h264"]


# -- Pictures --------------------------------------------------------------------------------------------------------


def picture(service: Service, task_id: str, number: int) -> tuple[int, str]:
    """What is answered: the status, and the size of the picture, or the error."""
    try:
        with urlopen(f"{service.base}/api/tasks/picture?id={task_id}&segment={number}", timeout=WITHIN_S) as answer:
            kind, content = answer.headers["content-type"], answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers["x-error-code"]
    assert "image/jpeg" == kind
    wanted = ["-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"]
    ran = subprocess.run(["ffprobe", "-v", "error", *wanted, "-"], input=content, capture_output=True, check=True)
    return 200, ran.stdout.decode().strip()


def shown(service: Service, task_id: str) -> list[int | None]:
    """Which segment stands for each group."""
    return [group["picture"] for group in service.ask("GET", f"/api/tasks/segments?id={task_id}").value["groups"]]


JPEG = (200, "mjpeg,160,90")


@pytest.mark.parametrize("name", ["plain", "aes"])
def test_pictures_through_the_life_of_a_task(service: Service, source: Source, name: str) -> None:
    """While it runs, paused, and when its segments have gone into the file: whatever is there has a picture."""
    source.hold(*(f"/{name}/index{number}.ts" for number in range(2, SECONDS)))
    task = service.add(source.url(f"/{name}/index.m3u8"), f"pictured {name}")
    until(lambda: states(service, task)[0:1] != [] and states(service, task)[0][:2] == "dd")
    assert [JPEG, JPEG] == [picture(service, task, number) for number in (1, 2)]
    assert (503, "not_there_yet") == picture(service, task, 3)
    assert (404, "segment_absent") == picture(service, task, SECONDS + 1)
    assert [1] == shown(service, task)
    service.ask("PUT", f"/api/tasks?id={task}", {"status": "已暂停"})
    service.wait(task, "已暂停")
    until(lambda: picture(service, task, 1) == JPEG)
    assert (404, "segment_absent") == picture(service, task, 3)
    assert [1] == shown(service, task)
    source.release()
    service.ask("PUT", f"/api/tasks?id={task}", {"status": "等待中"})
    service.wait(task, "已完成")
    assert [JPEG, JPEG] == [picture(service, task, number) for number in (1, SECONDS)]
    assert [(1 + SECONDS) // 2] == shown(service, task)
    Path(service.task(task)["output"]).write_bytes(b"no film")
    assert (404, "file_gone") == picture(service, task, 2)
    assert JPEG == picture(service, task, 1)  # it is in memory


def test_pictures_of_fmp4(service: Service, source: Source) -> None:
    """Of the main track, with its init section; of sound there are none."""
    source.hold(*(f"/{kind}/index{number}.m4s" for kind in ("video", "audio") for number in range(5, SECONDS)))
    task = service.add(source.url("/apart.m3u8"), "pictured apart")
    until(lambda: [each[:5] for each in states(service, task)] == ["ddddd"] * 2)
    assert JPEG == picture(service, task, 3)
    service.ask("PUT", f"/api/tasks?id={task}", {"status": "已暂停"})
    service.wait(task, "已暂停")
    until(lambda: picture(service, task, 4) == JPEG)
    source.release()
    sound = service.finish(source.url("/audio/index.m3u8"), "pictured sound", keep_ts_files=True)
    assert (404, "no_picture") == picture(service, sound["id"], 1)
    assert [None] == shown(service, sound["id"])


def test_pictures_of_kept_segments(service: Service, source: Source) -> None:
    """They are there without a film, and so is a picture of what no file has."""
    task = service.finish(source.url("/plain/index.m3u8"), "pictured kept", no_merge_ts=True)["id"]
    assert [JPEG, JPEG] == [picture(service, task, number) for number in (1, SECONDS)]
    assert [(1 + SECONDS) // 2] == shown(service, task)
