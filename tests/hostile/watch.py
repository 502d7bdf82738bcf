"""
What must not happen, and how it would be known: a file that nobody may open, ports that nobody may come to.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_OPENED = 0x020 | 0x001 | 0x002  # IN_OPEN, IN_ACCESS, IN_MODIFY
MARK = b"canary-7d1f0b64-must-not-be-read"


class Canary:
    """
    A file with a mark in it, and the kernel's word on who opened it; a listener, and who came.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "canary.ts"
        self.path.write_bytes(MARK * 100)
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0 or libc.inotify_add_watch(self._events, os.fsencode(self.path), _OPENED) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._tcp.setblocking(False)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(self._tcp.getsockname())
        self._udp.setblocking(False)

    @property
    def url(self) -> str:
        """The listener's."""
        host, port = self._tcp.getsockname()
        return f"http://{host}:{port}"

    def touched(self) -> list[str]:
        """What happened since the last time."""
        happened = []
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._events, 65536)
            happened += [f"opened ({struct.unpack_from('<I', events, 4)[0]:#x})"] if events else []
        with contextlib.suppress(BlockingIOError):
            self._tcp.accept()[0].close()
            happened.append("connected")
        with contextlib.suppress(BlockingIOError):
            self._udp.recvfrom(100)
            happened.append("datagram")
        return happened

    def close(self) -> None:
        """Watch no longer."""
        os.close(self._events)
        self._tcp.close()
        self._udp.close()


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Canary]:
    """A canary in a directory of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    canary = Canary(folder)
    try:
        yield canary
    finally:
        canary.close()
