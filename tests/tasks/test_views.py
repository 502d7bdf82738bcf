"""
What a plugin of somebody else sees of a task.
"""

import attrs

from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.task import Extensions, Task, TaskSpec
from m3u8svc.tasks.views import request_from_plugin, task_for_plugin


def seen(extensions: Extensions) -> Extensions:
    task = Task(id="t", spec=TaskSpec(url="http://h/i.m3u8", filename="film", extensions=extensions))
    return task_for_plugin(task, "mine").spec.extensions


def test_the_key_of_a_stream_is_masked() -> None:
    """And so are its IV and a user in the base of links; what is not there is not masked."""
    given = Extensions(key="00" * 16, iv="11" * 16, base_url="http://me:pw@h/x/", variant="720p")
    assert Extensions(key="***", iv="***", base_url="http://h/x/", variant="720p") == seen(given)
    assert Extensions() == seen(Extensions())


def test_options_of_other_plugins_are_not_seen() -> None:
    """Each sees its own."""
    assert {"mine": {"a": 1}} == seen(Extensions(plugins={"mine": {"a": 1}, "other": {"b": 2}})).plugins


def test_a_request_may_be_made_to_go_less_far_and_no_farther() -> None:
    """What a plugin makes of a request has no more reach than the request had, one made anew too."""
    request = Request(url="http://h/1.ts", purpose=Purpose.SEGMENT, reach=Zone.PRIVATE)
    for asked, given in ((Zone.LOOPBACK, Zone.PRIVATE), (Zone.PRIVATE, Zone.PRIVATE), (Zone.PUBLIC, Zone.PUBLIC)):
        assert given is request_from_plugin(attrs.evolve(request, reach=asked), request).reach
    assert Zone.PUBLIC is request_from_plugin(Request(url="http://h/2.ts", purpose=Purpose.SEGMENT), request).reach
