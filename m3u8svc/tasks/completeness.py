"""
The report of a result: what it holds and what not, segment by segment. Pure.

A report is two texts. `summary` is a small JSON object with everything but the segments; `segments` is a JSON array
with one segment a line, compressed, since there may be a hundred thousand of them. Both together are the object that
people get (`whole`). The service itself reads lines one at a time.

It serves as a memory, too: with the segments at hand, a report says as much of the playlists as it takes to plan the
task anew without asking the server (`presentation_of`). For that, each segment and init section has its identity.

Outcomes: "done"; "skipped", because the task says so; "gap", declared missing by the playlist; "missing", given up.
"""

import json
import re
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal  # Any: JSON values

import attrs

from m3u8svc.hls.plan import Absent, DownloadPlan, JobList, init_identity
from m3u8svc.hls.playlist import (
    MAIN,
    InitSection,
    MediaPlaylist,
    Presentation,
    Rendition,
    Segment,
    SegmentColumns,
    SegmentList,
    Stream,
)
from m3u8svc.redact import redact_text, redact_url
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.wording import Said, in_both

Place = tuple[str, int]
"""Track and position of a segment."""
Outcome = Literal["done", "skipped", "gap", "missing"]
UNVERIFIED = Said("服务器未给出长度，无法确认是否完整", "the server did not say how long it is: it may not be whole")
"""Of a segment that ends where nobody can tell whether it should (R-INT-1)."""
_NOT_WANTED = Said("该轨道未下载", "its track is not downloaded")
_NOWHERE = -1
_PIECE_BYTES = 16 << 10
_HOLES = ("gap", "missing")
_PLAIN_URL = re.compile(r"(https?://[A-Za-z0-9.:-]+/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))?")
_LONGEST_PLAIN = 300


@attrs.frozen(kw_only=True)
class Line:
    """
    What became of one segment. Its fields are those of the report; times are seconds, of the playlist (`start_s`) and
    of the result (`from_s`, `to_s`, in the `file`-th of its files; None when the merger does not tell). `splice` is the
    discontinuity sequence number, `reason_en` the reason in English, "" where it is known in one language only.
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
    reason_en: str = ""
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
    def missing(self) -> Said:
        """What the result lacks, in one line; "" when it lacks nothing."""
        summary = json.loads(self.summary)["summary"]
        text: str = summary["missing_text"]
        return Said(text, summary.get("missing_text_en", text))  # an earlier version had no English

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
        decompressor, rest = zlib.decompressobj(), b""
        for begin in range(0, len(self.segments), _PIECE_BYTES):
            *texts, rest = (rest + decompressor.decompress(self.segments[begin : begin + _PIECE_BYTES])).split(b"\n")
            for text in texts:
                if text != b"[":
                    given = json.loads(text.rstrip(b","))
                    yield Line(**{**given, "marks": tuple(given.get("marks", ()))})


# -- Making one ------------------------------------------------------------------------------------------------------


def make_report(evidence: Evidence, *, url: str, made_at: str, result: Mapping[str, Any]) -> Report:
    """
    The report of a result that is about to be published. `result` says of the file what is known by then.
    """
    main = evidence.presentation.main
    so_far, groups = _SoFar(), _Groups()
    errors: list[dict[str, Any]] = []
    unverified: list[dict[str, Any]] = []
    encode = json.JSONEncoder(ensure_ascii=False).encode
    compressor = zlib.compressobj(3)
    pieces, before = [compressor.compress(b"[\n")], b""
    # One line after the other: there may be a hundred thousand, and others want memory and their turn, too.
    for line in _lines(evidence):
        so_far.add(line)
        groups.add(line)
        if line.reason == UNVERIFIED:
            unverified.append({"track": line.track, "position": line.position})
        elif line.outcome == "done" and line.reason:
            said = {"reason": line.reason} | ({"reason_en": line.reason_en} if line.reason_en else {})
            errors.append({"track": line.track, "position": line.position, **said})
        if piece := compressor.compress(before + encode(_shown(line)).encode("utf-8", "backslashreplace")):
            pieces.append(piece)
        before = b",\n"
    pieces += [compressor.compress(b"\n]"), compressor.flush()]
    summary = {
        "url": redact_url(url),
        "made_at": made_at,
        "playlist": {"segments": len(main.segments), "duration_s": _rounded(main.duration_s)},
        "result": dict(result),
        "summary": so_far.summary(),
        "tracks": _tracks(evidence),
        "av_drift_s": evidence.details.get("av_drift_s"),
        "continuity_errors": errors,
        "unverified": unverified,
        "groups": groups.shown(),
        "inits": dict(evidence.inits),
    }
    return Report(summary=json.dumps(summary), segments=b"".join(pieces))


def summarise(lines: Iterable[Line]) -> dict[str, Any]:
    """
    How complete it is, in numbers and in one line.
    """
    so_far = _SoFar()
    for line in lines:
        so_far.add(line)
    return so_far.summary()


class _SoFar:
    """
    How complete a result is, one line after the other.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._missing_s: defaultdict[str, float] = defaultdict(float)
        self._skipped_s = 0.0

    def add(self, line: Line) -> None:
        self._counts[line.outcome] += 1
        if line.outcome in _HOLES:
            self._missing_s[line.track] += line.duration_s
        elif line.outcome == "skipped" and line.track == MAIN:
            self._skipped_s += line.duration_s

    def summary(self) -> dict[str, Any]:
        counts, total = self._counts, self._counts.total()
        holes = counts["gap"] + counts["missing"]
        missing_s = _rounded(max(self._missing_s.values(), default=0.0))
        text = Said(
            f"缺失 {holes}/{total} 个分片，{missing_s:.1f} 秒",
            f"{holes} of {total} segments missing, {missing_s:.1f} s",
        )
        lacks = Said(f"缺失 {holes} 个分片（{missing_s:.1f} 秒）", f"{holes} segments missing ({missing_s:.1f} s)")
        return {
            "segments_total": total,
            "done": counts["done"],
            "skipped": counts["skipped"],
            "declared_gaps": counts["gap"],
            "missing": counts["missing"],
            "missing_s": missing_s,
            "skipped_s": _rounded(self._skipped_s),
            "complete": not holes,
            "text": str(text),
            "text_en": text.en,
            "missing_text": str(lacks) if holes else "",
            "missing_text_en": lacks.en if holes else "",
        }


class _Groups:
    """
    The stretches of the main stream between discontinuities, one line after the other.
    """

    def __init__(self) -> None:
        self._groups: list[dict[str, Any]] = []
        self._first = 0
        self._splice: int | None = None

    def add(self, line: Line) -> None:
        if line.track != MAIN:
            return
        if line.splice != self._splice:
            self._splice, self._first = line.splice, line.position
            number = len(self._groups) + 1
            self._groups.append(
                {"number": number, "positions": "", "start_s": line.start_s, "duration_s": 0.0, "kept": False}
            )
        group = self._groups[-1]
        group["positions"] = f"{self._first}-{line.position}"
        group["duration_s"] += line.duration_s
        group["kept"] = group["kept"] or line.outcome == "done"

    def shown(self) -> list[dict[str, Any]]:
        return [{**group, "duration_s": _rounded(group["duration_s"])} for group in self._groups]


def _lines(evidence: Evidence) -> Iterator[Line]:
    jobs = evidence.whole.jobs
    inits: dict[tuple[str, InitSection], str] = {}
    absent = {(each.track, each.position): each for each in evidence.plan.absent}
    spans = _Spans(jobs, evidence.details)
    for stream in evidence.presentation.streams:
        for segment in stream.playlist.segments:
            place = (stream.track, segment.position)
            number = jobs.find(place)
            identity = "" if number < 0 else jobs.identity(number)
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
                **_end(place, evidence, absent.get(place), identity, spans.of(number)),
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
    span: Mapping[str, Any],
) -> dict[str, Any]:
    """
    How a segment ended, as fields of its line.
    """
    if absent is not None and absent.declared:
        return {"outcome": "gap", **in_both("reason", absent.reason)}
    if (lost := evidence.lost.get(place)) is not None:
        return {"outcome": "missing", **in_both("reason", lost.reason), "attempts": lost.attempts}
    row = evidence.rows.get(place)
    if absent is not None or row is None:
        past = evidence.past.get(place)
        known = {} if past is None or past.identity != identity else {"bytes": past.bytes, "sha256": past.sha256}
        return {"outcome": "skipped", **in_both("reason", _NOT_WANTED if absent is None else absent.reason), **known}
    return {
        "outcome": row.outcome,
        "bytes": row.size_bytes,
        "sha256": row.digest,
        "attempts": row.attempts,
        **in_both("reason", row.reason),
        **span,
    }


class _Spans:
    """
    Where in the result each job's media lies, as far as the merger says: where it begins, and where it ends in the same
    file.
    """

    def __init__(self, jobs: JobList, details: Mapping[str, Any]) -> None:
        self._files = array("q", [_NOWHERE]) * len(jobs)
        self._from_s = array("d", bytes(8 * len(jobs)))
        self._to_s = array("d", bytes(8 * len(jobs)))
        for each in details.get("spans", ()):
            number = jobs.find((each["track"], each["n"]))
            if number >= 0:
                self._add(number, each["file"], each["from"], each["to"])

    def _add(self, number: int, file: int, from_s: float, to_s: float) -> None:
        known = self._files[number]
        if known == file:
            from_s, to_s = min(from_s, self._from_s[number]), max(to_s, self._to_s[number])
        elif known != _NOWHERE and known < file:
            return
        self._files[number], self._from_s[number], self._to_s[number] = file, from_s, to_s

    def of(self, number: int) -> Mapping[str, Any]:
        """The fields of a line; none for what is nowhere."""
        if number < 0 or self._files[number] == _NOWHERE:
            return {}
        return {"file": self._files[number], "from_s": self._from_s[number], "to_s": self._to_s[number]}


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


def _shown(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in _FIELDS if name not in _SOMETIMES or getattr(line, name)}


_FIELDS = tuple(field.name for field in attrs.fields(Line))
_SOMETIMES = ("reason_en", "marks")


def _rounded(seconds: float) -> float:
    return round(seconds, 6)


# -- Reading one -----------------------------------------------------------------------------------------------------


def presentation_of(report: Report) -> Presentation:
    """
    The playlists that a report was made of, as far as it takes to plan them anew with the segments at hand.
    """
    tracks = {each["track"]: each for each in json.loads(report.summary)["tracks"]}
    segments = {track: SegmentColumns() for track in tracks}
    for line in report.lines():
        segments[line.track].append(_segment(line))
    return Presentation(
        streams=tuple(
            Stream(
                track=track,
                playlist=MediaPlaylist(url="", segments=SegmentList(segments[track]), ended=True),
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
