"""
Exceptions to answers, in one table, and the one way a route is carried out.

Errors are one JSON string with the documented status; the stable code goes into ``X-Error-Code`` (DESIGN 5.9). What is
not the caller's fault is a 500 with the text the contract has for that method, logged once, here.
"""

from collections.abc import Coroutine
from typing import Any  # Any: JSON values, and a coroutine's send and yield types

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Request

from m3u8svc.errors import Fault, M3u8svcError, TaskNotFound
from m3u8svc.waiting import log_failure, settled
from m3u8svc.web.render import json_bytes

log = Logger()

OUR_FAULT: dict[tuple[str, str], str] = {
    ("POST", "/api/tasks"): "保存任务失败",
    ("GET", "/api/tasks"): "获取任务失败",
    ("PUT", "/api/tasks"): "更新任务失败",
    ("DELETE", "/api/tasks"): "删除任务失败",
    ("POST", "/api/settings"): "保存设置失败",
    ("GET", "/api/settings"): "获取设置失败",
    ("GET", "/api/plugins"): "获取插件失败",
}
"""What a 500 says, by method and path."""


@attrs.frozen(kw_only=True)
class Answer:
    """
    Status and JSON text of one answer; `code` is the error's, "" for success.
    """

    status: int = 200
    body: bytes
    code: str = ""


def success(value: Any) -> Answer:
    """
    A 200 with this JSON value.
    """
    return Answer(body=json_bytes(value))


def refusal(status: int, message: str, code: str) -> Answer:
    """
    An error: one JSON string.
    """
    return Answer(status=status, body=json_bytes(message), code=code)


def answer_to(error: Exception, method: str, path: str) -> Answer:
    """
    What an exception means to the client: 404, 400, or a 500 that does not say why.
    """
    if isinstance(error, TaskNotFound):
        return refusal(404, error.text(), error.code)
    if isinstance(error, M3u8svcError) and error.fault is Fault.CALLER:
        return refusal(400, error.text(), error.code)
    code = error.code if isinstance(error, M3u8svcError) else M3u8svcError.code
    return refusal(500, OUR_FAULT.get((method, path), "服务器内部错误"), code)


async def respond(request: Request, work: Coroutine[Any, Any, Answer]) -> bytes:
    """
    Carry out a route's work: the body of its answer, headers set. The work ends even if the client hangs up (Klein
    cancels routes then): what a request has begun is never left half-way.
    """
    method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
    return put(request, await settled(Deferred.fromCoroutine(_answered(work, method, path))))


async def _answered(work: Coroutine[Any, Any, Answer], method: str, path: str) -> Answer:
    try:
        return await work
    except Exception as error:  # the client is protected from whatever goes wrong in our rooms
        answer = answer_to(error, method, path)
        if answer.status < 500:
            return answer
        if isinstance(error, M3u8svcError):
            log.error("{method} {path}: {error}", method=method, path=path, error=error.text("en"))
        else:
            log_failure(f"{method} {path}")
        return answer


def body_of(request: Request) -> bytes:
    """
    The request's body; the gate has bounded it.
    """
    body: bytes = request.content.read() if request.content is not None else b""
    return body


def put(request: Request, answer: Answer) -> bytes:
    """
    Set an answer's status and headers; its body is for the route to return.
    """
    request.setResponseCode(answer.status)
    request.setHeader(b"Content-Type", b"application/json; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(answer.body))
    if answer.code:
        request.setHeader(b"X-Error-Code", answer.code.encode())
    return answer.body
