"""
The result of a finished task, open to be sent: reached without following a link, known to be the file we made
(R-DEL-1), and read piece by piece in threads.
"""

import errno
import os
import stat

from m3u8svc.errors import FileGone, from_os_error
from m3u8svc.nofollow import open_file
from m3u8svc.places import identity_of
from m3u8svc.waiting import InThread, settled

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class ResultFile:
    """
    A file that stays open until `close`, or for as long as the object lives: whatever becomes of its name, its bytes
    are those of one file. `identity` tells this content from any other.
    """

    def __init__(self, path: str, descriptor: int, in_thread: InThread) -> None:
        found = os.fstat(descriptor)
        self.path = path
        self.name = os.path.basename(path)
        self.size_bytes = found.st_size
        self.modified_at = found.st_mtime
        self.identity = identity_of(found)
        self._descriptor = descriptor
        self._in_thread = in_thread

    async def read(self, start: int, count: int) -> bytes:
        """
        So many bytes from there on.

        Raises:
            FileGone: it has become shorter since it was opened.
            DiskError: they cannot be read.
        """
        try:
            piece: bytes = await settled(self._in_thread(os.pread, self._descriptor, count, start))
        except OSError as error:
            raise from_os_error(error, self.path) from error
        if not piece and count:
            raise FileGone(path=self.path)
        return piece

    def fileno(self) -> int:
        """
        Its descriptor, for a child; as long as it is open.
        """
        return self._descriptor

    def close(self) -> None:
        """
        Closing twice is closing once. Not while a `read` is waited for: that ends first, also when it is cancelled.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def open_result(path: str, identity: str, in_thread: InThread) -> ResultFile:
    """
    The file at `path`, if it is the one with this identity. Blocking. Its size and the time of its last change decide,
    which a link to another file does not have: the number of its inode is another one on some file systems, such as
    exFAT, whenever they are mounted.

    Raises:
        FileGone: it is not, or there is none, or a link on the way to it.
        DiskError: it cannot be opened.
    """
    try:
        descriptor = open_file(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe of that name would keep us waiting
    except OSError as error:
        if error.errno in _GONE:
            raise FileGone(path=path) from error
        raise from_os_error(error, path) from error
    found = ResultFile(path, descriptor, in_thread)
    if _content(found.identity) != _content(identity) or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        found.close()
        raise FileGone(path=path)
    return found


def _content(identity: str) -> str:
    return identity.partition(":")[2]
