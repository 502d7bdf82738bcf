"""
Cues out of fMP4 samples: WebVTT in boxes, and TTML.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.mux.timeline import NS
from m3u8svc.mux.ttml import BrokenSample, read_ttml, read_wvtt
from m3u8svc.mux.webvtt import MAX_BYTES, Cue
from tests.mux.boxes import WVTT_EMPTY, box, ttml, wvtt_cue

FOREVER = 10**6


def read(document: bytes, start_s: float = 0, end_s: float = FOREVER) -> list[tuple[float, float, str]]:
    cues = read_ttml(document, round(start_s * NS), round(end_s * NS))
    return [(cue.start_ns / NS, cue.end_ns / NS, cue.text) for cue in cues]


def test_wvtt_samples():
    """A sample's cues last as long as it does; an empty one has none."""
    sample = (
        wvtt_cue("<i>Hi</i>\r\n\nyou", identifier="7", settings="line:0") + WVTT_EMPTY + wvtt_cue("two") + box(b"vttx")
    )
    assert [
        Cue(start_ns=1, end_ns=2, text="<i>Hi</i>\nyou", settings="line:0", identifier="7"),
        Cue(start_ns=1, end_ns=2, text="two"),
    ] == read_wvtt(sample, 1, 2)
    assert [] == read_wvtt(WVTT_EMPTY, 1, 2) == read_wvtt(b"", 1, 2) == read_wvtt(wvtt_cue(""), 1, 2)


@pytest.mark.parametrize("sample", [b"x", wvtt_cue("x")[:-1], box(b"vttc", b"\0\0\0\xffpaylx"), b"\0\0\0\7vttc"])
def test_broken_wvtt_is_named(sample: bytes):
    """Its boxes do not add up."""
    with pytest.raises(BrokenSample):
        read_wvtt(sample, 1, 2)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ('begin="00:00:01.5" end="00:00:02"', (1.5, 2)),
        ('begin="100:00:01.000" end="100:00:02.25"', (360_001, 360_002.25)),
        ('begin="00:00:01:15" end="00:00:02:00"', (1.5, 2)),
        ('begin="1.5s" end="2500ms"', (1.5, 2.5)),
        ('begin="1m" dur="0.5h"', (60, 1860)),
        ('begin="45f" dur="15f"', (1.5, 2)),
        ('begin="20t" end="30t"', (2, 3)),
        ('end="3s"', (0, 3)),
        ('begin="1s" end="5s" dur="2s"', (1, 3)),
    ],
)
def test_time_expressions(times: str, expected: tuple[float, float]):
    """Clock times with fractions or frames, and offsets in every unit."""
    document = ttml(f"<div><p {times}>x</p></div>", attributes='ttp:frameRate="30" ttp:tickRate="10"')
    assert [(*expected, "x")] == read(document)


def test_a_frame_rate_with_a_multiplier():
    """NTSC: 30 frames last 1.001 s."""
    document = ttml(
        '<p begin="0f" end="30f">x</p>', attributes='ttp:frameRate="30" ttp:frameRateMultiplier="1000 1001"'
    )
    assert [(0, 1.001, "x")] == read(document)


def test_times_count_from_those_of_the_elements_around():
    """A body or div has times of its own and cuts what is inside."""
    body = (
        '<div begin="10s" end="20s"><p begin="1s" end="2s">a</p><p begin="8s" end="15s">b</p><p begin="11s">c</p></div>'
    )
    assert [(11, 12, "a"), (18, 20, "b")] == read(ttml(body))


@pytest.mark.parametrize("times", ['begin="1s"', 'begin="2s" end="1s"', 'begin="soon" end="later"', 'end="1:2"'])
def test_a_paragraph_that_does_not_say_when_is_none(times: str):
    """It would be shown for ever, or never."""
    assert [] == read(ttml(f"<div><p {times}>x</p></div>"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello<br/>you", "Hello\nyou"),
        ("  a \n b<br/><br/> c ", "a b\nc"),
        ("1 &lt; 2 &amp; &#x4e2d;", "1 &lt; 2 &amp; 中"),
        ('<span tts:fontStyle="italic">i</span>', "<i>i</i>"),
        ('<span tts:fontWeight="bold">b<span tts:textDecoration="underline">u</span></span>', "<b>b<u>u</u></b>"),
        ('<span style="it other">i</span>', "<i>i</i>"),
        ("a<metadata>no</metadata>b", "ab"),
        ("<span> </span>", ""),
    ],
)  # fmt: skip
def test_text_becomes_a_webvtt_payload(content: str, text: str):
    """Line ends, escapes, and three marks."""
    document = ttml(
        f'<p begin="0s" end="1s">{content}</p>', head='<styling><style xml:id="it" tts:fontStyle="italic"/></styling>'
    )
    assert ([(0, 1, text)] if text else []) == read(document)


def test_cues_last_no_longer_than_their_sample():
    """The same document may be in many samples."""
    document = ttml('<p begin="8s" end="12s">x</p><p begin="13s" end="14s">y</p>')
    assert [(8, 10, "x")] == read(document, 0, 10)
    assert [(10, 12, "x"), (13, 14, "y")] == read(document, 10, 20)


def test_times_of_the_sample_itself():
    """Some packagers count from the start of the sample; nothing would be seen otherwise."""
    assert [(101, 102, "x")] == read(ttml('<p begin="1s" end="2s">x</p>'), 100, 110)


def test_a_sample_without_a_length_cuts_nothing():
    """Then nobody says when it ends."""
    assert [(8, 12, "x")] == read(ttml('<p begin="8s" end="12s">x</p>'), 0, 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str):
    """What the declaration says does not matter."""
    assert [(0, 1, "é中")] == read(ttml('<p begin="0s" end="1s">é中</p>').decode().encode(encoding))


LAUGHS = '<!DOCTYPE tt [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<tt><body>",
        b"<tt>\0</tt>",
        ttml("").replace(b"<tt ", LAUGHS.encode() + b"<tt "),
        ttml("").replace(b"<tt ", LAUGHS.encode() + b"<tt ").decode().encode("utf-16"),
        ttml("").replace(b"UTF-8", b"UTF-7").replace(b"<tt ", b"<!DOCTYPE tt SYSTEM 'file:///etc/passwd'><tt "),
        ttml("x" * MAX_BYTES),
    ],
)  # fmt: skip
def test_what_is_refused(document: bytes):
    """No XML, a document type, too much of it."""
    with pytest.raises(BrokenSample):
        read(document)


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 100_000 + "</div>" * 100_000,
        '<p begin="0s" end="1s">' + "<span>" * 50_000 + "x" + "</span>" * 50_000 + "</p>",
        '<p begin="0s" end="1s">' + "<br/>" * 500_000 + "</p>",
        '<p begin="' + "9" * 1_000_000 + 's" end="1s">x</p>',
    ],
    ids=["deep", "spans", "lines", "digits"],
)
def test_hostile_documents_cost_little(body: str):
    """Neither depth nor length does harm."""
    started = time.process_time()
    read(ttml(body))
    assert time.process_time() - started < 10


@given(st.binary(max_size=200), st.text(max_size=200))
def test_nothing_else_is_raised(sample: bytes, text: str):
    """Whatever is in the sample."""
    for reader, each in ((read_wvtt, sample), (read_ttml, sample), (read_ttml, ttml(text))):
        try:
            reader(each, 0, NS)
        except BrokenSample:
            pass
