"""
Makes the streams of the matrix and knows what must come out of them.

Debian's ffmpeg encodes each piece of picture and of sound once and cuts it into segments of a second; the same cut is
in many streams. What ffmpeg cannot do is done here: the clocks of fragments (`boxes`), packed audio, subtitles,
encryption, byte ranges, and all playlists. Everything is made below one directory and made once.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import attrs
import av

from tests.integration.media import encrypted
from tests.matrix import boxes
from tests.matrix.axes import Audio, Container, Layout, Protection, Row, Timing, Video
from tests.matrix.look import Sound, decode, listen, run_ffmpeg

PICTURES_PER_S = 25
TICKS_PER_S = 90_000
WRAP = 2**33
LATE_PACKETS = 7
"""So many packets of a late group are missing: its first key frame and some that need it."""
LANGUAGES = ("en", "fr")
PITCH_HZ = {"en": 1000, "fr": 1900}
BEEP_AT_S = {"en": 0.4, "fr": 0.6}
"""Where in every second a beep of 0.1 s begins."""
FIRST_NUMBER = 7
"""The media sequence number of the first segment, which is also its default IV."""
CUE_AT_S, CUE_S = 0.48, 0.4
"""Where in every second a cue is shown, and for how long."""


# -- What is encoded -------------------------------------------------------------------------------------------------


@attrs.frozen
class Piece:
    """
    Something encoded in one go: so many seconds of a source of lavfi.
    """

    name: str
    seconds: int
    source: str
    filters: str = "null"
    size: tuple[int, int] = (160, 90)
    h264: str = ""
    h265: str = ""


WHOLE = Piece("whole", 8, "testsrc2")
FILM = Piece("film", 3, "testsrc2", "hue=h=60")
SPOT = Piece("spot", 2, "mandelbrot")
WIDE = Piece("wide", 2, "mandelbrot", size=(320, 180))
OTHER = Piece("other", 2, "mandelbrot", h264="cabac=0:ref=1:bframes=0:8x8dct=0", h265="ref=1:bframes=0")
LAST = Piece("last", 3, "testsrc2", "hue=h=180")

_VIDEO = {
    Video.H264: "-c:v libx264 -preset veryfast -flags +cgop -x264-params keyint=25:min-keyint=25:scenecut=0:bframes=2",
    Video.HEVC: "-c:v libx265 -preset ultrafast -x265-params"
    " log-level=error:pools=none:frame-threads=1:keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=2",
}
_AUDIO = {
    Audio.AAC: "-c:a aac -b:a 64k",
    Audio.AC3: "-c:a ac3 -b:a 96k",
    Audio.MP3: "-c:a libmp3lame -b:a 64k",
}
SAMPLES_PER_FRAME = {Audio.AAC: 1024, Audio.AC3: 1536, Audio.MP3: 1152}


@attrs.frozen
class Group:
    """
    A stretch of a stream on one clock. `late`: the beginning of its picture is missing.
    """

    piece: Piece
    clock_s: Fraction
    late: bool = False


def groups(timing: Timing) -> tuple[Group, ...]:
    """
    What stands between the discontinuities of a stream.
    """
    first, second, third = Fraction(10), Fraction(4), Fraction(50)
    match timing:
        case Timing.STEADY:
            return (Group(WHOLE, first),)
        case Timing.WRAP:
            return (Group(WHOLE, Fraction(95440)),)  # the clock's end is at 95443.7 s
        case Timing.RESET:
            return Group(FILM, first), Group(SPOT, second), Group(LAST, third)
        case Timing.SIZE:
            return Group(FILM, first), Group(WIDE, second), Group(LAST, third)
        case Timing.PARAMETERS:
            return Group(FILM, first), Group(OTHER, second), Group(LAST, third)
        case Timing.LATE:
            return Group(FILM, first, late=True), Group(SPOT, second, late=True), Group(LAST, third)


# -- What must come out ----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Cue:
    """
    A line of subtitles, at a time from the beginning of its group.
    """

    start_s: float
    end_s: float
    text: str


@attrs.frozen(kw_only=True)
class Span:
    """
    What must come out of one group, with its times counted from the group's beginning.
    """

    seconds: int
    size: tuple[int, int]
    first_frame: int
    """The frames before this one are missing, or cannot be decoded for want of the missing ones."""
    frames: tuple[str, ...] = attrs.field(repr=False)
    sounds: tuple[Sound, ...] = attrs.field(repr=False)
    """Of each language."""
    cues: tuple[Cue, ...]


@attrs.frozen(kw_only=True)
class Stream:
    """
    A stream: its playlist below the root, the languages of its sound ("" for one that is not told), and its truth.
    """

    row: Row
    path: str
    languages: tuple[str, ...]
    spans: tuple[Span, ...]


def cues_of(group: Group) -> tuple[Cue, ...]:
    """
    The subtitles of a group.
    """
    starts = [second + CUE_AT_S for second in range(group.piece.seconds)]
    return tuple(
        Cue(start_s=start, end_s=start + CUE_S, text=f"{group.piece.name} {number}")
        for number, start in enumerate(starts)
    )


# -- Cuts ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Cut:
    """
    Segments of one track of one group, and their init section.
    """

    segments: tuple[Path, ...]
    durations_s: tuple[float, ...]
    init: Path | None = None


class Workshop:
    """
    Encodes and cuts, each kept below `directory` and made when it is first asked for.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self._pictures: dict[Path, tuple[str, ...]] = {}
        self._sounds: dict[Path, Sound] = {}

    def picture(self, codec: Video, piece: Piece) -> Path:
        """The encoded picture of a piece."""
        more = piece.h264 if codec is Video.H264 else piece.h265
        settings = _VIDEO[codec].split()
        settings[-1] += f":{more}" if more else ""

        def encode(place: Path) -> None:
            width, height = piece.size
            source = f"{piece.source}=s={width}x{height}:r={PICTURES_PER_S},{piece.filters},format=yuv420p"
            run_ffmpeg("-f", "lavfi", "-t", piece.seconds, "-i", source, *settings, place / "encoded.nut")

        return self._made(f"{piece.name}-{codec}", encode) / "encoded.nut"

    def sound(self, codec: Audio, seconds: int, language: str) -> Path:
        """The encoded sound of so many seconds."""
        beep = f"between(mod(t,1),{BEEP_AT_S[language]},{BEEP_AT_S[language] + 0.1})"
        source = f"aevalsrc=exprs='0.5*sin(2*PI*{PITCH_HZ[language]}*t)*{beep}':s=48000"

        def encode(place: Path) -> None:
            run_ffmpeg("-f", "lavfi", "-t", seconds, "-i", source, *_AUDIO[codec].split(), place / "encoded.nut")

        return self._made(f"{language}-{seconds}-{codec}", encode) / "encoded.nut"

    def frames(self, path: Path) -> tuple[str, ...]:
        """The hashes of an encoded picture's frames."""
        if path not in self._pictures:
            picture, complaints = decode(path)
            assert complaints == ""
            self._pictures[path] = picture.frames
        return self._pictures[path]

    def heard(self, path: Path) -> Sound:
        """What an encoded sound is decoded to."""
        if path not in self._sounds:
            self._sounds[path] = listen(path)[0]
        return self._sounds[path]

    def span(self, row: Row, group: Group) -> Span:
        """The truth of a group in the stream of a row."""
        piece = group.piece
        first_frame = PICTURES_PER_S if group.late else 0
        languages = LANGUAGES[: 2 if row.layout is Layout.TWO else 1] if row.audio is not Audio.NONE else ()
        return Span(
            seconds=piece.seconds,
            size=piece.size,
            first_frame=first_frame,
            frames=self.frames(self.picture(row.video, piece))[first_frame:],
            sounds=tuple(self.heard(self.sound(row.audio, piece.seconds, language)) for language in languages),
            cues=cues_of(group) if row.layout is Layout.SUBTITLES else (),
        )

    def main(self, row: Row, group: Group) -> Cut:
        """The main track of a group in the stream of a row."""
        muxed = row.audio is not Audio.NONE and row.layout in (Layout.ONE, Layout.SUBTITLES)
        return self.cut(
            row.container,
            group,
            video=self.picture(row.video, group.piece),
            audio=self.sound(row.audio, group.piece.seconds, LANGUAGES[0]) if muxed else None,
        )

    def cut(self, container: Container, group: Group, *, video: Path | None, audio: Path | None) -> Cut:
        """Segments of a group with these encodes in them."""
        inputs = [path for path in (video, audio) if path is not None]
        name = "-".join([container, *(path.parent.name for path in inputs), str(group.clock_s), *["late"] * group.late])

        def make(place: Path) -> None:
            options: list[object] = [word for path in inputs for word in ("-i", path)]
            options += [word for number in range(len(inputs)) for word in ("-map", number)]
            options += ["-c", "copy", "-f", "hls", "-hls_time", 0.9, "-hls_list_size", 0]
            options += ["-hls_segment_filename", f"%d.{SUFFIX[container]}"]
            if video is not None and "hevc" in video.parent.name and container is Container.FMP4:
                options += ["-tag:v", "hvc1"]
            if group.late and video is not None:
                options += ["-copyinkf:v", "-bsf:v", f"noise=drop='lt(n,{LATE_PACKETS})'"]
            if container is Container.TS:
                options += ["-output_ts_offset", float(group.clock_s), "-muxdelay", 0, "-muxpreload", 0]
            else:
                options += ["-output_ts_offset", boxes.MARGIN_S]
                options += ["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"]
            run_ffmpeg(*options, "index.m3u8", cwd=place)
            if container is Container.FMP4:
                boxes.place(place / "init.mp4", sorted(place.glob("*.m4s")), group.clock_s)

        place = self._made(name, make)
        listed = (place / "index.m3u8").read_text().splitlines()
        return Cut(
            tuple(place / line for line in listed if line and not line.startswith("#")),
            tuple(float(line[8:].rstrip(",")) for line in listed if line.startswith("#EXTINF:")),
            place / "init.mp4" if container is Container.FMP4 else None,
        )

    def packed(self, codec: Audio, group: Group, audio: Path) -> Cut:
        """Segments of sound without a container, each with its time in an ID3 tag before it."""

        def make(place: Path) -> None:
            with av.open(str(audio)) as container:
                packets = [packet for packet in container.demux(audio=0) if packet.size]
                for second in range(group.piece.seconds):
                    mine = [packet for packet in packets if _second(packet, group) == second]
                    time = group.clock_s + mine[0].pts * mine[0].time_base
                    head = adts_header if codec is Audio.AAC else lambda payload: b""
                    data = b"".join(head(bytes(packet)) + bytes(packet) for packet in mine)
                    (place / f"{second}.{codec}").write_bytes(id3_time(int(time * TICKS_PER_S)) + data)

        place = self._made(f"packed-{audio.parent.name}-{group.clock_s}", make)
        seconds = range(group.piece.seconds)
        return Cut(tuple(place / f"{second}.{codec}" for second in seconds), (1.0,) * len(seconds))

    def subtitles(self, group: Group) -> Cut:
        """WebVTT, a segment and a cue a second, each with a map of its own."""
        cues = cues_of(group)

        def make(place: Path) -> None:
            for second, cue in enumerate(cues):
                ticks = int((group.clock_s + second) * TICKS_PER_S) % WRAP
                text = f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:{_vtt_time(second)}\n\n"
                text += f"{_vtt_time(cue.start_s)} --> {_vtt_time(cue.end_s)}\n{cue.text}\n"
                (place / f"{second}.vtt").write_text(text)

        place = self._made(f"text-{group.piece.name}-{group.clock_s}", make)
        return Cut(tuple(place / f"{second}.vtt" for second in range(len(cues))), (1.0,) * len(cues))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """A directory that `make` filled; whole or not there, whoever else makes it at the same time."""
        place = self.directory / name
        if not place.exists():
            unfinished = Path(tempfile.mkdtemp(dir=self.directory, prefix="unfinished-"))
            make(unfinished)
            try:
                unfinished.rename(place)
            except OSError:
                assert place.exists(), f"{unfinished} cannot become {place}"
                shutil.rmtree(unfinished)
        return place


SUFFIX = {Container.TS: "ts", Container.FMP4: "m4s"}


def _second(packet: av.Packet, group: Group) -> int:
    return min(int(packet.pts * packet.time_base), group.piece.seconds - 1)


def adts_header(payload: bytes) -> bytes:
    """
    What stands before an AAC-LC frame of one channel at 48 kHz.
    """
    size = len(payload) + 7
    return bytes([0xFF, 0xF1, 0x4C, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC])


def id3_time(ticks: int) -> bytes:
    """
    The ID3 tag that says when packed audio begins (RFC 8216 3.4).
    """
    frame = b"com.apple.streaming.transportStreamTimestamp\0" + (ticks % WRAP).to_bytes(8)
    return b"ID3\x04\0\0" + _syncsafe(len(frame) + 10) + b"PRIV" + _syncsafe(len(frame)) + b"\0\0" + frame


def _syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _vtt_time(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}"


# -- Streams ---------------------------------------------------------------------------------------------------------


def make_stream(row: Row, root: Path, workshop: Workshop) -> Stream:
    """
    The stream of a row, in a directory of its name below `root`.
    """
    maker = _Maker(row, root / row.name, workshop)
    maker.write()
    languages = LANGUAGES[: {Layout.SEPARATE: 1, Layout.TWO: 2}.get(row.layout, 0)]
    muxed = ("",) if row.audio is not Audio.NONE and not languages else ()
    return Stream(
        row=row,
        path=f"/{row.name}/{maker.entry}",
        languages=languages or muxed,
        spans=tuple(workshop.span(row, group) for group in groups(row.timing)),
    )


@attrs.define
class _Maker:
    row: Row
    place: Path
    workshop: Workshop

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return groups(self.row.timing)

    @property
    def entry(self) -> str:
        return "main.m3u8" if self.row.layout is Layout.ONE else "master.m3u8"

    def write(self) -> None:
        self.place.mkdir()
        row, lines = self.row, ["#EXTM3U", "#EXT-X-VERSION:7"]
        self._write_media("main", [self.workshop.main(row, group) for group in self.groups], SUFFIX[row.container])
        if row.layout is Layout.ONE:
            return
        attributes = "BANDWIDTH=900000,RESOLUTION=160x90"
        if row.layout is Layout.SUBTITLES:
            cuts = [self.workshop.subtitles(group) for group in self.groups]
            self._write_media("text", cuts, "vtt")
            lines.append(_rendition("SUBTITLES", "en", "text"))
            attributes += ',SUBTITLES="group"'
        else:
            for language in LANGUAGES[: 2 if row.layout is Layout.TWO else 1]:
                cuts = [self._rendition(group, language) for group in self.groups]
                self._write_media(language, cuts, cuts[0].segments[0].suffix[1:])
                lines.append(_rendition("AUDIO", language, language))
            attributes += ',AUDIO="group"'
        lines += [f"#EXT-X-STREAM-INF:{attributes}", "main.m3u8"]
        (self.place / "master.m3u8").write_text("\n".join(lines) + "\n")

    def _rendition(self, group: Group, language: str) -> Cut:
        row, shop = self.row, self.workshop
        audio = shop.sound(row.audio, group.piece.seconds, language)
        if row.container is Container.TS and language != LANGUAGES[0]:
            return shop.packed(row.audio, group, audio)
        return shop.cut(row.container, attrs.evolve(group, late=False), video=None, audio=audio)

    # -- One media playlist

    def _write_media(self, name: str, cuts: Sequence[Cut], suffix: str) -> None:
        """The playlist `name`.m3u8 and its files."""
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{FIRST_NUMBER}"]
        lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
        files = _Files(self.place, name, self.row.protection)
        number, init = FIRST_NUMBER, b""
        for nth, cut in enumerate(cuts):
            lines += ["#EXT-X-DISCONTINUITY"] * (nth > 0)
            if cut.init is not None and (told := cut.init.read_bytes()) != init:
                init = told
                lines += files.add_init(f"{name}-init{nth}.mp4", init)
            lines += files.key_lines() if nth == 0 or cut.init is not None else []
            for path, duration_s in zip(cut.segments, cut.durations_s, strict=True):
                lines.append(f"#EXTINF:{duration_s:.6f},")
                lines += files.add(f"{name}-{number}.{suffix}", path, number)
                number += 1
        lines.append("#EXT-X-ENDLIST")
        (self.place / f"{name}.m3u8").write_text("\n".join(lines) + "\n")


class _Files:
    """
    The files of one media playlist, and what the playlist says of them.
    """

    def __init__(self, place: Path, name: str, protection: Protection) -> None:
        self._place = place
        self._name = name
        self._protection = protection
        self._key = os.urandom(16)
        self._one_file = place / f"{name}.bin"
        if protection is Protection.AES:
            (place / f"{name}.key").write_bytes(self._key)

    def key_lines(self, iv: bytes | None = None) -> list[str]:
        """The key of what follows; without an IV that is the media sequence number."""
        if self._protection is not Protection.AES:
            return []
        told = "" if iv is None else f",IV=0x{iv.hex()}"
        return [f'#EXT-X-KEY:METHOD=AES-128,URI="{self._name}.key"{told}']

    def add_init(self, name: str, data: bytes) -> list[str]:
        """An init section. An encrypted one has no number, so its IV must be told."""
        if self._protection is Protection.RANGES:
            return [f'#EXT-X-MAP:URI="{self._one_file.name}",BYTERANGE="{self._append(data)}"']
        iv = os.urandom(16)
        if self._protection is Protection.AES:
            data = encrypted(data, self._key, iv)
        (self._place / name).write_bytes(data)
        return [*self.key_lines(iv), f'#EXT-X-MAP:URI="{name}"']

    def add(self, name: str, path: Path, number: int) -> list[str]:
        """A segment."""
        if self._protection is Protection.RANGES:
            return [f"#EXT-X-BYTERANGE:{self._append(path.read_bytes())}", self._one_file.name]
        if self._protection is Protection.AES:
            (self._place / name).write_bytes(encrypted(path.read_bytes(), self._key, number.to_bytes(16)))
        else:
            os.link(path, self._place / name)
        return [name]

    def _append(self, data: bytes) -> str:
        with self._one_file.open("ab") as file:
            start = file.tell()
            file.write(data)
        return f"{len(data)}@{start}"


def _rendition(kind: str, language: str, name: str) -> str:
    default = "YES" if language == LANGUAGES[0] else "NO"
    told = f'TYPE={kind},GROUP-ID="group",NAME="{language.upper()}",LANGUAGE="{language}"'
    return f'#EXT-X-MEDIA:{told},DEFAULT={default},AUTOSELECT=YES,URI="{name}.m3u8"'
