"""
Playlists and redirects that lead where the service must not go: files, this machine, metadata services. The playlists
come from an address that is allowed to it as if it were in the internet; everything else here is not.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.rig import END, LINES, Canary, Hostile, Trap, attacked, bounded, hostile
from tests.integration.conftest import require
from tests.integration.service_child import Service
from tests.integration.test_access import make_token

FORBIDDEN = "forbidden_address"


@pytest.fixture(scope="module")
def public() -> Iterator[Hostile]:
    """A server in the internet, as far as the service knows."""
    with hostile() as started:
        yield started


@pytest.fixture(scope="module")
def strict(public: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that may only go there, and nowhere near."""
    require("curl")
    allowed = ("--network-mode", "strict", "--allow", f"127.0.0.1:{public.server_port}")
    with attacked(tmp_path_factory.mktemp("strict") / "service", *allowed) as started:
        yield started


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    """A listener of this machine that hears of nobody."""
    yield (listening := Trap())
    listening.close()


@pytest.fixture(autouse=True)
def nobody_comes(public: Hostile, trap: Trap) -> Iterator[None]:
    """Not one packet arrives at the trap."""
    public.answers.clear()
    public.asked.clear()
    yield
    assert [] == trap.knocks


TARGETS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.0.0.2:{port}/",
    "http://0.0.0.0:{port}/",
    "http://localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::7f00:1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://127.0.0.1:22/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/",
    "http://100.100.100.200/",
    "http://192.168.1.1/",
    "http://10.0.0.1/",
    "http://user:password@127.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
]
FEW = (
    TARGETS[0],
    "http://localhost:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
)
EVERYWHERE = [("segment", each) for each in TARGETS] + [
    (where, each) for where in ("key", "init", "variant") for each in FEW
]
SCHEMES = [
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_x",
]


def playlist(where: str, target: str) -> bytes:
    """One that leads there in this way."""
    texts = {
        "segment": f"{LINES}#EXTINF:1,\n{target}\n{END}",
        "key": f'{LINES}#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\na.ts\n{END}',
        "init": f'{LINES}#EXT-X-MAP:URI="{target}"\n#EXTINF:1,\na.ts\n{END}',
        "variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
        "page": f'<html><a href="{target}x.m3u8">film</a>',
    }
    return texts[where].encode()


def fail(service: Service, server: Hostile, name: str = "/a.m3u8") -> dict[str, Any]:
    """A task that fails, within little memory."""
    server.answers.setdefault("/a.ts", b"no media")
    with bounded(service, 60):
        return service.fail(server.base + name, "film")


@pytest.mark.parametrize(("where", "target"), EVERYWHERE)
def test_what_a_playlist_names(strict: Service, public: Hostile, trap: Trap, where: str, target: str) -> None:
    """It is refused by name, and nobody is asked."""
    public.answers["/a.m3u8"] = playlist(where, target.format(port=trap.port))
    task = fail(strict, public)
    assert task["err_code"] in (FORBIDDEN, "redirect_refused", "bad_playlist", "invalid_url", "dns_failed")
    if "@" not in target and "%" not in target:
        assert FORBIDDEN == task["err_code"]
    assert {path for path, _ in public.asked} <= {"/a.m3u8", "/a.ts"}


@pytest.mark.parametrize("target", FEW)
@pytest.mark.parametrize("what", ["playlist", "segment", "key"])
def test_where_a_redirect_leads(strict: Service, public: Hostile, trap: Trap, what: str, target: str) -> None:
    """The same, one hop later, and two."""
    path = {"playlist": "/a.m3u8", "segment": "/a.ts", "key": "/a.key"}[what]
    public.answers["/a.m3u8"] = playlist("key", "a.key") if what == "key" else playlist("segment", "a.ts")
    public.answers[path] = lambda visit: visit.redirect("/hop")
    public.answers["/hop"] = lambda visit: visit.redirect(target.format(port=trap.port))
    task = fail(strict, public)
    assert task["err_code"] in (FORBIDDEN, "redirect_refused", "dns_failed")
    assert "/hop" in {path for path, _ in public.asked}


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_user_types(strict: Service, public: Hostile, trap: Trap, target: str) -> None:
    """Who may only use the service may not use it to look around, either; he is told no more than that."""
    answer = strict.ask("POST", "/api/tasks", {"url": target.format(port=trap.port), "filename": "film"})
    if answer.status == 200:
        task = strict.wait(answer.value["id"], "失败")
        assert task["err_code"] in (FORBIDDEN, "dns_failed")
    else:
        assert 400 == answer.status


@pytest.mark.parametrize("target", SCHEMES)
@pytest.mark.parametrize("where", ["segment", "key", "init", "variant"])
def test_other_schemes(strict: Service, public: Hostile, trap: Trap, where: str, target: str) -> None:
    """Only http and https are spoken."""
    public.answers["/a.m3u8"] = playlist(where, target.format(port=trap.port))
    task = fail(strict, public)
    assert task["err_code"] in ("unsupported_scheme", "bad_playlist")


def test_a_local_file_is_not_opened(strict: Service, public: Hostile, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither by its name in a playlist, nor by a redirect to it."""
    canary = Canary(tmp_path_factory.mktemp("canary") / "a.ts", "CANARY-70c2")
    for answer in (
        playlist("segment", f"file://{canary.path}"),
        playlist("segment", str(canary.path)),
        lambda visit: visit.redirect(f"file://{canary.path}"),
    ):
        public.answers["/a.m3u8"] = answer
        assert "CANARY-70c2" not in str(fail(strict, public))
    assert 0 == canary.opened()
    canary.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_our_own_port(strict: Service, public: Hostile, host: str) -> None:
    """The service is not led to itself, whatever it is called."""
    before = strict.ask("GET", "/api/tasks").value
    for target in (f"http://{host}:{strict.base.rpartition(':')[2]}/api/tasks",):
        public.answers["/a.m3u8"] = playlist("variant", target)
        assert FORBIDDEN == fail(strict, public)["err_code"]
    assert len(before) + 1 == len(strict.ask("GET", "/api/tasks").value)


def led(trap: Trap, kind: str, public: Hostile) -> dict[str, Any]:
    """Fields of a task that lead to the trap without naming it in a link of a playlist that is fetched."""
    here = f"http://127.0.0.1:{trap.port}/"
    return {
        "pasted": {"url": "", "playlist": f"{LINES}#EXTINF:1,\n{here}a.ts\n{END}"},
        "pasted key": {
            "url": "",
            "playlist": playlist("key", f"{here}a.key").decode().replace("a.ts", f"{public.base}/a.ts"),
        },
        "base of a pasted one": {"url": "", "playlist": f"{LINES}#EXTINF:1,\na.ts\n{END}", "base_url": here},
        "base": {"base_url": here},
        "query": {"append_query": "@127.0.0.1/"},
        "proxy": {"proxy_type": "http", "proxy_host": "127.0.0.1", "proxy_port": trap.port},
        "proxy by name": {"proxy_type": "socks5", "proxy_host": "localhost", "proxy_port": trap.port},
        "proxy by number": {"proxy_type": "https", "proxy_host": "2130706433", "proxy_port": trap.port},
        "host header": {"use_http_headers": True, "http_headers": {"Host": [f"127.0.0.1:{trap.port}"]}},
    }[kind]


KINDS = [
    "pasted",
    "pasted key",
    "base of a pasted one",
    "base",
    "query",
    "proxy",
    "proxy by name",
    "proxy by number",
    "host header",
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_request_brings(strict: Service, public: Hostile, trap: Trap, kind: str) -> None:
    """Nor do the other fields of a task lead there: pasted playlists, base addresses, proxies, headers."""
    public.answers["/a.m3u8"] = playlist("segment", "a.ts")
    public.answers["/a.ts"] = b"no media"
    fields = {"url": f"{public.base}/a.m3u8", "filename": "film", "advanced": True} | led(trap, kind, public)
    answer = strict.ask("POST", "/api/tasks", fields)
    if answer.status == 200:
        task = strict.wait(answer.value["id"], "失败")
        expected = {"not_media"} if kind in ("query", "host header") else {FORBIDDEN}
        assert task["err_code"] in expected, task
    else:
        assert 400 == answer.status
    planned = strict.ask("POST", "/api/tasks?dry_run=true", fields)
    assert planned.status in (200, 400)


def test_behind_a_reverse_proxy(trap: Trap, tmp_path: Path) -> None:
    """Who comes through a proxy of the operator's may not look around on its machine, although we listen there only."""
    require("curl")
    (place := tmp_path / "service").mkdir()
    bearer = f"Authorization: Bearer {make_token(place / 'home')}"
    body = {"url": f"http://127.0.0.1:{trap.port}/a.m3u8", "filename": "film"}
    with attacked(place, "--trusted-proxy", "127.0.0.1") as service:
        assert 401 == service.ask("GET", "/api/tasks").status
        made = service.ask("POST", "/api/tasks", body, bearer)
        assert 200 == made.status
        until = time.monotonic() + 60
        while (task := service.ask("GET", f"/api/tasks?id={made.value['id']}", None, bearer).value)["status"] != "失败":
            assert time.monotonic() < until, task
            time.sleep(0.1)
    assert FORBIDDEN == task["err_code"]
