"""
Plans, identities and the choice of a variant.
"""

import time

import attrs
import pytest

from m3u8svc.errors import NothingToDownload, UnsupportedEncryption
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import Absent, init_identity, pack_jobs, plan_download, plan_presentation
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Stream
from m3u8svc.testing.playlists import (
    KeyLine,
    MapLine,
    SegmentLine,
    media_playlist,
    segment_lines,
)


def media(text: str, url: str = "https://cdn.example/a/i.m3u8?t=1") -> MediaPlaylist:
    playlist = parse_playlist(text, url)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


@pytest.mark.parametrize("key_first", [True, False])
def test_S10_sample_aes_in_fmp4_is_refused_before_anything_is_fetched(key_first: bool):
    """There it is another scheme (cbcs), wherever the MAP stands; a segment left out does not matter."""
    key, map_ = KeyLine(uri="k", method="SAMPLE-AES"), MapLine(uri="i.mp4")
    playlist = media(
        media_playlist(
            [
                SegmentLine(uri="1", keys=(key,) if key_first else (), map=None if key_first else map_),
                SegmentLine(uri="2", keys=() if key_first else (key,), map=map_ if key_first else None),
            ]
        )
    )
    with pytest.raises(UnsupportedEncryption) as caught:
        plan_download(playlist, {})
    line = 5 if key_first else 8
    assert caught.value.text() == f"不支持的加密方式 fMP4 的 SAMPLE-AES（cbcs）（identity），第 {line} 行"
    assert [job.segment.position for job in plan_download(playlist, {2: "x"}).jobs] == [1]


def test_jobs_absences_and_sums():
    """Skipped and declared gaps are told apart; sums count what is fetched."""
    lines = segment_lines(3, duration_s=2.5) + [SegmentLine(uri="g.ts", gap=True, discontinuity=True)]
    plan = plan_download(media(media_playlist(lines)), {2: "跳过表达式: 2"})
    assert [job.segment.position for job in plan.jobs] == [1, 3]
    assert (plan.segments_total, plan.duration_s) == (2, 5.0)
    gap_reason = "播放列表声明的空缺（EXT-X-GAP）"
    assert plan.absent == (
        Absent(
            position=2, duration_s=2.5, discontinuity_sequence=0, reason="跳过表达式: 2", declared=False, start_s=2.5
        ),
        Absent(position=4, duration_s=6.0, discontinuity_sequence=1, reason=gap_reason, declared=True, start_s=7.5),
    )


def test_a_gap_that_is_also_skipped_is_skipped():
    """The user's wish decides how the hole is treated."""
    plan = plan_download(media(media_playlist([SegmentLine(uri="g", gap=True), SegmentLine(uri="a")])), {1: "x"})
    assert [(each.reason, each.declared) for each in plan.absent] == [("x", False)]


@pytest.mark.parametrize("lines", [[], [SegmentLine(uri="g", gap=True)], segment_lines(1)])
def test_nothing_left_is_an_error(lines: list[SegmentLine]):
    """An empty list, only gaps, everything skipped."""
    with pytest.raises(NothingToDownload) as caught:
        plan_download(media(media_playlist(lines)), {1: "x"})
    assert caught.value.text() == "需要下载的文件为空"


def test_inits_and_keys_are_listed_once_and_only_when_needed():
    """Re-emitted maps and keys with other IVs are one resource each; those of skipped segments are not fetched."""
    lines = [
        SegmentLine(uri=f"{n}", keys=(KeyLine(uri="k", iv=f"0x{n}"),), map=MapLine(uri=f"i{n // 2}.mp4"))
        for n in (1, 2, 3, 4)
    ]
    plan = plan_download(media(media_playlist(lines, key=KeyLine(uri="unused"))), {1: "x"})
    assert [key.uri for key in plan.keys] == ["https://cdn.example/a/k"]
    # The IV is part of what an init section is: the same file under another IV is another one.
    assert [(init.uri[-6:], int.from_bytes(init.iv)) for init in plan.inits] == [
        ("i1.mp4", 2),
        ("i1.mp4", 3),
        ("i2.mp4", 4),
    ]


def test_a_key_that_only_an_init_section_needs_is_listed():
    """Clear segments behind a locked map still need the map's key."""
    lines = [SegmentLine(uri="a", keys=(KeyLine(uri="", method="NONE"),))]
    playlist = media(media_playlist(lines, key=KeyLine(uri="k", iv="0x1"), map=MapLine(uri="i.mp4")))
    assert [key.uri for key in plan_download(playlist, {}).keys] == ["https://cdn.example/a/k"]


IDENTITY_BASE = dict(
    uri="s.ts?t=1", byterange="10@5", keys=(KeyLine(uri="k?t=1", iv="0x1"),), map=MapLine(uri="i.mp4?t=1")
)


def identity(url: str = "https://cdn.example/a/i.m3u8", number: int = 4, **changes: object) -> str:
    line = attrs.evolve(SegmentLine(**IDENTITY_BASE), **changes)
    return plan_download(media(media_playlist([line], media_sequence=number), url), {}).jobs[0].identity


def test_identities_survive_tokens_and_mirrors():
    """Another host or query is the same piece."""
    again = identity(
        "https://mirror.example:8443/a/i.m3u8",
        uri="s.ts?t=2",
        keys=(KeyLine(uri="k?t=2", iv="0x1"),),
        map=MapLine(uri="i.mp4?t=2"),
    )
    assert again == identity()
    assert len(again) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 5},
        {"uri": "other.ts"},
        {"byterange": "10@6"},
        {"byterange": ""},
        {"keys": ()},
        {"keys": (KeyLine(uri="k2", iv="0x1"),)},
        {"keys": (KeyLine(uri="k", iv="0x2"),)},
        {"map": None},
        {"map": MapLine(uri="j.mp4")},
        {"map": MapLine(uri="i.mp4", byterange="9@0")},
    ],
)
def test_identities_differ_for_other_pieces(changes: dict[str, object]):
    """Everything that changes the bytes changes the identity."""
    assert identity(**changes) != identity()


def test_init_sections_that_differ_only_in_the_query_do_not_share_an_identity():
    """What tells them apart on the server must tell them apart on disk."""
    lines = [SegmentLine(uri=f"{n}", map=MapLine(uri=f"init?track={n}")) for n in (1, 2)]
    inits = plan_download(media(media_playlist(lines)), {}).inits
    assert len({init_identity(init) for init in inits}) == len(inits) == 2


def test_a_hundred_thousand_segments_are_parsed_and_planned_in_time():
    """Far below what anybody would notice beside the download (generous: other tests may be running)."""
    body = media_playlist(segment_lines(100_000)).encode()
    start = time.process_time()
    assert plan_download(media(body.decode()), {}).segments_total == 100_000
    assert time.process_time() - start < 10


# -- Several streams -------------------------------------------------------------------------------------------------


def presentation(main: str, **others: str) -> Presentation:
    streams = [Stream(track="main", playlist=media(main))]
    streams += [
        Stream(track=track, playlist=media(text, "https://cdn.example/b/i.m3u8")) for track, text in others.items()
    ]
    return Presentation(streams=tuple(streams))


def test_streams_are_fetched_side_by_side_in_order_of_time():
    """Segments of unequal length interleave by where they start; the main stream comes first at one time."""
    plan = plan_presentation(
        presentation(
            media_playlist(segment_lines(3, duration_s=4.0)), audio1=media_playlist(segment_lines(2, duration_s=6.0))
        ),
        {},
    )
    assert [("main", 1), ("audio1", 1), ("main", 2), ("audio1", 2), ("main", 3)] == [
        (job.track, job.segment.position) for job in plan.jobs
    ]
    assert (5, 12.0, ("main", "audio1")) == (plan.segments_total, plan.duration_s, plan.tracks)


def test_the_same_piece_in_two_tracks_has_two_identities():
    """Two renditions may name the same path: neither takes the other's file for its own."""
    text = media_playlist([SegmentLine(uri="a.m4s", map=MapLine(uri="i.mp4"))])
    plan = plan_presentation(
        Presentation(
            streams=(Stream(track="main", playlist=media(text)), Stream(track="audio1", playlist=media(text)))
        ),
        {},
    )
    one, other = plan.jobs
    assert one.identity != other.identity
    assert one.segment.init is not None and other.segment.init is not None
    assert init_identity(one.segment.init) != init_identity(other.segment.init, "audio1")


def test_skips_take_the_renditions_along_by_splice():
    """A splice that is skipped as a whole goes in every rendition, however it is cut there."""
    spliced = [SegmentLine(uri=f"ad{n}", discontinuity=n == 0, duration_s=2.0) for n in range(2)]
    main = segment_lines(2, duration_s=5.0) + spliced + [SegmentLine(uri="z", discontinuity=True, duration_s=5.0)]
    audio = [
        SegmentLine(uri="a", duration_s=9.5),
        SegmentLine(uri="ad", discontinuity=True, duration_s=4.4),
        SegmentLine(uri="b", discontinuity=True, duration_s=5.0),
    ]
    plan = plan_presentation(presentation(media_playlist(main), audio1=media_playlist(audio)), {3: "广告", 4: "广告"})
    assert {("main", 3), ("main", 4), ("audio1", 2)} == {(each.track, each.position) for each in plan.absent}
    assert {"广告"} == {each.reason for each in plan.absent}


def test_skips_take_the_renditions_along_by_time():
    """Without a splice a rendition loses what lies within the skipped time, and nothing that reaches out of it."""
    plan = plan_presentation(
        presentation(
            media_playlist(segment_lines(6, duration_s=4.0)), audio1=media_playlist(segment_lines(8, duration_s=3.0))
        ),
        {3: "x", 4: "x"},
    )
    assert [4, 5] == [each.position for each in plan.absent if each.track == "audio1"]  # 9-12 and 12-15 of 8-16


def test_a_rendition_with_nothing_left_is_left_out():
    """It is no reason to fail; a main stream with nothing left is."""
    lines = presentation(media_playlist(segment_lines(2)), audio1=media_playlist([SegmentLine(uri="g", gap=True)]))
    assert ("main",) == plan_presentation(lines, {}).tracks
    with pytest.raises(NothingToDownload):
        plan_presentation(lines, {1: "x", 2: "x"})


def test_jobs_are_found_by_their_place() -> None:
    """Those of two tracks, and none where there is none; each tells its place and identity without being made."""
    playlist = media(media_playlist(segment_lines(3)))
    streams = tuple(Stream(track=track, playlist=playlist) for track in ("main", "audio1"))
    jobs = plan_presentation(Presentation(streams=streams), {2: "x"}).jobs
    for number, job in enumerate(jobs):
        assert number == jobs.find((job.track, job.segment.position))
        assert (job.track, job.segment.position) == jobs.place(number)
        assert job.identity == jobs.identity(number)
    assert [-1, -1, -1, -1] == [jobs.find(place) for place in (("main", 2), ("main", 0), ("main", 4), ("video", 1))]


def test_packed_jobs_are_the_same_jobs() -> None:
    """Of any list of them, whoever made it."""
    playlist = media(media_playlist(segment_lines(3)))
    jobs = plan_download(playlist, {}).jobs
    assert jobs == pack_jobs(tuple(jobs)) == pack_jobs(jobs)
    assert jobs != pack_jobs(jobs[1:])


def test_order_is_of_all_parts() -> None:
    """Absent ones among the others; each is found at its number, and the last of each track is known."""
    playlist = media(media_playlist(segment_lines(3)))
    streams = tuple(Stream(track=track, playlist=playlist) for track in ("main", "audio1"))
    order = plan_presentation(Presentation(streams=streams), {3: "x"}).order
    places = [(track, position) for position in (1, 2, 3) for track in ("main", "audio1")]
    assert places == list(order)
    assert list(range(6)) == [order.find(place) for place in places]
    assert places[2:4] == list(order.between(2, 4))
    assert {"main": ("main", 3), "audio1": ("audio1", 3)} == order.ends
