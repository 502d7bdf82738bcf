"""
The store on real databases: SQLite files and a PostgreSQL of our own, started for this file alone.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import psycopg
import pytest
import pytest_twisted
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, NullPool, create_engine, event, insert, text, update
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import blockingCallFromThread, deferToThread

from m3u8svc.errors import (
    ConfigError,
    DatabaseLocked,
    DiskFull,
    IdempotencyConflict,
    StaleTask,
    StoreError,
    TaskNotFound,
    TooManyTasks,
)
from m3u8svc.store import Store, TaskEvent, rows
from m3u8svc.store.database import MIGRATION_LOCK, MIGRATIONS, VERSION_TABLE, Database, parse_database_url
from m3u8svc.store.known import KNOWN_PAGES, KnownTasks
from m3u8svc.store.store import _list_again, _page, _queue, _search, _segments, _tally, _those, _waiting
from m3u8svc.store.tables import METADATA, REVISION, TASKS
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.creation import Creation
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.queue import LAST
from m3u8svc.tasks.search import Found, Search, Sort
from m3u8svc.tasks.task import (
    PROXY_TYPES,
    Again,
    CompanionFile,
    Extensions,
    Incident,
    Phase,
    Progress,
    Settings,
    Status,
    SystemSettings,
    Task,
    TaskSpec,
)
from m3u8svc.wording import Said, in_english
from tests.databases import (
    SECRET,
    a_segment,
    a_task,
    damage_directory,
    damage_first_page,
    damage_half,
    damage_nothing_left,
    damage_one_page,
    damage_only_the_log_is_left,
    damage_other_file,
    empty_postgres,
    on_server,
    with_store,
)
from tests.needs import memory_disk


def both(*calls: Any) -> Deferred[list[Any]]:
    """The results of coroutines that run at once; an exception is a result."""
    waiting = [Deferred.fromCoroutine(call).addErrback(lambda failure: failure.value) for call in calls]
    return gatherResults(waiting)


# -- Databases -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/m3u8svc.sqlite3"
    return empty_postgres(request.getfixturevalue("postgres"))


@pytest_twisted.async_yield_fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store on a fresh database of each kind."""
    opened = Store(url, reactor=reactor)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite file of this test is."""
    return tmp_path / "m3u8svc.sqlite3"


# -- Round trips -----------------------------------------------------------------------------------------------------

# Lone surrogates and, outside JSON, NUL are refused at the door (web/schema.py).
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
spoken = texts | st.builds(Said, texts, texts)
counts = st.integers(0, 2**53)
times = st.floats(0, 2**40)
specs = st.builds(
    TaskSpec,
    url=texts,
    filename=texts,
    headers=st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3).map(MappingProxyType),
    advanced=st.booleans(),
    settings=st.builds(
        Settings,
        download_threads=st.integers(0, 1000),
        proxy_type=st.sampled_from(PROXY_TYPES),
        proxy_port=st.integers(0, 65535),
        **{f.name: texts for f in attrs.fields(Settings) if f.type is str and f.name != "proxy_type"},
        **{f.name: st.booleans() for f in attrs.fields(Settings) if f.type is bool},
    ),
    playlist_bytes=st.integers(0, 2**40),
    extensions=st.builds(
        Extensions,
        **{f.name: texts for f in attrs.fields(Extensions) if f.type is str},
        **{f.name: st.booleans() for f in attrs.fields(Extensions) if f.type is bool},
        plugins=st.dictionaries(texts, st.dictionaries(texts, st.none() | counts | st.lists(texts)), max_size=2),
        header_hosts=st.lists(texts, max_size=3).map(tuple),
        limit_rate=counts,
    ),
    warnings=st.lists(spoken, max_size=3).map(tuple),
)
progresses = st.builds(
    Progress,
    percent=st.integers(0, 100),
    phase=st.sampled_from(Phase),
    status_bar=texts,
    speed=st.floats(0, 1e12),
    eta_s=st.none() | times,
    segments_done=counts,
    segments_total=counts,
    size_bytes=counts,
)
tasks = st.builds(
    Task,
    id=texts.filter(bool),
    spec=specs,
    status=st.sampled_from(Status),
    rev=counts,
    err_code=texts,
    err_msg=texts,
    created_at=times,
    updated_at=times,
    completed_at=st.none() | times,
    size=counts,
    output=texts,
    output_id=texts,
    companions=st.lists(st.builds(CompanionFile, suffix=texts, output_id=texts), max_size=2).map(tuple),
    warnings=st.lists(spoken, max_size=3).map(tuple),
    progress=progresses,
    deleting=st.booleans(),
    missing=texts,
    again=st.none()
    | st.builds(
        Again,
        kind=st.sampled_from(["merge", "repair"]),
        paused=st.booleans(),
        output_id=texts,
        companions=st.lists(st.builds(CompanionFile, suffix=texts, output_id=texts), max_size=2).map(tuple),
        warnings=st.lists(spoken, max_size=3).map(tuple),
        missing=texts,
    ),
    priority=st.integers(-100, 100),
    place=times,
    held=texts,
    err_url=texts,
    incidents=st.lists(st.builds(Incident, at=times, code=texts, text=texts, segment=texts, url=texts), max_size=3).map(
        tuple
    ),
    mounts=st.lists(texts, max_size=2).map(tuple),
)


def differing(task: Task, stored: Task) -> list[str]:
    """The fields in which two tasks differ, by name, and whether what they warn of differs in English."""
    fields = [field.name for field in attrs.fields(Task) if getattr(task, field.name) != getattr(stored, field.name)]
    return fields + ["english"] * (english_of(task) != english_of(stored))


def english_of(task: Task) -> list[tuple[type, str]]:
    """Everything a task warns of in English, and whether it is in both languages."""
    again = () if task.again is None else task.again.warnings
    return [(type(each), in_english(each)) for each in (*task.spec.warnings, *task.warnings, *again)]


class TestRoundTrip:
    """What goes in comes out."""

    @pytest_twisted.ensureDeferred
    async def test_every_field_survives(self, store: Store) -> None:
        """Every field of a task, its progress and the settings survives insert, replace and save_progress."""
        defaults: dict[str, Any] = {
            "storage": "shelf",
            "variant": "worst",
            "audio": "en",
            "subtitles": "all",
            "subtitle_files": "srt",
            "on_param_change": "split",
            "low_disk": True,
            "report": True,
            "header_hosts": ("cdn.example",),
            "plugins": {"a": {"b": [1]}},
            "limit_rate": 2_000_000,
            "limit_rate_per_host": 10**12,
            "limit_schedule": "Mon 08:00-18:00 2M",
        }

        async def there_and_back(task: Task, later: Progress, other: TaskSpec) -> None:
            await store.insert(task)
            stored = await store.load(task.id, include_deleting=True)
            assert [] == differing(task, stored)
            renewed = await store.replace(attrs.evolve(stored, spec=other))
            assert [] == differing(attrs.evolve(task, spec=other, rev=task.rev + 1), renewed)
            assert [] == differing(renewed, await store.load(task.id, include_deleting=True))
            await store.save_progress([(task.id, later)])
            assert later == (await store.load(task.id, include_deleting=True)).progress
            await store.save_settings(SystemSettings(settings=other.settings, **defaults))
            assert SystemSettings(settings=other.settings, **defaults) == await store.load_settings()
            await store.delete(task.id)

        @settings(max_examples=25, deadline=None)
        @given(task=tasks, later=progresses, other=specs)
        def law(task: Task, later: Progress, other: TaskSpec) -> None:
            blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(there_and_back(task, later, other)))

        await deferToThread(law)  # Hypothesis is synchronous, and the reactor must run meanwhile

    def test_the_strategy_builds_every_field(self) -> None:
        """A field added to a value later is noticed here: the property above must then vary it."""
        counted = {cls.__name__: len(attrs.fields(cls)) for cls in (Task, TaskSpec, Settings, Extensions, Progress)}
        assert {"Task": 24, "TaskSpec": 8, "Settings": 15, "Extensions": 19, "Progress": 8} == counted

    def test_warnings_of_an_older_version_are_read(self) -> None:
        """They are in one language, which then stands for both."""
        again = '{"kind": "merge", "companions": [], "warnings": ["注意"]}'
        row = rows.task_row(a_task()) | {"warnings": '["提示"]', "spec_warnings": '["已忽略"]', "again": again}
        task = rows.task_of(row)  # type: ignore[arg-type]
        assert task.again is not None
        assert (("提示",), ("已忽略",), ("注意",)) == (task.warnings, task.spec.warnings, task.again.warnings)
        assert ["已忽略", "提示", "注意"] == [text for _, text in english_of(task)]

    @given(reason=spoken | st.sampled_from(["[", "[1]", '["a"]', '["a", "b"]', "[" * 9999]))
    def test_reasons_of_segments(self, reason: str) -> None:
        """In both languages, or as they are."""
        row = rows.segment_columns("t1", SegmentRow(position=1, identity="i", reason=reason))
        found = rows.segment_of([row[name] for name in rows.SEGMENT_FIELDS]).reason
        assert (type(reason), reason, in_english(reason)) == (type(found), found, in_english(found))

    @pytest.mark.parametrize("reason", ["", "丢包", "[1]", "[", "[]", '["a", 1]'])
    def test_reasons_of_an_older_version(self, reason: str) -> None:
        """They are themselves."""
        row = rows.segment_columns("t1", SegmentRow(position=1, identity="i")) | {"reason": reason}
        assert reason == rows.segment_of([row[name] for name in rows.SEGMENT_FIELDS]).reason

    def test_rows_of_an_older_version_are_read(self) -> None:
        """Keys an older version did not write have their defaults; keys that are gone are ignored."""
        row = rows.task_row(a_task()) | {
            "settings": '{"download_threads": 7, "gone": [1]}',
            "extensions": "{}",
            "progress": '{"percent": 5, "phase": "gone"}',
        }
        task = rows.task_of(row)  # type: ignore[arg-type]
        assert (Settings(download_threads=7), Extensions(), Progress(percent=5)) == (
            task.spec.settings,
            task.spec.extensions,
            task.progress,
        )

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("settings", "{"),
            ("settings", "[]"),
            ("progress", "1"),
            ("status", "LOST"),
            ("headers", "null"),
            ("warnings", "5"),
            ("warnings", '[["a"]]'),
        ],
    )
    def test_a_row_that_cannot_be_read_is_named(self, column: str, value: str) -> None:
        """A damaged row is a StoreError that names it, never a task left out."""
        with pytest.raises(StoreError):
            rows.task_of(rows.task_row(a_task()) | {column: value})  # type: ignore[arg-type]

    def test_what_tasks_share(self) -> None:
        """Settings that say the same are one value; options of plugins, which they get hold of, are each task's own."""
        plugins = {"ads": {"names": ["a"]}}
        spec = attrs.evolve(a_task().spec, extensions=Extensions(merger="ts", plugins=plugins))
        row = rows.task_row(attrs.evolve(a_task(), spec=spec))
        one, other = rows.task_of(row), rows.task_of(row)  # type: ignore[arg-type]
        assert one.spec.settings is other.spec.settings
        one.spec.extensions.plugins["ads"]["names"].append("b")
        assert plugins == other.spec.extensions.plugins == rows.task_of(row).spec.extensions.plugins  # type: ignore[arg-type]


# -- Tasks -----------------------------------------------------------------------------------------------------------


async def first(store: Store) -> list[Task]:
    """The first page of all tasks."""
    return (await store.first_tasks(status=None, limit=100, offset=0))[1]


class TestTasks:
    """Insert, list, replace, delete."""

    @pytest_twisted.ensureDeferred
    async def test_a_task_that_is_as_it_was_is_the_same(self, store: Store) -> None:
        """So nobody has to make it again; what changed is another one, however it changed."""
        for task_id in ("a", "b"):
            await store.insert(a_task(task_id))
        [a, b], [named] = await first(store), await store.tasks_named(["a"])
        assert a is named is (await store.tasks(limit=1))[0]
        assert [b] == (behind := await store.tasks(limit=1, after=a))
        assert b is behind[0]
        await store.save_progress([("a", Progress(percent=7))])
        [changed, same] = await first(store)
        assert (7, True) == (changed.progress.percent, same is b)
        incident = Incident(at=1.0, code="x", text='"quoted" \\ and 😀\n', attempt=1)
        await store.save_incidents([("b", [incident])])
        [same, b] = await first(store)
        assert (True, (incident,)) == (same is changed, b.incidents)
        await store.replace(attrs.evolve(b, err_msg="x"))
        assert ["", "x"] == [task.err_msg for task in await first(store)]
        assert await store.tasks() == await first(store) == await store.tasks_named(["a", "b"])

    @pytest_twisted.ensureDeferred
    async def test_another_task_of_the_same_name_is_another_one(self, store: Store) -> None:
        """Though it is as often changed as the first one was."""
        await store.insert(a_task("a", err_msg="first"))
        await first(store)
        await store.delete("a")
        await store.insert(a_task("a", err_msg="second"))
        assert ["second"] == [task.err_msg for task in await first(store)]

    @pytest_twisted.ensureDeferred
    async def test_a_page_that_is_as_it_was_is_not_read_again(self, store: Store) -> None:
        """Whatever is written of any task, the next look reads. A database that others may share is always read."""
        asked: list[str] = []
        event.listen(store._database._engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

        async def is_read() -> bool:
            asked.clear()
            page = await first(store)
            read = bool(asked)
            assert await store.tasks() == page
            page.clear()  # whoever was given one may do with it what he likes
            return read

        async def read_once() -> list[bool]:
            return [await is_read(), await is_read()]

        wanted = [True, store.file is None]
        assert wanted == await read_once()
        for task_id in ("a", "b"):
            await store.insert(a_task(task_id))
            assert wanted == await read_once()
        await store.replace(attrs.evolve(a_task("a"), err_msg="x"))
        assert wanted == await read_once()
        await store.save_progress([("a", Progress(percent=7))])
        assert wanted == await read_once()
        await store.save_incidents([("b", (Incident(at=1.0, code="x", text="x"),))])
        assert wanted == await read_once()
        await store.delete("b")
        assert wanted == await read_once()
        total, page = await store.first_tasks(status=Status.PAUSED, limit=100, offset=0)
        assert (0, []) == (total, page)
        await store.close()
        with pytest.raises(StoreError):
            await first(store)
        await store.open()
        assert 1 == len(await first(store))

    @pytest_twisted.ensureDeferred
    async def test_few_pages_are_known(self, store: Store) -> None:
        """As many as are asked for do not pile up."""
        await store.insert(a_task("a"))
        for offset in range(3 * KNOWN_PAGES):
            total, page = await store.first_tasks(status=None, limit=9, offset=offset)
            assert (1, 0 if offset else 1) == (total, len(page))
        assert len(store._known._pages) <= KNOWN_PAGES

    @pytest_twisted.ensureDeferred
    async def test_what_another_process_did_is_seen(self, store: Store) -> None:
        """On PostgreSQL there may be one."""
        for task_id in ("a", "b"):
            await store.insert(a_task(task_id))
        await first(store)
        theirs = update(TASKS).where(TASKS.c.id == "a").values(rev=TASKS.c.rev + 1, err_msg="theirs")
        await store._in_thread(lambda: store._database.run(lambda connection: connection.execute(theirs), write=True))
        store._known.forget_pages()  # as where others may write
        assert ["theirs", ""] == [task.err_msg for task in await first(store)]

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_is_opened_again_knows_none(self, store: Store) -> None:
        """It may be another database by now."""
        await store.insert(a_task("a"))
        [before] = await first(store)
        await store.close()
        await store.open()
        [after] = await first(store)
        assert before == after
        assert before is not after

    @pytest_twisted.ensureDeferred
    async def test_the_tasks_shown_last_are_known(self, store: Store) -> None:
        """And not more of them than some."""
        known = KnownTasks(most=2)
        for task_id in ("a", "b", "c"):
            await store.insert(a_task(task_id))

        async def shown(*task_ids: str) -> list[Task]:
            found = {task.id: task for task in await store._read(partial(known.read, _those(task_ids)))}
            return [found[task_id] for task_id in task_ids]

        _, b, c = await shown("a", "b", "c")
        [_, same] = await shown("a", "b")
        assert b is same  # and now the newer one
        [other, same] = await shown("c", "b")
        assert (c, True, True) == (other, c is not other, b is same)

    @pytest.mark.parametrize(
        "own",
        [{"extensions": Extensions(plugins={"ads": {"names": []}})}, {"url": "https://a.example/" + "a" * (1 << 14)}],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_task_that_is_read_anew(self, store: Store, own: dict[str, Any]) -> None:
        """Options of plugins, which they get hold of, are each task's own; and much text is not kept."""
        await store.insert(attrs.evolve(a_task("a"), spec=attrs.evolve(a_task().spec, **own)))
        [one], [other] = await first(store), await first(store)
        assert one == other
        assert one is not other

    @pytest_twisted.ensureDeferred
    async def test_list_order(self, store: Store) -> None:
        """Tasks come by creation, then by the code points of their ids, whatever order they were stored in."""
        for task_id, created_at in [("b", 2.0), ("_", 2.0), ("B", 2.0), ("z", 1.0), ("a", 3.0)]:
            await store.insert(a_task(task_id, created_at=created_at))
        assert ["z", "B", "_", "b", "a"] == [task.id for task in await store.tasks()]
        assert ["z", "B"] == [task.id for task in await store.tasks(limit=2)]
        assert [] == await store.tasks(limit=0)
        total, some = await store.first_tasks(status=None, limit=2, offset=2)
        assert (5, ["_", "b"]) == (total, [task.id for task in some])
        total, some = await store.first_tasks(status=Status.WAITING, limit=1, offset=0)
        assert (5, ["z"]) == (total, [task.id for task in some])
        assert (0, []) == await store.first_tasks(status=Status.PAUSED, limit=2, offset=0)

    @pytest_twisted.ensureDeferred
    async def test_list_behind_a_task(self, store: Store) -> None:
        """Those that come after it, also of the same instant, and whether it is still there or not."""
        made = [
            a_task(task_id, created_at=at)
            for task_id, at in (("c", 1.0), ("a", 2.0), ("b", 2.0), ("d", 2.0), ("e", 3.0))
        ]
        for task in made:
            await store.insert(task)
        assert ["b", "d", "e"] == [task.id for task in await store.tasks(after=made[1])]
        await store.delete("b")
        assert ["d"] == [task.id for task in await store.tasks(after=made[2], limit=1)]
        assert [] == await store.tasks(after=made[4])

    @pytest_twisted.ensureDeferred
    async def test_a_playlist_that_came_with_a_task(self, store: Store) -> None:
        """It is read by itself, stays when the task changes, and goes with it."""
        text = "#EXTM3U\n#EXTINF:1,片段\na.ts\n" * 1000
        await store.insert(a_task("a"), text)
        await store.insert(a_task("b"))
        await store.replace(a_task("a", size=5))
        assert (text, "", "") == tuple([await store.playlist_text(each) for each in ("a", "b", "c")])
        await store.delete("a")
        assert "" == await store.playlist_text("a")

    @pytest_twisted.ensureDeferred
    async def test_list_by_status(self, store: Store) -> None:
        """A status selects its tasks only."""
        await store.insert(a_task("a"))
        await store.insert(a_task("b", status=Status.PAUSED))
        assert ["b"] == [task.id for task in await store.tasks(status=Status.PAUSED)]

    @pytest_twisted.ensureDeferred
    async def test_a_task_that_is_being_deleted_is_invisible(self, store: Store) -> None:
        """From the mark on, only those who ask for it see it."""
        await store.insert(a_task())
        marked = await store.replace(a_task(deleting=True))
        with pytest.raises(TaskNotFound):
            await store.load("t1")
        assert ([], [marked]) == (await store.tasks(), await store.tasks(include_deleting=True))
        assert marked == await store.load("t1", include_deleting=True)

    @pytest_twisted.ensureDeferred
    async def test_an_unknown_task(self, store: Store) -> None:
        """Load, replace, delete and record of an id that is not there say so."""
        for call in [
            store.load("t1"),
            store.replace(a_task()),
            store.delete("t1"),
            store.record_segments("t1", [a_segment(1)]),
        ]:
            with pytest.raises(TaskNotFound):
                await call

    @pytest_twisted.ensureDeferred
    async def test_the_same_id_twice(self, store: Store) -> None:
        """An id is stored once; the second insert is refused and writes no event."""
        await store.insert(a_task())
        with pytest.raises(StoreError, match="t1 is stored already"):
            await store.insert(a_task(err_code="other"))
        assert ("", 1) == ((await store.load("t1")).err_code, len(await store.events()))

    @pytest_twisted.ensureDeferred
    async def test_of_two_changes_one_wins(self, store: Store) -> None:
        """Two changes of the same revision: the first is stored, the second is a StaleTask and leaves no trace."""
        await store.insert(a_task())
        first, second = await both(
            store.replace(a_task(status=Status.PAUSED)), store.replace(a_task(status=Status.FAILED))
        )
        assert (a_task(status=Status.PAUSED, rev=1), StaleTask) == (first, type(second))
        assert first == await store.load("t1")
        assert [Status.WAITING, Status.PAUSED] == [event.status for event in await store.events()]

    @pytest_twisted.ensureDeferred
    async def test_two_services_race(self, postgres: str) -> None:
        """Two connections that change a task at once: every round has exactly one winner, nothing is overwritten."""
        stores = [Store(empty_postgres(postgres), reactor=reactor) for _ in range(2)]
        for each in stores:
            await each.open()
        try:
            await stores[0].insert(a_task())
            for rev in range(30):
                results = await both(*(each.replace(a_task(rev=rev)) for each in stores))
                assert ["StaleTask", "Task"] == sorted(type(result).__name__ for result in results)
            assert 30 == (await stores[1].load("t1")).rev
        finally:
            for each in stores:
                await each.close()

    @pytest_twisted.ensureDeferred
    async def test_delete_takes_the_segments_along(self, store: Store, url: str) -> None:
        """No segment outlives its task; another task's stay."""
        for task_id in ("t1", "t2"):
            await store.insert(a_task(task_id))
            await store.record_segments(task_id, [a_segment(1), a_segment(2)])
        await store.delete("t1")
        assert (0, 2) == (len(await store.segments("t1")), len(await store.segments("t2")))

    @pytest_twisted.ensureDeferred
    async def test_progress_does_not_touch_the_revision(self, store: Store) -> None:
        """Progress is written past a change in flight; a task that is gone is passed over."""
        await store.insert(a_task("a"))
        await store.insert(a_task("b"))
        await store.save_progress([("b", Progress(percent=2)), ("gone", Progress()), ("a", Progress(percent=1))])
        await store.save_progress([])
        assert [(1, 0), (2, 0)] == [(task.progress.percent, task.rev) for task in await store.tasks()]

    @pytest_twisted.ensureDeferred
    async def test_incidents_do_not_touch_the_revision(self, store: Store) -> None:
        """What went wrong meanwhile is written past a change in flight; a task that is gone is passed over."""
        happened = Incident(at=1.0, code="refused", text="…", segment="00001.ts", attempt=2, count=3)
        await store.insert(a_task("a"))
        await store.insert(a_task("b"))
        await store.save_incidents([("b", (happened,)), ("gone", (happened,))])
        await store.save_incidents([])
        assert [((), 0), ((happened,), 0)] == [(task.incidents, task.rev) for task in await store.tasks()]


class TestCreations:
    """A request that comes twice makes one task."""

    @pytest_twisted.ensureDeferred
    async def test_a_repeated_request_means_the_first_task(self, store: Store) -> None:
        """The same name with the same request is answered with the task that is there; nothing more is stored."""
        named = Creation(key="k", digest="d")
        assert "t1" == await store.insert(a_task("t1"), "#EXTM3U\n", creation=named)
        assert "t1" == await store.insert(a_task("t2"), "#EXTM3U\n", creation=named)
        assert "t3" == await store.insert(a_task("t3"), creation=Creation(key="K", digest="d"))
        assert (["t1", "t3"], 2) == ([task.id for task in await store.tasks()], len(await store.events()))

    @pytest_twisted.ensureDeferred
    async def test_the_same_key_for_another_request(self, store: Store) -> None:
        """It is refused, and nothing is stored."""
        await store.insert(a_task("t1"), creation=Creation(key="k", digest="d"))
        with pytest.raises(IdempotencyConflict, match='"k"'):
            await store.insert(a_task("t2"), creation=Creation(key="k", digest="e"))
        assert ["t1"] == [task.id for task in await store.tasks()]
        assert "t1" == await store.insert(a_task("t3"), creation=Creation(key="k", digest="d"))

    @pytest_twisted.ensureDeferred
    async def test_a_key_outlives_the_task(self, store: Store) -> None:
        """Who deletes a task and repeats the request that made it does not get it back."""
        await store.insert(a_task("t1"), creation=Creation(key="k", digest="d"))
        await store.delete("t1")
        assert "t1" == await store.insert(a_task("t2"), creation=Creation(key="k", digest="d"))
        assert [] == await store.tasks()

    @pytest_twisted.ensureDeferred
    async def test_a_key_is_free_again_after_a_day(self, store: Store) -> None:
        """To the second, and for another request as well; the time is that of the tasks' creation."""
        day_s = 24 * 3600.0
        await store.insert(a_task("t1", created_at=5.0), creation=Creation(key="k", digest="d"))
        early = a_task("t2", created_at=5.0 + day_s - 1)
        assert "t1" == await store.insert(early, creation=Creation(key="k", digest="d"))
        late = a_task("t3", created_at=5.0 + day_s)
        assert "t3" == await store.insert(late, creation=Creation(key="k", digest="e"))
        again = a_task("t4", created_at=5.0 + day_s + 1)
        assert "t3" == await store.insert(again, creation=Creation(key="k", digest="e"))

    @pytest_twisted.ensureDeferred
    async def test_the_task_of_a_key_is_known(self, store: Store) -> None:
        """For a day, and to the request that made it only; nothing is stored by asking."""
        creation = Creation(key="k", digest="d")
        assert "" == await store.created(creation, now=5.0)
        await store.insert(a_task("t1", created_at=5.0), creation=creation)
        day_s = 24 * 3600.0
        assert ["t1", "t1", ""] == [await store.created(creation, now=5.0 + age) for age in (0.0, day_s - 1, day_s)]
        with pytest.raises(IdempotencyConflict):
            await store.created(Creation(key="k", digest="e"), now=6.0)

    @pytest_twisted.ensureDeferred
    async def test_a_task_that_is_not_stored_leaves_no_key(self, store: Store) -> None:
        """Key and task are one transaction."""
        await store.insert(a_task("t1"))
        with pytest.raises(StoreError, match="stored already"):
            await store.insert(a_task("t1"), creation=Creation(key="k", digest="d"))
        assert "t2" == await store.insert(a_task("t2"), creation=Creation(key="k", digest="e"))

    @pytest_twisted.ensureDeferred
    async def test_only_so_many_tasks_are_unfinished(self, store: Store) -> None:
        """One more is not stored, nor is its key; neither what ended counts nor a request that comes twice."""
        creation = Creation(key="k", digest="d")
        await store.insert(a_task("w"), creation=creation, most=3)
        for number, status in enumerate((Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.DOWNLOADING)):
            await store.insert(a_task(f"t{number}", status=status), most=3)
        assert "w" == await store.insert(a_task("again"), creation=creation, most=3)
        fresh = Creation(key="fresh", digest="d")
        for most in (2, 3):
            with pytest.raises(TooManyTasks, match=f"{most} are not finished yet"):
                await store.insert(a_task("over"), creation=fresh, most=most)
        assert "" == await store.created(fresh, now=1.0)
        assert 5 == len(await store.tasks())
        assert "over" == await store.insert(a_task("over"), creation=fresh, most=4)
        assert "any" == await store.insert(a_task("any"))

    @pytest_twisted.ensureDeferred
    async def test_old_keys_are_forgotten(self, store: Store, url: str) -> None:
        """Those of the last day stay."""
        for number in range(3):
            await store.insert(a_task(f"t{number}", created_at=number), creation=Creation(key=f"k{number}", digest="d"))
        await store.forget_creations(now=1 + 24 * 3600.0)
        with create_engine(parse_database_url(url), poolclass=NullPool).connect() as connection:
            assert ["k2"] == list(connection.execute(text("SELECT key FROM creations")).scalars())

    @pytest_twisted.ensureDeferred
    async def test_two_services_are_asked_at_once(self, postgres: str) -> None:
        """The same request to two services on one database makes one task, and both name it."""
        stores = [Store(empty_postgres(postgres), reactor=reactor) for _ in range(2)]
        for each in stores:
            await each.open()
        try:
            for number in range(20):
                named = Creation(key=f"k{number}", digest="d")
                ids = await both(
                    *(each.insert(a_task(f"{number}-{at}"), creation=named) for at, each in enumerate(stores))
                )
                assert 1 == len(set(ids)), ids
            assert 20 == len(await stores[0].tasks())
        finally:
            for each in stores:
                await each.close()


SEARCHED = {
    # id: name, state, percent, size, priority, place
    "aa": ("beta", Status.WAITING, 0, 0, 0, 2.0),
    "bb": ("Alpha", Status.COMPLETED, 100, 7, 5, 0.0),
    "cc": ("gamma 电影", Status.DOWNLOADING, 9, 0, 0, 0.0),
    "dd": ("ÉTÉ 100%_", Status.WAITING, 10, 0, 3, 9.0),
    "ee": ("delta", Status.FAILED, 9, 0, -1, 0.0),
    "ff": ("alpha", Status.PAUSED, 50, 0, 0, 0.0),
    "gg": ("omega", Status.WAITING, 0, 0, 0, 1.0),
}
"""In the order of their creation."""


class TestSearch:
    """Which tasks a list has, and in which order."""

    async def fill(self, store: Store) -> None:
        """The tasks above, and one that nobody sees any more."""
        for number, (task_id, (name, status, percent, size, priority, place)) in enumerate(SEARCHED.items()):
            spec = TaskSpec(url=f"https://{task_id}.example/Film?q={number}", filename=name)
            task = a_task(task_id, spec=spec, status=status, created_at=float(number), size=size, priority=priority)
            await store.insert(attrs.evolve(task, place=place, progress=Progress(percent=percent)))
        await store.insert(a_task("hh", status=Status.WAITING, created_at=99.0, deleting=True))

    @pytest.mark.parametrize(
        ("sort", "up", "down"),
        [
            (Sort.CREATED, "aa bb cc dd ee ff gg", "gg ff ee dd cc bb aa"),
            (Sort.NAME, "bb ff aa ee cc gg dd", "dd gg cc ee aa ff bb"),
            (Sort.STATUS, "cc aa dd gg ff ee bb", "bb ee ff gg dd aa cc"),
            (Sort.PROGRESS, "aa gg cc ee dd ff bb", "bb ff dd ee cc gg aa"),
            (Sort.SIZE, "aa cc dd ee ff gg bb", "bb gg ff ee dd cc aa"),
            (Sort.PRIORITY, "ee aa cc ff gg dd bb", "bb dd gg ff cc aa ee"),
            (Sort.QUEUE, "dd gg aa bb cc ee ff", "aa gg dd ff ee cc bb"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_order(self, store: Store, sort: Sort, up: str, down: str) -> None:
        """Equals are as they were created; numbers are numbers; who does not wait is behind the queue either way."""
        await self.fill(store)
        assert Found(ids=tuple(up.split()), total=7) == await store.search(Search(sort=sort))
        assert Found(ids=tuple(down.split()), total=7) == await store.search(Search(sort=sort, descending=True))

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("ALPHA", "bb ff"),
            ("cc.EXAMPLE", "cc"),
            ("film?Q=3", "dd"),
            ("gG", "gg"),
            ("电影", "cc"),
            ("A 电", "cc"),
            ("été", "dd"),
            ("0%_", "dd"),
            ("%", "dd"),
            ("_", "dd"),
            ("' OR 1=1 --", ""),
            ("hh", ""),
            ("", "aa bb cc dd ee ff gg"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_text(self, store: Store, text: str, found: str) -> None:
        """It may be in the name, the URL or the id; its case does not matter, and no character means anything else."""
        await self.fill(store)
        ids = tuple(found.split())
        assert Found(ids=ids, total=len(ids)) == await store.search(Search(text=text))

    @pytest_twisted.ensureDeferred
    async def test_a_part_of_what_is_found(self, store: Store) -> None:
        """The total counts what is on other pages, too."""
        await self.fill(store)
        waiting = Search(status=Status.WAITING, sort=Sort.NAME, limit=2)
        assert Found(ids=("aa", "gg"), total=3) == await store.search(waiting)
        assert Found(ids=("dd",), total=3) == await store.search(attrs.evolve(waiting, offset=2))
        assert Found(ids=("gg",), total=1) == await store.search(attrs.evolve(waiting, text="omega"))
        assert Found(ids=(), total=1) == await store.search(attrs.evolve(waiting, text="omega", offset=1))

    @pytest_twisted.ensureDeferred
    async def test_the_tasks_themselves(self, store: Store) -> None:
        """They come in the order they were asked for, without those that are gone."""
        await self.fill(store)
        assert ["gg", "aa"] == [task.id for task in await store.tasks_named(["gg", "none", "hh", "aa"])]
        assert [] == await store.tasks_named([])

    @pytest_twisted.ensureDeferred
    async def test_the_tally_follows_every_change(self, store: Store) -> None:
        """A task that is stored, changed, marked or removed is counted so at once."""
        assert {} == await store.tally()
        await store.insert(a_task("one"))
        await store.insert(a_task("two"))
        assert {Status.WAITING: 2} == await store.tally()
        started = await store.replace(a_task("one", status=Status.DOWNLOADING))
        assert {Status.WAITING: 1, Status.DOWNLOADING: 1} == await store.tally()
        await store.replace(attrs.evolve(started, deleting=True))
        assert {Status.WAITING: 1} == await store.tally()
        await store.delete("two")
        assert {} == await store.tally()


class TestQueue:
    """The order in which tasks start."""

    @pytest_twisted.ensureDeferred
    async def test_order(self, store: Store) -> None:
        """By priority, the higher first; then by place, creation and id. Who does not wait has no place in it."""
        for task_id, changes in {
            "late": {"place": 9.0},
            "b": {"place": 5.0, "created_at": 1.0},
            "a": {"place": 5.0, "created_at": 1.0},
            "first born": {"place": 5.0, "created_at": 0.5},
            "urgent": {"place": 99.0, "priority": 1},
            "idle": {"place": 0.0, "priority": -1},
            "paused": {"status": Status.PAUSED},
            "goes": {"deleting": True},
        }.items():
            await store.insert(a_task(task_id, **changes))
        order = ["urgent", "first born", "a", "b", "late", "idle"]
        assert order == [task.id for task in await store.waiting()]
        assert order == list(await store.queue())
        assert order[:2] == [task.id for task in await store.waiting(2)]

    @pytest.mark.parametrize(
        ("position", "order"),
        [(1, "Xabc"), (2, "aXbc"), (3, "abXc"), (4, "abcX"), (LAST, "abcX")],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_task_is_moved(self, store: Store, position: int, order: str) -> None:
        """It stands at its new position among those of its priority, others stay in order, a new task comes last."""
        for place, task_id in enumerate("abcX", 1):
            await store.insert(a_task(task_id, place=place))
        await store.insert(a_task("y", place=2.5, priority=1))
        await store.insert(a_task("p", place=2.5, status=Status.PAUSED))
        moved = await store.replace(await store.load("X"), position=position, now=50.0)
        assert moved == await store.load("X")
        await store.insert(a_task("z", place=51.0))
        assert f"y{order}z" == "".join(await store.queue())

    @pytest_twisted.ensureDeferred
    async def test_moved_with_another_priority(self, store: Store) -> None:
        """The position counts among those of the new priority."""
        for task_id, priority in {"a": 0, "b": 7, "c": 7, "X": 0}.items():
            await store.insert(a_task(task_id, place=1.0, priority=priority))
        await store.replace(attrs.evolve(await store.load("X"), priority=7), position=2, now=2.0)
        assert "bXca" == "".join(await store.queue())

    @pytest_twisted.ensureDeferred
    async def test_a_change_leaves_the_place(self, store: Store) -> None:
        """A task that is changed otherwise stays where it is."""
        for task_id in "abc":
            await store.insert(a_task(task_id, place=1.0))
        await store.replace(attrs.evolve(await store.load("b"), size=1))
        assert "abc" == "".join(await store.queue())

    @pytest_twisted.ensureDeferred
    async def test_a_hundred_moves_to_one_position(self, store: Store) -> None:
        """Between two floats there is room for a few; whoever gives way is not moved back by a change in flight."""
        for place, task_id in enumerate("abcde"):
            await store.insert(a_task(task_id, place=1_700_000_000.0 + place / 1000))
        read = await store.load("a")
        order = list("abcde")
        for turn in range(100):
            mover = order.pop(-1 - turn % 2)
            order.insert(2, mover)
            await store.replace(await store.load(mover), position=3, now=1_700_000_001.0)
            assert order == list(await store.queue())
        with pytest.raises(StaleTask):
            await store.replace(read)

    @pytest_twisted.ensureDeferred
    async def test_equal_places(self, store: Store) -> None:
        """Between tasks of one place a third is put as well."""
        for task_id in "abcX":
            await store.insert(a_task(task_id, place=7.0))
        await store.replace(await store.load("X"), position=3, now=7.0)
        assert "abXc" == "".join(await store.queue())


class TestOutbox:
    """Changes of state wait in the transaction that made them."""

    @pytest_twisted.ensureDeferred
    async def test_an_event_per_change_of_status(self, store: Store) -> None:
        """Birth and every change of status leave an event, other changes none."""
        await store.insert(a_task())
        task = await store.replace(a_task(err_msg="x", updated_at=2.0))
        await store.replace(attrs.evolve(task, status=Status.FAILED, updated_at=3.0))
        first, second = await store.events()
        assert [
            TaskEvent(id=first.id, task_id="t1", status=Status.WAITING, previous=None, at=1.5),
            TaskEvent(id=second.id, task_id="t1", status=Status.FAILED, previous=Status.WAITING, at=3.0),
        ] == [first, second]

    @pytest_twisted.ensureDeferred
    async def test_ids_are_never_used_twice(self, store: Store) -> None:
        """Events come oldest first; after all were forgotten the next id is still a new one."""
        for number in range(3):
            await store.insert(a_task(f"t{number}"))
        told = await store.events(limit=2)
        assert ["t0", "t1"] == [event.task_id for event in told]
        rest = await store.events()
        assert await store.forget_events(event.id for event in told)
        assert rest[2:] == await store.events()
        assert not await store.forget_events(event.id for event in rest)
        assert not await store.forget_events([])
        await store.insert(a_task("t9"))
        [new] = await store.events()
        assert new.id > max(event.id for event in rest)

    @pytest_twisted.ensureDeferred
    async def test_events_outlive_the_task(self, store: Store) -> None:
        """A change that was not told yet is not lost by a delete."""
        await store.insert(a_task())
        await store.delete("t1")
        assert ["t1"] == [event.task_id for event in await store.events()]


class TestSegments:
    """The ledger of a task."""

    @pytest.mark.parametrize("count", [0, 2, 3, 4])
    @pytest_twisted.ensureDeferred
    async def test_a_long_ledger_is_read_piece_by_piece(self, count: int, store: Store) -> None:
        """Whether the last piece is full or not; each says what was written, and nothing comes from another task."""
        reason = '"\\ \x01\U0001f600' + "\x00" * (store.file is not None)  # PostgreSQL takes no NUL
        written = [a_segment(number // 2, track="ab"[number % 2], reason=reason) for number in range(count)]
        theirs = [a_segment(number, track="b") for number in range(9)]
        for task_id, segments in {"t0": theirs, "t1": written, "t2": theirs}.items():
            await store.insert(a_task(task_id))
            await store.record_segments(task_id, segments)
        found = list((await store._read(partial(_segments, "t1", step=2))).values())
        assert sorted(written, key=lambda segment: (segment.track, segment.position)) == found

    @pytest_twisted.ensureDeferred
    async def test_a_position_is_replaced(self, store: Store) -> None:
        """Recording a position again replaces it, within a batch and later; they come back by position."""
        await store.insert(a_task())
        skipped = a_segment(1, name="", outcome="skipped", reason="HTTP 404 😀", status=404, attempts=3)
        await store.record_segments("t1", [a_segment(10), a_segment(2), a_segment(1), a_segment(2, size_bytes=2**40)])
        await store.record_segments("t1", iter([skipped]))
        await store.record_segments("t1", [])
        assert [skipped, a_segment(2, size_bytes=2**40), a_segment(10)] == list((await store.segments("t1")).values())

    @pytest_twisted.ensureDeferred
    async def test_a_batch_is_whole_or_not_at_all(self, store: Store) -> None:
        """One row the database cannot take undoes its batch."""
        await store.insert(a_task())
        with pytest.raises(StoreError):
            await store.record_segments("t1", [a_segment(1), a_segment(2, size_bytes=2**70)])
        assert 0 == len(await store.segments("t1"))

    @pytest_twisted.ensureDeferred
    async def test_a_long_stream(self, store: Store) -> None:
        """Ten thousand segments fit into one batch."""
        await store.insert(a_task())
        await store.record_segments("t1", map(a_segment, range(1, 10_001)))
        assert 10_000 == len(await store.segments("t1"))


class TestReports:
    """A report for each result: the old one's counts until the new one is on record."""

    @pytest_twisted.ensureDeferred
    async def test_the_report_of_a_result_goes_with_its_identity(self, store: Store) -> None:
        """It is found by the result's identity, byte for byte, and replaced under the same."""
        await store.insert(a_task())
        for segments in (b"", bytes(range(256)) * 4000):
            report = Report(summary='{"a": "\\u0000"}', segments=segments)
            await store.save_report("t1", "1:2:3", report)
            assert report == await store.report("t1", "1:2:3")
        assert (None, None) == (await store.report("t1", "other"), await store.report("t2", "1:2:3"))

    @pytest_twisted.ensureDeferred
    async def test_the_report_of_the_present_result_stays(self, store: Store) -> None:
        """Of a finished task there are two at most: that of its result, and that of the one which may follow."""
        await store.insert(a_task(status=Status.COMPLETED, output_id="old"))
        for output_id in ("old", "new1", "new2"):
            await store.save_report("t1", output_id, Report(summary=output_id, segments=b""))
        found = [await store.report("t1", output_id) for output_id in ("old", "new1", "new2")]
        assert ["old", None, "new2"] == [None if each is None else each.summary for each in found]

    @pytest_twisted.ensureDeferred
    async def test_what_an_unfinished_task_never_published_is_forgotten(self, store: Store) -> None:
        """Only the last attempt counts."""
        await store.insert(a_task(output_id="one"))
        for output_id in ("one", "two"):
            await store.save_report("t1", output_id, Report(summary=output_id, segments=b""))
        assert None is await store.report("t1", "one")

    @pytest_twisted.ensureDeferred
    async def test_no_report_outlives_its_task(self, store: Store) -> None:
        """Nor is there one of a task that is not there."""
        report = Report(summary="", segments=b"")
        with pytest.raises(TaskNotFound):
            await store.save_report("t1", "x", report)
        await store.insert(a_task())
        await store.save_report("t1", "x", report)
        await store.delete("t1")
        assert None is await store.report("t1", "x")

    @pytest_twisted.ensureDeferred
    async def test_tasks_to_be_made_again_are_listed(self, store: Store) -> None:
        """In their order; not those that are being deleted."""
        again = Again(kind="merge", output_id="9", companions=(CompanionFile(suffix="x", output_id="8"),))
        for task_id, changes in {
            "b": {"again": again},
            "a": {"again": again},
            "c": {},
            "d": {"again": again, "deleting": True},
        }.items():
            await store.insert(a_task(task_id, **changes))
        assert [("a", again), ("b", again)] == [(task.id, task.again) for task in await store.tasks_again()]


PART, WHOLE = "CO-ROUTINE anon_1", "SCAN anon_1"
"""What SQLite says of rows that are read in one step."""


@pytest.mark.parametrize(
    ("ask", "plan"),
    [
        pytest.param(_list_again, ["SEARCH tasks USING INDEX tasks_again (again>?)"], id="to be made again"),
        pytest.param(
            partial(_waiting, 3), ["SEARCH tasks USING INDEX tasks_in_queue (status=?)"], id="first in the queue"
        ),
        pytest.param(_queue, [PART, "SEARCH tasks USING INDEX tasks_in_queue (status=?)", WHOLE], id="the queue"),
        pytest.param(
            partial(_search, Search(descending=True, limit=3)),
            [PART, "SCAN tasks USING INDEX tasks_in_order", WHOLE],
            id="the last ones",
        ),
        pytest.param(
            partial(KnownTasks().read, _page(None, 3, 2)),
            [PART, "SCAN tasks USING INDEX tasks_in_order", WHOLE],
            id="the first ones",
        ),
        pytest.param(
            partial(KnownTasks().read, _page(Status.PAUSED, 3, 2)),
            [PART, "SEARCH tasks USING INDEX tasks_by_state (status=? AND deleting=?)", WHOLE],
            id="the first ones of a state",
        ),
        pytest.param(_tally, ["SCAN tasks USING COVERING INDEX tasks_by_state"], id="how many of each state"),
        pytest.param(
            partial(KnownTasks().read, _those(["a", "b"])),
            ["SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"],
            id="a page",
        ),
    ],
)
def test_the_whole_table_is_not_read_for_a_few(
    ask: Callable[[Connection], Sized], plan: list[str], tmp_path: Path
) -> None:
    """What is looked for after every creation and every end is found by an index, and is in order by it."""
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    database.open()
    asked: list[tuple[str, Any]] = []

    def look(connection: Connection) -> list[str]:
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
        assert not ask(connection)
        [(statement, parameters)] = asked
        return [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]

    try:
        assert plan == database.run(look, write=False)
    finally:
        database.close()


class TestSettings:
    """The system settings."""

    @pytest_twisted.ensureDeferred
    async def test_none_until_saved_then_the_last(self, store: Store) -> None:
        """Nothing saved is None, not defaults: the configuration file decides then."""
        assert await store.load_settings() is None
        for threads in (1, 2):
            await store.save_settings(SystemSettings(settings=Settings(download_threads=threads)))
        assert SystemSettings(settings=Settings(download_threads=2)) == await store.load_settings()

    @pytest_twisted.ensureDeferred
    async def test_options_of_plugins_are_nobody_elses(self, store: Store) -> None:
        """What a plugin does with the options that it was given is not what the next task gets."""
        await store.save_settings(SystemSettings(settings=Settings(), plugins={"one": {"names": ["a"]}}))
        for _ in range(2):
            found = await store.load_settings()
            assert found is not None
            assert {"one": {"names": ["a"]}} == found.plugins
            found.plugins["one"]["names"].append("b")


# -- The schema ------------------------------------------------------------------------------------------------------


class TestSchema:
    """Migrations."""

    def test_migrations_make_the_tables_that_queries_use(self, url: str) -> None:
        """From nothing, the migrations end at exactly `tables.py`."""
        database = Database(url)
        database.open()

        def compare(connection: Any) -> list[Any]:
            options = {"version_table": VERSION_TABLE, "compare_type": True}
            return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)

        try:
            assert [] == database.run(compare, write=False)
        finally:
            database.close()

    def test_the_revision_is_that_of_the_last_migration(self, url: str) -> None:
        """Whoever adds one says so: else a database without it would be taken for one of today."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        assert [REVISION] == ScriptDirectory.from_config(config).get_heads()

    def test_alembic_comes_only_when_it_is_due(self, url: str) -> None:
        """It takes 8 MiB for as long as the process lives: one whose schema is of today does without."""
        script = (
            "import sys; from m3u8svc.store.database import Database; "
            "database = Database(sys.argv[1]); database.open(); database.close(); print('alembic' in sys.modules)"
        )
        said = [
            subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True).stdout
            for _ in range(2)
        ]
        assert ["True\n", "False\n"] == said

    @pytest_twisted.ensureDeferred
    async def test_opening_again_keeps_everything(self, url: str) -> None:
        """A second start finds what the first wrote."""
        await with_store(url, lambda store: store.insert(a_task()))
        assert [a_task()] == await with_store(url, lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_the_ledger_of_the_first_schema_is_kept(self, url: str) -> None:
        """Segments recorded before there were tracks are those of the main one."""
        self.upgrade(url, "0001")
        newer = (
            "companions",
            "playlist_bytes",
            "missing",
            "again",
            "priority",
            "place",
            "held",
            "err_url",
            "incidents",
        )
        task = {name: value for name, value in rows.task_row(a_task()).items() if name not in newer}
        segment = {
            name: value
            for name, value in rows.segment_columns("t1", a_segment(7)).items()
            if name not in ("track", "digest")
        }
        engine = create_engine(url)
        with engine.begin() as connection:
            for table, row in (("tasks", task), ("segments", segment)):
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
        engine.dispose()
        assert [a_segment(7)] == list((await with_store(url, lambda store: store.segments("t1"))).values())
        assert [a_task(place=1.5)] == await with_store(url, lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_places_of_an_earlier_version_lose_their_links(self, url: str, tmp_path: Path) -> None:
        """
        They would be refused as links that somebody planted. What is no path of this machine stays as it is, and so
        does a task whose directory has no link in it, to the byte.
        """
        real = (tmp_path / "disk").resolve()
        real.mkdir()
        (tmp_path / "link").symlink_to(real)

        def at(place: Path) -> Task:
            settings = Settings(save_location=f"{place}/films", temp_directory=str(place))
            companion = CompanionFile(suffix="srt", output_id="2", output=f"{place}/films/f.srt", staged="")
            return a_task(
                spec=TaskSpec(url="https://h.test/a.m3u8", filename="f", settings=settings),
                output=f"{place}/films/f.mp4",
                companions=(companion,),
                again=Again(kind="merge", companions=(attrs.evolve(companion, staged=f"{place}/films/.x"),)),
            )

        elsewhere = a_task("t3", output="s3://bucket/f.mp4")
        before = [attrs.evolve(at(tmp_path / "link"), id="t1"), attrs.evolve(at(real), id="t2"), elsewhere]
        self.upgrade(url, "0005")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(insert(TASKS), [rows.task_row(task) for task in before])
        engine.dispose()
        after = await with_store(url, lambda store: store.tasks())
        assert [attrs.evolve(at(real), id="t1"), *before[1:]] == sorted(after, key=lambda task: task.id)

    @pytest_twisted.ensureDeferred
    async def test_a_newer_schema_is_refused(self, url: str) -> None:
        """A database written by a newer version is named and left alone."""
        await with_store(url, lambda store: store.insert(a_task()))
        self.execute(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        with pytest.raises(ConfigError, match="schema 9999 is from a newer version"):
            await with_store(url, lambda store: store.tasks())
        self.execute(url, f"UPDATE {VERSION_TABLE} SET version_num = '{REVISION}'")
        assert [a_task()] == await with_store(url, lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_a_migration_that_fails_leaves_nothing(self, url: str) -> None:
        """All steps in one transaction: a table in the way of the last one undoes the first ones."""
        self.execute(url, "CREATE TABLE settings (other INTEGER)")
        with pytest.raises(StoreError, match="settings"):
            await with_store(url, lambda store: store.tasks())
        assert ["settings"] == self.tables(url)

    @pytest_twisted.ensureDeferred
    async def test_another_service_migrates(self, postgres: str) -> None:
        """A service that starts while another migrates waits for it."""
        empty_postgres(postgres)
        with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            opening = Deferred.fromCoroutine(with_store(postgres, lambda store: store.tasks()))
            await deferLater(reactor, 0.3)
            assert not opening.called
        assert [] == await opening

    @staticmethod
    def upgrade(url: str, revision: str) -> None:
        """As an older version of the program would have."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        engine = create_engine(url)
        with engine.begin() as connection:
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            command.upgrade(config, revision)
        engine.dispose()

    @staticmethod
    def execute(url: str, statement: str) -> None:
        if url.startswith("postgresql"):
            on_server(url, statement)
        else:
            with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
                connection.execute(statement)
            connection.close()

    @staticmethod
    def tables(url: str) -> list[str]:
        if url.startswith("postgresql"):
            found = on_server(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        else:
            connection = sqlite3.connect(url.removeprefix("sqlite:///"))
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            connection.close()
        return [name for [name] in found]


# -- The file --------------------------------------------------------------------------------------------------------


class TestFile:
    """The SQLite file."""

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (damage_directory, "is not a file"),
            (damage_nothing_left, "is empty, so what it held is lost"),
            (damage_half, "is damaged"),
            (damage_first_page, "is damaged"),
            (damage_one_page, "is damaged"),
            (damage_other_file, "is damaged"),
            (damage_only_the_log_is_left, "is gone but its log"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_never_an_empty_start(self, path: Path, damage: Callable[[Path], None], reason: str) -> None:
        """
        A file that lost what it held stops the start where there are no backups, is named, and is left as it was found.
        """
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        shutil.rmtree(f"{path}.backups")
        damage(path)
        before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
        with pytest.raises(StoreError, match=reason) as caught:
            await with_store(f"sqlite:///{path}", lambda store: store.load_settings())
        assert path.name in str(caught.value)
        assert before == {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}

    @pytest_twisted.ensureDeferred
    async def test_a_directory_that_is_not_there(self, path: Path) -> None:
        """The path is named when no file can be made."""
        with pytest.raises(StoreError, match="nowhere/x: No such file or directory"):
            await with_store(f"sqlite:///{path.parent}/nowhere/x", lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_a_crash_while_the_file_was_made(self, path: Path) -> None:
        """The half-made file of a start that was killed is made again."""
        Path(f"{path}.new").write_bytes(b"")
        assert [] == await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        assert [path] == [each for each in path.parent.iterdir() if each.is_file()]

    def test_settings_of_the_connection(self, path: Path) -> None:
        """WAL, every commit synced, foreign keys, no trust in the schema, five seconds of patience (R-DB-1)."""
        database = Database(f"sqlite:///{path}")
        database.open()
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "busy_timeout")
        found = [
            database.run(lambda c, n=name: c.exec_driver_sql(f"PRAGMA {n}").scalar(), write=False) for name in names
        ]
        database.close()
        assert ["wal", 2, 1, 0, 5000] == found

    @pytest_twisted.ensureDeferred
    async def test_tables_are_strict(self, path: Path) -> None:
        """SQLite holds us to the types of the columns."""
        await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        connection = sqlite3.connect(path)
        found = connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
        connection.close()
        assert {"tasks", "segments", "events", "settings", "playlists", "reports", "creations"} == {
            name for name, strict in found if strict
        }

    @pytest_twisted.ensureDeferred
    async def test_nobody_else_reads_it(self, path: Path) -> None:
        """
        The file and its log are 0600 whatever the umask, so are the backups, and an open file is closed to others at
        the next start.
        """
        umask = os.umask(0)
        try:
            await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
            path.chmod(0o644)

            async def modes(store: Store) -> set[str]:
                await store.insert(a_task("t2"))
                return {f"{each.suffix} {each.stat().st_mode & 0o777:o}" for each in path.parent.rglob("*")}

            found = await with_store(f"sqlite:///{path}", modes)
        finally:
            os.umask(umask)
        files = {f".sqlite3{end} 600" for end in ("", "-wal", "-shm")}  # and one of them is also a copy
        assert files | {".backups 700", ".changes 600"} == found

    @pytest_twisted.ensureDeferred
    async def test_a_path_with_every_character(self, tmp_path: Path) -> None:
        """A percent-encoded path is decoded once."""
        await with_store(f"sqlite:///{tmp_path}/a%20b%3F%25%23%E5%9D%97.db", lambda store: store.tasks())
        assert ["a b?%#块.db"] == [each.name for each in tmp_path.iterdir() if each.is_file()]

    @pytest_twisted.ensureDeferred
    async def test_another_program_holds_the_lock(self, path: Path) -> None:
        """A change waits for another program that writes for a moment, and sees what it wrote; reads go on."""
        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        other = sqlite3.connect(path, isolation_level=None)
        try:
            await store.insert(a_task())
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE tasks SET filename = 'other'")
            assert [a_task()] == await store.tasks()
            reactor.callLater(0.3, other.commit)  # type: ignore[attr-defined]
            started = time.monotonic()
            await store.replace(a_task(err_msg="ours"))
            assert time.monotonic() - started >= 0.25
        finally:
            other.close()
            await store.close()

    @pytest_twisted.ensureDeferred
    async def test_settings_are_there_while_a_change_waits(self, path: Path) -> None:
        """Who creates a task asks for them first, and waits for a lock once, not twice."""
        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        other = sqlite3.connect(path, isolation_level=None)
        try:
            system = SystemSettings(settings=Settings(download_threads=7))
            await store.save_settings(system)
            assert system == await store.load_settings()
            other.execute("BEGIN IMMEDIATE")
            waiting = Deferred.fromCoroutine(store.insert(a_task()))
            assert system == await store.load_settings()
            assert not waiting.called
            other.commit()
            await waiting
            assert [a_task()] == await store.tasks()
        finally:
            other.close()
            await store.close()

    def test_another_program_keeps_the_lock(self, path: Path) -> None:
        """A lock that is held for longer than our patience is told as such, and the next write works."""
        database = Database(f"sqlite:///{path}")
        database.open()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(DatabaseLocked):
                database.run(lambda connection: None, write=True, patience_s=0.1)
            other.rollback()
            database.run(lambda connection: None, write=True)
        finally:
            other.close()
            database.close()


# -- Failures --------------------------------------------------------------------------------------------------------


def everything_said(error: BaseException) -> str:
    """All the text of an exception and of what it hangs on to."""
    said, each = [], [error]
    while each:
        one = each.pop()
        said.append(f"{one} {vars(one)}")
        each += [more for more in (one.__cause__, one.__context__) if more is not None]
    return " ".join(said)


class TestFailures:
    """Whatever the database does, it comes out as one of ours."""

    @pytest.mark.parametrize(
        "changes",
        [{"size": 2**70}, {"err_msg": "\ud800"}, {"created_at": None}, {"size": "many"}],
        ids=["number", "surrogate", "missing", "type"],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_value_the_database_refuses(self, store: Store, changes: dict[str, Any]) -> None:
        """The error is a StoreError without SQL, without the row's values, and the store goes on."""
        with pytest.raises(StoreError) as caught:
            await store.insert(a_task(**changes))
        said = everything_said(caught.value)
        assert (False, False) == (SECRET in said, "INSERT" in said)
        await store.insert(a_task())

    @pytest_twisted.ensureDeferred
    async def test_disk_full(self, small_disk: Path) -> None:
        """A full disk is DiskFull; what was acknowledged is there, and writing goes on when there is space again."""
        store = Store(f"sqlite:///{small_disk}/db", reactor=reactor)
        await store.open()
        stored: list[str] = []
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(300_000))
        try:
            with pytest.raises(DiskFull):
                for number in range(10_000):
                    await store.insert(a_task(f"{number:05d}", err_msg="x" * 5000))
                    stored.append(f"{number:05d}")
            assert (True, stored) == (len(stored) > 5, [task.id for task in await store.tasks()])
            ballast.unlink()
            await store.insert(a_task("99999"))
        finally:
            await store.close()
        again = await with_store(f"sqlite:///{small_disk}/db", lambda store: store.tasks())
        assert [*stored, "99999"] == [task.id for task in again]

    @pytest_twisted.ensureDeferred
    async def test_no_space_for_a_first_file(self, small_disk: Path) -> None:
        """A start on a full disk says that it is full, and leaves no file that a later start would refuse."""
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as full:
            try:
                while True:
                    full.write(bytes(4096))
            except OSError:
                pass
        with pytest.raises(DiskFull):
            await with_store(f"sqlite:///{small_disk}/db", lambda store: store.tasks())
        ballast.unlink()
        assert [] == await with_store(f"sqlite:///{small_disk}/db", lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_disk_full_on_postgresql(self, postgres: str, tmp_path: Path) -> None:
        """The server's full disk is DiskFull too; an option in the URL stays in force beside ours."""
        server = Path(postgres.partition("host=")[2])
        with memory_disk(server / "small", "1m") as place:
            os.chown(place, server.stat().st_uid, -1)
            on_server(empty_postgres(postgres), f"CREATE TABLESPACE small LOCATION '{place}'")
            store = Store(f"{postgres}&options=-c%20default_tablespace=small", reactor=reactor)
            await store.open()
            try:
                with pytest.raises(DiskFull) as caught:
                    for number in range(10_000):
                        await store.insert(a_task(f"{number}", err_msg=os.urandom(20_000).hex()))
                assert SECRET not in everything_said(caught.value)
                assert number == len(await store.tasks())
            finally:
                await store.close()
                on_server(empty_postgres(postgres), "DROP TABLESPACE small")

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of 1 MiB."""
        with memory_disk(tmp_path / "small", "1m") as place:
            yield place

    @pytest_twisted.ensureDeferred
    async def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        """An unreachable PostgreSQL is a StoreError that does not show the password."""
        with pytest.raises(StoreError, match="connection") as caught:
            await with_store(f"postgresql+psycopg://me:{SECRET}@/x?host={tmp_path}", lambda store: store.tasks())
        assert SECRET not in everything_said(caught.value)

    @pytest_twisted.ensureDeferred
    async def test_a_connection_that_broke(self, postgres: str) -> None:
        """After the server dropped the connection the next call has a new one."""
        store = Store(empty_postgres(postgres), reactor=reactor)
        await store.open()
        try:
            on_server(
                postgres,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            assert [] == await store.tasks()
        finally:
            await store.close()

    @pytest_twisted.ensureDeferred
    async def test_a_database_in_another_encoding(self, postgres: str) -> None:
        """A database that cannot hold our text is refused at the start, not at the first Chinese title."""
        on_server(
            postgres,
            "DROP DATABASE IF EXISTS latin",
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        )
        with pytest.raises(ConfigError, match="UTF8, not LATIN1"):
            await with_store(postgres.replace("/postgres?", "/latin?"), lambda store: store.tasks())

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_is_not_open(self, url: str) -> None:
        """Before open and after close every call says so; close twice is fine; what was asked before close is done."""
        store = Store(url, reactor=reactor)
        with pytest.raises(StoreError, match="not open"):
            await store.tasks()
        await store.open()
        with pytest.raises(StoreError, match="open already"):
            await store.open()
        await both(store.insert(a_task()), store.close())
        await store.close()
        with pytest.raises(StoreError, match="not open"):
            await store.tasks()
        await store.open()
        assert [a_task()] == await store.tasks()
        await store.close()


WRITER = """
    import sys
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from m3u8svc.store import Store
    from m3u8svc.tasks.task import Task, TaskSpec

    async def write():
        store = Store(sys.argv[1], reactor=reactor)
        await store.open()
        for number in range(100_000):
            await store.insert(Task(id=f"{number:06d}", spec=TaskSpec(url="https://origin.example/", filename="")))
            print(f"{number:06d}", flush=True)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(write()))
    reactor.run()
"""


@pytest_twisted.ensureDeferred
async def test_kill_9_loses_nothing_acknowledged(url: str) -> None:
    """Whatever a killed process had acknowledged is there at the next start, with its event, and at most one more."""
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), url], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert writer.stdout is not None
    acknowledged = [next(writer.stdout).strip() for _ in range(150)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in writer.stdout.read().splitlines() if len(line) == 6]
    writer.stdout.close()
    writer.wait()

    async def found(store: Store) -> tuple[list[str], list[str]]:
        return [task.id for task in await store.tasks()], [event.task_id for event in await store.events(1_000_000)]

    stored, told = await with_store(url, found)
    assert acknowledged == stored[: len(acknowledged)]
    assert len(stored) <= len(acknowledged) + 1
    assert stored == told


class TestUrls:
    """What may be given as --database."""

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "m3u8svc.db",
            "mysql://x/y",
            "sqlite:///",
            "sqlite:///a?mode=ro",
            "sqlite+aiosqlite:///a",
            "postgresql://h:port/x",
        ],
    )
    def test_a_wrong_url_is_refused(self, wrong: str) -> None:
        """A URL of another kind is the operator's error, named at once."""
        with pytest.raises(ConfigError, match="database"):
            parse_database_url(wrong)

    def test_the_password_is_not_shown(self) -> None:
        """An error about a URL does not hold its password."""
        with pytest.raises(ConfigError) as caught:
            parse_database_url(f"mysql://me:{SECRET}@x/y")
        assert SECRET not in everything_said(caught.value)

    def test_postgresql_means_our_driver(self) -> None:
        """The short form chooses the driver we ship."""
        assert "postgresql+psycopg" == parse_database_url("postgresql://h/x").drivername
