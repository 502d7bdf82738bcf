"""
Small pictures of segments, for people who look for the advert: a child with libav decodes one key frame of what it is
handed (DESIGN 5.5), and what it made is kept in memory for a while, also that there is none.
"""

import base64
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any  # Any: JSON values

import attrs

from m3u8svc.errands import Ended, Errands, Stopping
from m3u8svc.errors import NoPicture, NotThereYet
from m3u8svc.reins import Allowance
from m3u8svc.results import ResultFile
from m3u8svc.sandbox.level import Box, read_box
from m3u8svc.wording import Said

CHILD_MODULE = "m3u8svc.mux.picture"
LONGEST_S = 30.0
CPU_S = 10.0
MOST_PICTURE_BYTES = 64 << 10
MOST_ANSWER_BYTES = 2 * MOST_PICTURE_BYTES
MOST_KEPT_BYTES = 4 << 20
MOST_KEPT = 2000
"""Pictures, and segments that have none."""
FILM = "mp4"
THE_PICTURE = Said("画面", "the picture")

_DIED = "died"
_WHY: Mapping[str, Said] = {
    "no_video": Said("只有声音，或编码不支持", "it has sound only, or a codec that is not decoded"),
    "no_key_frame": Said("没有关键帧", "it has no key frame"),
    "undecodable": Said("无法解码", "it cannot be decoded"),
    _DIED: Said("无法解码", "it cannot be decoded"),
}

Key = tuple[str, int, str]
"""The task, the position of a segment, and what tells this content of it from any other."""


@attrs.frozen(kw_only=True)
class Footage:
    """
    Where a picture is to come from: a segment, with its init section, or a span of a finished film, in seconds, so that
    none of what follows is shown. `identity` is that of the film.
    """

    path: Path
    demuxer: str
    init: Path | None = None
    span: tuple[float, float] | None = None
    identity: str = ""


@attrs.frozen(kw_only=True)
class Picture:
    """
    A JPEG, or why there is none, in a word of the child's.
    """

    jpeg: bytes = attrs.field(default=b"", repr=False)
    none: str = ""

    def shown(self, name: str) -> bytes:
        """
        The JPEG, of the segment of this name.

        Raises:
            NoPicture: there is none.
        """
        if self.none:
            raise NoPicture(name=name, reason=_WHY[self.none])
        return self.jpeg


SOUND_ONLY = Picture(none="no_video")


class Pictures:
    """
    Makes pictures, and remembers the last ones. What is asked for most is what was shown last.
    """

    def __init__(
        self,
        boxed: Callable[[Box], None] = lambda box: None,
        *,
        longest_s: float = LONGEST_S,
        errands: Errands | None = None,
    ) -> None:
        """
        Args:
            boxed: told of the box of every child, in the thread of its caller.
            longest_s: how long a child may take.
            errands: sends them.
        """
        self._longest_s = longest_s
        self._boxed = boxed
        self._errands = errands or Errands()
        self._kept: OrderedDict[Key, Picture] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def known(self, key: Key) -> Picture | None:
        """
        A picture that is kept.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def make(self, key: Key, footage: Footage, media: ResultFile, init: ResultFile | None) -> Picture:
        """
        A picture of this file, and that of its init section. Blocking.

        Raises:
            NotThereYet: the service stops, or the child was late or killed, which says nothing of the segment.
        """
        handed = [media.fileno(), *([] if init is None else [init.fileno()])]
        order = {
            "media": media.fileno(),
            "init": None if init is None else init.fileno(),
            "demuxer": footage.demuxer,
            "span": footage.span,
        }
        try:
            ended = self._errands.run(
                CHILD_MODULE,
                json.dumps(order).encode() + b"\n",
                Allowance(cpu_s=CPU_S),
                longest_s=self._longest_s,
                most_bytes=MOST_ANSWER_BYTES,
                handed=handed,
            )
        except Stopping:
            raise NotThereYet(what=THE_PICTURE) from None
        made = self._judged(ended)
        if made.none == _DIED and (ended.late or ended.killed):
            raise NotThereYet(what=THE_PICTURE)
        self._keep(key, made)
        return made

    def stop(self) -> None:
        """
        End all children; their callers get an error.
        """
        self._errands.stop()

    def _judged(self, ended: Ended) -> Picture:
        try:
            found = json.loads(ended.output)
            made = picture_in(found)
            self._boxed(read_box(found["box"], ended.unheld))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Picture(none=_DIED)  # by a limit, mostly: that is what they are for
        return made

    def _keep(self, key: Key, made: Picture) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self._bytes += len(made.jpeg) - (0 if before is None else len(before.jpeg))
            self._kept[key] = made
            while self._bytes > MOST_KEPT_BYTES or len(self._kept) > MOST_KEPT:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest.jpeg)


def picture_in(found: Mapping[str, Any]) -> Picture:
    """
    What a child says, whose values are what they should be: it may have been taken over by the segment. Pure.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is nonsense.
    """
    if "none" in found:
        return Picture(none=found["none"] if found["none"] in _WHY else _DIED)
    jpeg = base64.b64decode(found["jpeg"], validate=True)
    if not (jpeg.startswith(b"\xff\xd8") and jpeg.endswith(b"\xff\xd9") and len(jpeg) <= MOST_PICTURE_BYTES):
        raise ValueError("no JPEG")
    return Picture(jpeg=jpeg)
