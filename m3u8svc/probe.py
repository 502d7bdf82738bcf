"""
Looking into segments before it is decided which to download: the groups of a playlist, and how each was encoded.

What is fetched for that goes the normal way and is kept: the download that follows finds it in the listing.
"""

import json
from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime

from m3u8svc.download import Download, Renewal
from m3u8svc.hls.fingerprint import LOOK_BYTES, Signature, read_signature
from m3u8svc.hls.plan import DownloadPlan, plan_download
from m3u8svc.hls.playlist import MediaPlaylist
from m3u8svc.nofollow import read_file
from m3u8svc.offerings import MediaFile, SegmentGroup
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.waiting import InThread, Once, settled
from m3u8svc.wire import Wire
from m3u8svc.workdir import Listing, WorkDir


class Probe:
    """
    The groups of one playlist. `listing` is what earlier runs left and, from then on, what was fetched here. With
    `remembers` signatures are written down, for a run that does not have the segments any more.
    """

    def __init__(
        self,
        playlist: MediaPlaylist,
        listing: Listing,
        *,
        wire: Wire,
        workdir: WorkDir,
        clock: IReactorTime,
        in_thread: InThread,
        record: Callable[[SegmentRow], None],
        links: Renewal | None = None,
        remembers: bool = False,
    ) -> None:
        self._remembers = remembers
        self._playlist = playlist
        self._found = listing
        self._wire = wire
        self._workdir = workdir
        self._clock = clock
        self._in_thread = in_thread
        self._record = record
        self._links = links
        self._once = Once()
        self._download: Download | None = None
        self.groups = tuple(
            SegmentGroup(discontinuity_sequence=number, segments=segments, look=self._signature)
            for number, segments in playlist.segments.groups()
        )

    @property
    def listing(self) -> Listing:
        """
        Everything that is on disk now.
        """
        return self._found if self._download is None else self._download.listing()

    async def _signature(self, group: SegmentGroup) -> Signature:
        return await self._once.get(str(group.segments[0].position), lambda: self._look(group))

    async def _look(self, group: SegmentGroup) -> Signature:
        first = next((segment for segment in group.segments if not segment.gap), None)
        if first is None:
            return Signature()
        download = await self._once.get("", self._fetching)
        note = self._workdir.path / f"{first.position:08d}-{download.identity(first.position)}.look"
        known = await self._workdir.do(_recall, note)
        if known is not None:
            return known
        part = await download.fetch_one(first.position)
        if not isinstance(part, MediaFile):
            return Signature()
        found = await self._workdir.do(_read, part)
        if self._remembers:
            await self._workdir.store_bytes(note.name, json.dumps(attrs.asdict(found)).encode())
        return found

    async def _fetching(self) -> Download:
        plan: DownloadPlan = await settled(self._in_thread(plan_download, self._playlist, {}))
        self._download = Download(
            plan,
            self._found,
            wire=self._wire,
            workdir=self._workdir,
            clock=self._clock,
            tracker=Tracker(self._clock.seconds),
            record=self._record,
            links=self._links,
            merge_despite_status=True,
            tells_of_absent=False,  # the download that follows decides of those, and tells
        )
        return self._download


def _recall(note: Path) -> Signature | None:
    try:
        with read_file(note) as file:
            return Signature(**json.loads(file.read()))
    except FileNotFoundError:
        return None


def _read(part: MediaFile) -> Signature:
    with part.path.open("rb") as file:
        start = file.read(LOOK_BYTES)
    return read_signature(part.kind, start, part.init.read_bytes() if part.init else b"")
