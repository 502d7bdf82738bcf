"""
The client of our own API against services that are away, slow, broken or something else altogether.
"""

import socket
import threading
from collections.abc import Iterator

import click
import pytest

from m3u8svc.cli.client import REPEATS_S, Client, NoService, Refused
from m3u8svc.cli.options import DEFAULT_SERVER, ServerType
from tests.cli.conftest import CHINESE, ENGLISH, Invoke, Raw, StubService, task


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def babbler() -> Iterator[str]:
    """Something that listens and does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def babble() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_10.0\r\n\r\n")

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "http://s.example/x"],
        ["list"],
        ["show", "a"],
        ["pause", "a"],
        ["resume", "a"],
        ["remove", "a"],
        ["watch"],
    ],
)
@pytest.mark.parametrize(("locale", "said"), [(ENGLISH, "no service at {}"), (CHINESE, "{} 没有服务")])
def test_no_service_is_told_with_its_address(
    invoke: Invoke, nobody: str, arguments: list[str], locale: str, said: str
) -> None:
    """Status 3, where we looked, how to start one; by option as by variable."""
    for result in (
        invoke(*arguments, server=nobody, locale=locale),
        invoke(*arguments, "--server", nobody, locale=locale),
    ):
        assert (3, "") == (result.exit_code, result.stdout)
        assert said.format(nobody) in result.stderr and "m3u8svc serve" in result.stderr
        assert 1 == len(result.stderr.splitlines())


@pytest.mark.parametrize(
    ("losing", "reason"), [(-1, "Remote end closed connection without response"), (1, "cut short")]
)
def test_a_connection_that_is_closed_is_told_apart(
    service: StubService, invoke: Invoke, losing: int, reason: str
) -> None:
    """Somebody is there, so nobody needs to start a service: it has too many connections, or stops."""
    service.losing = [losing]
    result = invoke("list")
    assert (3, "") == (result.exit_code, result.stdout)
    assert f"{service.url} closed the connection (" in result.stderr and reason in result.stderr
    assert "no service" not in result.stderr and "m3u8svc serve" not in result.stderr


def test_default_address_is_the_documented_one() -> None:
    """Where ``m3u8svc serve`` listens by default."""
    assert "http://127.0.0.1:8080" == DEFAULT_SERVER


def test_something_else_on_the_port_is_told_apart(invoke: Invoke, babbler: str) -> None:
    """What does not speak HTTP is not our service: status 3, no traceback."""
    result = invoke("list", server=babbler)
    assert 3 == result.exit_code
    assert f"what answers at {babbler} is not m3u8svc (BadStatusLine" in result.stderr


HTML = Raw(status=404, body=b"<html>nginx</html>", content_type="text/html")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HTML, "HTTP 404, not JSON"),
        (Raw(body=b"[" * 100_000), "HTTP 200, not JSON"),
        (Raw(body=b"\xff"), "HTTP 200, not JSON"),
        (Raw(status=302, body=b'"x"', headers=(("Location", "http://192.0.2.1/"),)), "HTTP 302"),
        (Raw(status=502, body=b'{"error": 1}'), "HTTP 502"),
        (Raw(body=b'{"a": 1}'), "a wrong /api/tasks in its answer"),
        (Raw(body=b"[1]"), "a wrong /api/tasks in its answer"),
        (Raw(body=b'[{"id": 1}]'), "a wrong id in its answer"),
        (Raw(body=b'[{"id": "a", "url": "u", "filename": "f", "progress": true}]'), "a wrong progress in its answer"),
    ],
)
def test_answer_that_is_not_ours_is_no_service(service: StubService, invoke: Invoke, answer: Raw, reason: str) -> None:
    """Status 3 with what was wrong; redirects are not followed."""
    service.answer = answer
    result = invoke("list")
    assert 3 == result.exit_code
    assert f"Error: what answers at {service.url} is not m3u8svc ({reason})" in result.stderr


@pytest.mark.parametrize("answer", [Raw(body=b"{}"), Raw(body=b'{"id": 7}'), Raw(body=b"[]")])
def test_add_wants_an_id(service: StubService, invoke: Invoke, answer: Raw) -> None:
    """An answer without one is not our service's."""
    service.answer = answer
    result = invoke("add", "http://s.example/x")
    assert 3 == result.exit_code
    assert "a wrong id in its answer" in result.stderr


@pytest.mark.parametrize("losing", [[-1], [0], [5, -1, 0]])
def test_a_lost_answer_is_asked_for_again(service: StubService, losing: list[int]) -> None:
    """With the same name and the same body, so that there is one task; the next task has another name."""
    pauses: list[float] = []
    service.losing = list(losing)
    client = Client(service.url, pause=pauses.append)
    assert "new1" == client.add({"url": "u", "filename": "f"})["id"]
    assert list(REPEATS_S[: len(losing)]) == pauses
    assert 1 + len(losing) == len(service.visits)
    assert 1 == len({(key, str(visit.body)) for key, visit in zip(service.keys, service.visits, strict=True)})
    client.add({"url": "u", "filename": "f"})
    assert service.keys[0] != service.keys[-1] is not None


def test_answers_that_stay_lost_end_it(service: StubService) -> None:
    """After a while it is no service."""
    service.losing = [-1] * 9
    with pytest.raises(NoService):
        Client(service.url, pause=lambda seconds: None).add({"url": "u", "filename": "f"})
    assert 1 + len(REPEATS_S) == len(service.visits)


def test_a_service_that_starts_again_is_waited_for(service: StubService, nobody: str) -> None:
    """A connection that is refused after an answer was lost is no reason to give up."""
    homes = iter([service.url, nobody, service.url])
    service.losing = [-1]
    client = Client(next(homes), pause=lambda seconds: setattr(client, "server", next(homes)))
    assert "new1" == client.add({"url": "u", "filename": "f"})["id"]
    assert 2 == len(service.visits)


@pytest.mark.parametrize(("status", "code"), [(503, "db_locked"), (429, "too_many_requests")])
def test_a_busy_service_is_asked_again(service: StubService, status: int, code: str) -> None:
    """A database that is locked for a moment is no reason to lose a task; any other refusal is told at once."""
    busy = Raw(status=status, body=b'"busy"', headers=(("X-Error-Code", code),))
    later = iter([busy, None])
    service.answer = busy
    client = Client(service.url, pause=lambda seconds: setattr(service, "answer", next(later)))
    assert "new1" == client.add({"url": "u", "filename": "f"})["id"]
    assert (3, 1) == (len(service.visits), len(set(service.keys)))
    service.answer = Raw(status=500, body=b'"broken"')
    with pytest.raises(Refused, match="broken"):
        client.add({"url": "u", "filename": "f"})
    assert 4 == len(service.visits)


def test_nobody_there_is_told_at_once(nobody: str) -> None:
    """What was never asked is not asked again."""
    pauses: list[float] = []
    with pytest.raises(NoService):
        Client(nobody, pause=pauses.append).add({"url": "u", "filename": "f"})
    assert [] == pauses


def test_only_a_task_has_a_name(service: StubService, invoke: Invoke) -> None:
    """Whatever else is asked may be lost and asked again by hand."""
    service.put(task("a1"))
    invoke("pause", "a1")
    assert {None} == set(service.keys)


def test_refusal_is_shown_as_it_is(service: StubService, invoke: Invoke) -> None:
    """The API's one JSON string with its code, made safe for a terminal; status 1."""
    service.answer = Raw(
        status=400, body='"解析请求失败: url: \\u001b[2J"'.encode(), headers=(("X-Error-Code", "invalid_request"),)
    )
    result = invoke("add", "x")
    said, advice = result.stderr.splitlines()
    assert (1, "Error: 解析请求失败: url: \\x1b[2J [invalid_request]") == (result.exit_code, said)
    assert "What to do: correct the fields it names and send the request again" == advice
    service.answer = Raw(status=500, body='"保存任务失败"'.encode())
    assert "Error: 保存任务失败\n" == invoke("add", "x").stderr


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        (
            ENGLISH,
            "Error: no “film”: \\x1b[2J [task_not_found]\nWhat to do: look up the ids of the tasks with m3u8svc list\n",
        ),
        (CHINESE, "错误：没有 [task_not_found]\n怎么办：用 m3u8svc list 查看现有任务的 ID\n"),
    ],
)
def test_refusal_is_shown_in_the_user_s_language(service: StubService, invoke: Invoke, locale: str, said: str) -> None:
    """The text in English comes beside the body, which is Chinese by contract; neither may steer the terminal."""
    english = ("X-Error-Text-En", "no %E2%80%9Cfilm%E2%80%9D: %1B[2J")
    headers = (("X-Error-Code", "task_not_found"), english)
    service.answer = Raw(status=404, body='"没有"'.encode(), headers=headers)
    result = invoke("list", locale=locale)
    assert (1, "", said) == (result.exit_code, result.stdout, result.stderr)


def test_a_code_nobody_knows_has_no_advice(service: StubService, invoke: Invoke) -> None:
    """A newer service may have codes that we do not."""
    service.answer = Raw(status=400, body=b'"x"', headers=(("X-Error-Code", "brand_new"),))
    assert "Error: x [brand_new]\n" == invoke("list").stderr


def test_silence_has_an_end() -> None:
    """A service that accepts and never answers is told after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(NoService, match=r"no answer within 0\.1 s"):
            Client(address, timeout_s=0.1).tasks()


def test_proxies_of_the_environment_are_not_asked(
    service: StubService, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own service is reached directly, whatever http_proxy says."""
    monkeypatch.setenv("http_proxy", nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    service.put(task("a1"))
    assert ["a1"] == [each.id for each in Client(service.url).tasks()]


def test_service_with_the_documented_fields_only_is_understood(service: StubService) -> None:
    """Our own extensions have defaults; unknown fields are no matter."""
    service.put(task("a1", progress=12.5, status="下载中", brand_new=1))
    found = Client(service.url).task("a1")
    assert (12.5, 0, None, "", True) == (found.percent, found.speed, found.eta_s, found.output, found.is_active)


def test_id_cannot_reach_another_resource(service: StubService) -> None:
    """Whatever is typed is one query value."""
    with pytest.raises(Refused, match="任务不存在"):
        Client(service.url).task("a&files=true#/../x")
    assert {"id": "a&files=true#/../x"} == service.visits[0].query


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost", "localhost/"),
        ("http://[::1]:9", "[::1]:9"),
        ("https://nas.example/m3u8", "https://NAS.example/m3u8/"),
        ("http://xn--bcher-kva.example:81/%E8%A7%86", "bücher.example:81/视"),
    ],
)
def test_address_is_normalised(expected: str, given: str) -> None:
    """The scheme may be left out; what is sent is ASCII."""
    assert expected == ServerType().convert(given, None, None)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "no host"),
        ("http://", "no host"),
        (":8080", "no host"),
        ("ftp://nas.example", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://me@nas.example", "a user name only with a password"),
        ("http://:s3cret@nas.example", "a user name only with a password"),
        ("http://me:s3cret@nas.example/?a=1", "no ? or # in it"),
        ("http://nas.example/?a=1", "no ? or # in it"),
        ("http://nas.example/#a", "no ? or # in it"),
        ("http://nas.example:99999", "not a valid URL"),
        ("http://nas.example:x", "not a valid URL"),
        ("http://[::1", "not a valid URL"),
        ("http://a b/", "no host"),
        (f"http://{'a' * 64}.example", "not a valid URL"),
    ],
)
def test_wrong_address_is_a_usage_error(invoke: Invoke, given: str, reason: str) -> None:
    """Status 2 with the reason, from the option; no secret is repeated."""
    result = invoke("list", "--server", given)
    assert 2 == result.exit_code
    assert "a service's address is written http://host:port" in result.stderr and reason in result.stderr
    assert "s3cret" not in result.stderr
    with pytest.raises(click.BadParameter):
        ServerType().convert(given, None, None)
