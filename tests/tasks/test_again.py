"""
Finished tasks that are made again, and settings that change: what is allowed when, and that it is all or nothing.
"""

from typing import Any

import attrs
import pytest

from m3u8svc.errors import CannotRemake, InvalidTransition, M3u8svcError
from m3u8svc.tasks.again import change_task, give_up, halt, seen_by_job
from m3u8svc.tasks.task import Again, CompanionFile, Extensions, Settings, Status, Task, TaskChange, TaskSpec

WAITING, DOWNLOADING, PAUSED, COMPLETED, FAILED = Status


def a_task(status: Status = COMPLETED, again: Again | None = None, **settings: Any) -> Task:
    """A task that has a file."""
    spec = TaskSpec(url="https://s.example/l.m3u8", filename="film", settings=Settings(**settings))
    return Task(id="t1", spec=spec, status=status, output="/srv/film.mp4", output_id="1:2:3", again=again)


def test_a_finished_task_is_made_again_with_other_settings() -> None:
    """The wish stands beside the state, the settings are new, the result is the old one."""
    change = TaskChange(given={"skip_ts_info": "1-2"}, extensions={"groups": "2"}, again="merge")
    changed = change_task(a_task(), change)
    assert (COMPLETED, "/srv/film.mp4", Again(kind="merge")) == (changed.status, changed.output, changed.again)
    assert ("1-2", "2") == (changed.spec.settings.skip_ts_info, changed.spec.extensions.groups)


@pytest.mark.parametrize("kind", ["merge", "repair"])
@pytest.mark.parametrize("status", [WAITING, DOWNLOADING, PAUSED, FAILED])
def test_only_a_finished_task_is_made_again(status: Status, kind: str) -> None:
    """The others have no result."""
    with pytest.raises(CannotRemake):
        change_task(a_task(status), TaskChange(again=kind))


@pytest.mark.parametrize("off", [{"no_merge_ts": True}, {"merger": "none"}])
def test_a_task_that_makes_no_file_is_not_merged_again(off: dict[str, Any]) -> None:
    """But it is repaired; and one that shall merge from now on is merged."""
    merger = off.pop("merger", "mp4")
    task = a_task(**off)
    task = attrs.evolve(task, spec=attrs.evolve(task.spec, extensions=Extensions(merger=merger)))
    with pytest.raises(CannotRemake):
        change_task(task, TaskChange(again="merge"))
    assert change_task(task, TaskChange(again="repair")).again
    if merger != "none":
        assert change_task(task, TaskChange(given={"no_merge_ts": False}, again="merge")).again


@pytest.mark.parametrize("status", [WAITING, PAUSED, FAILED, COMPLETED])
def test_settings_of_a_task_that_does_not_run_change(status: Status) -> None:
    """They apply at the next run; nothing else changes."""
    changed = change_task(a_task(status), TaskChange(given={"skip_ts_info": "7"}))
    assert ("7", status, None) == (changed.spec.settings.skip_ts_info, changed.status, changed.again)


@pytest.mark.parametrize("task", [a_task(DOWNLOADING), a_task(again=Again(kind="merge"))])
def test_settings_of_a_running_task_do_not_change(task: Task) -> None:
    """Pause it first."""
    with pytest.raises(CannotRemake):
        change_task(task, TaskChange(given={"skip_ts_info": "7"}))


def test_a_wrong_part_undoes_the_whole_change() -> None:
    """Settings are not changed by a request whose state is impossible."""
    with pytest.raises(InvalidTransition):
        change_task(a_task(), TaskChange(status=WAITING, given={"skip_ts_info": "7"}))


def test_making_again_is_paused_and_goes_on() -> None:
    """已完成 stays; only `again` knows, and what was recorded of the new result is kept."""
    running = a_task(again=Again(kind="repair", output_id="9:9:9"))
    paused = change_task(running, TaskChange(status=PAUSED))
    assert (COMPLETED, Again(kind="repair", output_id="9:9:9", paused=True)) == (paused.status, paused.again)
    assert running.again == change_task(paused, TaskChange(status=WAITING)).again
    assert paused == change_task(paused, TaskChange(status=PAUSED))


def test_asking_twice_is_asking_once() -> None:
    """The same wish changes nothing; another one has to wait."""
    running = a_task(again=Again(kind="merge", output_id="9:9:9"))
    assert running == change_task(running, TaskChange(again="merge"))
    with pytest.raises(M3u8svcError):
        change_task(running, TaskChange(again="repair"))


def test_a_failure_leaves_the_old_result() -> None:
    """Output, identity and state are the old ones; a warning says why."""
    failed = give_up(a_task(again=Again(kind="merge", output_id="9:9:9", missing="x")), "404")
    assert (COMPLETED, "/srv/film.mp4", "1:2:3", None, "") == (
        failed.status,
        failed.output,
        failed.output_id,
        failed.again,
        failed.missing,
    )
    assert ("重新合并失败，原文件未变：404",) == failed.warnings


def test_a_failure_behind_the_new_result_keeps_what_is_known_of_it() -> None:
    """It waits, so that the next run finds that result; what was said before is still said."""
    again = Again(kind="merge", output_id="4:5:6", companions=(CompanionFile(suffix="en.vtt", output_id="7:8:9"),))
    task = attrs.evolve(a_task(again=again), warnings=("before",))
    halted = halt(task, "磁盘已满")
    assert attrs.evolve(again, paused=True) == halted.again
    assert ("before", "重新合并未能收尾，已暂停，可以继续：磁盘已满") == halted.warnings
    assert again == change_task(halted, TaskChange(status=WAITING)).again
    with pytest.raises(InvalidTransition):
        halt(a_task(), "磁盘已满")


@pytest.mark.parametrize(
    "change", [TaskChange(again="merge"), TaskChange(again="repair"), TaskChange(given={"skip_ts_info": "1"})]
)
def test_what_may_be_in_place_is_brought_to_its_end_first(change: TaskChange) -> None:
    """Begun anew it would be nobody's file, and with other settings the result of wrong ones."""
    paused = a_task(again=Again(kind="merge", paused=True))
    assert change_task(paused, change) != paused
    with pytest.raises(CannotRemake):
        change_task(attrs.evolve(paused, again=Again(kind="merge", paused=True, output_id="4:5:6")), change)


def test_the_job_sees_the_new_result_only() -> None:
    """So that a run after a crash looks for the file it made, not for the one it replaces."""
    beside = (CompanionFile(suffix="en.vtt", output_id="8:8:8"),)
    seen = seen_by_job(a_task(again=Again(kind="merge", output_id="9:9:9", companions=beside, warnings=("w",))))
    assert ("", "9:9:9", beside, ("w",)) == (seen.output, seen.output_id, seen.companions, seen.warnings)
    assert "" == seen_by_job(a_task(again=Again(kind="merge"))).output_id
