"""
The axes of the matrix, the rows that can exist, and a selection in which every two values meet.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import combinations, product

import attrs


class Container(StrEnum):
    """What the segments are."""

    TS = "ts"
    FMP4 = "fmp4"


class Video(StrEnum):
    """The codec of the picture."""

    H264 = "h264"
    HEVC = "hevc"


class Audio(StrEnum):
    """The codec of the sound."""

    AAC = "aac"
    AC3 = "ac3"
    MP3 = "mp3"
    NONE = "mute"


class Layout(StrEnum):
    """How the tracks are spread over playlists."""

    ONE = "one"
    """One media playlist with everything in it."""
    SEPARATE = "separate"
    """A multivariant playlist: the picture, and the sound as a rendition."""
    TWO = "two"
    """The same with two languages; in TS the second one is packed audio with an ID3 time stamp."""
    SUBTITLES = "subtitles"
    """Picture and sound together, WebVTT as a rendition."""


class Protection(StrEnum):
    """How a segment becomes an answer of the server."""

    PLAIN = "plain"
    AES = "aes"
    RANGES = "ranges"


class Timing(StrEnum):
    """What happens to the clock and the parameters on the way."""

    STEADY = "steady"
    RESET = "reset"
    """Three groups with EXT-X-DISCONTINUITY, the clock of each set anew, the second one's back before the first's."""
    SIZE = "size"
    """The same, and the middle group is larger: there and back."""
    PARAMETERS = "parameters"
    """The same, and the middle group is encoded with other parameter sets of the same size."""
    WRAP = "wrap"
    """The clock passes 2**33 / 90000 s: in TS and in WebVTT's map it starts anew there, in fMP4 it goes on."""
    LATE = "late"
    """Three groups, the first two cut in the middle of a group of pictures, so that their key frame comes late."""


AXES: tuple[type[StrEnum], ...] = (Container, Video, Audio, Layout, Protection, Timing)


@attrs.frozen(order=True)
class Row:
    """
    One stream of the matrix.
    """

    container: Container
    video: Video
    audio: Audio
    layout: Layout
    protection: Protection
    timing: Timing

    @property
    def values(self) -> tuple[StrEnum, ...]:
        """Its values in the order of the axes."""
        return (self.container, self.video, self.audio, self.layout, self.protection, self.timing)

    @property
    def name(self) -> str:
        """What tests, directories and files of it are called."""
        return "-".join(self.values)

    @property
    def plays_in_chromium(self) -> bool:
        """Chromium has no HEVC decoder without the hardware, and none for AC-3 at all."""
        return self.video is Video.H264 and self.audio in (Audio.AAC, Audio.MP3)


def why_impossible(row: Row) -> str | None:
    """
    Why no such stream can exist; None for those that can. MP3 and AC-3 in fMP4 exist, and so does a clock in fMP4 that
    passes the end of TS's: what wraps there is the X-TIMESTAMP-MAP of its subtitles.
    """
    if row.audio is Audio.NONE and row.layout in (Layout.SEPARATE, Layout.TWO):
        return "there is no sound to be put in a rendition"
    return None


def every_row() -> list[Row]:
    """
    The whole product, without what cannot exist.
    """
    rows = (Row(*values) for values in product(*AXES))  # type: ignore[arg-type]  # one value of each axis, in their order
    return [row for row in rows if why_impossible(row) is None]


Meeting = tuple[str, ...]
"""Values that one row should have together."""


def pairs(row: Row) -> set[Meeting]:
    """Every two values that meet in a row."""
    return set(combinations(row.values, 2))


def joints(row: Row) -> set[Meeting]:
    """Every three values that decide how a joint is made: there the product is most likely to be wrong."""
    return {(row.container, row.video, row.timing), (row.container, row.protection, row.timing)}


def browser_joints(row: Row) -> set[Meeting]:
    """The same for what Chromium can play."""
    return {("chromium", row.container, row.timing)} if row.plays_in_chromium else set()


def choose(rows: Sequence[Row], *laws: Callable[[Row], Iterable[Meeting]]) -> list[Row]:
    """
    A small selection of `rows` that keeps every meeting there is among them; always the same one. Greedy: again and
    again the row with the most meetings not yet seen, and of those the one whose values were chosen least.
    """
    meetings = {row: {meeting for law in laws for meeting in law(row)} for row in rows}
    unseen = set().union(*meetings.values())
    uses: Counter[StrEnum] = Counter()
    chosen = []
    while unseen:
        best = max(rows, key=lambda row: (len(meetings[row] & unseen), -sum(uses[value] for value in row.values)))
        chosen.append(best)
        uses.update(best.values)
        unseen -= meetings[best]
    return sorted(chosen)


def selection() -> list[Row]:
    """
    The rows of every run of the tests.
    """
    return choose(every_row(), pairs, joints, browser_joints)
