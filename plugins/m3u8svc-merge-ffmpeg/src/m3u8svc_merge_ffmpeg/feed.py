"""
What goes into ffmpeg's standard input: segments in order, as one stream it reads without guessing.

A pipe holds one stream of one kind. What one pipe cannot carry correctly is refused, with the segment named, instead
of becoming a file that is silently wrong. Blocking: its calls belong into a thread.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO

from m3u8svc.plugin import Gap, MediaFile, MergeError, Said
from m3u8svc_merge_ffmpeg.timeline import PACKET, Programme, Timeline, find_programme

CHUNK_BYTES = PACKET * 4096
MOST_WARNINGS = 100
USE_MP4 = "“ffmpeg” cannot merge that, take “mp4”"
_ID3_HEADER = 10
_EAC3_BSID = 10


class Feed:
    """
    The parts of one merge. Segment by segment: `begin`, then `read` until it gives nothing; `skip` for a gap.
    """

    def __init__(self) -> None:
        self.input_format = ""
        """What ffmpeg is told to read; known after the first `begin`."""
        self.warnings: list[Said] = []
        self.missing_s = 0.0
        """Time of segments that are not there and whose time this feed could not keep."""
        self._kind = ""
        self._init_hash = b""
        self._splice = 0
        self._programme: Programme | None = None
        self._timeline = Timeline()
        self._file: BinaryIO | None = None
        self._pending = b""

    def skip(self, gap: Gap) -> None:
        """
        A segment that is not there.
        """
        self._timeline.skip(gap.duration_s, keep=gap.keep)
        if self._kind == "ts":
            return
        if self._kind == "fmp4" and not gap.keep:
            self._warn(
                Said(
                    f"第 {gap.position} 个分片被略去：fMP4 的时间轴保持不变，该处留有 {gap.duration_s:.3f} 秒空白",
                    f"segment {gap.position} is left out: fMP4 keeps its clock, so {gap.duration_s:.3f} s stay empty",
                )
            )
        elif self._kind != "fmp4" and gap.keep:
            self.missing_s += gap.duration_s
            self._warn(
                Said(
                    f"第 {gap.position} 个分片缺失，无法保留其时间，后面的内容提前 {gap.duration_s:.3f} 秒",
                    f"segment {gap.position} is missing and its time cannot be kept: what follows comes "
                    f"{gap.duration_s:.3f} s early",
                )
            )

    def begin(self, part: MediaFile) -> None:
        """
        Open the next segment.

        Raises:
            MergeError: it does not fit the stream so far; the text names it.
        """
        self._check_kind(part)
        self.close()
        self._file = part.path.open("rb", buffering=0)
        head = self._file.read(CHUNK_BYTES) or b""
        if part.kind == "ts":
            self._begin_ts(part, head)
            return
        if part.kind == "fmp4":
            head = self._init(part) + head
        else:
            head = self._without_id3(head)
        self._splice = part.discontinuity_sequence
        if not self.input_format:
            self.input_format = _input_format(part.kind, head)
        self._pending = head

    def read(self) -> bytes:
        """
        The next bytes of the segment, b"" at its end.
        """
        piece, self._pending = self._pending, b""
        if self._file is not None and len(piece) < CHUNK_BYTES:
            piece += self._file.read(CHUNK_BYTES - len(piece)) or b""
        if not piece:
            self.close()
        elif self._kind == "ts":
            return self._timeline.shift(piece)
        return piece

    def close(self) -> None:
        """
        Let go of the segment.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        self._pending = b""

    # -- By kind

    def _check_kind(self, part: MediaFile) -> None:
        if part.kind == "vtt":
            raise MergeError(
                reason=Said(
                    f"“ffmpeg” 不能合并字幕（WebVTT），第 {part.position} 个分片",
                    f"“ffmpeg” cannot merge subtitles (WebVTT), segment {part.position}",
                )
            )
        if self._kind and part.kind != self._kind:
            raise MergeError(
                reason=Said(
                    f"第 {part.position} 个分片是 {part.kind}，之前是 {self._kind}，“ffmpeg” 不能合并，请改用“mp4”",
                    f"segment {part.position} is {part.kind}, those before are {self._kind}: {USE_MP4}",
                )
            )
        self._kind = part.kind

    def _begin_ts(self, part: MediaFile, head: bytes) -> None:
        programme = find_programme(head) or self._programme
        if programme is None:
            raise MergeError(
                reason=Said(
                    f"第 {part.position} 个分片没有节目表（PAT/PMT），无法读取",
                    f"segment {part.position} has no programme table (PAT/PMT) and cannot be read",
                )
            )
        if self._programme is None:
            self._programme = programme
        self._check_programme(part, self._programme, programme)
        if self._timeline.begin(head, programme, part.discontinuity_sequence):
            self._warn(
                Said(
                    f"第 {part.position} 个分片的时间戳跳变，已接在前一分片之后",
                    f"the time stamps of segment {part.position} jump; it was joined to the one before",
                )
            )
        self.input_format = "mpegts"
        self._pending = head

    def _check_programme(self, part: MediaFile, first: Programme, programme: Programme) -> None:
        """ffmpeg silently loses what a later table adds or moves."""
        strange = {pid: kind for pid, kind in programme.media.items() if first.media.get(pid) != kind}
        if strange or programme.pmt_pid != first.pmt_pid:
            raise MergeError(
                reason=Said(
                    f"第 {part.position} 个分片的节目表（PMT）不同，“ffmpeg” 不能合并，请改用“mp4”",
                    f"segment {part.position} has another programme table (PMT): {USE_MP4}",
                )
            )
        if (gone := len(first.media) - len(programme.media)) > 0:
            self._warn(
                Said(
                    f"第 {part.position} 个分片的节目表（PMT）少了 {gone} 个流",
                    f"the programme table (PMT) of segment {part.position} has {gone} streams less",
                )
            )

    def _init(self, part: MediaFile) -> bytes:
        """The init section, before the first segment only."""
        body = b"" if part.init is None else Path(part.init).read_bytes()
        digest = hashlib.sha256(body).digest()
        if not self._init_hash:
            if not body:
                raise MergeError(
                    reason=Said(
                        f"第 {part.position} 个分片缺少初始化段（EXT-X-MAP）",
                        f"segment {part.position} has no Media Initialization Section (EXT-X-MAP)",
                    )
                )
            self._init_hash = digest
            return body
        if digest != self._init_hash:
            raise MergeError(
                reason=Said(
                    f"第 {part.position} 个分片的初始化段不同，“ffmpeg” 不能合并，请改用“mp4”",
                    f"segment {part.position} has another Media Initialization Section: {USE_MP4}",
                )
            )
        if part.discontinuity_sequence != self._splice:
            raise MergeError(
                reason=Said(
                    f"第 {part.position} 个分片处有拼接（fMP4），“ffmpeg” 不能合并，请改用“mp4”",
                    f"segment {part.position} is behind a discontinuity (fMP4): {USE_MP4}",
                )
            )
        return b""

    def _without_id3(self, head: bytes) -> bytes:
        """Packed audio begins with a tag that carries its clock; in the middle of a stream it is noise."""
        while head[:3] == b"ID3" and len(head) >= _ID3_HEADER:
            length = _ID3_HEADER + id3_length(head)
            assert self._file is not None  # `begin` opened it
            while len(head) < length and (more := self._file.read(length - len(head))):
                head += more
            head = head[length:] or self._file.read(CHUNK_BYTES) or b""
        return head

    def _warn(self, text: Said) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(text)
        elif len(self.warnings) == MOST_WARNINGS:
            self.warnings.append(Said("还有更多警告，不再列出", "there are more warnings"))


def id3_length(tag: bytes) -> int:
    """
    Bytes of an ID3v2 tag after its header: four times seven bits, and a footer if there is one.
    """
    size = 0
    for byte in tag[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (_ID3_HEADER if tag[5] & 0x10 else 0)


def _input_format(kind: str, head: bytes) -> str:
    if kind == "ac3" and len(head) > 5 and head[5] >> 3 > _EAC3_BSID:
        return "eac3"
    return {"fmp4": "mp4", "aac": "aac", "mp3": "mp3", "ac3": "ac3"}[kind]
