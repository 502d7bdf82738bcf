"""
Carries out one plan: N workers over one iterator of jobs, and the finished segments as an ordered stream of parts.

A worker takes the next job, asks for key and init section, fetches, decrypts, checks and stores; on an error the hook
`after_failure` decides. The merger reads `parts()` meanwhile: it sees the segments of all tracks in order of time, as
soon as they are there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Literal, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from m3u8svc.errors import Fault, M3u8svcError, MissingInit, SegmentError, SegmentFailed, SkippedByStatus
from m3u8svc.fetch import Fetched, Fetcher, FetchLimits
from m3u8svc.hls.decrypt import Decryptor, decryption_for, read_data_uri, read_key
from m3u8svc.hls.media import Media, MediaCheck, check_init
from m3u8svc.hls.plan import Absent, DownloadPlan, SegmentJob, init_identity
from m3u8svc.hls.playlist import MAIN, InitSection, Key, Segment, is_of_texts
from m3u8svc.hls.uri import host_of
from m3u8svc.hooks import Hooks
from m3u8svc.offerings import Gap, MediaFile, Part, SegmentOutcome
from m3u8svc.redact import redact_url
from m3u8svc.tasks.headers import request_headers
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.merged import Merged, Missing, PartsDigest, digest_of
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import GiveUp, Retry, SkipSegment
from m3u8svc.tasks.task import Task
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.waiting import Once, together
from m3u8svc.workdir import Listing, PartFile, Stored, WorkDir

Place = tuple[str, int]
"""Track and position of a segment."""

AUTOMATIC_THREADS = 16
KEY_BYTES = 4 << 10
INIT_BYTES = 16 << 20
SEGMENT_BYTES = 2 << 30
SLOWEST = 20.0
"""A segment may take this many times its own duration, at least a minute (reliability.md 2.4)."""


@attrs.frozen(kw_only=True)
class LeftOut:
    """
    A segment left out while fetching, and why.
    """

    segment: Segment
    reason: str
    status: int | None
    track: str = MAIN
    attempts: int = 1


def segment_label(track: str, position: int) -> str:
    """
    How people are told of a segment: as the file it would be kept in.
    """
    return f"{position:05d}.ts" if track == MAIN else f"{track}-{position:05d}"


@attrs.frozen(kw_only=True)
class Wire:
    """
    How this task's requests go out: scoped headers, the hooks, the one door.
    """

    task: Task
    hooks: Hooks
    fetcher: Fetcher
    note: Callable[[str], None]
    """Takes a line for the task's debug log."""
    withheld: set[str] = attrs.field(factory=set)
    """Names of headers that did not go to some host, for the task's warnings."""

    async def request(self, url: str, purpose: Purpose, *, segment: Segment | None = None) -> Request:
        """
        A request of this task, as the pipeline of `prepare_request` leaves it.
        """
        spec = self.task.spec
        scoped = request_headers(spec.headers, spec.address, url)
        self.withheld.update(scoped.withheld)
        request = Request(
            url=url,
            purpose=purpose,
            headers=scoped.headers,
            byterange=segment.byterange if segment else None,
            position=segment.position if segment else None,
            insecure=spec.settings.allow_insecure_https,
        )
        prepared: Request = await self.hooks.pipeline("prepare_request", "request", request, task=self.task)
        return prepared

    def agent_for(self, attempt: int) -> Callable[[Request], Awaitable[IAgent]]:
        """
        Asks the hooks for the agent of a request, fail-closed.
        """

        async def ask(request: Request) -> IAgent:
            agent: IAgent = await self.hooks.ask("provide_agent", request=request, task=self.task, attempt=attempt)
            return agent

        return ask

    async def read(self, request: Request, *, max_bytes: int, attempt: int = 1) -> tuple[Fetched, bytes]:
        """
        A small body, whole.
        """
        limits = FetchLimits(max_bytes=max_bytes, total_s=60.0)
        fetched, body = await self.fetcher.read(request, agent_for=self.agent_for(attempt), limits=limits)
        self.note(f"{request.purpose.value} {fetched.status} {len(body)}B {redact_url(fetched.url)}")
        return fetched, body


class Elsewhere(Protocol):
    """
    Other places that hold the main stream.
    """

    async def stand_ins(self, segment: Segment) -> Sequence[Segment]:
        """The same segment at each of them, in the order to try."""
        ...


class Nowhere:
    """
    There is no other place.
    """

    async def stand_ins(self, segment: Segment) -> Sequence[Segment]:
        """None."""
        return ()


class Download:
    """
    One plan being carried out. `found` is what earlier runs left; `record` takes ledger rows; `elsewhere` knows where
    else a segment may be when its own place fails.
    """

    log = Logger()

    def __init__(
        self,
        plan: DownloadPlan,
        found: Listing,
        *,
        wire: Wire,
        workdir: WorkDir,
        clock: IReactorTime,
        tracker: Tracker,
        record: Callable[[SegmentRow], None],
        merge_despite_status: bool,
        tells_of_absent: bool = True,
        elsewhere: Elsewhere | None = None,
        merged: Merged | None = None,
        ledger: Mapping[Place, SegmentRow] | None = None,
    ) -> None:
        self._plan = plan
        self._wire = wire
        self._task = wire.task
        self._workdir = workdir
        self._found = found
        self._clock = clock
        self._tracker = tracker
        self._record = record
        self._merge_despite_status = merge_despite_status
        self._tells_of_absent = tells_of_absent
        self._elsewhere = elsewhere or Nowhere()
        self._moved = False
        """Whether another place has helped out: from then on it is asked first."""
        self._once = Once()
        self._ready: dict[Place, Part] = {}
        self._awaited: dict[Place, list[Deferred[None]]] = {}
        self._unrecorded: dict[tuple[int, str], SegmentRow] = {}
        self._order = _in_order_of_time(plan)
        self._ends = {place[0]: place for place in self._order}
        self._jobs = {_place(job): job for job in plan.jobs}
        self._digest = PartsDigest()
        self._stored: dict[tuple[int, str], Stored] = {}
        self._dropped: set[tuple[int, str]] = set()
        self._inits: set[str] = set()
        self.rows: dict[Place, SegmentRow] = {}
        """How each segment ended that is there or was skipped, so far."""
        self._damage: dict[Place, str] = {}
        self.sources: dict[Place, str] = {}
        """Where segments came from that did not come from where the playlist says."""
        self.skipped: list[LeftOut] = []
        self.lost: list[LeftOut] = []
        """Given up, where the task allows gaps."""
        self.warnings: list[str] = []
        self._ledger = ledger or {}
        self._merged = merged or Merged()
        self._gone = self._merged.parts
        """How many parts, in their order, were let go of."""
        self._gate = None if merged is None else Gate(self._order, merged)

    async def run(self) -> None:
        """
        Fetch everything the plan wants that is not there yet.

        Raises:
            SegmentFailed: a segment was given up.
            SkippedByStatus: all is fetched but what ``http.code=`` left out, and the task may not merge without it.
        """
        merged = set(self._order[: self._merged.parts])
        self._remember(merged)
        for absent in self._plan.absent:
            if (absent.track, absent.position) not in merged:
                self._put(self._gap(absent, keep=absent.declared))
        wanted = [job for job in self._plan.jobs if _place(job) not in merged and not self._adopt(job)]
        if self._gate is not None:
            wanted.sort(key=_gate_order(self._order))
        jobs = iter(wanted)
        workers = min(len(wanted), self._task.spec.settings.download_threads or AUTOMATIC_THREADS)
        await together(*(self._work(jobs) for _ in range(workers)))
        if self.skipped and not self._merge_despite_status:
            raise SkippedByStatus(count=len(self.skipped))

    def identity(self, position: int) -> str:
        """
        Of a segment of the main stream; "" when it is not wanted.
        """
        job = self._jobs.get((MAIN, position))
        return "" if job is None else job.identity

    async def fetch_one(self, position: int) -> Part:
        """
        One segment of the main stream alone, fetched if it is not there yet.

        Raises:
            SegmentFailed: it was given up.
        """
        place = (MAIN, position)
        if place not in self._ready:
            job = self._jobs[place]
            if not self._adopt(job):
                await self._carry_out(job)
        return self._ready[place]

    def listing(self) -> Listing:
        """
        What is on disk now: found there, or fetched since.
        """
        segments = {**self._found.segments, **self._stored}
        left = {key: stored for key, stored in segments.items() if key not in self._dropped}
        return Listing(segments=left, inits=self._found.inits | self._inits)

    def drop(self, places: Set[Place]) -> list[Stored]:
        """
        Forget the files of these places, which are no usable media; returns them.
        """
        dropped = []
        for job in self._plan.jobs:
            key = (job.segment.position, job.identity)
            if _place(job) in places:
                stored = self._stored.pop(key, None) or self._found.segments.get(key)
                self._dropped.add(key)
                self._unrecorded.pop(key, None)
                dropped += [] if stored is None else [stored]
        return dropped

    async def parts(self) -> AsyncIterator[Part]:
        """
        Every segment of every track that is not merged yet, in order of time, as a file or as a gap; waits for each.
        """
        for place in self._order[self._merged.parts :]:
            if place not in self._ready:
                arrival: Deferred[None] = Deferred()
                self._awaited.setdefault(place, []).append(arrival)
                await arrival
            yield self._ready[place]

    def files(self) -> list[MediaFile]:
        """
        The segments that are there, in order of time.
        """
        ready = [self._ready[place] for place in self._order if place in self._ready]
        return [part for part in ready if isinstance(part, MediaFile)]

    def digest(self, parts: int) -> str:
        """
        What identifies the first `parts` of all parts. They only become more.
        """
        self._digest.add(_planned(self._jobs, self._order[self._digest.count : parts]))
        return self._digest.text

    def missing(self, parts: int) -> tuple[Missing, ...]:
        """
        The holes among the first `parts` of all parts that fetching has left.
        """
        holes = [(each, False) for each in self.skipped] + [(each, True) for each in self.lost]
        places = set(self._order[:parts]) if holes else set()
        return tuple(
            Missing(track=each.track, position=each.segment.position, reason=each.reason, status=each.status, lost=lost)
            for each, lost in holes
            if (each.track, each.segment.position) in places
        )

    def left_behind(self) -> list[Stored]:
        """
        Files of parts that were merged already, which an earlier run did not come to remove.
        """
        places = set(self._order[: self._merged.parts])
        keys = [(job.segment.position, job.identity) for job in self._plan.jobs if _place(job) in places]
        return [self._found.segments[key] for key in keys if key in self._found.segments]

    def let_go(self, parts: int) -> list[Stored]:
        """
        The first `parts` of all parts are in the target for good: returns the files that are of no use any more.
        """
        passed = self._order[self._gone : parts]
        self._gone = parts
        gone = []
        for place in passed:
            if isinstance(self._ready.pop(place, None), MediaFile):
                key = (place[1], self._jobs[place].identity)
                stored = self._stored.get(key) or self._found.segments[key]
                self.synced(stored)  # the target is
                gone.append(stored)
        return gone

    def pass_cut(self, parts: int) -> None:
        """
        The merger is beyond a cut after `parts` parts, and what was there to remove is removed.
        """
        if self._gate is not None:
            self._gate.pass_cut(parts)

    def _remember(self, merged: Set[Place]) -> None:
        """
        Count what is merged already, and say again what was to be said of it.
        """
        holes = {(each.track, each.position): each for each in self._merged.missing}
        for job in self._plan.jobs:
            if _place(job) not in merged:
                continue
            row = self._ledger.get(_place(job))
            if row is None or row.identity != job.identity:  # not stored yet when the service died
                row = SegmentRow(track=job.track, position=job.segment.position, identity=job.identity)
            hole = holes.get(_place(job))
            if hole is None:
                self.rows[_place(job)] = row
            elif not hole.lost:
                self.rows[_place(job)] = attrs.evolve(row, outcome="skipped", reason=hole.reason, status=hole.status)
            self._tracker.adopt(size_bytes=0 if hole else row.size_bytes)
            if hole is not None:
                left = LeftOut(segment=job.segment, reason=hole.reason, status=hole.status, track=job.track)
                (self.lost if hole.lost else self.skipped).append(left)
                if hole.lost:
                    self.warnings.append(hole.reason)

    def found_of(self, whole: DownloadPlan) -> list[MediaFile]:
        """
        Segments of another plan for the same playlists that earlier runs left, and that this one leaves out.
        """
        left_out = [job for job in whole.jobs if not isinstance(self._ready.get(_place(job)), MediaFile)]
        found = [(job, self._look_up(job)) for job in left_out]
        return [self._media_file(job, *there) for job, there in found if there is not None]

    def synced(self, stored: Stored) -> None:
        """
        A segment is durable: now it may stand in the ledger.
        """
        row = self._unrecorded.pop((stored.position, stored.identity), None)
        if row is not None:
            self._record(row)

    def record_rest(self) -> None:
        """
        The result is durable: the ledger is complete.
        """
        for row in self._unrecorded.values():
            self._record(row)
        self._unrecorded.clear()

    def _adopt(self, job: SegmentJob) -> bool:
        found = self._look_up(job)
        if found is None:
            return False
        stored, init = found
        segment = job.segment
        self._tracker.adopt(size_bytes=stored.size_bytes)
        self.rows[_place(job)] = _row(job, stored, attempts=1)
        if not stored.synced:
            self._unrecorded[segment.position, job.identity] = self.rows[_place(job)]
        self._put(self._media_file(job, stored, init))
        return True

    def _look_up(self, job: SegmentJob) -> tuple[Stored, Path | None] | None:
        """
        What an earlier run left of a segment: the file and its init section.
        """
        stored = self._found.segments.get((job.segment.position, job.identity))
        if stored is None:
            return None
        if job.segment.init is None:
            return stored, None
        init = self._workdir.init_path(init_identity(job.segment.init, job.track))
        return (stored, init) if init.name in self._found.inits else None

    async def _work(self, jobs: Iterator[SegmentJob]) -> None:
        for job in jobs:
            if self._gate is not None:
                await self._gate.enter(_place(job))
            await self._carry_out(job)

    async def _carry_out(self, job: SegmentJob) -> None:
        """
        One segment to its end: on disk, left out, or the task's failure.
        """
        attempt = 1
        if self._moved and await self._from_elsewhere(job, attempt):
            return
        while True:
            try:
                part = await self._attempt(job, attempt)
            except M3u8svcError as error:
                decision = await self._decide(job, error, attempt)
                if isinstance(decision, SkipSegment):
                    self._leave_out(job, decision, attempt)
                    return await self._tell(job, "skipped", attempt, reason=decision.reason)
                if isinstance(decision, GiveUp):
                    if error.fault is Fault.ORIGIN and await self._from_elsewhere(job, attempt + 1):
                        return
                    self._give_up(job, error, attempt)
                    return await self._tell(job, "lost", attempt, reason=error.text("en"))
                await self._sleep(decision.delay_s)
                attempt += 1
                continue
            self._done(job, part, attempt)
            return await self._tell(job, "done", attempt, size_bytes=part.size_bytes)

    async def _from_elsewhere(self, job: SegmentJob, attempt: int) -> bool:
        """
        Get a segment of the main stream from another place that holds the same; False when there is none.
        """
        if job.track != MAIN:
            return False
        for stand_in in await self._elsewhere.stand_ins(job.segment):
            try:
                part = await self._attempt(attrs.evolve(job, segment=stand_in), attempt)
            except M3u8svcError as error:
                if error.fault is not Fault.ORIGIN:
                    raise
                self._wire.note(f"segment {job.segment.position} at {redact_url(stand_in.uri)}: {error}")
                continue
            self.sources[_place(job)] = stand_in.uri
            if not self._moved:
                self._moved = True
                self.warnings.append(
                    f"自第 {job.segment.position} 个分片起，首选地址失败的分片取自备用地址 {host_of(stand_in.uri)}"
                )
            self._done(job, part, attempt)
            await self._tell(job, "done", attempt, size_bytes=part.size_bytes)
            return True
        return False

    async def _tell(
        self,
        job: SegmentJob,
        kind: Literal["done", "skipped", "lost"],
        attempts: int,
        *,
        size_bytes: int = 0,
        reason: str = "",
    ) -> None:
        """
        Tell the plugins how a segment ended; a slow one holds this worker up and no other.
        """
        if kind != "done" and not self._tells_of_absent:
            return
        outcome = SegmentOutcome(kind=kind, attempts=attempts, size_bytes=size_bytes, reason=reason, track=job.track)
        await self._wire.hooks.tell("segment_finished", segment=job.segment, outcome=outcome, task=self._task)

    async def _decide(self, job: SegmentJob, error: M3u8svcError, attempt: int) -> Retry | SkipSegment | GiveUp:
        position = job.segment.position
        decision: Retry | SkipSegment | GiveUp = await self._wire.hooks.ask(
            "after_failure", segment=job.segment, error=error, attempt=attempt, task=self._task
        )
        self._wire.note(f"segment {position} attempt {attempt} failed: {error} -> {decision}")
        self.log.debug(
            "segment {position} attempt {attempt}: {code}",
            task=self._task.id,
            position=position,
            attempt=attempt,
            code=error.code,
        )
        return decision

    async def _sleep(self, delay_s: float) -> None:
        self._tracker.sleeping += 1
        try:
            await deferLater(self._clock, delay_s)
        finally:
            self._tracker.sleeping -= 1

    def _done(self, job: SegmentJob, part: MediaFile, attempts: int) -> None:
        self._tracker.finished(size_bytes=part.size_bytes)
        row = _row(job, self._stored[part.position, job.identity], attempts)
        row = attrs.evolve(row, reason=self._damage.get(_place(job), ""))
        self._unrecorded[part.position, job.identity] = self.rows[_place(job)] = row
        self._put(part)

    def _leave_out(self, job: SegmentJob, decision: SkipSegment, attempts: int) -> None:
        segment = job.segment
        self._tracker.finished(size_bytes=0)
        self.skipped.append(LeftOut(segment=segment, reason=decision.reason, status=decision.status, track=job.track))
        self.rows[_place(job)] = SegmentRow(
            track=job.track,
            position=segment.position,
            identity=job.identity,
            attempts=attempts,
            outcome="skipped",
            reason=decision.reason,
            status=decision.status,
        )
        self._record(self.rows[_place(job)])
        # What follows moves up in the whole presentation, or not at all: a rendition alone keeps its hole.
        self._put(self._gap(_absent(job, decision.reason), keep=job.track != MAIN))

    def _give_up(self, job: SegmentJob, error: M3u8svcError, attempts: int) -> None:
        segment = job.segment
        if error.fault is not Fault.ORIGIN:
            raise error
        failed = SegmentFailed(name=segment_label(job.track, segment.position), cause=error)
        if not self._task.spec.extensions.allow_gaps:
            raise failed from error
        self._tracker.finished(size_bytes=0)
        self.warnings.append(failed.text("zh"))
        reason = failed.text("zh")
        self.lost.append(LeftOut(segment=segment, reason=reason, status=None, track=job.track, attempts=attempts))
        self._put(self._gap(_absent(job, failed.text("zh")), keep=True))

    async def _attempt(self, job: SegmentJob, attempt: int) -> MediaFile:
        segment = job.segment
        key = None if segment.key is None else await self._key(segment.key)
        init = None if segment.init is None else await self._init(segment.init, job.track)
        request = await self._wire.request(segment.uri, Purpose.SEGMENT, segment=segment)
        part = self._workdir.part(f"{segment.position:08d}-{job.identity}")
        sink = SegmentSink(segment, key, part, self._tracker, of_texts=is_of_texts(job.track))
        limits = FetchLimits(max_bytes=SEGMENT_BYTES, total_s=max(60.0, SLOWEST * segment.duration_s))
        try:
            fetched = await self._wire.fetcher.fetch(
                request, sink, agent_for=self._wire.agent_for(attempt), limits=limits
            )
            media = sink.finish(length_known=fetched.length_known)
            if media.kind == "fmp4" and init is None:
                raise MissingInit(position=segment.position, reason="")
            stored = await self._keep(job, part, media, fetched)
            self._stored[segment.position, job.identity] = stored
        except BaseException:  # also when cancelled: nothing half-written stays
            await part.discard()
            raise
        shown = f"{fetched.status} {fetched.size_bytes}B {media.kind} {redact_url(fetched.url)}"
        self._wire.note(f"segment {segment.position} {shown}")
        if media.damage:
            self._damage[_place(job)] = media.damage
            where = "" if job.track == MAIN else f"{job.track} "
            self.warnings.append(f"{where}第 {segment.position} 个分片：{media.damage}")
        return self._media_file(job, stored, init)

    async def _keep(self, job: SegmentJob, part: PartFile, media: Media, fetched: Fetched) -> Stored:
        wanted_time = fetched.last_modified if self._task.spec.settings.use_server_file_time else None
        return await self._workdir.keep(part, job.segment.position, job.identity, media.kind, modified_at=wanted_time)

    async def _key(self, key: Key) -> bytes:
        return await self._once.get(f"key {key.uri}", lambda: self._fetch_key(key))

    async def _fetch_key(self, key: Key) -> bytes:
        if key.value is not None:
            return key.value
        provided: bytes | None = await self._wire.hooks.ask("provide_key", key=key, task=self._task)
        if provided is not None:
            return provided
        if key.uri.startswith("data:"):
            return read_key(read_data_uri(key.uri, KEY_BYTES), key.uri)
        request = await self._wire.request(key.uri, Purpose.KEY)
        _, body = await self._wire.read(request, max_bytes=KEY_BYTES)
        return read_key(body, key.uri)

    async def _init(self, init: InitSection, track: str) -> Path:
        identity = init_identity(init, track)
        path = self._workdir.init_path(identity)
        if path.name in self._found.inits:
            return path
        return await self._once.get(f"init {identity}", lambda: self._fetch_init(init, path))

    async def _fetch_init(self, init: InitSection, path: Path) -> Path:
        if init.uri.startswith("data:"):
            body = read_data_uri(init.uri, INIT_BYTES)
        else:
            request = await self._wire.request(init.uri, Purpose.INIT)
            _, body = await self._wire.read(attrs.evolve(request, byterange=init.byterange), max_bytes=INIT_BYTES)
        if init.key is not None and init.iv is not None:
            decryption = decryption_for(init.key, await self._key(init.key), init.iv, 0)
            body = decryption.update(body) + decryption.finish()
        check_init(body)
        stored = await self._workdir.store_bytes(path.name, body)
        self._inits.add(path.name)
        return stored

    def _put(self, part: Part) -> None:
        place = (part.track, part.position)
        self._ready[place] = part
        if self._gate is not None:
            self._gate.add(part)
        for arrival in self._awaited.pop(place, []):
            if not arrival.called:  # called: whoever waited was cancelled
                arrival.callback(None)

    def _media_file(self, job: SegmentJob, stored: Stored, init: Path | None) -> MediaFile:
        segment = job.segment
        return MediaFile(
            position=segment.position,
            path=stored.path,
            kind=stored.kind,
            duration_s=segment.duration_s,
            discontinuity_sequence=segment.discontinuity_sequence,
            init=init,
            size_bytes=stored.size_bytes,
            track=job.track,
            start_s=segment.start_s,
            last=self._ends.get(job.track) == _place(job),
        )

    def _gap(self, absent: Absent, *, keep: bool) -> Gap:
        return Gap(
            position=absent.position,
            duration_s=absent.duration_s,
            discontinuity_sequence=absent.discontinuity_sequence,
            reason=absent.reason,
            keep=keep,
            track=absent.track,
            start_s=absent.start_s,
            last=self._ends[absent.track] == (absent.track, absent.position),
        )


class Gate:
    """
    Keeps a low-disk download from running away from its merge: what is on disk beyond the next checkpoint stays small.

    It knows the cuts as the merger will make them, as far as all parts are there. A segment may be fetched unless the
    merger has a cut to come to, with all that it takes, and behind it enough for the next one is there already. So
    whoever is held back is let in again by what the merger has in its hands.
    """

    def __init__(self, order: Sequence[Place], merged: Merged) -> None:
        self._order = order
        self._index = {place: index for index, place in enumerate(order)}
        self._cuts = attrs.evolve(merged.cuts, splices=dict(merged.cuts.splices))
        self._frontier = merged.parts
        self._known: list[int] = []
        """Cuts before the frontier that the merger has not passed."""
        self._there: dict[int, Part] = {}
        self._waiting: list[Deferred[None]] = []

    def add(self, part: Part) -> None:
        """A part is there."""
        self._there[self._index[part.track, part.position]] = part
        while (following := self._there.get(self._frontier)) is not None:
            if self._cuts.comes_before(is_main=following.track == MAIN):
                self._cuts.cut()
                self._known.append(self._frontier)
            self._cuts.add(
                track=following.track,
                splice=following.discontinuity_sequence,
                size_bytes=_size(following),
                last=following.last,
            )
            self._frontier += 1

    def pass_cut(self, parts: int) -> None:
        """The merger is beyond this cut."""
        self._known = [each for each in self._known if each > parts]
        for index in [index for index in self._there if index < min(parts, self._frontier)]:
            del self._there[index]
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:  # called: whoever waited was cancelled
                each.callback(None)

    async def enter(self, place: Place) -> None:
        """Wait until this segment may be fetched."""
        while self._holds_back(self._index[place]):
            released: Deferred[None] = Deferred()
            self._waiting.append(released)
            await released

    def _holds_back(self, index: int) -> bool:
        if not self._known or self._known[0] > index:
            return False
        behind = sum(_size(part) for at, part in self._there.items() if self._known[0] <= at < index)
        return behind >= self._cuts.due_bytes


def _size(part: Part) -> int:
    return part.size_bytes if isinstance(part, MediaFile) else 0


class SegmentSink:
    """
    What a segment's bytes go through: counted, decrypted, recognised, written. One `write` per chunk off the wire.
    """

    def __init__(
        self, segment: Segment, key: bytes | None, part: PartFile, tracker: Tracker, *, of_texts: bool
    ) -> None:
        self._position = segment.position
        self._decryption: Decryptor | None = None
        if segment.key is not None and key is not None and segment.iv is not None:
            self._decryption = decryption_for(segment.key, key, segment.iv, segment.position)
        self._check = MediaCheck(segment.position, of_texts=of_texts)
        self._part = part
        self._tracker = tracker

    def write(self, chunk: bytes) -> Deferred[None] | None:
        """
        Take a chunk; a Deferred asks the connection to pause.
        """
        self._tracker.received(len(chunk))
        if self._decryption is not None:
            chunk = self._decryption.update(chunk)
        return self._part.write(self._check.feed(chunk))

    def finish(self, *, length_known: bool) -> Media:
        """
        The last bytes; says what the segment holds.

        Raises:
            DecryptError, NotMedia: it is not what it should be.
            SegmentError: nobody said how long it is, and it does not end where its container ends (R-INT-1).
        """
        if self._decryption is not None:
            self._part.write(self._check.feed(self._decryption.finish()))
        rest, media = self._check.finish()
        self._part.write(rest)
        if not media.complete and not length_known:
            raise SegmentError(position=self._position, reason=media.damage or "数据不完整")
        return media


def _row(job: SegmentJob, stored: Stored, attempts: int) -> SegmentRow:
    return SegmentRow(
        track=job.track,
        position=job.segment.position,
        identity=job.identity,
        name=stored.final.name,
        size_bytes=stored.size_bytes,
        attempts=attempts,
        digest=stored.digest,
    )


def _absent(job: SegmentJob, reason: str) -> Absent:
    segment = job.segment
    return Absent(
        position=segment.position,
        duration_s=segment.duration_s,
        discontinuity_sequence=segment.discontinuity_sequence,
        reason=reason,
        declared=False,
        start_s=segment.start_s,
        track=job.track,
    )


def plan_digest(plan: DownloadPlan, parts: int) -> str:
    """
    What identifies the first `parts` of all parts of a plan.
    """
    return digest_of(_planned({_place(job): job for job in plan.jobs}, _in_order_of_time(plan)[:parts]))


def _planned(jobs: Mapping[Place, SegmentJob], places: Iterable[Place]) -> Iterator[tuple[str, int, str]]:
    return ((*place, jobs[place].identity if place in jobs else "absent") for place in places)


def _gate_order(order: Sequence[Place]) -> Callable[[SegmentJob], int]:
    """Sorts jobs as the merger takes them: whoever waits at the gate must not keep an earlier one from it."""
    index = {place: number for number, place in enumerate(order)}
    return lambda job: index[_place(job)]


def _place(job: SegmentJob) -> Place:
    return job.track, job.segment.position


def _in_order_of_time(plan: DownloadPlan) -> list[Place]:
    """
    Where every part of the plan stands: tracks side by side, each in the order of its playlist.
    """
    jobs = [(job.segment.start_s, job.track, job.segment.position) for job in plan.jobs]
    absent = [(each.start_s, each.track, each.position) for each in plan.absent if each.track in plan.tracks]
    rank = {track: number for number, track in enumerate(plan.tracks)}
    ordered = sorted(jobs + absent, key=lambda each: (each[0], rank[each[1]], each[2]))
    return [(track, position) for _, track, position in ordered]
