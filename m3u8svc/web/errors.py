"""
Exceptions to answers, in one table, and the one way a route is carried out.

Errors are one JSON string with the documented status; the stable code goes into ``X-Error-Code`` (DESIGN 5.9), the text
in English into ``X-Error-Text-En``. What is not the caller's fault is a 500 with the text the contract has for that
method, logged once, here.
"""

from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any  # Any: JSON values, and a coroutine's send and yield types

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web.server import Request

from m3u8svc.errors import (
    BadCredentials,
    Fault,
    FileGone,
    M3u8svcError,
    NoPicture,
    NoResultFile,
    NothingToWatch,
    NotThereYet,
    ResultNotReady,
    SegmentAbsent,
    StoreError,
    TaskNotFound,
    TooBusy,
    TooManyFailures,
    TooManyTasks,
    WatchTheFile,
)
from m3u8svc.waiting import log_failure, settled
from m3u8svc.web.apologies import ANYWHERE, OUR_FAULT
from m3u8svc.web.render import ENGLISH, header_text, json_bytes
from m3u8svc.web.streaming import Closing, send

log = Logger()

STORE_RETRY_AFTER_S = 5
WATCH_RETRY_AFTER_S = 1
NOT_MODIFIED = 304


JSON = "application/json; charset=utf-8"


@attrs.frozen(kw_only=True)
class Answer:
    """
    Status, JSON text and further headers of one answer; `code` is the error's and `english` its text in English, both
    "" for success. `rest` is what follows `body` if that is only its beginning. `length` is that of the whole where it
    is known and is not that of `body`, and `media` its type where it is no JSON.
    """

    status: int = 200
    body: bytes
    rest: AsyncIterator[bytes] | None = None
    length: int | None = None
    media: str = JSON
    code: str = ""
    english: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def success(value: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
    """
    A 200 with this JSON value.
    """
    return Answer(body=json_bytes(value), headers=tuple((headers or {}).items()))


def refusal(status: int, message: str, english: str, code: str, *, retry_after_s: int | None = None) -> Answer:
    """
    An error: one JSON string, in English beside it; `retry_after_s` says in how many seconds it may be another answer.
    """
    headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
    return Answer(status=status, body=json_bytes(message), code=code, english=english, headers=headers)


def refusal_by(status: int, error: M3u8svcError, *, retry_after_s: int | None = None) -> Answer:
    """
    The same in the words of an error of the catalogue.
    """
    return refusal(status, error.text(), error.text("en"), error.code, retry_after_s=retry_after_s)


def answer_to(error: Exception, method: str, path: str) -> Answer:
    """
    What an exception means to the client: 401, 404, 409, 429, 400, 503 where the database is only busy or away, or a
    500 that does not say why.
    """
    if isinstance(error, BadCredentials):
        return refusal_by(401, error)
    if isinstance(error, TooBusy | TooManyFailures | TooManyTasks):
        return refusal_by(429, error, retry_after_s=error.retry_after_s)
    if isinstance(error, StoreError) and error.retriable:
        return refusal_by(503, error, retry_after_s=STORE_RETRY_AFTER_S)
    if isinstance(error, NotThereYet):
        return refusal_by(503, error, retry_after_s=WATCH_RETRY_AFTER_S)
    if isinstance(error, TaskNotFound | FileGone | SegmentAbsent | NoPicture):
        return refusal_by(404, error)
    if isinstance(error, ResultNotReady | NoResultFile | NothingToWatch | WatchTheFile):
        return refusal_by(409, error)
    if isinstance(error, M3u8svcError) and error.fault is Fault.CALLER:
        return refusal_by(400, error)
    code = error.code if isinstance(error, M3u8svcError) else M3u8svcError.code
    return refusal(500, *OUR_FAULT.get((method, path), ANYWHERE), code)


async def respond(request: Request, work: Coroutine[Any, Any, Answer]) -> bytes:
    """
    Carry out a route's work: the body of its answer, headers set; of a long one, what is left of it to send. The work
    ends even if the client hangs up (Klein cancels routes then): what a request has begun is never left half-way.
    """
    method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
    answer = await settled(Deferred.fromCoroutine(_answered(work, method, path)))
    return await _sent(request, answer)


async def respond_while_there(request: Request, work: Coroutine[Any, Any, Answer]) -> bytes:
    """
    The same, but the work, which changes nothing, is given up when the client hangs up.
    """
    method, path = request.method.decode("latin-1"), request.path.decode("latin-1")

    async def unless_gone() -> Answer:
        try:
            return await work
        except CancelledError as error:
            raise _Gone from error

    try:
        answer = await _answered(unless_gone(), method, path)
    except _Gone as gone:
        raise CancelledError from gone
    return await _sent(request, answer)


class _Gone(BaseException):
    """The client has hung up: nobody is to be answered."""


async def _sent(request: Request, answer: Answer) -> bytes:
    body = put(request, answer)
    if answer.rest is None:
        return body
    try:
        await send(request, body, answer.rest)
    finally:
        if isinstance(answer.rest, Closing):
            answer.rest.close()
    return b""


async def _answered(work: Coroutine[Any, Any, Answer], method: str, path: str) -> Answer:
    try:
        return await work
    except Exception as error:  # the client is protected from whatever goes wrong in our rooms
        answer = answer_to(error, method, path)
        if answer.status < 500 or isinstance(error, NotThereYet):  # the latter is how a player is told to wait
            return answer
        if isinstance(error, M3u8svcError):
            text = error.text("en")
            log.error("{method} {path}: {code} {error}", method=method, path=path, code=error.code, error=text)
        else:
            log_failure(f"{method} {path}")
        return answer


def body_of(request: Request) -> bytes:
    """
    The request's body; the gate has bounded it.
    """
    body: bytes = request.content.read() if request.content is not None else b""
    return body


def headers_of(request: Request, *names: str) -> dict[str, list[str]]:
    """
    The values of the request's headers of these names, in lower case.
    """
    return {
        name: [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(name.encode(), [])]
        for name in names
    }


def put(request: Request, answer: Answer) -> bytes:
    """
    Set an answer's status and headers; its body is for the route to return.
    """
    request.setResponseCode(answer.status)
    length = len(answer.body) if answer.length is None and answer.rest is None else answer.length
    if answer.status != NOT_MODIFIED:  # that has no body to say something of
        request.setHeader(b"Content-Type", answer.media.encode("ascii"))
        if length is not None:
            request.setHeader(b"Content-Length", b"%d" % length)
    for name, value in answer.headers:
        request.setHeader(name.encode("ascii"), value.encode("ascii"))
    if answer.code:
        request.setHeader(b"X-Error-Code", answer.code.encode())
    if answer.english:
        request.setHeader(ENGLISH.encode("ascii"), header_text(answer.english).encode("ascii"))
    return answer.body
