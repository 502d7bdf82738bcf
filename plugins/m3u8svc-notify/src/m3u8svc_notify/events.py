"""
What is said of a transition, and how it is signed. Pure.
"""

import hashlib
import hmac
import json
from urllib.parse import urlsplit

import attrs

from m3u8svc.plugin import Status, Task

SIGNATURE = "X-M3U8SVC-Signature"
TIMESTAMP = "X-M3U8SVC-Timestamp"
EVENT = "X-M3U8SVC-Event"
EVENT_ID = "X-M3U8SVC-Event-Id"


@attrs.frozen(kw_only=True)
class Event:
    """
    One transition. `names`: those of `on` that match it. `body`: JSON, the same at every attempt.
    """

    event_id: int
    task_id: str
    name: str
    names: frozenset[str]
    body: str


def describe(task: Task, previous: Task | None, event_id: int) -> Event:
    """
    The event of this transition. A new task is "created", and "waiting" too.
    """
    state = task.status.name.lower()
    name = "created" if previous is None else state
    said = {
        "event_id": event_id,
        "event": name,
        "id": task.id,
        "status": task.status.value,
        "previous": None if previous is None else previous.status.value,
        "filename": task.spec.filename,
        "url": shown_url(task.spec.url),
        "output": task.output,
        "size": task.size,
        "err_code": task.err_code if task.status is Status.FAILED else "",
        "err_msg": task.err_msg if task.status is Status.FAILED else "",
        "at": task.updated_at,
    }
    return Event(
        event_id=event_id,
        task_id=task.id,
        name=name,
        names=frozenset({name, state}),
        body=json.dumps(said, ensure_ascii=False, separators=(",", ":")),
    )


def shown_url(url: str) -> str:
    """
    A URL without user, password, query and fragment: tokens live there.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else ""


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """
    The value of the signature header: HMAC-SHA256 over the timestamp, a dot and the body.
    """
    return "v1=" + hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()
