"""
Where else the main stream is to be had, looked up when a place fails and remembered.
"""

from collections.abc import AsyncIterator, Callable, Sequence

import attrs

from m3u8svc.hls.failover import stand_in, without_gaps
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Segment
from m3u8svc.sniff import Sniffer
from m3u8svc.waiting import Once


class Failover:
    """
    The other places of one presentation. Their playlists are loaded once, all of them, when the first is needed.
    """

    def __init__(self, sniffer: Sniffer, presentation: Presentation) -> None:
        self._sniffer = sniffer
        self.renew(presentation)

    def renew(self, presentation: Presentation) -> None:
        """
        The presentation was read again: links to other places are new, too.
        """
        self._load: Callable[[], AsyncIterator[MediaPlaylist]] = lambda: self._sniffer.elsewhere(presentation)
        self._once = Once()

    async def stand_ins(self, segment: Segment) -> Sequence[Segment]:
        """
        The same segment elsewhere, in the order to try.
        """
        found = [stand_in(segment, playlist) for playlist in await self._playlists()]
        return [each for each in found if each is not None]

    async def filled(self, presentation: Presentation) -> Presentation:
        """
        The presentation with what it declares as GAP taken from another place that has it (S14).
        """
        main, *others = presentation.streams
        if not main.playlist.segments.has_gaps:
            return presentation
        playlist = main.playlist
        for other in await self._playlists():
            playlist = without_gaps(playlist, other)
        return attrs.evolve(presentation, streams=(attrs.evolve(main, playlist=playlist), *others))

    async def _playlists(self) -> Sequence[MediaPlaylist]:
        return await self._once.get("playlists", self._loaded)

    async def _loaded(self) -> Sequence[MediaPlaylist]:
        return [playlist async for playlist in self._load()]
