"""
WebVTT read and written: what is a cue, what is skipped and why, what survives.
"""

import time

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.mux.timeline import NS
from m3u8svc.mux.webvtt import (
    MAX_BYTES,
    MAX_CUES,
    MAX_LINE_CHARS,
    MAX_TEXT_CHARS,
    Cue,
    NotWebVtt,
    Skipped,
    TimestampMap,
    format_time,
    parse_time,
    parse_timestamp_map,
    parse_webvtt,
    plain_text,
    shift,
    write_srt,
    write_webvtt,
)

MS = 1_000_000


def cue(start_ms: int, end_ms: int, text: str, **more: str) -> Cue:
    return Cue(start_ns=start_ms * MS, end_ns=end_ms * MS, text=text, **more)


def cues_of(text: str) -> tuple[Cue, ...]:
    return parse_webvtt(f"WEBVTT\n\n{text}".encode()).cues


@pytest.mark.parametrize(
    "start",
    ["WEBVTT", "WEBVTT - made by hand", "WEBVTT\tx", "\ufeffWEBVTT", "WEBVTT\nKind: captions", "WEBVTT\n\nNOTE one"],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_start_and_line_end_is_read(start: str, line_end: str):
    """The signature with a title, a BOM, other header lines; lines end in three ways."""
    text = f"{start}\n\n00:01.000 --> 00:02.000\nHello\nyou\n\n00:03.000 --> 00:04.000\nBye"
    found = parse_webvtt(text.replace("\n", line_end).encode())
    assert ((cue(1000, 2000, "Hello\nyou"), cue(3000, 4000, "Bye")), 0) == (found.cues, found.skipped_count)


@pytest.mark.parametrize(
    "body", [b"WEBVTT", b"WEBVTT\n", b"\xef\xbb\xbfWEBVTT\r\n\r\n", b"WEBVTT\n\nNOTE\nnothing here\n"]
)
def test_a_file_without_cues_is_one(body: bytes):
    """Most segments of a subtitle playlist hold nothing."""
    assert ((), (), 0) == ((found := parse_webvtt(body)).cues, found.skipped, found.skipped_count)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"webvtt\n",
        b"WEBVTTX\n",
        b" WEBVTT\n",
        b"<!DOCTYPE html><html>WEBVTT",
        b"1\n00:00:01,000 --> x",
        b"\0",
    ],
)
def test_anything_else_is_refused(body: bytes):
    """Without the signature nothing is guessed."""
    with pytest.raises(NotWebVtt):
        parse_webvtt(body)


def test_too_large_a_file_is_refused():
    """The bound is on bytes, and exact."""
    assert () == parse_webvtt(b"WEBVTT".ljust(MAX_BYTES, b"\n")).cues
    with pytest.raises(NotWebVtt, match="8 MiB"):
        parse_webvtt(b"WEBVTT".ljust(MAX_BYTES + 1, b"\n"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000", (900_000, 0)),
        ("X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000", (900_000, 0)),
        ("X-TIMESTAMP-MAP = LOCAL: 00:01.500 , MPEGTS: 5", (5, 1500)),
        ("X-TIMESTAMP-MAP=mpegts:8589934593,local:10:00:00.000", (1, 36_000_000)),
        ("X-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00:00.000,OTHER:3", (1, 0)),
        ("X-TIMESTAMP-MAP=MPEGTS:1", None),
        ("X-TIMESTAMP-MAP=MPEGTS:-1,LOCAL:00:00:00.000", None),
        ("X-TIMESTAMP-MAP=MPEGTS:x,LOCAL:00:00:00.000", None),
        ("X-TIMESTAMP-MAP=MPEGTS:1,LOCAL:later", None),
        ("X-TIMESTAMP-MAP:MPEGTS=1,LOCAL=00:00:00.000", None),
        ("X-TIMESTAMP-MAPS=MPEGTS:1,LOCAL:00:00:00.000", None),
        ("X-TIMESTAMP-MAP=MPEGTS:" + "9" * 5000 + ",LOCAL:00:00:00.000", None),
    ],
)
def test_timestamp_map(line: str, expected: tuple[int, int] | None):
    """Both parts, in any order, with spaces; 33 bits of the media time."""
    wanted = None if expected is None else TimestampMap(mpegts=expected[0], local_ns=expected[1] * MS)
    assert wanted == parse_timestamp_map(line)


@pytest.mark.parametrize("between", ["\n", "\n\n", "\nKind: x\n", "\n\n\n"])
def test_the_map_is_found_in_the_header_or_right_after_it(between: str):
    """Some packagers put a blank line before it."""
    found = parse_webvtt(
        f"WEBVTT{between}X-TIMESTAMP-MAP=MPEGTS:7,LOCAL:00:00:00.000\n\n00:01.000 --> 00:02.000\nx".encode()
    )
    assert (TimestampMap(mpegts=7, local_ns=0), 1, 0) == (found.timestamp_map, len(found.cues), found.skipped_count)


def test_a_broken_map_is_named_and_the_cues_are_kept():
    """What time it is must then be told by others."""
    found = parse_webvtt(b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:,LOCAL:0\n\n00:01.000 --> 00:02.000\nx")
    assert (None, 1) == (found.timestamp_map, len(found.cues))
    assert (Skipped(line=2, reason="X-TIMESTAMP-MAP 有误"),) == found.skipped


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("00:00.000", 0), ("59:59.999", 3_599_999), ("01:00:00.000", 3_600_000), ("123456:00:00.001", 444_441_600_001),
        ("1:02:03.004", 3_723_004), ("0:01.5", 1500), ("00:01,250", 1250),
        ("00:60.000", None), ("60:00.000", None), ("00:01", None), ("1.000", None), ("00:01.0000", None), ("", None),
        ("-0:01.000", None), ("00:01.000 ", None), ("٠٠:٠١.٠٠٠", None), ("1234567:00:00.000", None),
    ],
)  # fmt: skip
def test_times(text: str, ms: int | None):
    """Hours are optional; what is often written wrongly but can only mean one thing is read."""
    assert (None if ms is None else ms * MS) == parse_time(text)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("00:01.000 --> 00:02.000 align:start line:0%\nx", cue(1000, 2000, "x", settings="align:start line:0%")),
        ("00:01.000-->00:02.000\nx", cue(1000, 2000, "x")),
        (" \t00:01.000\t-->  00:02.000 \t \nx", cue(1000, 2000, "x")),
        ("7\n00:01.000 --> 00:02.000\nx", cue(1000, 2000, "x", identifier="7")),
        ("an id with words\n00:01.000 --> 00:02.000\n  x  ", cue(1000, 2000, "  x  ", identifier="an id with words")),
        ("00:01.000 --> 00:02.000\n<v B>1 &lt; <i>\u2028\x0cy", cue(1000, 2000, "<v B>1 &lt; <i>\u2028\x0cy")),
        ("NOTE this\nis none\n\n00:01.000 --> 00:02.000\nx", cue(1000, 2000, "x")),
        ("00:01.000 --> 00:02.000\nNOTE this is one", cue(1000, 2000, "NOTE this is one")),
        ("NOTES\n00:01.000 --> 00:02.000\nx", cue(1000, 2000, "x", identifier="NOTES")),
    ],
)  # fmt: skip
def test_cues_as_they_are_written(block: str, expected: Cue):
    """Settings, identifiers, several lines; comments are none."""
    assert (expected,) == cues_of(block)


def test_style_and_region_blocks_are_kept_whole():
    """A side-car file must not lose the looks."""
    found = parse_webvtt(
        b"WEBVTT\n\nSTYLE\n::cue { color: red }\n\nREGION \nid:fred\nwidth:40%\n\nSTYLES\n00:01.000 --> 00:02.000\nx\n"
    )
    assert ("STYLE\n::cue { color: red }", "REGION\nid:fred\nwidth:40%") == found.blocks
    assert (cue(1000, 2000, "x", identifier="STYLES"),) == found.cues


@pytest.mark.parametrize(
    ("block", "line", "reason"),
    [
        ("00:02.000 --> 00:01.000\nx", 3, "结束时间不晚于开始时间"),
        ("00:02.000 --> 00:02.000\nx", 3, "结束时间不晚于开始时间"),
        ("id\n00:02 --> 00:03.000\nx", 3, "时间行有误"),
        ("00:02.000 --> 00:03.000x\nx", 3, "时间行有误"),
        ("-->\nx", 3, "时间行有误"),
        ("only text\nand more", 3, "缺少时间行"),
        ("\n\nlonely", 5, "缺少时间行"),
        ("00:02.000 --> 00:03.000\n" + "x" * (MAX_LINE_CHARS + 1), 3, "内容过长"),
        ("00:02.000 --> 00:03.000\n" + ("x" * 999 + "\n") * (MAX_TEXT_CHARS // 999 + 1), 3, "内容过长"),
        ("00:02.000 --> 00:03.000 " + "x" * MAX_LINE_CHARS + "\nx", 3, "内容过长"),
        ("x" * (MAX_LINE_CHARS + 1) + "\n00:02.000 --> 00:03.000\nx", 3, "内容过长"),
    ],
)
def test_broken_cues_are_skipped_by_name(block: str, line: int, reason: str):
    """The line counts from 1; what follows is read all the same."""
    found = parse_webvtt(f"WEBVTT\n\n{block}\n\n00:08.000 --> 00:09.000\nlast".encode())
    assert (cue(8000, 9000, "last"),) == found.cues
    assert (Skipped(line=line, reason=reason),) == found.skipped


def test_a_cue_ends_at_the_next_timing_line():
    """Even where the blank line is missing."""
    assert ["x", "y"] == [each.text for each in cues_of("00:01.000 --> 00:02.000\nx\n00:03.000 --> 00:04.000\ny")]


def test_a_cue_without_text_shows_nothing():
    """It is legal, and no fault."""
    found = parse_webvtt(b"WEBVTT\n\n00:01.000 --> 00:02.000\n\n00:01.000 --> 00:02.000 line:0\n \nx")
    assert () == found.cues


def test_wrong_bytes_become_replacement_characters():
    """A text in another encoding is not lost as a whole."""
    assert "caf\ufffd\ufffd" == parse_webvtt(b"WEBVTT\n\n00:01.000 --> 00:02.000\ncaf\xe9\0").cues[0].text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a <b>b</b> <i>i</i> <u>u</u>", "a <b>b</b> <i>i</i> <u>u</u>"),
        ("<c.red.bg_blue>c</c> <v.loud Bob Smith>v</v> <lang en>l</lang> <v Ann>x", "c v l x"),
        ("<b.big>x</b>\n<I>y</I>", "<b>x</b>\n<i>y</i>"),
        ("<ruby>漢<rt>かん</rt></ruby>", "漢(かん)"),
        ("one <00:00:01.000>two <00:02.5>three", "one two three"),
        ("1 < 2 <3 <, <- <é> a<b", "1 < 2 <3 <, <- <é> a<b"),
        ("&amp;&lt;b&gt;&nbsp;&lrm;&#39;&#x4e2d;&unknown; AT&T &amp", "&<b>\xa0\u200e'中&unknown; AT&T &amp"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("</> <> x", " <> x"),
    ],
)
def test_markup_is_reduced_to_three_tags(text: str, plain: str):
    """Every tag but b, i and u goes, entities are resolved, what is no markup stays."""
    assert plain == plain_text(text, keep="biu")


def test_a_shifted_cue_takes_its_time_tags_along():
    """Karaoke would stand still otherwise."""
    moved = shift(cue(1000, 3000, "a <00:01.500>b <00:00:02.000><c>c</c>"), 3600 * NS)
    assert cue(3_601_000, 3_603_000, "a <01:00:01.500>b <01:00:02.000><c>c</c>") == moved


def test_written_as_webvtt():
    """In order of time, with blocks, identifiers and settings; a cue cannot end early."""
    text = write_webvtt(
        [cue(2000, 3000, "two\n\n-->x"), cue(1000, 3_601_500, "one", settings="line:0", identifier="1")],
        blocks=["STYLE\n::cue{}"],
    )
    assert text == (
        "WEBVTT\n\nSTYLE\n::cue{}\n\n"
        "1\n00:00:01.000 --> 01:00:01.500 line:0\none\n\n"
        "00:00:02.000 --> 00:00:03.000\ntwo\n--&gt;x\n"
    )
    assert "WEBVTT\n" == write_webvtt([])


def test_written_as_subrip():
    """Numbered, with commas, markup resolved."""
    text = write_srt([cue(2000, 3000, "two &amp; <c.x>more</c>"), cue(1000, 3_601_500, "<b>one</b>\n\n<v Bob>x")])
    assert text == (
        "1\n00:00:01,000 --> 01:00:01,500\n<b>one</b>\nx\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\ntwo & more\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("time_ns", "text"), [(-1, "00:00:00.000"), (1_499_999, "00:00:00.001"), (1_500_000, "00:00:00.002")]
)
def test_times_are_rounded_to_milliseconds(time_ns: int, text: str):
    """Media times have finer steps."""
    assert text == format_time(time_ns)


@pytest.mark.parametrize(
    "evil",
    [
        b"\n" * MAX_BYTES,
        b"-->\n" * (MAX_BYTES // 4),
        b"00:00.000 --> 00:00.001\nx\n" * (MAX_BYTES // 26),
        b"00:00.000" + b" " * MAX_BYTES,
        b"<" * MAX_BYTES,
        b"00:00.000 --> 00:00.001\n" + b"&#<a" * 2400,
        b"X-TIMESTAMP-MAP=" * (MAX_BYTES // 16),
    ],
    ids=["blank", "arrows", "cues", "spaces", "brackets", "markup", "map"],
)
def test_hostile_text_costs_little(evil: bytes):
    """Linear time and bounded counts, markup included; the bound is generous because machines are shared."""
    started = time.process_time()
    found = parse_webvtt((b"WEBVTT\n\n" + evil)[:MAX_BYTES])
    for each in found.cues[:10]:
        plain_text(each.text)
    assert time.process_time() - started < 15
    assert len(found.cues) <= MAX_CUES and len(found.skipped) <= 20


def test_cues_beyond_the_bound_are_named():
    """Nothing is left out silently."""
    found = parse_webvtt(b"WEBVTT\n" + b"\n00:00.000 --> 00:00.001\nx\n" * (MAX_CUES + 5))
    assert MAX_CUES == len(found.cues)
    assert [f"字幕超过 {MAX_CUES} 条，其余未读"] == [each.reason for each in found.skipped]


line_texts = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text.strip() and "-->" not in text
)
plain_words = st.text(st.characters(categories=["L", "N"]), max_size=5)
written_cues = st.builds(
    lambda start, length, lines, settings, identifier: cue(
        start, start + length, "\n".join(lines), settings=settings, identifier=identifier
    ),
    st.integers(0, 10**9),
    st.integers(1, 10**6),
    st.lists(line_texts, min_size=1, max_size=3),
    st.lists(plain_words.filter(bool), max_size=2).map(" ".join),
    plain_words.filter(lambda text: text not in ("NOTE", "STYLE", "REGION")),
)


@given(st.lists(written_cues, max_size=5))
def test_what_is_written_is_read_again(cues: list[Cue]):
    """Writing and reading gives the same cues in order of time."""
    found = parse_webvtt(write_webvtt(cues).encode())
    assert sorted(cues, key=lambda each: (each.start_ns, each.end_ns)) == list(found.cues)
    assert 0 == found.skipped_count


@given(st.binary(), st.text("WEBVTT-:> \n<>&#;0123456789./abNOTSYLX=,"))
def test_nothing_but_a_refusal_is_raised(body: bytes, text: str):
    """Whatever the bytes."""
    for each in (body, b"WEBVTT\n\n" + body, b"WEBVTT\n" + text.encode()):
        try:
            found = parse_webvtt(each)
        except NotWebVtt:
            continue
        for one in found.cues:
            write_srt([shift(one, -NS)])
            assert attrs.evolve(one, start_ns=0).end_ns > 0
