"""
How good the box is that the children with libav are in: what the kernel offers until one was seen, then what the last
one reached. A wall that is missing is said once, in the log; whoever asks is told at any time.
"""

from twisted.logger import Logger

from m3u8svc.sandbox.level import Box, kernel, offered


class BoxWatch:
    """
    The box as far as it is known.
    """

    log = Logger()

    def __init__(self) -> None:
        self._box = offered()
        self._told: frozenset[str] = frozenset()

    @property
    def box(self) -> Box:
        """The newest that is known."""
        return self._box

    def tell(self) -> None:
        """Say what is missing, if it was not said yet."""
        missing = frozenset(self._box.missing)
        if missing - self._told:
            self.log.warn(
                "the box of the muxing child is {box}: {missing} missing on {kernel} (see docs/security.md)",
                box=self._box.level,
                missing=", ".join(self._box.missing),
                kernel=kernel(),
            )
        self._told |= missing

    def saw(self, box: Box) -> None:
        """A child says what it reached. From any thread."""
        self._box = box
        self.tell()
