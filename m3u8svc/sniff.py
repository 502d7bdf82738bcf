"""
From the URL somebody typed to a presentation: pages that link to a playlist, multivariant playlists, the renditions
that go with the variant, lists that may grow; and to the same presentation elsewhere when a place fails.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from m3u8svc.errors import LiveUnsupported, M3u8svcError, NotAPlaylist, PlaylistError, PlaylistTooDeep
from m3u8svc.fetch import Fetched
from m3u8svc.hls.failover import is_of_a_place
from m3u8svc.hls.overrides import override_playlist
from m3u8svc.hls.page import find_playlist_links
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import (
    MAIN,
    MasterPlaylist,
    MediaPlaylist,
    Playlist,
    Presentation,
    Rendition,
    Stream,
    Variant,
)
from m3u8svc.hls.renditions import Selected, named_tracks, select_renditions
from m3u8svc.hls.steering import SteeringManifest, alternatives, parse_steering_manifest, with_clones
from m3u8svc.hls.uri import host_of
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.overrides import overrides_of
from m3u8svc.tasks.reach import TYPED
from m3u8svc.tasks.request import Purpose
from m3u8svc.waiting import InThread, settled, together
from m3u8svc.wire import Wire
from m3u8svc.wording import Said, joined, said

NESTING = 3
"""How many pages or multivariant playlists may lead to each other (reliability.md 2.4)."""
PLAYLIST_BYTES = 32 << 20
RELOAD_S = 6.0
"""When to ask a list without ENDLIST again if it does not say its target duration."""
LONGEST_RELOAD_S = 30.0


@attrs.frozen(kw_only=True)
class Sniffer:
    """
    Finds what one task is to download. `final` are HTTP statuses that no second request changes, such as those of a
    link that worked once; `settles`: lists without ENDLIST are asked twice.
    """

    wire: Wire
    clock: IReactorTime
    in_thread: InThread
    final: frozenset[int] = frozenset()
    settles: bool = True

    async def presentation(self, url: str, pasted: str | None = None) -> Presentation:
        """
        What `url` leads to: the media playlist of one variant, and those of its renditions. Warnings say what was
        assumed. With `pasted`, that is the playlist, and `url` only what its links are relative to, "" if nothing.

        Raises:
            PlaylistError, FetchError: there is none, or it cannot be used.
        """
        # What somebody typed may be anywhere; the second time it is no nearer than it was, whatever its name means now.
        way = _Way(start=url, reach=self.wire.reaches.typed)
        if pasted is None:
            return await self._follow(url, way)
        return await self._led_by(await self._read_pasted(pasted, url), way)

    async def _read_pasted(self, text: str, url: str) -> Playlist:
        """
        The playlist somebody pasted. One without ENDLIST cannot be asked again: it is what was pasted, no more.
        """
        playlist: Playlist = await settled(self.in_thread(self._parse, text, url, None))
        if isinstance(playlist, MediaPlaylist) and not playlist.complete:
            note = Said(
                "粘贴的播放列表没有 EXT-X-ENDLIST，按完整处理",
                "the pasted playlist has no EXT-X-ENDLIST; taken as complete",
            )
            return attrs.evolve(playlist, ended=True, warnings=(*playlist.warnings, note))
        return playlist

    async def elsewhere(self, presentation: Presentation) -> AsyncIterator[MediaPlaylist]:
        """
        The main stream's playlist at each other place that holds the same (M2, M8), in the order to try. A place that
        fails is left out.
        """
        if presentation.master is None or presentation.variant is None:
            return
        reach = self.wire.reaches.of(MAIN)
        _, others = await self._others(presentation.master, presentation.variant, reach)
        for other in others:
            try:
                fetched, playlist = await self._load(other.uri, presentation.master.definitions, reach)
            except M3u8svcError as error:
                self.wire.note(f"no stand-in at {redact_url(other.uri)}: {error}")
                continue
            if isinstance(playlist, MediaPlaylist):
                self.wire.reaches.led_by(MAIN, fetched.reach)
                yield playlist

    async def _follow(self, url: str, way: "_Way") -> Presentation:
        if way.steps > NESTING:
            raise PlaylistTooDeep(limit=NESTING, url=way.start, line=0)
        fetched, playlist = await self._load(url, way.definitions, way.reach)
        if way.steps == 0:
            self.wire.reaches.led_by(TYPED, fetched.reach)
        way = attrs.evolve(way, reach=fetched.reach)
        if isinstance(playlist, MediaPlaylist | MasterPlaylist):
            return await self._led_by(playlist, way)
        first, *others = playlist
        self.wire.note(f"page {redact_url(fetched.url)} links to {redact_url(first)}")
        found = await self._follow(first, attrs.evolve(way, steps=way.steps + 1))
        if not others:
            return found
        note = said(
            "页面中有多个播放列表，使用第一个：{first}；其他：{others}",
            "the page has several playlists, the first is taken: {first}; others: {others}",
            first=redact_url(first),
            others=joined(map(redact_url, others), zh="、", en=", "),
        )
        return attrs.evolve(found, warnings=(note, *found.warnings))

    async def _led_by(self, playlist: Playlist, way: "_Way") -> Presentation:
        if isinstance(playlist, MediaPlaylist):
            return await self._with_renditions(playlist, way)
        return await self._any_place(playlist, await self._choose(playlist), way)

    async def _any_place(self, master: MasterPlaylist, variant: Variant, way: "_Way") -> Presentation:
        """
        The presentation of a variant, from the first of its places where all its playlists are to be had.
        """
        led = attrs.evolve(way, steps=way.steps + 1, master=master, variant=variant, master_reach=way.reach)
        try:
            return await self._follow(variant.uri, led)
        except M3u8svcError as error:
            if not is_of_a_place(error):
                raise
            whole, others = await self._others(master, variant, way.reach)
            for other in others:
                self.wire.note(f"{error}; trying {redact_url(other.uri)}")
                try:
                    found = await self._follow(other.uri, attrs.evolve(led, master=whole, variant=other))
                except M3u8svcError as again:
                    self.wire.note(f"nor at {redact_url(other.uri)}: {again}")
                    continue
                note = said(
                    "首选地址不可用（{error}），改用备用地址 {host}",
                    "the preferred address cannot be used ({error}); {host} is used instead",
                    error=error.told,
                    host=host_of(other.uri),
                )
                return attrs.evolve(found, warnings=(*found.warnings, note))
            raise

    async def _others(
        self, master: MasterPlaylist, variant: Variant, reach: Zone
    ) -> tuple[MasterPlaylist, tuple[Variant, ...]]:
        """
        Other places that hold the same as a variant, and the playlist that their groups are in. The steering manifest
        is asked only now, when a place has failed: a download that works has no use for it.
        """
        manifest = None if master.steering is None else await self._steering(master.steering.server_uri, reach)
        whole = master if manifest is None else with_clones(master, manifest)
        return whole, alternatives(master, variant, manifest)

    async def _steering(self, url: str, reach: Zone) -> SteeringManifest | None:
        try:
            fetched, body = await self._read(url, reach)
            manifest: SteeringManifest = await settled(self.in_thread(parse_steering_manifest, body, fetched.url))
        except M3u8svcError as error:  # it is a help; what the playlist itself lists is still there
            self.wire.note(f"no steering manifest: {error}")
            return None
        return manifest

    async def _with_renditions(self, main: MediaPlaylist, way: "_Way") -> Presentation:
        """
        The streams of a variant, each settled. They are loaded side by side: none waits for another's reload.
        """
        master, variant = way.master, way.variant
        selection = Selected() if master is None or variant is None else self._select(master, variant)
        wanted = named_tracks(selection.renditions)
        self.wire.reaches.led_by(MAIN, way.reach)
        playlists = await together(
            self._settled(main, way.definitions, MAIN),
            *(self._rendition(rendition, way, track) for track, rendition in wanted.items()),
        )
        streams = [Stream(track=MAIN, playlist=playlists[0])]
        streams += [
            Stream(track=track, playlist=playlist, rendition=rendition)
            for (track, rendition), playlist in zip(wanted.items(), playlists[1:], strict=True)
        ]
        return Presentation(streams=tuple(streams), master=master, variant=variant, warnings=selection.warnings)

    async def _rendition(self, rendition: Rendition, way: "_Way", track: str) -> MediaPlaylist:
        assert rendition.uri is not None  # `_select` takes no others
        fetched, playlist = await self._load(rendition.uri, way.definitions, way.master_reach)
        if not isinstance(playlist, MediaPlaylist):
            why = said(
                "“{name}”的链接不是媒体播放列表",
                'the URI of rendition "{name}" leads to no Media Playlist',
                name=rendition.name,
            )
            raise PlaylistError(line=rendition.line, reason=why)
        self.wire.reaches.led_by(track, fetched.reach)
        return await self._settled(playlist, way.definitions, track)

    def _select(self, master: MasterPlaylist, variant: Variant) -> Selected:
        extensions = self.wire.task.spec.extensions
        return select_renditions(master, variant, audio=extensions.audio, subtitles=extensions.subtitles)

    async def _load(
        self, url: str, definitions: Mapping[str, str] | None, reach: Zone
    ) -> tuple[Fetched, Playlist | tuple[str, ...]]:
        """
        What is at `url`: a playlist as the task's overrides leave it, or the links to some in a page.
        """

        async def ask(attempt: int) -> tuple[Fetched, Playlist | tuple[str, ...]]:
            fetched, body = await self._ask(url, reach, attempt)
            return fetched, await self._understood(fetched, body, definitions)

        return await self.wire.insist("playlist", ask, final=self.final)

    async def _understood(
        self, fetched: Fetched, body: bytes, definitions: Mapping[str, str] | None
    ) -> Playlist | tuple[str, ...]:
        try:
            playlist: Playlist = await settled(self.in_thread(self._parse, body, fetched.url, definitions))
            return playlist
        except NotAPlaylist as error:
            links: tuple[str, ...] = await settled(self.in_thread(find_playlist_links, body, fetched.url))
            if not links:
                start = escape_controls(body[:40].decode("utf-8", "replace"))
                kind = fetched.content_type or Said("未知类型", "of no known type")
                raise NotAPlaylist(url=fetched.url, content_type=kind, start=start, line=0, reason="") from error
            return links

    def _parse(self, body: bytes | str, url: str, definitions: Mapping[str, str] | None) -> Playlist:
        overrides = overrides_of(self.wire.task.spec.extensions)
        playlist = parse_playlist(
            body,
            url,
            base_url=overrides.base_url,
            definitions=definitions,
            key_given=overrides.key is not None,
        )
        return override_playlist(playlist, overrides)

    async def _read(self, url: str, reach: Zone) -> tuple[Fetched, bytes]:
        return await self.wire.insist("playlist", partial(self._ask, url, reach), final=self.final)

    async def _ask(self, url: str, reach: Zone, attempt: int) -> tuple[Fetched, bytes]:
        request = await self.wire.request(url, Purpose.PLAYLIST, reach=reach)
        return await self.wire.read(request, max_bytes=PLAYLIST_BYTES, attempt=attempt)

    async def _choose(self, master: MasterPlaylist) -> Variant:
        variant: Variant = await self.wire.hooks.ask("choose_variant", master=master, task=self.wire.task)
        self.wire.note(f"variant {variant.bandwidth} bit/s {variant.width}x{variant.height} of {len(master.variants)}")
        return variant

    async def _settled(
        self, playlist: MediaPlaylist, definitions: Mapping[str, str] | None, track: str
    ) -> MediaPlaylist:
        """
        The playlist if nothing will be added to it. One without ENDLIST is asked again after a target duration:
        unchanged means complete, with a warning; changed means live, which is refused for now (DESIGN 6).
        """
        if playlist.i_frames_only:
            why = Said(
                "播放列表只含关键帧（EXT-X-I-FRAMES-ONLY），不是节目本身",
                "the playlist has I-frames only (EXT-X-I-FRAMES-ONLY), not the programme itself",
            )
            raise PlaylistError(line=0, reason=why)
        if playlist.complete or not self.settles:
            return playlist
        await deferLater(self.clock, min(LONGEST_RELOAD_S, playlist.target_duration_s or RELOAD_S))
        fetched, again = await self._load(playlist.url, definitions, self.wire.reaches.of(track))
        self.wire.reaches.led_by(track, fetched.reach)
        if not isinstance(again, MediaPlaylist) or not _same(playlist, again):
            raise LiveUnsupported(line=0, reason="")
        note = Said(
            "播放列表没有 EXT-X-ENDLIST，重新读取后未变化，按完整处理",
            "the playlist has no EXT-X-ENDLIST and was the same when it was read again; taken as complete",
        )
        return attrs.evolve(again, warnings=(*again.warnings, note))


@attrs.frozen(kw_only=True)
class _Way:
    """
    How a playlist was come to: from which URL, over how many others, and the last multivariant one with its choice.
    `reach` is how near it may lead, `master_reach` how near that one could.
    """

    start: str
    steps: int = 0
    reach: Zone = Zone.PUBLIC
    master_reach: Zone = Zone.PUBLIC
    master: MasterPlaylist | None = None
    variant: Variant | None = None

    @property
    def definitions(self) -> Mapping[str, str] | None:
        """The variables a media playlist may import; None when no multivariant playlist led to it."""
        return None if self.master is None else self.master.definitions


def _same(one: MediaPlaylist, other: MediaPlaylist) -> bool:
    listed = [(segment.number, segment.uri.partition("?")[0]) for segment in one.segments]
    return listed == [(segment.number, segment.uri.partition("?")[0]) for segment in other.segments]
