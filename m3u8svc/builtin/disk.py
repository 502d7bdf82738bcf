"""
The storage "disk": the finished file under its name in the task's save location, never over another file.
"""

import contextlib
import errno
from collections.abc import Iterable
from pathlib import Path

from m3u8svc.errors import from_os_error
from m3u8svc.nofollow import Folder
from m3u8svc.places import identity_of, publish_path
from m3u8svc.plugin import Published, Storage, Task, hookimpl
from m3u8svc.waiting import InThread, settled


class DiskStorage:
    """
    Publishes by renaming within one directory, so that a file is there whole or not at all.
    """

    name = "disk"

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """
        The hidden file to write, beside the end place.
        """
        return Path(task.spec.settings.save_location) / f".{task.id}.part{extension}"

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """
        The file an earlier run renamed into place, known by the identity stored with the task before it was renamed.
        """
        if not task.output_id:
            return None
        directory = Path(task.spec.settings.save_location)
        try:
            found: Published | None = await settled(self._in_thread(_find, directory, name, extension, task.output_id))
        except OSError as error:
            raise from_os_error(error, directory) from error
        return found

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """
        Rename `staged` to the first free one of name, name_0001 …; durable when it returns.

        Raises:
            NamesExhausted, DiskFull, DiskError: nothing was published, `staged` is still there.
        """
        try:
            published: Published = await settled(self._in_thread(_publish, staged, name, extension))
        except OSError as error:
            raise from_os_error(error, staged.parent) from error
        return published

    async def replace(self, old: Task, staged: Path) -> Published | None:
        """
        Rename `staged` over the result that `old` has, if that is still the file we made (R-DEL-1). None: it is not,
        and nothing was done. A crash leaves the one file or the other, whole.

        Raises:
            DiskFull, DiskError: the old file is still there, and so is `staged`.
        """
        try:
            replaced: Published | None = await settled(
                self._in_thread(_replace_if_ours, staged, Path(old.output), old.output_id)
            )
        except OSError as error:
            raise from_os_error(error, staged.parent) from error
        return replaced

    async def remove(self, task: Task, location: str) -> None:
        """
        Remove the file, if it is still the one we made (R-DEL-1).

        Raises:
            DiskError: it cannot be removed.
        """
        try:
            await settled(self._in_thread(_remove_if_ours, Path(location), task.output_id))
        except OSError as error:
            raise from_os_error(error, location) from error


class DiskPlugin:
    """
    Offers the storage "disk".
    """

    def __init__(self, storage: DiskStorage) -> None:
        self._storage = storage

    @hookimpl
    def register_storage(self) -> Iterable[Storage]:
        """
        The one record.
        """
        return [self._storage]


def _publish(staged: Path, name: str, extension: str) -> Published:
    return _published(publish_path(staged, staged.parent, name, extension))


def _published(path: Path) -> Published:
    with Folder.at(path.parent) as folder:
        return Published(location=str(path), size_bytes=folder.status(path.name).st_size, local=True)


def _replace_if_ours(staged: Path, output: Path, output_id: str) -> Published | None:
    try:
        folder = Folder.at(output.parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with folder, Folder.at(staged.parent) as here:
        if not _is_ours(folder, output.name, output_id):
            return None
        here.rename(staged.name, output.name, folder)
        folder.sync()
    return _published(output)


def _remove_if_ours(output: Path, output_id: str) -> None:
    with contextlib.suppress(FileNotFoundError), Folder.at(output.parent) as folder:
        if _is_ours(folder, output.name, output_id):
            folder.remove(output.name)


def _is_ours(folder: Folder, name: str, identity: str) -> bool:
    try:
        return identity_of(folder.status(name)) == identity
    except FileNotFoundError:
        return False


def _find(directory: Path, name: str, extension: str, identity: str) -> Published | None:
    try:
        folder = Folder.at(directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
        return None  # the directory is gone, and the file with it
    with folder:
        for candidate in folder.names():  # all of them: a file before ours in the numbering may be gone by now
            fits = candidate.startswith(name) and Path(candidate).suffix == extension
            if fits and _is_ours(folder, candidate, identity):
                return _published(directory / candidate)
    return None
