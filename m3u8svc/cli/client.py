"""
The client of our own REST API, on the standard library, for the commands that talk to a running service.

Nothing else may use it: streams are fetched through the one door (DESIGN 5.2). It goes straight to the address it was
given: no proxy from the environment, no redirect, an end to every wait and every answer.
"""

import itertools
import json
import re
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, IncompleteRead
from typing import Any  # Any: JSON values
from urllib.error import URLError
from urllib.parse import unquote, urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request

import attrs
import click

from m3u8svc import __version__
from m3u8svc.cli import words
from m3u8svc.errors import TooManyRequests, advice_on
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.task import Status

TIMEOUT_S = 15
MAX_ANSWER_BYTES = 64 * 1024 * 1024
REPEATS_S = (1.0, 2.0, 4.0)
"""How long to wait each time before a request whose answer was lost is sent again."""
PAGE = 100
"""So many tasks are asked for at a time where the ids of some are wanted."""
AMBIGUOUS = 5
"""So many ids are named that a text could be the start of."""
EXIT_REFUSED = 1
EXIT_NO_SERVICE = 3

_COULD_BE_AN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

ACTIVE = (Status.WAITING.value, Status.DOWNLOADING.value)


class CommandFailed(click.ClickException):
    """
    A command that ends with a message and a status; click shows the one and exits with the other.
    """

    exit_code = EXIT_REFUSED
    advice = ""
    """What the user can do about it, in the user's language, where the message does not say."""

    def show(self, file: Any = None) -> None:  # Any: click's own annotation
        """A line in the user's language, and one with the advice, safe for a terminal."""
        self.show_as(self.message, file)

    def show_as(self, message: str, file: Any = None) -> None:  # Any: click's own annotation
        """The same with a message that says more, such as which task it is about."""
        click.echo(words.ERROR.said(text=escape_controls(message)), file=file, err=file is None)
        if self.advice:
            click.echo(words.ADVICE.said(text=escape_controls(self.advice)), file=file, err=file is None)


class Refused(CommandFailed):
    """
    The service said no: its own words, in the user's language if it says them in that, its code, and what to do.
    """

    def __init__(self, *, status: int, text: str, code: str, english: str = "") -> None:
        said = english if words.language() == "en" and english else text
        super().__init__(f"{said} [{code}]" if code else said)
        self.status = status
        self.code = code
        self.advice = advice_on(code, words.language())


class Busy(Refused):
    """
    The service cannot now, and says so: 503, or 429 where one asks too often.
    """


class NoService(CommandFailed):
    """
    Nothing, or something else, answers at that address.
    """

    exit_code = EXIT_NO_SERVICE


class AnswerLost(NoService):
    """
    The service was asked, and may have done it: the connection ended before the whole answer was here.
    """


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
    err_msg_en: str = ""
    err_code: str = ""
    err_advice: str = ""
    err_advice_en: str = ""
    held: str = ""
    priority: int = 0
    queue_position: int | None = None
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
    incidents: tuple[str, ...] = ()
    """What went wrong with it, oldest first, a line each."""
    source: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def is_active(self) -> bool:
        """Whether it downloads or is going to."""
        return self.status in ACTIVE

    @property
    def error(self) -> str:
        """What is wrong with it, in the user's language if that is known, and its code; "" if nothing is."""
        text = self.err_msg_en if words.language() == "en" and self.err_msg_en else self.err_msg
        return f"{text} [{self.err_code}]" if self.err_code else text

    @property
    def advice(self) -> str:
        """What can be done about that, in the user's language. A service may know more codes than we do, or fewer."""
        told = self.err_advice_en if words.language() == "en" else self.err_advice
        return told or advice_on(self.err_code, words.language())


class Client:
    """
    Talks to the service at one address, such as ``http://127.0.0.1:8080``.
    """

    def __init__(
        self, server: str, *, timeout_s: float = TIMEOUT_S, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.server = str(server)
        self._timeout_s = timeout_s
        self._pause = pause
        # Neither proxies nor redirects nor cookies: only what is added here exists.
        self._opener = OpenerDirector()
        self._opener.add_handler(HTTPHandler())
        self._opener.add_handler(HTTPSHandler())
        self._opener.addheaders = [("User-Agent", f"m3u8svc/{__version__}"), ("Accept", "application/json")]
        if authorization := getattr(server, "authorization", ""):  # of an `options.Server`
            self._opener.addheaders.append(("Authorization", authorization))

    def tasks(self, status: Status | None = None, **search: str | int | None) -> list[RemoteTask]:
        """
        All tasks, or those in one state, in order of creation. `search` are further fields of the query (q, sort,
        order, limit, offset), None for one that is not asked for.
        """
        asked = {name: str(value) for name, value in search.items() if value is not None}
        answer = self._ask("GET", ({"status": status.value} if status else {}) | asked)
        if not isinstance(answer, list):
            raise self._not_ours(words.WRONG_SHAPE.said(name="/api/tasks"))
        return [self._task(each) for each in answer]

    def task(self, task_id: str) -> RemoteTask:
        """
        One task by its whole id.
        """
        return self._task(self._ask("GET", {"id": task_id}))

    def tally(self) -> dict[str, int]:
        """
        How many tasks there are of each state that any is in.
        """
        answer = self._object("/api/counts", self._ask("GET", {}, path="/api/counts"))
        found = {status.value: answer.get(status.value) for status in Status}
        if not all(type(count) is int for count in found.values()):
            raise self._not_ours(words.WRONG_SHAPE.said(name="/api/counts"))
        return {status: count for status, count in found.items() if count}

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

    def degraded(self) -> list[str]:
        """
        What is wrong with the service as a whole, a line for each and what to do about it, in the user's language;
        nothing if the service does not say.
        """
        try:
            answer = self._ask("GET", {}, path="/api/health")
        except CommandFailed:
            return []
        reasons = answer.get("degraded") if isinstance(answer, dict) else None
        end = "_en" if words.language() == "en" else ""
        lines = []
        for reason in reasons if isinstance(reasons, list) else []:
            if isinstance(reason, dict):
                said, code, todo = (str(reason.get(name, "")) for name in (f"text{end}", "code", f"advice{end}"))
                lines.append(words.DEGRADED.said(text=said, code=code, advice=todo))
        return lines

    def find(self, given: str) -> RemoteTask:
        """
        One task by its id or the start of it.

        Raises:
            click.UsageError: several tasks' ids start like this.
        """
        try:
            return self.task(given)
        except Refused as refusal:
            if refusal.status != 404 or not _COULD_BE_AN_ID.fullmatch(given):
                raise
            matching = self.beginning(given, AMBIGUOUS)
            if not matching:
                raise
        if len(matching) > 1:
            ids = ", ".join(task.id for task in matching)
            raise click.UsageError(words.AMBIGUOUS_ID.said(given=given, ids=ids))
        return matching[0]

    def beginning(
        self, given: str, most: int, *, order: str | None = None, pages: int | None = None
    ) -> list[RemoteTask]:
        """
        The first tasks whose ids begin so, so many at most. The service looks for text in names and URLs as well, so it
        is asked page by page until there are enough; of what is not in so many `pages`, nothing is known.
        """
        found: dict[str, RemoteTask] = {}
        seen: set[str] = set()  # a task may be on two pages when others move, and on all of a service without pages
        for number in itertools.count():
            page = self._page(given, order, number)
            found |= {task.id: task for task in page if task.id.startswith(given)}
            fresh = {task.id for task in page} - seen
            seen |= fresh
            if len(found) >= most or len(page) != PAGE or not fresh or number + 1 == pages:
                break
        return list(found.values())[:most]

    def _page(self, given: str, order: str | None, number: int) -> list[RemoteTask]:
        try:
            return self.tasks(q=given or None, order=order, limit=PAGE, offset=number * PAGE or None)
        except Refused as refusal:
            if refusal.status != HTTPStatus.BAD_REQUEST:
                raise
        return self.tasks(q=given or None, order=order)  # it gives fewer at a time, or all

    def add(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        A new task; the answer holds at least its ``id``. The request has a name, so that it can be sent again when its
        answer is lost: there is one task, however often.
        """
        name = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._until_heard(lambda: self._ask("POST", {}, body, headers=name))
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

    def prioritise(self, task_id: str, priority: int) -> None:
        """
        Set a task's priority.
        """
        self._ask("PUT", {"id": task_id}, {"priority": priority})

    def move(self, task_id: str, place: str | int) -> None:
        """
        Put a task at a place in the queue: "first", "last" or a number from 1.
        """
        self._ask("PUT", {"id": task_id}, {"queue": place})

    def change(self, task_id: str, status: Status) -> None:
        """
        Ask for a state: WAITING resumes, PAUSED pauses.
        """
        self._ask("PUT", {"id": task_id}, {"status": status.value})

    def relink(self, task_id: str, url: str) -> tuple[str, ...]:
        """
        Go on from another URL; what the service has to say about it.
        """
        answer = self._ask("PUT", {"id": task_id}, {"url": url, "status": Status.WAITING.value})
        return warnings_of(self._object("relink", answer))

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

    def _until_heard(self, ask: Callable[[], Any]) -> Any:
        """
        What `ask` answers, asked again where the answer was lost or the service is busy. It may be starting again: then
        nobody there is no reason to give up either.
        """
        try:
            return ask()
        except (AnswerLost, Busy):
            pass
        for delay_s in REPEATS_S[:-1]:
            self._pause(delay_s)
            try:
                return ask()
            except (NoService, Busy):
                continue
        self._pause(REPEATS_S[-1])
        return ask()

    def _ask(
        self,
        method: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        path: str = "/api/tasks",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        request = Request(
            f"{self.server}{path}" + (f"?{urlencode(query)}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode("ascii"),
            headers={**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})},
        )
        status, answered, content = self._exchange(request)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._not_ours(words.NOT_JSON.said(status=status)) from None
        if status == 200:
            return answer
        if status < 400 or not isinstance(answer, str):
            raise self._not_ours(f"HTTP {status}")
        code = answered.get("X-Error-Code", "")
        later = status == HTTPStatus.SERVICE_UNAVAILABLE or code == TooManyRequests.code
        english = unquote(answered.get("X-Error-Text-En", ""))
        raise (Busy if later else Refused)(status=status, text=answer, code=code, english=english)

    def _exchange(self, request: Request) -> tuple[int, HTTPMessage, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                content = response.read(MAX_ANSWER_BYTES + 1)
        except OSError as error:  # a connection closed without an answer is both of these kinds
            kind = NoService if _never_asked(error) else AnswerLost
            phrase = words.CLOSED if _closed(error) else words.NO_SERVICE
            raise kind(phrase.said(server=self.server, reason=self._reason(error))) from error
        except IncompleteRead:  # of a body in chunks
            raise self._cut_short() from None
        except HTTPException as error:
            raise self._not_ours(f"{type(error).__name__}: {error}") from error
        if len(content) > MAX_ANSWER_BYTES:
            raise self._not_ours(words.TOO_LARGE.said(limit=MAX_ANSWER_BYTES))
        if response.length:  # so much of it is not here; reading a part of a body does not complain
            raise self._cut_short()
        return response.status, response.headers, content

    def _reason(self, error: OSError) -> str:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            return words.TIMED_OUT.said(seconds=self._timeout_s)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        return str(getattr(cause, "strerror", None) or cause)

    def _cut_short(self) -> AnswerLost:
        return AnswerLost(words.CLOSED.said(server=self.server, reason=words.CUT_SHORT.said()))

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
        return RemoteTask(
            **fields,
            warnings=warnings_of(given),
            incidents=tuple(_incident(each) for each in given.get("incidents") or () if isinstance(each, dict)),
            source=given,
        )


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
    "err_msg_en": ("err_msg_en", (str,)),
    "err_code": ("err_code", (str,)),
    "err_advice": ("err_advice", (str,)),
    "err_advice_en": ("err_advice_en", (str,)),
    "held": ("held", (str,)),
    "priority": ("priority", (int,)),
    "queue_position": ("queue_position", (int, type(None))),
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


def _never_asked(error: OSError) -> bool:
    """
    Whether a request failed before it was sent: nobody listens, the name is unknown, or who answers is not trusted.
    """
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError)


def _closed(error: OSError) -> bool:
    """
    Whether somebody listens there, and hung up on us.
    """
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, ConnectionResetError | BrokenPipeError | ConnectionAbortedError)


def _incident(given: Mapping[str, Any]) -> str:
    """
    An incident as a line: when, its code, how often in a row, what.
    """
    text = (words.language() == "en" and given.get("text_en")) or given.get("text", "")
    times = f" ×{given['count']}" if given.get("count", 1) != 1 else ""
    return f"{str(given.get('at', ''))[:19]} [{given.get('code', '')}]{times} {text}"


def warnings_of(answer: Mapping[str, Any]) -> tuple[str, ...]:  # Any: JSON values
    """
    What an answer warns of, in the user's language if the service says it in that.
    """
    warnings, english = _texts(answer.get("warnings")), _texts(answer.get("warnings_en"))
    return english if words.language() == "en" and len(english) == len(warnings) else warnings


def text_of(given: Mapping[str, Any], name: str) -> str:  # Any: JSON values
    """
    A text that an answer or a report has under this name, in the user's language; earlier ones have no English.
    """
    return str((words.language() == "en" and given.get(f"{name}_en")) or given[name])


def _texts(given: object) -> tuple[str, ...]:
    return tuple(str(each) for each in given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
