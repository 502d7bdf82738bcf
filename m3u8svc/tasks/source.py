"""
A new URL for a task that has one already: links expire, and the user brings another that leads to the same.

What was fetched stays where it is: the next run finds out whether it is the same stream (`hls.rematch`).
"""

import attrs

from m3u8svc.errors import CannotRemake
from m3u8svc.hls.uri import host_of
from m3u8svc.tasks.headers import moved_headers
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.task import Status, Task, TaskSpec
from m3u8svc.wording import Said, joined, said

_MOVED = "链接换到了另一个站点"


def with_url(task: Task, url: str) -> Task:
    """
    The task with another URL. It replaces a playlist that came with the task. A name that was made of the old URL
    stays: files are under it.

    Raises:
        CannotRemake: it runs, or is finished.
    """
    if task.status is Status.DOWNLOADING:
        raise CannotRemake(
            reason=Said("任务正在下载，请先暂停再更换链接", "the task is running: pause it before its link is changed")
        )
    if task.status is Status.COMPLETED:
        raise CannotRemake(reason=Said("任务已完成，不能更换链接", "the task is finished: its link cannot be changed"))
    spec = task.spec
    name = spec.filename if spec.filename.strip() else result_name(spec)
    renewed = attrs.evolve(spec, url=url, filename=name, playlist_bytes=0, warnings=_warnings(spec, url))
    return attrs.evolve(task, spec=renewed)


def _warnings(spec: TaskSpec, url: str) -> tuple[str, ...]:
    """
    What there is to say about the request: secrets that were meant for one site go to another from now on.
    """
    kept = tuple(each for each in spec.warnings if not each.startswith(_MOVED))
    moved = moved_headers(spec.headers, spec.address, url, spec.extensions.header_hosts)
    if not moved:
        return kept
    zh = _MOVED + "（{host}），请求头 {headers} 将发送到那里"
    en = "the link leads to another site now ({host}), where the headers {headers} will be sent"
    return (*kept, said(zh, en, host=host_of(url), headers=joined(moved, zh="、", en=", ")))
