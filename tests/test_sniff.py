"""
The way from a page to its playlist.
"""

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from m3u8svc.fetch import Fetched
from m3u8svc.hls.playlist import Presentation
from m3u8svc.sniff import Sniffer
from m3u8svc.tasks.request import Purpose
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.testing.playlists import SegmentLine, media_playlist

PAGE = "https://h.test/watch"


class Pages:
    """A wire that answers from memory, and keeps the lines for the debug log."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self._pages = pages
        self.notes: list[str] = []
        self.task = Task(id="t1", spec=TaskSpec(url=PAGE, filename="film"))
        self.note = self.notes.append

    async def request(self, url: str, purpose: Purpose) -> str:
        return url

    async def read(self, url: str, **limits: Any) -> tuple[Fetched, bytes]:
        body = self._pages.get(url.partition("?")[0], b"")
        kind = "text/html" if url == PAGE else "application/vnd.apple.mpegurl"
        found = Fetched(
            url=url, status=200, content_type=kind, last_modified=None, size_bytes=len(body), length_known=True
        )
        return found, body


def test_a_link_in_a_page_is_noted_without_its_query() -> None:
    """The debug log names the page and its link, and not what a strange query holds behind a full-width comma."""
    linked = "https://h.test/list.m3u8?q=一，token=CANARY"
    playlist = media_playlist([SegmentLine(uri="0.ts", duration_s=1.0)]).encode()
    wire: Any = Pages({PAGE: f'<html><video src="{linked}"></video></html>'.encode(), linked.split("?")[0]: playlist})
    sniffer = Sniffer(wire=wire, clock=Clock(), in_thread=maybeDeferred, chance=lambda: 0.5)
    found: list[object] = []
    Deferred.fromCoroutine(sniffer.presentation(PAGE)).addBoth(found.append)
    assert isinstance(found[0], Presentation)
    assert ["page https://h.test/watch links to https://h.test/list.m3u8?…"] == wire.notes
