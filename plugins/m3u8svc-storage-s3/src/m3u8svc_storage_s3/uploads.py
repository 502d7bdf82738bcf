"""
Which multipart uploads are under way, on disk: one that a crash leaves behind is invisible in the bucket and costs
money, and only its id tells it from one that somebody else has under way. All blocking.
"""

import json
import os
import threading
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Upload:
    """
    One multipart upload: to which key, under which id of the server's.
    """

    bucket: str
    key: str
    upload_id: str


class Uploads:
    """
    One small file per upload in `directory`. Those that are there at the start were left by a crash.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._left_behind = self._stored()
        self._next = 1 + max((int(path.stem) for path, _ in self._left_behind), default=0)

    def note(self, upload: Upload) -> Path:
        """
        Write down that an upload begins; durable when it returns. The answer is for `forget`.
        """
        with self._lock:
            number, self._next = self._next, self._next + 1
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{number}.json"
        part = path.with_suffix(".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump(attrs.asdict(upload), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return path

    def forget(self, path: Path) -> None:
        """
        The upload is complete or aborted.
        """
        path.unlink(missing_ok=True)

    def take_left_behind(self) -> list[tuple[Path, Upload]]:
        """
        Uploads that nobody works on any more, each to one caller.
        """
        with self._lock:
            taken, self._left_behind = self._left_behind, []
        return taken

    def leave_behind(self, path: Path, upload: Upload) -> None:
        """
        It could not be aborted now: it will be taken again.
        """
        with self._lock:
            self._left_behind.append((path, upload))

    def _stored(self) -> list[tuple[Path, Upload]]:
        if not self._directory.is_dir():
            return []
        paths = sorted(path for path in self._directory.glob("*.json") if path.stem.isdecimal())
        return [(path, upload) for path in paths if (upload := _read(path)) is not None]


def _read(path: Path) -> Upload | None:
    try:
        return Upload(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):  # not written by `note`, which writes files whole
        return None
