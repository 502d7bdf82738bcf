"""
The conformance corpus as values: one entry per pair of files, and what our parser makes of an entry in the same words.

README.md beside this file says what the words mean.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from m3u8svc.errors import NotAPlaylist, PlaylistError
from m3u8svc.hls.overrides import Overrides, override_playlist
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import (
    ByteRange,
    DateRange,
    InitSection,
    Key,
    MasterPlaylist,
    MediaPlaylist,
    Rendition,
    Segment,
    Variant,
)
from m3u8svc.hls.select import choose, choose_audio, parse_languages, parse_variant_choice
from m3u8svc.hls.steering import alternatives, parse_steering_manifest
from m3u8svc.tasks.wire import Inflate

HERE = Path(__file__).parent / "corpus"

Words = dict[str, Any]  # JSON


@attrs.frozen(kw_only=True)
class Entry:
    """
    One playlist and what it means. `body` is as it comes over the wire, gzip included; `text` what a parser gets.
    """

    name: str
    body: bytes = attrs.field(repr=False)
    says: Words = attrs.field(repr=False)

    @property
    def text(self) -> bytes:
        """The playlist itself."""
        inflate = Inflate("", "https://cdn.example/")
        return b"".join([*inflate.feed(self.body), *inflate.finish()])

    @property
    def given(self) -> Words:
        """What the user or the way here gives besides the playlist."""
        given: Words = self.says.get("given", {})
        return given


def entries() -> list[Entry]:
    """All of them, by name."""
    return [
        Entry(name=path.stem, body=path.with_suffix(".m3u8").read_bytes(), says=json.loads(path.read_text("utf-8")))
        for path in sorted(HERE.glob("*.json"))
    ]


def read(entry: Entry) -> MasterPlaylist | MediaPlaylist:
    """
    The entry's playlist as a download of ours would see it.
    """
    given = entry.given
    overrides = Overrides(
        key=bytes.fromhex(given["key"]) if "key" in given else None,
        iv=bytes.fromhex(given["iv"]) if "iv" in given else None,
        append_query=given.get("append_query", ""),
    )
    playlist = parse_playlist(
        entry.text,
        entry.says["url"],
        base_url=given.get("base_url", ""),
        definitions=given.get("definitions"),
        key_given=overrides.key is not None,
    )
    return override_playlist(playlist, overrides)


def described(entry: Entry) -> Words:
    """
    What our parser makes of the entry, in the words of the corpus. Of a media playlist only what the entry names, since
    entries name what their rule is about; segments, variants and renditions always whole.
    """
    try:
        playlist = read(entry)
    except PlaylistError as error:
        return {"error": _error(error)}
    warns = bool(playlist.warnings)
    if isinstance(playlist, MediaPlaylist):
        whole = _media(playlist)
        named = entry.says.get("media", whole)
        return {"media": {name: whole.get(name) for name in {"segments", *named}}, "warns": warns}
    return {"multivariant": _multivariant(playlist, entry), "warns": warns}


def expected(entry: Entry) -> Words:
    """The same from the entry."""
    return {name: entry.says[name] for name in ("media", "multivariant", "error", "warns") if name in entry.says}


def _error(error: PlaylistError) -> Words:
    kind = error.fields.get("kind", error.code.replace("_", "-"))
    line = 0 if isinstance(error, NotAPlaylist) else error.fields["line"]
    words: Words = {"kind": kind, "line": line, "tag": error.fields.get("tag", "")}
    return words | {"system": error.fields["system"]} if "system" in error.fields else words


def _media(playlist: MediaPlaylist) -> Words:
    return {
        "segments": [_segment(each) for each in playlist.segments],
        "target_duration": playlist.target_duration_s,
        "media_sequence": playlist.media_sequence,
        "discontinuity_sequence": playlist.discontinuity_sequence,
        "version": playlist.version,
        "type": playlist.playlist_type and playlist.playlist_type.value,
        "ended": playlist.ended,
        "complete": playlist.complete,
        "i_frames_only": playlist.i_frames_only,
        "duration": round(playlist.duration_s, 6),
        "dateranges": [_daterange(each) for each in playlist.dateranges],
        "trailing_marks": list(playlist.trailing_marks),
    }


def _segment(segment: Segment) -> Words:
    return {
        "uri": segment.uri,
        "number": segment.number,
        "duration": segment.duration_s,
        **_said(
            title=segment.title,
            byterange=_range(segment.byterange),
            key=_key(segment.key),
            iv=segment.iv and segment.iv.hex(),
            init=_init(segment.init),
            discontinuity=segment.discontinuity,
            discontinuity_sequence=segment.discontinuity_sequence,
            gap=segment.gap,
            bitrate=segment.bitrate,
            date=_date(segment.program_date_time),
            marks=list(segment.marks),
        ),
    }


def _init(init: InitSection | None) -> Words | None:
    return init and {
        "uri": init.uri,
        **_said(byterange=_range(init.byterange), key=_key(init.key), iv=init.iv and init.iv.hex()),
    }


def _key(key: Key | None, *, announced: bool = False) -> Words | None:
    return key and {
        "method": key.method,
        "uri": key.uri,
        **_said(value=key.value and key.value.hex(), iv=key.iv.hex() if announced and key.iv else None),
    }


def _range(byterange: ByteRange | None) -> list[int] | None:
    return byterange and [byterange.offset_bytes, byterange.length_bytes]


def _date(date: datetime | None) -> str | None:
    return date and date.isoformat()


def _daterange(daterange: DateRange) -> Words:
    return {
        "id": daterange.id,
        **_said(
            start=_date(daterange.start),
            end=_date(daterange.end),
            duration=daterange.duration_s,
            planned_duration=daterange.planned_duration_s,
            cue=list(daterange.cue),
            end_on_next=daterange.end_on_next,
            scte35_cmd=daterange.scte35_cmd and daterange.scte35_cmd.hex(),
            scte35_out=daterange.scte35_out and daterange.scte35_out.hex(),
            scte35_in=daterange.scte35_in and daterange.scte35_in.hex(),
            client=dict(daterange.client),
        )
        | ({"class": daterange.class_name} if daterange.class_name else {}),
    }


def _multivariant(playlist: MasterPlaylist, entry: Entry) -> Words:
    """
    As `_media`: the lists are always whole, and derived answers only where the entry asks.
    """
    asked = entry.says.get("multivariant", {})
    words: Words = {"variants": [_variant(each) for each in playlist.variants]}
    words |= _said(
        renditions=[_rendition(each) for each in playlist.renditions], definitions=dict(playlist.definitions)
    )
    if playlist.steering is not None:
        words["steering"] = {"server_uri": playlist.steering.server_uri, "pathway_id": playlist.steering.pathway_id}
    if playlist.session_keys or "session_keys" in asked:
        words["session_keys"] = [_key(each, announced=True) for each in playlist.session_keys]
    if "alternatives" in asked:
        words["alternatives"] = {place: _alternatives(playlist, entry, int(place)) for place in asked["alternatives"]}
    if "best" in asked:
        words["best"] = _best(playlist).uri
    if "audio" in asked:
        audio = next(iter(choose_audio(playlist, _best(playlist), parse_languages("")).renditions), None)
        words["audio"] = audio and audio.name
    return words


def _best(playlist: MasterPlaylist) -> Variant:
    return choose(playlist, parse_variant_choice("best"))


def _alternatives(playlist: MasterPlaylist, entry: Entry, place: int) -> list[str]:
    manifest = None
    if "steering_manifest" in entry.given and playlist.steering is not None:
        body = json.dumps(entry.given["steering_manifest"])
        manifest = parse_steering_manifest(body, playlist.steering.server_uri)
    return [each.uri for each in alternatives(playlist, playlist.variants[place], manifest)]


def _variant(variant: Variant) -> Words:
    words = attrs.asdict(variant, filter=lambda field, _: field.name not in ("uri", "bandwidth", "line"))
    if variant.pathway_id == ".":
        del words["pathway_id"]
    return {"uri": variant.uri, "bandwidth": variant.bandwidth, **_said(**words)}


def _rendition(rendition: Rendition) -> Words:
    words = attrs.asdict(rendition, filter=lambda field, _: field.name not in ("type", "group_id", "name", "line"))
    return {"type": rendition.type, "group_id": rendition.group_id, "name": rendition.name, **_said(**words)}


def _said(**words: Any) -> Words:
    """
    Without what is None, false, 0 or empty: the corpus leaves it out.
    """
    return {name: list(word) if isinstance(word, tuple) else word for name, word in words.items() if word}
