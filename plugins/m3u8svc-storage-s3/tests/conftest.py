"""
A real S3 API to test against (moto's server, with its check of signatures on), and threads without a reactor.
"""

import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure

from m3u8svc.plugin import Settings, Task, TaskSpec

STARTS_WITHIN_S = 60.0
MEBIBYTE = 1 << 20
REGION = "eu-central-1"

SERVER = """
import threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

def application(environ, start_response):
    with one_at_a_time:
        return [b"".join(moto(environ, start_response))]

run_simple("127.0.0.1", 0, application, threaded=True)
"""
"""moto looks whether a name is free and writes in two steps; S3 does it in one, and so does moto request by request."""


def lacking(what: str) -> NoReturn:
    """
    End the test: the machine lacks this. A gate that skips says nothing, so there it fails.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true this must be there: {what}")
    pytest.skip(what)


class S3Server:
    """
    The server, seen from outside with boto3. Buckets are made by tests, each its own.
    """

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        first = {
            "endpoint_url": endpoint,
            "region_name": REGION,
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
        }
        iam = boto3.client("iam", **first)
        iam.create_user(UserName="m3u8svc")
        policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
        iam.put_user_policy(UserName="m3u8svc", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="m3u8svc")["AccessKey"]
        self.key_id: str = key["AccessKeyId"]
        self.secret: str = key["SecretAccessKey"]
        asked = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(asked).close()  # from now on signatures count
        mine = first | {"aws_access_key_id": self.key_id, "aws_secret_access_key": self.secret}
        self.client = boto3.client("s3", **mine)

    def make_bucket(self, name: str) -> "Shelf":
        """An empty bucket."""
        self.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return Shelf(self, name)


class Shelf:
    """
    One bucket of the server.
    """

    def __init__(self, server: S3Server, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def table(self) -> dict[str, Any]:
        """The configuration that leads here."""
        return {
            "endpoint": self.server.endpoint,
            "allow_http": True,
            "bucket": self.name,
            "region": REGION,
            "access_key_id": self.server.key_id,
            "secret_access_key": self.server.secret,
            "part_size_mb": 5,
        }

    def put(self, key: str, body: bytes, **notes: str) -> None:
        """Somebody's object."""
        self.server.client.put_object(Bucket=self.name, Key=key, Body=body, Metadata=notes)

    def objects(self) -> dict[str, bytes]:
        """Everything in it."""
        client, found = self.server.client, {}
        for each in client.list_objects_v2(Bucket=self.name).get("Contents", []):
            with suppress(client.exceptions.NoSuchKey):  # it went just now
                found[each["Key"]] = client.get_object(Bucket=self.name, Key=each["Key"])["Body"].read()
        return found

    def unfinished(self) -> list[str]:
        """The keys of multipart uploads that nobody has completed or aborted."""
        return [each["Key"] for each in self.server.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        lacking("moto's server: pip install 'moto[server]'")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield S3Server(found[1])
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def shelf(s3_server: S3Server, request: pytest.FixtureRequest) -> Shelf:
    """A bucket of this test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-40:].strip("-")
    return s3_server.make_bucket(f"b-{name}-{time.time_ns() % 10**9}")


class Threads:
    """
    `services.in_thread` without a reactor: each call in a thread of its own, its answer delivered by `join`.
    """

    def __init__(self) -> None:
        self._running: list[tuple[threading.Thread, Deferred[Any], list[Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        box: list[Any] = []

        def work() -> None:
            try:
                box.append(function(*arguments))
            except BaseException:
                box.append(Failure())

        done: Deferred[Any] = Deferred()
        thread = threading.Thread(target=work)
        thread.start()
        self._running.append((thread, done, box))
        return done

    def join(self) -> None:
        """Wait for all, and tell."""
        while self._running:
            thread, done, box = self._running.pop(0)
            thread.join(60)
            assert not thread.is_alive(), "it does not end"
            done.callback(box[0])


def inline(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """`services.in_thread` that runs at once."""
    return succeed(function(*arguments))


@attrs.define
class Bench:
    """
    What a test of a storage needs: bytes to publish, tasks, results of coroutines.
    """

    saves: Path
    logged: list[str] = attrs.field(factory=list)
    inline: Any = staticmethod(inline)
    threads: Threads = attrs.field(factory=Threads)

    @property
    def log(self) -> Logger:
        """A logger whose lines are in `logged`."""

        def observe(event: LogEvent) -> None:
            from twisted.logger import formatEvent

            self.logged.append(formatEvent(event))

        return Logger(namespace="test", observer=observe)

    def task(self, task_id: str = "t1", output_id: str = "1:2:3") -> Task:
        """A task that has a finished file."""
        settings = Settings(save_location=str(self.saves))
        spec = TaskSpec(url="http://origin.example/list.m3u8", filename="film", settings=settings)
        return Task(id=task_id, spec=spec, output_id=output_id)

    def stage(self, storage: Any, task: Task, body: bytes, extension: str = ".mp4") -> Path:
        """The finished file of a task."""
        path: Path = storage.staging(task, "film", extension)
        path.write_bytes(body)
        return path

    def result(self, coroutine: Any) -> Any:
        """What a coroutine comes to that waits for nothing."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
        assert outcome, "it still waits"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    saves = tmp_path / "saves"
    saves.mkdir()
    return Bench(saves=saves)
