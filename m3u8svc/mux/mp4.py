"""
One output file: its container, its tracks, its end.
"""

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction

import attrs
import av
from av.container import OutputContainer
from av.stream import Disposition, Stream

from m3u8svc.mux.language import iso_639_2
from m3u8svc.mux.output import OpenFile, TargetFile, survive
from m3u8svc.mux.protocol import Fault, Job, Outbox, Refused, TrackInfo
from m3u8svc.mux.subtitles import SubtitleTrack
from m3u8svc.mux.texts import TextStream, leave_out_empty
from m3u8svc.mux.timeline import Lane
from m3u8svc.mux.tracks import AnyPacket, AnyStream, Key, Track, form_of
from m3u8svc.wording import joined, said

WRITE_BYTES = 1 << 20
_INTERLEAVE_US = 2_000_000
"""How much of audio and video is sorted when there are subtitles: between cues libav would wait for ten seconds."""


@attrs.frozen(kw_only=True)
class Wanted:
    """
    A stream of the source that gets a track in a file.
    """

    key: Key
    info: TrackInfo
    stream: AnyStream
    lane: Lane


class Mp4:
    """
    One MP4 being written.

    libav is driven with care: languages and the like are set before the header; the time base of a track is known only
    after it; ``flush_packets=0``, or every packet is a write of its own.
    """

    def __init__(self, job: Job, path: str, outbox: Outbox, open_file: OpenFile) -> None:
        self.path = path
        self.file = TargetFile(path, alive=outbox.alive, open_file=open_file)
        self.tracks: dict[Key, Track] = {}
        self.texts: list[TextStream] = []
        options = {"movflags": "+faststart"} if job.faststart else {}
        self._output = self._open_output(job, self.file, options)
        self.mux_one = self._output.mux_one

    def _open_output(self, job: Job, file: io.RawIOBase, options: dict[str, str]) -> OutputContainer:
        # bitexact keeps the version of libav out of the file, and the names of tracks, which only udta can hold.
        flags = {} if any(track.name for track in job.tracks) else {"fflags": "+bitexact"}
        if any(track.kind == "subtitles" for track in job.tracks):
            flags["max_interleave_delta"] = str(_INTERLEAVE_US)
        output = av.open(
            file,
            "w",
            format="mp4",
            container_options={"flush_packets": "0"} | flags | options,
            buffer_size=WRITE_BYTES,
            io_open=lambda url, flags, options: self.file.reader(),
        )
        if job.file_time is not None:
            made = datetime.fromtimestamp(int(job.file_time), UTC)
            output.metadata["creation_time"] = made.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        return output

    def start(self, wanted: Iterable[Wanted], subtitles: Iterable[SubtitleTrack] = ()) -> None:
        """
        Write the header, with a track for each of these.

        Raises:
            Refused: MP4 does not know a codec.
        """
        copies = [(want, self._add_copy(want)) for want in wanted]
        self.texts = [track.begin_file(self._output) for track in subtitles]
        start_encoding(self._output, copies)
        for want, copy in copies:
            base = copy.time_base
            assert base is not None  # the header is written
            want.lane.set_rate(base.denominator // base.numerator)
            self.tracks[want.key] = new_track(want, copy, base)

    def takes(self, key: Key) -> bool:
        """Whether packets of this stream can be written now."""
        return key in self.tracks

    def write(self, packet: AnyPacket) -> None:
        """Hand one packet to the muxer."""
        self.mux_one(packet)

    def close(self) -> None:
        """
        Write the trailer; verification decides what an error of it means. Text tracks without a text are left out.

        Raises:
            OSError: the disk does not take it.
        """
        try:
            self._output.close()
        except av.FFmpegError as error:
            survive(error)
        if not all(texts.written for texts in self.texts):
            leave_out_empty(self.file)

    def _add_copy(self, want: Wanted) -> Stream:
        try:
            copy: Stream = self._output.add_stream_from_template(want.stream, opaque=True)
        except ValueError as error:
            zh, en = "MP4 不支持编码 {codec}", "MP4 does not take the codec {codec}"
            raise Refused(Fault.UNSUPPORTED, said(zh, en, codec=want.stream.codec_context.name)) from error
        if want.stream.codec_context.name == "hevc":
            copy.codec_context.codec_tag = "hvc1"
        if language := iso_639_2(want.info.language):
            copy.metadata["language"] = language
        if want.info.name:
            copy.metadata["title"] = copy.metadata["handler_name"] = want.info.name
        if want.info.kind != "main":
            copy.disposition = Disposition.default if want.info.default else Disposition(0)
        return copy


def start_encoding(output: OutputContainer, copies: Iterable[tuple[Wanted, Stream]]) -> None:
    """
    Write the header, with these streams.

    Raises:
        Refused: MP4 cannot describe one of them.
        OSError: the disk does not take it.
    """
    try:
        output.start_encoding()
    except av.FFmpegError as error:
        survive(error)
        names = joined((want.stream.codec_context.name for want, _ in copies), zh="、", en=", ")
        zh, en = "无法写入 MP4 文件头（{names}）：{error}", "the header of the MP4 cannot be written ({names}): {error}"
        raise Refused(Fault.UNSUPPORTED, said(zh, en, names=names, error=error.strerror)) from error


def new_track(want: Wanted, copy: Stream, base: Fraction) -> Track:
    """
    The track of a stream that was just added to an output, whose time base is `base`.
    """
    return Track(
        kind=want.stream.type,
        codec=want.stream.codec_context.name,
        stream=copy,
        lane=want.lane,
        time_base=base,
        extradata=want.stream.codec_context.extradata or b"",
        form=form_of(want.stream),
        playlist=want.info.track,
        language=iso_639_2(want.info.language),
    )
