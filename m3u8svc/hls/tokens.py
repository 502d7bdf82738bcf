"""
The library's tokenizer, fed so that it cannot stumble: bare tag names, absolute ASCII URIs.

`m3u8.parse()` walks over the lines and keeps its state (which tags belong to which URI) and the plain flags, while our
tag readers own every tag that has a value, since the library's casts raise on sloppy or newer input and its attribute
lists take apostrophes for quotes. Its object model is never built.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import m3u8

from m3u8svc.hls.lines import Line

State = dict[str, Any]  # the library's own working state and result: untyped dictionaries

TagReader = Callable[[Line, State, State], None]
"""Reads one tag's line into the library's `data` and `state`."""

TakeSegment = Callable[[State, int], None]
"""Takes a finished segment of the library's and the line of its URI."""

_FLAGS = frozenset(f"#EXT-X-{name}" for name in ("ENDLIST", "I-FRAMES-ONLY", "GAP"))
"""Tags without a value, which the library reads for us."""


def tokenize(fed: Iterable[Line], readers: dict[str, TagReader], take: TakeSegment | None = None) -> State:
    """
    `m3u8.parse()` over `fed`. Tags with a reader go to it, flags are left to the library, others mean nothing (G8).
    With `take` segments are handed over one by one, so that the library does not gather them: each costs it 700 bytes.
    What is left of them in the result is tags behind the last. The number of the last line is `last_line`.
    """
    feed = _Feed(fed)

    def hand_over(data: State) -> None:
        # A tag stands between two URIs, so there is one segment at most, and the last URI is its own.
        if take is not None and data["segments"] and "uri" in data["segments"][0]:
            take(data["segments"].pop(0), feed.uri_line)

    def read_tag(_text: str, _number: int, data: State, state: State) -> bool:
        hand_over(data)
        line = feed.line
        if reader := readers.get(line.name):
            reader(line, data, state)
        return line.name not in _FLAGS

    result: State = m3u8.parse(feed, custom_tags_parser=read_tag)
    hand_over(result)
    result["last_line"] = feed.line.number
    return result


class _Feed:
    """
    Lines in the place of the text that the library takes: it asks a text for its lines, and these are made one at a
    time. `line` is the one it is at, `uri_line` the number of the last one that was a URI.
    """

    def __init__(self, fed: Iterable[Line]) -> None:
        self._fed = fed
        self.line = Line(0, "", "")
        self.uri_line = 0

    def strip(self) -> "_Feed":
        """Nothing to strip."""
        return self

    def splitlines(self) -> Iterator[str]:
        """A tag is fed by its name alone (made harmless: names are remote text, too), a URI as it is."""
        for line in self._fed:
            self.line = line
            if not line.name:
                self.uri_line = line.number
            yield _tag_token(line) if line.name else line.value


def segment_under_way(state: State) -> State:
    """
    What the library keeps for the segment whose URI comes next.
    """
    segment: State = state.setdefault("segment", {})
    return segment


def _tag_token(line: Line) -> str:
    return line.name if line.name in _FLAGS else "#"
