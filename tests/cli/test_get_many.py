"""``m3u8svc get`` of several links, with names made of fields, for programs, and only to look."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.cli.display import JsonLines
from m3u8svc.tasks.task import Phase, Progress
from m3u8svc.wording import Said
from tests.cli.test_get import Origin, origin, stream

__all__ = ["origin", "stream"]  # fixtures


def line(tmp_path: Path, *more: str) -> list[str]:
    """A command line with a state directory of its own."""
    return [sys.executable, "-m", "m3u8svc", "get", "--home", str(tmp_path / "home"), *more]


def run(tmp_path: Path, *more: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """It, run in that directory to its end."""
    return subprocess.run(
        line(tmp_path, *more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def said(ended: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The lines of JSON it printed, without those of progress."""
    lines = [json.loads(each) for each in ended.stdout.splitlines()]
    return [each for each in lines if each["event"] != "progress"]


def films(tmp_path: Path) -> list[str]:
    """What was made, relative to the directory."""
    return sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.mp4"))


def test_a_list_is_done_one_after_the_other(origin: Origin, tmp_path: Path) -> None:
    """One that fails keeps nobody from its turn; each line says what became of it, and the last one of all."""
    missing = origin.url.replace("index", "missing")
    (tmp_path / "list").write_text(f"# films\n{origin.url} one\n{missing} two\n\n{origin.url} three.mp4\n")
    arguments = ("-i", "list", "-o", "films/{host}/{index} {name}.{ext}", "--json")
    first = run(tmp_path, *arguments)
    made = ["films/127.0.0.1/1 one.mp4", "films/127.0.0.1/3 three.mp4"]
    assert (1, made, "") == (first.returncode, films(tmp_path), first.stderr)
    assert [("done", 1, 2, "one"), ("failed", 2, 3, "two"), ("done", 3, 5, "three.mp4")] == [
        (each["event"], each["index"], each["line"], each["name"]) for each in said(first)[:-1]
    ]
    assert {"event": "summary", "total": 3, "done": 2, "failed": 1, "status": 1} == said(first)[-1]
    assert "http_4xx" == said(first)[1]["code"] and said(first)[1]["advice"]
    segments = len(origin.segments())
    again = run(tmp_path, *arguments[:-1])
    assert (1, segments, made) == (again.returncode, len(origin.segments()), films(tmp_path))
    assert 2 == again.stdout.count("already there: ")
    assert f"m3u8svc: line 3: two: failed [http_4xx]: the server answered HTTP 404: {missing}\n" in again.stderr
    assert "[1/3] line 2: one\n[2/3] line 3: two\n" in again.stderr
    assert again.stderr.endswith("m3u8svc: 3 in all: 2 done, 1 failed\n")


def test_links_that_are_typed_and_a_list_on_the_standard_input(origin: Origin, tmp_path: Path) -> None:
    """All of them, named by the link where nothing else names them."""
    ended = run(tmp_path, origin.url, "-i", "-", "-o", "{index}-{name}", "--quiet", stdin=f"{origin.url} b\n")
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    assert ["1-index.mp4", "2-b.mp4"] == films(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["-i", "list"],
            ["list:2: unsupported URL scheme 'ftp': ftp://a/", "list:3: the name must not have / \\ : in it"],
        ),
        (["-i", "nothing"], ["cannot read nothing (No such file or directory)"]),
        (["-i", "empty"], ["there is no URL in the file of --input"]),
        ([], ["Missing argument 'URL' (or -i FILE)."]),
        (["URL", "-o", "{title}.mp4"], ["there is no field {title}; there are: {name} {host} {date}"]),
        (["URL", "URL", "-o", "film.mp4"], ["{name} or {index} has to be in it"]),
        (["URL", "-o", "{name}.mkv"], [".mkv cannot be made"]),
        (["URL", "-o", "home"], ["home is a directory"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_begins(
    origin: Origin, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    """Status 2, what and where, and no request was made."""
    (tmp_path / "list").write_text(f"{origin.url}\nftp://a/\n{origin.url} d/x\n")
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "home").mkdir()
    ended = run(tmp_path, *(origin.url if each == "URL" else each for each in arguments))
    assert (2, "", []) == (ended.returncode, ended.stdout, origin.visits)
    assert [] == [each for each in expected if each not in ended.stderr], ended.stderr


def test_a_name_by_the_stream_and_the_day_is_chosen_once(origin: Origin, stream: Path, tmp_path: Path) -> None:
    """The height is that of the chosen variant; another day's run knows the file it made, and asks nobody."""
    master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=320x180\nindex.m3u8\n"
    (stream / "master.m3u8").write_text(master)
    url = origin.url.replace("index", "master")
    template = "{name} {height}p {date}.{ext}"
    first = run(tmp_path, url, "-o", template)
    [made] = films(tmp_path)
    assert 0 == first.returncode and made.startswith("master 180p 20"), first.stderr
    [state] = (tmp_path / "home" / "get").rglob("state.json")
    other_day = tmp_path / "master 180p 2001-02-03.mp4"
    (tmp_path / made).rename(other_day)
    known = json.loads(state.read_text())
    state.write_text(json.dumps({**known, "named": str(other_day), "output": str(other_day)}))
    asked = len(origin.visits)
    again = run(tmp_path, url, "-o", template)
    assert (0, asked, [other_day.name]) == (again.returncode, len(origin.visits), films(tmp_path)), again.stderr


def test_what_was_begun_on_another_day_keeps_its_name(origin: Origin, stream: Path, tmp_path: Path) -> None:
    """The name is remembered from the first attempt, so that the next one goes on with the same file."""
    url = origin.url.replace("index", "later")
    first = run(tmp_path, url, "-o", "{name} {date}.{ext}")
    assert (1, []) == (first.returncode, films(tmp_path))
    [state] = (tmp_path / "home" / "get").rglob("state.json")
    known = json.loads(state.read_text())
    assert known["named"].startswith("later 20")
    state.write_text(json.dumps({**known, "named": "later 2001-02-03.mp4"}))
    (stream / "later.m3u8").write_bytes((stream / "index.m3u8").read_bytes())
    try:
        assert 0 == run(tmp_path, url, "-o", "{name} {date}.{ext}").returncode
    finally:
        (stream / "later.m3u8").unlink()
    assert ["later 2001-02-03.mp4"] == films(tmp_path)


def test_a_dry_run_makes_nothing(origin: Origin, tmp_path: Path) -> None:
    """What plan says, and the name; of several, one line of JSON each, and status 1 for one that cannot be had."""
    shown = run(tmp_path, origin.url, "-o", "d/{name}.{ext}", "--dry-run")
    assert (0, True) == (shown.returncode, shown.stdout.endswith("File: d/index.mp4\n")), shown.stderr
    assert "Segments" in shown.stdout
    missing = origin.url.replace("index", "missing")
    ended = run(tmp_path, origin.url, missing, "--dry-run", "--json")
    found = [json.loads(each) for each in ended.stdout.splitlines()]
    assert (1, [1, 2], "http_4xx") == (ended.returncode, [each["index"] for each in found], found[1]["code"])
    assert found[0]["segments"]["count"] > 0
    assert ([], []) == (origin.segments(), [each.name for each in tmp_path.iterdir()])


def test_progress_for_programs(origin: Origin, tmp_path: Path) -> None:
    """Standard output is JSON, line by line, and ends with where the file is."""
    ended = run(tmp_path, origin.url, "-o", "film.mp4", "--json")
    lines = [json.loads(each) for each in ended.stdout.splitlines()]
    assert (0, "") == (ended.returncode, ended.stderr)
    assert {"event": "done", "output": str(tmp_path / "film.mp4"), "status": 0} == {
        name: lines[-1][name] for name in ("event", "output", "status")
    }
    assert {"progress"} == {each["event"] for each in lines[:-1]}
    percents = [each["progress"] for each in lines[:-1]]
    assert percents == sorted(percents)


def test_a_download_does_not_need_a_reader(origin: Origin, tmp_path: Path) -> None:
    """Whoever read the JSON went away: it is finished all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    running = subprocess.Popen(line(tmp_path, origin.url, "--json"), stdout=writing, cwd=tmp_path)
    os.close(writing)
    assert (0, ["index.mp4"]) == (running.wait(timeout=240), films(tmp_path))


def test_a_bar_is_not_left_on_the_terminal(origin: Origin, tmp_path: Path) -> None:
    """What is there already has no bar: none is begun that nobody ends."""
    assert 0 == run(tmp_path, origin.url).returncode
    terminal, end = pty.openpty()
    running = subprocess.Popen(line(tmp_path, origin.url), stderr=end, stdout=subprocess.DEVNULL, cwd=tmp_path)
    os.close(end)
    assert 0 == running.wait(timeout=240)
    os.set_blocking(terminal, False)
    try:
        written = os.read(terminal, 1000)
    except OSError:  # nothing was written, and the other end is closed
        written = b""
    os.close(terminal)
    assert b"" == written


def test_a_list_goes_on_where_it_was_stopped(origin: Origin, tmp_path: Path) -> None:
    """Ctrl-C ends all of it with 130; the same line again fetches what is missing."""
    (tmp_path / "list").write_text(f"{origin.url} one\n{origin.url} two\n")
    arguments = ("-i", "list", "--threads", "1")
    origin.answered = 3
    running = subprocess.Popen(
        line(tmp_path, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    while len(origin.segments()) <= origin.answered and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=120)
    assert (130, []) == (running.returncode, films(tmp_path)), stderr
    origin.free.set()
    assert 0 == run(tmp_path, *arguments).returncode
    assert ["one.mp4", "two.mp4"] == films(tmp_path)
    fetched = origin.segments()
    assert len(fetched) <= 2 * len(set(fetched)) + 1  # one connection: at most one was in flight


def test_lines_of_progress_are_few(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One at once for a new phase, else at most one a second and only when something moved."""
    now = [10.0]
    shown = JsonLines({"index": 3}, clock=lambda: now[0])
    steps = [
        (10.0, Progress()),
        (10.0, Progress(phase=Phase.DOWNLOAD, percent=1)),
        (10.5, Progress(phase=Phase.DOWNLOAD, percent=2)),
        (11.0, Progress(phase=Phase.DOWNLOAD, percent=3, speed=1.6, eta_s=2.4)),
        (19.0, Progress(phase=Phase.DOWNLOAD, percent=3, speed=1.6, eta_s=2.4)),
        (19.1, Progress(phase=Phase.MERGE, percent=3)),
    ]
    for now[0], progress in steps:
        shown.update(progress)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    shown.close(["w", Said("提示", "a hint")])
    lines = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [("download", 1), ("download", 3), ("merge", 3)] == [(each["phase"], each["progress"]) for each in lines[:3]]
    assert [{"event": "warning", "index": 3, "text": each} for each in ("w", "a hint")] == lines[3:]
    assert (2, 2) == (lines[1]["speed"], lines[1]["eta"])
