"""
The report of a result: what it holds and what not, segment by segment. Pure.

A report is two texts. `summary` is a small JSON object with everything but the segments; `segments` is a JSON array
with one segment a line, compressed, since there may be a hundred thousand of them. Both together are the object that
people get (`whole`). The service itself reads lines one at a time.

It serves as a memory, too: with the segments at hand, a report says as much of the playlists as it takes to plan the
task anew without asking the server (`presentation_of`). For that, each segment and init section has its identity.

Outcomes: "done"; "skipped", because the task says so; "gap", declared missing by the playlist; "missing", given up.
"""

import itertools
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal  # Any: JSON values

import attrs

from m3u8svc.hls.plan import Absent, DownloadPlan, init_identity
from m3u8svc.hls.playlist import MAIN, InitSection, MediaPlaylist, Presentation, Rendition, Segment, Stream
from m3u8svc.redact import redact_text, redact_url
from m3u8svc.tasks.ledger import SegmentRow

Place = tuple[str, int]
"""Track and position of a segment."""
Outcome = Literal["done", "skipped", "gap", "missing"]
MOST_SPANS = 16
"""So many places of one segment in the output are told: more is noise."""
_HOLES = ("gap", "missing")
_PLAIN_URL = re.compile(r"(https?://[A-Za-z0-9.:-]+/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))?")
_LONGEST_PLAIN = 300


@attrs.frozen(kw_only=True)
class Line:
    """
    What became of one segment. Its fields are those of the report; times are seconds, of the playlist (`start_s`) and
    of the result (`from_s`, `to_s`, in the `file`-th of its files; None when the merger does not tell). `splice` is the
    discontinuity sequence number.
    """

    track: str
    position: int
    number: int
    start_s: float
    duration_s: float
    splice: int
    outcome: Outcome
    identity: str = ""
    init: str = ""
    bytes: int = 0
    sha256: str = ""
    attempts: int = 0
    source: str = ""
    file: int | None = None
    from_s: float | None = None
    to_s: float | None = None
    reason: str = ""
    marks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Lost:
    """
    A segment that was given up: why, and after how many attempts.
    """

    reason: str
    attempts: int


@attrs.frozen(kw_only=True)
class Evidence:
    """
    What a run knows of its segments. `whole` is the plan as if nothing was skipped; `rows` are of this run and of
    earlier ones; `sources` are the places of segments that came from elsewhere, `inits` the digests of init sections,
    `details` what the merger tells, `past` the lines of an earlier report: what they know of files that are left out
    now is told on.
    """

    presentation: Presentation
    whole: DownloadPlan
    plan: DownloadPlan
    rows: Mapping[Place, SegmentRow]
    lost: Mapping[Place, Lost]
    sources: Mapping[Place, str] = attrs.field(factory=dict, repr=False)
    inits: Mapping[str, str] = attrs.field(factory=dict)
    details: Mapping[str, Any] = attrs.field(factory=dict)
    past: Mapping[Place, Line] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Report:
    """
    A report as it is stored: `summary` is a JSON object, `segments` a compressed JSON array, one element a line.
    """

    summary: str
    segments: bytes = attrs.field(repr=False)

    @property
    def missing(self) -> str:
        """What the result lacks, in one line; "" when it lacks nothing."""
        said: str = json.loads(self.summary)["summary"]["missing_text"]
        return said

    @property
    def inits(self) -> Mapping[str, str]:
        """The digest of each init section, by its identity."""
        found: Mapping[str, str] = json.loads(self.summary)["inits"]
        return found

    def whole(self, *, task_id: str, file: str = "") -> bytes:
        """
        The JSON object for people; `file` is where the result is, once that is known. Costs time in proportion to its
        size: call it in a thread.
        """
        summary = json.loads(self.summary)
        summary["result"] = {"file": file, **summary["result"]}
        head = json.dumps({"task": task_id, **summary}, ensure_ascii=False)
        return head[:-1].encode("utf-8", "backslashreplace") + b', "segments": ' + zlib.decompress(self.segments) + b"}"

    def lines(self) -> Iterator[Line]:
        """
        The segments, in order.
        """
        # Not splitlines(): a reason may hold U+2028 or U+0085, which JSON writes as they are.
        for text in zlib.decompress(self.segments).decode("utf-8").split("\n")[1:-1]:
            given = json.loads(text.rstrip(","))
            yield Line(**{**given, "marks": tuple(given.get("marks", ()))})


# -- Making one ------------------------------------------------------------------------------------------------------


def make_report(evidence: Evidence, *, url: str, made_at: str, result: Mapping[str, Any]) -> Report:
    """
    The report of a result that is about to be published. `result` says of the file what is known by then.
    """
    lines = list(_lines(evidence))
    main = evidence.presentation.main
    summary = {
        "url": redact_url(url),
        "made_at": made_at,
        "playlist": {"segments": len(main.segments), "duration_s": _rounded(main.duration_s)},
        "result": dict(result),
        "summary": summarise(lines),
        "tracks": _tracks(evidence),
        "av_drift_s": evidence.details.get("av_drift_s"),
        "continuity_errors": [
            {"track": line.track, "position": line.position, "reason": line.reason}
            for line in lines
            if line.outcome == "done" and line.reason
        ],
        "groups": list(_groups(lines)),
        "inits": dict(evidence.inits),
    }
    encode = json.JSONEncoder(ensure_ascii=False).encode
    # Each line in one piece, so that a thread which writes many lets others have their turn.
    written = ",\n".join(encode(_shown(line)) for line in lines)
    text = f"[\n{written}\n]".encode("utf-8", "backslashreplace")
    return Report(summary=json.dumps(summary), segments=zlib.compress(text, 3))


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """
    How complete it is, in numbers and in one line.
    """
    counts = Counter(line.outcome for line in lines)
    holes = counts["gap"] + counts["missing"]
    main = [line for line in lines if line.track == MAIN]
    missing_by_track: defaultdict[str, float] = defaultdict(float)
    for line in lines:
        if line.outcome in _HOLES:
            missing_by_track[line.track] += line.duration_s
    missing_s = _rounded(max(missing_by_track.values(), default=0.0))
    return {
        "segments_total": len(lines),
        "done": counts["done"],
        "skipped": counts["skipped"],
        "declared_gaps": counts["gap"],
        "missing": counts["missing"],
        "missing_s": missing_s,
        "skipped_s": _rounded(sum(line.duration_s for line in main if line.outcome == "skipped")),
        "complete": not holes,
        "text": f"缺失 {holes}/{len(lines)} 个分片，{missing_s:.1f} 秒",
        "missing_text": f"缺失 {holes} 个分片（{missing_s:.1f} 秒）" if holes else "",
    }


def _lines(evidence: Evidence) -> Iterator[Line]:
    identities = {(job.track, job.segment.position): job.identity for job in evidence.whole.jobs}
    inits: dict[tuple[str, InitSection], str] = {}
    absent = {(each.track, each.position): each for each in evidence.plan.absent}
    spans = _spans(evidence.details)
    for stream in evidence.presentation.streams:
        for segment in stream.playlist.segments:
            place = (stream.track, segment.position)
            identity = identities.get(place, "")
            init = ""
            if segment.init is not None:
                if (stream.track, segment.init) not in inits:
                    inits[stream.track, segment.init] = init_identity(segment.init, stream.track)
                init = inits[stream.track, segment.init]
            # Made in one go: there may be a hundred thousand, and the file waits for the last.
            yield Line(
                track=stream.track,
                position=segment.position,
                number=segment.number,
                start_s=round(segment.start_s, 6),
                duration_s=round(segment.duration_s, 6),
                splice=segment.discontinuity_sequence,
                identity=identity,
                init=init,
                source=_shown_url(evidence.sources.get(place, segment.uri)),
                marks=tuple(redact_text(mark) for mark in segment.marks),  # they may hold links
                **_end(place, evidence, absent.get(place), identity, spans.get(place, ())),
            )


def _shown_url(url: str) -> str:
    """
    The same as `redact_url`, sooner where there is little to judge: no user, no fragment, nothing to escape.
    """
    plain = _PLAIN_URL.fullmatch(url)
    if plain is None or len(plain[1]) > _LONGEST_PLAIN:
        return redact_url(url)
    return plain[1] + ("?…" if plain[2] else "")


def _end(
    place: Place,
    evidence: Evidence,
    absent: Absent | None,
    identity: str,
    spans: Sequence[tuple[int, float, float]],
) -> dict[str, Any]:
    """
    How a segment ended, as fields of its line.
    """
    if absent is not None and absent.declared:
        return {"outcome": "gap", "reason": absent.reason}
    if (lost := evidence.lost.get(place)) is not None:
        return {"outcome": "missing", "reason": lost.reason, "attempts": lost.attempts}
    row = evidence.rows.get(place)
    if absent is not None or row is None:
        past = evidence.past.get(place)
        known = {} if past is None or past.identity != identity else {"bytes": past.bytes, "sha256": past.sha256}
        return {"outcome": "skipped", "reason": "该轨道未下载" if absent is None else absent.reason, **known}
    return {
        "outcome": row.outcome,
        "bytes": row.size_bytes,
        "sha256": row.digest,
        "attempts": row.attempts,
        "reason": row.reason,
        **_place_in_result(spans),
    }


def _place_in_result(spans: Sequence[tuple[int, float, float]]) -> dict[str, Any]:
    """
    Where the media of a segment begins, and where it ends in the same file.
    """
    if not spans:
        return {}
    file, start_s, _ = spans[0]
    return {"file": file, "from_s": start_s, "to_s": max(end_s for each, _, end_s in spans if each == file)}


def _spans(details: Mapping[str, Any]) -> dict[Place, list[tuple[int, float, float]]]:
    """
    Where in the result each segment's media lies, as far as the merger says.
    """
    spans: dict[Place, list[tuple[int, float, float]]] = {}
    for each in details.get("spans", ()):
        found = spans.setdefault((each["track"], each["n"]), [])
        if len(found) < MOST_SPANS:
            found.append((each["file"], each["from"], each["to"]))
    return {place: sorted(found) for place, found in spans.items()}


def _tracks(evidence: Evidence) -> list[dict[str, Any]]:
    """
    Every track of the presentation, with what the merger says of it.
    """
    told: dict[str, list[Any]] = {}
    for each in evidence.details.get("tracks", ()):
        told.setdefault(each.get("track", MAIN), []).append(each)
    tracks = []
    for stream in evidence.presentation.streams:
        rendition = stream.rendition
        named = {} if rendition is None else {"language": rendition.language or "", "name": rendition.name}
        flags = {} if rendition is None else {"default": rendition.default, "forced": rendition.forced}
        tracks.append(
            {
                "track": stream.track,
                "kind": MAIN if rendition is None else rendition.type.lower(),
                **named,
                **flags,
                "segments": len(stream.playlist.segments),
                "duration_s": _rounded(stream.playlist.duration_s),
                "streams": told.get(stream.track, []),
            }
        )
    return tracks


def _groups(lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
    main = (line for line in lines if line.track == MAIN)
    for number, (_, group) in enumerate(itertools.groupby(main, key=lambda line: line.splice), 1):
        members = list(group)
        yield {
            "number": number,
            "positions": f"{members[0].position}-{members[-1].position}",
            "start_s": members[0].start_s,
            "duration_s": _rounded(sum(line.duration_s for line in members)),
            "kept": any(line.outcome == "done" for line in members),
        }


def _shown(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in _FIELDS if name != "marks" or line.marks}


_FIELDS = tuple(field.name for field in attrs.fields(Line))


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


# -- Reading one -----------------------------------------------------------------------------------------------------


def presentation_of(report: Report) -> Presentation:
    """
    The playlists that a report was made of, as far as it takes to plan them anew with the segments at hand.
    """
    tracks = {each["track"]: each for each in json.loads(report.summary)["tracks"]}
    segments: dict[str, list[Segment]] = {track: [] for track in tracks}
    for line in report.lines():
        segments[line.track].append(_segment(line))
    return Presentation(
        streams=tuple(
            Stream(
                track=track,
                playlist=MediaPlaylist(url="", segments=tuple(segments[track]), ended=True),
                rendition=_rendition(known),
            )
            for track, known in tracks.items()
        ),
        master=None,
        variant=None,
        warnings=(),
    )


def _segment(line: Line) -> Segment:
    return Segment(
        position=line.position,
        number=line.number,
        uri=line.source,
        duration_s=line.duration_s,
        start_s=line.start_s,
        init=InitSection(uri=line.source, known_as=line.init) if line.init else None,
        discontinuity_sequence=line.splice,
        gap=line.outcome == "gap",
        marks=line.marks,
        known_as=line.identity,
    )


def _rendition(known: Mapping[str, Any]) -> Rendition | None:
    if known["kind"] == MAIN:
        return None
    return Rendition(
        type=known["kind"].upper(),
        group_id="",
        name=known["name"],
        language=known["language"] or None,
        default=known["default"],
        forced=known["forced"],
    )
