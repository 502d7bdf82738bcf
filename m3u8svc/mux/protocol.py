"""
What the service and the muxing child say to each other: JSON, one object a line.

Orders come in on standard input, reports go out on the old standard output. Media never passes through the pipe, only
paths of finished segments do. The job lists the tracks: "main", the playlist everything hangs on, and the renditions
that go with it. Every order names its `track`; positions count from 1 in each. The orders of one track come in their
order, those of different tracks in any: nothing in the output depends on it.
The service's half is in `merge.py`, which must not import this package (it would pull libav into the service).
"""

import enum
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import attrs

from m3u8svc.wording import in_both

MAX_LINE_BYTES = 64 * 1024
HANDING_FD = 3


class ParentGone(Exception):
    """
    Standard input ended before the order to end did: nobody waits for this file any more.
    """


class BadOrder(Exception):
    """
    A line that is no order of this protocol.
    """


class Fault(enum.Enum):
    """
    Why a merge ended without a file; the service turns each into one exception.
    """

    NO_MEDIA = "no_media"
    DISK_FULL = "disk_full"
    DISK_ERROR = "disk_error"
    VERIFY = "verify_failed"
    UNSUPPORTED = "unsupported"
    CHECKPOINT = "checkpoint_lost"
    INTERNAL = "internal"


class Refused(Exception):
    """
    This merge cannot end well; `reason` is for people.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault
        self.reason = reason


@attrs.frozen(kw_only=True)
class TrackInfo:
    """
    One playlist of the job: `kind` is "main", "audio" or "subtitles"; `language` as the playlist has it (BCP 47).
    """

    track: str
    kind: str
    language: str = ""
    name: str = ""
    default: bool = False
    forced: bool = False


MAIN = TrackInfo(track="main", kind="main", default=True)
KINDS = ("main", "audio", "subtitles")


def _read_tracks(rows: "Iterable[TrackInfo | Mapping[str, Any]]") -> tuple[TrackInfo, ...]:  # Any: JSON
    """The tracks of a job: "main" and others, each once."""
    tracks = tuple(row if isinstance(row, TrackInfo) else TrackInfo(**row) for row in rows)
    names = [track.track for track in tracks]
    if len(set(names)) != len(names) or [track.track for track in tracks if track.kind == "main"] != ["main"]:
        raise ValueError(f"tracks {names}")
    if any(track.kind not in KINDS for track in tracks):
        raise ValueError(f"kinds {[track.kind for track in tracks]}")
    return tracks


@attrs.frozen(kw_only=True)
class Job:
    """
    The first order: what to write. `on_param_change`: "keep" everything in one file, or "split" it where parameters
    change.
    """

    target: str
    faststart: bool = False
    file_time: float | None = None
    expected_duration_s: float = 0.0
    tracks: tuple[TrackInfo, ...] = attrs.field(default=(MAIN,), converter=_read_tracks)
    on_param_change: str = attrs.field(default="keep", validator=attrs.validators.in_(("keep", "split")))
    journal: str = ""
    """Where a low-disk job writes down its checkpoints; "": it makes none."""
    merged: int = 0
    """So many parts are behind a checkpoint in the target; what follows goes on from there."""
    subtitle_files: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    sources: tuple[str, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(tuple))
    """The directories of everything that will be read; None: nobody says so, and the box stays open for reading."""
    handed: bool = False
    """Whether files beside the target are opened by the parent, and handed over through descriptor `HANDING_FD`."""


@attrs.frozen(kw_only=True)
class Feed:
    """
    One finished segment. `number` is its position, `splice` its discontinuity sequence number, `start_s` its place in
    its playlist.
    """

    track: str
    number: int
    path: str
    kind: str
    duration_s: float
    start_s: float = 0.0
    splice: int = 0
    init: str | None = None


@attrs.frozen(kw_only=True)
class Hole:
    """
    A segment that is not there. `keep`: its time stays empty; otherwise what follows moves up.
    """

    track: str
    number: int
    duration_s: float
    splice: int = 0
    keep: bool = False


@attrs.frozen(kw_only=True)
class TrackEnd:
    """
    Nothing of this track follows; the others go on.
    """

    track: str


@attrs.frozen(kw_only=True)
class Cut:
    """
    Of a low-disk job: make a checkpoint when all tracks have come this far, which is after `parts` parts.
    """

    parts: int


@attrs.frozen(kw_only=True)
class End:
    """
    Nothing follows: finish the file.
    """


Order = Feed | Hole | TrackEnd | Cut | End
"""What follows the job."""

_ORDERS: dict[str, type[Job | Order]] = {
    "job": Job,
    "seg": Feed,
    "gap": Hole,
    "track_end": TrackEnd,
    "cut": Cut,
    "end": End,
}


def parse_order(line: bytes) -> Job | Order:
    """
    The order in one line.

    Raises:
        BadOrder: it is none.
    """
    try:
        fields: dict[str, Any] = json.loads(line)  # Any: JSON
        order: Job | Order = _ORDERS[fields.pop("op")](**fields)
        return order
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadOrder(f"{error!r} in {line[:200]!r}") from error


class Inbox:
    """
    The orders, read when they are needed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ended = False

    def job(self) -> Job:
        """The first order."""
        order = parse_order(self._line())
        if not isinstance(order, Job):
            raise BadOrder(f"expected the job, got {type(order).__name__}")
        return order

    def take(self) -> Order:
        """The next order; blocks until there is one. After the end it is the end for ever."""
        if self._ended:
            return End()
        order = parse_order(self._line())
        if isinstance(order, Job):
            raise BadOrder("a second job")
        self._ended = isinstance(order, End)
        return order

    def _line(self) -> bytes:
        line = self._stream.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ParentGone
        return line


class Outbox:
    """
    The reports, each written at once. Texts for people go in both languages.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.lasting: list[dict[str, Any]] = []  # Any: JSON
        """What was said of segments, until somebody writes it down and empties the list."""

    def ready(self) -> None:
        """The child is up and waits for its job."""
        self._send(ev="ready")

    def boxed(self, box: Mapping[str, object]) -> None:
        """The box is closed, as well as this machine can; media is read from now on."""
        self._send(ev="box", **box)

    def make(self, suffix: str) -> None:
        """Open a new file beside the target, and hand it over: we cannot."""
        self._send(ev="make", suffix=suffix)

    def opened(self, track: str, number: int) -> None:
        """Segment `number` is being read from now on; if we die, it is the suspect."""
        self._send(ev="open", track=track, n=number)

    def taken(self, track: str, number: int) -> None:
        """Segment or gap `number` has been read to its end."""
        self._send(ev="seg", track=track, n=number)

    def warn(self, track: str, number: int, text: str) -> None:
        """Something about segment `number` (0: about the whole) that people should know."""
        self.repeat({"ev": "warn", "track": track, "n": number, **in_both("text", text)})

    def lost(self, track: str, number: int, reason: str) -> None:
        """Segment `number` could not be used: nothing of it is in the file."""
        self.repeat({"ev": "lost", "track": track, "n": number, **in_both("reason", reason)})

    def repeat(self, report: dict[str, Any]) -> None:  # Any: JSON
        """Say something of a segment that must not be forgotten with it, perhaps for the second time."""
        self.lasting.append(report)
        self._send(**report)

    def checkpoint(self, *, parts: int, size_bytes: int, made: bool) -> None:
        """
        All tracks have come to a cut after `parts` parts. `made`: nothing of what is before it will be read again, the
        target is `size_bytes` long there; otherwise the cut had to be passed over.
        """
        self._send(ev="checkpoint", parts=parts, size=size_bytes, made=made)

    def hungry(self, track: str, heard: int) -> None:
        """`track` has nothing to go on with, others have: `heard` segments and gaps have been read from the pipe."""
        self._send(ev="hungry", track=track, heard=heard)

    def span(self, track: str, number: int, *, file: int, start_s: float, end_s: float) -> None:
        """What was written of segment `number` stands from `start_s` to `end_s` in the `file`-th file."""
        place = {"track": track, "n": number, "file": file, "from": round(start_s, 6), "to": round(end_s, 6)}
        self.repeat({"ev": "span", **place})

    def closing(self) -> None:
        """All media is muxed; what follows takes as long as the disk needs."""
        self._send(ev="closing")

    def alive(self) -> None:
        """Work goes on, nothing else to tell."""
        self._send(ev="alive")

    def done(
        self,
        *,
        size_bytes: int,
        duration_s: float,
        packets: dict[str, int],
        companions: Iterable[Mapping[str, str]] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        """
        The file is complete, verified and synced. `companions`: {"path", "suffix"} of further files, as good as it;
        `details`: what is known of tracks, for people who ask how complete it is.
        """
        self._send(
            ev="done",
            size=size_bytes,
            dur=duration_s,
            packets=packets,
            companions=list(companions),
            details=details or {},
        )

    def failed(self, fault: Fault, reason: str, *, number: int = 0) -> None:
        """There will be no file. `number` is the system's, where it was the system that said no."""
        self._send(ev="failed", fault=fault.value, **in_both("reason", reason), errno=number)

    def _send(self, **report: object) -> None:
        line = json.dumps(report, ensure_ascii=True).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]
