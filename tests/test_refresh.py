"""
Links that expire, and playlists that are not what they were: one job against an origin that signs its links.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from m3u8svc.errors import NeedsUrl
from m3u8svc.job import Job, Outcome
from m3u8svc.tasks.task import Extensions
from m3u8svc.testing.playlists import (
    CLEAR,
    KeyLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
)
from tests.test_job import COUNT, Bench, bench, cancelled, encrypted, lines, pictures, segments, sha256, test
from tests.until import until

__all__ = ["bench", "segments"]


def put_lists(bench: Bench, *lists: Sequence[SegmentLine], path: str = "/list.m3u8", **options: Any) -> str:
    """A playlist that is another one with each reading; the last stays."""
    bodies = []
    for number, listed in enumerate(lists):
        bench.origin.put(f"/{number}{path}", media_playlist(listed, **options).encode())
        bodies.append(f"/{number}{path}")
    bench.origin.put(path, b"")
    return f"{path}?body={','.join(bodies)}"


def signed(token: str, *, expired: Sequence[int] = (), status: int = 403) -> list[SegmentLine]:
    """
    The stream with links of one signature, of which some are no good any more. That is heard when the rest is there: a
    task that needs a new URL stops what is under way.
    """
    over = f"&status={status}&delay=0.5"
    return [
        SegmentLine(uri=f"{n}.ts?token={token}{over if n in expired else ''}", duration_s=1.0) for n in range(COUNT)
    ]


async def started(bench: Bench, path: str, *, refused: int) -> "Deferred[Outcome]":
    """
    A run in which so many links of `signed` are refused in a moment when every segment has been asked for and the rest
    is there.
    """
    bench.origin.clock = clock = Clock()
    before = sum(bench.counts())
    job = bench.job(bench.task(path))
    running = Deferred.fromCoroutine(job.run())
    await until(lambda: (COUNT, COUNT - refused) == (sum(bench.counts()) - before, job.progress().segments_done))
    clock.advance(0.5)
    return running


def lists_read(bench: Bench) -> int:
    return bench.origin.count("/list.m3u8")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@test
async def test_S11_expired_links_are_renewed(bench: Bench, status: int) -> None:
    """Workers that fail at once share one reading; what is there is not fetched again; the film is the same."""
    plain = await bench.run(bench.put_list(lines()), save_location=str(bench.save / "plain"))
    before = bench.counts()
    path = put_lists(bench, signed("old", expired=[2, 3, 4, 5], status=status), signed("new"))
    read = lists_read(bench)
    outcome = await (await started(bench, path, refused=4))
    assert sha256(plain.output) == sha256(outcome.output)
    assert () == outcome.warnings
    assert 2 == lists_read(bench) - read
    asked = [now - then for now, then in zip(bench.counts(), before, strict=True)]
    assert [1, 1, 2, 2, 2, 2] == asked


@test
async def test_S11_one_reading_for_each_life_of_a_token(bench: Bench) -> None:
    """Links are good for a while, the film takes longer: the playlist is read once more."""
    bench.origin.clock = clock = Clock()
    slow = [attrs.evolve(line, uri=f"{line.uri}&delay=0.4") for line in lines()]
    running = Deferred.fromCoroutine(bench.run(bench.put_list(slow) + "?sign=1.5", download_threads=1))
    while not running.called:
        await until(lambda: running.called or clock.getDelayedCalls())
        clock.advance(0.4)
    outcome = await running
    assert 150 == pictures(Path(outcome.output))
    assert 2 == lists_read(bench)
    assert 1 == sum(visit.status == 403 for visit in bench.origin.visits())


def locked(bench: Bench, key: str) -> list[SegmentLine]:
    """The stream encrypted with the key at this link."""
    for number, content in enumerate(bench.segments):
        bench.origin.put(f"/locked{number}.ts", encrypted(content, b"1" * 16, number))
    listed = [SegmentLine(uri=f"locked{number}.ts?{key}", duration_s=1.0) for number in range(COUNT)]
    return [attrs.evolve(listed[0], keys=(KeyLine(uri=f"one.key?{key}"),)), *listed[1:]]


@test
async def test_S11_the_link_of_a_key_expires(bench: Bench) -> None:
    """Everybody waits for the key; it is renewed like a segment's link, and asked for once with each."""
    bench.origin.put("/one.key", b"1" * 16)
    outcome = await bench.run(put_lists(bench, locked(bench, "status=401"), locked(bench, "token=new")))
    assert 150 == pictures(Path(outcome.output))
    assert ["status=401", "token=new"] == [visit.query for visit in bench.origin.visits("/one.key")]


@test
async def test_S11_a_key_is_known_by_its_first_link(bench: Bench) -> None:
    """What was fetched under the old link is not fetched again under the new one."""
    bench.origin.put("/one.key", b"1" * 16)
    old = locked(bench, "token=old")
    old[3:] = [attrs.evolve(line, uri=line.uri + "&status=410") for line in old[3:]]
    outcome = await bench.run(put_lists(bench, old, locked(bench, "token=new")), download_threads=1)
    assert 150 == pictures(Path(outcome.output))
    assert ["token=old"] == [visit.query for visit in bench.origin.visits("/one.key")]


@test
async def test_S11_a_request_with_an_old_link_spoils_no_new_one(bench: Bench) -> None:
    """Somebody still asks for the key at the old link when another has the new one: what it is told is of the old."""
    bench.origin.put("/one.key", b"1" * 16)

    def listed(query: str, slow: str) -> list[SegmentLine]:
        lines = locked(bench, query)
        key = lines[0].keys
        lines[1] = SegmentLine(uri=f"1.ts?{slow}", duration_s=1.0, keys=(CLEAR,))
        return [*lines[:2], attrs.evolve(lines[2], keys=key), *lines[3:]]

    path = put_lists(bench, listed("status=401&delay=1", "delay=1.25"), listed("token=new", ""))
    bench.origin.clock = clock = Clock()
    running = Deferred.fromCoroutine(bench.run(f"{path}&delay=0.5", download_threads=2))

    def keys() -> list[str]:
        return [visit.query for visit in bench.origin.visits("/one.key")]

    await until(lambda: 1 == lists_read(bench))
    clock.advance(0.5)
    await until(lambda: 1 == len(keys()) == bench.counts()[1])
    clock.advance(1)  # the key is refused, so the list is read again
    await until(lambda: 2 == lists_read(bench))
    clock.advance(0.25)  # the clear segment is there, the next one asks for the key, too
    await until(lambda: 2 == len(keys()))
    clock.advance(0.25)  # the new list is there
    await deferLater(reactor, 0.3)  # and known
    clock.advance(0.75)  # and the second request is refused
    outcome = await running
    assert 150 == pictures(Path(outcome.output))
    assert ["status=401&delay=1"] * 2 + ["token=new"] == keys()


@test
async def test_S11_the_links_of_a_rendition_expire(bench: Bench) -> None:
    """One reading renews the links of all tracks."""
    variant = VariantLine(uri="list.m3u8", resolution=(160, 90), codecs="avc1.64001f,mp4a.40.2", audio="a")
    audio = put_lists(bench, signed("old", expired=range(COUNT)), signed("new"), path="/a.m3u8")
    master = master_playlist([variant], renditions=[RenditionLine(group="a", name="Ton", uri=audio.removeprefix("/"))])
    bench.origin.put("/master.m3u8", master.encode())
    bench.put_list(lines())
    outcome = await bench.run("/master.m3u8")
    assert 150 == pictures(Path(outcome.output))
    assert [2, 2] == [bench.origin.count("/master.m3u8"), lists_read(bench)]


@pytest.mark.parametrize("renewed", ["old", "new"])
@test
async def test_S7_a_segment_that_is_gone_is_believed_to_be(bench: Bench, renewed: str) -> None:
    """With the same links, or with new ones that are answered so, too: one more reading, then the usual decision."""
    dead = signed("old", expired=[2], status=404), signed(renewed, expired=[2], status=404)
    error = await bench.failure(put_lists(bench, *dead))
    assert not isinstance(error, NeedsUrl)
    assert 2 == lists_read(bench)
    assert (1 if renewed == "old" else 2) == bench.counts()[2]


@test
async def test_a_status_that_the_task_skips_is_no_expired_link(bench: Bench) -> None:
    """Whoever says http.code=403 is not asked for anything, and the playlist is not read again."""
    path = put_lists(bench, signed("old", expired=[5]), signed("new"))
    outcome = await bench.run(path, skip_ts_info="http.code=403,if-http.code-merge_ts")
    assert 125 == pictures(Path(outcome.output))
    assert 1 == lists_read(bench)


# -- A new URL is needed ---------------------------------------------------------------------------------------------


def other_list() -> list[SegmentLine]:
    return [SegmentLine(uri="sorry.ts", duration_s=3.0)]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@test
async def test_S11_the_entry_has_expired_too(bench: Bench, status: int) -> None:
    """The task needs a new URL; with one, it fetches what is left and nothing else."""
    path = bench.put_list(signed("old", expired=[3, 4, 5])) + f"?after=1&status={status}"
    with pytest.raises(NeedsUrl) as caught:
        await (await started(bench, path, refused=3))
    error = caught.value
    assert f"HTTP {status}" in error.text("zh") and "请提供新链接" in error.text("zh")
    assert error.text("en").replace("…", "").isascii()
    assert 2 == lists_read(bench), "it is asked once, not again and again"
    bench.put_list(signed("new"), path="/other/list.m3u8")
    before = bench.counts()
    for number, content in enumerate(bench.segments):
        bench.origin.put(f"/other/{number}.ts", content)
    bench.put_list(signed("new"))
    outcome = await bench.run("/list.m3u8?token=new")
    assert 150 == pictures(Path(outcome.output))
    assert () == outcome.warnings
    asked = [now - then for now, then in zip(bench.counts(), before, strict=True)]
    assert [0, 0, 0, 1, 1, 1] == asked


@pytest.mark.parametrize("later", ["another", "page", "recut"])
@test
async def test_S11_another_playlist_is_no_renewal(bench: Bench, later: str) -> None:
    """A film that says sorry, a page, the film cut anew: none is mixed with what is there. The task needs a new URL."""
    lists = {"another": other_list(), "recut": [attrs.evolve(line, duration_s=1.2) for line in signed("new")]}
    path = put_lists(bench, signed("old", expired=[4, 5]), lists.get(later, []))
    if later == "page":
        bench.origin.put("/1/list.m3u8", b"<html>log in</html>", content_type="text/html")
    with pytest.raises(NeedsUrl) as caught:
        await (await started(bench, path, refused=2))
    assert caught.value.text("en").replace("…", "").isascii()
    assert [1, 1, 1, 1] == bench.counts()[:4]
    assert 0 == bench.origin.count("/sorry.ts")


@test
async def test_a_server_in_trouble_is_no_reason_to_ask_for_a_url(bench: Bench) -> None:
    """Whether links have expired nobody can say: the segment's own error counts."""
    path = bench.put_list(signed("old", expired=[5], status=410)) + "?after=1&status=503"
    error = await bench.failure(path)
    assert not isinstance(error, NeedsUrl)


@test
async def test_a_gone_segment_is_no_reason_to_ask_for_a_url(bench: Bench) -> None:
    """404 may mean anything: where the entry worked only once, the task that allows gaps gets its gap."""
    path = bench.put_list(signed("old", expired=[5], status=404)) + "?after=1&status=403"
    outcome = await bench.run(path, extensions=Extensions(allow_gaps=True))
    assert 125 == pictures(Path(outcome.output))


@test
async def test_a_url_that_never_worked_has_not_expired(bench: Bench) -> None:
    """A first 403 is an error of the link, not of its age."""
    assert not isinstance(await bench.failure("/list.m3u8?status=403"), NeedsUrl)


# -- Between two runs (R-INT-3, S12) ---------------------------------------------------------------------------------


async def half(bench: Bench, listed: Sequence[SegmentLine], *, done: int = 3, **options: Any) -> Job:
    """A run that is stopped when the first segments are there."""
    stuck = [
        line if number < done else attrs.evolve(line, uri=f"{line.uri}&hang=headers")
        for number, line in enumerate(listed)
    ]
    path = bench.put_list(stuck)
    job = bench.job(bench.task(path, **options))
    running: Deferred[Outcome] = Deferred.fromCoroutine(job.run())
    await until(lambda: job.progress().segments_done == done)
    await cancelled(running)
    return job


async def golden(bench: Bench, listed: Sequence[SegmentLine], **options: Any) -> str:
    """The digest of a film of this list, made in one go elsewhere."""
    task = attrs.evolve(
        bench.task(bench.put_list(list(listed), path="/golden.m3u8"), save_location=str(bench.save / "golden")),
        id="golden",
    )
    return sha256((await bench.job(task).run()).output)


async def resumed(bench: Bench, path: str = "/list.m3u8") -> tuple[Outcome, list[int]]:
    """The second run, and how often each segment was asked for in it."""
    before = bench.counts()
    outcome = await bench.run(path)
    return outcome, [now - then for now, then in zip(bench.counts(), before, strict=True)]


@pytest.mark.parametrize("token", ["old", "new"])
@test
async def test_S12_the_same_list_again(bench: Bench, token: str) -> None:
    """With the same links or others: what is there is used, and nobody hears of it."""
    await half(bench, signed("old"))
    bench.put_list(signed(token))
    outcome, asked = await resumed(bench)
    assert ([0, 0, 0, 1, 1, 1], ()) == (asked, outcome.warnings)
    assert await golden(bench, signed("old")) == sha256(outcome.output)


@test
async def test_S12_the_list_was_cut_anew_under_the_same_names(bench: Bench) -> None:
    """What is there belongs to the other version, also where a piece looks alike: all is fetched again, and said."""
    await half(bench, signed("old"))
    once_more = [bench.segments[0], bench.segments[1] + bench.segments[2], bench.segments[3] + bench.segments[4]]
    for number, content in enumerate([*once_more, bench.segments[5]]):
        bench.origin.put(f"/{number}.ts", content)
    recut = [SegmentLine(uri=f"{n}.ts?x", duration_s=length) for n, length in enumerate([1.0, 2.0, 2.0, 1.0])]
    bench.put_list(recut)
    outcome, asked = await resumed(bench)
    assert [1, 1, 1, 1, 0, 0] == asked
    [warning] = outcome.warnings
    assert "播放列表（main）与上次不同" in warning and "作废 3 个" in warning
    assert await golden(bench, recut) == sha256(outcome.output)


@test
async def test_S12_the_list_is_shorter(bench: Bench) -> None:
    """What is still in it is used; that there was more is said."""
    await half(bench, signed("old"))
    bench.put_list(signed("new")[:2])
    outcome, asked = await resumed(bench)
    assert [0] * COUNT == asked
    [warning] = outcome.warnings
    assert "原有 6 个分片，现有 2 个" in warning and "作废 1 个" in warning
    assert 50 == pictures(Path(outcome.output))


@test
async def test_S12_the_list_is_longer(bench: Bench) -> None:
    """Nothing of it is lost, so there is nothing to say."""
    await half(bench, signed("old")[:4])
    bench.put_list(signed("new"))
    outcome, asked = await resumed(bench)
    assert ([0, 0, 0, 1, 1, 1], ()) == (asked, outcome.warnings)


@test
async def test_S12_another_key(bench: Bench) -> None:
    """What is encrypted with another key may be another thing: it is fetched again."""
    bench.origin.put("/one.key", b"1" * 16)
    await half(bench, locked(bench, "token=old"))
    listed = locked(bench, "token=new")
    for number, content in enumerate(bench.segments):
        bench.origin.put(f"/locked{number}.ts", encrypted(content, b"2" * 16, number))
    bench.origin.put("/two.key", b"2" * 16)
    bench.put_list([attrs.evolve(listed[0], keys=(KeyLine(uri="two.key"),)), *listed[1:]])
    before = [bench.origin.count(f"/locked{number}.ts") for number in range(COUNT)]
    outcome = await bench.run("/list.m3u8")
    assert [then + 1 for then in before] == [bench.origin.count(f"/locked{number}.ts") for number in range(COUNT)]
    assert "作废 3 个" in outcome.warnings[0]
    assert await golden(bench, signed("old")) == sha256(outcome.output)


@test
async def test_S12_the_list_became_a_multivariant_one(bench: Bench) -> None:
    """It leads to the same segments: they are used."""
    await half(bench, signed("old"))
    bench.put_list(signed("new"), path="/media.m3u8")
    bench.origin.put("/list.m3u8", master_playlist([VariantLine(uri="media.m3u8")]).encode())
    outcome, asked = await resumed(bench)
    assert ([0, 0, 0, 1, 1, 1], ()) == (asked, outcome.warnings)


@pytest.mark.parametrize("query", ["status=404", "status=403", "body=html"])
@test
async def test_S12_the_list_is_gone(bench: Bench, query: str) -> None:
    """The task needs a new URL, and keeps what it has."""
    await half(bench, signed("old"))
    error = await bench.failure(f"/list.m3u8?{query}")
    assert isinstance(error, NeedsUrl)
    bench.put_list(signed("new"))
    _, asked = await resumed(bench)
    assert [0, 0, 0, 1, 1, 1] == asked
