"""
The way from a page to its playlist.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from m3u8svc.builtin.variant import ChosenVariant
from m3u8svc.errors import PlaylistError
from m3u8svc.fetch import Fetched
from m3u8svc.hls.playlist import MasterPlaylist, Presentation, Variant
from m3u8svc.sniff import Sniffer
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.reach import Reaches
from m3u8svc.tasks.request import Purpose
from m3u8svc.tasks.task import Extensions, Task, TaskSpec
from m3u8svc.testing.playlists import RenditionLine, SegmentLine, VariantLine, master_playlist, media_playlist

T = TypeVar("T")
PAGE = "https://h.test/watch"


class Pages:
    """A wire that answers from memory, and keeps the lines for the debug log."""

    def __init__(self, pages: dict[str, bytes], **wanted: str) -> None:
        self._pages = pages
        self.task = Task(id="t", spec=TaskSpec(url="", filename="", extensions=Extensions(**wanted)))
        self.hooks = self
        self.asked: list[str] = []
        self.notes: list[str] = []
        self.note = self.notes.append
        self.reaches = Reaches()

    async def request(self, url: str, purpose: Purpose, *, reach: Zone) -> str:
        self.asked.append(url)
        return url

    async def ask(self, name: str, master: MasterPlaylist, task: Task) -> Variant:
        return ChosenVariant().choose_variant(master, task)

    async def insist(self, what: str, ask: Callable[[int], Awaitable[T]], **limits: Any) -> T:
        return await ask(1)

    async def read(self, url: str, **limits: Any) -> tuple[Fetched, bytes]:
        body = self._pages.get(url.partition("?")[0], b"")
        kind = "text/html" if url == PAGE else "application/vnd.apple.mpegurl"
        found = Fetched(url=url, status=200, content_type=kind, modified="", size_bytes=len(body), length_known=True)
        return found, body


def sniffed(wire: Any, url: str, pasted: str | None = None) -> Presentation:
    """What the sniffer finds, or the error it raises."""
    sniffer = Sniffer(wire=wire, clock=Clock(), in_thread=maybeDeferred)
    found: list[Any] = []
    Deferred.fromCoroutine(sniffer.presentation(url, pasted)).addBoth(found.append)
    if isinstance(found[0], Failure):
        found[0].raiseException()
    assert isinstance(found[0], Presentation)
    return found[0]


def test_a_pasted_playlist_is_not_fetched() -> None:
    """Its links are relative to the address it came from."""
    wire = Pages({})
    found = sniffed(wire, "https://h.test/a/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]))
    assert (["https://h.test/a/0.ts"], []) == ([each.uri for each in found.main.segments], wire.asked)


def test_a_pasted_playlist_with_a_base_of_its_own() -> None:
    """`base_url` goes before the address."""
    wire = Pages({}, base_url="https://cdn.test/b/")
    found = sniffed(wire, "https://h.test/a/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]))
    assert ["https://cdn.test/b/0.ts"] == [each.uri for each in found.main.segments]


def test_a_pasted_playlist_without_an_address() -> None:
    """Whole links need none; relative ones are an error that says what is missing."""
    whole = media_playlist([SegmentLine(uri="https://h.test/0.ts")])
    assert "https://h.test/0.ts" == sniffed(Pages({}), "", whole).main.segments[0].uri
    with pytest.raises(PlaylistError, match="base_url"):
        sniffed(Pages({}), "", media_playlist([SegmentLine(uri="0.ts")]))


def test_a_pasted_multivariant_playlist_leads_on() -> None:
    """What it names is fetched: the wanted variant, and its wanted sound, once each."""
    media = media_playlist([SegmentLine(uri="0.ts")]).encode()
    pages = {f"https://h.test/{name}": media for name in ("low", "high", "en", "fr")}
    lines = [VariantLine(uri="low", bandwidth=1, audio="a"), VariantLine(uri="high", bandwidth=2, audio="a")]
    sounds = [RenditionLine(group="a", name=name, language=name, uri=name) for name in ("en", "fr")]
    wire = Pages(pages, variant="worst", audio="fr,ja")
    found = sniffed(wire, "https://h.test/m", master_playlist(lines, renditions=sounds))
    assert ["https://h.test/low", "https://h.test/fr"] == wire.asked
    assert ["main", "audio1"] == [each.track for each in found.streams]
    assert ("没有音轨“ja”；可选：en (en); fr (fr)",) == found.warnings


def test_a_pasted_playlist_without_an_end_is_taken_as_it_is() -> None:
    """There is nobody to ask again; that is told."""
    text = media_playlist([SegmentLine(uri="https://h.test/0.ts")], ended=False, playlist_type="")
    found = sniffed(Pages({}), "", text)
    assert found.main.complete
    assert ("粘贴的播放列表没有 EXT-X-ENDLIST，按完整处理",) == found.main.warnings


def test_several_playlists_in_a_page() -> None:
    """The first is taken, and it is said that there was a choice, without what a query may hold."""
    playlist = media_playlist([SegmentLine(uri="0.ts", duration_s=1.0)]).encode()
    page = b"<video src='/one.m3u8?token=CANARY'></video> <a href='/two.m3u8?token=CANARY'>the other</a>"
    found = sniffed(Pages({PAGE: page, "https://h.test/one.m3u8": playlist}), PAGE)
    assert "https://h.test/one.m3u8?token=CANARY" == found.main.url
    one, two = "https://h.test/one.m3u8?…", "https://h.test/two.m3u8?…"
    assert (f"页面中有多个播放列表，使用第一个：{one}；其他：{two}",) == found.warnings


def test_a_link_in_a_page_is_noted_without_its_query() -> None:
    """The debug log names the page and its link, and not what a strange query holds behind a full-width comma."""
    linked = "https://h.test/list.m3u8?q=一，token=CANARY"
    playlist = media_playlist([SegmentLine(uri="0.ts", duration_s=1.0)]).encode()
    wire: Any = Pages({PAGE: f'<html><video src="{linked}"></video></html>'.encode(), linked.split("?")[0]: playlist})
    sniffer = Sniffer(wire=wire, clock=Clock(), in_thread=maybeDeferred)
    found: list[object] = []
    Deferred.fromCoroutine(sniffer.presentation(PAGE)).addBoth(found.append)
    assert isinstance(found[0], Presentation)
    assert ["page https://h.test/watch links to https://h.test/list.m3u8?…"] == wire.notes
