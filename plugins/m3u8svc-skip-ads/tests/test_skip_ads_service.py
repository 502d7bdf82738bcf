"""
The whole way: streams that ffmpeg makes, the real service with the plugin installed, what ffprobe finds in the result.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

WITHIN_S = 90.0
FILM_X264 = ("-profile:v", "main", "-preset", "veryfast")
ADVERT_X264 = ("-profile:v", "high", "-preset", "veryfast", "-refs", "5")


def require(*programs: str) -> None:
    """
    Skip if one of these is not installed; with CI=true that is a failure.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


# -- Streams ---------------------------------------------------------------------------------------------------------


def run(*command: object, cwd: Path | None = None) -> str:
    """
    What a program prints; it must succeed.
    """
    ran = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def encode(target: Path, seconds: int, x264: Sequence[str], tone: int) -> Path:
    """
    A file of one size and codec, whatever the encoder's settings, a keyframe every two seconds.
    """
    run(
        *("ffmpeg", "-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"),
        *("-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=48000", "-t", seconds),
        *("-c:v", "libx264", *x264, "-g", 50, "-keyint_min", 50, "-sc_threshold", 0, "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", target),
    )
    return target


def segment(source: Path, directory: Path, name: str) -> list[str]:
    """
    The lines of the segments (EXTINF and name) that a file is cut into, below `directory`.
    """
    directory.mkdir(exist_ok=True)
    hls = ("-c", "copy", "-f", "hls", "-hls_time", 2, "-hls_list_size", 0, "-hls_segment_filename", f"{name}%03d.ts")
    run("ffmpeg", "-nostdin", "-y", "-v", "error", "-i", source, *hls, f"{name}.m3u8", cwd=directory)
    lines = (directory / f"{name}.m3u8").read_text().splitlines()
    return [f"{line}\n{lines[at + 1]}" for at, line in enumerate(lines) if line.startswith("#EXTINF")]


def packets(media: Path) -> dict[str, int]:
    """
    How many packets of which codec are in a file.
    """
    shown = run("ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", media)
    return {each["codec_name"]: int(each["nb_read_packets"]) for each in json.loads(shown)["streams"]}


@attrs.frozen
class Made:
    """
    The encoded files and their segments' lines: the film and three adverts, and a second film of the adverts' encoder.
    """

    root: Path
    film: Path
    other: Path
    both: dict[str, int]
    lines: dict[str, list[str]]

    def playlist(self, name: str, pieces: Sequence[Sequence[str]]) -> str:
        """Write a playlist of these lines; its path below the root."""
        body = "\n".join(line for piece in pieces for line in piece)
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        (self.root / name).write_text(f"{head}{body}\n#EXT-X-ENDLIST\n")
        return f"/{name}"

    def with_adverts(
        self, adverts: str, *, before: Sequence[str] = ("#EXT-X-DISCONTINUITY",), behind: Sequence[str] = ()
    ) -> list[list[str]]:
        """The film in four parts, an advert of two segments before each but the first, with these lines around it."""
        film, spots = self.lines["film"], self.lines[adverts]
        pieces = [film[:4]]
        for number, at in enumerate((4, 8, 12)):
            pieces += [[*before, *spots[2 * number : 2 * number + 2]], [*(behind or before), *film[at : at + 4]]]
        return pieces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """
    The streams' parts, encoded once.
    """
    require("ffmpeg", "ffprobe")
    root = tmp_path_factory.mktemp("origin")
    (root / "sources").mkdir()
    film = encode(root / "sources" / "film.mkv", 32, FILM_X264, 440)
    other = encode(root / "sources" / "other.mkv", 32, ADVERT_X264, 880)
    lines = {"film": segment(film, root, "seg"), "other": segment(other, root, "seg9")}
    assert [16, 16] == [len(each) for each in lines.values()]
    (root / "spots").mkdir()
    for each in root.glob("seg9*.ts"):
        shutil.copy(each, root / "spots" / each.name)
    lines["spots"] = [line.replace("\n", "\nspots/") for line in lines["other"]]
    both = {codec: count + packets(other)[codec] for codec, count in packets(film).items()}
    return Made(root=root, film=film, other=other, both=both, lines=lines)


# -- The service -----------------------------------------------------------------------------------------------------


@contextmanager
def printing_address(place: Path, *command: str) -> Iterator[tuple[str, Path]]:
    """
    A child process that prints where it listens: its address, and the file of all it prints.
    """
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command], cwd=place, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + WITHIN_S
        while not (found := re.search(r"listening on (http\S+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1].rstrip("/"), log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@attrs.frozen
class Running:
    """
    The service and the origin it downloads from.
    """

    service: str
    origin: str
    log: Path

    def ask(self, target: str, body: object = None) -> Any:
        """The JSON that a request is answered with."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            self.service + target, None if body is None else json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)

    def download(self, path: str, **options: object) -> tuple[Path, str, str]:
        """A finished download with these options: its file, the list of what was skipped, what the log says of it."""
        body = {
            "url": self.origin + path,
            "filename": path.strip("/").removesuffix(".m3u8"),
            "advanced": True,
            "log_skipped_ts": True,
            "plugins": {"skip-ads": options},
        }
        task_id = self.ask("/api/tasks", body)["id"]
        deadline = time.monotonic() + WITHIN_S
        while (task := self.ask(f"/api/tasks?id={task_id}"))["status"] not in ("已完成", "失败"):
            assert time.monotonic() < deadline, task
            time.sleep(0.2)
        assert "已完成" == task["status"], (task, self.log.read_text()[-4000:])
        (result,) = self.log.parent.glob(f"saves/{body['filename']}.mp4")
        skipped = result.with_name(f"{result.name}_skip.txt")
        reported = "\n".join(line for line in self.log.read_text().splitlines() if str(task_id) in line)
        return result, skipped.read_text() if skipped.exists() else "", reported


@pytest.fixture(scope="module")
def running(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """
    Both, as child processes, on free ports of this machine.
    """
    places = [tmp_path_factory.mktemp(name) for name in ("served", "service")]
    serve = ("-m", "m3u8svc", "serve", "--listen", "tcp:0:interface=127.0.0.1", "--home", "home", "--save-dir")
    with (
        printing_address(places[0], "-m", "m3u8svc.testing.origin", str(made.root)) as (origin, _),
        printing_address(places[1], *serve, str(places[1] / "saves")) as (service, log),
    ):
        yield Running(service=service, origin=origin, log=log)


def test_service_knows_the_plugin(running: Running) -> None:
    """Installed, it is active without being configured."""
    (found,) = [each for each in running.ask("/api/plugins")["plugins"] if each["name"] == "skip-ads"]
    assert "active" == found["state"]


def test_adverts_of_another_encoder_are_gone_and_the_programme_is_whole(made: Made, running: Running) -> None:
    """Three adverts of the same size and codec, other parameter sets: just they are gone, and the report names them."""
    path = made.playlist("encoder.m3u8", made.with_adverts("other"))
    result, skipped, reported = running.download(path, mode="auto")
    assert packets(made.film) == packets(result)
    for number, times in {2: "00:08–00:12", 4: "00:20–00:24", 6: "00:32–00:36"}.items():
        assert 2 == skipped.count(f"广告（第 {number} 组）：{times}，短插播、不同编码参数")
        assert f"group {number}: {times.replace('–', '-')}" in reported
    assert 3 == reported.count("left out")
    assert 4 == reported.count(": kept")


def test_marked_adverts_are_gone_and_the_programme_is_whole(made: Made, running: Running) -> None:
    """Marks are enough, without a discontinuity, in mode "marks" too."""
    pieces = made.with_adverts("other", before=["#EXT-X-CUE-OUT:4"], behind=["#EXT-X-CUE-IN"])
    result, skipped, _ = running.download(made.playlist("marks.m3u8", pieces), mode="marks")
    assert packets(made.film) == packets(result)
    assert 6 == skipped.count("CUE-OUT 标记")


def test_adverts_of_another_path_are_gone_and_the_programme_is_whole(made: Made, running: Running) -> None:
    """A splice to another directory is two signs already."""
    result, skipped, _ = running.download(made.playlist("path.m3u8", made.with_adverts("spots")), mode="auto")
    assert packets(made.film) == packets(result)
    assert 6 == skipped.count("短插播、不同路径")


def test_programme_of_two_encoders_is_left_whole(made: Made, running: Running) -> None:
    """The trap: its halves differ as adverts do, and both are the programme."""
    halves = [made.lines["film"], ["#EXT-X-DISCONTINUITY", *made.lines["other"]]]
    result, skipped, _ = running.download(made.playlist("halves.m3u8", halves), mode="auto")
    assert made.both == packets(result)
    assert "广告" not in skipped


def test_task_that_does_not_ask_keeps_everything(made: Made, running: Running) -> None:
    """Without configuration, "off" is what happens."""
    path = made.playlist("off.m3u8", made.with_adverts("other"))
    result, skipped, reported = running.download(path, mode="off")
    assert sum(packets(result).values()) > sum(packets(made.film).values())
    assert "广告" not in skipped
    assert "group 1" not in reported
