"""
Table 4.1: what an origin can do wrong, and what must come of it. Every row is named by its id and tells the code, the
requests that were made, and the bytes of the result.
"""

import ctypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from m3u8svc.sniff import PLAYLIST_BYTES
from m3u8svc.tasks.concurrency import FIRST
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import KeyLine, SegmentLine, VariantLine, master_playlist
from tests.faults.stage import COUNT, Stage, sha256, stopped, test

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
pytestmark = pytest.mark.faults

ASKED = 6
"""How often a segment is asked for before it is given up: once, and five times again (R 2.4)."""
ON_THE_WAY_BYTES = 16 << 20
"""What an origin may have sent that nobody took: in the kernel's buffers of both ends."""
KEY, OTHER_KEY = b"0123456789abcdef", b"fedcba9876543210"


def once_but(counts: Mapping[int, int]) -> list[int]:
    """How often each segment is asked for: once, but for these."""
    return [counts.get(number, 1) for number in range(COUNT)]


def encrypted(plain: bytes, key: bytes, number: int) -> bytes:
    """AES-128-CBC with the segment's number as IV."""
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(number.to_bytes(16))).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


# -- S1: the server is gone -------------------------------------------------------------------------------------------


@test
async def test_s1_refused_for_20_s_and_back(stage: Stage) -> None:
    """A server that is gone for 20 s in the middle: the task goes on, and what was there is not fetched again."""
    path = stage.tweaked({3: "delay=0.3", 4: "delay=0.3", 5: "delay=0.3"})
    running = Deferred.fromCoroutine(stage.makes_the_film(path, download_threads=2))
    await stage.until(lambda: sum(stage.whole()) >= 2)
    done = stage.whole()
    await stage.origin.go_down()
    await deferLater(reactor, 20 / stage.pace)
    stage.origin.come_back()
    await running

    assert [1] * COUNT == stage.whole()
    assert all(count == 1 for count, there in zip(stage.counts(), done, strict=True) if there)


# -- S2 to S5: one request goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["headers", "headers%2B1", "headers%2B60", "0", "1", "5000", "last"])
@test
async def test_s2_reset_at_a_byte(stage: Stage, place: str) -> None:
    """A reset at byte k of the head or the body: only that segment is fetched again."""
    k = str(len(stage.segments[2]) - 1) if place == "last" else place
    await stage.makes_the_film(stage.tweaked({2: f"reset={k}&times=1"}))

    # A reset before any answer on a kept connection is repeated at once, which is no failure (N7).
    assert once_but({2: 2}) == stage.counts()
    assert [1] * COUNT == stage.whole()


@pytest.mark.parametrize("place", ["headers", "headers%2B60", "0", "5000"])
@test
async def test_s2_reset_for_ever(stage: Stage, place: str) -> None:
    """A reset each time ends the task with the code of what happened, within the budget."""
    code = await stage.fails(stage.tweaked({2: f"reset={place}"}))

    assert ("reset" if place.startswith("headers") else "truncated") == code
    # On a kept connection that was reset before an answer the request is repeated at once (N7).
    assert ASKED <= stage.origin.count("/2.ts") <= 2 * ASKED


@test
async def test_s3_announced_too_long(stage: Stage) -> None:
    """Content-Length beyond the body: truncated, and fetched again."""
    await stage.makes_the_film(stage.tweaked({2: "cl=long&times=1"}))

    assert once_but({2: 2}) == stage.counts()


@test
async def test_s3_announced_too_long_for_ever(stage: Stage) -> None:
    """It is given up as truncated."""
    assert "truncated" == await stage.fails(stage.tweaked({2: "cl=long"}))
    assert ASKED == stage.origin.count("/2.ts")


@test
async def test_s3_announced_too_short(stage: Stage) -> None:
    """More bytes than announced: none of them is taken for the next answer, and half a segment for a whole one."""
    await stage.makes_the_film(stage.tweaked({2: "cl=short&times=1"}))

    assert 2 <= stage.origin.count("/2.ts") <= 3  # where half of it ends with a packet, another copy tells


@test
async def test_s3_no_length_and_whole(stage: Stage) -> None:
    """A body that ends with its connection is judged by its content."""
    await stage.makes_the_film(stage.tweaked(everywhere="cl=none"))


@pytest.mark.parametrize("short_by", [1, 100, 188 * 3])
@test
async def test_s3_no_length_and_cut(stage: Stage, short_by: int) -> None:
    """A body of unknown length that lacks its end is fetched again, at a packet's boundary too (R-INT-1)."""
    cut = len(stage.segments[2]) - short_by
    await stage.makes_the_film(stage.tweaked({2: f"cl=none&cut={cut}&times=1"}))

    assert 2 <= stage.origin.count("/2.ts") <= 3


@pytest.mark.parametrize("cut", [0, 5000, 10**9], ids=["at-once", "middle", "last-chunk-missing"])
@test
async def test_s4_chunked_and_cut(stage: Stage, cut: int) -> None:
    """A chunked body without its last chunk is not whole."""
    await stage.makes_the_film(stage.tweaked({2: f"te=chunked&cut={cut}&times=1"}))

    assert once_but({2: 2}) == stage.counts()


@test
async def test_s4_chunked_wrongly(stage: Stage) -> None:
    """A chunk size that is none: fetched again."""
    await stage.makes_the_film(stage.tweaked({2: "te=bad&times=1"}))

    assert once_but({2: 2}) == stage.counts()


@pytest.mark.parametrize("tweak", ["te=trailers", "te=chunked&chunk_size=1", "te=chunked"])
@test
async def test_s4_chunked_rightly(stage: Stage, tweak: str) -> None:
    """Trailers and chunks of one byte are HTTP."""
    await stage.makes_the_film(stage.tweaked({2: tweak}))

    counts = stage.counts()
    third = counts.pop(
        2
    )  # a chunk for each byte may take so long that it is asked for a second time, as any slow end is
    assert ([1] * (COUNT - 1), True) == (counts, third <= (2 if "chunk_size=1" in tweak else 1))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 522, 524])
@test
async def test_s5_a_status_that_passes(stage: Stage, status: int) -> None:
    """Asked again until it is there."""
    await stage.makes_the_film(stage.tweaked({2: f"status={status}&times=3"}))

    assert once_but({2: 4}) == stage.counts()


@pytest.mark.parametrize("status", [500, 503, 522])
@test
async def test_s5_a_status_that_stays(stage: Stage, status: int) -> None:
    """Given up after the budget, with the last status."""
    assert "http_5xx" == await stage.fails(stage.tweaked({2: f"status={status}"}))
    assert ASKED == stage.origin.count("/2.ts")


@pytest.mark.parametrize("status", [500, 503])
@test
async def test_s5_a_playlist_that_passes(stage: Stage, status: int) -> None:
    """The playlist follows the same rule."""
    path = stage.tweaked()
    await stage.makes_the_film(stage.origin.url(path, status=status, times=3))

    assert 4 == stage.origin.count(path)


# -- S6, S7: what a status says ---------------------------------------------------------------------------------------


def waited(stage: Stage, path: str) -> float:
    """Seconds of the job's clock from the first answer at `path` to the next request."""
    first, second, *_ = stage.origin.visits(path)
    assert first.ended is not None
    return (second.at - first.ended) * stage.pace


def decided_s(stage: Stage, position: int) -> float:
    """For how long the job said it would wait after the first attempt at a segment failed."""
    logs = "".join(path.read_text() for path in stage.save.glob("*.debug.log"))
    (delay_s,) = re.findall(rf"segment {position} attempt 1 failed: .* -> Retry\(delay_s=([\d.]+)\)", logs)
    return float(delay_s)


WAITS = [
    ("12", 12, 20),
    ("date:12", 10, 20),
    ("-5", 0, 8),
    ("date:-30", 0, 8),
    ("soon", 0, 8),
    ("1e9", 0, 8),
    ("", 0, 8),
]
FOR_EVER = (429, "999999999", 299, 330)
"""Of one status only: five minutes are long, by any clock."""


@pytest.mark.parametrize(
    ("status", "retry_after", "at_least", "at_most"),
    [*((status, *wait) for status in (429, 503) for wait in WAITS), FOR_EVER],
)
@test
async def test_s6_retry_after(stage: Stage, status: int, retry_after: str, at_least: float, at_most: float) -> None:
    """Waits as told, five minutes at most; what makes no sense is ignored."""
    await stage.makes_the_film(stage.tweaked({0: f"status={status}&retry_after={retry_after}&times=1"}))

    assert at_least <= waited(stage, "/0.ts")
    assert decided_s(stage, 1) <= at_most
    assert once_but({0: 2}) == stage.counts()


@test
async def test_s6_the_whole_host_slows(stage: Stage) -> None:
    """The wait is for everybody who asks this host, not for one worker; another task's request waits, too."""
    path = stage.tweaked({0: "status=503&retry_after=20&times=1", 1: "delay=0.05", 2: "delay=0.05"})
    running = Deferred.fromCoroutine(stage.makes_the_film(path, download_threads=2))
    await stage.until(lambda: any(visit.status == 503 and visit.ended for visit in stage.origin.visits("/0.ts")))
    told = max(visit.ended or 0.0 for visit in stage.origin.visits("/0.ts"))
    await running

    slowed = [visit for visit in stage.origin.visits() if told + 0.05 < visit.at < told + 19 / stage.pace]
    assert [] == slowed


@pytest.mark.parametrize("status", [400, 402, 405, 406, 451])
@test
async def test_s7_a_status_that_means_it(stage: Stage, status: int) -> None:
    """Never asked again."""
    assert "http_4xx" == await stage.fails(stage.tweaked({2: f"status={status}"}))
    assert 1 == stage.origin.count("/2.ts")


@pytest.mark.parametrize("status", [401, 404, 410])
@test
async def test_s7_a_status_that_a_new_playlist_may_cure(stage: Stage, status: int) -> None:
    """The playlist is read once more, the segment asked for once more, and that is all."""
    path = stage.tweaked({2: f"status={status}"})

    assert "http_4xx" == await stage.fails(path)
    assert 2 == stage.origin.count(path)
    assert stage.origin.count("/2.ts") <= 2


@test
async def test_s7_forbidden(stage: Stage) -> None:
    """403 may also mean too many requests: asked twice more, the playlist read again before."""
    path = stage.tweaked({2: "status=403"})

    assert "http_4xx" == await stage.fails(path)
    assert 2 <= stage.origin.count(path) <= 1 + ASKED
    assert stage.origin.count("/2.ts") <= 3


# -- S8: silence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tweak", "least_s", "most_s"),
    [
        ("hang=body", 0, 33),
        ("hang=headers", 0, 50),
        ("chunk_size=1&chunk_delay=0.25", 0, 40),
    ],
    ids=["mid-body", "before-headers", "a-byte-per-5-s"],
)
@test
async def test_s8_silence(stage: Stage, tweak: str, least_s: float, most_s: float) -> None:
    """A segment that stalls is asked for again, at the latest after its 30 s; the others do not wait for it."""
    await stage.makes_the_film(stage.tweaked({0: f"{tweak}&times=1"}))

    first, second = stage.origin.visits("/0.ts")
    others = [visit for number in range(1, COUNT) for visit in stage.origin.visits(f"/{number}.ts")]
    assert first.ended is not None
    assert least_s <= (second.at - first.at) * stage.pace <= most_s
    assert first.aborted
    assert all(visit.ended is not None and visit.ended <= second.at for visit in others)
    assert once_but({0: 2}) == stage.counts()


@pytest.mark.parametrize(("tweak", "code"), [("hang=body", "timeout_stall"), ("hang=headers", "timeout_headers")])
@test
async def test_s8_silence_for_ever(stage: Stage, tweak: str, code: str) -> None:
    """Given up with the code that says where it stalled; every request was ended by us."""
    assert code == await stage.fails(stage.tweaked({0: tweak}))

    visits = stage.origin.visits("/0.ts")
    assert all(visit.aborted for visit in visits)
    assert ASKED <= len(visits) <= 2 * ASKED  # a second connection may have been tried beside each


@test
async def test_s8_slow_but_alive(stage: Stage) -> None:
    """A little more than 1 KiB/s is slow, and no stall."""
    piece, every_s = 4096, 4096 / 1500
    await stage.makes_the_film(stage.tweaked({0: f"chunk_size={piece}&chunk_delay={every_s / stage.pace:.4f}"}))

    assert 1 <= stage.origin.count("/0.ts") <= 2


# -- S9: ranges -------------------------------------------------------------------------------------------------------


def ranged(stage: Stage, tweaks: Mapping[int, str]) -> str:
    """The stream as one resource and its byte ranges."""
    stage.origin.put("/all.ts", b"".join(stage.segments), content_type="video/mp2t")
    lines, offset = [], 0
    for number, segment in enumerate(stage.segments):
        uri = f"all.ts?n={number}&{tweaks.get(number, '')}"
        lines.append(SegmentLine(uri=uri, duration_s=1.0, byterange=f"{len(segment)}@{offset}"))
        offset += len(segment)
    return stage.put_list(lines)


@pytest.mark.parametrize("tweak", ["", "range=ignore", "range=star"])
@test
async def test_s9_a_range_that_can_be_used(stage: Stage, tweak: str) -> None:
    """206, a 200 with everything, a total that is not told: the right slice."""
    await stage.makes_the_film(ranged(stage, {2: tweak}))

    assert COUNT == stage.origin.count("/all.ts")


@pytest.mark.parametrize("tweak", ["wrong", "end", "total", "multipart"])
@test
async def test_s9_a_range_that_cannot(stage: Stage, tweak: str) -> None:
    """Other bytes than asked for are never taken; asked again it may be right."""
    await stage.makes_the_film(ranged(stage, {2: f"range={tweak}&times=1"}))
    assert COUNT + 1 == stage.origin.count("/all.ts")


@pytest.mark.parametrize(
    ("tweak", "code"),
    [("wrong", "bad_byterange"), ("end", "bad_byterange"), ("multipart", "bad_byterange"), ("416", "http_4xx")],
)
@test
async def test_s9_a_range_that_never_is(stage: Stage, tweak: str, code: str) -> None:
    """It is given up, and not shifted."""
    assert code == await stage.fails(ranged(stage, {2: f"range={tweak}"}))


# -- S10: something else ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["html", "json", "empty", "/list.m3u8"])
@test
async def test_s10_something_else_once(stage: Stage, body: str) -> None:
    """A 200 that is no media is no segment; asked again it is there."""
    await stage.makes_the_film(stage.tweaked({2: f"body={body}&times=1"}))

    assert once_but({2: 2}) == stage.counts()


@pytest.mark.parametrize("body", ["html", "json", "empty", "junk", "/list.m3u8"])
@test
async def test_s10_something_else_for_ever(stage: Stage, body: str) -> None:
    """It is given up as no media."""
    assert "not_media" == await stage.fails(stage.tweaked({2: f"body={body}"}))
    assert ASKED == stage.origin.count("/2.ts")


@pytest.mark.parametrize("body", ["html", "json", "empty", "junk"])
@test
async def test_s10_a_page_once_for_the_playlist(stage: Stage, body: str) -> None:
    """That is no reason to fail the task: asked again, the playlist is there."""
    path = stage.tweaked()
    await stage.makes_the_film(stage.origin.url(path, body=body, times=1))

    assert 2 == stage.origin.count(path)


@pytest.mark.parametrize("body", ["html", "json", "empty", "junk"])
@test
async def test_s10_a_page_for_ever_for_the_playlist(stage: Stage, body: str) -> None:
    """The task fails soon: it is asked for three times, not six."""
    path = stage.tweaked()
    assert "not_a_playlist" == await stage.fails(stage.origin.url(path, body=body))

    assert 3 == stage.origin.count(path)


@test
async def test_s10_another_etag_is_no_other_segment(stage: Stage) -> None:
    """An ETag that changes under way means nothing to who has fetched nothing yet."""
    await stage.makes_the_film(stage.tweaked(everywhere="etag=old"))
    assert [1] * COUNT == stage.counts()


@test
async def test_s10_a_disguise_is_taken_off(stage: Stage) -> None:
    """A picture in front of the segment is cut off."""
    picture = b"\x89PNG\r\n\x1a\n" + bytes(61)
    for number, segment in enumerate(stage.segments):
        stage.origin.put(f"/{number}.ts", picture + segment, content_type="image/png")
    await stage.makes_the_film(stage.tweaked())


# -- S11: tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@test
async def test_s11_tokens_expire(stage: Stage, status: int) -> None:
    """Links that go stale: the playlist is read again, what is left goes on with new ones, what is there stays."""
    path = stage.tweaked(everywhere="delay=0.15")
    url = stage.origin.url(path, sign=0.4, token_status=status)
    await stage.makes_the_film(url, download_threads=1)

    assert [1] * COUNT == stage.whole()
    refused = sum(stage.counts()) - COUNT
    assert 1 <= refused <= 3
    assert stage.origin.count(path) <= 1 + refused


@test
async def test_s11_a_key_expires(stage: Stage) -> None:
    """The key's link is signed, too."""
    for number, segment in enumerate(stage.segments):
        stage.origin.put(f"/{number}.ts", encrypted(segment, KEY, number))
        stage.origin.put(f"/{number}.key", KEY)
    lines = [
        attrs.evolve(line, keys=(KeyLine(uri=f"{number}.key"),))
        for number, line in enumerate(stage.lines(everywhere="delay=0.15"))
    ]
    path = stage.put_list(lines)
    await stage.makes_the_film(stage.origin.url(path, sign=0.4), download_threads=1)

    assert [1] * COUNT == stage.whole()


# -- S12: another playlist after a pause -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["same", "re-tokened", "became-master"])
@test
async def test_s12_the_same_stream_after_a_pause(stage: Stage, change: str) -> None:
    """Other tokens, or a playlist in between: what is there stays, what is left is fetched, nothing is mixed."""
    path = stage.tweaked({3: "hang=body", 4: "hang=body", 5: "hang=body"})
    first = Deferred.fromCoroutine(stage.job(stage.task(path)).run())
    await stage.until(lambda: [1, 1, 1] == stage.whole()[:3])
    await stage.until(lambda: 3 <= len([*stage.save.glob(".m3u8svc/task1/0000000[123]-*")]))
    await stopped(first)

    stage.origin.forget()
    if change == "became-master":
        stage.put_list(stage.lines(), path="/media.m3u8")
        stage.origin.put(path, master_playlist([VariantLine(uri="media.m3u8")]).encode())
    else:
        stage.put_list(stage.lines(everywhere="token=other" if change == "re-tokened" else ""))
    job = stage.job(stage.task(path), stage.records.rows)
    outcome = await job.run()
    await job.clean_up()

    assert stage.golden == sha256(outcome.output)
    assert [0, 0, 0, 1, 1, 1] == stage.counts()
    stage.nothing_left(Path(outcome.output).name)


# -- S13, S14 ---------------------------------------------------------------------------------------------------------


@test
async def test_s13_no_end_on_a_finished_list(stage: Stage) -> None:
    """A list without its end that does not change is whole."""
    path = stage.put_list(stage.lines(), ended=False, playlist_type="", target_duration_s=1)
    await stage.makes_the_film(path)
    assert 2 == stage.origin.count(path)


@test
async def test_s13_an_entry_twice(stage: Stage) -> None:
    """Each entry is a segment of its own, whatever its address."""
    outcome = await stage.run(stage.put_list([*stage.lines(), stage.lines()[5]]))
    assert COUNT + 1 == len({row.position for row in stage.records.rows if row.outcome == "done"})
    stage.nothing_left(Path(outcome.output).name)


@test
async def test_s13_a_duration_of_zero(stage: Stage) -> None:
    """EXTINF 0 says nothing about the bytes."""
    lines = stage.lines()
    lines[2] = attrs.evolve(lines[2], duration_s=0.0)
    await stage.makes_the_film(stage.put_list(lines))
    assert [1] * COUNT == stage.counts()


@test
async def test_s13_one_address_other_bytes(stage: Stage) -> None:
    """The same address with other ranges, and with other keys, are other segments."""
    await stage.makes_the_film(ranged(stage, {}))


@test
async def test_s13_one_address_other_iv(stage: Stage) -> None:
    """The same link under another IV is another segment: the body is encrypted anew each time."""
    paths = []
    for number, segment in enumerate(stage.segments):
        stage.origin.put(f"/e{number}.ts", encrypted(segment, KEY, number))
        paths.append(f"/e{number}.ts")
    stage.origin.put("/k", KEY)
    one = f"one.ts?body={','.join(paths)}"
    lines = [
        SegmentLine(uri=one, duration_s=1.0, keys=(KeyLine(uri="k", iv=f"0x{number:032x}"),)) for number in range(COUNT)
    ]
    await stage.makes_the_film(stage.put_list(lines), download_threads=1)
    assert COUNT == stage.origin.count("/one.ts")


@test
async def test_s14_a_redirect_loop(stage: Stage) -> None:
    """It is found out, and not asked again."""
    assert "redirect_refused" == await stage.fails(stage.tweaked({2: "redirect=%23again"}))
    assert stage.origin.count("/2.ts") <= 10


@pytest.mark.parametrize(("hops", "code"), [(9, ""), (11, "redirect_refused")])
@test
async def test_s14_many_hops(stage: Stage, hops: int, code: str) -> None:
    """Ten are followed, no more."""
    for hop in range(hops):
        stage.origin.put(f"/hop{hop}", b"")
    lines = stage.lines()
    where = "/2.ts"
    for hop in range(hops):
        where = stage.origin.url(f"/hop{hop}", redirect=where)
    path = stage.put_list([attrs.evolve(line, uri=where) if n == 2 else line for n, line in enumerate(lines)])
    if code:
        assert code == await stage.fails(path)
    else:
        await stage.makes_the_film(path)


@test
async def test_s14_a_relative_second_hop(stage: Stage) -> None:
    """It is relative to where the first one led (trap 2); what is secret does not go along."""
    other = await Origin.start(reactor)
    try:
        other.put("/dir/next.ts", stage.segments[2], content_type="video/mp2t")
        hop = other.url("/dir/start", redirect="next.ts")
        path = stage.put_list(
            [
                attrs.evolve(line, uri=stage.origin.url("/2.ts", redirect=hop)) if n == 2 else line
                for n, line in enumerate(stage.lines())
            ]
        )
        await stage.makes_the_film(path)

        assert ["/dir/start", "/dir/next.ts"] == [visit.path for visit in other.visits()]
        assert not any("x-auth-token" in visit.headers for visit in other.visits())
        assert 0 == stage.origin.count("/dir/next.ts")
    finally:
        await other.stop()


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ("file:///etc/passwd", {"redirect_refused", "unsupported_scheme"}),
        ("ftp://127.0.0.1/x", {"redirect_refused", "unsupported_scheme"}),
        ("http://user:secret@127.0.0.1:9/", {"redirect_refused"}),
    ],
)
@test
async def test_s14_a_hop_that_is_refused(stage: Stage, target: str, codes: set[str]) -> None:
    """Other schemes and credentials in a redirect are refused, at once."""
    lines = [
        attrs.evolve(line, uri=stage.origin.url("/2.ts", redirect=target)) if n == 2 else line
        for n, line in enumerate(stage.lines())
    ]
    assert await stage.fails(stage.put_list(lines)) in codes
    assert 1 == stage.origin.count("/2.ts")


@test
async def test_s14_a_hop_to_a_multivariant_playlist(stage: Stage) -> None:
    """The entry may lead to one."""
    stage.tweaked()
    stage.origin.put("/master.m3u8", master_playlist([VariantLine(uri="list.m3u8")]).encode())
    await stage.makes_the_film(stage.origin.url("/entry", redirect="/master.m3u8"))


# -- S15: keys --------------------------------------------------------------------------------------------------------


def locked(stage: Stage, tweak: str, *, keys: tuple[bytes, bytes] = (KEY, KEY)) -> str:
    """The stream encrypted, half under each key, at `/0.key?…` and `/1.key`."""
    lines = []
    for number, segment in enumerate(stage.segments):
        key = keys[number >= 3]
        stage.origin.put(f"/{number}.ts", encrypted(segment, key, number))
        uri = f"0.key?{tweak}" if number < 3 else "1.key"
        lines.append(SegmentLine(uri=f"{number}.ts", duration_s=1.0, keys=(KeyLine(uri=uri),)))
    stage.origin.put("/0.key", keys[0])
    stage.origin.put("/1.key", keys[1])
    stage.origin.put("/15", KEY[:15])
    stage.origin.put("/17", KEY + b"x")
    stage.origin.put("/0", b"")
    stage.origin.put("/other", OTHER_KEY)
    return stage.put_list(lines)


@pytest.mark.parametrize(
    ("tweak", "code"),
    [
        ("body=/15", "key_invalid"),
        ("body=/17", "key_invalid"),
        ("body=/0", "key_invalid"),
        ("body=html", "key_invalid"),
        ("status=404", "http_4xx"),
        ("status=500", "http_5xx"),
        ("body=/other", "decrypt_failed"),
    ],
)
@test
async def test_s15_a_key_that_is_none(stage: Stage, tweak: str, code: str) -> None:
    """It is named as what it is; no key is asked for without end."""
    assert code == await stage.fails(locked(stage, tweak))
    assert stage.origin.count("/0.key") <= 3 * ASKED


@pytest.mark.parametrize(
    "tweak", ["body=/15&times=1", "body=html&times=1", "status=503&times=2", "delay=0.5", "body=/other&times=1"]
)
@test
async def test_s15_a_key_that_comes_right(stage: Stage, tweak: str) -> None:
    """Asked again; also one that was another key at first, which the padding tells."""
    await stage.makes_the_film(locked(stage, tweak))


@test
async def test_s15_keys_rotate(stage: Stage) -> None:
    """A key for each segment, each fetched once."""
    lines = []
    for number, segment in enumerate(stage.segments):
        key = bytes([number + 1]) * 16
        stage.origin.put(f"/{number}.ts", encrypted(segment, key, number))
        stage.origin.put(f"/{number}.key", key)
        lines.append(SegmentLine(uri=f"{number}.ts", duration_s=1.0, keys=(KeyLine(uri=f"{number}.key"),)))
    await stage.makes_the_film(stage.put_list(lines))

    assert [1] * COUNT == [stage.origin.count(f"/{number}.key") for number in range(COUNT)]
    assert [1] * COUNT == stage.counts()


# -- S16, S17: encodings, and what has no end -------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@test
async def test_s16_an_encoding_nobody_asked_for(stage: Stage, encoding: str) -> None:
    """It is undone."""
    await stage.makes_the_film(stage.tweaked({2: f"encoding={encoding}"}))
    assert [1] * COUNT == stage.counts()


@test
async def test_s16_a_label_that_is_wrong(stage: Stage) -> None:
    """Bytes that are called gzip and are none are taken as they are, or asked for again."""
    await stage.makes_the_film(stage.tweaked({2: "encoding=wrong&times=1"}))


@pytest.mark.parametrize("encoding", ["double", "br", "unknown", "unlabelled"])
@test
async def test_s16_an_encoding_that_is_refused(stage: Stage, encoding: str) -> None:
    """Two levels, unknown ones, none said: asked again, then named."""
    code = await stage.fails(stage.tweaked({2: f"encoding={encoding}"}))
    assert {"unlabelled": "not_media"}.get(encoding, "bad_response") == code
    assert ASKED == stage.origin.count("/2.ts")


@test
async def test_s16_a_bomb(stage: Stage) -> None:
    """It is stopped while it is small, and not asked for again."""
    assert "decompression_bomb" == await stage.fails(stage.tweaked({2: "encoding=bomb"}))
    assert 1 == stage.origin.count("/2.ts")


@pytest.mark.parametrize(
    ("tweak", "codes"),
    [
        ("endless=headers", {"bad_response"}),
        ("endless=1xx", {"bad_response"}),
        ("endless=body&chunk_size=4000&chunk_delay=0.001", {"timeout_total", "body_too_large"}),
    ],
    ids=["headers", "interim", "body"],
)
@test
async def test_s17_without_end(stage: Stage, tweak: str, codes: set[str]) -> None:
    """There is a limit, a code for it, and no growth of memory."""
    before = resident_mib()
    assert await stage.fails(stage.tweaked({2: tweak})) in codes
    assert stage.origin.count("/2.ts") <= 2 * ASKED
    assert resident_mib() - before < 60


@test
async def test_s17_a_playlist_without_end(stage: Stage) -> None:
    """It is too large, and that is known before it has filled the memory: no more than the limit is taken."""
    before = resident_mib()
    playlist = stage.origin.url("/endless.m3u8", endless="body")
    stage.origin.put("/endless.m3u8", b"#EXTM3U\n" + b"# a line of a playlist that goes on\n" * 30_000)
    assert await stage.fails(playlist) in {"body_too_large", "playlist_too_large"}
    sent = [visit.sent_bytes for visit in stage.origin.visits() if visit.path == "/endless.m3u8"]
    assert PLAYLIST_BYTES < max(sent) < PLAYLIST_BYTES + ON_THE_WAY_BYTES
    assert resident_mib() - before < 150


@pytest.mark.parametrize("interim", [1, 10])
@test
async def test_s17_some_interim_answers_are_fine(stage: Stage, interim: int) -> None:
    """They are passed over."""
    await stage.makes_the_film(stage.tweaked({2: f"interim={interim}"}))
    assert [1] * COUNT == stage.counts()


def resident_mib() -> float:
    """What this process holds in memory, without what it could give back at once."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


# -- S18, S19: hosts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2])
@test
async def test_s18_a_limit_on_connections(stage: Stage, limit: int) -> None:
    """A server that resets all but two: fewer are used, and no segment fails for it."""
    stage.origin.max_connections = limit
    await stage.makes_the_film(stage.tweaked(everywhere="delay=0.05"))
    assert [1] * COUNT == stage.whole()


@test
async def test_s19_a_slow_mirror_starves_nobody(stage: Stage) -> None:
    """While one host is slow, a task of another host gets on as if it was alone."""
    slow = await Origin.start(reactor)
    try:
        for number, segment in enumerate(stage.segments):
            slow.put(f"/{number}.ts", segment, content_type="video/mp2t")
        lines = [attrs.evolve(line, uri=slow.url(f"/{n}.ts", hang="body")) for n, line in enumerate(stage.lines())]
        waiting = Deferred.fromCoroutine(stage.run(stage.put_list(lines, path="/slow.m3u8"), number=2))
        await stage.until(lambda: len(slow.visits()) == FIRST)
        started = reactor.seconds()
        job = stage.job(stage.task(stage.tweaked()))
        await job.run()
        assert reactor.seconds() - started < 3
        assert [1] * COUNT == stage.counts()
        await stopped(waiting)
    finally:
        await slow.stop()
