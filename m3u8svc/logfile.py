"""
The log as files of its own: rotated, for its owner only, and never in the way of what it tells of (R-LOG-2).
"""

from pathlib import Path

from twisted.python.logfile import LogFile

ROTATE_BYTES = 10 << 20
FILES = 10
"""How many there are at most, the current one among them."""


class RotatedLog(LogFile):
    """
    A log file that begins anew when it is full. A disk that does not take a line loses that line, and nothing else.
    """

    def write(self, data: str) -> None:
        """Write, unless the disk refuses."""
        try:
            if self._file.closed:  # the next one could not be opened when this one was full
                self._openFile()  # type: ignore[no-untyped-call]  # Twisted's own
            super().write(data)  # type: ignore[no-untyped-call]  # Twisted's own
        except OSError:
            return  # nobody can be told: this is where it would be told

    def flush(self) -> None:
        """Flush, unless the disk refuses."""
        try:
            if not self._file.closed:
                super().flush()  # type: ignore[no-untyped-call]  # Twisted's own
        except OSError:
            return


def open_log(path: Path, *, rotate_bytes: int = ROTATE_BYTES) -> RotatedLog:
    """
    The log at `path`, with the older ones beside it as ``path.1`` … ``path.9``.

    Raises:
        OSError: it cannot be opened.
    """
    return RotatedLog(  # type: ignore[no-untyped-call]  # Twisted's own
        path.name,
        str(path.absolute().parent),
        rotateLength=rotate_bytes,
        defaultMode=0o600,
        maxRotatedFiles=FILES - 1,
    )
