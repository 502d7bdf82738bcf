"""
Finished tasks that are made again, as functions of values.

已完成 stays 已完成: what is wanted stands beside the state, in `Task.again`, from the moment somebody asks until the
new result is published and on record, or it failed. All that time `output` is the old result. A failure after the new
one may have got its name pauses it: only another run can tell which of the two is there. A restart finds `again` and
goes on. "merge" makes the result anew as the settings now say; "repair" fetches what it lacks, and does the same.
"""

import attrs

from m3u8svc.errors import CannotRemake, InvalidTransition, NeedsUrl
from m3u8svc.tasks.lifecycle import WANTED, Event, advance
from m3u8svc.tasks.source import with_url
from m3u8svc.tasks.task import LIVE_NAMES, Again, Status, Task, TaskChange
from m3u8svc.wording import Said, said

_UNSETTLED = Said("上次重新合并尚未收尾，请先让它继续", "the last merge has not come to its end: let it go on first")
_PAUSED_BAR = "重新合并已暂停"


def change_task(task: Task, change: TaskChange) -> Task:
    """
    What a task is after the change, all of it at once.

    Raises:
        InvalidTransition, CannotRemake: it cannot be changed so.
    """
    changed = _with_settings(task, change)
    if change.url:
        changed = with_url(changed, change.url)
    if change.priority is not None:
        changed = attrs.evolve(changed, priority=change.priority)
    if change.again:
        changed = ask(changed, change.again)
    changed = _in_state(changed, _wanted(task, change))
    if change.position and changed.status in (Status.DOWNLOADING, Status.COMPLETED):
        raise CannotRemake(
            reason=Said(
                f"任务不在队列中（{changed.status.value}）", f"the task is not in the queue ({changed.status.value})"
            )
        )
    return changed


def _wanted(task: Task, change: TaskChange) -> Status | None:
    """
    The state that is asked for: a task that needed a URL goes on when it gets one, unless it is told otherwise.
    """
    if change.status is None and change.url and task.held == NeedsUrl.code:
        return Status.WAITING
    return change.status


def _in_state(task: Task, wanted: Status | None) -> Task:
    if wanted is None:
        return task
    if task.again is not None:
        return hold(task, WANTED[wanted])
    # A pause that somebody asks for is theirs: the service does not end it by itself.
    held = "" if wanted is Status.PAUSED else task.held
    return attrs.evolve(task, status=advance(task.status, WANTED[wanted]), held=held)


def _with_settings(task: Task, change: TaskChange) -> Task:
    if not change.given and not change.extensions:
        return task
    if not change.given and change.extensions.keys() <= LIVE_NAMES:
        return _with_extensions(task, change)
    if task.status is Status.DOWNLOADING or (task.again is not None and not task.again.paused):
        raise CannotRemake(
            reason=Said(
                "任务正在运行，请先暂停再修改设置", "the task is running: pause it before its settings are changed"
            )
        )
    if _may_be_placed(task):  # the next run would take what is there for the result of the new settings
        raise CannotRemake(reason=_UNSETTLED)
    task = _with_extensions(task, change)
    spec = attrs.evolve(
        task.spec,
        advanced=task.spec.advanced or bool(change.given),
        settings=attrs.evolve(task.spec.settings, **change.given),
    )
    moved = not change.given.keys().isdisjoint(("save_location", "temp_directory"))
    return attrs.evolve(task, spec=spec, mounts=() if moved else task.mounts)


def _with_extensions(task: Task, change: TaskChange) -> Task:
    extensions = attrs.evolve(task.spec.extensions, **change.extensions)
    return attrs.evolve(task, spec=attrs.evolve(task.spec, extensions=extensions))


def ask(task: Task, kind: str) -> Task:
    """
    The task with the wish to be made again. Asked twice for the same, it is asked once.

    Raises:
        CannotRemake: it is not finished, or it makes no file.
    """
    if task.status is not Status.COMPLETED:
        raise CannotRemake(
            reason=Said(f"任务尚未完成（{task.status.value}）", f"the task is not finished ({task.status.value})")
        )
    if task.again is not None and not task.again.paused and task.again.kind == kind:
        return task
    if task.again is not None and not task.again.paused:
        raise CannotRemake(reason=Said("任务正在重新合并", "the task is being merged again"))
    if _may_be_placed(task):  # begun anew, it would not know that file for its own
        raise CannotRemake(reason=_UNSETTLED)
    makes_file = not task.spec.settings.no_merge_ts and task.spec.extensions.merger != "none"
    if kind == "merge" and not makes_file:
        raise CannotRemake(
            reason=Said(
                "任务设置为不合并（no_merge_ts 或 merger=none）",
                "the task is set not to merge (no_merge_ts, or merger=none)",
            )
        )
    return attrs.evolve(task, again=Again(kind=kind), progress=attrs.evolve(task.progress, status_bar=task.missing))


def _may_be_placed(task: Task) -> bool:
    """
    Whether a run that was stopped may have put the new result in its place already.
    """
    return task.again is not None and bool(task.again.output_id)


def hold(task: Task, event: Event) -> Task:
    """
    Pause what is being made again, or let it go on; the state stays.
    """
    if task.again is None or event not in (Event.PAUSE, Event.RESUME):
        raise InvalidTransition(current=task.status.value, wanted=event.value)
    paused = event is Event.PAUSE
    if paused is task.again.paused:
        return task
    status_bar = _PAUSED_BAR if paused else task.missing
    return attrs.evolve(
        task,
        again=attrs.evolve(task.again, paused=paused),
        progress=attrs.evolve(task.progress, status_bar=status_bar),
    )


def seen_by_job(task: Task) -> Task:
    """
    The task as the job sees it that makes it again: the result it knows of is the new one, once there is one.
    """
    if task.again is None:
        return task
    return attrs.evolve(
        task,
        output="",
        output_id=task.again.output_id,
        companions=task.again.companions,
        warnings=task.again.warnings,
        missing=task.again.missing,
    )


def give_up(task: Task, reason: str) -> Task:
    """
    The task with its old result and a warning, not to be made again.
    """
    zh, en = "重新合并失败，原文件未变：{reason}", "merging again failed, the file is the old one: {reason}"
    text = said(zh, en, reason=reason)
    return attrs.evolve(
        task,
        again=None,
        warnings=tuple(dict.fromkeys((*task.warnings, text))),
        progress=attrs.evolve(task.progress, status_bar=task.missing),
    )


def halt(task: Task, reason: str) -> Task:
    """
    The task whose new result may have taken the old one's place, but not all that belongs to it: it waits until it is
    let go on, and then finds what is there.

    Raises:
        InvalidTransition: it is not made again.
    """
    zh = "重新合并未能收尾，已暂停，可以继续：{reason}"
    en = "merging again did not come to its end, and is paused; it can go on: {reason}"
    text = said(zh, en, reason=reason)
    return attrs.evolve(hold(task, Event.PAUSE), warnings=tuple(dict.fromkeys((*task.warnings, text))))
