"""
What is known of each track at the end, for people who ask whether everything is there.
"""

from collections.abc import Iterable, Sequence

import attrs

from m3u8svc.mux.language import iso_639_2
from m3u8svc.mux.protocol import TrackInfo
from m3u8svc.mux.texts import TextStream
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.tracks import Track


@attrs.define(kw_only=True)
class Row:
    """
    One stream over all files. `duration_s` runs from its first packet to the end of its last, holes included. `silent`
    of its `packets` fill holes; `headless` pictures before a first key frame were left out.
    """

    track: str
    kind: str
    codec: str
    language: str
    packets: int = 0
    dropped: int = 0
    duration_s: float = 0.0
    silent: int = 0
    headless: int = 0


class Account:
    """
    Adds up the tracks of finished files.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, int], Row] = {}
        self._lengths_s: dict[str, float] = {}
        self._drift_s: float | None = None

    def add(self, tracks: Iterable[Track]) -> None:
        """Count a file that is written; its lanes still stand at its end."""
        tracks = list(tracks)
        for track in tracks:
            nth = sum(
                each.playlist == track.playlist and each.kind == track.kind for each in tracks[: tracks.index(track)]
            )
            row = self._rows.setdefault(
                (track.playlist, track.kind, nth),
                Row(track=track.playlist, kind=track.kind, codec=track.codec, language=track.language),
            )
            row.packets += track.written
            row.dropped += track.dropped
            row.silent += track.filled
            row.headless += track.headless
            row.duration_s += (track.lane.span_ns or 0) / NS
        for playlist in {track.playlist for track in tracks}:
            self._lengths_s.setdefault(playlist, 0.0)
            self._lengths_s[playlist] += max(_ends_s(tracks, playlist=playlist), default=0.0)
        self._note_drift(tracks)

    def add_texts(self, info: TrackInfo, texts: Sequence[TextStream]) -> None:
        """Count a subtitle track, given its streams in all files; what has no text is in no file."""
        if any(each.written for each in texts):
            self._rows[info.track, "subtitle", 0] = Row(
                track=info.track,
                kind="subtitle",
                codec="mov_text",
                language=iso_639_2(info.language),
                packets=sum(each.written for each in texts),
                dropped=sum(each.dropped for each in texts),
                duration_s=sum(each.span_s for each in texts),
            )

    def length_s(self, playlist: str) -> float:
        """Where the streams of a playlist end, over all files one after the other."""
        return self._lengths_s.get(playlist, 0.0)

    def details(self) -> dict[str, object]:
        """All of it, for the report."""
        rows = [attrs.asdict(row) for row in self._rows.values()]
        for row in rows:
            row["duration_s"] = round(row["duration_s"], 3)
        return {"tracks": rows, "av_drift_s": None if self._drift_s is None else round(self._drift_s, 3)}

    def _note_drift(self, tracks: list[Track]) -> None:
        """The largest difference between the ends of picture and sound in any file; positive: the picture is longer."""
        pictures, sounds = _ends_s(tracks, kind="video"), _ends_s(tracks, kind="audio")
        if pictures and sounds:
            drift_s = max((max(pictures) - sound for sound in sounds), key=abs)
            if self._drift_s is None or abs(drift_s) > abs(self._drift_s):
                self._drift_s = drift_s


def _ends_s(tracks: list[Track], *, kind: str = "", playlist: str = "") -> list[float]:
    return [
        track.lane.end_ns / NS
        for track in tracks
        if track.lane.end_ns is not None
        and track.written
        and kind in ("", track.kind)
        and playlist in ("", track.playlist)
    ]
