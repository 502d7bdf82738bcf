"""
Carries out one plan: N workers over one iterator of jobs, and the finished segments as an ordered stream of parts.

A worker takes the next job, asks for key and init section, fetches, decrypts, checks and stores; on an error the hook
`after_failure` decides. The merger reads `parts()` meanwhile: it sees the segments of all tracks in order of time, as
soon as they are there.
"""

import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from m3u8svc.errors import (
    DecryptError,
    Fault,
    HttpStatusError,
    M3u8svcError,
    MissingInit,
    NotMedia,
    RetriesExhausted,
    SegmentError,
    SegmentFailed,
    SegmentSlow,
    SkippedByStatus,
)
from m3u8svc.fetch import Fetched, FetchLimits
from m3u8svc.held import FilesNow, Held, JobsOf, Ready
from m3u8svc.hls.decrypt import decryption_for, read_data_uri, read_key
from m3u8svc.hls.media import Media, check_init
from m3u8svc.hls.plan import Absent, DownloadPlan, Place, SegmentJob, init_identity
from m3u8svc.hls.playlist import MAIN, InitSection, Key, Segment, is_of_texts
from m3u8svc.hls.uri import host_of
from m3u8svc.keepingpace import Gate
from m3u8svc.offerings import Gap, MediaFile, Part, SegmentOutcome
from m3u8svc.redact import redact_url
from m3u8svc.segmentsink import Digest, SegmentSink, is_sealed
from m3u8svc.tasks.budget import Budget
from m3u8svc.tasks.completeness import UNVERIFIED
from m3u8svc.tasks.ledger import Ledger, SegmentRow
from m3u8svc.tasks.merged import Merged, Missing, PartsDigest, digest_of
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import MAY_BE_EXPIRED, GiveUp, Retry, SkipSegment, Tally, speaks_for_itself
from m3u8svc.tasks.segmentmap import IN_FLIGHT, MISSING, SKIPPED, WAITING, SegmentStates
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.tasks.turns import Turns
from m3u8svc.tasks.viewing import AHEAD as AHEAD_OF_VIEWER
from m3u8svc.tasks.viewing import Viewer
from m3u8svc.underway import Transfer, UnderWay
from m3u8svc.waiting import Once, beside, either, together
from m3u8svc.wire import Wire
from m3u8svc.wording import Said, said
from m3u8svc.workdir import Listing, PartFile, Stored, WorkDir

T = TypeVar("T")

KEY_BYTES = 4 << 10
INIT_BYTES = 16 << 20
SEGMENT_BYTES = 2 << 30
LOOK_AT_CLOCK = 16
TURN_S = 0.008
"""How long one turn of taking over what is there may last: others use the reactor, too."""
AHEAD = 1.25
"""
So many workers for each request that may be under way, where the task sets no number: whoever stores a segment leaves
his connection to another one meanwhile.
"""
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


class Renewal(Protocol):
    """
    The links of what is planned, which may expire.
    """

    def renewed(self, job: SegmentJob) -> SegmentJob:
        """The job with the links that are good now."""
        ...

    def key_name(self, uri: str) -> str:
        """What the key at this link was called first."""
        ...

    async def renew(self, job: SegmentJob, tried: SegmentJob, error: M3u8svcError, *, again: bool) -> bool:
        """
        Whether there are other links now than those `tried`, which failed with `error`. `again`: they were new.

        Raises:
            NeedsUrl: nobody but the user can get others.
        """
        ...


class AsPlanned:
    """
    Links stay what they are.
    """

    def renewed(self, job: SegmentJob) -> SegmentJob:
        """The job as it is."""
        return job

    def key_name(self, uri: str) -> str:
        """Its only link."""
        return uri

    async def renew(self, job: SegmentJob, tried: SegmentJob, error: M3u8svcError, *, again: bool) -> bool:
        """No."""
        return False


class Download:
    """
    One plan being carried out. `found` is what earlier runs left; `record` takes ledger rows; `elsewhere` knows where
    else a segment may be when its own place fails, `links` what to do when its link has expired.
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
        links: Renewal | None = None,
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
        self._links = links or AsPlanned()
        self._moved = False
        """Whether another place has helped out: from then on it is asked first."""
        self._once = Once()
        threads = self._task.spec.settings.download_threads
        self._workers = threads or math.ceil(AHEAD * wire.hosts.ceilings.per_host)
        self._budget = Budget(segments=len(plan.jobs), workers=min(len(plan.jobs), threads))
        self._under_way = UnderWay(
            clock,
            closed_for_s=wire.hosts.closed_for_s,
            may_ask_twice=self._budget.spend_spare,
            is_limited=wire.is_limited,
            say=self._say_what_is_waited_for,
            show=lambda text: setattr(tracker, "waits_for", text),
        )
        self._unverified = 0
        self._ready = Ready(plan.jobs, self._file_of)
        self._awaited: dict[Place, list[Deferred[None]]] = {}
        self._viewer = Viewer()
        self._watching: set[Deferred[None]] = set()
        self._watched_out = False
        """Whether nothing comes any more."""
        self._unrecorded: dict[tuple[int, str], SegmentRow] = {}
        self._order = plan.order
        self._digest = PartsDigest()
        self._stored = Held(plan.jobs, workdir)
        self._dropped: set[tuple[int, str]] = set()
        self._inits: set[str] = set()
        self.states = SegmentStates(plan.order)
        self.rows = Ledger()
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
        self._remember()
        for absent in self._plan.absent:
            self._show_absent(absent)
            if not self._is_merged((absent.track, absent.position)):
                self._put(self._gap(absent, keep=absent.declared))
        wanted, hosts = await self._wanted()
        workers = min(len(wanted), self._workers)
        if self._gate is None:
            turns = Turns(self._plan.jobs, workers=workers, viewer=self._viewer)
            await self._in_turns(range(len(wanted)), lambda index: turns.add(wanted[index], hosts[index]))
        else:
            turns = Turns(JobsOf(self._plan.jobs, wanted), workers=workers)
            await self._in_turns(range(len(wanted)), lambda index: turns.add(index, hosts[index]))
        viewers = self._wire.hosts.viewers
        viewers[self._task.id] = self._viewer
        try:
            await beside(together(*(self._work(turns) for _ in range(workers))), self._under_way.watch())
        finally:
            viewers.pop(self._task.id, None)
            if self._budget.spent:
                self.log.info("task {task} asked again {count} times", task=self._task.id, count=self._budget.spent)
        if self._unverified:
            zh, en = "{count} 个分片：{why}", "{count} segments: {why}"
            self.warnings.append(said(zh, en, count=self._unverified, why=UNVERIFIED))
        if self.skipped and not self._merge_despite_status:
            raise SkippedByStatus(count=len(self.skipped))

    async def _wanted(self) -> tuple[Sequence[int], Sequence[str]]:
        """
        The numbers of the jobs to carry out, and the host of each; what is there already is taken over.
        """
        jobs, wanted, hosts = self._plan.jobs, array("I"), [""]

        def take_over(number: int) -> None:
            if not self._is_merged(jobs.place(number)) and not self._adopt(number):
                wanted.append(number)
                host = _authority(jobs.uri(number))
                hosts.append(hosts[-1] if host == hosts[-1] else host)  # one text for all

        await self._in_turns(range(len(jobs)), take_over)
        if self._gate is None:
            return wanted, hosts[1:]
        # Whoever waits at the gate must not keep an earlier one from it: they go in order, whatever the host.
        ranks: dict[int, int] = {}
        await self._in_turns(wanted, lambda number: ranks.update({number: self._order.find(jobs.place(number))}))
        return sorted(wanted, key=ranks.__getitem__), [""] * len(wanted)

    async def _in_turns(self, numbers: Iterable[int], work: Callable[[int], None]) -> None:
        """
        Do this for each of many. Others have their turn meanwhile.
        """
        turn_began = self._clock.seconds()
        for count, number in enumerate(numbers):
            work(number)
            if count % LOOK_AT_CLOCK == 0 and self._clock.seconds() - turn_began > TURN_S:
                await deferLater(self._clock, 0)
                turn_began = self._clock.seconds()

    def _is_merged(self, place: Place) -> bool:
        return self._merged.parts > 0 and self._order.find(place) < self._merged.parts

    def identity(self, position: int) -> str:
        """
        Of a segment of the main stream; "" when it is not wanted.
        """
        number = self._plan.jobs.find((MAIN, position))
        return "" if number < 0 else self._plan.jobs.identity(number)

    async def fetch_one(self, position: int) -> Part:
        """
        One segment of the main stream alone, fetched if it is not there yet.

        Raises:
            SegmentFailed: it was given up.
        """
        place = (MAIN, position)
        if place not in self._ready:
            number = self._plan.jobs.find(place)
            if not self._adopt(number):
                await self._carry_out(self._plan.jobs[number])
        return self._ready[place]

    def listing(self) -> Listing:
        """
        What is on disk now: found there, or fetched since.
        """
        left = FilesNow(self._found.segments, self._stored, frozenset(self._dropped))
        return Listing(segments=left, inits=self._found.inits | self._inits)

    def drop(self, places: Set[Place]) -> list[Stored]:
        """
        Forget the files of these places, which are no usable media; returns them.
        """
        dropped = []
        for number in sorted(self._plan.jobs.find(place) for place in places):
            if number >= 0:
                self._ready.remove(self._plan.jobs.place(number))
                self.states.put(self._plan.jobs.place(number), WAITING)
                key = self._key_of(number)
                stored = self._stored.pop(key, None) or self._found.segments.get(key)
                self._dropped.add(key)
                self._unrecorded.pop(key, None)
                dropped += [] if stored is None else [stored]
        return dropped

    def _show_absent(self, absent: Absent) -> None:
        if absent.track in self._plan.tracks:
            self.states.put((absent.track, absent.position), MISSING if absent.declared else SKIPPED)

    def _key_of(self, number: int) -> tuple[int, str]:
        return self._plan.jobs.place(number)[1], self._plan.jobs.identity(number)

    async def parts(self) -> AsyncIterator[Part]:
        """
        Every segment of every track that is not merged yet, in order of time, as a file or as a gap; waits for each. A
        file that an earlier run left is read first, just ahead of whoever takes it, if its digest is on record.
        """
        for place in self._order.between(self._merged.parts, len(self._order)):
            if place not in self._ready:
                arrival: Deferred[None] = Deferred()
                self._awaited.setdefault(place, []).append(arrival)
                await arrival
            yield await self._as_recorded(place)

    async def read_through(self) -> None:
        """
        Look at everything as if it was merged: for those who only keep the files.
        """
        async for _ in self.parts():
            continue

    async def _as_recorded(self, place: Place) -> Part:
        """
        What is there for a place. A file of an earlier run whose bytes are not what that run wrote is fetched again: a
        size is soon right, and nothing wrong shall get into a film (R-INT-2).
        """
        part, row = self._ready[place], self._ledger.get(place)
        if not isinstance(part, MediaFile) or row is None or not row.digest:
            return part
        job = self._plan.jobs[self._plan.jobs.find(place)]
        key = (place[1], job.identity)
        if key in self._stored or row.identity != job.identity:
            return part
        if await self._workdir.digest(part.path) == row.digest:
            return part
        name = segment_label(*place)
        zh, en = "{name} 的内容与记录的校验和不符，重新下载", "{name} is not what was written, and is fetched again"
        self.warnings.append(said(zh, en, name=name))
        self.log.warn("task {task}: {name} is not what was written", task=self._task.id, name=name)
        await self._workdir.let_go([self._found.segments[key]])
        self._tracker.lost(size_bytes=part.size_bytes)
        await self._carry_out(job)
        return self._ready[place]

    def files(self) -> list[MediaFile]:
        """
        The segments that are there, in order of time.
        """
        ready = [self._ready[place] for place in self._order if self._ready.is_file(place)]
        return [part for part in ready if isinstance(part, MediaFile)]

    def init_paths(self) -> dict[str, Path]:
        """
        Where each init section is, or would be, by its identity.
        """
        return {identity: self._workdir.init_path(identity) for identity in self._plan.init_identities}

    def file(self, place: Place) -> MediaFile | None:
        """
        The segment of this place, if it is there.
        """
        part = self._ready[place] if self._ready.is_file(place) else None
        return part if isinstance(part, MediaFile) else None

    # -- Watched meanwhile

    def look(self, place: Place) -> None:
        """
        Somebody who watches is here: this and what follows is fetched before the rest. Not beside a low-disk merge,
        which takes everything in order and lets no more be there than it has room for.
        """
        jobs = self._plan.jobs
        number = jobs.find(place)
        if number >= 0 and self._gate is None:
            last = min(number + AHEAD_OF_VIEWER, len(jobs)) - 1
            self._viewer.look(number, from_s=jobs[number].segment.start_s, until_s=jobs[last].segment.start_s)

    @property
    def watching(self) -> int:
        """
        How many who watch wait for a segment.
        """
        return len(self._watching)

    def fate(self, place: Place) -> Part | None:
        """
        What there is for a place now.
        """
        return self._ready[place] if place in self._ready else None

    def is_gap(self, place: Place) -> bool:
        """
        Whether nothing comes for a place.
        """
        return self._ready.is_gap(place)

    def is_let_go(self, place: Place) -> bool:
        """
        Whether a segment was there, and is in the target by now.
        """
        return self._order.find(place) < self._gone

    def init_there(self, place: Place) -> Path | None:
        """
        The init section of the segment of this place, if it has one and that is there.
        """
        job = self._plan.jobs[self._plan.jobs.find(place)]
        if job.segment.init is None:
            return None
        path = self._workdir.init_path(init_identity(job.segment.init, job.track))
        return path if path.name in self._found.inits or path.name in self._inits else None

    async def arrival(self, place: Place) -> None:
        """
        Wait until there is something for the place of a segment, or nothing comes any more. It is fetched next.
        """
        if self._watched_out:
            return
        number = self._plan.jobs.find(place)
        arrival: Deferred[None] = Deferred()
        self._watching.add(arrival)
        self._awaited.setdefault(place, []).append(arrival)
        if self._gate is None:
            self._viewer.ask(number, self._plan.jobs[number].segment.start_s)
        try:
            await arrival
        finally:  # also when it was waited for in vain, as often as one likes: nothing is left of that
            self._watching.discard(arrival)
            waiting = self._awaited.get(place, [])
            if arrival in waiting:
                waiting.remove(arrival)
            if not waiting:
                self._awaited.pop(place, None)
            if self._gate is None:
                self._viewer.leave(number)

    def end_watching(self) -> None:
        """
        Nothing comes any more: whoever waits for a segment need not.
        """
        self._watched_out = True
        for arrival in list(self._watching):
            if not arrival.called:
                arrival.callback(None)

    def digest(self, parts: int) -> str:
        """
        What identifies the first `parts` of all parts. They only become more.
        """
        self._digest.add(_planned(self._plan, self._digest.count, parts))
        return self._digest.text

    def missing(self, parts: int) -> tuple[Missing, ...]:
        """
        The holes among the first `parts` of all parts that fetching has left.
        """
        holes = [(each, False) for each in self.skipped] + [(each, True) for each in self.lost]
        return tuple(
            Missing(track=each.track, position=each.segment.position, reason=each.reason, status=each.status, lost=lost)
            for each, lost in holes
            if self._order.find((each.track, each.segment.position)) < parts
        )

    def left_behind(self) -> list[Stored]:
        """
        Files of parts that were merged already, which an earlier run did not come to remove.
        """
        numbers = [self._plan.jobs.find(place) for place in self._order.between(0, self._merged.parts)]
        keys = [self._key_of(number) for number in numbers if number >= 0]
        return [self._found.segments[key] for key in keys if key in self._found.segments]

    def let_go(self, parts: int) -> list[Stored]:
        """
        The first `parts` of all parts are in the target for good: returns the files that are of no use any more.
        """
        passed = self._order.between(self._gone, parts)
        self._gone = parts
        gone = []
        for place in passed:
            if self._ready.remove(place):
                key = self._key_of(self._plan.jobs.find(place))
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

    def _remember(self) -> None:
        """
        Count what is merged already, and say again what was to be said of it.
        """
        holes = {(each.track, each.position): each for each in self._merged.missing}
        numbers = [self._plan.jobs.find(place) for place in self._order.between(0, self._merged.parts)]
        for number in sorted(number for number in numbers if number >= 0):
            job = self._plan.jobs[number]
            row = self._ledger.get(_place(job))
            if row is None or row.identity != job.identity:  # not stored yet when the service died
                row = SegmentRow(track=job.track, position=job.segment.position, identity=job.identity)
            hole = holes.get(_place(job))
            if hole is None:
                self.rows.put(row)
                self.states.done(_place(job), attempts=row.attempts)
            elif not hole.lost:
                self.rows.put(attrs.evolve(row, outcome="skipped", reason=hole.reason, status=hole.status))
            self._tracker.adopt(size_bytes=0 if hole else row.size_bytes)
            if hole is not None:
                self.states.put(_place(job), MISSING if hole.lost else SKIPPED)
                left = LeftOut(segment=job.segment, reason=hole.reason, status=hole.status, track=job.track)
                (self.lost if hole.lost else self.skipped).append(left)
                if hole.lost:
                    self.warnings.append(hole.reason)

    def found_of(self, whole: DownloadPlan) -> list[MediaFile]:
        """
        Segments of another plan for the same playlists that earlier runs left, and that this one leaves out.
        """
        left_out = [job for job in whole.jobs if not self._ready.is_file(_place(job))]
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

    def _adopt(self, number: int) -> bool:
        if self._key_of(number) not in self._found.segments:
            return False
        job = self._plan.jobs[number]
        found = self._look_up(job)
        if found is None:
            return False
        stored, init = found
        self._tracker.adopt(size_bytes=stored.size_bytes)
        row = _row(job, stored, attempts=1)
        self.rows.put(row)
        known = self._ledger.get(_place(job))
        self.states.done(_place(job), attempts=1 if known is None else known.attempts)
        if not stored.synced:
            self._unrecorded[job.segment.position, job.identity] = row
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

    async def _work(self, turns: Turns[SegmentJob]) -> None:
        while (turn := turns.take(self._is_closed)) is not None:
            group, job = turn
            if self._gate is not None:
                await self._gate.enter(_place(job))
            await self._carry_out(job)
            turns.done(group)
        self._under_way.all_begun()

    def _is_closed(self, authority: str) -> bool:
        return self._wire.hosts.closed_for_s(self._wire.host(f"http://{authority}/")) > 0

    async def _carry_out(self, job: SegmentJob) -> None:
        """
        One segment to its end: on disk, left out, or the task's failure.
        """
        if self._moved and await self._from_elsewhere(job, 1):
            return
        transfer = self._transfer(job)
        self._under_way.add(transfer)
        try:
            await self._see_through(job, transfer)
        finally:
            self._under_way.remove(transfer)

    async def _see_through(self, job: SegmentJob, transfer: Transfer) -> None:
        attempt, tally, renewed = 1, Tally(), False
        while True:
            transfer.begin(attempt)
            tried = self._links.renewed(job)
            try:
                part = await self._attempt_twice(tried, transfer)
            except M3u8svcError as error:
                attempt += max(0, error.attempts - 1)  # of a key or an init section
                decision = await self._decide(job, error, attempt)
                if isinstance(decision, SkipSegment):
                    self._leave_out(job, decision, attempt)
                    return await self._tell(job, "skipped", attempt, reason=decision.reason)
                renewed = await self._links.renew(job, tried, error, again=renewed)
                if renewed:
                    attempt += 1
                    continue
                decision, error = self._within_bounds(decision, error, tally)
                if isinstance(decision, GiveUp):
                    if error.fault is Fault.ORIGIN and await self._from_elsewhere(job, attempt + 1):
                        return
                    self._give_up(job, error, attempt)
                    return await self._tell(job, "lost", attempt, reason=error.text("en"))
                transfer.next_at = self._clock.seconds() + decision.delay_s
                await self._wire.sleep(decision.delay_s)
                attempt += 1
                continue
            self._done(job, part, attempt)
            return await self._tell(job, "done", attempt, size_bytes=part.size_bytes)

    def _within_bounds(
        self, decision: Retry | GiveUp, error: M3u8svcError, tally: Tally
    ) -> tuple[Retry | GiveUp, M3u8svcError]:
        """
        A decision within what this error is worth and the task may ask for at all, and the error it ends with, if so.
        """
        if isinstance(decision, GiveUp):
            return decision, error
        if error.attempts or not tally.allows(error):
            return GiveUp(), error
        if not self._budget.spend():
            ending = error if speaks_for_itself(error) else RetriesExhausted(limit=self._budget.limit, cause=error)
            return GiveUp(), ending
        return decision, error

    def _transfer(self, job: SegmentJob) -> Transfer:
        url = job.segment.uri
        return Transfer(label=segment_label(job.track, job.segment.position), url=url, host=self._wire.host(url))

    def _say_what_is_waited_for(self, waited_s: float, transfers: Sequence[Transfer]) -> None:
        """
        The end takes long: say why, in the log and among the task's incidents.
        """
        self.log.info(
            "task {task} has waited {seconds} s for its last segments: {segments}",
            task=self._task.id,
            seconds=round(waited_s),
            segments="、".join(self._under_way.describe(each) for each in transfers),
        )
        for each in transfers:
            error = SegmentSlow(name=each.label, host=each.host, url=each.url)
            self._wire.failed(error, attempt=each.attempt, segment=each.label)

    async def _from_elsewhere(self, job: SegmentJob, attempt: int) -> bool:
        """
        Get a segment of the main stream from another place that holds the same; False when there is none.
        """
        if job.track != MAIN:
            return False
        for stand_in in await self._elsewhere.stand_ins(job.segment):
            try:
                stand_in_job = attrs.evolve(job, segment=stand_in)
                part = await self._attempt(stand_in_job, self._transfer(stand_in_job), attempt)
            except M3u8svcError as error:
                if error.fault is not Fault.ORIGIN:
                    raise
                self._wire.note(f"segment {job.segment.position} at {redact_url(stand_in.uri)}: {error}")
                continue
            self.sources[_place(job)] = stand_in.uri
            if not self._moved:
                self._moved = True
                self.warnings.append(
                    said(
                        "自第 {n} 个分片起，首选地址失败的分片取自备用地址 {host}",
                        "from segment {n} on, what the preferred address does not give comes from {host}",
                        n=job.segment.position,
                        host=host_of(stand_in.uri),
                    )
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
        if not error.attempts:  # else they were noted where they were made
            self._wire.failed(error, attempt=attempt, segment=segment_label(job.track, job.segment.position))
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

    def _done(self, job: SegmentJob, part: MediaFile, attempts: int) -> None:
        self._tracker.finished(size_bytes=part.size_bytes)
        self._wire.counts.segments["done" if attempts == 1 else "retried"] += 1
        row = _row(job, self._stored[part.position, job.identity], attempts)
        row = attrs.evolve(row, reason=self._damage.get(_place(job), ""))
        self._unrecorded[part.position, job.identity] = row
        self.rows.put(row)
        self.states.done(_place(job), attempts=attempts)
        self._put(part)

    def _leave_out(self, job: SegmentJob, decision: SkipSegment, attempts: int) -> None:
        segment = job.segment
        self._tracker.finished(size_bytes=0)
        self.states.put(_place(job), SKIPPED)
        self._wire.counts.segments["skipped"] += 1
        self.skipped.append(LeftOut(segment=segment, reason=decision.reason, status=decision.status, track=job.track))
        row = SegmentRow(
            track=job.track,
            position=segment.position,
            identity=job.identity,
            attempts=attempts,
            outcome="skipped",
            reason=decision.reason,
            status=decision.status,
        )
        self.rows.put(row)
        self._record(row)
        # What follows moves up in the whole presentation, or not at all: a rendition alone keeps its hole.
        self._put(self._gap(_absent(job, decision.reason), keep=job.track != MAIN))

    def _give_up(self, job: SegmentJob, error: M3u8svcError, attempts: int) -> None:
        segment = job.segment
        self.states.put(_place(job), MISSING)
        if error.fault is not Fault.ORIGIN:
            raise error
        self._wire.counts.segments["lost"] += 1
        failed = SegmentFailed(name=segment_label(job.track, segment.position), cause=error)
        if not self._task.spec.extensions.allow_gaps:
            raise failed from error
        self._tracker.finished(size_bytes=0)
        reason = failed.told
        self.warnings.append(reason)
        self.lost.append(LeftOut(segment=segment, reason=reason, status=None, track=job.track, attempts=attempts))
        self._put(self._gap(_absent(job, reason), keep=True))

    async def _attempt_twice(self, job: SegmentJob, transfer: Transfer) -> MediaFile:
        """
        One attempt, helped by a second request if it holds up the end.
        """

        async def second() -> MediaFile:
            self._wire.note(f"segment {job.segment.position} is slow: asked for a second time")
            return await self._attempt(job, transfer, transfer.attempt, is_second=True)

        return await either(self._attempt(job, transfer, transfer.attempt), second, transfer.second)

    async def _attempt(
        self, job: SegmentJob, transfer: Transfer, attempt: int, *, is_second: bool = False
    ) -> MediaFile:
        segment = job.segment
        key = None if segment.key is None else await self._key(segment.key, job.track)
        init = None if segment.init is None else await self._init(segment.init, job.track)
        request = await self._wire.request(
            segment.uri, Purpose.SEGMENT, reach=self._wire.reaches.of(job.track), segment=segment
        )
        part = self._workdir.part(f"{segment.position:08d}-{job.identity}" + ("-second" if is_second else ""))
        try:
            fetched, media = await self._into(part, job, key, request, attempt, partial(self._sent, job, transfer))
            if media.kind == "fmp4" and init is None:
                raise MissingInit(position=segment.position, reason="")
            if not transfer.take():  # the other request was whole before
                raise CancelledError()
            self._under_way.took(transfer)
            stored = await self._keep(job, part, media, fetched)
        except DecryptError:
            self._doubt(segment.key, key)
            await part.discard()
            raise
        except BaseException:  # also when cancelled: nothing half-written stays
            await part.discard()
            raise
        if not (fetched.length_known or media.sized or is_sealed(segment)):
            await self._confirm(job, stored, partial(self._digest_of, job, key, request, attempt))
        self._stored[segment.position, job.identity] = stored
        shown = f"{fetched.status} {fetched.size_bytes}B {media.kind} {redact_url(fetched.url)}"
        self._wire.note(f"segment {segment.position} {shown}")
        if media.damage:
            self._damage[_place(job)] = media.damage
            where = "" if job.track == MAIN else f"{job.track} "
            zh, en = "{where}第 {n} 个分片：{damage}", "{where}segment {n}: {damage}"
            self.warnings.append(said(zh, en, where=where, n=segment.position, damage=media.damage))
        return self._media_file(job, stored, init)

    def _sent(self, job: SegmentJob, transfer: Transfer) -> None:
        self.states.put(_place(job), IN_FLIGHT)
        self._under_way.sent(transfer)
        self._budget.cover(self._under_way.at_once)

    async def _digest_of(self, job: SegmentJob, key: bytes | None, request: Request, attempt: int) -> str:
        """
        What another copy of the segment would be known by.
        """
        copy = Digest()
        await self._into(copy, job, key, request, attempt, lambda: None)
        return copy.digest

    async def _into(
        self,
        part: "PartFile | Digest",
        job: SegmentJob,
        key: bytes | None,
        request: Request,
        attempt: int,
        sent: Callable[[], None],
    ) -> tuple[Fetched, Media]:
        """
        The segment's bytes, checked and decrypted.
        """
        segment = job.segment
        sink = SegmentSink(segment, key, part, self._tracker, of_texts=is_of_texts(job.track))
        limits = FetchLimits(max_bytes=SEGMENT_BYTES, total_s=max(60.0, SLOWEST * segment.duration_s))
        fetched = await self._wire.fetch(request, sink, attempt=attempt, limits=limits, sent=sent, at_s=segment.start_s)
        return fetched, sink.finish(length_known=fetched.length_known)

    async def _confirm(self, job: SegmentJob, stored: Stored, fetch_again: Callable[[], Awaitable[str]]) -> None:
        """
        Nobody said how long the segment is, and its end looks like any other place in it: compare it with another
        copy, or say that it was not (R-INT-1).

        Raises:
            SegmentError: the other copy is another one.
        """
        digest = ""
        if self._budget.spend_spare():
            try:
                digest = await fetch_again()
            except M3u8svcError as error:
                self._wire.note(f"segment {job.segment.position} could not be confirmed: {error}")
            except BaseException:  # stopped meanwhile: the next run shall not take it for a good one
                await self._workdir.let_go([stored])
                raise
        if not digest:
            self._unverified += 1
            self._damage[_place(job)] = UNVERIFIED
        elif digest != stored.digest:
            await self._workdir.let_go([stored])
            why = Said(
                "服务器未给出长度，两次取得的内容不同",
                "the server gives no length, and the content differed when fetched twice",
            )
            raise SegmentError(position=job.segment.position, reason=why)

    async def _keep(self, job: SegmentJob, part: PartFile, media: Media, fetched: Fetched) -> Stored:
        wanted_time = fetched.last_modified if self._task.spec.settings.use_server_file_time else None
        return await self._workdir.keep(part, job.segment.position, job.identity, media.kind, modified_at=wanted_time)

    async def _key(self, key: Key, track: str) -> bytes:
        return await self._shared(self._name_of(key), key.uri, lambda: self._fetch_key(key, track))

    async def _shared(self, name: str, link: str, make: Callable[[], Awaitable[T]]) -> T:
        """
        What all who need `name` share, asked for at `link`. Somebody else may be asking at another one: that it has
        expired says nothing of this one.
        """

        async def asked() -> T:
            try:
                return await make()
            except HttpStatusError as error:
                raise _Refused(link, error) from error

        while True:
            try:
                return await self._once.get(name, asked)
            except _Refused as refused:
                if refused.link == link:
                    raise refused.error from None

    def _name_of(self, key: Key) -> str:
        return f"key {self._links.key_name(key.uri)}"

    async def _fetch_key(self, key: Key, track: str) -> bytes:
        if key.value is not None:
            return key.value
        provided: bytes | None = await self._wire.hooks.ask("provide_key", key=key, task=self._task)
        if provided is not None:
            return provided
        if key.uri.startswith("data:"):
            return read_key(read_data_uri(key.uri, KEY_BYTES), key.uri)

        async def ask(attempt: int) -> bytes:
            request = await self._wire.request(key.uri, Purpose.KEY, reach=self._wire.reaches.of(track))
            _, body = await self._wire.read(request, max_bytes=KEY_BYTES, attempt=attempt)
            return read_key(body, key.uri)

        return await self._wire.insist("key", ask, final=MAY_BE_EXPIRED, may_ask_again=self._budget.spend)

    def _doubt(self, key: Key | None, value: bytes | None) -> None:
        """
        What a key opened is nonsense: the server may have another one by now (R-INT-1). It is asked once more for all
        segments that had the old one, if the budget has room.
        """
        if key is None or key.value is not None or not self._once.has(self._name_of(key), value):
            return  # or somebody else has doubted it
        if self._budget.spend():
            self._once.forget(self._name_of(key), value)

    async def _init(self, init: InitSection, track: str) -> Path:
        identity = init_identity(init, track)
        path = self._workdir.init_path(identity)
        if path.name in self._found.inits:
            return path
        link = init.uri if init.key is None else f"{init.uri} {init.key.uri}"
        return await self._shared(f"init {identity}", link, lambda: self._fetch_init(init, path, track))

    async def _fetch_init(self, init: InitSection, path: Path, track: str) -> Path:
        if init.uri.startswith("data:"):
            body = read_data_uri(init.uri, INIT_BYTES)
        else:
            body = await self._wire.insist(
                "init", partial(self._ask_init, init, track), final=MAY_BE_EXPIRED, may_ask_again=self._budget.spend
            )
        if init.key is not None and init.iv is not None:
            body = await self._opened_init(init.key, init.iv, body, track)
        check_init(body)
        stored = await self._workdir.store_bytes(path.name, body)
        self._inits.add(path.name)
        return stored

    async def _opened_init(self, key: Key, iv: bytes, body: bytes, track: str) -> bytes:
        value = await self._key(key, track)
        decryption = decryption_for(key, value, iv, 0)
        try:
            body = decryption.update(body) + decryption.finish()
            check_init(body)
        except NotMedia as error:
            self._doubt(key, value)
            why = Said(
                "初始化段解密后不是媒体数据，密钥可能不对",
                "the Media Initialization Section decrypted is no media; the key may be wrong",
            )
            raise DecryptError(position=0, reason=why) from error
        except DecryptError:
            self._doubt(key, value)
            raise
        return body

    async def _ask_init(self, init: InitSection, track: str, attempt: int) -> bytes:
        request = await self._wire.request(init.uri, Purpose.INIT, reach=self._wire.reaches.of(track))
        wanted = attrs.evolve(request, byterange=init.byterange)
        _, body = await self._wire.read(wanted, max_bytes=INIT_BYTES, attempt=attempt)
        return body

    def _put(self, part: Part) -> None:
        place = (part.track, part.position)
        self._ready.put(part)
        if self._gate is not None:
            self._gate.add(part)
        for arrival in self._awaited.pop(place, []):
            if not arrival.called:  # called: whoever waited was cancelled
                arrival.callback(None)

    def _file_of(self, job: SegmentJob) -> MediaFile:
        key = (job.segment.position, job.identity)
        stored = self._stored.get(key) or self._found.segments[key]
        init = None
        if job.segment.init is not None:
            init = self._workdir.init_path(init_identity(job.segment.init, job.track))
        return self._media_file(job, stored, init)

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
            last=self._order.ends.get(job.track) == _place(job),
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
            last=self._order.ends[absent.track] == (absent.track, absent.position),
        )


class _Refused(Exception):
    """
    An answer to a request that several wait for, and at which link it was asked.
    """

    def __init__(self, link: str, error: HttpStatusError) -> None:
        super().__init__()
        self.link = link
        self.error = error


def _authority(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


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
    return digest_of(_planned(plan, 0, parts))


def _planned(plan: DownloadPlan, first: int, last: int) -> Iterator[tuple[str, int, str]]:
    for place in plan.order.between(first, last):
        number = plan.jobs.find(place)
        yield *place, "absent" if number < 0 else plan.jobs.identity(number)


def _place(job: SegmentJob) -> Place:
    return job.track, job.segment.position
