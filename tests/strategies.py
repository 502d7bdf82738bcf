"""
Hypothesis strategies for playlists, media and what may go wrong with both.
"""

from hypothesis import strategies as st

from m3u8svc.testing.playlists import (
    CLEAR,
    KeyLine,
    MapLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
)

names = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,5})?\.(ts|m4s)(\?t=[a-z0-9]{1,4})?", fullmatch=True)
durations = st.integers(1, 20_000).map(lambda milliseconds: milliseconds / 1000)
key_lines = st.one_of(
    st.just(CLEAR),
    st.builds(
        KeyLine, uri=names, iv=st.one_of(st.just(""), st.integers(0, 2**128 - 1).map(lambda number: f"0x{number:x}"))
    ),
)


@st.composite
def ranges(draw: st.DrawFn) -> str:
    """An explicit byte range."""
    return f"{draw(st.integers(1, 10**6))}@{draw(st.integers(0, 10**9))}"


segment_lines = st.builds(
    SegmentLine,
    uri=names,
    duration_s=durations,
    title=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), max_size=8),
    byterange=st.one_of(st.just(""), ranges()),
    keys=st.lists(key_lines, max_size=1).map(tuple),
    map=st.one_of(st.none(), st.builds(MapLine, uri=names, byterange=st.one_of(st.just(""), ranges()))),
    discontinuity=st.booleans(),
    gap=st.booleans(),
)
segment_lists = st.lists(segment_lines, min_size=1, max_size=12)

variant_lines = st.builds(
    VariantLine,
    uri=names,
    bandwidth=st.integers(0, 10**8),
    resolution=st.one_of(st.none(), st.tuples(st.integers(1, 8000), st.integers(1, 8000))),
    codecs=st.sampled_from(["", "mp4a.40.2", "avc1.64001f,mp4a.40.2", "wvtt"]),
)
variant_lists = st.lists(variant_lines, min_size=1, max_size=6)

_SPICE = [
    *(
        b"#EXTINF:",
        b"#EXTINF:-1,",
        b"#EXT-X-KEY:METHOD=",
        b"#EXT-X-MAP:URI=",
        b"#EXT-X-BYTERANGE:9",
        b"#EXT-X-STREAM-INF:",
    ),
    *(
        b"#EXT-X-GAP",
        b"#EXT-X-DISCONTINUITY-SEQUENCE:1",
        b"#EXT-X-MEDIA:TYPE=AUDIO,URI=",
        b"#EXT-X-SKIP:",
        b'#EXT-X-DEFINE:NAME="x",VALUE="{$x}"\n',
        b'#EXT-X-DEFINE:NAME="x",VALUE="/"\n',
        b"#EXT-X-DATERANGE:ID=1,START-DATE=",
        b"#EXT-X-SESSION-KEY:METHOD=",
        b"#EXT-X-CONTENT-STEERING:SERVER-URI=",
        b"#EXT-X-BITRATE:",
        b"#EXTM3U\n",
    ),
    *(
        b"\n",
        b"\r",
        b'"',
        b"'",
        b",",
        b"=",
        b"@",
        b":",
        b"\\",
        b"\x00",
        b"\xff",
        b"{$x}",
        b"\xe2\x80\xa8",
        b"//",
        b"http://[",
    ),
    *(
        b"nan",
        b"1e999",
        b"9" * 40,
        b"skd://x",
        b"data:,",
        b"\xef\xbb\xbf",
        b"0x",
        b"\xed\xa0\x80",
        b"\xc2\x85",
        b"\x1c",
    ),
]


_WELL_FORMED = [
    text.encode()
    for text in (
        media_playlist(
            [
                SegmentLine(
                    uri="a.ts", keys=(KeyLine(uri="k?t=1", iv="0x1f"),), map=MapLine(uri="i.mp4", byterange="9@1")
                ),
                SegmentLine(
                    uri="b.ts?x=1", title="two, three", byterange="100@7", program_date_time="2024-05-01T10:00:00Z"
                ),
                SegmentLine(uri="b.ts?x=1", byterange="5", discontinuity=True, before=("#EXT-X-CUE-OUT:30",)),
                SegmentLine(uri="http://h:8080/c.ts", keys=(CLEAR,), gap=True, duration_s=None),
            ],
            media_sequence=9,
            discontinuity_sequence=3,
        ),
        media_playlist([SegmentLine(uri="../a b.ts"), SegmentLine(uri="//h/c.ts")], newline="\r\n", ended=False),
        master_playlist(
            [VariantLine(uri="v.m3u8", resolution=(640, 360), codecs="avc1,mp4a", audio="a", frame_rate=25.0)] * 2,
            renditions=[RenditionLine(group="a", name="x, y", uri="a.m3u8", default=True)],
            head=["#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1"],
        ),
    )
]
_wounds = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 30), st.one_of(st.sampled_from(_SPICE), st.binary(max_size=4))),
    max_size=6,
)


@st.composite
def mutated_playlists(draw: st.DrawFn) -> bytes:
    """
    A good playlist with up to six wounds: bytes replaced by nothing, by junk or by what means something.
    """
    body = draw(st.sampled_from(_WELL_FORMED))
    for start, length, wound in draw(_wounds):
        start %= len(body) + 1
        body = body[:start] + wound + body[start + length :]
    return body


@st.composite
def cuts(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """
    `body` in random chunks, some of them empty.
    """
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
