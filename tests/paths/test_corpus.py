"""
Every name of the corpus, in everything that makes or removes a file by a name, with links planted in its way. Whatever
the name, and although the door would have refused it: nothing outside is touched, and what was made is where it should
be.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from m3u8svc.builtin.disk import DiskStorage
from m3u8svc.companions import publish_beside, remove_beside
from m3u8svc.debuglog import DebugLog
from m3u8svc.errors import InvalidRequest, M3u8svcError
from m3u8svc.kept import find_kept, forget_kept, keep_segments, remove_kept
from m3u8svc.offerings import MediaFile
from m3u8svc.places import file_identity
from m3u8svc.tasks.names import name_problem, result_name
from m3u8svc.tasks.task import CompanionFile, Settings, SystemSettings, Task, TaskSpec
from m3u8svc.web.schema import parse_task
from tests.paths.names import NAMES
from tests.paths.outside import Outside, traces
from tests.web.conftest import clock, service, site, wire

__all__ = ["clock", "service", "site", "wire"]


def test_at_the_door() -> None:
    """A name is accepted as one safe component, or the request is refused by a text that names the field."""
    for name in NAMES:
        body = json.dumps({"url": "http://h.test/all.m3u8", "filename": name}).encode()
        try:
            chosen = result_name(parse_task(body).spec(SystemSettings()))
        except InvalidRequest as error:
            is_text = not any("\ud800" <= character <= "\udfff" for character in name)
            assert not is_text or "filename: " in error.text("zh"), name
        else:
            assert not name_problem(chosen) and os.path.basename(chosen) == chosen, name
            assert len(os.fsencode(chosen)) <= 200


def test_no_task_is_made_of_a_refused_name(wire: Any, service: Any) -> None:
    """Over the API it is a 400, and nothing has happened."""
    for name in [name for name in NAMES if name_problem(name)][::5][:40]:
        reply = wire.ask("POST", "/api/tasks", {"url": "http://h.test/all.m3u8", "filename": name})
        assert (400, []) == (reply.status, service.calls), name


FILM, WORDS = ".task1.part.mp4", ".task1.part.mp4.1.vtt"
"""What becomes the result, and what lies beside it."""


# -- Behind the door -------------------------------------------------------------------------------------------------


@attrs.define
class Place:
    """A directory to save in, with a work directory, and what is outside of both."""

    root: Path
    outside: Outside
    save: Path
    work: Path

    @classmethod
    def made(cls, root: Path) -> "Place":
        """Make them, and a segment."""
        root.mkdir()
        place = cls(root, Outside.made(root / "outside"), root / "save", root / "work")
        for each in (place.save, place.work):
            each.mkdir()
        (place.work / "1.ts").write_bytes(b"segment")
        (place.work / "debug.log").write_bytes(b"")
        (place.save / FILM).write_bytes(b"film")
        (place.save / WORDS).write_bytes(b"WEBVTT")
        return place

    @property
    def task(self) -> Task:
        """The task that saves here."""
        spec = TaskSpec(url="http://h.test/", filename="x", settings=Settings(save_location=str(self.save)))
        return Task(id="task1", spec=spec)


def now(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    return maybeDeferred(function, *arguments)


def result(coroutine: Any) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    [only] = found
    if isinstance(only, Failure):
        only.raiseException()
    return only


def publish(place: Place, name: str) -> list[str]:
    """The result gets its name."""
    return [result(DiskStorage(now).publish(place.task, place.save / FILM, name, ".mp4")).location]


def keep(place: Place, name: str) -> list[str]:
    """Segments are kept, found again and removed."""
    segment = MediaFile(position=1, path=place.work / "1.ts", kind="ts", duration_s=1.0, init=None, size_bytes=7)
    kept = keep_segments([segment], place.save, name, "task1").path
    assert kept == find_kept(place.save, name, "task1")
    made = [str(kept / each) for each in os.listdir(kept)]
    remove_kept(kept)
    assert not kept.exists()
    return made


def companions(place: Place, name: str) -> list[str]:
    """A companion gets its name, and is removed."""
    staged = place.save / WORDS
    file = CompanionFile(suffix="en.vtt", output_id=file_identity(staged), staged=str(staged))
    task = attrs.evolve(place.task, companions=(file,))
    done, _ = result(publish_beside(task, DiskStorage(now), name, now))
    made = [each.output for each in done]
    assert all(map(os.path.exists, made))
    result(remove_beside(attrs.evolve(task, companions=done), DiskStorage(now), name))
    return made


def debug_log(place: Place, name: str) -> list[str]:
    """The debug log gets its name, twice."""
    log = DebugLog(place.work, "task1", enabled=True, wall=lambda: 0.0, in_thread=now)
    before = set(os.listdir(place.save))
    for _ in range(2):
        log.note("a line")
        result(log.publish(place.save, name))
    return [str(place.save / each) for each in set(os.listdir(place.save)) - before]


def remove(place: Place, name: str) -> list[str]:
    """The result is removed by what is on record, were it the record of something outside."""
    storage = DiskStorage(now)
    for location in (place.save / f"{name}.mp4", place.save / name):
        for identity in (file_identity(place.outside.file), "1:2:3"):
            result(storage.remove(attrs.evolve(place.task, output_id=identity), str(location)))
            replaced = attrs.evolve(place.task, output_id="1:2:3", output=str(location))
            assert result(storage.replace(replaced, place.work / "1.ts")) is None
    remove_kept(place.save / name)
    forget_kept(place.save, "task1")
    return []


def no_trick(place: Place, name: str) -> None:
    """Nothing is in the way."""


def named_by_file_links(place: Place, name: str) -> None:
    """Everything that will be named so is a link to a file."""
    for each in _taken(place, name):
        each.symlink_to(place.outside.file)


def named_by_directory_links(place: Place, name: str) -> None:
    """Everything that will be named so is a link to a directory."""
    for each in _taken(place, name):
        each.symlink_to(place.outside.path)


def named_by_dangling_links(place: Place, name: str) -> None:
    """Everything that will be named so is a link to what could be made outside."""
    for each in _taken(place, name):
        each.symlink_to(place.outside.path / "new")


def hidden_links(place: Place, name: str) -> None:
    """What becomes the result is a link."""
    for each in (FILM, WORDS, ".task1.debug.part", ".task1.part.segments"):
        (place.save / each).unlink(missing_ok=True)
        (place.save / each).symlink_to(place.outside.file)
    (place.work / "1.ts").unlink()
    (place.work / "1.ts").symlink_to(place.outside.file)


def save_is_a_link(place: Place, name: str) -> None:
    """The directory is one, to where the same names are."""
    for each in (FILM, WORDS):
        place.outside.has(each, (place.save / each).read_bytes())
    place.outside.instead_of(place.save)


def _taken(place: Place, name: str) -> list[Path]:
    found = []
    if "\0" not in name and "/" not in name and name not in ("", ".", ".."):
        for each in ("", ".mp4", ".en.vtt", ".debug.log"):
            try:
                if not os.path.lexists(place.save / f"{name}{each}"):
                    found.append(place.save / f"{name}{each}")
            except (OSError, UnicodeEncodeError):
                continue  # no file system takes it
    return [each for each in found if len(os.fsencode(each.name)) <= 255]


OPERATIONS = [publish, keep, companions, debug_log, remove]
TRICKS = [
    no_trick,
    named_by_file_links,
    named_by_directory_links,
    named_by_dangling_links,
    hidden_links,
    save_is_a_link,
]
STOPPED = [hidden_links, save_is_a_link]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("operate", OPERATIONS)
def test_behind_the_door(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operate: Callable[[Place, str], list[str]],
    trick: Callable[[Place, str], None],
) -> None:
    """Whatever is asked for by that name stays in the directory, or is refused."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a thousand of them, and no power fails here
    for number, name in enumerate(NAMES):
        place = Place.made(tmp_path / str(number))
        before = set(os.listdir(place.root))
        try:
            trick(place, name)
        except UnicodeEncodeError:
            continue
        links = {each: os.readlink(each) for each in place.save.iterdir() if each.is_symlink()}
        made: list[str] = []
        try:
            made = operate(place, name)
        except (OSError, M3u8svcError, ValueError) as error:
            refused = trick in STOPPED or name_problem(name) or not name
            assert refused or (operate is remove and trick is not no_trick), (name, error)
        else:
            assert trick not in STOPPED or operate is remove, name
        place.outside.insist_untouched()
        assert before | {"save.moved"} >= set(os.listdir(place.root)), name
        for each in made:
            assert place.save == Path(each).parent or (operate is keep and place.save == Path(each).parent.parent), name
            assert not os.path.islink(each) and str(each) not in map(str, links)
        if trick is not save_is_a_link:
            assert {each: os.readlink(each) for each in links if os.path.lexists(each)} == links, name


def test_traces_tell_of_everything(tmp_path: Path) -> None:
    """What the other tests rely on: bytes, times, modes, names and links are seen."""
    outside = Outside.made(tmp_path / "outside")
    for change in (
        lambda: outside.file.write_bytes(b"Precious"),
        lambda: outside.file.chmod(0o600),
        lambda: os.utime(outside.file, (1, 1)),
        lambda: os.link(outside.file, tmp_path / "link"),
        lambda: (outside.path / "new").touch(),
    ):
        before = traces(outside.path)
        change()
        assert before != traces(outside.path)
