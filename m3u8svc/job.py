"""
One run of one task, from its URL to a published file: what happens in which order, and what survives a crash.

The order is DESIGN 5.4. Segments are durable as they arrive; the merger writes a hidden file beside the end place
while they do; when it is verified and synced its identity is recorded, then it is renamed into place. A run after a
crash looks for that identity first, so a published file is never made twice. The work directory goes last, and only
once the caller has stored that the task is done (`clean_up`).
"""

import os
import shutil
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar  # Any: JSON values

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from m3u8svc.companions import forget_staged, identify, name_beside, prepare, publish_beside, remove_beside
from m3u8svc.counting import Counts
from m3u8svc.debuglog import DebugLog
from m3u8svc.diskwatch import Ground, insist_on_mounts, places_of
from m3u8svc.download import Download, plan_digest, segment_label
from m3u8svc.errors import (
    DiskError,
    DiskFull,
    DiskGone,
    HttpStatusError,
    M3u8svcError,
    MergeError,
    MergeLost,
    NeedsUrl,
    NotAPlaylist,
    PluginError,
    SegmentsUnusable,
    SeparateAudio,
    SilentTrack,
    SkippedByStatus,
    UnsafePath,
    from_os_error,
)
from m3u8svc.failover import Failover
from m3u8svc.fetch import Fetcher
from m3u8svc.hls.groups import missing_groups, parse_groups
from m3u8svc.hls.media import DEMUXERS
from m3u8svc.hls.plan import DownloadPlan, Place, plan_presentation
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation
from m3u8svc.hls.skip import Selection, SkipRules, parse_skip_expression, select_skips
from m3u8svc.hooks import BUILTIN_PREFIX
from m3u8svc.hosts import Hosts
from m3u8svc.kept import Kept, bring_back, find_kept, forget_kept, keep_segments, remove_kept
from m3u8svc.loading import PluginSet
from m3u8svc.lowdisk import JOURNAL, LettingGo, find_merged, forget_merged
from m3u8svc.nofollow import Folder
from m3u8svc.offerings import (
    Companion,
    LowDisk,
    MediaFile,
    MergeJob,
    Merger,
    MergeResult,
    Published,
    Storage,
    TrackInfo,
)
from m3u8svc.places import publish_path
from m3u8svc.probe import Probe
from m3u8svc.redact import redact_text, redact_url
from m3u8svc.refresh import Links, Memory
from m3u8svc.replacing import Past, publish_over, remove_replaced
from m3u8svc.report import (
    bounded,
    changed_playlist,
    evidence_of,
    left_out_by_status,
    notes_of_plugin,
    ranges,
    silent_tracks,
    skip_list,
    skipped_by_plugin,
    skips_within,
    track_info,
    unusable_of,
    warnings_of,
    withheld_headers,
)
from m3u8svc.roots import Rules, insist_on_place
from m3u8svc.sniff import Sniffer
from m3u8svc.tasks.again import seen_by_job
from m3u8svc.tasks.completeness import Report, make_report, presentation_of
from m3u8svc.tasks.incidents import with_incident
from m3u8svc.tasks.ledger import Ledger, SegmentRow, Sizes
from m3u8svc.tasks.livelog import LiveLog
from m3u8svc.tasks.merged import Merged
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.remembered import write_presentation
from m3u8svc.tasks.retry import MAY_BE_EXPIRED
from m3u8svc.tasks.segmentmap import GroupSpan, SegmentMap, TrackStates, groups_of_plan, kind_of, with_pictures
from m3u8svc.tasks.task import CompanionFile, Incident, Phase, Progress, Task
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.throttle import Throttle
from m3u8svc.waiting import InThread, beside, settled, together
from m3u8svc.wire import Wire
from m3u8svc.wording import Said, joined, said
from m3u8svc.workdir import Listing, WorkDir

R = TypeVar("R")

WORK_FOLDER = ".m3u8svc"
REPORT_SUFFIX = "report.json"


@attrs.frozen(kw_only=True)
class Tools:
    """
    What every job works with. `wall` is the time of day, `chance` random(), `boot_id` this boot of the machine,
    `direct_agent` the pooled connections of requests that belong to no task.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    chance: Callable[[], float]
    in_thread: InThread
    fetcher: Fetcher
    plugins: PluginSet
    direct_agent: IAgent
    boot_id: str
    hosts: Hosts = attrs.field(default=attrs.Factory(lambda tools: Hosts(tools.clock), takes_self=True))
    """What the process knows of the hosts it asks."""
    throttle: Throttle = attrs.field(
        default=attrs.Factory(lambda tools: Throttle(tools.clock, wall=tools.wall), takes_self=True)
    )
    """The limits of rate."""
    counts: Counts = attrs.field(factory=Counts)
    """What the process counts."""

    def wire(self, task: Task, *, note: Callable[[str], None]) -> Wire:
        """
        How the requests of a task go out; `note` takes lines for its debug log.
        """
        return Wire(
            task=task,
            hooks=self.plugins.hooks,
            fetcher=self.fetcher,
            hosts=self.hosts,
            clock=self.clock,
            wall=self.wall,
            chance=self.chance,
            note=note,
            throttle=self.throttle,
            counts=self.counts,
        )


@attrs.frozen(kw_only=True)
class Showing:
    """
    What can be watched of a run: its plan, the tracks of it, "main" first, how many bits a second they have, and what
    fetches them.
    """

    plan: DownloadPlan
    tracks: tuple[TrackInfo, ...]
    bandwidth: int
    download: Download


@attrs.frozen(kw_only=True)
class Planned:
    """
    What is downloaded of a presentation; `whole` is the plan as if nothing was skipped.
    """

    presentation: Presentation
    plan: DownloadPlan
    whole: DownloadPlan


def is_pictured(download: Download, position: int) -> bool:
    """
    Whether a picture can be made of a segment of the main track, now.
    """
    place = (MAIN, position)
    found = download.fate(place)
    return isinstance(found, MediaFile) and found.kind in DEMUXERS and not download.is_let_go(place)


def makes_file(task: Task) -> bool:
    """
    Whether there is anything to merge.
    """
    return not task.spec.settings.no_merge_ts and task.spec.extensions.merger != "none"


def leaves_no_segments(task: Task) -> bool:
    """
    Whether nothing is left of its segments once it is done: neither for the user nor to fill its holes.
    """
    return makes_file(task) and not task.spec.settings.keep_ts_files and not task.needs_work


def mergeable(task: Task, plugins: PluginSet, presentation: Presentation) -> tuple[Presentation, tuple[str, ...]]:
    """
    What the task's merger can make a file of. Subtitles that it cannot take are left out, and a warning says so;
    without its sound a film would be wrong.

    Raises:
        SeparateAudio: the sound is in a playlist of its own, which this merger cannot take.
    """
    if not makes_file(task):
        return presentation, ()
    merger = plugins.merger(task.spec.extensions.merger)
    if getattr(merger, "takes_renditions", False):
        return presentation, ()
    kept = [each for each in presentation.streams if each.rendition is None or each.rendition.type != "SUBTITLES"]
    for stream in kept:
        if stream.rendition is not None:
            raise SeparateAudio(merger=merger.name, name=stream.rendition.name, line=stream.rendition.line, reason="")
    left_out = len(kept) < len(presentation.streams)
    zh, en = "合并方式“{merger}”不支持字幕，未下载", "the merger “{merger}” takes no subtitles, they are not downloaded"
    warnings = (said(zh, en, merger=merger.name),) if left_out else ()
    return attrs.evolve(presentation, streams=tuple(kept)), warnings


class Journal(Protocol):
    """
    Where a job writes down what a later run must know.
    """

    def segment(self, row: SegmentRow) -> None:
        """A segment ended. May be stored later, in batches: the work directory is the truth."""
        ...

    async def playlist_text(self) -> str:
        """
        The playlist that came with the task, if `TaskSpec.has_playlist`.
        """
        ...

    async def reported(self, output_id: str, report: Report) -> None:
        """
        What the result will hold and lack that is going to be known by `output_id`. Durable when it returns.
        """
        ...

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """
        The identity of the finished file that is about to be renamed into place, those of the files that go beside it,
        and what there is to say about it. Durable when it returns.
        """
        ...


@attrs.frozen(kw_only=True)
class Outcome:
    """
    A finished task: the published file or directory, its bytes, what lies beside it, what there is to say about it.
    """

    output: str
    size_bytes: int
    companions: tuple[CompanionFile, ...] = ()
    warnings: tuple[str, ...] = ()


def rfc3339(at: float) -> str:
    """
    Seconds since the epoch as RFC 3339 in UTC.
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def work_path(task: Task) -> Path:
    """
    The work directory of a task (DESIGN 6).
    """
    settings = task.spec.settings
    return Path(settings.temp_directory or settings.save_location) / WORK_FOLDER / task.id


def has_segments(task: Task) -> bool:
    """
    Whether the segments of a finished task are still there: kept for the user, or to fill holes. Blocking.
    """
    kept = find_kept(Path(task.spec.settings.save_location), result_name(task.spec), task.id)
    return kept is not None or work_path(task).is_dir()


class Job:
    """
    One run. `ledger` is what earlier runs recorded of segments, `past` the result that this one is to replace, `rules`
    say where files may lie.
    """

    log = Logger()

    def __init__(
        self,
        task: Task,
        tools: Tools,
        journal: Journal,
        ledger: Ledger | Iterable[SegmentRow] = (),
        past: Past | None = None,
        rules: Rules | None = None,
        live: LiveLog | None = None,
    ) -> None:
        self._task = task if past is None else seen_by_job(task)
        self._past = past
        self._rules_of_places = rules or Rules()
        known = ledger if isinstance(ledger, Ledger) else Ledger(ledger)
        known.keep_done()
        self._ledger: Mapping[Place, SegmentRow] = known
        self._settings = task.spec.settings
        self._tools = tools
        self._journal = journal
        self._expected = Sizes(known)
        self._name = result_name(task.spec)
        self._directory = Path(self._settings.save_location)
        self._workdir = WorkDir(work_path(task), clock=tools.clock, in_thread=tools.in_thread, boot_id=tools.boot_id)
        self._live = live or LiveLog(now=tools.clock.seconds, wall=tools.wall)
        self._tracker = Tracker(tools.clock.seconds, floor_percent=task.progress.percent, live=self._live)
        self._debug = DebugLog(
            self._workdir.path,
            task.id,
            enabled=self._settings.debug_log,
            wall=tools.wall,
            in_thread=tools.in_thread,
        )
        self.incidents = task.incidents
        """The last things that went wrong, those of this run among them."""
        self._wire = attrs.evolve(
            tools.wire(task, note=self._note), incident=self._note_incident, asleep=self._tracker.asleep
        )
        self._tracks: tuple[TrackInfo, ...] = (TrackInfo(track=MAIN, kind="main"),)
        self._groups: tuple[GroupSpan, ...] = ()
        self._showing: Showing | None = None
        self._failover: Failover | None = None
        self._links: Links | None = None
        self._memory = Memory(self._workdir)
        self._rules: SkipRules = parse_skip_expression(self._settings.skip_ts_info)
        self._ground: Ground | None = None
        self._published = False
        self.placed = False
        """Whether the new result may have its name already: from then on a failure leaves it there."""
        self.warnings: list[str] = list(task.spec.warnings)

    def _note(self, text: str) -> None:
        self._debug.note(text)
        self._live.note(text)

    def _note_incident(self, incident: Incident) -> None:
        self.incidents = with_incident(self.incidents, incident)
        about = f"{incident.segment}: " if incident.segment else ""
        self._live.say("warn", Said(about + incident.text, about + incident.text_en))

    def segment_map(self) -> SegmentMap | None:
        """
        Where each segment stands, now; None before it is planned.
        """
        if self._showing is None:
            return None
        download = self._showing.download
        states = download.states
        return SegmentMap(
            tracks=tuple(
                TrackStates(kind=kind_of(each.track), name=each.name, states=states.text(each.track))
                for each in self._tracks
            ),
            groups=with_pictures(self._groups, lambda position: is_pictured(download, position)),
        )

    def showing(self) -> Showing | None:
        """
        What can be watched of it, now; None before it is planned.
        """
        return self._showing

    def progress(self) -> Progress:
        """
        How far it is, now.
        """
        return self._tracker.snapshot(published=self._published)

    async def run(self) -> Outcome:
        """
        Do it all. Cancelling stops every request, write and child process before it returns.

        Raises:
            M3u8svcError: the task failed, and why; what was fetched is kept.
        """
        self._tools.throttle.begin_task(self._task.id, self._task.spec.extensions.limit_rate)
        try:
            return await self._run()
        except M3u8svcError as error:
            if self._ground is not None and not isinstance(error, DiskGone):
                # A file that is missing, a segment that is no media: whatever it was, it was the disk's.
                await self._in_thread(self._ground.check)
            raise
        finally:
            self._tools.throttle.end_task(self._task.id)

    async def _run(self) -> Outcome:
        self._tracker.enter(Phase.SNIFF)
        self._tools.plugins.need(self._task.spec.extensions)
        await self._in_thread(insist_on_mounts, places_of(self._task))
        for field in ("save_location", "temp_directory"):
            place = getattr(self._settings, field)
            await self._in_thread(insist_on_place, field, place, self._rules_of_places)
        await self._bring_back()
        await self._look_for_earlier_work()
        listing = await self._workdir.open(self._expected)
        try:
            await self._in_thread(_make, self._directory)  # work may lie elsewhere
            self._ground = await self._in_thread(Ground.of, self._directory, self._workdir.path)
            self._note(f"url {redact_url(self._task.spec.url)} settings {self._settings}")
            recovered = await self._recover()
            if recovered is not None:
                self.warnings = list(self._task.warnings)  # what the run that made it had to say
            else:
                planned, listing = await self._plan(listing)
                plan = planned.plan
                self._tracker.begin(total=len(plan.jobs))
                self._tracker.enter(Phase.DOWNLOAD)
                merged = await self._merged_so_far(plan)
                download = self._download(planned, listing, merged)
                try:
                    recovered = await self._carry_out(planned, download, merged)
                except SegmentsUnusable as error:
                    if merged is not None:  # low_disk: what was merged is gone with the others
                        raise
                    self._note(f"{error}; fetched once more")
                    self._tracker.begin(total=len(plan.jobs))
                    self._tracker.enter(Phase.DOWNLOAD)
                    again = self._download(planned, download.listing(), None)
                    recovered = await self._carry_out(planned, again, None)
            return await self._finish(recovered)
        except BaseException as error:  # the log is for exactly this; the error goes on
            self._note(f"ended: {type(error).__name__}: {error}")
            if isinstance(error, M3u8svcError):
                self._live.say("error", Said(error.text("zh"), error.text("en")))
            raise
        finally:
            self._end_showing()
            await self._publish_debug_log()
            self._workdir.close()

    def _download(self, planned: Planned, listing: Listing, merged: Merged | None) -> Download:
        download = Download(
            planned.plan,
            listing,
            wire=self._wire,
            workdir=self._workdir,
            clock=self._tools.clock,
            tracker=self._tracker,
            record=self._journal.segment,
            merge_despite_status=self._rules.merge_despite_status or not self._makes_file,
            elsewhere=self._failover,
            links=self._links,
            merged=merged,
            ledger=self._ledger,
        )
        self._end_showing()
        variant = planned.presentation.variant
        self._showing = Showing(
            plan=planned.plan,
            tracks=self._tracks,
            bandwidth=0 if variant is None else variant.bandwidth or 0,
            download=download,
        )
        return download

    def _end_showing(self) -> None:
        if self._showing is not None:
            self._showing.download.end_watching()

    async def clean_up(self) -> None:
        """
        Remove the work directory, once it is on record that the task is done.
        """
        await self._workdir.remove()

    async def discard(self, *, keep_work: bool = False) -> None:
        """
        Remove everything a run may have left behind that is not a published result; `keep_work` leaves the segments.

        Raises:
            UnsafePath: a link is in the way, and what it leads to is left.
        """
        unsafe: UnsafePath | None = None
        if not keep_work:
            try:
                await self.clean_up()
            except UnsafePath as error:  # the rest may lie elsewhere
                unsafe = error
        if self._task.spec.extensions.merger != "none":  # an earlier run may have made a file, whatever is wanted now
            try:
                staged = self._storage.staging(self._task, self._name, self._extension)
            except M3u8svcError as error:  # its plugin is gone or refuses: deleting goes on without it
                self.log.warn("task {task}: {error}", task=self._task.id, error=error.text("en"))
            else:
                await self._in_thread(forget_staged, staged)
        await self._in_thread(forget_kept, self._directory, self._task.id)
        await self._in_thread(_forget_report, self._directory / f".{self._task.id}.part.{REPORT_SUFFIX}")
        if unsafe is not None:
            raise unsafe

    async def remove_output(self) -> None:
        """
        Remove the published result, recorded yet or not, if it is still the file or directory we made (R-DEL-1).
        """
        new = [] if self._task.again is None else [seen_by_job(self._task)]  # over the old result, or beside it
        for task in [self._task, *new]:
            # By what it has, too: the settings may be others than those it was made under.
            if self._makes_file or task.output_id or task.companions:
                await self._remove_file(task)
        kept: Path | None = await self._in_thread(find_kept, self._directory, self._name, self._task.id)
        if kept is not None:
            await self._in_thread(remove_kept, kept)

    async def _remove_file(self, task: Task) -> None:
        output = task.output
        try:
            if not output:
                recovered = await self._storage.recover(task, self._name, self._extension)
                output = recovered.location if recovered else ""
            if output and task.output_id:  # else it is a directory of segments
                await self._storage.remove(task, output)
            if output:
                await remove_beside(task, self._storage, self._name_beside(output))
        except (DiskError, DiskFull):
            raise
        except M3u8svcError as error:  # a plugin's storage: the task goes all the same, and its result is named
            self.log.warn(
                "task {task}: {output} is not removed: {error}",
                task=self._task.id,
                output=redact_text(output) or "a result",
                error=error.text("en"),
            )

    @property
    def _makes_file(self) -> bool:
        return makes_file(self._task)

    @property
    def _merger(self) -> Merger:
        return self._tools.plugins.merger(self._task.spec.extensions.merger)

    @property
    def _storage(self) -> Storage:
        return self._tools.plugins.storage(self._task.spec.extensions.storage)

    @property
    def _extension(self) -> str:
        return self._merger.extension(self._task)

    def _name_beside(self, location: str) -> str:
        return name_beside(location, self._name, self._extension if self._makes_file else "")

    async def _recover(self) -> Published | None:
        if self._makes_file:
            found_file = await self._storage.recover(self._task, self._name, self._extension)
            # A storage elsewhere may know its object by the task alone: then it is the old one.
            is_old = found_file is not None and not found_file.local and found_file.location == self._old_output
            return None if is_old else found_file
        if self._past is not None:
            return None  # the directory is there, and lacks something
        found: Path | None = await self._in_thread(find_kept, self._directory, self._name, self._task.id)
        return None if found is None else await self._in_thread(_kept_result, found)

    @property
    def _old(self) -> Task | None:
        return None if self._past is None else self._past.task

    @property
    def _old_output(self) -> str:
        return "" if self._past is None else self._past.task.output

    async def _look_for_earlier_work(self) -> None:
        """
        Say so where an earlier run fetched segments and there is no work directory any more: another disk is mounted in
        the place of the one it was on, or the task was sent to another place.
        """
        place, fetched = self._workdir.path.parent, self._task.progress.segments_done
        if not fetched or self._past is not None or await self._in_thread(os.path.lexists, self._workdir.path):
            return
        self.warnings.append(
            said(
                "此前下载的 {count} 个分片不在 {place} 现在的磁盘上（换了磁盘或目录），重新下载",
                "the {count} segments fetched before are not on the disk that is at {place} now "
                "(another disk or directory), and are fetched again",
                count=fetched,
                place=place,
            )
        )
        self.log.warn(
            "task {task} begins anew: the {count} segments it fetched are not on the disk that is at {place} now",
            task=self._task.id,
            count=fetched,
            place=str(place),
        )

    async def _bring_back(self) -> None:
        """
        Segments that the task kept are used again, where they are still what they were.
        """
        if self._past is None or self._past.report is None:
            return
        kept: Path | None = await self._in_thread(find_kept, self._directory, self._name, self._task.id)
        if kept is not None:
            damaged: list[str] = await self._in_thread(bring_back, kept, self._past.report, self._workdir.path)
            if damaged:
                self.warnings.append(
                    said(
                        "保留的 {count} 个文件已改变或缺失，重新下载：{names}",
                        "of the kept files, {count} were changed or are gone, and are fetched again: {names}",
                        count=len(damaged),
                        names=joined(damaged[:5], zh="、", en=", "),
                    )
                )

    async def _plan(self, listing: Listing) -> tuple[Planned, Listing]:
        """
        What to download, and what is there already, with what had to be fetched to decide it.
        """
        if self._past is not None and self._past.report is not None and not self._repairs:
            before = list(self.warnings)
            remembered: Presentation = await self._in_thread(presentation_of, self._past.report)
            planned, found = await self._planned(self._mergeable(remembered), listing)
            if await self._in_thread(self._all_there, planned.plan, found):
                return planned, found
            self.warnings = before  # something has to be fetched: the server says from where
        read_before = await self._memory.exists()
        sniffer = self._sniffer(final=MAY_BE_EXPIRED if read_before else frozenset())
        try:
            presentation = self._mergeable(await self._read_playlists(sniffer))
        except (HttpStatusError, NotAPlaylist) as error:
            if read_before and (isinstance(error, NotAPlaylist) or error.status in MAY_BE_EXPIRED):
                raise NeedsUrl(url=self._task.spec.url, cause=error) from error
            raise
        self._failover = Failover(sniffer, presentation)
        presentation = await self._failover.filled(presentation)
        written: bytes = await self._in_thread(write_presentation, presentation)
        self._links = self._links_of(presentation, written)
        return await self._planned(presentation, await self._as_remembered(presentation, written, listing))

    def _sniffer(self, *, final: frozenset[int], settles: bool = True) -> Sniffer:
        return Sniffer(
            wire=self._wire,
            clock=self._tools.clock,
            in_thread=self._tools.in_thread,
            final=final,
            settles=settles,
        )

    async def _read_playlists(self, sniffer: Sniffer) -> Presentation:
        spec = self._task.spec
        pasted = await self._journal.playlist_text() if spec.has_playlist else None
        return await sniffer.presentation(spec.address, pasted)

    def _links_of(self, presentation: Presentation, written: bytes) -> Links | None:
        """
        How the links of the playlists are renewed; not at all if the playlist came with the task.
        """
        if self._task.spec.has_playlist:
            return None
        return Links(
            presentation,
            written=written,
            task_id=self._task.id,
            url=self._task.spec.url,
            reload=self._read_again,
            clock=self._tools.clock,
            in_thread=self._tools.in_thread,
            note=self._note,
        )

    async def _read_again(self) -> Presentation:
        """
        The playlists as they are now, as a run would plan them.
        """
        sniffer = self._sniffer(final=MAY_BE_EXPIRED, settles=False)
        presentation, _ = mergeable(self._task, self._tools.plugins, await self._read_playlists(sniffer))
        assert self._failover is not None  # links are renewed of what was planned
        self._failover.renew(presentation)
        return await self._failover.filled(presentation)

    async def _as_remembered(self, presentation: Presentation, written: bytes, listing: Listing) -> Listing:
        """
        What of the files is still of use, now that the playlists were read once more (R-INT-3). From here on these are
        the ones that the task is planned by.
        """
        found = await self._memory.recollect(presentation, written, listing)
        if found.same:
            return listing
        for track, comparison in found.tracks:
            if comparison.lost:
                changed = changed_playlist(track, comparison)
                self.warnings.append(changed.told)
                self.log.warn("task {task}: {code} {error}", task=self._task.id, code=changed.code, error=str(changed))
        if found.remade:  # what a low-disk merge has taken is of the other version
            await self._in_thread(forget_merged, self._workdir.path)
            remade = {track for track, comparison in found.tracks if comparison.remade}
            self._ledger = {place: row for place, row in self._ledger.items() if place[0] not in remade}
        if found.dropped or found.stale_inits:
            listing = await self._memory.forget(found, listing)
        await self._memory.keep(written)
        return listing

    @property
    def _repairs(self) -> bool:
        return self._task.again is not None and self._task.again.kind == "repair"

    def _all_there(self, plan: DownloadPlan, listing: Listing) -> bool:
        inits = {self._workdir.init_path(identity).name for identity in plan.init_identities}
        keys = ((plan.jobs.place(number)[1], plan.jobs.identity(number)) for number in range(len(plan.jobs)))
        return inits <= listing.inits and all(key in listing.segments for key in keys)

    async def _planned(self, presentation: Presentation, listing: Listing) -> tuple[Planned, Listing]:
        self._tracker.enter(Phase.PLAYLIST)
        probe = self._probe(presentation.main, listing)
        skips = await self._skips(presentation.main, probe)
        plan: DownloadPlan = await self._in_thread(plan_presentation, presentation, skips)
        whole = plan if not skips else await self._in_thread(plan_presentation, presentation, {})
        self._tracks = tuple(track_info(each) for each in presentation.streams if each.track in plan.tracks)
        self._groups = await self._in_thread(groups_of_plan, presentation.main, plan)
        self.warnings += warnings_of(presentation, plan)
        return Planned(presentation=presentation, plan=plan, whole=whole), probe.listing

    def _mergeable(self, presentation: Presentation) -> Presentation:
        kept, warnings = mergeable(self._task, self._tools.plugins, presentation)
        self.warnings += warnings
        return kept

    def _probe(self, playlist: MediaPlaylist, listing: Listing) -> Probe:
        return Probe(
            playlist,
            listing,
            wire=self._wire,
            workdir=self._workdir,
            clock=self._tools.clock,
            in_thread=self._tools.in_thread,
            record=self._journal.segment,
            links=self._links,
            remembers=self._task.spec.extensions.low_disk,
        )

    async def _skips(self, playlist: MediaPlaylist, probe: Probe) -> dict[int, str]:
        selection: Selection = await self._in_thread(select_skips, self._rules, playlist.segments)
        self.warnings += selection.warnings
        kept = parse_groups(self._task.spec.extensions.groups)
        self.warnings += await self._in_thread(missing_groups, playlist.segments, kept)
        answers = await self._tools.plugins.hooks.union(
            "skip_segments", segments=playlist.segments, groups=probe.groups, playlist=playlist, task=self._task
        )
        skips: dict[int, str] = {}
        for answer in answers:
            if isinstance(answer.value, PluginError):
                self.warnings.append(answer.value.told)
                continue
            self.warnings += notes_of_plugin(answer.plugin, answer.value)
            mine = skips_within(answer.value, len(playlist.segments))
            skips |= mine
            if not answer.plugin.startswith(BUILTIN_PREFIX):
                self.warnings += skipped_by_plugin(answer.plugin, mine)
            elif mine:
                zh, en = "按设置跳过了 {count} 个分片：{ranges}", "the settings skipped {count} segments: {ranges}"
                self.warnings.append(said(zh, en, count=len(mine), ranges=ranges(mine)))
        if skips:
            self._note(f"skipped: {ranges(skips).en}")
        elif self._rules.selects:
            zh, en = "跳过表达式没有匹配任何分片：{rules}", "the skip expression matches no segment: {rules}"
            self.warnings.append(said(zh, en, rules=self._settings.skip_ts_info))
        return skips

    async def _carry_out(self, planned: Planned, download: Download, merged: Merged | None) -> Published:
        """
        Download and merge at once, keep segments if asked, publish; returns the result.
        """
        try:
            output = await beside(self._result(planned, download, merged), self._workdir.keep_syncing(download.synced))
            download.record_rest()
            return output
        except SkippedByStatus:
            await self._keep(planned, download)
            raise
        except BaseException:  # stopped or failed: what is whole shall survive the machine too, not only this process
            with suppress(M3u8svcError):  # what cannot be synced is fetched again; why the run ended counts more
                await self._workdir.sync_rest(download.synced)
            raise
        finally:
            self.warnings += left_out_by_status(download) + download.warnings
            await self._write_skip_list(planned.plan, download)

    async def _result(self, planned: Planned, download: Download, merged: Merged | None) -> Published:
        if self._makes_file:
            return await self._make_file(planned, download, merged)
        await download.run()
        await download.read_through()
        size = sum(file.size_bytes for file in download.files())
        report = await self._report(planned, download, {"size": size}, {})
        staged = self._storage.staging(self._task, self._name, "")
        companions: tuple[CompanionFile, ...] = await self._in_thread(
            identify, await self._beside(staged, report), None
        )
        if companions:
            await self._journal.staged("", companions, self._all_warnings(download))
        self._task = attrs.evolve(self._task, companions=companions)
        await self._journal.reported("", report)
        return await self._in_thread(_kept_result, (await self._keep(planned, download)).path)

    async def _make_file(self, planned: Planned, download: Download, so_far: Merged | None) -> Published:
        extension = self._extension
        staged = self._storage.staging(self._task, self._name, extension)
        letting_go = None if so_far is None else LettingGo(download, self._workdir, so_far)
        merged: list[MergeResult] = []
        file_time: list[float] = []

        async def fetch() -> None:
            await download.run()
            self._tracker.enter(Phase.ANALYSE)

        async def merge() -> None:
            if self._settings.use_server_file_time:
                file_time.append(await self._file_time(download, letting_go))
            job = self._merge_job(staged, planned.plan, file_time[0] if file_time else None, letting_go)
            merged.append(await self._merger.merge(job, download.parts(), lambda parts_done: None))

        if letting_go is None:
            await together(fetch(), merge())
        else:
            await self._with_checkpoints(together(fetch(), merge()), letting_go)
        self._tracker.enter(Phase.MERGE)
        await self._insist_on_all(download, merged[0].details, staged)
        self.warnings += merged[0].warnings
        if self._settings.keep_ts_files:
            await self._keep(planned, download)
        modified_at = file_time[0] if file_time else None
        identity: str = await self._in_thread(prepare, staged, modified_at)
        result = {"size": merged[0].size_bytes, "duration_s": merged[0].duration_s}
        report = await self._report(planned, download, result, merged[0].details)
        more = [*merged[0].companions, *await self._beside(staged, report)]
        companions: tuple[CompanionFile, ...] = await self._in_thread(identify, more, modified_at)
        await self._journal.reported(identity, report)
        await self._journal.staged(identity, companions, self._all_warnings(download))
        self._task = attrs.evolve(self._task, output_id=identity, companions=companions)
        self.placed = True
        return await publish_over(self._old, self._storage, self._task, staged, self._name, extension)

    async def _insist_on_all(self, download: Download, details: Mapping[str, Any], staged: Path) -> None:
        """
        Refuse a result that lacks what neither the playlist nor the task allows. Segments that are no usable media go:
        whoever tries again fetches them anew.

        Raises:
            SegmentsUnusable, SilentTrack: it lacks something.
        """
        if self._task.spec.extensions.allow_gaps:
            return
        unusable = unusable_of(details)
        silent = silent_tracks(self._tracks, details)
        if not unusable and not silent:
            return
        await self._in_thread(forget_staged, staged)
        await self._in_thread(forget_merged, self._workdir.path)
        await self._workdir.let_go(download.drop({(track, position) for track, position, _ in unusable}))
        if not unusable:
            raise SilentTrack(track=silent[0])
        track, position, reason = unusable[0]
        raise SegmentsUnusable(count=len(unusable), name=segment_label(track, position), reason=reason)

    async def _report(
        self, planned: Planned, download: Download, result: Mapping[str, object], details: Mapping[str, Any]
    ) -> Report:
        """
        What the result holds and lacks. What it lacks is among the warnings, too.
        """

        past = None if self._past is None else self._past.report

        def make() -> Report:
            evidence = evidence_of(
                planned.presentation, planned.whole, planned.plan, download, self._ledger, details, past
            )
            asked = {"asked_s": round(planned.plan.duration_s, 6), **result}
            return make_report(evidence, url=self._task.spec.url, made_at=rfc3339(self._tools.wall()), result=asked)

        report: Report = await self._in_thread(make)
        if report.missing:
            self.warnings.insert(0, report.missing)  # the one that must not be cut off
        return report

    async def _beside(self, staged: Path, report: Report) -> list[Companion]:
        """
        The report as a file, if the task wants one.
        """
        if not self._task.spec.extensions.report:
            return []
        path = staged.with_name(f"{staged.name}.{REPORT_SUFFIX}")
        await self._in_thread(_write_report, path, report, self._task.id)
        return [Companion(path=path, suffix=REPORT_SUFFIX)]

    async def _with_checkpoints(self, work: Coroutine[Any, Any, object], letting_go: LettingGo) -> None:
        """
        Download and merge, letting go of segments meanwhile. A merge that failed takes with it what was let go of.
        """
        try:
            await beside(work, letting_go.run())
        except MergeError as error:
            await self._in_thread(forget_merged, self._workdir.path)
            if letting_go.merged.parts:
                raise MergeLost(cause=error, count=letting_go.merged.parts) from error
            raise

    async def _merged_so_far(self, plan: DownloadPlan) -> Merged | None:
        """
        What a low-disk merge of an earlier run has done of this plan already; None when this is none.
        """
        lets_go = self._lets_go()
        if lets_go:
            staged = self._storage.staging(self._task, self._name, self._extension)
            merged: Merged | None = await self._in_thread(find_merged, self._workdir.path, staged)
            if merged is not None and merged.digest == plan_digest(plan, merged.parts):
                return merged
        if await self._in_thread(forget_merged, self._workdir.path):
            self.warnings.append(
                Said(
                    "低磁盘占用合并无法从检查点继续，已合并的分片重新下载",
                    "the low-disk merge cannot go on from its checkpoint: what was merged is fetched again",
                )
            )
        return Merged() if lets_go else None

    def _lets_go(self) -> bool:
        """
        Whether segments may go while the rest is fetched; what keeps them is named.
        """
        if not self._task.spec.extensions.low_disk:
            return False
        for reason in self._kept_by():
            self.warnings.append(said("low_disk 未生效：{reason}", "low_disk has no effect: {reason}", reason=reason))
            return False
        if self._task.spec.extensions.faststart:
            self.warnings.append(Said("low_disk 生效时忽略 faststart", "faststart has no effect with low_disk"))
        return True

    def _kept_by(self) -> Iterator[Said]:
        if self._settings.keep_ts_files or not self._makes_file:
            yield Said("分片须保留", "the segments are kept")
        elif not getattr(self._merger, "takes_low_disk", False):
            name = self._merger.name
            yield Said(f"合并方式“{name}”不支持", f"the merger “{name}” cannot do it")
        if self._task.spec.extensions.on_param_change == "split":
            yield Said("on_param_change=split 须保留分片", "on_param_change=split keeps the segments")
        if any(track.kind == "subtitles" for track in self._tracks):
            yield Said("有字幕轨", "there are subtitles")
        if self._rules.statuses and not self._rules.merge_despite_status:
            yield Said("跳过表达式可能须保留分片", "the skip expression may keep the segments")

    def _merge_job(
        self, target: Path, plan: DownloadPlan, file_time: float | None, letting_go: LettingGo | None
    ) -> MergeJob:
        wanted = self._task.spec.extensions
        low_disk = None
        if letting_go is not None:
            low_disk = LowDisk(
                journal=self._workdir.path / JOURNAL,
                passed=letting_go.passed,
                merged=letting_go.merged.parts,
                cuts=letting_go.merged.cuts,
            )
        return MergeJob(
            target=target,
            task=self._task,
            faststart=wanted.faststart and low_disk is None,
            file_time=file_time,
            expected_duration_s=plan.duration_s,
            tracks=self._tracks,
            on_param_change="split" if wanted.on_param_change == "split" else "keep",
            subtitle_files=tuple(kind for kind in ("vtt", "srt") if kind in wanted.subtitle_files.split(",")),
            sources=(self._workdir.path,),
            low_disk=low_disk,
        )

    async def _file_time(self, download: Download, letting_go: LettingGo | None) -> float:
        if letting_go is not None and letting_go.file_time is not None:
            return letting_go.file_time
        async for part in download.parts():
            if isinstance(part, MediaFile):
                status: os.stat_result = await self._in_thread(os.stat, part.path)
                if letting_go is not None:
                    letting_go.file_time = status.st_mtime
                return status.st_mtime
        raise MergeError(reason=Said("没有可合并的分片", "there are no segments to merge"))

    async def _keep(self, planned: Planned, download: Download) -> Kept:
        files = download.files()
        if self._past is not None:  # what was kept stays, also what the result leaves out from now on
            rank = {info.track: number for number, info in enumerate(self._tracks)}
            spare = [file for file in download.found_of(planned.whole) if file.track in rank]
            files = sorted([*files, *spare], key=lambda file: (file.start_s, rank[file.track]))
        kept: Kept = await self._in_thread(
            keep_segments, files, self._directory, self._name, self._task.id, self._tracks
        )
        return kept

    async def _write_skip_list(self, plan: DownloadPlan, download: Download) -> None:
        if self._settings.log_skipped_ts:
            await self._in_thread(_write_text, self._workdir.path / "skip.txt", skip_list(plan, download))

    async def _publish_debug_log(self) -> None:
        """
        The log comes last and counts least: a disk that does not take it neither fails the task nor hides why it did.
        """
        try:
            await self._debug.publish(self._directory, self._name)
        except OSError as error:
            self.log.warn("task {task}: no debug log: {error}", task=self._task.id, error=error.strerror)

    async def _finish(self, result: Published) -> Outcome:
        self.placed = True
        companions: tuple[CompanionFile, ...] = ()
        if self._task.companions or (self._past is not None and self._past.task.companions):
            companions, lost = await publish_beside(
                self._task, self._storage, self._name_beside(result.location), self._tools.in_thread, self._old
            )
            self.warnings += lost
        if self._past is not None and self._makes_file:
            await remove_replaced(self._past.task, self._storage, result)
        self._published = True
        beside = Path(result.location) if result.local else self._directory / f"{self._name}{self._extension}"
        await self._in_thread(_publish_skip_list, self._workdir.path / "skip.txt", beside)
        self._tracker.enter(Phase.NONE)
        return Outcome(
            output=result.location,
            size_bytes=result.size_bytes,
            companions=companions,
            warnings=self._all_warnings(None),
        )

    def _all_warnings(self, download: Download | None) -> tuple[str, ...]:
        withheld = withheld_headers(self._wire.withheld)
        fetching = [] if download is None else left_out_by_status(download) + download.warnings
        return bounded([*withheld, *self._wire.downgrades, *self.warnings, *fetching])

    async def _in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        try:
            result: R = await settled(self._tools.in_thread(self._on_ground, function, *arguments))
        except OSError as error:
            raise from_os_error(error, self._directory) from error
        return result

    def _on_ground(self, function: Callable[..., R], *arguments: object) -> R:
        if self._ground is not None:
            self._ground.check()
        return function(*arguments)


def _make(directory: Path) -> None:
    with Folder.at(directory, made_with=0o755):
        pass


def _write_text(path: Path, text: str) -> None:
    """
    Write a list, or remove what an earlier run wrote when there is nothing to list any more.
    """
    with Folder.at(path.parent) as folder:
        folder.remove_ours(path.name)
        if text:
            with folder.create(path.name) as file:
                file.write(text.encode())


def _write_report(path: Path, report: Report, task_id: str) -> None:
    """
    Write the report of a result that is about to be published, over what an earlier attempt left. Blocking.
    """
    with Folder.at(path.parent) as folder:
        folder.remove_ours(path.name)
        with folder.create(path.name) as file:
            file.write(report.whole(task_id=task_id))


def _forget_report(staged: Path) -> None:
    """
    Remove the hidden report that a run without a file may have left. Blocking.
    """
    with suppress(FileNotFoundError, NotADirectoryError), Folder.at(staged.parent) as folder:
        folder.remove_ours(staged.name)


def _publish_skip_list(skip_file: Path, output: Path) -> None:
    """
    Put the skip list beside the result, if there is one. Blocking.
    """
    part = output.with_name(f".{output.name}.skip.part")  # the work directory may be on another file system
    with suppress(FileNotFoundError), Folder.at(skip_file.parent) as work, work.read(skip_file.name) as listed:
        with Folder.at(output.parent) as folder:
            folder.remove_ours(part.name)
            with folder.create(part.name, 0o644) as copy:
                shutil.copyfileobj(listed, copy)
        publish_path(part, output.parent, f"{output.name}_skip", ".txt")
        work.remove(skip_file.name)


def _kept_result(directory: Path) -> Published:
    """
    A directory of kept segments as a result: its size is that of the media. Blocking.
    """
    with Folder.at(directory) as folder:
        media = [name for name in folder.names() if os.path.splitext(name)[1] not in (".txt", ".m3u8")]
        size = sum(folder.status(name).st_size for name in media if not name.startswith("init-"))
    return Published(location=str(directory), size_bytes=size, local=True)
