"""
Secrets that are unique, one for each place where somebody can put one, and the search for them in what we let out.
"""

import base64
import os
import re
import secrets
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import attrs

PLACES = (
    "proxy_password",
    "authorization",
    "cookie",
    "secret_header",
    "url_query",
    "segment_query",
    "userinfo",
    "key",
    "database",
    "api_token",
    "api_password",
)
MEDIA = (".ts", ".new", ".mp4", ".part", ".m4s", ".aac")


@attrs.frozen
class Canaries:
    """
    The secrets by place.
    """

    values: Mapping[str, str]

    @classmethod
    def fresh(cls) -> "Canaries":
        """New ones. That of the key is 16 bytes long."""
        return cls({place: f"{number:x}canary" + secrets.token_hex(4)[:9] for number, place in enumerate(PLACES)})

    def __getitem__(self, place: str) -> str:
        return self.values[place]

    @property
    def key(self) -> bytes:
        """The key of a stream."""
        return self["key"].ljust(16, "k")[:16].encode()

    def found_in(self, content: bytes) -> list[str]:
        """
        The places whose secret is in there, in any form that carries it.
        """
        lowered = content.lower()
        return [place for place in PLACES if any(form in lowered for form in self._forms(place))]

    def _forms(self, place: str) -> Iterable[bytes]:
        value = self[place]
        raw = self.key if place == "key" else value.encode()
        for form in {value, quote(value, safe=""), quote_plus(value), raw.hex()}:
            yield form.lower().encode()
        for before in range(3):  # base64 of it behind something: the digits that hold nothing else
            digits = base64.b64encode(b"x" * before + raw)
            yield digits[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6].lower()


@attrs.frozen
class Hit:
    """A secret where none may be."""

    where: str
    places: tuple[str, ...]


class Watch:
    """
    Looks through everything, again and again, until it is told that it is over.
    """

    def __init__(self, canaries: Canaries, folder: Path, pids: Callable[[], Iterable[int]], private: str) -> None:
        """
        Args:
            folder: where all files are that the service can write.
            pids: the processes to look at.
            private: names of files, as a pattern, that may hold secrets and must be their owner's alone.
        """
        self._canaries = canaries
        self._folder = folder
        self._pids = pids
        self._private = re.compile(private)
        self._over = threading.Event()
        self._seen: dict[Path, tuple[int, int]] = {}
        self.hits: set[Hit] = set()
        self.looked_at: set[str] = set()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def tell(self, where: str, content: bytes) -> None:
        """
        Look at something that came out of the service.
        """
        self.looked_at.add(where)
        places = self._canaries.found_in(content)
        if places:
            self.hits.add(Hit(where, tuple(places)))

    def look(self) -> None:
        """
        Once through processes and files.
        """
        for pid in self._pids():
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    self.tell(f"/proc/…/{name}", Path(f"/proc/{pid}/{name}").read_bytes())
        for folder, _, names in os.walk(self._folder):  # which minds no folder that goes meanwhile
            for name in sorted(names):
                with suppress(OSError):
                    self._look_at(Path(folder, name))

    def _look_at(self, path: Path) -> None:
        status = path.lstat()
        if not path.is_file() or self._seen.get(path) == (status.st_size, status.st_mtime_ns):
            return
        self._seen[path] = (status.st_size, status.st_mtime_ns)
        if self._private.search(str(path)):
            self.looked_at.add("private files")
            if status.st_mode & 0o077:
                self.hits.add(Hit(f"{path.name} has mode {status.st_mode & 0o777:o}", ("private",)))
            return
        if path.suffix in MEDIA:
            return
        content = path.read_bytes()
        self.tell(f"file {path.name}", content)
        with suppress(zlib.error):
            self.tell(f"file {path.name}, inflated", zlib.decompress(content))

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.look()
