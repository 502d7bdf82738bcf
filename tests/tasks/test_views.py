"""
What a plugin of somebody else sees of a task.
"""

from m3u8svc.tasks.task import Extensions, Task, TaskSpec
from m3u8svc.tasks.views import task_for_plugin


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
