"""
The library's tokenizer, fed so that it cannot stumble: bare tag names, absolute ASCII URIs.

`m3u8.parse()` walks over the lines and keeps its state (which tags belong to which URI) and the plain flags, while our
tag readers own every tag that has a value, since the library's casts raise on sloppy or newer input and its attribute
lists take apostrophes for quotes. Its object model is never built.
"""

from collections.abc import Callable
from typing import Any

import m3u8

from m3u8svc.hls.lines import Line

State = dict[str, Any]  # the library's own working state and result: untyped dictionaries

TagReader = Callable[[Line, State, State], None]
"""Reads one tag's line into the library's `data` and `state`."""

_FLAGS = frozenset(f"#EXT-X-{name}" for name in ("ENDLIST", "I-FRAMES-ONLY", "GAP"))
"""Tags without a value, which the library reads for us."""


def tokenize(fed: list[Line], readers: dict[str, TagReader]) -> State:
    """
    `m3u8.parse()` over `fed`. Tags with a reader go to it, flags are left to the library, others mean nothing (G8).
    """

    def read_tag(_text: str, number: int, data: State, state: State) -> bool:
        line = fed[number - 1]
        if reader := readers.get(line.name):
            reader(line, data, state)
        return line.name not in _FLAGS

    # A tag is fed by its name alone (made harmless: names are remote text, too), a URI as it is: absolute and ASCII.
    text = "\n".join(_tag_token(line) if line.name else line.value for line in fed)
    result: State = m3u8.parse(text, custom_tags_parser=read_tag)
    return result


def segment_under_way(state: State) -> State:
    """
    What the library keeps for the segment whose URI comes next.
    """
    segment: State = state.setdefault("segment", {})
    return segment


def _tag_token(line: Line) -> str:
    return line.name if line.name in _FLAGS else "#"
