"""
The storage against a real OpenSSH server: what it makes, what it leaves alone, what it leaves behind.
"""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import paramiko
import pytest
from m3u8svc_storage_sftp.configuration import read_configuration
from m3u8svc_storage_sftp.results import Results, State
from m3u8svc_storage_sftp.server import ConnectionLost, Server
from m3u8svc_storage_sftp.stopping import Stop, Stopped
from m3u8svc_storage_sftp.storage import SftpStorage
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from m3u8svc.plugin import Published, PublishError

LARGE = os.urandom(5_000_001)
NO_PAUSES = (0.01, 0.01)


class Watched(Stop):
    """
    Calls `happen` the `at`-th time somebody asks whether to stop: in the middle of sending.
    """

    def __init__(self, happen: Callable[[], object], at: int) -> None:
        super().__init__()
        self._happen = happen
        self._left = at

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._happen()
        super().check()


@pytest.fixture
def make(server: Any, bench: Any, tmp_path: Path) -> Callable[..., SftpStorage]:
    def make(in_thread: Any = bench.inline, state: str = "state", **changes: Any) -> SftpStorage:
        table = {key: value for key, value in (server.table | changes).items() if value is not None}
        return SftpStorage(
            read_configuration(table),
            Results(tmp_path / state),
            in_thread=in_thread,
            log=bench.log,
            pauses_s=NO_PAUSES,
        )

    return make


def url(server: Any, path: str) -> str:
    return f"sftp://{server.table['username']}@127.0.0.1:{server.port}{server.files}/{path}"


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=lambda body: str(len(body)))
def test_the_file_holds_the_bytes(server: Any, bench: Any, make: Any, body: bytes) -> None:
    """Of any size; nothing hidden is left, the local file is gone."""
    storage, task = make(), bench.task()
    staged = bench.stage(storage, task, body, changed_at=1_500_000_000.75)
    published = bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert Published(location=url(server, "film.mp4"), size_bytes=len(body), local=False) == published
    assert {"film.mp4": body} == server.contents()
    assert not staged.exists()
    assert 1_500_000_000 == (server.files / "film.mp4").stat().st_mtime


def test_a_request_may_name_a_directory(server: Any, bench: Any, make: Any) -> None:
    """Below the configured one; it is made."""
    storage, task = make(), bench.task(directory="2026/films")
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    assert url(server, "2026/films/film.mp4") == published.location
    again = bench.task("t2", directory="2026/films")
    bench.result(storage.publish(again, bench.stage(storage, again, b"y"), "film", ".mp4"))
    assert {"2026/films/film.mp4": b"x", "2026/films/film_0001.mp4": b"y"} == server.contents()


def test_names_are_taken_as_they_are(server: Any, bench: Any, make: Any) -> None:
    """Spaces, Chinese and what means something in a URL come through, to the file and back for its removal."""
    storage, task = make(), bench.task()
    name = "电影 #1 100%?+&"
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), name, ".mp4"))
    assert {f"{name}.mp4": b"x"} == server.contents()
    assert url(server, "电影%20%231%20100%25%3F+&.mp4") == published.location
    bench.result(storage.remove(task, published.location))
    assert {} == server.contents()


def test_a_taken_name_is_left_alone(server: Any, bench: Any, make: Any) -> None:
    """By a file, a directory or a link that leads nowhere: the next free number is used."""
    (server.files / "film.mp4").write_bytes(b"theirs")
    (server.files / "film_0001.mp4").mkdir()
    (server.files / "film_0002.mp4").symlink_to("nowhere")
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, LARGE), "film", ".mp4"))
    assert url(server, "film_0003.mp4") == published.location
    assert {"film.mp4": b"theirs", "film_0003.mp4": LARGE} == server.contents()
    assert (server.files / "film_0001.mp4").is_dir() and (server.files / "film_0002.mp4").is_symlink()


def test_the_servers_renaming_does_not_replace(server: Any, make: Any) -> None:
    """What appears after the look is safe too."""
    (server.files / "film.mp4").write_bytes(b"theirs")
    (server.files / ".part").write_bytes(b"ours")
    with Server(make()._configuration) as connection:
        assert not connection.name(f"{server.files}/.part", f"{server.files}/film.mp4")
    assert {"film.mp4": b"theirs", ".part": b"ours"} == server.contents()


def test_two_that_race_for_a_name_get_one_each(server: Any, bench: Any, make: Any) -> None:
    """Two services that publish the same name at once end with two files, each whole."""
    bodies = [bytes([number]) * 100_000 for number in range(2)]
    outcome: list[Any] = []
    for round_ in range(5):
        for number, body in enumerate(bodies):
            storage = make(bench.threads, state=f"state{number}")
            task = bench.task(f"t{number}{round_}")
            staged = bench.stage(storage, task, body)
            Deferred.fromCoroutine(storage.publish(task, staged, f"film{round_}", ".mp4")).addBoth(outcome.append)
        bench.threads.join()
    wanted = {url(server, f"film{round_}{end}.mp4") for round_ in range(5) for end in ("", "_0001")}
    assert wanted == {getattr(each, "location", each) for each in outcome}
    assert sorted(bodies * 5) == sorted(server.contents().values())


# -- What fails ------------------------------------------------------------------------------------------------------


def failing(bench: Any, storage: SftpStorage, body: bytes = b"x", name: str = "film") -> str:
    """The text a publishing fails with; the finished file must still be there, without a change."""
    task = bench.task()
    staged = bench.stage(storage, task, body)
    with pytest.raises(PublishError) as caught:
        bench.result(storage.publish(task, staged, name, ".mp4"))
    assert body == staged.read_bytes()
    return caught.value.text()


def test_a_wrong_password_is_said(server: Any, bench: Any, make: Any) -> None:
    """It names the user, and not the password."""
    said = failing(bench, make(private_key=None, password="hunter2-wrong"))
    assert f"拒绝用户 {server.table['username']} 登录" in said and "密码" in said
    assert "hunter2" not in said
    assert {} == server.contents()


def test_a_wrong_key_is_said(server: Any, bench: Any, make: Any) -> None:
    """A key the server does not know."""
    said = failing(bench, make(private_key=(server.place / "stranger").read_text()))
    assert "私钥不正确" in said and "PRIVATE" not in said


@pytest.mark.parametrize("known", ["host_key", "known_hosts"])
def test_another_host_key_is_refused(server: Any, bench: Any, make: Any, tmp_path: Path, known: str) -> None:
    """Before anything of ours is told to that server; both fingerprints are named."""
    other = (server.place / "stranger.pub").read_text().strip()
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{server.port} {other}\n")
    change = {"host_key": other} if known == "host_key" else {"host_key": None, "known_hosts": str(file)}
    said = failing(bench, make(**change))
    assert "主机密钥不符" in said and 2 == said.count("SHA256:")
    assert "Accepted" not in server.log


def test_a_host_that_is_not_in_the_file_is_refused(server: Any, bench: Any, make: Any, tmp_path: Path) -> None:
    """An unknown key is never accepted, and never written down."""
    file = tmp_path / "known_hosts"
    file.write_text(f"127.0.0.1 {server.host_key}\n")  # port 22
    said = failing(bench, make(host_key=None, known_hosts=str(file)))
    assert "known_hosts 中没有" in said
    assert f"127.0.0.1 {server.host_key}\n" == file.read_text()
    assert "Accepted" not in server.log


@pytest.mark.parametrize("hashed", [False, True])
def test_a_known_host_is_let_through(server: Any, bench: Any, make: Any, tmp_path: Path, hashed: bool) -> None:
    """Also by a file whose names are hashed."""
    file = tmp_path / "known_hosts"
    file.write_text(f"# ours\n[127.0.0.1]:{server.port} {server.host_key}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
        assert "127.0.0.1" not in file.read_text()
    storage, task = make(host_key=None, known_hosts=str(file)), bench.task()
    bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    assert {"film.mp4": b"x"} == server.contents()


def test_a_server_with_several_host_keys_is_known_by_one(make_server: Any, bench: Any, tmp_path: Path) -> None:
    """The kind of key that is configured is the one asked for."""
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f", str(rsa)], check=True)
    server = make_server(f"HostKey {rsa}")
    table = server.table | {"host_key": rsa.with_suffix(".pub").read_text()}
    with Server(read_configuration(table)) as connection:
        assert str(server.files) == connection.directory("")


def test_a_server_that_is_away_is_said(server: Any, bench: Any, make: Any) -> None:
    """After a bounded number of attempts."""
    server.kill()
    assert f"无法连接 127.0.0.1:{server.port}" in failing(bench, make())


def test_a_server_without_sftp_is_said(make_server: Any, bench: Any, make: Any) -> None:
    """It is no SFTP server then."""
    server = make_server(Subsystem="other /bin/true")
    said = failing(bench, make(**server.table))
    assert "不提供 SFTP" in said


def test_a_server_that_says_nothing_is_given_up(bench: Any, make: Any) -> None:
    """One that accepts connections and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = failing(bench, make(port=silent.getsockname()[1], timeout_s=1))
    assert "无法连接" in said


def test_a_missing_directory_is_not_made(server: Any, bench: Any, make: Any) -> None:
    """A disk that is not mounted is not replaced by a directory."""
    said = failing(bench, make(directory=str(server.files / "disk")))
    assert f"没有目录 {server.files}/disk" in said
    assert [] == list(server.files.iterdir())


def test_a_read_only_server_is_said(make_server: Any, bench: Any, make: Any) -> None:
    """With its own words."""
    server = make_server(Subsystem="sftp internal-sftp -R")
    said = failing(bench, make(**server.table))
    assert f"{server.files}/.t1.part" in said and "没有权限（Permission denied）" in said


def test_a_full_disk_is_said_and_left_clean(server: Any, bench: Any, make: Any) -> None:
    """The hidden file is removed again."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root") if os.environ.get("CI") != "true" else pytest.fail("needs root")
    small = server.files / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        what = f"the right to mount a tmpfs: {mounted.stderr.decode().strip()}"
        pytest.skip(what) if os.environ.get("CI") != "true" else pytest.fail(what)
    try:
        said = failing(bench, make(directory=str(small)), LARGE)
        assert "服务器拒绝（Failure）" in said and "空间不足" in said
        assert [] == list(small.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_long_name_is_said(server: Any, bench: Any, make: Any) -> None:
    """What the server's disk does not take as a name."""
    assert "服务器拒绝（Bad message）" in failing(bench, make(), name="x" * 300)
    assert {} == server.contents()


# -- Interruptions ---------------------------------------------------------------------------------------------------


def test_a_server_killed_in_the_middle_is_survived(server: Any, bench: Any, make: Any) -> None:
    """It fails, the finished file is still there; when the server is back the next run leaves one whole file."""
    storage, task = make(), bench.task()
    staged = bench.stage(storage, task, LARGE)
    with pytest.raises(PublishError, match="127.0.0.1"):
        storage._publish(storage._wanted(task, "film", ".mp4"), Watched(server.kill, at=5))
    assert LARGE == staged.read_bytes()
    assert [".t1.part"] == list(server.contents())
    assert len(server.contents()[".t1.part"]) < len(LARGE)
    server.start()
    assert bench.result(storage.recover(task, "film", ".mp4")) is None
    bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert {"film.mp4": LARGE} == server.contents()


def test_a_server_that_falls_silent_is_given_up(server: Any, bench: Any, make: Any) -> None:
    """In the middle of a file: after timeout_s, and it is not taken for a full disk."""
    storage, task = make(timeout_s=1), bench.task()
    bench.stage(storage, task, LARGE)
    began = time.monotonic()
    with pytest.raises(PublishError, match="超时|无法连接"):
        storage._publish(storage._wanted(task, "film", ".mp4"), Watched(server.freeze, at=5))
    assert time.monotonic() - began < 30


def test_a_server_that_comes_back_is_not_noticed(server: Any, bench: Any, make: Any) -> None:
    """A connection that breaks is made again."""

    def restart() -> None:
        server.kill()
        server.start()

    storage, task = make(), bench.task()
    bench.stage(storage, task, LARGE)
    storage._publish(storage._wanted(task, "film", ".mp4"), Watched(restart, at=5))
    assert {"film.mp4": LARGE} == server.contents()


def test_what_a_dead_run_left_is_cleaned_up_by_another_task(server: Any, bench: Any, make: Any) -> None:
    """The hidden file of a task that is never run again goes with the next publishing of the next run."""
    storage, task = make(), bench.task("dead")
    bench.stage(storage, task, LARGE)
    with pytest.raises(PublishError):
        storage._publish(storage._wanted(task, "film", ".mp4"), Watched(server.kill, at=5))
    server.start()
    storage, other = make(), bench.task("t2")
    bench.result(storage.publish(other, bench.stage(storage, other, b"x"), "film", ".mp4"))
    assert {"film.mp4": b"x"} == server.contents()
    assert storage._results.find("dead") is None


def test_what_is_sent_right_now_is_not_cleaned_up(server: Any, bench: Any, make: Any) -> None:
    """A task that failed and runs again is left alone by another's cleaning up."""
    storage, task, other = make(), bench.task("t1"), bench.task("t2")
    staged = bench.stage(storage, task, LARGE)
    with pytest.raises(PublishError):
        storage._publish(storage._wanted(task, "film", ".mp4"), Watched(server.kill, at=5))
    server.start()

    def publish_other() -> None:
        storage._results.leave_behind(storage._results.find("t1"))  # as if it had not been taken yet
        bench.result(storage.publish(other, bench.stage(storage, other, b"x"), "other", ".mp4"))

    storage._publish(storage._wanted(task, "film", ".mp4"), Watched(publish_other, at=6))
    assert {"film.mp4": LARGE, "other.mp4": b"x"} == server.contents()
    assert not staged.exists()


def test_a_cancelled_upload_ends_and_is_removed(server: Any, bench: Any, make: Any) -> None:
    """A pause in the middle: the cancellation goes on only when nothing is left of it on the server."""
    sending, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        sending.set()
        assert go_on.wait(30)

    def in_thread(function: Any, *arguments: Any) -> Any:
        *arguments, stop = arguments
        watched = Watched(hold, at=5)
        watched._event = stop._event
        return bench.threads(function, *arguments, watched)

    storage, task = make(in_thread), bench.task()
    staged = bench.stage(storage, task, LARGE)
    outcome: list[Any] = []
    publishing = Deferred.fromCoroutine(storage.publish(task, staged, "film", ".mp4")).addBoth(outcome.append)
    assert sending.wait(30)
    assert [".t1.part"] == list(server.contents())
    publishing.cancel()
    assert [] == outcome, "it went on before the upload had ended"
    go_on.set()
    bench.threads.join()
    assert isinstance(outcome[0], Failure) and outcome[0].check(CancelledError)
    assert {} == server.contents()
    assert LARGE == staged.read_bytes()
    assert storage._results.find("t1") is None


def test_a_pause_between_attempts_is_felt(server: Any, bench: Any, make: Any) -> None:
    """Nobody waits for a server that is away once it shall stop."""
    server.kill()
    stop = Stop()
    storage = make()
    storage._pauses_s = (3600.0,)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        storage._publish(storage._wanted(bench.task(), "film", ".mp4"), stop)


# -- Crashes ---------------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """Our process ends here."""


class Crashing(Results):
    """
    Results that are saved up to the `left`-th time; what would have followed never happens.
    """

    def __init__(self, directory: Path, left: int) -> None:
        super().__init__(directory)
        self._saves_left = left

    def save(self, result: Any) -> None:
        if not self._saves_left:
            raise PowerCut
        self._saves_left -= 1
        super().save(result)


def crash(bench: Any, storage: SftpStorage, task: Any, body: bytes, left: int) -> Path:
    """A run that ends when it would save the next record after `left` of them."""
    storage._results = Crashing(storage._results._directory, left)
    staged: Path = bench.stage(storage, task, body)
    with pytest.raises(PowerCut):
        bench.result(storage.publish(task, staged, "film", ".mp4"))
    return staged


def test_a_crash_after_the_renaming_loses_and_doubles_nothing(server: Any, bench: Any, make: Any) -> None:
    """The file has its name and nobody has noted that: the next run finds it, though a name before it is free now."""
    (server.files / "film.mp4").write_bytes(b"theirs")
    task = bench.task()
    staged = crash(bench, make(), task, LARGE, left=2)
    assert staged.exists() and "film_0001.mp4" in server.contents()
    (server.files / "film.mp4").unlink()
    published = bench.result(make().recover(task, "film", ".mp4"))
    assert Published(location=url(server, "film_0001.mp4"), size_bytes=len(LARGE), local=False) == published
    assert {"film_0001.mp4": LARGE} == server.contents()
    assert not staged.exists()


def test_a_crash_before_the_renaming_publishes_once(server: Any, bench: Any, make: Any) -> None:
    """The hidden file is there, and somebody's with the name, size and time it was meant to get: that is theirs."""
    task = bench.task()
    staged = crash(bench, make(), task, b"ours", left=1)
    record = make()._results
    changed_at = int((server.files / ".t1.part").stat().st_mtime)
    found = record.find("t1")
    record.save(
        attrs.evolve(found, state=State.NAMING, path=f"{server.files}/film.mp4", size_bytes=4, changed_at=changed_at)
    )
    (server.files / "film.mp4").write_bytes(b"them")
    os.utime(server.files / "film.mp4", (changed_at, changed_at))
    storage = make()
    assert bench.result(storage.recover(task, "film", ".mp4")) is None
    assert staged.exists()
    bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert {"film.mp4": b"them", "film_0001.mp4": b"ours"} == server.contents()


def test_an_answer_that_is_lost_is_made_out(server: Any, bench: Any, make: Any) -> None:
    """The server renames and the connection ends before it says so: the file is known as ours, and is not doubled."""
    storage, task = make(), bench.task()
    staged = bench.stage(storage, task, LARGE)
    lose = [True]

    class Losing(Server):
        def name(self, part: str, path: str) -> bool:
            named = super().name(part, path)
            if lose:
                lose.clear()
                raise ConnectionLost("lost")
            return named

    storage._connect = Losing
    published = bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert url(server, "film.mp4") == published.location
    assert {"film.mp4": LARGE} == server.contents()


def test_a_renaming_still_under_way_never_finds_half_a_file(server: Any, bench: Any, make: Any) -> None:
    """When the connection ends before the renaming, what was sent is not sent again under the same hidden name."""
    storage, task = make(), bench.task()
    staged = bench.stage(storage, task, LARGE)
    sent: list[str] = []

    class Losing(Server):
        def send(self, source: Path, path: str, stop: Stop) -> Any:
            sent.append(path)
            return super().send(source, path, stop)

        def name(self, part: str, path: str) -> bool:
            if len(lost) < 1:
                lost.append(path)
                raise ConnectionLost("lost")
            return super().name(part, path)

    lost: list[str] = []
    storage._connect = Losing
    bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert 1 == len(sent)
    assert {"film.mp4": LARGE} == server.contents()


def test_a_first_run_asks_nobody(server: Any, bench: Any, make: Any) -> None:
    """A task that published nothing is not held up by a server that is away."""
    server.kill()
    assert bench.result(make().recover(bench.task(output_id=""), "film", ".mp4")) is None
    assert bench.result(make().recover(bench.task(), "film", ".mp4")) is None


# -- Removal ---------------------------------------------------------------------------------------------------------


def test_a_result_is_removed(server: Any, bench: Any, make: Any) -> None:
    """And only that; once more is fine, and so is one that somebody else has removed."""
    (server.files / "film.mp4").write_bytes(b"theirs")
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    bench.result(make().remove(task, published.location))
    assert {"film.mp4": b"theirs"} == server.contents()
    bench.result(storage.remove(task, published.location))
    other = bench.task("t2")
    published = bench.result(storage.publish(other, bench.stage(storage, other, b"x"), "other", ".mp4"))
    (server.files / "other.mp4").unlink()
    bench.result(storage.remove(other, published.location))
    assert {"film.mp4": b"theirs"} == server.contents()


@pytest.mark.parametrize("change", ["size", "time", "kind"])
def test_what_has_changed_since_is_not_removed(server: Any, bench: Any, make: Any, change: str) -> None:
    """It is somebody else's by now; the log says so."""
    storage, task = make(), bench.task()
    published = bench.result(
        storage.publish(task, bench.stage(storage, task, b"x", changed_at=1_000_000), "film", ".mp4")
    )
    file = server.files / "film.mp4"
    if change == "kind":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(b"xx" if change == "size" else b"x")
        os.utime(file, (1_000_000, 1_000_000 if change == "size" else 1_000_001))
    bench.result(storage.remove(task, published.location))
    assert file.exists()
    assert "has changed since" in bench.logged[0]


@pytest.mark.parametrize("other", ["path", "task", "port"])
def test_what_is_not_on_record_is_not_removed(server: Any, bench: Any, make: Any, other: str) -> None:
    """Another path, another task, another server."""
    (server.files / "theirs.mp4").write_bytes(b"x")
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    location = published.location.replace("film", "theirs") if other == "path" else published.location
    if other == "port":
        storage = make(port=1)
    bench.result(storage.remove(bench.task("t2") if other == "task" else task, location))
    assert {"theirs.mp4": b"x", "film.mp4": b"x"} == server.contents()
    assert "not on record" in bench.logged[0]


def test_a_removal_that_fails_is_said(server: Any, bench: Any, make: Any) -> None:
    """Not taken for done: when the server is back it can be done."""
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    server.kill()
    with pytest.raises(PublishError):
        bench.result(storage.remove(task, published.location))
    server.start()
    bench.result(storage.remove(task, published.location))
    assert {} == server.contents()


# -- Passwords -------------------------------------------------------------------------------------------------------


@contextmanager
def password_server(username: str, password: str) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    """
    An SSH server that knows one user by password and serves nothing: its port, host key, and logins tried. OpenSSH's
    takes the machine's own users, whose passwords are not ours to know.
    """
    key = paramiko.ECDSAKey.generate()
    tried: list[tuple[str, str]] = []

    class Door(paramiko.ServerInterface):
        def check_auth_password(self, given: str, word: str) -> int:
            tried.append((given, word))
            return paramiko.AUTH_SUCCESSFUL if (given, word) == (username, password) else paramiko.AUTH_FAILED

        def get_allowed_auths(self, given: str) -> str:
            return "password"

        def check_channel_request(self, kind: str, number: int) -> int:
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.start_server(server=Door())
            transport.join(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], f"{key.get_name()} {key.get_base64()}", tried
        thread.join(30)


def test_a_right_password_logs_in(bench: Any, make: Any) -> None:
    """As it is, whatever is in it."""
    word = "pässwörd mit spaces\"'"
    with password_server("max", word) as (port, host_key, tried):
        said = failing(bench, make(private_key=None, username="max", password=word, port=port, host_key=host_key))
    assert [("max", word)] == tried
    assert "不提供 SFTP" in said  # it got that far


def test_a_key_where_only_passwords_do_is_said(bench: Any, make: Any) -> None:
    """With what would do."""
    with password_server("max", "x") as (port, host_key, _):
        said = failing(bench, make(username="max", port=port, host_key=host_key))
    assert "允许：password" in said
