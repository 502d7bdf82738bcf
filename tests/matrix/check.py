"""
Whether an MP4 is what its stream was: every frame, every packet of sound, and all of them in step.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import av

from tests.matrix.axes import Audio, Layout
from tests.matrix.look import Picture, Sound, decode, listen
from tests.matrix.streams import PICTURES_PER_S, SAMPLES_PER_FRAME, Span, Stream

EVEN_S = 0.002
"""How far a frame or packet may be from its place in its group: time stamps are rounded."""
JOINT_S = 0.1
"""How much longer or shorter than its content a group may last: its sound ends a little later than its picture."""
CUE_S = 0.05
ISO_639_2 = {"en": "eng", "fr": "fra", "": "und"}


def check(media: Path, stream: Stream) -> list[str]:
    """
    What is wrong with a result; nothing if it is right.
    """
    return list(_check(media, stream))


def _check(media: Path, stream: Stream) -> Iterator[str]:
    picture, complaints = decode(media)
    if complaints:
        yield f"ffmpeg complains {len(complaints.splitlines())} times, first: {complaints.splitlines()[0]}"
    spans = stream.spans
    expected = [frame for span in spans for frame in span.frames]
    if difference := _difference("frames", expected, picture.frames):
        yield difference
        return  # no frame is known, so nothing can be in step with it
    starts = group_starts(picture, spans)
    for number, each in enumerate(starts):
        if each.unevenness > EVEN_S:
            yield f"a frame of group {number} is {each.unevenness * 1000:.0f} ms from its place"
    for number, (before, after) in enumerate(pairwise(starts)):
        surplus = after.at - before.at - spans[number].seconds
        # Without sound nothing tells how long the missing pictures at its beginning would have lasted.
        least = 0 if spans[number].sounds else -spans[number].first_frame / PICTURES_PER_S
        if not least - JOINT_S <= surplus <= JOINT_S:
            yield f"group {number} lasts {surplus * 1000:+.0f} ms longer than its content"
    at = [each.at for each in starts]
    yield from _check_sounds(media, stream, at)
    if stream.row.layout is Layout.SUBTITLES:
        yield from _check_subtitles(media, stream, at)


# -- Picture ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Start:
    """
    Where a group begins in the result, as its frames say, and how far the worst of them is from that.
    """

    at: float
    unevenness: float


def group_starts(picture: Picture, spans: Sequence[Span]) -> list[Start]:
    """
    Where each group begins in a picture that has all their frames.
    """
    starts, first = [], 0
    for span in spans:
        starts.append(_start(span, picture.times[first : first + len(span.frames)]))
        first += len(span.frames)
    return starts


def _start(span: Span, times: Sequence[float]) -> Start:
    starts = [time - (span.first_frame + number) / PICTURES_PER_S for number, time in enumerate(times)]
    at = sorted(starts)[len(starts) // 2]
    return Start(at, max(abs(start - at) for start in starts))


# -- Sound -----------------------------------------------------------------------------------------------------------


def _check_sounds(media: Path, stream: Stream, starts: Sequence[float]) -> Iterator[str]:
    heard = listen(media)
    if len(stream.languages) != len(heard):
        yield f"{len(heard)} audio tracks instead of {len(stream.languages)}"
        return
    yield from _check_languages(media, stream.languages)
    for number, (language, sound) in enumerate(zip(stream.languages, heard, strict=True)):
        sources = [span.sounds[number] for span in stream.spans]
        for problem in _check_sound(stream.row.audio, sound, sources, starts):
            yield f"{f'sound {language}'.strip()}: {problem}"


def _check_sound(codec: Audio, sound: Sound, sources: Sequence[Sound], starts: Sequence[float]) -> Iterator[str]:
    expected = [packet for source in sources for packet in source.packets]
    if difference := _difference("packets", expected, sound.packets):
        yield difference
        return
    frame_s = SAMPLES_PER_FRAME[codec] / sound.rate
    missing = sum(source.samples for source in sources) - sound.samples
    if abs(missing) > SAMPLES_PER_FRAME[codec] * len(sources):
        yield f"{missing} samples are missing"
    count = sum(len(source.beeps) for source in sources)
    if count != len(sound.beeps):
        yield f"{len(sound.beeps)} beeps instead of {count}: {sound.beeps}"
        return
    for group, source in enumerate(sources):
        first = sum(len(before.beeps) for before in sources[:group])
        late = [there - beep - starts[group] for beep, there in zip(source.beeps, sound.beeps[first:], strict=False)]
        worst = max(late, key=abs)
        if abs(worst) > frame_s:
            yield f"a beep of group {group} comes {worst * 1000:+.1f} ms late"
    steps = [after - before for before, after in pairwise(sound.times)]
    if min(steps) <= 0:
        yield "the times of packets do not rise"
    # Chromium and others play one packet right after the other whatever their times are, so that every hole moves
    # sound against picture for the rest of the file.
    if (hole := max(steps) - frame_s) > frame_s:
        yield f"there is a hole of {hole * 1000:.0f} ms"


def _check_languages(media: Path, languages: Sequence[str]) -> Iterator[str]:
    with av.open(str(media)) as container:
        told = [stream.metadata.get("language", "und") for stream in container.streams.audio]
        default = [bool(stream.disposition & av.stream.Disposition.default) for stream in container.streams.audio]
    if told != (expected := [ISO_639_2[language] for language in languages]):
        yield f"the languages are {told} instead of {expected}"
    if default != [nth == 0 for nth in range(len(languages))]:
        yield f"the default tracks of {languages} are {default}"


# -- Subtitles -------------------------------------------------------------------------------------------------------


def _check_subtitles(media: Path, stream: Stream, starts: Sequence[float]) -> Iterator[str]:
    expected = [
        (start + cue.start_s, start + cue.end_s, cue.text)
        for start, span in zip(starts, stream.spans, strict=True)
        for cue in span.cues
    ]
    beside = media.with_suffix(".en.vtt")
    if not beside.exists():
        yield f"no {beside.name} beside the file"
    else:
        yield from _check_cues(beside.name, expected, read_vtt(beside.read_text(encoding="utf-8")))
    yield from _check_cues("the subtitle track", expected, _read_track(media))


Line = tuple[float, float, str]
"""A cue: from, to, text."""


def _check_cues(where: str, expected: Sequence[Line], found: Sequence[Line]) -> Iterator[str]:
    if difference := _difference("cues", [text for *_, text in expected], [text for *_, text in found]):
        yield f"{where}: {difference}"
        return
    for (start, end, text), (start_there, end_there, _) in zip(expected, found, strict=True):
        if max(abs(start_there - start), abs(end_there - end)) > CUE_S:
            yield f"{where}: {text!r} is shown {start_there:.3f}-{end_there:.3f} instead of {start:.3f}-{end:.3f}"


_TIMING = re.compile(r"(?:(\d+):)?(\d\d):(\d\d\.\d{3}) --> (?:(\d+):)?(\d\d):(\d\d\.\d{3})")


def read_vtt(text: str) -> list[Line]:
    """
    The cues of a WebVTT file.
    """
    cues = []
    for block in re.split(r"\n{2,}", text):
        head, found, body = "", _TIMING.search(block), ""
        if found is None:
            continue
        head, body = block[: found.start()], block[found.end() :].partition("\n")[2]
        assert "WEBVTT" not in head, "a cue belongs to the header"
        numbers = [float(each or 0) for each in found.groups()]
        from_s, to_s = (hours * 3600 + minutes * 60 + rest for hours, minutes, rest in (numbers[:3], numbers[3:]))
        cues.append((from_s, to_s, body.strip()))
    return cues


def _read_track(media: Path) -> list[Line]:
    """The cues of a mov_text track: two bytes of length, then the text; empty ones fill the time between."""
    with av.open(str(media)) as container:
        if not container.streams.subtitles:
            return []
        found = []
        for packet in container.demux(container.streams.subtitles[0]):
            data = bytes(packet)
            text = data[2 : 2 + int.from_bytes(data[:2])].decode()
            if text and packet.pts is not None and packet.duration is not None:
                start = float(packet.pts * packet.time_base)
                found.append((start, start + float(packet.duration * packet.time_base), text))
    return found


# -- Saying ----------------------------------------------------------------------------------------------------------


def _difference(what: str, expected: Sequence[str], found: Sequence[str]) -> str:
    """How two sequences differ; nothing if they do not."""
    if list(expected) == list(found):
        return ""
    pairs = enumerate(zip(expected, found, strict=False))
    first = next((number for number, (one, other) in pairs if one != other), min(len(expected), len(found)))
    return f"{len(found)} {what} instead of {len(expected)}, the first that differs is number {first}"
