"""
Every field of a request has its effect, shown on a real service by what is on disk and on the wire.
"""

import filecmp
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import require
from tests.integration.media import SECONDS, Stream, decoding_errors, packets, probe
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service
from tests.needs import memory_disk

CANARY = "CANARY-5b1d"
PICTURES_PER_S = 25


@pytest.fixture
def plain(nginx: Nginx, streams: dict[str, Stream]) -> str:
    """The URL of the plain stream, eight segments of a second each."""
    return nginx.base + streams["plain"].path


@pytest.fixture
def system_settings(service: Service) -> Iterator[Callable[..., None]]:
    """Saves system settings; afterwards the defaults are back."""

    def save(**fields: object) -> None:
        assert (200, {"status": "success"}) == service.ask("POST", "/api/settings", fields).error

    yield save
    save()


def pictures(mp4: Path) -> int:
    """How many pictures a file has: 25 for each segment."""
    return packets(mp4)["h264"]


def kept(directory: Path) -> list[str]:
    """The names of kept segments."""
    return sorted(path.name for path in directory.glob("0*"))


# -- Places ----------------------------------------------------------------------------------------------------------


class TestSaveLocation:
    """save_location."""

    def test_is_where_the_result_goes(self, service: Service, plain: str, tmp_path: Path) -> None:
        """The directory is made, the result is in it, and nothing else stays."""
        place = tmp_path / "films" / "新片"
        task = service.finish(plain, "film", save_location=str(place))
        assert [place / "film.mp4"] == [path for path in place.rglob("*") if path.is_file()]
        assert (str(place), str(place / "film.mp4")) == (task["advanced_settings"]["save_location"], task["output"])

    def test_a_file_in_its_place(self, service: Service, plain: str, tmp_path: Path) -> None:
        """A save location that is a file fails the task with its path."""
        (tmp_path / "file").write_text("mine")
        task = service.fail(plain, "film", save_location=str(tmp_path / "file"))
        assert ("disk_error", True) == (task["err_code"], str(tmp_path / "file") in task["err_msg"])
        assert "mine" == (tmp_path / "file").read_text()


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own, in memory."""
    with memory_disk(tmp_path / "memory", "64m") as place:
        yield place


def test_temp_directory(service: Service, plain: str, tmp_path: Path, other_file_system: Path) -> None:
    """Segments lie below temp_directory while they are needed, on another file system, and nowhere else."""
    saves = tmp_path / "saves"
    fields = {"temp_directory": str(other_file_system / "t"), "save_location": str(saves), "keep_ts_files": True}
    failed = service.fail(plain.replace("index.m3u8", "gone.m3u8"), "film", **fields)
    task = service.finish(plain, "film", **fields)
    assert [failed["id"]] == [path.name for path in (other_file_system / "t" / ".m3u8svc").iterdir()]
    assert (["film", "film.mp4"], SECONDS) == (sorted(path.name for path in saves.iterdir()), len(kept(saves / "film")))
    assert SECONDS * PICTURES_PER_S == pictures(Path(task["output"]))


class TestFilename:
    """filename."""

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("第一集", "第一集.mp4"),
            ("with.dots", "with.dots.mp4"),
            ("given.mp4", "given.mp4"),
            ("GIVEN2.MP4", "GIVEN2.mp4"),
            ('a\'b "c" $(d)', 'a\'b "c" $(d).mp4'),
            ("", "index.mp4"),
            ("名" * 66, "名" * 66 + ".mp4"),
        ],
    )
    def test_is_the_name(self, service: Service, plain: str, tmp_path: Path, given: str, expected: str) -> None:
        """The result has the name that was typed, our extension once; an empty one comes from the URL."""
        task = service.finish(plain, given, save_location=str(tmp_path))
        assert ([expected], given) == ([path.name for path in tmp_path.glob("*")], task["filename"])

    def test_is_never_taken_from_another_file(self, service: Service, plain: str, tmp_path: Path) -> None:
        """Existing files stay as they are; the next free number is used, also by two tasks at once."""
        (tmp_path / "film.mp4").write_text("mine")
        tasks = [service.add(plain, "film", save_location=str(tmp_path)) for _ in range(2)]
        outputs = {Path(service.wait(each, "已完成")["output"]).name for each in tasks}
        assert ({"film_0001.mp4", "film_0002.mp4"}, "mine") == (outputs, (tmp_path / "film.mp4").read_text())
        assert filecmp.cmp(tmp_path / "film_0001.mp4", tmp_path / "film_0002.mp4", shallow=False)


# -- Threads ---------------------------------------------------------------------------------------------------------


class SlowOrigin:
    """
    An origin that takes its time for every segment and counts how many are asked for at once, at most.
    """

    def __init__(self, segments: int, body: bytes) -> None:
        self.most = 0
        self._now = 0
        self._body = body
        self._segments = segments
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/index.m3u8"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A reset is how the service closes kept connections when it stops.
        with suppress(ConnectionError), connection, connection.makefile("rb") as requests:
            while first := requests.readline():
                while requests.readline().strip():
                    pass
                body = self._playlist() if b".m3u8" in first else self._segment()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def _playlist(self) -> bytes:
        lines = "".join(f"#EXTINF:1,\n{number}.ts\n" for number in range(self._segments))
        return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n".encode()

    def _segment(self) -> bytes:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.3)
        with self._lock:
            self._now -= 1
        return self._body


@pytest.mark.parametrize(("threads", "expected", "segments"), [(1, [1], 4), (3, [3], 9), (0, range(4, 65), 24)])
def test_download_threads(
    service: Service, served: Path, plain: str, threads: int, expected: Sequence[int], segments: int
) -> None:
    """As many segments are fetched at once as the task says; 0: four, and more that are worth it."""
    origin = SlowOrigin(segments, (served / "plain" / "index0.ts").read_bytes())
    try:
        service.finish(origin.url, f"threads{threads}", download_threads=threads, no_merge_ts=True)
    finally:
        origin.close()
    assert origin.most in expected


# -- Skipping --------------------------------------------------------------------------------------------------------


class TestSkip:
    """skip_ts_info."""

    @pytest.mark.parametrize(
        ("expression", "kept_numbers"),
        [
            ("2,5-7", (1, 3, 4, 8)),
            (" 3 , 1 ", (2, 4, 5, 6, 7, 8)),
            ("time:00:00:02-00:00:04", (1, 2, 5, 6, 7, 8)),
            ("!time:00:00:02-00:00:04", (2, 3, 4, 5)),
            ("!time:00:00:02-00:00:04,3", (2, 4, 5)),
            ("100", (1, 2, 3, 4, 5, 6, 7, 8)),
        ],
    )
    def test_numbers_and_times(
        self, service: Service, plain: str, tmp_path: Path, expression: str, kept_numbers: tuple[int, ...]
    ) -> None:
        """The named segments are neither fetched nor merged, and kept ones keep their numbers."""
        fields = {"skip_ts_info": expression, "keep_ts_files": True, "save_location": str(tmp_path)}
        task = service.finish(plain, "film", **fields)
        assert [f"{number:05d}.ts" for number in kept_numbers] == kept(tmp_path / "film")
        assert len(kept_numbers) * PICTURES_PER_S == pictures(Path(task["output"]))
        # Without this option ffmpeg counts pictures at a rate it guesses, and complains where a hole was closed.
        assert "" == decoding_errors(Path(task["output"]), "-enc_time_base", "-1")

    def test_skipped_segments_are_not_asked_for(self, service: Service, nginx: Nginx, plain: str) -> None:
        """nginx never sees a request for a skipped segment."""
        before = len(nginx.lines())
        service.finish(plain, "unasked", skip_ts_info="2-8")
        asked = {line.split()[1] for line in nginx.lines()[before:]}
        assert {"/plain/index.m3u8?-", "/plain/index0.ts?-"} == asked

    def test_everything(self, service: Service, plain: str) -> None:
        """Nothing left to download is a failure that says so."""
        assert "需要下载的文件为空" == service.fail(plain, "nothing", skip_ts_info="1-8")["err_msg"]


class TestSkipByStatus:
    """http.code= in skip_ts_info, and its log."""

    @pytest.fixture
    def holed(self, nginx: Nginx, served: Path, streams: dict[str, Stream], tmp_path: Path) -> Iterator[str]:
        """The plain stream with two segments that are not there."""
        name = f"holed-{tmp_path.name}"
        (served / name).mkdir()
        text = (served / "plain" / "index.m3u8").read_text().replace("index", "../plain/index")
        for number in (2, 5):
            text = text.replace(f"../plain/index{number}.ts", f"gone{number}.ts?token={CANARY}")
        (served / name / "index.m3u8").write_text(text)
        yield f"{nginx.base}/{name}/index.m3u8"

    def test_merges_when_told(self, service: Service, holed: str, tmp_path: Path) -> None:
        """With if-http.code-merge_ts the rest is merged, and the log beside the result names what is missing."""
        task = service.finish(
            holed,
            "film",
            save_location=str(tmp_path),
            skip_ts_info="http.code=404,if-http.code-merge_ts,8",
            log_skipped_ts=True,
        )
        assert 5 * PICTURES_PER_S == pictures(Path(task["output"]))
        base = holed.removesuffix("index.m3u8")
        assert (
            "skipByHttpCode\n"
            f"filename=00003.ts,url={base}gone2.ts?…，http.code=404\n"
            f"filename=00006.ts,url={base}gone5.ts?…，http.code=404\n"
            "skipByExpression\n"
            "filename=00008.ts,reason=跳过表达式: 8\n"
        ) == (tmp_path / "film.mp4_skip.txt").read_text()

    def test_fails_otherwise(self, service: Service, holed: str, tmp_path: Path) -> None:
        """Without the flag the task fails when all is fetched, and leaves the segments to merge by hand."""
        task = service.fail(holed, "film", save_location=str(tmp_path), skip_ts_info="http.code=404")
        assert ("skipped_by_status", "使用http.code跳过了2条ts记录，请自行合并") == (task["err_code"], task["err_msg"])
        assert [f"{number:05d}.ts" for number in (1, 2, 4, 5, 7, 8)] == kept(tmp_path / "film")
        assert not (tmp_path / "film.mp4").exists()

    def test_other_statuses_still_fail(self, service: Service, holed: str, tmp_path: Path) -> None:
        """A status that the expression does not name is a failure as before."""
        task = service.fail(holed, "film", save_location=str(tmp_path), skip_ts_info="http.code=410")
        assert "http_4xx" == task["err_code"]

    def test_without_log_skipped_ts(self, service: Service, plain: str, tmp_path: Path) -> None:
        """No log is written unless it is asked for."""
        service.finish(plain, "film", save_location=str(tmp_path), skip_ts_info="1")
        assert ["film.mp4"] == [path.name for path in tmp_path.glob("*")]


# -- What stays ------------------------------------------------------------------------------------------------------


class TestKeptSegments:
    """keep_ts_files and no_merge_ts."""

    @pytest.mark.parametrize("kind", ["plain", "aes", "fmp4-byterange", "disguised"])
    def test_play(self, service: Service, nginx: Nginx, streams: dict[str, Stream], tmp_path: Path, kind: str) -> None:
        """Kept segments are plain media with a playlist that ffmpeg plays to the last packet, and a file list."""
        stream = streams[kind]
        service.finish(nginx.base + stream.path, "film", keep_ts_files=True, save_location=str(tmp_path))
        place = tmp_path / "film"
        suffix = ".m4s" if kind.startswith("fmp4") else ".ts"
        names = [f"{number:05d}{suffix}" for number in range(1, SECONDS + 1)]
        assert (names, [f"file {name}" for name in names]) == (
            kept(place),
            (place / "filelist.txt").read_text().splitlines(),
        )
        assert "" == decoding_errors(place / "index.m3u8")
        assert stream.packets == packets(place / "index.m3u8")
        assert stream.packets == packets(tmp_path / "film.mp4")

    def test_go_by_default(self, service: Service, plain: str, tmp_path: Path) -> None:
        """Without keep_ts_files only the MP4 stays."""
        service.finish(plain, "film", save_location=str(tmp_path))
        assert ["film.mp4"] == [path.name for path in tmp_path.glob("*")]

    def test_no_merge_ts(self, service: Service, plain: str, tmp_path: Path) -> None:
        """With no_merge_ts the directory of segments is the result, and its size that of the segments."""
        task = service.finish(plain, "film", no_merge_ts=True, save_location=str(tmp_path))
        place = tmp_path / "film"
        size = sum(path.stat().st_size for path in place.glob("0*"))
        assert (str(place), size, "", []) == (
            task["output"],
            task["size"],
            task["status_bar"],
            [*tmp_path.glob("*.mp4")],
        )
        assert SECONDS == len(kept(place))

    def test_an_existing_directory_is_left_alone(self, service: Service, plain: str, tmp_path: Path) -> None:
        """Somebody's directory of that name stays as it is."""
        (tmp_path / "film").mkdir()
        task = service.finish(plain, "film", no_merge_ts=True, save_location=str(tmp_path))
        assert (str(tmp_path / "film_0001"), []) == (task["output"], [*(tmp_path / "film").iterdir()])


def test_use_server_file_time(service: Service, nginx: Nginx, served: Path, plain: str, tmp_path: Path) -> None:
    """The file's time and the MP4's creation time, counted from 1904, are the first segment's Last-Modified."""
    at = int(datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp())
    os.utime(served / "plain" / "index0.ts", (at, at))
    service.finish(plain, "timed", use_server_file_time=True, save_location=str(tmp_path))
    service.finish(plain, "untimed", save_location=str(tmp_path))
    times = probe(tmp_path / "timed.mp4", "-show_entries", "format_tags=creation_time:stream_tags=creation_time")
    created = {times["format"]["tags"]["creation_time"]} | {  # type: ignore[call-overload]
        stream["tags"]["creation_time"]  # type: ignore[index]
        for stream in times["streams"]
    }
    assert ({"2020-02-03T04:05:06.000000Z"}, at) == (created, int((tmp_path / "timed.mp4").stat().st_mtime))
    assert time.time() - (tmp_path / "untimed.mp4").stat().st_mtime < 60


def test_debug_log(service: Service, nginx: Nginx, streams: dict[str, Stream], tmp_path: Path) -> None:
    """The log names every request and its answer, and no token, header value or key."""
    url = f"{nginx.base}/guarded{streams['aes'].path}?token={CANARY}"
    headers = {"X-Token": ["letmein"], "Cookie": [CANARY], "X-Plain": [CANARY]}
    service.finish(
        url, "film", debug_log=True, use_http_headers=True, http_headers=headers, save_location=str(tmp_path)
    )
    text = (tmp_path / "film.debug.log").read_text()
    base = f"{nginx.base}/guarded/aes"
    assert SECONDS == len(re.findall(rf"segment \d 200 \d+B ts {base}/index\d\.ts", text))
    assert re.search(rf"playlist 200 \d+B {base}/index.m3u8\?…", text) and f"key 200 16B {base}/key.bin" in text
    assert [] == [secret for secret in (CANARY, "letmein") if secret in text]
    assert not (tmp_path / "film_0001.debug.log").exists()


# -- Whose settings count --------------------------------------------------------------------------------------------


class TestAdvanced:
    """advanced, and the system settings behind it."""

    def test_false_means_the_system_settings(
        self, service: Service, plain: str, tmp_path: Path, system_settings: Callable[..., None]
    ) -> None:
        """Without advanced the settings of the request are ignored, which is told, and the saved ones count."""
        system_settings(save_location=str(tmp_path), skip_ts_info="1-3", keep_ts_files=True)
        body = {"url": plain, "filename": "film", "skip_ts_info": "1-7", "no_merge_ts": True}
        answer = service.ask("POST", "/api/tasks", body)
        assert ["advanced 不为 true，已忽略：skip_ts_info、no_merge_ts"] == answer.value["warnings"]
        task = service.wait(answer.value["id"], "已完成")
        assert ("1-3", False) == tuple(task["advanced_settings"][name] for name in ("skip_ts_info", "no_merge_ts"))
        assert (5, 5 * PICTURES_PER_S) == (len(kept(tmp_path / "film")), pictures(tmp_path / "film.mp4"))

    def test_true_means_the_request_over_the_system(
        self, service: Service, plain: str, tmp_path: Path, system_settings: Callable[..., None]
    ) -> None:
        """With advanced the request's fields count, and the system's where it names none."""
        system_settings(save_location=str(tmp_path), skip_ts_info="1-3", keep_ts_files=True)
        task = service.finish(plain, "film", skip_ts_info="")
        assert ("", True) == tuple(task["advanced_settings"][name] for name in ("skip_ts_info", "keep_ts_files"))
        assert (SECONDS, SECONDS * PICTURES_PER_S) == (len(kept(tmp_path / "film")), pictures(tmp_path / "film.mp4"))

    def test_a_task_keeps_the_settings_of_its_creation(
        self, service: Service, plain: str, tmp_path: Path, system_settings: Callable[..., None]
    ) -> None:
        """System settings that change later do not change a task."""
        system_settings(save_location=str(tmp_path / "then"))
        task_id = service.ask("POST", "/api/tasks", {"url": plain, "filename": "film"}).value["id"]
        system_settings(save_location=str(tmp_path / "now"))
        assert str(tmp_path / "then" / "film.mp4") == service.wait(task_id, "已完成")["output"]

    def test_every_field_is_shown_again(self, service: Service, plain: str, tmp_path: Path) -> None:
        """advanced_settings holds every setting of the request as it was sent."""
        sent: dict[str, Any] = {
            "save_location": str(tmp_path / "s"),
            "temp_directory": str(tmp_path / "t"),
            "download_threads": 2,
            "skip_ts_info": "1",
            "keep_ts_files": True,
            "no_merge_ts": True,
            "log_skipped_ts": True,
            "allow_insecure_https": True,
            "proxy_type": "none",
            "proxy_host": "",
            "proxy_port": 0,
            "proxy_username": "",
            "proxy_password": "",
            "use_server_file_time": True,
            "debug_log": True,
        }
        assert sent == service.finish(plain, "film", **sent)["advanced_settings"]


def test_settings_survive_a_restart(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """Saved settings are there after a restart, and a masked password sent back stays what it was."""
    require("curl")
    service = start_service()
    proxy = {"proxy_type": "http", "proxy_host": "127.0.0.1", "proxy_port": 9, "proxy_password": CANARY}
    assert 200 == service.ask("POST", "/api/settings", proxy | {"download_threads": 7}).status
    shown = service.ask("GET", "/api/settings").value
    assert (7, "***", str(service.saves)) == (
        shown["download_threads"],
        shown["proxy_password"],
        shown["default_save_location"],
    )
    assert 200 == service.ask("POST", "/api/settings", shown).status
    service.stop()
    assert shown == service.start().ask("GET", "/api/settings").value
