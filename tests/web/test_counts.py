"""
/api/counts: what a page shows above its list.
"""

from m3u8svc.tasks.search import Space
from m3u8svc.tasks.task import Status, Task, TaskSpec


def test_counts_of_nothing(wire):
    """Every state has its number."""
    expected = {"total": 0, "等待中": 0, "下载中": 0, "已暂停": 0, "已完成": 0, "失败": 0, "speed": 0}
    assert expected | {"limit_rate": 2048, "disk": []} == wire.ask("GET", "/api/counts").value


def test_counts(wire, service):
    """Tasks by their state, the rate of all together as a whole number, and disks, also one that does not answer."""
    for number, status in enumerate((Status.FAILED, Status.DOWNLOADING, Status.FAILED)):
        service.hold(Task(id=f"t{number}", spec=TaskSpec(url="u", filename="f"), status=status))
    service.speed = 99.6
    service.disks = (Space(path="/a", free_bytes=1, total_bytes=2**50), Space(path="/电影"))
    found = wire.ask("GET", "/api/counts").value
    assert (3, 2, 1, 0, 100) == tuple(found[name] for name in ("total", "失败", "下载中", "已完成", "speed"))
    expected = [{"path": "/a", "free": 1, "total": 2**50}, {"path": "/电影", "free": None, "total": None}]
    assert expected == found["disk"]


def test_only_get(wire):
    """There is nothing to change."""
    reply = wire.ask("POST", "/api/counts", {})
    assert (405, "GET") == (reply.status, reply.headers["allow"])
