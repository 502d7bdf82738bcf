"""
How a child in its box gets files that it may not open itself: it asks for a name beside its target, we make the file
and hand over the descriptor. So it needs no rights on a directory that is full of other people's films.
"""

import array
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from m3u8svc.nofollow import open_file
from m3u8svc.waiting import InThread, settled

_SUFFIX = re.compile(r"p[1-9][0-9]{0,3}|[1-9][0-9]{0,3}\.(vtt|srt)")
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL


class Hand:
    """
    Makes the files beside one target. `theirs` is the descriptor for the child; close it when the child was started.
    """

    def __init__(self, target: Path, *, in_thread: InThread, failed: Callable[[], None]) -> None:
        """
        Args:
            failed: called when the child does not take what it asked for.
        """
        self._target = target
        self._in_thread = in_thread
        self._failed = failed
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._making: Deferred[Any] | None = None

    def make(self, suffix: str) -> None:
        """
        Make ``<target>.<suffix>`` and hand it over, or say why not.

        Raises:
            ValueError: no such file is ours to make, or another is being made.
        """
        if _SUFFIX.fullmatch(suffix) is None:
            raise ValueError(f"suffix {suffix!r}")
        if self._making is not None:
            raise ValueError("one file at a time")
        path = f"{os.path.abspath(self._target)}.{suffix}"
        self._making = self._in_thread(open_file, path, _FLAGS)
        self._making.addCallbacks(self._give, lambda failure: self._refuse(failure.value))

    async def close(self) -> None:
        """Return when nothing is made any more."""
        if self._making is not None:
            await settled(self._making)
        self.let_go()

    def let_go(self) -> None:
        """Close both ends, when nothing is made."""
        self._ours.close()
        self.theirs.close()

    def _give(self, descriptor: int) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            self._send(b"0", ancillary)
        finally:
            os.close(descriptor)

    def _refuse(self, error: BaseException) -> None:
        self._send(str(getattr(error, "errno", None) or 5).encode(), [])

    def _send(self, said: bytes, ancillary: list[Any]) -> None:
        self._making = None
        try:
            self._ours.sendmsg([said], ancillary)
        except OSError:  # it asked and does not listen, or it is gone
            self._failed()
