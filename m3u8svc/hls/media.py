"""
What arrived instead of a segment? Recognises the container, cuts a disguise off its front, checks it to its end.

A segment is judged on its first 128 KiB, or on all of it when it is shorter, never on less: so the verdict does not
depend on how the bytes were cut into chunks. In order: text is WebVTT or no media; a container that starts at the first
byte is taken as it is (a clean fMP4 is never cut, whatever is inside); else the first place within 64 KiB where MPEG-TS
packets or fMP4 boxes follow each other is where a fake image ends. One matching byte is never enough: 0x47 is a "G",
and PNG headers hold some.

WebVTT is the one kind that may come packed by gzip although nobody asked for that: some servers store it so and do not
say it. It is unpacked, with a bound.

From there on only what costs next to nothing per byte is checked: the sync byte and the continuity counter of every TS
packet (`hls.packets`), the box headers of an fMP4, the frame headers of packed audio.
"""

import re
import zlib
from collections.abc import Mapping
from typing import Literal, Protocol, assert_never

import attrs

from m3u8svc.errors import NotMedia, SegmentError
from m3u8svc.hls.packets import PACKET, SYNC, PacketWalk
from m3u8svc.wording import Said, joined, said

MediaKind = Literal["ts", "fmp4", "aac", "mp3", "ac3", "vtt"]
"""What a finished segment file holds. aac, mp3 and ac3 are packed audio."""
AudioKind = Literal["aac", "mp3", "ac3"]
DEMUXERS: Mapping[str, str] = {"ts": "mpegts", "fmp4": "mp4"}
"""How libav calls what reads the kinds that may hold a picture."""

HEAD_BYTES = 128 * 1024
MAX_DISGUISE_BYTES = 64 * 1024
MAX_UNPACKED_BYTES = 8 * 1024 * 1024
"""How large a WebVTT segment that came packed may be."""
_PROBED_PACKETS = 8
_NEEDED_PACKETS = 6

_START_BOXES = (b"ftyp", b"styp", b"moof", b"sidx", b"emsg", b"prft")
_BOXES = frozenset((*_START_BOXES, b"moov", b"mdat", b"free", b"skip", b"uuid", b"pdin", b"ssix", b"mfra", b"wide"))
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")
# Found within the first bytes of any media: searching stops there, where counting would read all of the head.
_CONTROL = re.compile(b"[" + re.escape(bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")) + b"]")

_MP3_KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1 layer III
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
)
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


@attrs.frozen(kw_only=True)
class Media:
    """
    What a whole segment is. `damage` says what is wrong inside the container, in both languages, "" when nothing is.
    `complete` says whether its last byte ends a packet, box, frame or line: what tells a full body from a cut one when
    the server did not say how long it is. `sized` says that this is no coincidence: a packet, frame or line may end
    anywhere, and so may a box without a size, while a box that has one is not cut unnoticed.
    """

    kind: MediaKind
    disguise_bytes: int = 0
    damage: str = ""
    complete: bool = True
    sized: bool = False


_NO_CUES = b"WEBVTT\n\n"


class MediaCheck:
    """
    One segment on its way to the disk: `feed` each chunk and store what comes back, then `finish`. Of subtitles
    (`of_texts`) an empty body is a segment without cues: some servers send that.
    """

    def __init__(self, position: int, *, of_texts: bool = False) -> None:
        self._position = position
        self._of_texts = of_texts
        self._head = bytearray()
        self._kind: MediaKind | None = None
        self._disguise_bytes = 0
        self._walk: _Walk | None = None
        self._unpacking: _Unpacking | None = None

    def feed(self, chunk: bytes) -> bytes:
        """
        What to store of everything so far: nothing while undecided, then all from the media's first byte on.

        Raises:
            NotMedia: this is none.
            SegmentError: it is packed, and too large or damaged.
        """
        if self._walk is not None:
            if self._unpacking is not None:
                chunk = self._unpacking.feed(chunk)
            self._walk.feed(chunk)
            return chunk
        self._head += chunk
        if len(self._head) < HEAD_BYTES:
            return b""
        return self._decide(whole=False)

    def finish(self) -> tuple[bytes, Media]:
        """
        The bytes still to store, and what the segment is.

        Raises:
            NotMedia: this is none.
        """
        if self._of_texts and self._walk is None and not self._head:
            self._head += _NO_CUES
        rest = self._decide(whole=True) if self._walk is None else b""
        assert self._walk is not None and self._kind is not None  # _decide sets both or raises
        damage, complete = self._walk.finish()
        if self._unpacking is not None and not self._unpacking.over:
            damage, complete = Said("gzip 数据不完整", "its gzip data are cut off"), False
        sized = isinstance(self._walk, _BoxWalk) and self._walk.sized
        return rest, Media(
            kind=self._kind, disguise_bytes=self._disguise_bytes, damage=damage, complete=complete, sized=sized
        )

    def _decide(self, *, whole: bool) -> bytes:
        body = bytes(self._head)
        self._head = bytearray()
        # The verdict is made on a fixed length: what a large chunk brought beyond it must not count.
        found = recognise(body[:HEAD_BYTES], whole=whole)
        if found is None and _is_packed_webvtt(body[:HEAD_BYTES]):
            found = "vtt", 0
            self._unpacking = _Unpacking(self._position)
            body = self._unpacking.feed(body)
        if found is None:
            raise NotMedia(position=self._position, start=_start_of(body))
        self._kind, self._disguise_bytes = found
        self._walk = _walk_for(self._kind)
        media = body[self._disguise_bytes :]
        self._walk.feed(media)
        return media


def check_init(body: bytes) -> None:
    """
    Make sure that `body` is an fMP4 init section: boxes to its end, a moov among them.

    Raises:
        NotMedia: no boxes at all (position 0).
        SegmentError: boxes, but broken or without moov (position 0).
    """
    if not _boxes_at(body, 0, starts=_BOXES, whole=True):
        raise NotMedia(position=0, start=_start_of(body))
    walk = _BoxWalk(needed=(frozenset({b"moov"}),))
    walk.feed(body)
    damage, _ = walk.finish()
    if damage:
        why = said("初始化段：{damage}", "Media Initialization Section: {damage}", damage=damage)
        raise SegmentError(position=0, reason=why)


# -- Recognising -----------------------------------------------------------------------------------------------------


def recognise(head: bytes, *, whole: bool) -> tuple[MediaKind, int] | None:
    """
    What a segment is by its first `HEAD_BYTES`, or by all of it (`whole`), and how long the disguise in front is.
    """
    if _CONTROL.search(head) is None:
        return ("vtt", 0) if _is_webvtt(head) else None
    if _is_webvtt(head):
        return "vtt", 0
    if _boxes_at(head, 0, starts=_BOXES, whole=whole):
        return "fmp4", 0
    if _packets_at(head, 0, whole=whole):
        return "ts", 0
    tag = id3_length(head)
    if audio := _audio_at(head, tag, whole=whole):
        return audio, 0
    return _disguised(head, whole=whole)


def _is_webvtt(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf")
    return text.startswith(b"WEBVTT") and text[6:7] in (b"", b" ", b"\t", b"\n", b"\r")


def _is_packed_webvtt(head: bytes) -> bool:
    if not head.startswith(b"\x1f\x8b\x08"):
        return False
    try:
        return _is_webvtt(zlib.decompressobj(31).decompress(head, 16))
    except zlib.error:
        return False


class _Unpacking:
    """
    Takes gzip off, no further than to `MAX_UNPACKED_BYTES`.
    """

    def __init__(self, position: int) -> None:
        self._position = position
        self._decoder = zlib.decompressobj(31)
        self._left = MAX_UNPACKED_BYTES

    @property
    def over(self) -> bool:
        """Whether the packed data came to its end."""
        return self._decoder.eof

    def feed(self, chunk: bytes) -> bytes:
        """What `chunk` holds."""
        if self.over:
            return b""
        try:
            unpacked = self._decoder.decompress(chunk, self._left + 1)
        except zlib.error as error:
            why = Said("gzip 数据损坏", "its gzip data are broken")
            raise SegmentError(position=self._position, reason=why) from error
        self._left -= len(unpacked)
        if self._left < 0:
            limit = f"{MAX_UNPACKED_BYTES >> 20} MiB"
            raise SegmentError(
                position=self._position, reason=Said(f"解压后超过 {limit}", f"unpacked it is over {limit}")
            )
        return unpacked


def _packets_at(head: bytes, start: int, *, whole: bool) -> bool:
    """
    Whether TS packets follow each other from `start`: most of the first eight, behind a disguise the first three in any
    case. A body that ends before that is one if every packet it has is in sync, and it has at least one (behind a
    disguise: two).
    """
    end = start + _PROBED_PACKETS * PACKET
    # adaptation_field_control 00 is reserved: a G that has it is a letter, no packet.
    plausible = [
        sync == SYNC and bool(control & 0x30)
        for sync, control in zip(head[start:end:PACKET], head[start + 3 : end : PACKET], strict=False)
    ]
    if len(plausible) < 3:
        room = (len(head) - start) // PACKET
        return whole and room >= (1 if start == 0 else 2) and all(plausible[:room])
    sure = 1 if start == 0 else 3
    return all(plausible[:sure]) and sum(plausible) * _PROBED_PACKETS >= len(plausible) * _NEEDED_PACKETS


def _boxes_at(head: bytes, start: int, *, starts: frozenset[bytes], whole: bool) -> bool:
    """
    Whether an fMP4 box of one of the types in `starts` begins at `start`. Behind a disguise one header is too little
    to go by: another box or the body's end must follow it.
    """
    size, kind, _ = _box_header(head[start : start + 16])
    if kind not in starts or size == -1:
        return False
    if start == 0:
        return size > 0 or kind == b"mdat"
    following = start + size
    return size > 0 and ((whole and following == len(head)) or head[following + 4 : following + 8] in _BOXES)


def _box_header(header: bytes) -> tuple[int, bytes, int]:
    """
    (size, type, header length) of the box that starts here; size -1 when it is none, 0 when it goes to the end.
    """
    size, kind = int.from_bytes(header[:4], "big"), header[4:8]
    if len(kind) < 4:
        return -1, b"", 8
    if size == 1:
        size = int.from_bytes(header[8:16], "big") if len(header) >= 16 else -1
        return (size if size >= 16 else -1), kind, 16
    return (size if size == 0 or size >= 8 else -1), kind, 8


def _disguised(head: bytes, *, whole: bool) -> tuple[MediaKind, int] | None:
    ts = _first_packets(head, whole=whole)
    boxes = _first_boxes(head, whole=whole)
    if boxes is not None and (ts is None or boxes < ts):
        return "fmp4", boxes
    return None if ts is None else ("ts", ts)


def _first_packets(head: bytes, *, whole: bool) -> int | None:
    start = head.find(b"G", 1, MAX_DISGUISE_BYTES)
    image = head.startswith(_IMAGES)
    while start >= 0:
        # Less than three packets are too little to go by, unless there is an image in front of them.
        if (image or len(head) - start > 2 * PACKET) and _packets_at(head, start, whole=whole):
            return start
        start = head.find(b"G", start + 1, MAX_DISGUISE_BYTES)
    return None


def _first_boxes(head: bytes, *, whole: bool) -> int | None:
    found = []
    starts = frozenset(_START_BOXES)
    for kind in _START_BOXES:
        at = head.find(kind, 5, MAX_DISGUISE_BYTES + 4)
        while at >= 0 and not _boxes_at(head, at - 4, starts=starts, whole=whole):
            at = head.find(kind, at + 1, MAX_DISGUISE_BYTES + 4)
        if at >= 0:
            found.append(at - 4)
    return min(found, default=None)


# -- Packed audio ----------------------------------------------------------------------------------------------------


def id3_length(head: bytes) -> int:
    """
    How many bytes of ID3v2 tags stand at the start.
    """
    total = 0
    while head[total : total + 3] == b"ID3" and len(head) >= total + 10:
        size = head[total + 6 : total + 10]
        if max(size) > 127:
            break
        footer = 10 if head[total + 5] & 0x10 else 0
        total += 10 + footer + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    return total


def _audio_at(head: bytes, start: int, *, whole: bool) -> AudioKind | None:
    """
    The kind of audio frames from `start`: one frame followed by another of the same kind, or by the end.
    """
    for kind in ("aac", "mp3", "ac3"):
        length = frame_length(kind, head[start : start + 8])
        if not length:
            continue
        following = head[start + length : start + length + 8]
        if frame_length(kind, following) or (len(following) < 8 and (whole or start + length >= len(head))):
            return kind
    return None


def frame_length(kind: AudioKind, header: bytes) -> int:
    """
    Bytes of the audio frame that starts with `header` (8 bytes), 0 when none does.
    """
    if len(header) < 8:
        return 0
    match kind:
        case "aac":
            return _adts_length(header)
        case "mp3":
            return _mp3_length(header)
        case "ac3":
            return _ac3_length(header)
        case _:
            assert_never(kind)


def _adts_length(header: bytes) -> int:
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or (header[2] >> 2) & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length >= 7 else 0


def _mp3_length(header: bytes) -> int:
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return 0
    first = version == 3
    kbits = _MP3_KBITS[0 if first else 1][bitrate]
    return (144 if first else 72) * kbits * 1000 // _MP3_RATES[version][rate] + ((header[2] >> 1) & 1)


def _ac3_length(header: bytes) -> int:
    if header[:2] != b"\x0b\x77":
        return 0
    if header[5] >> 3 > 10:  # bsid: above 10 is E-AC-3, which gives its length in words
        return 2 * (((header[2] & 7) << 8 | header[3]) + 1)
    rate, code = header[4] >> 6, header[4] & 63
    if rate == 3 or code > 37:
        return 0
    kbits = _AC3_KBITS[code >> 1]
    match rate:
        case 0:
            return 4 * kbits
        case 1:
            return 2 * (kbits * 1000 * 96 // 44100 + (code & 1))
        case _:
            return 6 * kbits


# -- Walking to the end ----------------------------------------------------------------------------------------------


class _Walk(Protocol):
    """
    Follows one container to its end.
    """

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""

    def finish(self) -> tuple[str, bool]:
        """(damage, complete) as in `Media`."""


def _walk_for(kind: MediaKind) -> _Walk:
    match kind:
        case "ts":
            return PacketWalk()
        case "fmp4":
            return _BoxWalk(needed=(frozenset({b"moof", b"moov"}), frozenset({b"mdat"})))
        case "aac" | "mp3" | "ac3":
            return _FrameWalk(kind)
        case "vtt":
            return _LineWalk()
        case _:
            assert_never(kind)


class _BoxWalk:
    """
    fMP4: from top-level box header to box header. Of each set in `needed` one type must be there.
    """

    def __init__(self, *, needed: tuple[frozenset[bytes], ...]) -> None:
        self._needed = needed
        self._seen: set[bytes] = set()
        self._offset = 0
        self._header = b""
        self._kind = b""
        self._left = 0
        self._to_end = False
        self._broken_at: int | None = None

    def feed(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk) and self._broken_at is None and not self._to_end:
            if self._left:
                step = min(self._left, len(chunk) - at)
                self._left -= step
                at += step
            else:
                at = self._read_header(chunk, at)
        self._offset += len(chunk)

    def _read_header(self, chunk: bytes, at: int) -> int:
        """
        Read on in a header that may be spread over chunks; returns where to go on.
        """
        wanted = 16 if self._header[:4] == b"\0\0\0\1" else 8
        taken = chunk[at : at + wanted - len(self._header)]
        self._header += taken
        at += len(taken)
        if len(self._header) < wanted or (wanted == 8 and self._header[:4] == b"\0\0\0\1"):
            return at
        size, kind, length = _box_header(self._header)
        if size == -1 or not kind.isalnum():
            self._broken_at = self._offset + at - length
            return at
        self._seen.add(kind)
        self._kind, self._header = kind, b""
        self._to_end = size == 0
        self._left = max(size - length, 0)
        return at

    @property
    def sized(self) -> bool:
        """Whether every box has said where it ends."""
        return not self._to_end

    def finish(self) -> tuple[str, bool]:
        damages = []
        if self._broken_at is not None:
            damages.append(
                Said(f"第 {self._broken_at} 字节处不是有效的盒子", f"no valid box at byte {self._broken_at}")
            )
        elif self._left:
            kind = self._kind.decode("ascii")
            damages.append(
                Said(
                    f"在盒子 {kind} 中结束，缺 {self._left} 字节",
                    f"it ends in box {kind}, short of {self._left} bytes",
                )
            )
        elif self._header:
            damages.append(Said("在盒子头中结束", "it ends in the header of a box"))
        complete = not damages
        for kinds in self._needed:
            if not kinds & self._seen:
                kind = min(kinds).decode("ascii")
                damages.append(Said(f"缺少 {kind}", f"box {kind} is missing"))
        return joined(damages, zh="；"), complete


class _FrameWalk:
    """
    Packed audio: ID3 tags, then frame after frame. A header may be spread over chunks.
    """

    def __init__(self, kind: AudioKind) -> None:
        self._kind = kind
        self._offset = 0
        self._header = b""
        self._left = 0
        self._broken_at: int | None = None

    def feed(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk) and self._broken_at is None:
            if self._left:
                step = min(self._left, len(chunk) - at)
                self._left -= step
                at += step
                continue
            taken = chunk[at : at + 10 - len(self._header)]
            self._header += taken
            at += len(taken)
            if len(self._header) == 10:
                self._read_header(self._offset + at - 10)
        self._offset += len(chunk)

    def _read_header(self, at: int) -> None:
        header, self._header = self._header, b""
        if header.startswith(b"TAG") and self._kind == "mp3":
            length = 128  # ID3v1: the last 128 bytes
        else:
            length = id3_length(header) or frame_length(self._kind, header[:8])
        if length < 10:
            self._broken_at = at
        else:
            self._left = length - 10

    def finish(self) -> tuple[str, bool]:
        if self._broken_at is not None:
            at = self._broken_at
            return Said(f"第 {at} 字节处失去音频帧同步", f"audio frames are out of sync at byte {at}"), False
        if self._left or self._header:
            return Said("最后一个音频帧不完整", "the last audio frame is cut off"), False
        return "", True


class _LineWalk:
    """
    WebVTT: only its last byte can be judged, unless it is nothing but the signature.
    """

    def __init__(self) -> None:
        self._last = b""
        self._has_lines = False

    def feed(self, chunk: bytes) -> None:
        self._has_lines = self._has_lines or b"\n" in chunk or b"\r" in chunk
        self._last = chunk[-1:] or self._last

    def finish(self) -> tuple[str, bool]:
        return "", not self._has_lines or self._last in (b"\n", b"\r")


def _start_of(body: bytes) -> str:
    """
    The first bytes for people: text as it is, binary as hexadecimal.
    """
    start = body[:32]
    if _CONTROL.search(start) is None:
        return start.decode("utf-8", "replace")
    return start[:16].hex(" ")
