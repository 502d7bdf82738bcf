"""
The streams of the output, and the way from a stream of the source to one of them.
"""

from fractions import Fraction
from typing import Any, TypeAlias

import attrs
from av.bitstream import BitStreamFilterContext
from av.packet import Packet, PacketSideData

from m3u8svc.mux.parameters import parameter_sets
from m3u8svc.mux.timeline import Lane
from m3u8svc.wording import Said, said

_NEW_EXTRADATA = 1  # AV_PKT_DATA_NEW_EXTRADATA

AnyPacket: TypeAlias = "Packet[Any]"  # generic in its stream's type, but only in the stubs
AnyStream = Any  # PyAV types video and audio streams apart; we treat them alike
Key = tuple[str, str, int]
"""A stream of the source, whatever its PID or track ID: the playlist track, "video" or "audio", which of these."""


@attrs.define(kw_only=True)
class Track:
    """
    One stream of the output and its counters. `playlist` is the track of the presentation that it comes from.
    """

    kind: str
    codec: str
    stream: AnyStream
    lane: Lane
    time_base: Fraction
    extradata: bytes
    form: tuple[int, ...] = ()
    """What the header says besides: width and height, or rate and channels."""
    playlist: str = "main"
    language: str = ""
    changed: bool = False
    """Whether parameters changed once: from then on every keyframe carries its sets in-band."""
    read: int = 0
    written: int = 0
    dropped: int = 0
    keyed: bool = False
    """Whether a key frame was seen in it."""
    headless: int = 0
    """How many pictures came before the first key frame of their run and were left out."""
    silence: tuple[bytes, int] | None = None
    """A silent frame like its last packet, and its samples a second; None when none is known."""
    holed: bool = False
    """Whether a hole in it stayed one."""
    filled: int = 0
    """How many of those read and written are silent frames that are in no segment."""


@attrs.define(kw_only=True)
class Route:
    """
    From one stream of a run to its track. `prefix` goes before keyframes, `extradata` onto the next packet. `at`: which
    segment of the run its packets are of, `until`: where that ends in the bytes of the run.
    """

    track: Track
    unwrap_adts: BitStreamFilterContext | None = None
    rescaled: bool = True
    """Whether packets come in another time base than they are written in."""
    prefix: bytes = b""
    extradata: bytes = b""
    headless: int = 0
    """How many pictures more are left out: they come before its first key frame."""
    silence: tuple[bytes, int] | None = None
    until: int = 0
    at: int = -1


@attrs.frozen(kw_only=True)
class Change:
    """
    What is different in a stream from now on. `held`: one MP4 can hold both.
    """

    text: Said
    held: bool = True


def form_of(stream: AnyStream) -> tuple[int, ...]:
    """
    Width and height, or rate and channels; empty when they are not known.
    """
    context = stream.codec_context
    if stream.type == "audio":
        known = context.sample_rate and context.layout.nb_channels
        return (context.sample_rate, context.layout.nb_channels) if known else ()
    return (context.width, context.height) if context.width else ()


def changes_of(track: Track, stream: AnyStream) -> list[Change]:
    """
    How `stream` differs from what its track was made for.
    """
    codec = stream.codec_context.name
    if codec != track.codec:
        zh, en = "编码由 {before} 变为 {now}", "the codec changes from {before} to {now}"
        return [Change(text=said(zh, en, before=track.codec, now=codec), held=False)]
    form, extradata = form_of(stream), stream.codec_context.extradata or b""
    # Only a record of its own can describe a second form: AAC gets one made from ADTS, MP3 and AC-3 have none.
    held = codec == "aac" or bool(extradata)
    found = []
    if extradata and track.extradata and _packing(codec, extradata) != _packing(codec, track.extradata):
        packing = Said("封装由 TS 变为 fMP4，或相反", "the container changes from TS to fMP4, or back")
        found.append(Change(text=packing, held=False))
    if form and track.form and form != track.form:
        zh, en = "参数由 {before} 变为 {now}", "the parameters change from {before} to {now}"
        before, now = (_form_text(stream.type, each) for each in (track.form, form))
        found.append(Change(text=said(zh, en, before=before, now=now), held=held))
    elif extradata and track.extradata and extradata != track.extradata:
        found.append(Change(text=Said("编码参数改变", "the parameters of the codec change")))
    return found


def _form_text(kind: str, form: tuple[int, ...]) -> str:
    first, second = form
    if kind == "audio":
        return Said(f"{first} Hz、{second} 声道", f"{first} Hz, {second} channels")
    return f"{first}x{second}"


def undescribed(kind: str) -> Said:
    """
    That there is a stream of which a header cannot say what it is.
    """
    zh, en = "{kind} 流没有可用参数，未写入", "the {kind} stream has no usable parameters, it is left out"
    return said(zh, en, kind=kind)


def _packing(codec: str, extradata: bytes) -> bool:
    """Whether pictures are length-prefixed; the muxer decides once how to write a track's."""
    return codec in ("h264", "hevc") and extradata[:1] == b"\x01"


def route_to(track: Track, stream: AnyStream, demuxer: str) -> Route:
    """
    The route from `stream` to `track`, with all that a change of parameters needs.
    """
    codec, extradata = stream.codec_context.name, stream.codec_context.extradata or b""
    route = Route(track=track, rescaled=stream.time_base != track.time_base)
    if codec == "aac" and demuxer in ("mpegts", "aac"):
        # Does not need the stream's extradata: it makes the AudioSpecificConfig from the first header it meets.
        route.unwrap_adts = BitStreamFilterContext("aac_adtstoasc", stream)
    elif extradata and track.extradata != extradata:
        track.extradata = route.extradata = extradata
        track.changed = True
    track.form = form_of(stream) or track.form
    if stream.type == "video":
        route.prefix = parameter_sets(codec, extradata)
    else:
        route.silence = silence_like(stream)
    return route


SAMPLES = 1024
"""In a frame of AAC-LC."""
_SILENCE = {"mono": bytes.fromhex("01182007"), "stereo": bytes.fromhex("211004608c1c")}
"""Frames of AAC-LC whose spectra are empty, by layout."""


def silence_like(stream: AnyStream) -> tuple[bytes, int] | None:
    """
    A frame that a decoder of `stream` turns into silence, and its samples a second; None when we know none.
    """
    context = stream.codec_context
    frame = _SILENCE.get(context.layout.name) if is_plain_aac(context) else None
    return (frame, context.sample_rate) if frame and context.sample_rate else None


def is_plain_aac(context: Any) -> bool:  # Any: see AnyStream
    """Whether it is AAC-LC with frames of 1024 samples."""
    return bool(context.name == "aac" and context.profile == "LC" and context.frame_size in (0, SAMPLES))


def with_parameters(packet: AnyPacket, route: Route) -> AnyPacket:
    """
    The packet with its new parameters: as side data on the first of a changed run, in-band on keyframes.
    """
    if route.prefix and route.track.changed and packet.is_keyframe:
        whole: AnyPacket = Packet(route.prefix + bytes(packet))
        whole.is_keyframe = True
        whole.time_base = route.track.time_base
        packet = whole
    if route.extradata:
        added = PacketSideData(_NEW_EXTRADATA, len(route.extradata))  # type: ignore[call-arg]  # missing in the stubs
        added.update(route.extradata)
        packet.set_sidedata(added)
        route.extradata = b""
    return packet
