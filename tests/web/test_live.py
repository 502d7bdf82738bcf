"""
/api/tasks/live: one task, closely.
"""

import pytest

from m3u8svc.errors import StoreError
from m3u8svc.tasks.livelog import Line, Live, Standing
from m3u8svc.tasks.task import Incident, Task, TaskSpec

TARGET = "/api/tasks/live?id=t1"


def test_a_task(wire, service):
    """All of it, as it is kept."""
    service.hold(Task(id="t1", spec=TaskSpec(url="u", filename="f")))
    service.closely = Live(
        speeds=(0, 5),
        hosts=(Standing(name="h:443", connections=2, limit=16, paused_for_s=1.04),),
        lines=(Line(at=1.5, level="warn", text="坏", text_en="bad"),),
        incidents=(Incident(at=1.0, code="reset", text="x"),),
    )
    found = wire.ask("GET", TARGET).value
    assert [0, 5] == found["speeds"]
    assert [{"host": "h:443", "connections": 2, "limit": 16, "paused_for": 1.0}] == found["hosts"]
    assert [{"at": 1.5, "level": "warn", "text": "坏", "text_en": "bad"}] == found["log"]
    assert ["reset"] == [each["code"] for each in found["incidents"]]


@pytest.mark.parametrize(("query", "status", "code"), [("", 400, "missing_task_id"), ("?id=t2", 404, "task_not_found")])
def test_no_task(wire, query, status, code):
    """As everywhere."""
    reply = wire.ask("GET", f"/api/tasks/live{query}")
    assert (status, code) == (reply.status, reply.headers["x-error-code"])


@pytest.mark.logs_failures
def test_our_failure(wire, service, failures):
    """A store that fails is ours."""
    service.broken = StoreError(reason="secret")
    assert (500, "获取任务动态失败", 1) == (
        *(lambda reply: (reply.status, reply.value))(wire.ask("GET", TARGET)),
        len(failures),
    )
