"""
What other downloaders get wrong in playlists and merging, according to their users and sources: a stream for each,
through the whole service.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import cycle
from pathlib import Path

import attrs
import av
import pytest

from tests.integration.media import PNG, encrypted
from tests.matrix.axes import Audio, Container, Layout, Protection, Row, Timing, Video
from tests.matrix.check import check
from tests.matrix.product import Bench
from tests.matrix.streams import (
    FILM,
    LANGUAGES,
    LAST,
    SPOT,
    TICKS_PER_S,
    WIDE,
    Cut,
    Group,
    Piece,
    Stream,
    Workshop,
    adts_header,
    id3_time,
)

HEAD = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2"]
END = "#EXT-X-ENDLIST"
KEY = bytes(range(16))
TS = Row(Container.TS, Video.H264, Audio.AAC, Layout.ONE, Protection.PLAIN, Timing.RESET)
FMP4 = attrs.evolve(TS, container=Container.FMP4)
CLOCKS_S = (10, 4, 50)
"""Where the clocks of the first, second and third group begin: each anew. Further ones take turns."""


@attrs.frozen(kw_only=True)
class Site:
    """
    A directory of one test's own on the server, and the service that downloads from it.
    """

    place: Path
    url: str
    bench: Bench

    @property
    def workshop(self) -> Workshop:
        """Where streams come from."""
        return self.bench.workshop

    def groups(self, row: Row, *pieces: Piece) -> tuple[list[Cut], Stream]:
        """These pieces one after the other, each on a clock of its own, and what must come of them."""
        groups = [Group(piece, Fraction(clock_s)) for piece, clock_s in zip(pieces, cycle(CLOCKS_S), strict=False)]
        spans = tuple(self.workshop.span(row, group) for group in groups)
        return [self.workshop.main(row, group) for group in groups], Stream(
            row=row, path="", languages=("",), spans=spans
        )

    def put(self, name: str, data: bytes) -> str:
        """A file; its name."""
        path = self.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return name

    def playlist(self, lines: Sequence[str], name: str = "index.m3u8") -> str:
        """A playlist of a head, these lines and an end; its URL."""
        text = "\n".join([*HEAD, *lines, END, ""])
        return f"{self.url}/{self.put(name, text.encode())}"

    def download(self, url: str, **fields: object) -> Path:
        """The MP4 of a task that must succeed."""
        self.bench.plant.service.finish(url, self.place.name, **fields)
        return self.bench.plant.service.saves / f"{self.place.name}.mp4"


@pytest.fixture
def site(ready: Bench, request: pytest.FixtureRequest) -> Site:
    """A new directory, named after the test."""
    name = str(request.node.name).translate(str.maketrans("[] ", "---"))
    place = ready.plant.root / name
    place.mkdir()
    return Site(place=place, url=f"{ready.plant.server.base}/{name}", bench=ready)


Change = Callable[[bytes], bytes]


def segments(site: Site, cut: Cut, prefix: str, change: Change = lambda data: data, suffix: str = "") -> list[str]:
    """The lines of a cut's segments, put on the site after a change."""
    lines = []
    for number, (path, duration_s) in enumerate(zip(cut.segments, cut.durations_s, strict=True)):
        name = site.put(f"{prefix}{number}{suffix or path.suffix}", change(path.read_bytes()))
        lines += [f"#EXTINF:{duration_s},", name]
    return lines


def init(site: Site, cut: Cut, name: str) -> list[str]:
    """The line of a cut's init section."""
    assert cut.init is not None
    return [f'#EXT-X-MAP:URI="{site.put(name, cut.init.read_bytes())}"']


# -- N_m3u8DL-RE -----------------------------------------------------------------------------------------------------


def test_a_second_init_section_does_not_end_the_film(site: Site) -> None:
    """Another EXT-X-MAP in the middle (RE drops what follows, yt-dlp fails): all of it is there."""
    (film, wide, last), truth = site.groups(FMP4, FILM, WIDE, LAST)
    lines = [*init(site, film, "a.mp4"), *segments(site, film, "a")]
    lines += ["#EXT-X-DISCONTINUITY", *init(site, wide, "b.mp4"), *segments(site, wide, "b")]
    lines += ["#EXT-X-DISCONTINUITY", *init(site, last, "c.mp4"), *segments(site, last, "c")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_a_key_is_never_read_from_our_own_disk(site: Site, tmp_path: Path) -> None:
    """A key's URI that is the path of a file here as well (RE takes that file) is asked of the server."""
    (film,), truth = site.groups(TS, FILM)
    here = tmp_path / "film.key"
    here.write_bytes(bytes(16))
    there = site.bench.plant.root / here.relative_to("/")
    there.parent.mkdir(parents=True)
    there.write_bytes(KEY)
    lines = [f'#EXT-X-KEY:METHOD=AES-128,URI="{here}",IV=0x{KEY.hex()}']
    lines += segments(site, film, "a", lambda data: encrypted(data, KEY, KEY))
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_more_segments_than_files_may_be_open(site: Site) -> None:
    """1100 segments of sound, three frames each (RE opens them all at once): every one of them is in the result."""
    sound = site.workshop.sound(Audio.AAC, 72, "en")
    packets = payloads(sound)[: 3 * 1100]
    media = site.download(site.playlist(packed_segments(site, [packets[n : n + 3] for n in range(0, len(packets), 3)])))
    assert packets == payloads(media)


def payloads(media: Path) -> list[bytes]:
    """The packets of the first sound."""
    with av.open(str(media)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def packed_segments(site: Site, parts: Sequence[Sequence[bytes]]) -> list[str]:
    """The lines of packed segments with these frames in them, put on the site."""
    lines, ticks = [], 10 * TICKS_PER_S
    for number, part in enumerate(parts):
        data = b"".join(adts_header(payload) + payload for payload in part)
        lines += [f"#EXTINF:{len(part) * 1920 / TICKS_PER_S:.6f},"]
        lines += [site.put(f"{number}.aac", id3_time(ticks) + data)]
        ticks += len(part) * 1920
    return lines


def test_a_segment_of_one_frame_is_not_lost(site: Site) -> None:
    """The last packed segment holds what is left, be it a single frame."""
    packets = payloads(site.workshop.sound(Audio.AAC, 3, "en"))
    media = site.download(site.playlist(packed_segments(site, [packets[:70], packets[70:-1], packets[-1:]])))
    assert packets == payloads(media)


@pytest.mark.parametrize("row", [TS, FMP4], ids=["TS", "fMP4"])
def test_splices_do_not_add_up(site: Site, row: Row) -> None:
    """After 40 splices sound and picture are as near as after one, and without a hole for players to lose count in."""
    pieces = [FILM, SPOT] * 20 + [LAST]
    cuts, truth = site.groups(row, *pieces)
    lines: list[str] = []
    for number, cut in enumerate(cuts):
        lines += ["#EXT-X-DISCONTINUITY"] * (number > 0)
        lines += init(site, cut, f"{number}.mp4") if cut.init else []
        lines += segments(site, cut, f"{number}-")
    assert [] == check(site.download(site.playlist(lines)), truth)


# -- m3u8d -----------------------------------------------------------------------------------------------------------


def test_names_are_relative_to_where_the_redirect_led(site: Site) -> None:
    """The playlist is elsewhere than its URL said (m3u8d and lzwme go by that): its segments are beside it."""
    (film,), truth = site.groups(TS, FILM)
    lines = segments(site, film, "deep/a")
    site.playlist([line.removeprefix("deep/") for line in lines], name="deep/index.m3u8")
    with origin(site.place) as base:
        assert [] == check(site.download(f"{base}/index.m3u8?redirect=/deep/index.m3u8"), truth)


@contextmanager
def origin(directory: Path) -> Iterator[str]:
    """The address of a server over a directory that redirects whoever asks it to."""
    command = [sys.executable, "-m", "m3u8svc.testing.origin", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.terminate()


def test_commas_in_quotes_end_nothing(site: Site) -> None:
    """An attribute's value with a comma, an equals sign and what looks like another attribute in it."""
    (film,), truth = site.groups(TS, FILM)
    site.put("key,METHOD=NONE,1.bin", KEY)
    lines = [f'#EXT-X-KEY:METHOD=AES-128,URI="key,METHOD=NONE,1.bin",IV=0x{KEY.hex()}']
    lines += segments(site, film, "a", lambda data: encrypted(data, KEY, KEY))
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_an_advertisement_before_the_film_does_not_win(site: Site) -> None:
    """The first segments have another size (m3u8d goes by them and leaves the film out): all are there, at theirs."""
    (wide, film), truth = site.groups(TS, WIDE, FILM)
    lines = [*segments(site, wide, "a"), "#EXT-X-DISCONTINUITY", *segments(site, film, "b")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_only_the_shape_of_pixels_differs(site: Site) -> None:
    """Same size and rate, another sample aspect ratio: the parameter sets differ all the same."""
    narrow = attrs.evolve(SPOT, name="narrow", filters="setsar=3/4")
    (film, spot, last), truth = site.groups(TS, FILM, narrow, LAST)
    lines = [*segments(site, film, "a"), "#EXT-X-DISCONTINUITY", *segments(site, spot, "b")]
    lines += ["#EXT-X-DISCONTINUITY", *segments(site, last, "c")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_an_encrypted_segment_of_nothing_fails_its_task_only(site: Site) -> None:
    """No bytes at all where cipher text should be (m3u8dweb panics): named, and the service goes on."""
    (film,), truth = site.groups(TS, FILM)
    site.put("film.key", KEY)
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="film.key",IV=0x{KEY.hex()}'
    lines = [key, *segments(site, film, "a", lambda data: encrypted(data, KEY, KEY))]
    url = site.playlist([*lines, "#EXTINF:1,", site.put("empty.ts", b"")], name="empty.m3u8")
    task = site.bench.plant.service.fail(url, "empty")
    assert ("decrypt_failed", True) == (task["err_code"], "00004.ts" in task["err_msg"])
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_two_ways_to_skip_by_time_at_once(site: Site) -> None:
    """What to keep and what to drop by time, in one expression (m3u8dweb panics): both apply."""
    (film, spot), truth = site.groups(TS, FILM, SPOT)
    lines = [*segments(site, film, "a"), "#EXT-X-DISCONTINUITY", *segments(site, spot, "b")]
    skip = "!time:00:00:00-00:00:04, time:00:00:03-00:00:05"
    media = site.download(site.playlist(lines), skip_ts_info=skip)
    assert [] == check(media, attrs.evolve(truth, spans=truth.spans[:1]))


# -- yt-dlp, vsd, iori, lzwme ----------------------------------------------------------------------------------------


def test_an_init_section_has_no_number(site: Site) -> None:
    """The IV of a segment is its number; an EXT-X-MAP before it counts for nothing (yt-dlp counts it)."""
    (film,), truth = site.groups(FMP4, FILM)
    site.put("film.key", KEY)
    lines = ["#EXT-X-MEDIA-SEQUENCE:5", *init(site, film, "a.mp4"), '#EXT-X-KEY:METHOD=AES-128,URI="film.key"']
    numbers = iter(range(5, 8))
    lines += segments(site, film, "a", lambda data: encrypted(data, KEY, next(numbers).to_bytes(16)))
    media = site.download(site.playlist(lines), keep_ts_files=True)
    assert [] == check(media, truth)
    assert_kept(media, film)


def assert_kept(media: Path, cut: Cut) -> None:
    """The segments kept beside a result are those of the cut. A wrong IV spoils a few bytes that no decoder misses."""
    kept = sorted(media.with_suffix("").glob(f"*{cut.segments[0].suffix}"))
    assert [path.read_bytes() for path in cut.segments] == [path.read_bytes() for path in kept]


def test_every_segment_has_an_iv_of_its_own(site: Site) -> None:
    """Without an IV it is the number of each segment, not of the first (iori) and not zero (lzwme)."""
    (film,), truth = site.groups(TS, FILM)
    site.put("film.key", KEY)
    numbers = iter(range(2**33, 2**33 + 3))
    lines = [f"#EXT-X-MEDIA-SEQUENCE:{2**33}", '#EXT-X-KEY:METHOD=AES-128,URI="film.key"']
    lines += segments(site, film, "a", lambda data: encrypted(data, KEY, next(numbers).to_bytes(16)))
    media = site.download(site.playlist(lines), keep_ts_files=True)
    assert [] == check(media, truth)
    assert_kept(media, film)


def test_method_none_ends_a_key(site: Site) -> None:
    """What follows METHOD=NONE is plain (vsd goes on with the key), and a key that comes again applies again."""
    (film, spot, last), truth = site.groups(TS, FILM, SPOT, LAST)
    site.put("film.key", KEY)
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="film.key",IV=0x{KEY.hex()}'
    lines = [key, *segments(site, film, "a", lambda data: encrypted(data, KEY, KEY))]
    lines += ["#EXT-X-DISCONTINUITY", "#EXT-X-KEY:METHOD=NONE", *segments(site, spot, "b")]
    lines += ["#EXT-X-DISCONTINUITY", key, *segments(site, last, "c", lambda data: encrypted(data, KEY, KEY))]
    assert [] == check(site.download(site.playlist(lines)), truth)


@pytest.mark.parametrize("told", [True, False], ids=["told", "carried on"])
def test_byte_ranges_are_length_and_offset(site: Site, told: bool) -> None:
    """n@o is n bytes from o (vsd: from n to n+o); without @o they follow the last one's."""
    (film,), truth = site.groups(TS, FILM)
    data = [path.read_bytes() for path in film.segments]
    start = len(site.place.name)
    site.put("all.ts", bytes(start) + b"".join(data) + bytes(999))
    lines = []
    for number, part in enumerate(data):
        offset = f"@{start}" if told or number == 0 else ""
        lines += ["#EXTINF:1,", f"#EXT-X-BYTERANGE:{len(part)}{offset}", "all.ts"]
        start += len(part)
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_the_bytes_of_an_init_section_may_be_a_range(site: Site) -> None:
    """EXT-X-MAP with BYTERANGE (iori and lzwme take the whole file): only these bytes begin the film."""
    (film,), truth = site.groups(FMP4, FILM)
    assert film.init is not None
    head = film.init.read_bytes()
    site.put("all.mp4", b"\xff" * 100 + head + b"\xff" * 100)
    lines = [f'#EXT-X-MAP:URI="all.mp4",BYTERANGE="{len(head)}@100"', *segments(site, film, "a")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_a_missing_segment_is_not_passed_over(site: Site) -> None:
    """404 for one of them (yt-dlp skips it, MediaGo says success, vsd ends): this task fails, naming it."""
    (film,), truth = site.groups(TS, FILM)
    lines = segments(site, film, "a")
    holed = site.playlist([*lines[:2], "#EXTINF:1,", "gone.ts", *lines[2:]], name="holed.m3u8")
    task = site.bench.plant.service.fail(holed, "holed")
    assert "http_4xx" == task["err_code"]
    assert "00002.ts" in task["err_msg"] and "404" in task["err_msg"]
    assert not (site.bench.plant.service.saves / "holed.mp4").exists()
    assert [] == check(site.download(site.playlist(lines)), truth)


# -- streamlink, ffmpeg ----------------------------------------------------------------------------------------------


def test_an_init_section_outlives_a_discontinuity(site: Site) -> None:
    """EXT-X-MAP applies until the next one (streamlink forgets it): three groups, one init section."""
    (film, spot, last), truth = site.groups(FMP4, FILM, SPOT, LAST)
    lines = [*init(site, film, "a.mp4"), *segments(site, film, "a")]
    lines += ["#EXT-X-DISCONTINUITY", *segments(site, spot, "b"), "#EXT-X-DISCONTINUITY", *segments(site, last, "c")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_a_discontinuity_sequence_is_no_discontinuity(site: Site) -> None:
    """EXT-X-DISCONTINUITY-SEQUENCE counts what came before the playlist, and cuts nothing in it."""
    (film, spot), truth = site.groups(TS, FILM, SPOT)
    lines = ["#EXT-X-DISCONTINUITY-SEQUENCE:41", *segments(site, film, "a")]
    lines += ["#EXT-X-DISCONTINUITY", *segments(site, spot, "b")]
    assert [] == check(site.download(site.playlist(lines)), truth)


def test_renditions_count_discontinuities_from_where_they_are_told(site: Site) -> None:
    """Picture and sound in playlists of their own that begin late: the groups are those of the same number."""
    row = attrs.evolve(TS, layout=Layout.SEPARATE)
    cuts, truth = site.groups(row, FILM, SPOT)
    groups = [Group(piece, Fraction(clock_s)) for piece, clock_s in zip((FILM, SPOT), CLOCKS_S, strict=False)]
    sound = [
        site.workshop.cut(
            TS.container, group, video=None, audio=site.workshop.sound(TS.audio, group.piece.seconds, LANGUAGES[0])
        )
        for group in groups
    ]
    for name, parts in (("picture", cuts), ("sound", sound)):
        lines = ["#EXT-X-DISCONTINUITY-SEQUENCE:41", *segments(site, parts[0], f"{name}-a")]
        site.playlist([*lines, "#EXT-X-DISCONTINUITY", *segments(site, parts[1], f"{name}-b")], f"{name}.m3u8")
    told = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English",LANGUAGE="en",DEFAULT=YES,URI="sound.m3u8"'
    site.put("master.m3u8", f'#EXTM3U\n{told}\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\npicture.m3u8\n'.encode())
    assert [] == check(site.download(f"{site.url}/master.m3u8"), attrs.evolve(truth, languages=("en",)))


def test_a_clock_that_goes_back_loses_nothing(site: Site) -> None:
    """A splice to an earlier time of fragments (ffmpeg's own reader overlaps them): every frame in turn."""
    (film, spot, last), truth = site.groups(FMP4, FILM, SPOT, LAST)
    lines = [*init(site, film, "a.mp4"), *segments(site, film, "a")]
    lines += ["#EXT-X-DISCONTINUITY", *init(site, spot, "b.mp4"), *segments(site, spot, "b")]
    lines += ["#EXT-X-DISCONTINUITY", *init(site, last, "c.mp4"), *segments(site, last, "c")]
    assert [] == check(site.download(site.playlist(lines)), truth)


BMP = b"BM" + (0x3E + 188).to_bytes(4, "little") + bytes(0x3E - 6)
GIF = b"GIF89a" + bytes(36)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(200) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("disguise", "suffix"),
    [(PNG, ".png"), (BMP, ".bmp"), (GIF, ".gif"), (JPEG, ".jpg"), (b"", ".html"), (b"", ".css"), (b"", ".")],
    ids=["png", "bmp", "gif", "jpeg", "html", "css", "no suffix"],
)
def test_segments_are_known_by_what_they_hold(site: Site, disguise: bytes, suffix: str) -> None:
    """A picture's head before every segment, or a name that is none of media's (ffmpeg refuses them)."""
    (film,), truth = site.groups(TS, FILM)
    lines = segments(site, film, "a", lambda data: disguise + data, suffix)
    assert [] == check(site.download(site.playlist(lines)), truth)
