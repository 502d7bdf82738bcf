"""
The client of our own REST API, on the standard library, for the commands that talk to a running service.

Nothing else may use it: streams are fetched through the one door (DESIGN 5.2). It goes straight to the address it was
given: no proxy from the environment, no redirect, an end to every wait and every answer.
"""

import json
import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import Any  # Any: JSON values
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request

import attrs
import click

from m3u8svc import __version__
from m3u8svc.cli import words
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.task import Status

TIMEOUT_S = 15
MAX_ANSWER_BYTES = 64 * 1024 * 1024
EXIT_REFUSED = 1
EXIT_NO_SERVICE = 3

ACTIVE = (Status.WAITING.value, Status.DOWNLOADING.value)


class CommandFailed(click.ClickException):
    """
    A command that ends with a message and a status; click shows the one and exits with the other.
    """

    exit_code = EXIT_REFUSED

    def show(self, file: Any = None) -> None:  # Any: click's own annotation
        """One line in the user's language, safe for a terminal."""
        click.echo(words.ERROR.said(text=escape_controls(self.message)), file=file, err=file is None)


class Refused(CommandFailed):
    """
    The service said no: its own words and its code.
    """

    def __init__(self, *, status: int, text: str, code: str) -> None:
        super().__init__(f"{text} [{code}]" if code else text)
        self.status = status


class NoService(CommandFailed):
    """
    Nothing, or something else, answers at that address.
    """

    exit_code = EXIT_NO_SERVICE


@attrs.frozen(kw_only=True)
class RemoteTask:
    """
    One task as the service shows it; `source` is its whole JSON object. Fields beyond the documented ones have
    defaults: a service without them is still one we can talk to.
    """

    id: str
    url: str = attrs.field(repr=False)
    filename: str
    status: str
    percent: float
    status_bar: str = ""
    size: int = 0
    err_msg: str = ""
    err_code: str = ""
    created_at: str = ""
    completed_at: str = ""
    phase: str = ""
    speed: float = 0
    eta_s: float | None = None
    segments_done: int = 0
    segments_total: int = 0
    size_bytes: int = 0
    output: str = ""
    warnings: tuple[str, ...] = ()
    source: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def is_active(self) -> bool:
        """Whether it downloads or is going to."""
        return self.status in ACTIVE


class Client:
    """
    Talks to the service at one address, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, server: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.server = server
        self._timeout_s = timeout_s
        # Neither proxies nor redirects nor cookies: only what is added here exists.
        self._opener = OpenerDirector()
        self._opener.add_handler(HTTPHandler())
        self._opener.add_handler(HTTPSHandler())
        self._opener.addheaders = [("User-Agent", f"m3u8svc/{__version__}"), ("Accept", "application/json")]

    def tasks(self, status: Status | None = None) -> list[RemoteTask]:
        """
        All tasks, or those in one state, in order of creation.
        """
        answer = self._ask("GET", {"status": status.value} if status else {})
        if not isinstance(answer, list):
            raise self._not_ours(words.WRONG_SHAPE.said(name="/api/tasks"))
        return [self._task(each) for each in answer]

    def task(self, task_id: str) -> RemoteTask:
        """
        One task by its whole id.
        """
        return self._task(self._ask("GET", {"id": task_id}))

    def plugins(self) -> Mapping[str, Any]:
        """
        The object of GET /api/plugins: ``plugins`` is a list of objects.
        """
        answer = self._ask("GET", {}, path="/api/plugins")
        listed = answer.get("plugins") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise self._not_ours(words.WRONG_SHAPE.said(name="/api/plugins"))
        found: Mapping[str, Any] = answer
        return found

    def find(self, given: str) -> RemoteTask:
        """
        One task by its id or the start of it.

        Raises:
            click.UsageError: several tasks' ids start like this.
        """
        try:
            return self.task(given)
        except Refused as refusal:
            if refusal.status != 404:
                raise
            matching = [task for task in self.tasks() if task.id.startswith(given)]
            if not matching:
                raise
        if len(matching) > 1:
            ids = ", ".join(task.id for task in matching[:5])
            raise click.UsageError(words.AMBIGUOUS_ID.said(given=given, ids=ids))
        return matching[0]

    def add(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        A new task; the answer holds at least its ``id``.
        """
        answer = self._ask("POST", {}, body)
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
            raise self._not_ours(words.WRONG_SHAPE.said(name="id"))
        return answer

    def plan(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        What a task of this body would do.
        """
        answer = self._ask("POST", {"dry_run": "true"}, body)
        if not isinstance(answer, dict) or not isinstance(answer.get("segments"), dict):
            raise self._not_ours(words.WRONG_SHAPE.said(name="segments"))
        plan: Mapping[str, Any] = answer
        return plan

    def change(self, task_id: str, status: Status) -> None:
        """
        Ask for a state: WAITING resumes, PAUSED pauses.
        """
        self._ask("PUT", {"id": task_id}, {"status": status.value})

    def repair(self, task_id: str) -> Mapping[str, Any]:
        """
        Fetch what a finished task lacks and merge again; the service's answer.
        """
        return self._object("repair", self._ask("PUT", {"id": task_id}, {"repair": True}))

    def verify(self, task_id: str, *, decode: bool) -> Mapping[str, Any]:
        """
        What a look at a task's file finds; `decode` looks closely.
        """
        found = self._object("verify", self._ask("GET", {"id": task_id, "verify": "full" if decode else "true"}))
        if not {"ok", "file", "size", "duration_s", "av_drift_s", "tracks", "problems"} <= found.keys():
            raise self._not_ours(words.WRONG_SHAPE.said(name="verify"))
        return found

    def _object(self, name: str, answer: Any) -> Mapping[str, Any]:
        if not isinstance(answer, dict):
            raise self._not_ours(words.WRONG_SHAPE.said(name=name))
        found: Mapping[str, Any] = answer
        return found

    def remove(self, task_id: str, *, with_files: bool) -> None:
        """
        Remove a task, and its output if `with_files`.
        """
        self._ask("DELETE", {"id": task_id} | ({"files": "true"} if with_files else {}))

    def _ask(
        self, method: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None, path: str = "/api/tasks"
    ) -> Any:
        request = Request(
            f"{self.server}{path}" + (f"?{urlencode(query)}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode("ascii"),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        status, headers, content = self._exchange(request)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._not_ours(words.NOT_JSON.said(status=status)) from None
        if status == 200:
            return answer
        if status < 400 or not isinstance(answer, str):
            raise self._not_ours(f"HTTP {status}")
        raise Refused(status=status, text=answer, code=headers.get("X-Error-Code", ""))

    def _exchange(self, request: Request) -> tuple[int, HTTPMessage, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                content = response.read(MAX_ANSWER_BYTES + 1)
        except OSError as error:  # a connection closed without an answer is both of these kinds
            raise NoService(words.NO_SERVICE.said(server=self.server, reason=self._reason(error))) from error
        except HTTPException as error:
            raise self._not_ours(f"{type(error).__name__}: {error}") from error
        if len(content) > MAX_ANSWER_BYTES:
            raise self._not_ours(words.TOO_LARGE.said(limit=MAX_ANSWER_BYTES))
        return response.status, response.headers, content

    def _reason(self, error: OSError) -> str:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return words.TIMED_OUT.said(seconds=self._timeout_s)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        return str(getattr(cause, "strerror", None) or cause)

    def _not_ours(self, reason: str) -> NoService:
        return NoService(words.NOT_OURS.said(server=self.server, reason=reason))

    def _task(self, given: Any) -> RemoteTask:
        """
        Read one object of GET /api/tasks; what is missing beyond the seed has its default.
        """
        if not isinstance(given, dict):
            raise self._not_ours(words.WRONG_SHAPE.said(name="/api/tasks"))
        fields: dict[str, Any] = {}
        for theirs, (ours, kinds) in _FIELDS.items():
            if theirs not in given and ours not in _REQUIRED:
                continue
            value = given.get(theirs)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise self._not_ours(words.WRONG_SHAPE.said(name=theirs))
            fields[ours] = value
        return RemoteTask(**fields, warnings=_texts(given.get("warnings")), source=given)


_REQUIRED = ("id", "url", "filename", "status", "percent")
_NUMBER = (int, float)
_FIELDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "id": ("id", (str,)),
    "url": ("url", (str,)),
    "filename": ("filename", (str,)),
    "size": ("size", (int,)),
    "progress": ("percent", _NUMBER),
    "status": ("status", (str,)),
    "status_bar": ("status_bar", (str,)),
    "err_msg": ("err_msg", (str,)),
    "err_code": ("err_code", (str,)),
    "created_at": ("created_at", (str,)),
    "completed_at": ("completed_at", (str,)),
    "phase": ("phase", (str,)),
    "speed": ("speed", _NUMBER),
    "eta": ("eta_s", (*_NUMBER, type(None))),
    "segments_done": ("segments_done", (int,)),
    "segments_total": ("segments_total", (int,)),
    "bytes": ("size_bytes", (int,)),
    "output": ("output", (str,)),
}
"""The API's fields: our name for each, and its JSON types."""


def _texts(given: object) -> tuple[str, ...]:
    return tuple(str(each) for each in given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
