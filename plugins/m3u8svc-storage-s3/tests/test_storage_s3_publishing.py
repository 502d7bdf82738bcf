"""
The storage against a real S3 API: what it makes, what it leaves alone, what it leaves behind.
"""

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from m3u8svc_storage_s3.bucket import Bucket
from m3u8svc_storage_s3.configuration import read_configuration
from m3u8svc_storage_s3.stopping import Stop, Stopped
from m3u8svc_storage_s3.storage import S3Storage
from m3u8svc_storage_s3.uploads import Upload, Uploads
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from m3u8svc.plugin import Published, PublishError

MEBIBYTE = 1 << 20
LARGE = os.urandom(11 * MEBIBYTE)
"""Three parts of five mebibytes."""


class Recording:
    """
    The requests of a bucket's client as they go out; `before` is told of each first, and may raise.
    """

    def __init__(self, bucket: Bucket, before: Callable[[str], None] = lambda name: None) -> None:
        self.names: list[str] = []
        self._before = before
        bucket._client.meta.events.register("before-call.s3", self._note)

    def _note(self, model: Any, **rest: Any) -> None:
        self.names.append(model.name)
        self._before(model.name)


@pytest.fixture
def make(shelf: Any, bench: Any, tmp_path: Path) -> Callable[..., S3Storage]:
    def make(in_thread: Any = bench.inline, state: str = "state", **changes: Any) -> S3Storage:
        configuration = read_configuration(shelf.table | changes)
        return S3Storage(
            Bucket(configuration),
            Uploads(tmp_path / state),
            prefix=configuration.prefix,
            in_thread=in_thread,
            log=bench.log,
        )

    return make


@pytest.mark.parametrize(
    "body", [b"", b"small", LARGE[: 5 * MEBIBYTE], LARGE[: 5 * MEBIBYTE + 1], LARGE], ids=lambda body: str(len(body))
)
def test_the_object_holds_the_files_bytes(shelf: Any, bench: Any, make: Any, body: bytes) -> None:
    """Of any size, in one request or in parts; the local file is gone afterwards, no upload is left open."""
    storage, task = make(prefix="downloads"), bench.task()
    staged = bench.stage(storage, task, body)
    published = bench.result(storage.publish(task, staged, "film", ".mp4"))
    location = f"s3://{shelf.name}/downloads/film.mp4"
    assert Published(location=location, size_bytes=len(body), local=False) == published
    assert {"downloads/film.mp4": body} == shelf.objects()
    assert not staged.exists()
    assert [] == shelf.unfinished()
    assert [] == list(storage._uploads._directory.glob("*"))


def test_a_large_file_goes_in_parts(bench: Any, make: Any) -> None:
    """More than one part size is a multipart upload, up to that a single request."""
    storage, task = make(), bench.task()
    requests = Recording(storage._bucket).names
    bench.result(storage.publish(task, bench.stage(storage, task, LARGE), "film", ".mp4"))
    assert 3 == requests.count("UploadPart")
    assert "PutObject" not in requests


def test_the_object_says_what_it_is(shelf: Any, bench: Any, make: Any) -> None:
    """Content type for players, the task's id for us."""
    storage, task = make(), bench.task("abc")
    bench.result(storage.publish(task, bench.stage(storage, task, b"x", ".mkv"), "film", ".mkv"))
    head = shelf.server.client.head_object(Bucket=shelf.name, Key="film.mkv")
    assert "video/x-matroska" == head["ContentType"]
    assert ("abc", "1") == (head["Metadata"]["m3u8svc-task-id"], head["Metadata"]["m3u8svc-size"])


def test_names_are_taken_as_they_are(shelf: Any, bench: Any, make: Any) -> None:
    """Spaces, Chinese and what means something in a URL come through, to the object and back for its removal."""
    storage, task = make(), bench.task()
    name = "电影 #1 100%?+&"
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), name, ".mp4"))
    assert {f"{name}.mp4": b"x"} == shelf.objects()
    assert published == bench.result(storage.recover(task, name, ".mp4"))
    bench.result(storage.remove(task, published.location))
    assert {} == shelf.objects()


@pytest.mark.parametrize("body", [b"mine", LARGE], ids=["single", "parts"])
def test_a_taken_name_is_left_alone(shelf: Any, bench: Any, make: Any, body: bytes) -> None:
    """The next free number is used; those who were there first keep their bytes."""
    shelf.put("film.mp4", b"theirs")
    shelf.put("film_0001.mp4", b"theirs too")
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, body), "film", ".mp4"))
    assert f"s3://{shelf.name}/film_0002.mp4" == published.location
    assert {"film.mp4": b"theirs", "film_0001.mp4": b"theirs too", "film_0002.mp4": body} == shelf.objects()


@pytest.mark.parametrize(
    "body, last", [(b"mine", "PutObject"), (LARGE, "CompleteMultipartUpload")], ids=["single", "parts"]
)
def test_a_name_taken_at_the_last_moment_is_left_alone(
    shelf: Any, bench: Any, make: Any, body: bytes, last: str
) -> None:
    """Somebody's object that appears after the look, and before ours is complete, is not replaced."""
    storage, task = make(), bench.task()

    def take(name: str) -> None:
        if name == last:
            shelf.put("film.mp4", b"theirs")

    Recording(storage._bucket, take)
    published = bench.result(storage.publish(task, bench.stage(storage, task, body), "film", ".mp4"))
    assert f"s3://{shelf.name}/film_0001.mp4" == published.location
    assert {"film.mp4": b"theirs", "film_0001.mp4": body} == shelf.objects()
    assert [] == shelf.unfinished()


@pytest.mark.parametrize("size", [1000, 6 * MEBIBYTE], ids=["single", "parts"])
def test_two_that_race_for_a_name_get_one_each(shelf: Any, bench: Any, make: Any, size: int) -> None:
    """Two services that publish the same name at once end with two objects, each whole."""
    bodies = [bytes([number]) * (size + number) for number in range(2)]
    meeting = threading.Barrier(2, timeout=30)
    met: set[int] = set()

    def meet(name: str) -> None:
        if name in ("PutObject", "CompleteMultipartUpload") and threading.get_ident() not in met:
            met.add(threading.get_ident())
            meeting.wait()

    outcome: list[Any] = []
    for number, body in enumerate(bodies):
        storage = make(bench.threads, state=f"state{number}")
        Recording(storage._bucket, meet)
        task = bench.task(f"t{number}")
        staged = bench.stage(storage, task, body)
        Deferred.fromCoroutine(storage.publish(task, staged, "film", ".mp4")).addBoth(outcome.append)
    bench.threads.join()
    begins = f"s3://{shelf.name}/film"
    assert {f"{begins}.mp4", f"{begins}_0001.mp4"} == {getattr(each, "location", each) for each in outcome}
    assert sorted(bodies) == sorted(shelf.objects().values())
    assert [] == shelf.unfinished()


@pytest.mark.parametrize("body, first", [(b"mine", "HeadObject"), (LARGE, "UploadPart")], ids=["single", "parts"])
def test_without_conditional_writes_the_name_is_looked_up_again(
    shelf: Any, bench: Any, make: Any, body: bytes, first: str
) -> None:
    """Somebody's object that appears while ours is sent is seen right before ours would take its name."""
    storage, task = make(conditional_writes=False), bench.task()
    looks: list[str] = []

    def take(name: str) -> None:
        looks.append(name)
        if name == first and "film.mp4" not in shelf.objects() and (first != "HeadObject" or looks.count(first) == 2):
            shelf.put("film.mp4", b"theirs")

    Recording(storage._bucket, take)
    published = bench.result(storage.publish(task, bench.stage(storage, task, body), "film", ".mp4"))
    assert f"s3://{shelf.name}/film_0001.mp4" == published.location
    assert {"film.mp4": b"theirs", "film_0001.mp4": body} == shelf.objects()
    assert [] == shelf.unfinished()


# -- What fails ------------------------------------------------------------------------------------------------------


def failing(bench: Any, storage: S3Storage, body: bytes = b"x") -> str:
    """The text a publishing fails with; the finished file must still be there, without a change."""
    task = bench.task()
    staged = bench.stage(storage, task, body)
    with pytest.raises(PublishError) as caught:
        bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert body == staged.read_bytes()
    return caught.value.text()


def test_a_wrong_secret_is_said(shelf: Any, bench: Any, make: Any) -> None:
    """The text names the object and which credential is wrong, and holds none of them."""
    wrong = "a" * 40
    said = failing(bench, make(secret_access_key=wrong))
    assert shelf.name in said and "film.mp4" in said
    assert "secret_access_key 不正确" in said and "SignatureDoesNotMatch" in said
    assert wrong not in said and shelf.server.key_id not in said


def test_a_wrong_key_id_is_said(bench: Any, make: Any) -> None:
    """The same of the other half."""
    said = failing(bench, make(access_key_id="AKIAIOSFODNN7EXAMPLE"))
    assert "access_key_id 不存在" in said
    assert "AKIAIOSFODNN7EXAMPLE" not in said


@pytest.mark.parametrize("body", [b"x", LARGE], ids=["single", "parts"])
def test_a_missing_bucket_is_said(bench: Any, make: Any, body: bytes) -> None:
    """By the server's word and in ours."""
    said = failing(bench, make(bucket="no-such-bucket-here"), body)
    assert "存储桶不存在（NoSuchBucket" in said and "no-such-bucket-here" in said


def test_a_server_that_is_away_is_said(bench: Any, make: Any) -> None:
    """After a bounded number of attempts."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        storage = make(endpoint=f"http://127.0.0.1:{port}")
        said = failing(bench, storage)
    assert "连接服务器失败" in said


@contextmanager
def scripted_server(*puts: tuple[int, str], words: str = "words") -> Iterator[tuple[str, list[str]]]:
    """
    A server without objects that answers PUTs so, one after the other, the last again and again. Its URL, and the
    methods it has seen.
    """
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(404, "")

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*puts[min(seen.count("PUT"), len(puts) - 1)])

        def answer(self, status: int, code: str) -> None:
            seen.append(self.command)
            body = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def test_a_server_without_conditional_writes_is_said(bench: Any, make: Any) -> None:
    """The text names the setting."""
    with scripted_server((501, "NotImplemented")) as (endpoint, seen):
        said = failing(bench, make(endpoint=endpoint))
    assert "conditional_writes = false" in said and "NotImplemented：words" in said
    assert 1 == seen.count("PUT")


def test_what_the_server_says_of_credentials_is_not_passed_on(shelf: Any, bench: Any, make: Any) -> None:
    """Some name the key in their message."""
    secrets = (shelf.server.key_id, shelf.server.secret, "token-of-a-session")
    with scripted_server((403, "AccessDenied"), words=" ".join(secrets)) as (endpoint, _):
        said = failing(bench, make(endpoint=endpoint, session_token=secrets[2]))
    assert "没有权限（AccessDenied：*** *** ***）" in said


def test_an_overloaded_server_is_asked_again_and_not_for_ever(bench: Any, make: Any) -> None:
    """Five attempts at a request that fails for the moment."""
    with scripted_server((503, "SlowDown")) as (endpoint, seen):
        assert "SlowDown" in failing(bench, make(endpoint=endpoint))
    assert 5 == seen.count("PUT")


@pytest.mark.parametrize("name", ["UploadPart", "CompleteMultipartUpload"])
def test_a_failed_upload_is_aborted(shelf: Any, bench: Any, make: Any, name: str) -> None:
    """Nothing invisible stays in the bucket, no note in the state directory."""
    storage = make()

    def break_off(called: str) -> None:
        if called == name:
            raise OSError("broken")

    Recording(storage._bucket, break_off)
    assert "broken" in failing(bench, storage, LARGE)
    assert {} == shelf.objects()
    assert [] == shelf.unfinished()
    assert [] == list(storage._uploads._directory.glob("*"))


def test_an_abort_that_fails_is_made_up_for(shelf: Any, bench: Any, make: Any) -> None:
    """When the server is away for the abort too, the next publishing does it, and says nothing else is wrong."""
    storage, away = make(), [True]

    def break_off(called: str) -> None:
        if away and called in ("UploadPart", "AbortMultipartUpload"):
            raise OSError("broken")

    Recording(storage._bucket, break_off)
    failing(bench, storage, LARGE)
    assert ["film.mp4"] == shelf.unfinished()
    away.clear()
    other = bench.task("t2")
    bench.result(storage.publish(other, bench.stage(storage, other, b"x"), "film", ".mp4"))
    assert [] == shelf.unfinished()


def test_an_answer_that_is_lost_is_made_out(shelf: Any, bench: Any, make: Any) -> None:
    """The upload is complete and the server's answer does not arrive: the object is known as ours, and not doubled."""
    storage, task = make(), bench.task()

    def lose(model: Any, **rest: Any) -> None:
        raise OSError("lost")

    storage._bucket._client.meta.events.register("after-call.s3.CompleteMultipartUpload", lose)
    published = bench.result(storage.publish(task, bench.stage(storage, task, LARGE), "film", ".mp4"))
    assert f"s3://{shelf.name}/film.mp4" == published.location
    assert {"film.mp4": LARGE} == shelf.objects()


@pytest.mark.parametrize("body", [b"x", LARGE], ids=["single", "parts"])
def test_every_body_goes_with_its_digest(bench: Any, make: Any, body: bytes) -> None:
    """Content-MD5 of what was read: a server refuses what arrives otherwise."""
    storage, task = make(), bench.task()
    seen: list[bytes] = []

    def check(request: Any, **rest: Any) -> None:
        if b"Content-MD5" in request.headers or "Content-MD5" in request.headers:
            sent = request.body.read()
            request.body.seek(0)
            assert base64.b64encode(hashlib.md5(sent).digest()) == request.headers["Content-MD5"]
            seen.append(sent)

    storage._bucket._client.meta.events.register("before-send.s3", check)
    bench.result(storage.publish(task, bench.stage(storage, task, body), "film", ".mp4"))
    assert sorted(body[start : start + 5 * MEBIBYTE] for start in range(0, len(body), 5 * MEBIBYTE)) == sorted(seen)


def test_an_object_without_our_notes_is_not_taken_for_ours(shelf: Any, bench: Any, make: Any) -> None:
    """A server that drops metadata ends in an error, not in ten thousand uploads."""
    storage = make()

    def drop(params: Any, **rest: Any) -> None:
        params["headers"] = {name: value for name, value in params["headers"].items() if "meta" not in name}

    storage._bucket._client.meta.events.register("before-call.s3.PutObject", drop)
    assert "校验不符" in failing(bench, storage)
    assert ["film.mp4"] == list(shelf.objects())


def test_a_file_that_shrinks_meanwhile_fails(shelf: Any, bench: Any, make: Any) -> None:
    """It is no longer what was verified."""
    storage, task = make(), bench.task()
    staged = bench.stage(storage, task, LARGE)
    Recording(storage._bucket, lambda name: os.truncate(staged, 1) if name == "CreateMultipartUpload" else None)
    with pytest.raises(PublishError, match="变短"):
        bench.result(storage.publish(task, staged, "film", ".mp4"))
    assert [] == shelf.unfinished()


# -- Pause and crash -------------------------------------------------------------------------------------------------


def test_a_cancelled_upload_ends_and_is_aborted(shelf: Any, bench: Any, make: Any) -> None:
    """A pause in the middle: the cancellation goes on only when the upload has ended and nothing is left of it."""
    storage, task = make(bench.threads, concurrency=1), bench.task()
    staged = bench.stage(storage, task, LARGE)
    sending, go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "UploadPart":
            sending.set()
            assert go_on.wait(30)

    requests = Recording(storage._bucket, hold).names
    outcome: list[Any] = []
    publishing = Deferred.fromCoroutine(storage.publish(task, staged, "film", ".mp4")).addBoth(outcome.append)
    assert sending.wait(30)
    publishing.cancel()
    assert [] == outcome, "it went on before the upload had ended"
    go_on.set()
    bench.threads.join()
    assert isinstance(outcome[0], Failure) and outcome[0].check(CancelledError)
    assert 1 == requests.count("UploadPart")
    assert [] == shelf.unfinished()
    assert {} == shelf.objects()
    assert LARGE == staged.read_bytes()


def test_a_part_under_way_is_ended_by_a_stop(shelf: Any, make: Any, tmp_path: Path) -> None:
    """Not only between parts: the body being sent ends as soon as somebody wants it to, and is not tried again."""
    storage, stop = make(concurrency=1), Stop()
    source = tmp_path / "film"
    source.write_bytes(LARGE)
    requests = Recording(storage._bucket).names
    sent: list[str] = []

    def stop_now(request: Any, **rest: Any) -> None:
        sent.append(request.method)
        stop.set()

    storage._bucket._client.meta.events.register("before-send.s3.UploadPart", stop_now)
    with pytest.raises(Stopped):
        storage._bucket.create("film.mp4", source, {}, storage._uploads, stop)
    assert 1 == len(sent) == requests.count("UploadPart")
    assert [] == shelf.unfinished()


def test_an_upload_of_a_crash_is_aborted(shelf: Any, bench: Any, make: Any) -> None:
    """What is on record at the start is nobody's any more; another's upload of the same name is not touched."""
    client = shelf.server.client
    ours, theirs = (client.create_multipart_upload(Bucket=shelf.name, Key="film.mp4")["UploadId"] for _ in range(2))
    make()._uploads.note(Upload(bucket=shelf.name, key="film.mp4", upload_id=ours))
    storage = make()  # the next run, with the same state directory
    assert bench.result(storage.recover(bench.task(), "film", ".mp4")) is None
    left = client.list_multipart_uploads(Bucket=shelf.name)["Uploads"]
    assert [theirs] == [each["UploadId"] for each in left]


def test_what_a_crash_left_unrecorded_is_found(shelf: Any, bench: Any, make: Any) -> None:
    """Under whichever number, also when a name before it is free again; the local file goes, a second is not made."""
    shelf.put("film.mp4", b"theirs")
    storage, task = make(), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, LARGE), "film", ".mp4"))
    staged = bench.stage(storage, task, LARGE)  # the crash came before it was removed
    shelf.server.client.delete_object(Bucket=shelf.name, Key="film.mp4")
    assert published == bench.result(make(state="lost").recover(task, "film", ".mp4"))
    assert not staged.exists()


@pytest.mark.parametrize(
    "key, notes",
    [
        ("film.mp4", {"m3u8svc-task-id": "t2", "m3u8svc-size": "4"}),
        ("film.mp4", {"m3u8svc-task-id": "t1", "m3u8svc-size": "5"}),
        ("film.mp4", {}),
        ("film_1.mp4", {"m3u8svc-task-id": "t1", "m3u8svc-size": "4"}),
        ("film_0001.mkv", {"m3u8svc-task-id": "t1", "m3u8svc-size": "4"}),
        ("films/film.mp4", {"m3u8svc-task-id": "t1", "m3u8svc-size": "4"}),
    ],
)
def test_what_is_not_this_tasks_is_not_recovered(shelf: Any, bench: Any, make: Any, key: str, notes: Any) -> None:
    """Another task's, one of another size, somebody's without our notes, one under no name of ours."""
    shelf.put(key, b"body", **notes)
    assert bench.result(make().recover(bench.task("t1"), "film", ".mp4")) is None


def test_a_first_run_asks_nobody(bench: Any, make: Any) -> None:
    """A task that never had a finished file has published nothing: a server that is away does not hold it up."""
    storage = make()
    requests = Recording(storage._bucket).names
    assert bench.result(storage.recover(bench.task(output_id=""), "film", ".mp4")) is None
    assert [] == requests


# -- Removal ---------------------------------------------------------------------------------------------------------


def test_a_result_is_removed(shelf: Any, bench: Any, make: Any) -> None:
    """And only that; once more is fine."""
    shelf.put("downloads/film.mp4", b"theirs")
    storage, task = make(prefix="downloads"), bench.task()
    published = bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4"))
    bench.result(storage.remove(task, published.location))
    assert {"downloads/film.mp4": b"theirs"} == shelf.objects()
    bench.result(storage.remove(task, published.location))


@pytest.mark.parametrize(
    "place", ["film.mp4", "downloads/other.mp4", "downloadsfilm.mp4"], ids=["outside", "another's", "beside"]
)
def test_what_is_not_ours_is_not_removed(shelf: Any, bench: Any, make: Any, place: str) -> None:
    """Outside the prefix whoever made it; below it only with this task's id. The log says so."""
    notes = {"m3u8svc-task-id": "t2" if "other" in place else "t1", "m3u8svc-size": "1"}
    shelf.put(place, b"x", **notes)
    bench.result(make(prefix="downloads").remove(bench.task("t1"), f"s3://{shelf.name}/{place}"))
    assert {place: b"x"} == shelf.objects()
    assert place in bench.logged[0]


def test_another_buckets_object_is_not_removed(shelf: Any, bench: Any, make: Any) -> None:
    """The configuration may have changed since."""
    shelf.put("film.mp4", b"x", **{"m3u8svc-task-id": "t1", "m3u8svc-size": "1"})
    bench.result(make().remove(bench.task("t1"), "s3://elsewhere/film.mp4"))
    assert {"film.mp4": b"x"} == shelf.objects()


def test_a_removal_that_fails_is_said(bench: Any, make: Any) -> None:
    """Not taken for done."""
    storage = make(secret_access_key="a" * 40)
    with pytest.raises(PublishError):
        bench.result(storage.remove(bench.task(), f"s3://{storage._bucket.name}/film.mp4"))


# -- Credentials -----------------------------------------------------------------------------------------------------


def test_the_environment_is_not_used(bench: Any, make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AWS_*, profiles and proxies of the environment change nothing."""
    config = tmp_path / "aws-config"
    config.write_text("[profile other]\nregion = us-west-1\ns3 =\n  addressing_style = virtual\n")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "wrong",
        "AWS_SECRET_ACCESS_KEY": "wrong",
        "AWS_SESSION_TOKEN": "wrong",
        "AWS_PROFILE": "other",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_CA_BUNDLE": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "NO_PROXY": "",
        "no_proxy": "",
    }.items():
        monkeypatch.setenv(name, value)
    storage, task = make(), bench.task()
    assert bench.result(storage.publish(task, bench.stage(storage, task, b"x"), "film", ".mp4")).size_bytes == 1


def test_without_credentials_nothing_is_signed(bench: Any, make: Any, shelf: Any, monkeypatch: Any) -> None:
    """anonymous = true sends no Authorization, whatever the environment holds."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-environment")
    table = {key: value for key, value in shelf.table.items() if "access_key" not in key} | {"anonymous": True}
    bucket = Bucket(read_configuration(table))
    sent: list[Any] = []
    bucket._client.meta.events.register("before-send.s3", lambda request, **rest: sent.append(dict(request.headers)))
    with pytest.raises(PublishError):
        bucket.find("film.mp4")
    assert sent and not any("Authorization" in headers for headers in sent)


def test_nothing_shows_a_secret(shelf: Any) -> None:
    """Not even when the configuration is printed."""
    configuration = attrs.evolve(read_configuration(shelf.table), session_token="token-of-a-session")
    for secret in (shelf.server.secret, shelf.server.key_id, "token-of-a-session"):
        assert secret not in repr(configuration)
