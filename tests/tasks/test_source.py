"""
A new URL for a task: when it may be given, and what stays.
"""

from collections.abc import Mapping

import attrs
import pytest

from m3u8svc.errors import CannotRemake
from m3u8svc.tasks.again import change_task
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.source import with_url
from m3u8svc.tasks.task import Status, Task, TaskChange, TaskSpec

WAITING, DOWNLOADING, PAUSED, COMPLETED, FAILED = Status
OLD, NEW = "https://a.example.com/film.m3u8?token=old", "https://b.example.com/other.m3u8?token=new"
ELSEWHERE = "https://cdn.test/film.m3u8"
SECRETS = {"Cookie": ("s=1",), "X-Auth-Token": ("t",), "Accept": ("*/*",)}


def a_task(status: Status = PAUSED, *, held: str = "", url: str = OLD, **spec: object) -> Task:
    return Task(id="t1", spec=TaskSpec(url=url, filename="film", **spec), status=status, held=held)  # type: ignore[arg-type]


def with_headers(headers: Mapping[str, tuple[str, ...]] = SECRETS, url: str = OLD) -> Task:
    return a_task(url=url, headers=headers)


@pytest.mark.parametrize("status", [WAITING, PAUSED, FAILED])
def test_a_task_that_does_not_run_takes_a_url(status: Status) -> None:
    """It stays in its state, and nothing else changes."""
    task = a_task(status)
    expected = attrs.evolve(task, spec=attrs.evolve(task.spec, url=NEW))
    assert expected == change_task(task, TaskChange(url=NEW))


@pytest.mark.parametrize(("status", "why"), [(DOWNLOADING, "pause it before"), (COMPLETED, "is finished")])
def test_a_task_that_runs_or_is_finished_takes_none(status: Status, why: str) -> None:
    """The one would go on with links of both, the other has nothing left to fetch."""
    with pytest.raises(CannotRemake, match=why):
        change_task(a_task(status), TaskChange(url=NEW))


def test_a_task_that_needed_a_url_goes_on_with_it() -> None:
    """That is all it waited for."""
    assert WAITING is change_task(a_task(held="needs_url"), TaskChange(url=NEW)).status


@pytest.mark.parametrize("held", ["", "disk_full"])
def test_what_holds_a_task_otherwise_still_does(held: str) -> None:
    """A pause is its user's, a full disk is full."""
    changed = change_task(a_task(held=held), TaskChange(url=NEW))
    assert (PAUSED, held) == (changed.status, changed.held)


def test_a_task_may_be_told_to_stay_paused() -> None:
    """From then on the pause is the user's."""
    changed = change_task(a_task(held="needs_url"), TaskChange(url=NEW, status=PAUSED))
    assert (PAUSED, "", NEW) == (changed.status, changed.held, changed.spec.url)


def test_a_url_takes_the_place_of_a_pasted_playlist() -> None:
    """What was pasted has the links that do not work any more."""
    assert not with_url(a_task(playlist_bytes=700), NEW).spec.has_playlist


@pytest.mark.parametrize(("filename", "kept"), [("", "film"), ("  ", "film"), ("mine.mp4", "mine.mp4")])
def test_the_name_of_the_result_stays(filename: str, kept: str) -> None:
    """Files are under it, also where it was made of the old URL."""
    task = a_task()
    task = attrs.evolve(task, spec=attrs.evolve(task.spec, filename=filename))
    changed = with_url(task, NEW)
    assert kept == changed.spec.filename
    assert result_name(task.spec) == result_name(changed.spec)


def test_secrets_that_go_to_another_site_are_named() -> None:
    """By name, never by value; what is no secret went everywhere before."""
    [warning] = with_url(with_headers(), ELSEWHERE).spec.warnings
    assert "cdn.test" in warning and "Cookie、X-Auth-Token" in warning
    assert "Accept" not in warning and "s=1" not in warning


@pytest.mark.parametrize(
    ("task", "url"),
    [
        (with_headers(), NEW),  # of one registrable domain
        (with_headers({"Accept": ("*/*",)}), ELSEWHERE),
        (with_headers({}), ELSEWHERE),
        (with_headers(url=""), ELSEWHERE),  # the playlist was pasted: they went nowhere
    ],
)
def test_nothing_is_said_where_no_secret_moves(task: Task, url: str) -> None:
    """The same site, or no secret."""
    assert () == with_url(task, url).spec.warnings


def test_secrets_that_are_encrypted_no_more_are_named() -> None:
    """The same host without TLS is another place for a secret."""
    assert with_url(with_headers(), OLD.replace("https", "http")).spec.warnings


def test_only_the_last_move_is_told() -> None:
    """Other warnings stay; back on its own site, there is nothing left to say."""
    task = with_headers()
    task = attrs.evolve(task, spec=attrs.evolve(task.spec, warnings=("another",)))
    once = with_url(task, ELSEWHERE)
    twice = with_url(once, "https://third.example/l.m3u8")
    assert ["another", True] == [twice.spec.warnings[0], "third.example" in twice.spec.warnings[1]]
    assert 2 == len(twice.spec.warnings)
