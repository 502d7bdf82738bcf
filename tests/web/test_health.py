"""
How the service says how it is.
"""

import pytest

from m3u8svc.errors import DatabaseLocked, DatabaseRestored, DatabaseUnavailable, StoreError
from m3u8svc.sandbox.level import Box

RESTORED = DatabaseRestored(reason="row 3 missing", backup="00000007.sqlite3", kept="/x/db.corrupt")


def test_all_is_well(wire):
    """Nothing is wrong: an empty list, and the version."""
    reply = wire.ask("GET", "/api/health")
    assert (200, {"status": "ok", "version": "1.2.3", "degraded": []}) == (reply.status, without_box(reply.value))


def test_the_box_that_media_is_read_in(wire, service):
    """What the kernel offers, until a child has said what it reached."""
    shown = wire.ask("GET", "/api/health").value["sandbox"]
    assert {"level", "missing", "landlock_abi", "seccomp", "seen"} == set(shown)
    assert not shown["seen"]
    service.boxes.saw(Box(landlock=2, seccomp=False, missing=("seccomp",)))
    answer = wire.ask("GET", "/api/health").value
    assert {
        "level": "partial",
        "missing": ["seccomp"],
        "landlock_abi": 2,
        "seccomp": False,
        "seen": True,
    } == answer["sandbox"]
    assert "ok" == answer["status"]


def without_box(health):
    """The rest of it: what the box is like depends on the machine."""
    return {name: value for name, value in health.items() if name != "sandbox"}


def test_every_reason_is_told(wire, service):
    """With its code, its text and what to do in both languages, and since when."""
    service.health.say("opening", RESTORED)
    service.health.say("store", DatabaseLocked(seconds=5))
    answer = wire.ask("GET", "/api/health").value
    assert "degraded" == answer["status"]
    assert ["db_restored", "db_locked"] == [each["code"] for each in answer["degraded"]]
    [first, _] = answer["degraded"]
    assert {
        "code": "db_restored",
        "text": RESTORED.text("zh"),
        "text_en": RESTORED.text("en"),
        "advice": RESTORED.advice("zh"),
        "advice_en": RESTORED.advice("en"),
        "since": "1970-01-01T00:00:01.500000Z",
    } == first


def test_what_is_over_is_told_no_more(wire, service):
    """Only that reason goes."""
    service.health.say("opening", RESTORED)
    service.health.say("store", DatabaseLocked(seconds=5))
    service.health.over("store")
    service.health.over("nothing")
    assert ["db_restored"] == [each["code"] for each in wire.ask("GET", "/api/health").value["degraded"]]


def test_ready(wire):
    """A task could be stored now."""
    assert (200, {"status": "ready"}) == ((reply := wire.ask("GET", "/readyz")).status, reply.value)


@pytest.mark.parametrize("error", [StoreError(reason="secret"), DatabaseLocked(seconds=5)])
def test_not_ready(wire, service, error):
    """No task could be stored: 503 with the code and when to ask again, and no detail."""
    service.unready = error
    reply = wire.ask("GET", "/readyz")
    assert (503, error.code, "5") == (reply.status, reply.headers["x-error-code"], reply.headers["retry-after"])
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize("error", [DatabaseLocked(seconds=5), DatabaseUnavailable(reason="gone")])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_database_that_is_busy_or_away(wire, service, method, error):
    """503 with its own text, and when to ask again: nothing is broken."""
    service.broken = error
    body = {"url": "https://o.example/a.m3u8", "filename": "film"} if method == "POST" else None
    reply = wire.ask(method, "/api/tasks", body)
    assert (503, error.text(), error.code) == (reply.status, reply.value, reply.headers["x-error-code"])
    assert "5" == reply.headers["retry-after"]
