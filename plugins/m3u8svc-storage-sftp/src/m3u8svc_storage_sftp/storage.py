"""
The storage "sftp": where the merger writes, and how the finished file gets to the server.

It is sent under a hidden name, checked, put on record (`results.py`) and renamed to the first free name. The record is
how a run after a crash knows what was published, and how a removal knows the file it may touch.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar  # Any: services say so of threads and the logger
from urllib.parse import quote

import attrs
from twisted.internet.defer import DeferredSemaphore

from m3u8svc.plugin import Published, PublishError, Task
from m3u8svc_storage_sftp.configuration import Configuration, read_options
from m3u8svc_storage_sftp.results import Result, Results, State
from m3u8svc_storage_sftp.server import ConnectionLost, Server
from m3u8svc_storage_sftp.stopping import Stop, Stopped, stoppable

T = TypeVar("T")

PLUGIN = "storage-sftp"
TRIES = 10_000
"""How many names are tried, as on a disk."""
LOST_RACES = 20
"""How often a name that was free a moment ago may be taken, before something else must be wrong."""
AT_ONCE = 2
"""Files uploaded at once: each holds one of the threads that the service shares with its disks as long as it takes."""
PAUSES_S = (1.0, 4.0)
"""Between attempts, when the connection is not made or does not last."""


@attrs.frozen(kw_only=True)
class Wanted:
    """
    What is to be published, and `below` which directory of the configured one.
    """

    task_id: str
    below: str
    name: str
    extension: str
    staged: Path

    def file(self, number: int) -> str:
        """The `number`-th name: itself, then ``name_0001`` …"""
        numbered = self.name if number == 0 else f"{self.name}_{number:04d}"
        return f"{numbered}{self.extension}"


class SftpStorage:
    """
    Publishes to one server. Tests have other pauses and connections.
    """

    name = "sftp"

    def __init__(
        self,
        configuration: Configuration,
        results: Results,
        *,
        in_thread: Callable[..., Any],
        log: Any,
        pauses_s: tuple[float, ...] = PAUSES_S,
        connect: Callable[[Configuration], Server] = Server,
    ) -> None:
        self._configuration = configuration
        self._results = results
        self._in_thread = in_thread
        self._log = log
        self._pauses_s = pauses_s
        self._connect = connect
        self._turns = DeferredSemaphore(AT_ONCE)
        self._naming = threading.Lock()
        self._cleaning = threading.Lock()
        self._busy: set[str] = set()
        """Tasks whose hidden file is in use; changed and looked at while holding `_cleaning`."""

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """
        A hidden file in the task's save location, as of the storage "disk".
        """
        return Path(task.spec.settings.save_location) / f".{task.id}.part{extension}"

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """
        The file an earlier run published of this task. Only a run that had a finished file can have.

        Raises:
            PublishError: the server does not say whether it is there.
        """
        if not task.output_id or self._results.find(task.id) is None:
            return None
        return await stoppable(self._in_thread, self._recover, self._wanted(task, name, extension))

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """
        Put `staged` on the server under the first free one of name, name_0001 …; it is there, whole, when this returns.

        Raises:
            PublishError: the server did not take it, or is not there.
        """
        wanted = attrs.evolve(self._wanted(task, name, extension), staged=staged)
        turn = await self._turns.acquire()
        try:
            return await stoppable(self._in_thread, self._publish, wanted)
        finally:
            turn.release()

    async def remove(self, task: Task, location: str) -> None:
        """
        Remove the file, if it is the one that was published of this task.

        Raises:
            PublishError: the server does not do it.
        """
        await stoppable(self._in_thread, self._remove, task.id, location)

    def _wanted(self, task: Task, name: str, extension: str) -> Wanted:
        return Wanted(
            task_id=task.id,
            below=read_options(task.options_for(PLUGIN)),
            name=name,
            extension=extension,
            staged=self.staging(task, name, extension),
        )

    # -- In threads

    def _recover(self, wanted: Wanted, stop: Stop) -> Published | None:
        def look(server: Server) -> Published | None:
            self._clean_up_left_behind(server)
            result = self._results.find(wanted.task_id)
            published = None if result is None else self._published(server, result, wanted.staged)
            if result is not None and published is None and result.address == self._configuration.address:
                self._discard(server, result)
            return published

        with self._in_use(wanted.task_id):
            return self._connected(look, stop)

    def _publish(self, wanted: Wanted, stop: Stop) -> Published:
        def put(server: Server) -> Published:
            self._clean_up_left_behind(server)
            return self._put(server, wanted, stop)

        with self._in_use(wanted.task_id):
            try:
                return self._connected(put, stop)
            except (PublishError, Stopped):
                left = self._results.find(wanted.task_id)
                if left is not None and left.state is not State.PUBLISHED:
                    self._results.leave_behind(left)
                raise

    def _put(self, server: Server, wanted: Wanted, stop: Stop) -> Published:
        directory = server.directory(wanted.below).rstrip("/")
        result = self._results.find(wanted.task_id)
        try:
            if result is not None and result.state is State.NAMING:  # an attempt before this one lost its answer
                published = self._published(server, result, wanted.staged)
                if published is not None:
                    return published
            if result is None or not self._is_sent(server, result, wanted.staged, directory):
                result = Result(
                    task_id=wanted.task_id,
                    address=self._configuration.address,
                    state=State.UPLOADING,
                    part=f"{directory}/.{wanted.task_id}.part",
                )
                self._results.save(result)
                sent = server.send(wanted.staged, result.part, stop)
                result = attrs.evolve(result, size_bytes=sent.size_bytes, changed_at=sent.changed_at)
            with self._naming:  # two of ours that want one name take turns
                result = self._name(server, result, directory, wanted, stop)
        except (PublishError, Stopped):
            if result is not None:
                self._discard(server, result)
            raise
        self._results.save(attrs.evolve(result, state=State.PUBLISHED))
        wanted.staged.unlink()
        return self._as_published(result)

    def _is_sent(self, server: Server, result: Result, staged: Path, directory: str) -> bool:
        """
        Whether the hidden file of an attempt before this one is whole, and of this very file. It is not sent again
        then: the server may still be at work on its renaming, and must never find half a file under that name.
        """
        if result.state is not State.NAMING or result.address != self._configuration.address:
            return False
        local = staged.stat()
        there = server.status(result.part)
        return (
            result.part == f"{directory}/.{result.task_id}.part"
            and there is not None
            and (there.size_bytes, there.changed_at) == (result.size_bytes, result.changed_at)
            and (result.size_bytes, result.changed_at) == (local.st_size, int(local.st_mtime))
        )

    def _name(self, server: Server, result: Result, directory: str, wanted: Wanted, stop: Stop) -> Result:
        lost = 0
        for number in range(TRIES):
            stop.check()
            path = f"{directory}/{wanted.file(number)}"
            if server.status(path) is not None:
                continue
            result = attrs.evolve(result, state=State.NAMING, path=path)
            self._results.save(result)
            if server.name(result.part, path):
                return result
            lost += 1
            if lost == LOST_RACES:
                raise PublishError(reason=f"{self._configuration.address} 上的 {path} 无法命名：总是被占用")
        raise PublishError(reason=f"{self._configuration.address} 上名为 {wanted.file(0)} 的文件已有 {TRIES} 个")

    def _discard(self, server: Server, result: Result) -> None:
        try:
            server.remove(result.part)
        except (PublishError, ConnectionLost) as error:  # it is on record, and is tried again
            self._log.warn(
                "task {task}: {part} stays on the server for now: {error}",
                task=result.task_id,
                part=result.part,
                error=str(error),
            )
        else:
            self._results.forget(result.task_id)

    def _published(self, server: Server, result: Result, staged: Path) -> Published | None:
        """
        What is on record, if it is there. A hidden file that is still there has no other name yet: whatever has the
        name that was meant for it is another's, be it of the same size and time.
        """
        if result.address != self._configuration.address or not result.path:
            return None
        if server.status(result.part) is not None or not self._is_there(server, result):
            return None
        self._results.save(attrs.evolve(result, state=State.PUBLISHED))
        staged.unlink(missing_ok=True)
        return self._as_published(result)

    def _remove(self, task_id: str, location: str, stop: Stop) -> None:
        result = self._results.find(task_id)
        if result is None or location != self._location(result.path) or result.address != self._configuration.address:
            self._log.warn(
                "task {task}: {location} is not on record as ours: it is left alone", task=task_id, location=location
            )
            return

        def take_away(server: Server) -> None:
            if server.status(result.path) is None:
                return
            if self._is_there(server, result):
                server.remove(result.path)
            else:
                self._log.warn(
                    "task {task}: {location} has changed since: it is left alone", task=task_id, location=location
                )

        self._connected(take_away, stop)
        self._results.forget(task_id)

    @contextmanager
    def _in_use(self, task_id: str) -> Iterator[None]:
        """
        Nobody cleans up behind this task meanwhile.
        """
        with self._cleaning:
            self._busy.add(task_id)
        try:
            yield
        finally:
            with self._cleaning:
                self._busy.discard(task_id)

    def _clean_up_left_behind(self, server: Server) -> None:
        """
        Remove the hidden files of runs that ended in the middle. What may have got its name stays on record for its
        task to find.
        """
        for result in self._results.take_left_behind():
            with self._cleaning:
                if result.task_id in self._busy or result.address != self._configuration.address:
                    continue  # it goes on right now; or the server is another one by now
                current = self._results.find(result.task_id)
                if current is None or current.state is State.PUBLISHED:
                    continue
                try:
                    if server.status(current.part) is not None:
                        self._discard(server, current)
                    elif not current.path:
                        self._results.forget(current.task_id)
                except (PublishError, ConnectionLost):
                    self._results.leave_behind(current)
                    raise

    def _connected(self, work: Callable[[Server], T], stop: Stop) -> T:
        """
        What `work` does with a connection, which is made anew a few times if it does not last.
        """
        for pause_s in (*self._pauses_s, None):
            stop.check()
            try:
                with self._connect(self._configuration) as server:
                    return work(server)
            except ConnectionLost as lost:
                if pause_s is None:
                    raise PublishError(reason=lost.reason) from None
                stop.wait(pause_s)
            except OSError as error:  # the server's failures are none by now
                reason = f"本机文件操作失败（{error.filename}：{error.strerror or error}）"
                raise PublishError(reason=reason) from error
        raise AssertionError("the last attempt returns or raises")

    def _is_there(self, server: Server, result: Result) -> bool:
        found = server.status(result.path)
        return (
            found is not None
            and not found.is_directory
            and (found.size_bytes, found.changed_at) == (result.size_bytes, result.changed_at)
        )

    def _as_published(self, result: Result) -> Published:
        return Published(location=self._location(result.path), size_bytes=result.size_bytes, local=False)

    def _location(self, path: str) -> str:
        user = quote(self._configuration.username, safe="")
        return f"sftp://{user}@{self._configuration.address}{_escape(path)}"


def _escape(path: str) -> str:
    """
    A path as part of a URL that people read: only what would end it or mean something else is written as %XX.
    """
    return "".join(quote(each) if each in "%?# " or ord(each) < 32 else each for each in path)
