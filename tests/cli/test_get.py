"""``m3u8svc get`` as a person uses it: a real process, a real stream, served as the test lets it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.cli.foreground import Journal, State, _with_past
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.wording import Said, in_english, packed
from tests.cli.conftest import Invoke
from tests.needs import no_rights
from tests.visited import VisitedServer


class SlowFiles(SimpleHTTPRequestHandler):
    """Serves a directory, so many segments of it at first; the server counts the requests per path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Origin)
        server.visits.append(self.path)
        if self.path.endswith(".ts"):
            if len(server.segments()) > server.answered:
                server.free.wait(240)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


class Origin(VisitedServer):
    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(SlowFiles, directory=str(directory)))
        self.visits: list[str] = []
        self.answered = 1_000_000
        """How many segments are sent before `free` is set."""
        self.free = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/index.m3u8"

    def segments(self) -> list[str]:
        return [path for path in self.visits if path.endswith(".ts")]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stream")
    made = [sys.executable, "-m", "m3u8svc.testing.stream", str(directory), "--seconds", "12"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture
def origin(stream: Path) -> Iterator[Origin]:
    server = Origin(stream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def command(origin: Origin, tmp_path: Path, *more: str) -> list[str]:
    line = [sys.executable, "-m", "m3u8svc", "get", origin.url, "-o", str(tmp_path / "film.mp4")]
    return [*line, "--home", str(tmp_path / "home"), *more]


def run(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, capture_output=True, text=True, timeout=240, env={**os.environ, "LC_ALL": "C.UTF-8"})


def test_get_makes_a_file_and_knows_it_next_time(origin: Origin, tmp_path: Path) -> None:
    """Once: downloaded. Again: already there, nothing asked. File gone: downloaded again."""
    first = run(command(origin, tmp_path))
    assert (0, True) == (first.returncode, "verified" in first.stdout), first.stderr
    content = (tmp_path / "film.mp4").read_bytes()
    asked = len(origin.visits)
    again = run(command(origin, tmp_path))
    assert (0, True, asked) == (again.returncode, "already there" in again.stdout, len(origin.visits))
    (tmp_path / "film.mp4").unlink()
    assert 0 == run(command(origin, tmp_path)).returncode
    assert content == (tmp_path / "film.mp4").read_bytes()
    assert {"film.mp4", "home"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("more", [[], ["--header", "Host: other.example"]], ids=["progress", "warning first"])
def test_get_goes_on_without_a_reader(origin: Origin, tmp_path: Path, more: list[str]) -> None:
    """Whoever read our stderr went away: the download is finished all the same, and well."""
    reading, writing = os.pipe()
    running = subprocess.Popen(command(origin, tmp_path, *more), stderr=writing, stdout=subprocess.DEVNULL)
    os.close(writing)
    os.close(reading)
    try:
        assert 0 == running.wait(timeout=120)
    finally:
        running.kill()
    assert {"film.mp4", "home"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_get_goes_on_where_it_was_stopped(origin: Origin, tmp_path: Path, number: signal.Signals) -> None:
    """Stopped half-way by Ctrl-C, a polite or a rude kill: the same line again fetches only what is missing."""
    origin.answered = 3
    running = subprocess.Popen(
        command(origin, tmp_path, "--threads", "1"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 120
    while len(origin.segments()) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    _, said = running.communicate(timeout=120)
    if number is signal.SIGINT:
        assert 130 == running.returncode and "type the same line again" in said
    assert not (tmp_path / "film.mp4").exists()
    origin.free.set()
    assert 0 == run(command(origin, tmp_path, "--threads", "1")).returncode
    fetched = origin.segments()
    assert len(fetched) <= len(set(fetched)) + 1  # one connection: at most one was in flight
    clean = tmp_path / "clean"
    clean.mkdir()
    assert 0 == run(command(origin, clean)).returncode
    assert (clean / "film.mp4").read_bytes() == (tmp_path / "film.mp4").read_bytes()
    assert {"film.mp4", "home", "clean"} == set(os.listdir(tmp_path))


def test_get_other_segments_are_another_film(origin: Origin, tmp_path: Path) -> None:
    """With another --skip the file that is there is not the one that is wanted; it is not replaced."""
    assert 0 == run(command(origin, tmp_path)).returncode
    assert 0 == run(command(origin, tmp_path, "--skip", "1")).returncode
    assert (tmp_path / "film_0001.mp4").stat().st_size < (tmp_path / "film.mp4").stat().st_size


def test_get_other_choices_are_another_film(origin: Origin, tmp_path: Path) -> None:
    """
    So are another choice of groups and a key of one's own; the same choice is the same film at any rate, and holds no
    key.
    """
    assert 0 == run(command(origin, tmp_path)).returncode
    choice = ["--groups", "1", "--iv", "CAFE"]
    again = run(command(origin, tmp_path, *choice))
    assert (0, False) == (again.returncode, "already there" in again.stdout)
    assert "already there" in run(command(origin, tmp_path, *choice, "--limit-rate", "1G")).stdout
    assert "already there" not in run(command(origin, tmp_path)).stdout
    (directory,) = (tmp_path / "home" / "get").iterdir()
    assert "cafe" not in (directory / "state.json").read_text().lower()


def test_get_a_local_playlist(origin: Origin, stream: Path, tmp_path: Path) -> None:
    """The playlist is not asked for, and names the film; run again it is already there."""
    path = tmp_path / "my film.m3u8"
    path.write_bytes((stream / "index.m3u8").read_bytes())
    line = [sys.executable, "-m", "m3u8svc", "get", str(path), "--base-url", origin.url, "--home", str(tmp_path / "h")]
    first = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (0, True) == (first.returncode, (tmp_path / "my film.mp4").exists()), first.stderr
    assert "/index.m3u8" not in origin.visits
    again = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "already there" in again.stdout
    path.write_text(path.read_text() + "\n# changed\n")
    assert "already there" not in subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=tmp_path).stdout


def test_get_keeps_segments_when_they_are_wanted_later(origin: Origin, tmp_path: Path) -> None:
    """A finished film without its segments is no answer to --keep-ts; one with them answers both lines."""
    assert 0 == run(command(origin, tmp_path)).returncode
    kept = run(command(origin, tmp_path, "--keep-ts"))
    assert (0, False) == (kept.returncode, "already there" in kept.stdout)
    (listed,) = tmp_path.glob("film*/filelist.txt")
    assert len(set(origin.segments())) == listed.read_text().count("file 0")
    for more in (["--keep-ts"], []):
        assert "already there" in run(command(origin, tmp_path, *more)).stdout


def test_get_twice_at_once_is_refused(origin: Origin, tmp_path: Path) -> None:
    """A second process with the same line ends with status 75 and leaves the first alone."""
    origin.answered = 0
    first = subprocess.Popen(command(origin, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not origin.segments() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = run(command(origin, tmp_path))
    origin.free.set()
    assert 75 == second.returncode and "another process" in second.stderr
    assert 0 == first.wait(timeout=60)


def test_get_failure_is_a_line_with_its_code_and_one_with_what_to_do(origin: Origin, tmp_path: Path) -> None:
    """What cannot be had: status 1, the code, the URL without its query, what can be done, no traceback."""
    line = [sys.executable, "-m", "m3u8svc", "get", origin.url.replace("index", "none") + "?token=CANARY"]
    failed = run([*line, "-o", str(tmp_path / "x.mp4"), "--home", str(tmp_path / "home")])
    assert 1 == failed.returncode
    said, advice = failed.stderr.splitlines()[-2:]
    assert "[http_4xx]" in said and "404" in said
    assert advice.startswith("What to do: see whether the link has expired")
    assert advice.endswith("and type the line again") and "task" not in advice
    assert "CANARY" not in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["ftp://h/a.m3u8"], "ftp"),
        (["http://h/a.m3u8", "-o", "x.mkv"], ".mkv"),
        (["http://h/a.m3u8", "--skip", "1-"], "--skip"),
        (["http://h/a.m3u8", "--header", "nonsense"], "--header"),
        (["http://h/a.m3u8", "--header", "X Y: 1", "--header", "Z: a\nb"], "“X Y” is not valid; the value of “Z” has"),
        (["http://h/a.m3u8", "--proxy", "h:1"], "--proxy"),
        (["http://h/a.m3u8", "--proxy", "socks4://h:1"], "only SOCKS5 works"),
        (["http://h/a.m3u8", "--threads", "1001"], "--threads"),
        (["http://h/a.m3u8", "--variant", "hight=1"], "--variant"),
        (["http://h/a.m3u8", "--key", "zz"], "--key"),
        (["gone.m3u8"], "gone.m3u8 is neither an http URL nor a file that can be read (No such file or directory)\n"),
        (["127.0.0.1:9000/i.m3u8?a=CANARY"], "127.0.0.1:9000/i.m3u8?… is neither"),
        (["127.0.0.1:9000/i.m3u8?a=CANARY"], "if it is an address, write http://127.0.0.1:9000/i.m3u8?…"),
        (["stream.example/film"], "write http://stream.example/film\n"),
        (["localhost/film"], "write http://localhost/film\n"),
        (["box:8000"], "write http://box:8000\n"),
        ([f"http://{'a' * 64}.com/a.m3u8"], "URL"),
        (["http://h/a.m3u8", "-o", ""], "--output"),
        (["http://h/a.m3u8", "-o", "-"], "no output to the standard output"),
        (["http://h/a.m3u8", "-o", " .mp4"], "--output"),
        (["http://h/a.m3u8", "-o", "nowhere/.."], "--output"),
        (["http://h/a.m3u8", "-o", "x" * 201 + ".mp4"], "--output"),
        (["http://h/a.m3u8", "-o", "x" * 200 + ".foo"], "--output"),
        (["http://h/a.m3u8", "-o", "影" * 67 + ".mp4"], "--output"),
        (["http://h/a.m3u8", "-o", "a\nb.mp4"], "--output"),
        (["http://h/a.m3u8", "-o", "a\x7fb.ts"], "--output"),
        (["http://h/a.m3u8", "-o", "a\u202eb.mp4"], "--output"),
    ],
)
def test_get_bad_usage_names_it(more: list[str], named: str, tmp_path: Path) -> None:
    """A wrong line is status 2 and says what is wrong."""
    wrong = run([sys.executable, "-m", "m3u8svc", "get", *more, "--home", str(tmp_path)])
    assert 2 == wrong.returncode and named in wrong.stderr and "CANARY" not in wrong.stderr
    assert not re.search("[\u3000-\u9fff\uff00-\uffef]", wrong.stderr.replace("影", ""))


@pytest.mark.parametrize(
    ("output", "called"),
    [
        ("film.avi", "film.avi.mp4: .avi cannot be made"),
        ("d/{name}.mpeg", "{name}.mpeg.mp4: .mpeg cannot be made"),
        ("{host}.264x", "{host}.264x.mp4: .264x cannot be made"),
        ("film", ""),
        ("Episode 1.5", ""),
        ("film.TS", ""),
        ("film.avi.mp4", ""),
        ("{name}.{ext}", ""),
        ("{host}.{name}", ""),
    ],
)
def test_get_says_how_the_file_is_called(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, called: str
) -> None:
    """An extension that we cannot make is a part of the name, and that is said before anything is fetched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").write_text("no place for a state, so that it ends there")
    ended = invoke("get", "http://h/a.m3u8", "-o", output, "--home", f"{tmp_path}/home/x")
    warnings = [line for line in ended.stderr.splitlines() if line.startswith("Warning")]
    assert (1, bool(called)) == (ended.exit_code, bool(warnings))
    assert not called or called in warnings[0]


@pytest.mark.parametrize("option", ["-o", "--home"])
@pytest.mark.parametrize("place", ["loop/film.mp4", "x" * 256 + "/film.mp4"], ids=["links in a ring", "too long"])
def test_get_place_that_the_system_does_not_know(place: str, option: str, tmp_path: Path, origin: Origin) -> None:
    """One line that names it, status 1, no traceback, nothing asked."""
    (tmp_path / "loop").symlink_to("loop")
    line = [sys.executable, "-m", "m3u8svc", "get", origin.url, "--home", str(tmp_path / "home")]
    failed = run([*line, option, str(tmp_path / place)])
    assert (1, []) == (failed.returncode, origin.segments())
    assert str(tmp_path / place)[:100] in failed.stderr or str(tmp_path / "loop") in failed.stderr
    assert "Traceback" not in failed.stderr


def test_get_place_that_cannot_be_entered(invoke: Invoke) -> None:
    """Named, without a traceback: as a file to make, as a playlist, as a list and as a place for the state."""
    with TemporaryDirectory() as outside:
        shut = Path(outside, "shut")
        shut.mkdir(mode=0o700 if os.geteuid() == 0 else 0)  # root is told by `no_rights` that it is not its own
        Path(outside).chmod(0o711)
        for command in ("get", "demo"):
            invoke(command, "--help")  # what they import may be root's own, too
        with no_rights():
            written = invoke("get", "http://h/a.m3u8", "-o", f"{shut}/x.mp4", "--home", f"{shut}/home")
            read = invoke("get", f"{shut}/a.m3u8")
            listed = invoke("get", "-i", f"{shut}/list")
            kept = invoke("demo", "--keep", f"{shut}/films")
    assert (1, True) == (written.exit_code, f"no permission for {shut}/home" in written.stderr)
    assert (2, True) == (read.exit_code, "Permission denied" in read.stderr)
    assert (2, True) == (listed.exit_code, f"cannot read {shut}/list (Permission denied)" in listed.stderr)
    assert (1, True) == (kept.exit_code, f"cannot write to {shut}/films (Permission denied)" in kept.stderr)


@pytest.mark.parametrize(
    "line",
    [
        ["get", "~nobody-here/a.m3u8"],
        ["get", "http://h/a.m3u8", "--home", "~nobody-here/x"],
        ["demo", "--keep", "~nobody-here/x"],
        ["list", "--token-file", "~nobody-here/x"],
    ],
)
def test_home_of_a_user_that_there_is_not(invoke: Invoke, line: list[str]) -> None:
    """A wrong line, not a traceback."""
    assert 2 == invoke(*line).exit_code


class RefusingProxy(BaseHTTPRequestHandler):
    """Asks everybody for another password."""

    def do_GET(self) -> None:
        self.send_error(407)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_get_with_a_proxy_asks_nobody_else(origin: Origin, tmp_path: Path) -> None:
    """A wrong password at the proxy ends the download at once and says so; nothing is asked of the origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), RefusingProxy) as proxy:
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        failed = run(command(origin, tmp_path, "--proxy", f"http://me:s3cret@127.0.0.1:{proxy.server_port}"))
        proxy.shutdown()
    assert (1, []) == (failed.returncode, origin.visits)
    assert "[proxy_auth_failed]" in failed.stderr and "s3cret" not in failed.stderr + failed.stdout


@pytest.mark.parametrize("umask", [0o022, 0])
def test_get_state_is_small_and_private(origin: Origin, tmp_path: Path, umask: int) -> None:
    """One directory with a lock and a state file, nobody else's to look into, nor the directories made on the way."""
    line = [*command(origin, tmp_path), "--home", str(tmp_path / "new" / "home")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240, umask=umask)
    assert 0 == done.returncode, done.stderr
    (directory,) = (tmp_path / "new" / "home" / "get").iterdir()
    modes = {path: path.stat().st_mode & 0o777 for path in [tmp_path / "new", *(tmp_path / "new").rglob("*")]}
    assert {path: 0o700 if path.is_dir() else 0o600 for path in modes} == modes
    assert {"lock", "state.json"} == set(os.listdir(directory))
    assert str(tmp_path / "film.mp4") == json.loads((directory / "state.json").read_text())["output"]


def test_state_is_written_in_a_thread(tmp_path: Path) -> None:
    """What a job records waits for the disk in a thread, and is durable when the job goes on."""
    calls: list[Callable[[], object]] = []

    def later(function: Callable[..., object], *arguments: object, **named: object) -> Deferred[object]:
        answer: Deferred[object] = Deferred()
        calls.append(lambda: maybeDeferred(function, *arguments, **named).chainDeferred(answer))
        return answer

    with State.held(tmp_path / "state", skip="", keep_ts=True) as state:
        journal = Journal(state=state, in_thread=later)
        warnings = ("a warning", Said("提示", "a hint"))
        for recorded in (journal.staged("1-2-3", (), warnings), journal.published("/film.mp4")):
            recording = Deferred.fromCoroutine(recorded)
            assert not recording.called
            calls.pop()()
            assert recording.called
    known = json.loads((tmp_path / "state" / "state.json").read_text())
    assert {
        "skip": "",
        "kept": "yes",
        "output_id": "1-2-3",
        "companions": "[]",
        "warnings": "a warning\n" + packed(Said("提示", "a hint")),
        "output": "/film.mp4",
    } == known


def test_what_was_said_before_is_said_again() -> None:
    """In both languages; by what an earlier version wrote down, in one."""
    task = Task(id="t1", spec=TaskSpec(url="http://h/x", filename="x"))
    both = _with_past(
        task, {"warnings": "\n".join(map(packed, [Said("提示", "a hint"), Said("注意", "mind")]))}
    ).warnings
    assert (("提示", "注意"), ["a hint", "mind"]) == (both, [in_english(each) for each in both])
    assert ["提示"] == [in_english(each) for each in _with_past(task, {"warnings": "提示"}).warnings]
    assert () == _with_past(task, {}).warnings


def test_get_without_a_place_for_its_state(origin: Origin, tmp_path: Path) -> None:
    """One line that names the place, status 1, no traceback."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "get").write_text("a file")
    failed = run(command(origin, tmp_path))
    assert (1, []) == (failed.returncode, origin.visits)
    assert str(tmp_path / "home") in failed.stderr and "Traceback" not in failed.stderr
