"""
Files beside a result: named after it, found again after a crash, removed only if they are ours.
"""

import os
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.builtin.disk import DiskStorage
from m3u8svc.companions import forget_staged, identify, name_beside, prepare, publish_beside, remove_beside
from m3u8svc.nofollow import Folder
from m3u8svc.offerings import Companion
from m3u8svc.tasks.task import CompanionFile, Settings, Task, TaskSpec


@pytest.fixture
def storage() -> DiskStorage:
    return DiskStorage(maybeDeferred)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task whose merger left two hidden files beside its target."""
    spec = TaskSpec(url="http://h/i.m3u8", filename="film", settings=Settings(save_location=str(tmp_path)))
    for name, content in ((".t1.part.mp4.1.vtt", "WEBVTT"), (".t1.part.mp4.p2", "second")):
        (tmp_path / name).write_text(content)
    staged = (
        Companion(path=tmp_path / ".t1.part.mp4.1.vtt", suffix="en.vtt"),
        Companion(path=tmp_path / ".t1.part.mp4.p2", suffix="p2.mp4"),
    )
    return Task(id="t1", spec=spec, companions=identify(staged, 1_000_000.0))


def result(coroutine: object) -> object:
    found: list[object] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)  # type: ignore[arg-type]
    [only] = found
    return only


def publish(task: Task, storage: DiskStorage, location: Path) -> tuple[tuple[CompanionFile, ...], list[str]]:
    name = name_beside(str(location), "film", ".mp4")
    return result(publish_beside(task, storage, name, maybeDeferred))  # type: ignore[return-value]


def test_they_are_named_after_the_published_file(task: Task, storage: DiskStorage, tmp_path: Path) -> None:
    """A result that got a number gives it to what lies beside it, together with its time."""
    done, warnings = publish(task, storage, tmp_path / "film_0001.mp4")
    assert [] == warnings
    assert ["film_0001.en.vtt", "film_0001.p2.mp4"] == sorted(entry.name for entry in tmp_path.iterdir())
    assert [str(tmp_path / "film_0001.en.vtt"), str(tmp_path / "film_0001.p2.mp4")] == [each.output for each in done]
    assert 1_000_000.0 == (tmp_path / "film_0001.en.vtt").stat().st_mtime


def test_a_run_after_a_crash_publishes_the_rest(task: Task, storage: DiskStorage, tmp_path: Path) -> None:
    """What has its name already is found by its identity and not made twice."""
    first = attrs.evolve(task, companions=task.companions[:1])
    publish(first, storage, tmp_path / "film.mp4")
    done, warnings = publish(task, storage, tmp_path / "film.mp4")
    assert ([], 2) == (warnings, len(done))
    assert ["film.en.vtt", "film.p2.mp4"] == sorted(entry.name for entry in tmp_path.iterdir())


def test_one_that_is_lost_is_named(task: Task, storage: DiskStorage, tmp_path: Path) -> None:
    """Also when another file has taken the hidden name since."""
    (tmp_path / ".t1.part.mp4.1.vtt").unlink()
    (tmp_path / ".t1.part.mp4.p2").unlink()
    (tmp_path / ".t1.part.mp4.p2").write_text("somebody else's")
    done, warnings = publish(task, storage, tmp_path / "film.mp4")
    assert ((), ["附属文件 en.vtt 已不存在，未发布", "附属文件 p2.mp4 已不存在，未发布"]) == (done, warnings)


def test_only_ours_are_removed(task: Task, storage: DiskStorage, tmp_path: Path) -> None:
    """One that somebody replaced stays; one whose place was never recorded is found by its name and identity."""
    done, _ = publish(task, storage, tmp_path / "film.mp4")
    (tmp_path / "film.p2.mp4").unlink()
    (tmp_path / "film.p2.mp4").write_text("theirs, and longer")
    recorded = attrs.evolve(task, companions=(attrs.evolve(done[0], output=""), done[1]))
    assert result(remove_beside(recorded, storage, "film")) is None
    assert ["film.p2.mp4"] == [entry.name for entry in tmp_path.iterdir()]


def test_hidden_ones_are_forgotten_with_the_target(tmp_path: Path) -> None:
    """Everything a run left under its hidden names goes, and nothing of another task."""
    for name in (".t1.part.mp4", ".t1.part.mp4.1.vtt", ".t1.part.mp4.p2", ".t10.part.mp4", ".t1.part.mp40"):
        (tmp_path / name).write_text("x")
    forget_staged(tmp_path / ".t1.part.mp4")
    assert [".t1.part.mp40", ".t10.part.mp4"] == sorted(entry.name for entry in tmp_path.iterdir())
    forget_staged(tmp_path / "nowhere" / ".t1.part.mp4")


def test_a_directory_has_no_extension(task: Task, storage: DiskStorage, tmp_path: Path) -> None:
    """What lies beside kept segments is named after the whole directory."""
    done, _ = publish(task, storage, tmp_path / "film.v1")
    assert [str(tmp_path / "film.v1.en.vtt"), str(tmp_path / "film.v1.p2.mp4")] == [each.output for each in done]


def test_the_mode_of_a_result(tmp_path: Path) -> None:
    """Half-made it is its owner's alone, finished it is for others to read, whatever the umask."""
    staged = tmp_path / ".film.part"
    with Folder.at(tmp_path) as folder, folder.create(staged.name) as file:
        file.write(b"film")
    before = os.umask(0o077)
    try:
        assert 0o600 == staged.stat().st_mode & 0o777
        prepare(staged, None)
        assert 0o644 == staged.stat().st_mode & 0o777
    finally:
        os.umask(before)
