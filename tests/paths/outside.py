"""
What lies outside of every place that a task may write to, and whether it is as it was.
"""

from pathlib import Path

import attrs


@attrs.define
class Outside:
    """
    A directory with a file that looks like one of ours.
    """

    path: Path
    before: dict[str, object] = attrs.field(factory=dict)

    @classmethod
    def made(cls, path: Path) -> "Outside":
        """Make it."""
        path.mkdir()
        outside = cls(path)
        outside.has("precious", b"precious")
        return outside

    @property
    def file(self) -> Path:
        """A file in it."""
        return self.path / "precious"

    def has(self, name: str, content: bytes) -> None:
        """Another file in it."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)
        self.before = traces(self.path)

    def instead_of(self, path: Path, target: Path | None = None) -> None:
        """Put a link to it, or to a file in it, in the place of something, which is moved away if it is there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            path.rename(path.with_name(f"{path.name}.moved"))
        path.symlink_to(target or self.path)

    def insist_untouched(self) -> None:
        """Bytes, times, inodes, modes and names are what they were."""
        assert self.before == traces(self.path)


def traces(folder: Path) -> dict[str, object]:
    """What tells whether anything in a directory was touched."""
    found: dict[str, object] = {}
    for each in [folder, *sorted(folder.rglob("*"))]:
        status = each.lstat()
        content = each.read_bytes() if each.is_file() and not each.is_symlink() else b""
        found[str(each)] = (status.st_ino, status.st_mode, status.st_nlink, status.st_mtime_ns, content)
    return found
