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


@pytest.mark.parametrize("status", list(Status))
def test_a_limit_of_rate_can_change_at_any_time(status: Status) -> None:
    """Also while the task runs; beside a setting that cannot, it cannot either."""
    task = a_task(status)
    changed = change_task(task, TaskChange(extensions={"limit_rate": 2048}))
    assert (2048, status) == (changed.spec.extensions.limit_rate, changed.status)
    assert attrs.evolve(task, spec=changed.spec) == changed
    assert task.spec.advanced is changed.spec.advanced
    if status is DOWNLOADING:
        for more in ({"given": {"skip_ts_info": "7"}}, {"extensions": {"limit_rate": 2048, "groups": "1"}}):
            with pytest.raises(CannotRemake):
                change_task(task, TaskChange(**{"extensions": {"limit_rate": 2048}, **more}))


@pytest.mark.parametrize("status", list(Status))
def test_any_task_has_a_priority(status: Status) -> None:
    """It counts whenever the task waits; nothing else changes."""
    task = a_task(status)
    assert attrs.evolve(task, priority=-3) == change_task(task, TaskChange(priority=-3))
    assert 0 == change_task(attrs.evolve(task, priority=5), TaskChange(priority=0)).priority


@pytest.mark.parametrize("status", [WAITING, PAUSED, FAILED])
def test_who_waits_or_may_wait_again_has_a_place(status: Status) -> None:
    """The place itself is the store's to find; the task is as it was."""
    assert a_task(status) == change_task(a_task(status), TaskChange(position=1))


@pytest.mark.parametrize("status", [DOWNLOADING, COMPLETED])
def test_who_does_not_wait_has_no_place(status: Status) -> None:
    """A task that runs has had its turn, and a finished one needs none."""
    with pytest.raises(CannotRemake, match=status.value):
        change_task(a_task(status), TaskChange(position=1))


def test_a_place_after_the_step() -> None:
    """What counts is the state after the change: paused and moved at once."""
    change = TaskChange(status=PAUSED, position=1)
    assert PAUSED is change_task(a_task(DOWNLOADING), change).status


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


@pytest.mark.parametrize(
    ("task", "change", "why"),
    [
        (a_task(DOWNLOADING), TaskChange(given={"skip_ts_info": "7"}), "任务正在运行，请先暂停再修改设置"),
        (a_task(PAUSED), TaskChange(again="merge"), "任务尚未完成（已暂停）"),
        (a_task(again=Again(kind="merge")), TaskChange(again="repair"), "任务正在重新合并"),
        (
            a_task(again=Again(kind="merge", paused=True, output_id="4:5:6")),
            TaskChange(again="merge"),
            "上次重新合并尚未收尾，请先让它继续",
        ),
        (
            a_task(again=Again(kind="merge", paused=True, output_id="4:5:6")),
            TaskChange(given={"skip_ts_info": "7"}),
            "上次重新合并尚未收尾，请先让它继续",
        ),
        (a_task(no_merge_ts=True), TaskChange(again="merge"), "任务设置为不合并（no_merge_ts 或 merger=none）"),
    ],
)
def test_a_refusal_says_why(task: Task, change: TaskChange, why: str) -> None:
    """In words that say what to do instead."""
    with pytest.raises(CannotRemake) as refused:
        change_task(task, change)
    assert f"无法执行：{why}" == refused.value.text("zh")


def test_a_pause_of_somebody_is_not_the_services() -> None:
    """A task that the service holds goes on by itself, one that a user pauses does not."""
    held = attrs.evolve(a_task(PAUSED), held="disk_full")
    assert "" == change_task(held, TaskChange(status=PAUSED)).held
    resumed = change_task(held, TaskChange(status=WAITING))
    assert (WAITING, "disk_full") == (resumed.status, resumed.held)  # the service lets go of it with its errors


@pytest.mark.parametrize(
    ("advanced", "given", "after"), [(False, {}, False), (True, {}, True), (False, {"skip_ts_info": "7"}, True)]
)
def test_settings_of_its_own_make_a_task_advanced(advanced: bool, given: dict[str, Any], after: bool) -> None:
    """Extensions do not, and nothing makes it simple again."""
    task = a_task(PAUSED)
    task = attrs.evolve(task, spec=attrs.evolve(task.spec, advanced=advanced))
    assert after is change_task(task, TaskChange(given=given, extensions={"groups": "1"})).spec.advanced


def test_the_status_bar_says_what_happens_to_the_result() -> None:
    """What the old one lacks while the new one is made, that it waits, and again what the old one lacks."""
    task = attrs.evolve(a_task(), missing="缺 1 段")
    task = attrs.evolve(task, progress=attrs.evolve(task.progress, percent=100, status_bar="x"))
    running = change_task(task, TaskChange(again="merge"))
    paused = change_task(running, TaskChange(status=PAUSED))
    resumed = change_task(paused, TaskChange(status=WAITING))
    bars = [each.progress.status_bar for each in (running, paused, resumed, give_up(running, "404"))]
    assert ["缺 1 段", "重新合并已暂停", "缺 1 段", "缺 1 段"] == bars
    assert 100 == paused.progress.percent


def test_what_cannot_be_held_says_where_it_is() -> None:
    """A finished task that is not made again has nothing to pause."""
    with pytest.raises(InvalidTransition) as refused:
        halt(a_task(), "x")
    assert "任务不能从“已完成”变为“pause”" == refused.value.text("zh")


def test_the_job_sees_what_the_new_result_lacks() -> None:
    """And not what the old one does."""
    task = attrs.evolve(a_task(again=Again(kind="merge", missing="新")), missing="旧")
    assert "新" == seen_by_job(task).missing


@pytest.mark.parametrize(
    ("given", "mounts"),
    [
        ({"save_location": "/other"}, ()),
        ({"temp_directory": "/other"}, ()),
        ({"save_location": "/other", "skip_ts_info": "7"}, ()),
        ({"skip_ts_info": "7"}, ("/net", "/")),
    ],
)
def test_a_task_that_moves_forgets_the_disks_it_was_on(given: dict[str, Any], mounts: tuple[str, ...]) -> None:
    """Another place is looked at anew; the same place is to be on the same disks."""
    task = attrs.evolve(a_task(PAUSED), mounts=("/net", "/"))
    assert mounts == change_task(task, TaskChange(given=given)).mounts
    assert ("/net", "/") == change_task(task, TaskChange(extensions={"groups": "2"})).mounts


def test_who_gives_up_is_not_shown_as_paused() -> None:
    """The bar speaks of the result that is there."""
    task = attrs.evolve(a_task(again=Again(kind="merge")), missing="缺 1 段")
    paused = change_task(task, TaskChange(status=PAUSED))
    assert "缺 1 段" == give_up(paused, "404").progress.status_bar
