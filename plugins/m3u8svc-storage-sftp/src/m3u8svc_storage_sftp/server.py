"""
One connection to the server: log in, send, give a file its name without replacing. All blocking.

What goes wrong comes out as one of two: `PublishError`, which trying again does not change, and `ConnectionLost`, which
it may. Both say what was being done and what the server said.
"""

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import paramiko

from m3u8svc.plugin import PublishError
from m3u8svc_storage_sftp.configuration import Configuration
from m3u8svc_storage_sftp.stopping import Stop

BLOCK_BYTES = 1 << 18
LOG_CHANNEL = "m3u8svc_storage_sftp.ssh"
_EXTENDED = 200
"""SSH_FXP_EXTENDED."""

logging.getLogger(LOG_CHANNEL).addHandler(logging.NullHandler())  # the library's tracebacks: we say what went wrong
logging.getLogger(LOG_CHANNEL).propagate = False


class ConnectionLost(Exception):
    """The connection could not be made, or did not last. `reason` says so in Chinese."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen(kw_only=True)
class Status:
    """
    Of a file on the server.
    """

    size_bytes: int
    changed_at: int
    is_directory: bool


class Server:
    """
    A connection, as a context manager.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._transport, self._sftp = _connect(configuration)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transport.close()

    def directory(self, below: str) -> str:
        """
        The absolute path of the configured directory, or of one below it, which is made if need be. The configured one
        must be there: a disk that is not mounted is not to be replaced by a new directory.
        """
        configured = self._configuration.directory or "."
        with self._explained("打开目录", configured):
            path = self._sftp.normalize(configured)
        found = self.status(path)
        if found is None or not found.is_directory:
            raise PublishError(reason=f"{self._configuration.address} 上没有目录 {path}")
        for element in below.split("/") if below else ():
            path = f"{path.rstrip('/')}/{element}"
            self._make_directory(path)
        return path

    def status(self, path: str) -> Status | None:
        """
        Of what has this name, None when nothing has. A symbolic link is itself.
        """
        with self._explained("查看", path):
            try:
                found = self._sftp.lstat(path)
            except FileNotFoundError:
                return None
        return Status(
            size_bytes=found.st_size or 0,
            changed_at=found.st_mtime or 0,
            is_directory=stat.S_ISDIR(found.st_mode or 0),
        )

    def send(self, source: Path, path: str, stop: Stop) -> Status:
        """
        Write a file, instead of what an earlier try left; synced as far as the server can. Its time of change is the
        source's, if the server takes it.

        Raises:
            PublishError: the server does not take it.
            ConnectionLost: the connection ended.
            Stopped: `stop` wanted it.
        """
        with open(source, "rb") as file:
            status = os.fstat(file.fileno())
            self.remove(path)  # a new file: an earlier connection may still have the old one open
            with self._explained("写入", path), self._sftp.open(path, "wx") as remote:
                remote.set_pipelined(True)  # else each block waits for its answer
                while block := file.read(BLOCK_BYTES):
                    stop.check()
                    remote.write(block)
                remote.set_pipelined(False)
                remote.stat()  # answered after all that was written
                self._sync(remote)
        with suppress(PublishError), self._explained("写入", path):  # not every server lets a time be set
            self._sftp.utime(path, (status.st_mtime, status.st_mtime))
        found = self.status(path)
        if found is None or found.size_bytes != status.st_size:
            got = "没有文件" if found is None else f"{found.size_bytes} 字节"
            raise PublishError(reason=f"{self._where(path)} 上传后校验不符：应为 {status.st_size} 字节，实为{got}")
        return found

    def name(self, part: str, path: str) -> bool:
        """
        Give a file its name; False when somebody has it. SFTP's rename does not replace (OpenSSH links and unlinks).
        """
        try:
            with self._explained("重命名为", path):
                self._sftp.rename(part, path)
        except PublishError:
            if self.status(path) is not None and self.status(part) is not None:
                return False  # OpenSSH says "Failure" and not why
            raise
        return True

    def remove(self, path: str) -> None:
        """
        Remove a file. Gone already is fine.
        """
        with self._explained("删除", path):
            try:
                self._sftp.remove(path)
            except FileNotFoundError:
                return

    def _make_directory(self, path: str) -> None:
        if self.status(path) is not None:
            return
        try:
            with self._explained("创建目录", path):
                self._sftp.mkdir(path)
        except PublishError:
            if self.status(path) is None:  # else somebody else made it just now
                raise

    def _sync(self, remote: paramiko.SFTPFile) -> None:
        """
        Have the server write it to its disk. An extension of OpenSSH's, for which the library has no public call.
        """
        try:
            self._sftp._request(_EXTENDED, "fsync@openssh.com", remote.handle)  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno is not None or "unsupported" not in str(error).lower():
                raise

    @contextmanager
    def _explained(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError, TimeoutError, paramiko.SSHException) as error:
            raise ConnectionLost(f"与 {self._configuration.address} 的连接中断（{_words(error)}）") from None
        except OSError as error:
            if not self._transport.is_active():
                raise ConnectionLost(f"与 {self._configuration.address} 的连接中断（{_words(error)}）") from None
            raise PublishError(reason=f"无法{doing} {self._where(path)}：{_meaning(doing, error)}") from None

    def _where(self, path: str) -> str:
        return f"{self._configuration.address} 上的 {path}"


def _connect(configuration: Configuration) -> tuple[paramiko.Transport, paramiko.SFTPClient]:
    address = configuration.address
    try:
        keys = configuration.host_keys()
    except OSError as error:
        raise PublishError(reason=f"无法读取 known_hosts 文件：{error.strerror}") from None
    try:
        connection = socket.create_connection((configuration.host, configuration.port), configuration.timeout_s)
    except OSError as error:
        raise ConnectionLost(f"无法连接 {address}（{error.strerror or error}）") from None
    transport = paramiko.Transport(connection)
    try:
        transport.set_log_channel(LOG_CHANNEL)
        transport.banner_timeout = transport.auth_timeout = configuration.timeout_s
        transport.channel_timeout = configuration.timeout_s
        _prefer(transport, keys)
        transport.start_client(timeout=configuration.timeout_s)
        _check_host_key(address, keys, transport.get_remote_server_key())
        _log_in(transport, configuration)
        sftp = _open_sftp(transport, configuration)
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        raise ConnectionLost(f"无法连接 {address}（{_words(error)}）") from None
    except BaseException:
        transport.close()
        raise
    return transport, sftp


def _open_sftp(transport: paramiko.Transport, configuration: Configuration) -> paramiko.SFTPClient:
    try:
        sftp = paramiko.SFTPClient.from_transport(transport)
    except paramiko.SSHException as error:
        if not transport.is_active():
            raise
        raise PublishError(reason=f"{configuration.address} 不提供 SFTP（{_words(error)}）") from None
    channel = None if sftp is None else sftp.get_channel()
    if sftp is None or channel is None:
        raise PublishError(reason=f"{configuration.address} 不提供 SFTP")
    channel.settimeout(configuration.timeout_s)
    return sftp


def _prefer(transport: paramiko.Transport, keys: Sequence[paramiko.PKey]) -> None:
    """
    Ask for a host key of a kind we know first: a server has several.
    """
    options = transport.get_security_options()
    known = {key.get_name() for key in keys}
    if "ssh-rsa" in known:
        known |= {"rsa-sha2-512", "rsa-sha2-256"}
    offered = list(options.key_types)
    options.key_types = [each for each in offered if each in known] + [each for each in offered if each not in known]


def _check_host_key(address: str, keys: Sequence[paramiko.PKey], shown: paramiko.PKey) -> None:
    if not keys:
        raise PublishError(
            reason=f"known_hosts 中没有 {address} 的主机密钥（服务器的是 {_fingerprint(shown)}），未登录"
        )
    if shown not in keys:
        known = "、".join(_fingerprint(key) for key in keys)
        raise PublishError(reason=f"{address} 的主机密钥不符：应为 {known}，实为 {_fingerprint(shown)}，未登录")


def _log_in(transport: paramiko.Transport, configuration: Configuration) -> None:
    address, username = configuration.address, configuration.username
    try:
        if configuration.private_key is not None:
            left = transport.auth_publickey(username, configuration.private_key)
        else:
            left = transport.auth_password(username, configuration.password)
    except paramiko.BadAuthenticationType as error:
        allowed = "、".join(error.allowed_types)
        raise PublishError(reason=f"{address} 不接受这种登录方式，允许：{allowed}") from None
    except paramiko.AuthenticationException:
        what = "密码" if configuration.private_key is None else "私钥"
        raise PublishError(reason=f"{address} 拒绝用户 {username} 登录：用户名或{what}不正确") from None
    if left:
        raise PublishError(reason=f"{address} 登录还需要：{'、'.join(left)}")


def _fingerprint(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _meaning(doing: str, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"没有权限（{_words(error)}）"
    if error.errno == errno.ENOENT:
        return f"路径不存在（{_words(error)}）"
    hint = "，可能空间不足或超出配额" if doing == "写入" else ""  # the protocol has no word for a full disk
    return f"服务器拒绝（{_words(error)}）{hint}"


def _words(error: BaseException) -> str:
    """
    What the library or the server says, else which failure it is.
    """
    if isinstance(error, TimeoutError):
        return "超时"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said or type(error).__name__
