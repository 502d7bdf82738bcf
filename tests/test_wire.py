"""
How the requests of a task go out.
"""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from m3u8svc.download import Wire
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.task import Extensions, Task, TaskSpec


class Untouched:
    """Hooks that leave a request as it is."""

    async def pipeline(self, name: str, argument: str, value: Request, **arguments: Any) -> Request:
        return value


@pytest.mark.parametrize(
    ("url", "base_url", "sent"),
    [
        ("https://a.test/i.m3u8", "", False),
        ("https://cdn.test/i.m3u8", "", True),
        ("", "https://cdn.test/x/", True),
        ("https://a.test/i.m3u8", "https://cdn.test/x/", False),
        ("", "", False),
    ],
)
def test_credentials_go_to_where_the_task_begins(url: str, base_url: str, sent: bool) -> None:
    """The site of its URL, or of the base of links where a pasted playlist has no URL; else they are withheld."""
    spec = TaskSpec(url=url, filename="film", headers={"Cookie": ("a=1",)}, extensions=Extensions(base_url=base_url))
    hooks: Any = Untouched()
    fetcher: Any = None
    wire = Wire(task=Task(id="t", spec=spec), hooks=hooks, fetcher=fetcher, note=lambda line: None)
    made: list[Request] = []
    Deferred.fromCoroutine(wire.request("https://cdn.test/1.ts", Purpose.SEGMENT)).addCallback(made.append)
    assert sent is (("Cookie", "a=1") in made[0].headers)
    assert sent is not bool(wire.withheld)
