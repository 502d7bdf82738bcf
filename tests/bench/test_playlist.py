"""
A hundred thousand segments, and twelve hours with everything a playlist may hold, parsed, planned and noted for a
later reading: the figures.

    .venv/bin/python -m pytest tests/bench/test_playlist.py -m bench -s
"""

import time
import tracemalloc

import pytest

from m3u8svc.hls.overrides import Overrides, override_media
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import DownloadPlan, plan_download
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.tasks.remembered import write_presentation
from m3u8svc.testing.playlists import KeyLine, MapLine, SegmentLine, media_playlist, segment_lines

pytestmark = pytest.mark.bench

URL = "https://cdn.example/vod/1/index.m3u8?token=abc"
LIMIT_S = 5.0
HOURS = 12


def test_a_hundred_thousand_segments() -> None:
    """Plain ones under one key."""
    plan = _measured("100,000 plain segments", media_playlist(segment_lines(100_000), key=KeyLine(uri="k")))
    assert (100_000, 1) == (len(plan.jobs), len(plan.keys))


def test_a_hundred_thousand_segments_with_everything() -> None:
    """A key per hundred, ranges, dates, marks, bit rates, variables, splices, init sections."""
    # Three times the bytes of plain ones, and the garbage collector takes a third: 3 to 5 s of CPU.
    plan = _measured("100,000 segments with everything", _everything(100_000), limit_s=2 * LIMIT_S)
    assert 100_000 == len(plan.jobs)


def test_twelve_hours() -> None:
    """Six seconds each, with everything."""
    plan = _measured(f"{HOURS} hours with everything", _everything(HOURS * 600))
    assert HOURS * 3600.0 == plan.duration_s


def test_a_hundred_thousand_segments_with_overrides() -> None:
    """Another key, and a query for each link."""
    playlist = parse_playlist(_everything(100_000), URL, key_given=True)
    assert isinstance(playlist, MediaPlaylist)
    begun = time.process_time()
    made = override_media(playlist, Overrides(key=bytes(16), append_query="*"))
    took = time.process_time() - begun
    print(f"\n100,000 segments overruled: {took:.2f} s")
    assert made.segments[-1].uri.endswith("token=abc")
    assert took < LIMIT_S


def _measured(what: str, text: str, limit_s: float = LIMIT_S) -> DownloadPlan:
    """
    Parsed and planned within the limit; measured for memory in a run of its own, since that slows things down.
    """
    body = text.encode()
    begun = time.process_time()
    playlist = parse_playlist(body, URL)
    parsed = time.process_time()
    assert isinstance(playlist, MediaPlaylist)
    plan = plan_download(playlist, {})
    planned = time.process_time()
    main = Stream(track=MAIN, playlist=playlist)
    write_presentation(Presentation(streams=(main,), master=None, variant=None, warnings=()))
    noted = time.process_time()
    del playlist, main
    tracemalloc.start()
    again = parse_playlist(body, URL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del again
    print(
        f"\n{what} ({len(body) / 1e6:.1f} MB): parsed in {parsed - begun:.2f} s, planned in {planned - parsed:.2f} s, "
        f"noted in {noted - planned:.2f} s, peak {peak / 1e6:.0f} MB"
    )
    assert planned - begun < limit_s
    return plan


def _everything(count: int) -> str:
    segments = []
    for index in range(count):
        fresh = index % 100 == 0
        segments.append(
            SegmentLine(
                uri=f"{{$cdn}}/{index // 100}.mp4",
                byterange="65536@1000" if fresh else "65536",
                keys=(KeyLine(uri=f"k{index // 100}", iv=f"0x{index:x}"),) if fresh else (),
                map=MapLine(uri=f"{index // 100}.mp4", byterange="1000@0") if fresh else None,
                discontinuity=index % 1000 == 999,
                program_date_time="2024-05-01T10:00:00.000Z" if index % 10 == 0 else "",
                before=(f'#EXT-X-DATERANGE:ID="{index}",START-DATE="2024-05-01T10:00:00Z",DURATION=6',)
                if index % 10 == 5
                else (f"#EXT-X-BITRATE:{index}",),
            )
        )
    return media_playlist(segments, head=['#EXT-X-DEFINE:NAME="cdn",VALUE="https://v.example/film"'])
