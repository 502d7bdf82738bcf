"""
The storage "s3": where the merger writes, and how the finished file becomes an object of ours.

An object of ours carries the id of its task as metadata (``m3u8svc-task-id``), the number of its bytes, and a mark of
the call that made it. So a run after a crash finds what was published though nobody had recorded it, and a removal
touches nothing that somebody else put there. A call that lost the server's answer tells its own object from another's.
"""

import enum
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any  # Any: services say so of threads and the logger

import attrs
from twisted.internet.defer import DeferredSemaphore

from m3u8svc.plugin import Published, PublishError, Task
from m3u8svc_storage_s3.bucket import Bucket, Found, NameTaken
from m3u8svc_storage_s3.configuration import read_options
from m3u8svc_storage_s3.stopping import Stop, stoppable
from m3u8svc_storage_s3.uploads import Uploads

PLUGIN = "storage-s3"
TRIES = 10_000
"""How many names are tried, as on a disk."""
CONTENDED_TRIES = 5
"""How often one name is tried while somebody else is just taking it, and gives it up again."""
AT_ONCE = 2
"""Files uploaded at once: each holds one of the threads that the service shares with its disks as long as it takes."""
TASK_NOTE = "m3u8svc-task-id"
SIZE_NOTE = "m3u8svc-size"
CALL_NOTE = "m3u8svc-upload"
CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".aac": "audio/aac",
    ".ts": "video/mp2t",
    ".mkv": "video/x-matroska",
}


@attrs.frozen(kw_only=True)
class Wanted:
    """
    What is to be published: the name without number, and the prefix with its slash.
    """

    task_id: str
    folder: str
    name: str
    extension: str

    def key(self, number: int) -> str:
        """The `number`-th name: itself, then ``name_0001`` …"""
        numbered = self.name if number == 0 else f"{self.name}_{number:04d}"
        return f"{self.folder}{numbered}{self.extension}"

    @property
    def beginning(self) -> str:
        """What all its names begin with."""
        return f"{self.folder}{self.name}"

    def is_name(self, key: str) -> bool:
        """Whether it may have been published under this key."""
        rest = key.removeprefix(self.beginning).removesuffix(self.extension)
        return key == self.beginning + rest + self.extension and re.fullmatch(r"(_[0-9]{4})?", rest) is not None


class Whose(enum.Enum):
    """Who made an object, as seen by one call of `publish`."""

    OURS = "this call"
    ANOTHERS = "another call"
    UNKNOWN = "nobody knows, or it is not there, or not whole"


class S3Storage:
    """
    Publishes into one bucket, below `prefix`.
    """

    name = "s3"

    def __init__(
        self, bucket: Bucket, uploads: Uploads, *, prefix: str, in_thread: Callable[..., Any], log: Any
    ) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._prefix = prefix
        self._in_thread = in_thread
        self._log = log
        self._turns = DeferredSemaphore(AT_ONCE)

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """
        A hidden file in the task's save location, as of the storage "disk".
        """
        return Path(task.spec.settings.save_location) / f".{task.id}.part{extension}"

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """
        The object an earlier run made of this task. Only a run that had a finished file can have made one.

        Raises:
            PublishError: the server does not say whether there is one.
        """
        if not task.output_id:
            return None
        staged = self.staging(task, name, extension)
        return await stoppable(self._in_thread, self._recover, self._wanted(task, name, extension), staged)

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """
        Make `staged` an object under the first free one of name, name_0001 …; it is there, whole, when this returns.

        Raises:
            PublishError: the server did not take it.
        """
        turn = await self._turns.acquire()
        try:
            return await stoppable(self._in_thread, self._publish, self._wanted(task, name, extension), staged)
        finally:
            turn.release()

    async def remove(self, task: Task, location: str) -> None:
        """
        Delete the object, if it is this task's.

        Raises:
            PublishError: the server does not do it.
        """
        await stoppable(self._in_thread, self._remove, task.id, location)

    def _wanted(self, task: Task, name: str, extension: str) -> Wanted:
        elements = [each for each in (self._prefix, read_options(task.options_for(PLUGIN))) if each]
        folder = "".join(f"{each}/" for each in elements)
        return Wanted(task_id=task.id, folder=folder, name=name, extension=extension)

    # -- In threads

    def _recover(self, wanted: Wanted, staged: Path, stop: Stop) -> Published | None:
        self._abort_left_behind()
        for key in self._bucket.keys(wanted.beginning):
            stop.check()
            if not wanted.is_name(key):
                continue
            found = self._bucket.find(key)
            if found is not None and _is_of(found, wanted.task_id):
                staged.unlink(missing_ok=True)
                return self._published(key, found.size_bytes)
        return None

    def _publish(self, wanted: Wanted, staged: Path, stop: Stop) -> Published:
        self._abort_left_behind()
        try:
            size = staged.stat().st_size
        except OSError as error:
            raise PublishError(reason=f"读取本地文件失败（{staged}：{error.strerror}）") from error
        call = secrets.token_hex(8)
        notes = {TASK_NOTE: wanted.task_id, SIZE_NOTE: str(size), CALL_NOTE: call}
        about = {"Metadata": notes, "ContentType": CONTENT_TYPES.get(wanted.extension, "application/octet-stream")}
        for number in range(TRIES):
            stop.check()
            key = wanted.key(number)
            if self._take(key, staged, about, stop):
                staged.unlink()
                return self._published(key, size)
        raise PublishError(reason=f"存储桶 {self._bucket.name} 中名为 {wanted.key(0)} 的对象已有 {TRIES} 个")

    def _take(self, key: str, staged: Path, about: dict[str, Any], stop: Stop) -> bool:
        """
        Whether the file is an object of this name now; False when somebody else's is.
        """
        for _ in range(CONTENDED_TRIES):
            if self._bucket.find(key) is not None:  # before everything is sent in vain
                return False
            try:
                self._bucket.create(key, staged, about, self._uploads, stop)
            except NameTaken as taken:
                if self._whose(key, about["Metadata"]) is Whose.OURS:  # the answer to the first attempt was lost
                    return True
                if not taken.contended:
                    return False
            except PublishError:
                if self._whose(key, about["Metadata"]) is not Whose.OURS:
                    raise
                return True
            else:
                whose = self._whose(key, about["Metadata"])
                if whose is Whose.UNKNOWN:
                    raise PublishError(reason=f"存储桶 {self._bucket.name} 中的 {key} 上传后校验不符")
                return whose is Whose.OURS  # another's: the server let somebody replace ours at once
        return False

    def _whose(self, key: str, notes: dict[str, str]) -> "Whose":
        found = self._bucket.find(key)
        if found is None or CALL_NOTE not in found.notes:
            return Whose.UNKNOWN
        if found.notes[CALL_NOTE] != notes[CALL_NOTE]:
            return Whose.ANOTHERS
        return Whose.OURS if _is_of(found, notes[TASK_NOTE]) else Whose.UNKNOWN

    def _remove(self, task_id: str, location: str, stop: Stop) -> None:
        begins = f"s3://{self._bucket.name}/" + (f"{self._prefix}/" if self._prefix else "")
        key = location.removeprefix(f"s3://{self._bucket.name}/")
        if not location.startswith(begins):
            self._log.warn(
                "task {task}: {location} is not below {begins}, where results go now: it is left alone",
                task=task_id,
                location=location,
                begins=begins,
            )
            return
        found = self._bucket.find(key)
        if found is None:
            return
        if not _is_of(found, task_id):
            self._log.warn(
                "task {task}: {location} is not of this task: it is left alone", task=task_id, location=location
            )
            return
        self._bucket.delete(key)

    def _abort_left_behind(self) -> None:
        """
        Clean up behind runs that ended in the middle of an upload, and behind failures to do so.
        """
        for record, upload in self._uploads.take_left_behind():
            try:
                self._bucket.abort(upload)
            except PublishError as error:
                self._log.warn("an unfinished upload stays until the next try: {error}", error=error.text("en"))
                self._uploads.leave_behind(record, upload)
            else:
                self._uploads.forget(record)

    def _published(self, key: str, size: int) -> Published:
        return Published(location=f"s3://{self._bucket.name}/{key}", size_bytes=size, local=False)


def _is_of(found: Found, task_id: str) -> bool:
    return found.notes.get(TASK_NOTE) == task_id and found.notes.get(SIZE_NOTE) == str(found.size_bytes)
