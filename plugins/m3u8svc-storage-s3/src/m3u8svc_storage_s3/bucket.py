"""
One bucket over the S3 protocol: look, create without replacing, list, delete. All blocking; every failure comes out as
a `PublishError` that names the object and says what the server said.

A name is taken by the request that makes the object visible: a PUT for a small file, the completion of a multipart
upload for a large one, each with ``If-None-Match: *``, which the server refuses when there is an object. So nobody's
object is ever replaced, and an object is there whole or not at all.
"""

import base64
import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn  # Any: botocore makes its clients at run time and has no types

import attrs
import botocore.session  # type: ignore[import-untyped]  # ships none
from botocore import UNSIGNED
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.configprovider import (  # type: ignore[import-untyped]
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    ConfigValueStore,
    ConstantProvider,
)
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection

from m3u8svc.plugin import PublishError
from m3u8svc_storage_s3.configuration import MEBIBYTE, Configuration
from m3u8svc_storage_s3.stopping import Stop, Stopped
from m3u8svc_storage_s3.uploads import Upload, Uploads

ATTEMPTS = 5
"""At one request, when the server is overloaded, fails or cannot be reached."""
CONNECT_WITHIN_S = 10
MOST_PARTS = 10_000
READ_BYTES = 1 << 20

_TAKEN = ("PreconditionFailed", "412")
_CONTENDED = ("ConditionalRequestConflict", "409")
_GONE = ("404", "NoSuchKey", "NotFound")
_MEANINGS = {
    "403": "没有权限",
    "AccessDenied": "没有权限",
    "InvalidAccessKeyId": "access_key_id 不存在",
    "SignatureDoesNotMatch": "secret_access_key 不正确",
    "InvalidToken": "session_token 无效",
    "ExpiredToken": "session_token 已过期",
    "RequestTimeTooSkewed": "本机时间与服务器相差太大",
    "NoSuchBucket": "存储桶不存在",
    "PermanentRedirect": "存储桶在其他区域，请检查 region 或 endpoint",
    "AuthorizationHeaderMalformed": "region 不正确",
    "301": "存储桶在其他区域，请检查 region 或 endpoint",
    "EntityTooLarge": "文件过大",
    "QuotaExceeded": "存储空间不足",
    "XMinioStorageFull": "存储空间不足",
    "NotImplemented": "服务器不支持条件写入，可设 conditional_writes = false",
}


class NameTaken(Exception):
    """
    There is an object of this name, or somebody is just making one (`contended`).
    """

    def __init__(self, *, contended: bool) -> None:
        super().__init__()
        self.contended = contended


@attrs.frozen(kw_only=True)
class Found:
    """
    An object that is there: its size and what its maker noted on it.
    """

    size_bytes: int
    notes: Mapping[str, str]


class Bucket:
    """
    The configured bucket.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.name = configuration.bucket
        self._configuration = configuration
        self._client = _client(configuration)

    def find(self, key: str) -> Found | None:
        """
        The object of this name.

        Raises:
            PublishError: the server does not say.
        """
        with self._explained("查看", key):
            try:
                answer = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) in _GONE:
                    return None
                self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)  # HEAD has no body to say why
                raise
        return Found(size_bytes=answer["ContentLength"], notes=dict(answer.get("Metadata", {})))

    def keys(self, beginning: str) -> Iterator[str]:
        """
        The names of all objects that begin so.

        Raises:
            PublishError: the server does not say.
        """
        with self._explained("列出", beginning):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=beginning):
                for each in page.get("Contents", []):
                    yield each["Key"]

    def create(self, key: str, source: Path, about: Mapping[str, Any], uploads: Uploads, stop: Stop) -> None:
        """
        Make an object of a file, unless there is one of this name. `about` holds its Metadata and ContentType.

        Raises:
            NameTaken: there is one. Nothing was made.
            PublishError: it could not be made. Nothing is left, or it is on record in `uploads`.
            Stopped: `stop` wanted it. Same.
        """
        with self._explained("上传到", key), open(source, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            part_bytes = max(self._configuration.part_size_mb * MEBIBYTE, -(-size // MOST_PARTS))
            if size <= part_bytes:
                self._put(key, Slice(file.fileno(), 0, size, stop), about)
            else:
                slices = [
                    Slice(file.fileno(), start, min(part_bytes, size - start), stop)
                    for start in range(0, size, part_bytes)
                ]
                self._upload(key, slices, about, uploads, stop)

    def abort(self, upload: Upload) -> None:
        """
        Remove what a multipart upload has stored so far. One that is over already is fine.

        Raises:
            PublishError: it is still there.
        """
        with self._explained("清理未完成的上传", upload.key):
            try:
                self._client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id)
            except ClientError as error:
                if _code(error) not in ("NoSuchUpload", *_GONE):
                    raise

    def delete(self, key: str) -> None:
        """
        Remove an object. Gone already is fine.

        Raises:
            PublishError: it is still there.
        """
        with self._explained("删除", key):
            self._client.delete_object(Bucket=self.name, Key=key)

    def _put(self, key: str, body: "Slice", about: Mapping[str, Any]) -> None:
        body.stop.check()
        with self._taking(key) as condition:
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentMD5=body.md5(), **about, **condition)

    def _upload(self, key: str, slices: list["Slice"], about: Mapping[str, Any], uploads: Uploads, stop: Stop) -> None:
        stop.check()
        answer = self._client.create_multipart_upload(Bucket=self.name, Key=key, **about)
        upload = Upload(bucket=self.name, key=key, upload_id=answer["UploadId"])
        record = uploads.note(upload)
        try:
            parts = self._send_all(upload, slices)
            stop.check()
            with self._taking(key) as condition:
                self._client.complete_multipart_upload(
                    Bucket=self.name,
                    Key=key,
                    UploadId=upload.upload_id,
                    MultipartUpload={"Parts": parts},
                    **condition,
                )
        except BaseException:  # stopped included: nothing half-done stays
            try:
                self.abort(upload)
            except PublishError:  # why it failed counts more; this one is on record and is tried again
                uploads.leave_behind(record, upload)
            else:
                uploads.forget(record)
            raise
        uploads.forget(record)

    def _send_all(self, upload: Upload, slices: list["Slice"]) -> list[dict[str, Any]]:
        """
        Several at once; the first failure ends the others, and all have ended when it is raised.
        """
        failed = threading.Event()

        def send(number: int, body: Slice) -> dict[str, Any]:
            if failed.is_set():
                raise Stopped
            try:
                body.stop.check()
                answer = self._client.upload_part(
                    Bucket=upload.bucket,
                    Key=upload.key,
                    UploadId=upload.upload_id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=body.md5(),
                )
            except BaseException as error:
                failures.append(error)
                failed.set()
                raise
            return {"PartNumber": number, "ETag": answer["ETag"]}

        failures: list[BaseException] = []
        with ThreadPoolExecutor(self._configuration.concurrency, "s3-part") as threads:
            sent = [threads.submit(send, number, body) for number, body in enumerate(slices, 1)]
        if failures:
            raise failures[0]
        return [each.result() for each in sent]

    @contextmanager
    def _taking(self, key: str) -> Iterator[dict[str, str]]:
        """
        Around the request that takes the name: what makes it conditional, and what its refusal means.
        """
        if not self._configuration.conditional_writes:
            if self.find(key) is not None:  # all there is without the server's help; see the manual
                raise NameTaken(contended=False)
            yield {}
            return
        try:
            yield {"IfNoneMatch": "*"}
        except ClientError as error:
            if _code(error) in _TAKEN:
                raise NameTaken(contended=False) from error
            if _code(error) in _CONTENDED:
                raise NameTaken(contended=True) from error
            raise

    @contextmanager
    def _explained(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, OSError) as error:
            self._complain(f"无法{doing}存储桶 {self.name} 中的 {key}", error)

    def _complain(self, what: str, error: Exception) -> NoReturn:
        said = _said(error)
        for secret in (
            self._configuration.secret_access_key,
            self._configuration.session_token,
            self._configuration.access_key_id,
        ):
            said = said.replace(secret, "***") if secret else said
        raise PublishError(reason=f"{what}：{said}") from None  # the cause's own text may hold what ours must not


class Slice(io.RawIOBase):
    """
    A stretch of an open file as a body to send; several are read at once. Reading ends when it is to stop.
    """

    def __init__(self, descriptor: int, start: int, length: int, stop: Stop) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._at = 0
        self.stop = stop

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: a request that is sent again starts over."""
        return True

    def tell(self) -> int:
        """Where the next read begins, within the stretch."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """
        The next bytes.

        Raises:
            OSError: the file has become shorter.
            Stopped: it is to stop.
        """
        self.stop.check()
        left = max(0, self._length - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._descriptor, wanted, self._start + self._at)
        if wanted and not data:
            raise OSError("文件在上传时变短了")
        self._at += len(data)
        return data

    def md5(self) -> str:
        """
        Its digest as Content-MD5 has it: the server refuses what does not arrive as it was read.
        """
        digest = hashlib.md5(usedforsecurity=False)
        self.seek(0)
        while data := self.read(READ_BYTES):
            digest.update(data)
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()


def _client(configuration: Configuration) -> Any:
    """
    A client that knows what it is told and nothing else: no environment, no ~/.aws, no instance's role, no proxy.
    """
    session = botocore.session.Session()
    defaults = {name: ConstantProvider(each[2]) for name, each in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    nowhere = {"config_file": ConstantProvider(None), "credentials_file": ConstantProvider(None)}
    session.register_component("config_store", ConfigValueStore(mapping=defaults | nowhere))
    if not configuration.anonymous:
        session.set_credentials(
            configuration.access_key_id, configuration.secret_access_key, configuration.session_token or None
        )
    return session.create_client(
        "s3",
        region_name=configuration.region,
        endpoint_url=configuration.endpoint or None,
        verify=True,
        config=Config(
            signature_version=UNSIGNED if configuration.anonymous else "s3v4",
            s3={"addressing_style": "path" if configuration.path_style else "virtual"},
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            connect_timeout=CONNECT_WITHIN_S,
            read_timeout=configuration.timeout_s,
            max_pool_connections=configuration.concurrency + 2,
            proxies={},
            ignore_configured_endpoint_urls=True,
            request_checksum_calculation="when_required",  # Content-MD5 does it, and every server knows it
            response_checksum_validation="when_required",
            user_agent="m3u8svc-storage-s3/0.1.0",
        ),
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _said(error: Exception) -> str:
    if isinstance(error, ClientError):
        code = _code(error)
        message = str(error.response.get("Error", {}).get("Message", "")).strip()
        meaning = _MEANINGS.get(code, "服务器拒绝")
        return f"{meaning}（{code}：{message}）" if message else f"{meaning}（{code}）"
    if isinstance(error, SSLError):
        return f"TLS 证书不可信（{error}）"
    if isinstance(error, NoConnection):
        return f"连接服务器失败（{error}）"
    if isinstance(error, OSError):
        return f"读取本地文件失败（{error.strerror or error}）"
    return f"请求失败（{error}）"
