"""
The whole way: a request to the running service, a real stream, and the result on an SFTP server.
"""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

M3U8SVC = Path(sys.executable).with_name("m3u8svc")
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 90.0


class Child:
    """
    A child process that says where it listens.
    """

    def __init__(self, place: Path, name: str, *command: str) -> None:
        self._log = place / f"{name}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=place, stdout=output, stderr=output)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (found := re.search(r"listening on (http\S+)", self.log)):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)
        self.base = found[1].rstrip("/")

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self._log.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait."""
        self.process.send_signal(number)
        self.process.wait(20)

    def ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        """One request: status and JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + target, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def wait(self, task_id: str, *statuses: str) -> dict[str, Any]:
        """The task once it has one of these states."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            _, task = self.ask("GET", f"/api/tasks?id={task_id}")
            if task["status"] in statuses:
                found: dict[str, Any] = task
                return found
            assert task["status"] not in ("已完成", "失败") and time.monotonic() < deadline, f"{task}\n{self.log}"
            time.sleep(0.1)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Child]:
    """A stream of twelve seconds at /index.m3u8."""
    stream = tmp_path / "stream"
    command = [sys.executable, "-m", "m3u8svc.testing.stream", str(stream)]
    made = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    child = Child(tmp_path, "origin", sys.executable, "-m", "m3u8svc.testing.origin", str(made.parent))
    child.base += f"/{made.name}"
    yield child
    child.end()


def start(place: Path, table: dict[str, Any]) -> Child:
    """The service with this table of the plugin's, on one home."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    (place / "m3u8svc.toml").write_text("\n".join(["[plugins.storage-sftp]", *lines, ""]))
    options = [
        "--listen",
        "tcp:0:interface=127.0.0.1",
        "--home",
        str(place / "home"),
        "--save-dir",
        str(place / "saves"),
    ]
    return Child(place, "service", str(M3U8SVC), "serve", "--config", str(place / "m3u8svc.toml"), *options)


@pytest.fixture
def service(tmp_path: Path, server: Any) -> Iterator[Child]:
    child = start(tmp_path, server.table)
    yield child
    child.end()
    assert "Traceback" not in child.log


def describe(place: Path, body: bytes) -> Any:
    """What is in a media file."""
    file = place / "described.mp4"
    file.write_bytes(body)
    command = [sys.executable, "-m", "m3u8svc.testing.stream", "--describe", str(file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def post(service: Child, url: str, **fields: object) -> tuple[int, Any]:
    return service.ask("POST", "/api/tasks", {"url": url, "filename": "film"} | fields)


def test_a_result_goes_there_and_is_removed(tmp_path: Path, service: Child, origin: Child, server: Any) -> None:
    """It decodes, equals what the storage "disk" has of the same stream, and goes when its task goes with its files."""
    options = {"storage-sftp": {"directory": "2026/films"}}
    status, added = post(service, origin.base, storage="sftp", plugins=options)
    assert 200 == status, added
    task = service.wait(added["id"], "已完成")
    assert (
        f"sftp://{server.table['username']}@127.0.0.1:{server.port}{server.files}/2026/films/film.mp4" == task["output"]
    )
    (body,) = server.contents().values()
    assert len(body) == task["size"]
    assert {"h264", "aac"} <= set(re.findall(r"[a-z0-9]+", json.dumps(describe(tmp_path, body))))
    _, other = post(service, origin.base, storage="disk")
    assert body == Path(service.wait(other["id"], "已完成")["output"]).read_bytes()
    assert [] == [path.name for path in (tmp_path / "saves").iterdir() if added["id"] in path.name]
    assert 200 == service.ask("DELETE", f"/api/tasks?id={added['id']}&files=true")[0]
    deadline = time.monotonic() + 20
    while server.contents():
        assert time.monotonic() < deadline, service.log
        time.sleep(0.1)
    for secret in ("PRIVATE KEY", server.table["private_key"].splitlines()[1]):
        assert secret not in service.log and secret not in json.dumps(task)


def test_a_wrong_option_is_a_400(service: Child, origin: Child) -> None:
    """Named by its path in the request."""
    status, said = post(service, origin.base, storage="sftp", plugins={"storage-sftp": {"directory": "../x"}})
    assert (400, True) == (status, "plugins.storage-sftp.directory" in said), said


def test_a_failed_task_goes_on_when_it_can(tmp_path: Path, origin: Child, server: Any) -> None:
    """With wrong credentials the task fails and says so; after a start with the right ones it is resumed and done."""
    wrong = start(tmp_path, server.table | {"private_key": (server.place / "stranger").read_text()})
    _, added = post(wrong, origin.base, storage="sftp")
    task = wrong.wait(added["id"], "失败")
    assert "publish_failed" == task["err_code"] and "保存结果失败" in task["err_msg"]
    wrong.end(signal.SIGKILL)
    service = start(tmp_path, server.table)
    try:
        assert 200 == service.ask("PUT", f"/api/tasks?id={added['id']}", {"status": "等待中"})[0]
        service.wait(added["id"], "已完成")
        assert 1 == len(server.contents())
    finally:
        service.end()
