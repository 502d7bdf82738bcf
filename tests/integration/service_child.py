"""
The service as a child process, asked with curl over its REST API and in no other way.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

TWISTD = Path(sys.executable).with_name("twistd")
LOOPBACK = "tcp:0:interface=127.0.0.1"
STARTS_WITHIN_S = 120.0
STOPS_WITHIN_S = 5.0
ENDS_WITHIN_S = 60.0
_LISTENING = re.compile(r"listening on (http\S+)")
_COMPLAINT = re.compile(r"Traceback|Unhandled|#critical")


@attrs.frozen(kw_only=True)
class Answer:
    """
    What curl got: status, headers by lower-case name, and the body as text.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def value(self) -> Any:
        """The body as JSON; every body is JSON."""
        return json.loads(self.text)

    @property
    def error(self) -> tuple[int, str]:
        """Status and the one JSON string that an error is."""
        return self.status, self.value


class Service:
    """
    One service on a directory of its own: `home` for its state, `saves` for results, `log` for what it prints.
    `before` stands before its command, such as what makes it another user's.
    """

    def __init__(self, place: Path, *options: str, before: Sequence[str] = ()) -> None:
        self.place = place
        self.before = before
        self.home = place / "home"
        self.saves = place / "saves"
        self.log_file = place / "service.log"
        self.options = ["--listen", LOOPBACK, "--home", str(self.home), "--save-dir", str(self.saves), *options]
        self.base = ""
        self._process: subprocess.Popen[bytes] | None = None

    # -- Its life

    def start(self) -> "Service":
        """
        Start it, or start it again on the same directory; returns when it listens.
        """
        printed = len(self.log)
        command = [*self.before, str(TWISTD), "--nodaemon", "--pidfile=", "m3u8svc", *self.options]
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=self.place, stdout=output, stderr=output)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (found := _LISTENING.search(self.log, printed)):
            assert self._process.poll() is None, f"the service ended at once:\n{self.log}"
            assert time.monotonic() < deadline, f"the service does not listen:\n{self.log}"
            time.sleep(0.05)
        self.base = found[1]
        return self

    def stop(self) -> None:
        """
        Stop it as an init system does; it must end by itself and without a complaint.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"SIGTERM did not end the service within {ENDS_WITHIN_S} s:\n{self.log}") from None
        # twistd ends by the signal that stopped it.
        assert status == -signal.SIGTERM, f"the service ended with status {status}:\n{self.log}"
        assert not self.complaints(), f"the log complains:\n{self.log}"

    @property
    def pid(self) -> int:
        """
        Its process.
        """
        assert self._process is not None
        return self._process.pid

    def interrupt(self, *numbers: signal.Signals) -> float:
        """
        Send it these signals, each once it has said that it got the one before; how long it takes to end after the
        last, in seconds.
        """
        process, self._process = self._process, None
        assert process is not None
        printed = len(self.log)
        for position, number in enumerate(numbers):
            while position and "Received SIG" not in self.log[printed:] and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            sent_at = time.monotonic()
        process.wait(ENDS_WITHIN_S)
        return time.monotonic() - sent_at

    def kill(self) -> None:
        """
        End it whatever it does, if it still runs.
        """
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def complaints(self) -> list[str]:
        """
        Lines of the log that no input may cause: tracebacks, errors nobody handled.
        """
        return [line for line in self.log.splitlines() if _COMPLAINT.search(line)]

    # -- Its API

    def ask(self, method: str, target: str, body: object = None, *headers: str) -> Answer:
        """
        One request by curl. `body` is sent as JSON, bytes as they are.
        """
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        command = ["curl", "--silent", "--show-error", "--max-time", "15", "--request", method, "--include"]
        if body is not None:
            command += ["--data-binary", "@-", "--header", "Expect:", "--header", "Content-Type: application/json"]
        command += [word for header in headers for word in ("--header", header)]
        ran = subprocess.run([*command, self.base + target], input=sent, capture_output=True, check=False)
        assert ran.returncode == 0, f"curl: {ran.stderr.decode()}\n{self.log}"
        head, _, text = ran.stdout.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return Answer(
            status=int(first.split()[1]), headers={name.lower(): value for name, _, value in pairs}, text=text
        )

    def add(self, url: str, filename: str, **fields: object) -> str:
        """
        A new task; its id. Settings among the fields are meant, so the request is an advanced one.
        """
        answer = self.ask("POST", "/api/tasks", {"url": url, "filename": filename, "advanced": True} | fields)
        assert answer.status == 200, answer.text
        return str(answer.value["id"])

    def task(self, task_id: str) -> dict[str, Any]:
        """
        A task as it is now.
        """
        answer = self.ask("GET", f"/api/tasks?id={task_id}")
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.value
        return found

    def put(self, task_id: str, status: str) -> Answer:
        """
        Ask for a state.
        """
        return self.ask("PUT", f"/api/tasks?id={task_id}", {"status": status})

    def wait(self, task_id: str, *statuses: str, within_s: float = ENDS_WITHIN_S) -> dict[str, Any]:
        """
        The task once it has one of these states; any other state of rest meanwhile is a failure.
        """
        deadline = time.monotonic() + within_s
        while (task := self.task(task_id))["status"] not in statuses:
            assert task["status"] not in ("已完成", "失败"), f"the task is {task['status']}: {task.get('err_msg')}"
            assert time.monotonic() < deadline, f"the task is stuck: {task}"
            time.sleep(0.1)
        if task["status"] == "已完成":
            self._await_removal(task)
        return task

    def _await_removal(self, task: Mapping[str, Any]) -> None:
        """
        The work directory goes once it is on record that the task is done: right after, and not before.
        """
        settings = task["advanced_settings"]
        folder = Path(settings["temp_directory"] or settings["save_location"]) / ".m3u8svc"
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (folder / task["id"]).exists() or _is_empty(folder):
            assert time.monotonic() < deadline, f"the work directory stays: {folder / task['id']}"
            time.sleep(0.02)

    def finish(self, url: str, filename: str, **fields: object) -> dict[str, Any]:
        """
        A new task, once it is done.
        """
        return self.wait(self.add(url, filename, **fields), "已完成")

    def fail(self, url: str, filename: str, **fields: object) -> dict[str, Any]:
        """
        A new task, once it has failed.
        """
        return self.wait(self.add(url, filename, **fields), "失败")


@contextmanager
def running(place: Path, *options: str, before: Sequence[str] = ()) -> Iterator[Service]:
    """
    A service that is stopped at the end, in order, whatever the test did.
    """
    place.mkdir(parents=True, exist_ok=True)
    service = Service(place, *options, before=before)
    try:
        yield service.start()
        service.stop()
    finally:
        service.kill()


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return False
