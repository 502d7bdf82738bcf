"""
When a place fails: redundant variants (M2), other pathways (M8), gaps that another place fills (S14).
"""

import json
from pathlib import Path

from m3u8svc.tasks.task import Extensions
from m3u8svc.testing.playlists import SegmentLine, VariantLine, master_playlist, media_playlist
from tests.test_job import COUNT, Bench, bench, lines, pictures, segments, test

__all__ = ["bench", "segments"]

DEAD = [SegmentLine(uri=f"gone/{n}.ts", duration_s=1.0) for n in range(COUNT)]


def put_master(bench: Bench, *paths: str, head: tuple[str, ...] = ()) -> None:
    """A multivariant playlist of variants that differ in their place only."""
    text = master_playlist([VariantLine(uri=path) for path in paths])
    first, rest = text.split("\n", 1)
    bench.origin.put("/master.m3u8", "\n".join([first, *head, rest]).encode())


@test
async def test_M2_a_variant_whose_playlist_is_gone_is_read_elsewhere(bench: Bench) -> None:
    """The redundant variant takes its place, and the task says so."""
    put_master(bench, "nowhere.m3u8", "list.m3u8")
    bench.put_list(lines())
    outcome = await bench.run("/master.m3u8")
    assert 150 == pictures(Path(outcome.output))
    [warning] = outcome.warnings
    assert "备用地址" in warning and "404" in warning


@test
async def test_M2_the_first_error_is_told_when_every_place_fails(bench: Bench) -> None:
    """Not the last one: the first place is the one people look at."""
    put_master(bench, "nowhere.m3u8", "page.m3u8")
    bench.origin.put("/page.m3u8", b"<html>sorry</html>")
    error = await bench.failure("/master.m3u8")
    assert "http_4xx" == error.code
    assert "nowhere.m3u8" in error.text("zh")


@test
async def test_M2_segments_that_are_gone_come_from_elsewhere(bench: Bench) -> None:
    """Each is looked for at the redundant variant, which is asked first from then on."""
    put_master(bench, "dead.m3u8", "list.m3u8")
    bench.put_list(DEAD, "/dead.m3u8")
    bench.put_list(lines())
    outcome = await bench.run("/master.m3u8", download_threads=1)
    assert 150 == pictures(Path(outcome.output))
    assert [1] * COUNT == bench.counts()
    assert 1 <= bench.origin.count("/gone/0.ts")
    assert [0] * (COUNT - 1) == [bench.origin.count(f"/gone/{n}.ts") for n in range(1, COUNT)]
    assert ["自第 1 个分片起，首选地址失败的分片取自备用地址 " + bench.origin.url("/").split("/")[2]] == [
        *outcome.warnings
    ]


@test
async def test_M2_a_place_with_other_content_is_no_help(bench: Bench) -> None:
    """Segments of another length are not the same ones, whatever their numbers say."""
    put_master(bench, "dead.m3u8", "list.m3u8")
    bench.put_list(DEAD, "/dead.m3u8")
    bench.put_list([SegmentLine(uri=f"{n}.ts", duration_s=1.5) for n in range(COUNT)])
    assert "http_4xx" == (await bench.failure("/master.m3u8")).code
    assert [0] * COUNT == bench.counts()


@test
async def test_M8_a_steering_manifest_knows_another_pathway(bench: Bench) -> None:
    """It is asked when a place fails, and its clone of the pathway is used."""
    head = (f'#EXT-X-CONTENT-STEERING:SERVER-URI="{bench.origin.url("/steer.json")}",PATHWAY-ID="A"',)
    put_master(bench, "list.m3u8", head=head)
    text = bench.origin.url("/").split("/")[2]
    put = master_playlist([VariantLine(uri=f"http://127.0.0.1:9/{'list.m3u8'}")])
    put = put.replace("#EXT-X-STREAM-INF:", '#EXT-X-STREAM-INF:PATHWAY-ID="A",').replace(
        "#EXTM3U", "#EXTM3U\n" + head[0], 1
    )
    bench.origin.put("/master.m3u8", put.encode())
    clone = {"ID": "B", "BASE-ID": "A", "URI-REPLACEMENT": {"HOST": text}}
    manifest = {"VERSION": 1, "PATHWAY-PRIORITY": ["B", "A"], "PATHWAY-CLONES": [clone]}
    bench.origin.put("/steer.json", json.dumps(manifest).encode(), content_type="application/json")
    bench.put_list(lines())
    outcome = await bench.run("/master.m3u8")
    assert 150 == pictures(Path(outcome.output))
    assert 1 == bench.origin.count("/steer.json")


@test
async def test_M8_a_steering_manifest_is_not_asked_for_nothing(bench: Bench) -> None:
    """A download that works has no use for it."""
    head = (f'#EXT-X-CONTENT-STEERING:SERVER-URI="{bench.origin.url("/steer.json")}"',)
    put_master(bench, "list.m3u8", head=head)
    bench.put_list(lines())
    await bench.run("/master.m3u8")
    assert 0 == bench.origin.count("/steer.json")


@test
async def test_S14_a_gap_is_filled_from_elsewhere(bench: Bench) -> None:
    """Another place of the same content has the segment that this one declares as GAP."""
    put_master(bench, "gap.m3u8", "list.m3u8")
    bench.put_list([SegmentLine(uri=f"{n}.ts", duration_s=1.0, gap=n == 2) for n in range(COUNT)], "/gap.m3u8")
    bench.put_list([SegmentLine(uri=f"{n}.ts?", duration_s=1.0) for n in range(COUNT)])
    outcome = await bench.run("/master.m3u8")
    assert 150 == pictures(Path(outcome.output))
    assert () == outcome.warnings


@test
async def test_the_users_query_and_base_reach_every_request(bench: Bench) -> None:
    """append_query goes to playlists and segments; base_url is what relative links are relative to."""
    bench.origin.put("/elsewhere/list.m3u8", media_playlist(lines()).encode())
    wanted = Extensions(append_query="token=a%20b", base_url=bench.origin.url("/x"))
    outcome = await bench.run("/elsewhere/list.m3u8", extensions=wanted)
    assert 150 == pictures(Path(outcome.output))
    asked = [visit.query for visit in bench.origin.visits() if visit.path.endswith(".ts")]
    assert ["token=a%20b"] * COUNT == asked
