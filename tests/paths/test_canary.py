"""
The canary: unique secrets in every place that takes one, real tasks that succeed and fail in different ways, and then
a search through everything that came out of the service. Exempt are the `url` and `header_map` of an authorised GET,
and the database, which must be its owner's alone.
"""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist
from tests.integration.conftest import require
from tests.integration.service_child import Service
from tests.paths.canaries import PLACES, Canaries, Watch
from tests.test_job import encrypted
from tests.test_service import COUNT, segments

__all__ = ["segments"]

HERE = Path(__file__).parent
EXEMPT = ("url", "header_map")
DATABASE = r"/home/m3u8svc\.sqlite3"
WAITS_S = 300.0
UPGRADE = (
    "GET /ws/progress HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Leaking(Service):
    """
    The service, with something broken that keeps secrets in.
    """

    def __init__(self, place: Path, *options: str, broken: str = "") -> None:
        super().__init__(place, *options, before=[sys.executable, "-I", str(HERE / "leaking.py"), broken])


@contextmanager
def origin(folder: Path) -> Iterator[str]:
    """A server of these files in a process of its own; its address."""
    command = [sys.executable, "-I", "-m", "m3u8svc.testing.origin", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while not (found := re.search(r"http://\S+", process.stdout.readline())):
                assert process.poll() is None
            yield found[0].rstrip("/")
        finally:
            process.kill()


def make_stream(folder: Path, media: list[bytes], canaries: Canaries) -> None:
    """An encrypted stream whose links are signed, and others that cannot be downloaded."""
    signed = f"token={canaries['segment_query']}"
    folder.mkdir()
    (folder / "key.bin").write_bytes(canaries.key)
    (folder / "other.bin").write_bytes(b"0123456789abcdef")
    for number, content in enumerate(media):
        (folder / f"{number}.ts").write_bytes(encrypted(content, canaries.key, 1))
    lists = {
        "film": [f"{number}.ts?{signed}" for number in range(COUNT)],
        "missing": [f"{number}.ts?{signed}" for number in range(COUNT - 1)] + [f"gone.ts?{signed}"],
        "refused": [f"0.ts?{signed}", f"1.ts?{signed}&status=403"],
        "redirected": [f"0.ts?{signed}", f"1.ts?{signed}&redirect=http://u:{canaries['userinfo']}@127.0.0.1:9/x"],
        "junk": [f"0.ts?{signed}&body=html", f"1.ts?{signed}"],
        "slow": [f"0.ts?{signed}", f"1.ts?{signed}&hang=body"],
        "elsewhere": [f"http://127.0.0.1:9/{number}.ts?{signed}" for number in range(COUNT)],
    }
    for name, uris in lists.items():
        key = KeyLine(uri=f"key.bin?{signed}", iv=f"0x{1:032x}")
        lines = [SegmentLine(uri=uri, duration_s=1.0, keys=(key,)) for uri in uris]
        (folder / f"{name}.m3u8").write_text(media_playlist(lines))
    wrong = (folder / "film.m3u8").read_text()
    (folder / "keyless.m3u8").write_text(wrong.replace("key.bin", "gone.bin"))
    (folder / "wrongkey.m3u8").write_text(wrong.replace("key.bin", "other.bin"))
    (folder / "page.m3u8").write_text(f"<html>see http://h.test/film?{signed} for more</html>")
    (folder / "nonsense.m3u8").write_text(wrong.replace("key.bin", "ftp://h/key.bin"))


def request(base: str, name: str, canaries: Canaries, **fields: object) -> dict[str, Any]:
    """A request with a secret in every place that it has."""
    host = urlsplit(base).netloc
    return {
        "url": f"http://user:{canaries['userinfo']}@{host}/{name}.m3u8?sig={canaries['url_query']}",
        "filename": name,
        "advanced": True,
        "use_http_headers": True,
        "http_headers": {
            "Cookie": [f"sid={canaries['cookie']}"],
            "X-Api-Token": [canaries["secret_header"]],
            **({} if name == "film" else {"Authorization": [f"Bearer {canaries['authorization']}"]}),
        },
        "debug_log": True,
        "log_skipped_ts": True,
        "report": True,
        **fields,
    }


def shown(value: Any) -> Any:
    """An answer without what is exempt."""
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items() if name not in EXEMPT}
    return [shown(each) for each in value] if isinstance(value, list) else value


class Listener:
    """Everything that the WebSocket says."""

    def __init__(self, base: str) -> None:
        address = urlsplit(base)
        assert address.hostname is not None and address.port is not None
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.sendall(UPGRADE.format(host=address.netloc).encode())
        self.heard = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while piece := self._socket.recv(1 << 16):
            self.heard += piece

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def processes(service: Service) -> list[int]:
    """The service's process and its children, as they are now."""
    try:
        pid = service.pid
        threads = [Path(f"/proc/{pid}/task") / name for name in os.listdir(f"/proc/{pid}/task")]
        listed = [(each / "children").read_text().split() for each in threads]
    except (AssertionError, OSError):
        return []
    return [pid, *(int(child) for children in listed for child in children)]


def run_tasks(
    service: Service, base: str, canaries: Canaries, watch: Watch, names: Mapping[str, dict[str, Any]]
) -> None:
    """Tasks of every kind, at once; what the API says of them, while they run and after."""
    listener = Listener(service.base)

    def ask(method: str, target: str, body: object = None) -> Any:
        answer = service.ask(method, target, body)
        watch.tell(f"headers of {method} {target.split('?')[0]}", repr(answer.headers).encode())
        value = (
            json.loads(answer.text)
            if answer.headers.get("content-type", "").startswith("application/json")
            else answer.text
        )
        watch.tell(f"{method} {target.split('?')[0]}", json.dumps(shown(value), ensure_ascii=False).encode())
        return value

    ids = {}
    for name, fields in names.items():
        ids[name] = ask("POST", "/api/tasks", request(base, name, canaries, **fields))["id"]
    deadline = time.monotonic() + WAITS_S

    def ends(task: dict[str, Any]) -> bool:
        return task["id"] == ids.get("slow") or task["status"] in ("已完成", "失败")

    while not all(map(ends, ask("GET", "/api/tasks"))):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    for name, task_id in ids.items():
        task = ask("GET", f"/api/tasks?id={task_id}")
        expected = {"film": "已完成", "given": "已完成", "slow": "下载中"}.get(name, "失败")
        assert expected == task["status"], (name, task)
        for target in ("?id={}&report=true", "/live?id={}", "/segments?id={}", "/play?id={}"):
            ask("GET", "/api/tasks" + target.format(task_id))
    if "slow" in ids:
        ask("PUT", f"/api/tasks?id={ids['slow']}", {"status": "已暂停"})
        ask("PUT", f"/api/tasks?id={ids['slow']}", {"url": request(base, "slow", canaries)["url"]})
        ask("POST", "/api/tasks?dry_run=true", request(base, "film", canaries))
        proxy = {"proxy_type": "http", "proxy_host": "127.0.0.1", "proxy_port": 9}
        ask("POST", "/api/settings", {**proxy, "proxy_username": "me", "proxy_password": canaries["proxy_password"]})
        ask("GET", "/api/settings")
        for wrong in refused(base, canaries):
            assert isinstance(ask("POST", "/api/tasks", wrong), str)
        for command in broken_commands(base, canaries):
            assert isinstance(ask("POST", "/api/curl", {"command": command}), str), command
        for scheme, secret in (("Bearer", canaries["api_token"]), ("Basic", canaries["api_password"])):
            given = secret if scheme == "Bearer" else base64.b64encode(f"me:{secret}".encode()).decode()
            answer = service.ask("GET", "/api/settings", None, f"Authorization: {scheme} {given}")
            watch.tell("a wrong login", (repr(answer.headers) + answer.text).encode())
        for path in ("/", "/api/health", "/healthz", "/readyz", "/metrics", "/api/plugins", "/api/nothing"):
            ask("GET", path)
        ask("DELETE", f"/api/tasks?id={ids['missing']}")
    listener.close()
    watch.tell("WebSocket", bytes(listener.heard))
    watch.tell("log", service.log.encode())


def refused(base: str, canaries: Canaries) -> list[dict[str, Any]]:
    """Requests that are wrong in a field beside each secret, or in the secret itself."""
    good = request(base, "film", canaries)
    proxy = {"proxy_type": "socks5", "proxy_host": "127.0.0.1", "proxy_password": canaries["proxy_password"]}
    return [
        good | {"url": f"ftp://u:{canaries['userinfo']}@h/?token={canaries['url_query']}"},
        good | {"url": f"http:///x?token={canaries['url_query']}"},
        good | {"http_headers": {"Cookie": [f"{canaries['cookie']}\r\nX: y"]}},
        good | {"http_headers": {"Bad Name": [canaries["secret_header"]]}},
        good | {"key": canaries.key.hex() + "x"},
        good | proxy,
        good | proxy | {"proxy_port": "1080"},
        good | {"save_location": "/etc"},
        good | {"filename": "a/b"},
    ]


def broken_commands(base: str, canaries: Canaries) -> list[str]:
    """Curl commands with a secret in every place that has one, each of which cannot be had for another reason."""
    link = f"'{request(base, 'film', canaries)['url']}'"
    proxy = f"-x http://me:{canaries['proxy_password']}@127.0.0.1:9"
    header, cookie = f"-H 'X-Api-Token: {canaries['secret_header']}'", f"-b 'sid={canaries['cookie']}'"
    login = f"-u 'me:{canaries['api_password']}' --oauth2-bearer {canaries['authorization']}"
    whole = f"curl {link} {proxy} {header} {cookie} {login}"
    return [
        whole.replace("'", '"', 1),
        whole.removesuffix(canaries["authorization"]) + f"$({canaries['authorization']}",
        f"{whole} & echo {canaries['api_token']}",
        f"{whole} -d 'token={canaries['api_token']}'",
        f"{whole} -X {canaries['api_token']}",
        f"{whole} -E/{canaries['api_token']}",
        f"{whole} -H {canaries['secret_header']}",
        f"{whole} -H @{canaries['secret_header']}",
        f"{whole} -H 'Bad Name: {canaries['secret_header']}'",
        f"{whole} -H $'A: {canaries['secret_header']}\\nB: c'",
        f"{whole} -b {canaries['cookie']}",
        f"{whole} -u {canaries['api_password']}",
        f"{whole} -x socks4://me:{canaries['proxy_password']}@h:1",
        f"{whole} -x http://h/{canaries['proxy_password']}",
        f"{whole} -x h -U me:{canaries['proxy_password'] * 20}",
        f"{whole} --limit-rate {canaries['api_token']}",
        f"{whole} {link}",
        whole.replace("http://user", "ftp://user"),
        whole.replace("?sig=", "?sig=[1-2]"),
        whole.replace("?sig=", "?sig=" + "x" * 9000),
    ]


ALL = {
    "film": {"keep_ts_files": True},
    "given": {},
    "missing": {},
    "refused": {},
    "redirected": {},
    "junk": {},
    "slow": {},
    "elsewhere": {},
    "keyless": {},
    "wrongkey": {},
    "page": {},
    "nonsense": {},
    "proxied": {},
}


def wanted(canaries: Canaries, *names: str) -> dict[str, dict[str, Any]]:
    """Those tasks, with what they need."""
    proxy = {"proxy_type": "http", "proxy_host": "127.0.0.1", "proxy_port": 9, "proxy_username": "me"}
    special: dict[str, dict[str, Any]] = {
        "given": {"key": canaries.key.hex(), "iv": f"{1:032x}"},
        "proxied": {**proxy, "proxy_password": canaries["proxy_password"]},
    }
    return {name: {**ALL[name], **special.get(name, {})} for name in names or ALL}


def leaks(tmp_path: Path, media: list[bytes], *names: str, broken: str = "") -> Watch:
    """What came out where it should not, of a service that ran these tasks."""
    require("curl")
    canaries = Canaries.fresh()
    make_stream(tmp_path / "served", media, canaries)
    for name in ("given", "proxied"):
        (tmp_path / "served" / f"{name}.m3u8").write_text((tmp_path / "served" / "wrongkey.m3u8").read_text())
    place = tmp_path / "service"
    place.mkdir()
    service = Leaking(place, "--max-active", "20", broken=broken)
    with ExitStack() as stack:
        base = stack.enter_context(origin(tmp_path / "served"))
        stack.callback(service.kill)
        watch = stack.enter_context(Watch(canaries, place, lambda: processes(service), DATABASE))
        service.start()
        run_tasks(service, base, canaries, watch, wanted(canaries, *names))
        if not broken:
            service.stop()
    return watch


def test_no_secret_comes_out(tmp_path: Path, segments: list[bytes]) -> None:
    """Tasks that are done, that failed in ten ways, that run, that are refused: only the database knows secrets."""
    watch = leaks(tmp_path, segments)
    assert set() == watch.hits
    looked_at = " ".join(sorted(watch.looked_at))
    processes, files = ("/proc/…/environ", "/proc/…/cmdline"), ("debug.log", "report.json", "playlists.z, inflated")
    for where in (*processes, *files, "WebSocket", "log", "GET /api/settings", "private files"):
        assert where in looked_at, looked_at


def test_state_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask: files 0600, directories 0700; and no crash writes memory to a disk."""
    service = Leaking(tmp_path, broken="umask")
    try:
        service.start()
        service.ask("POST", "/api/settings", {"download_threads": 1})
        limits = Path(f"/proc/{service.pid}/limits").read_text()
        service.stop()
    finally:
        service.kill()
    assert re.search(r"Max core file size +0 ", limits)
    modes = {str(path): path.lstat().st_mode & 0o777 for path in [service.home, *service.home.rglob("*")]}
    expected = {path: 0o700 if Path(path).is_dir() else 0o600 for path in modes}
    assert expected == modes and len(modes) > 3


@pytest.mark.parametrize(
    ("broken", "names"),
    [("redact_url", ("missing",)), ("redact_text", ("missing",)), ("mask", ("proxied",)), ("key", ("given",))],
)
def test_a_lost_redaction_is_found(tmp_path: Path, segments: list[bytes], broken: str, names: tuple[str, ...]) -> None:
    """The search is not blind: each redaction that is taken out shows."""
    assert set() != leaks(tmp_path, segments, *names, broken=broken).hits


def test_the_database_url_is_not_said(tmp_path: Path) -> None:
    """A database that cannot be reached is named without its password, from a file or from the command line."""
    canaries = Canaries.fresh()
    url = f"postgresql+psycopg://me:{canaries['database']}@127.0.0.1:9/none"
    (tmp_path / "url").write_text(url)
    (tmp_path / "config.toml").write_text('database = {"$file" = "' + str(tmp_path / "url") + '"}\n')
    command = [sys.executable, "-I", "-m", "m3u8svc", "serve", "--home", str(tmp_path / "home"), "--listen"]
    command += ["tcp:0:interface=127.0.0.1", "--config", str(tmp_path / "config.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        argv = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        said = process.stdout.read()
    assert process.returncode and b"127.0.0.1" in said
    assert [] == canaries.found_in(said) == canaries.found_in(argv)
    for path in (tmp_path / "home").rglob("*"):
        assert path.is_dir() or [] == canaries.found_in(path.read_bytes())


def real_token(home: Path) -> str:
    """A token that lets in, as it is printed once."""
    command = [sys.executable, "-I", "-m", "m3u8svc", "token", "create", "--role", "admin", "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def bundled(folder: Path, home: Path, canaries: Canaries, log: str, *, broken: str = "") -> dict[str, bytes]:
    """What `doctor --bundle` prints and packs, of a configuration and a log with secrets in them."""
    configuration = folder / "secrets.toml"
    configuration.write_text(
        f'database = "postgresql+psycopg://me:{canaries["database"]}@127.0.0.1:9/none"\n'
        f'[settings]\nproxy_type = "http"\nproxy_host = "p.example"\nproxy_port = 1\nproxy_username = "me"\n'
        f'proxy_password = "{canaries["proxy_password"]}"\n'
        f'[plugins.notify]\nurl = "https://hooks.example/{canaries["secret_header"]}"\n'
        f'[[users]]\nname = "me"\npassword = {{"$file" = "{folder / "password"}"}}\n'
    )
    (folder / "password").write_text(canaries["api_password"])
    (folder / "log").write_text(
        f"{log}fetched https://u:{canaries['userinfo']}@o.example/a.ts?token={canaries['url_query']}\n"
    )
    bundle = folder / f"bundle {broken}.zip"
    options = ["--home", str(home), "--config", str(configuration), "--log-file", str(folder / "log"), "--json"]
    m3u8svc = Path(sys.executable).with_name("m3u8svc")
    command = [sys.executable, "-I", str(HERE / "leaking.py"), broken, str(m3u8svc), "doctor", *options]
    ran = subprocess.run([*command, "--bundle", str(bundle)], capture_output=True, check=False)
    with zipfile.ZipFile(bundle) as packed:
        return {"output": ran.stdout + ran.stderr, **{name: packed.read(name) for name in packed.namelist()}}


def test_a_token_that_lets_in_and_the_bundle(tmp_path: Path) -> None:
    """
    The token is in no answer, log or file, not even the database, whoever shows it and however; nor is it, or any other
    secret, in what people send to somebody who helps them. That is not because the search is blind.
    """
    require("curl")
    place = tmp_path / "service"
    token = real_token(place / "home")
    canaries = Canaries({**Canaries.fresh().values, "api_token": token})
    service = Leaking(place)
    said: dict[str, bytes] = {}
    try:
        service.start()
        for name, method, target, body, shown_token in (
            ("list", "GET", "/api/tasks", None, token),
            ("task", "POST", "/api/tasks", request("http://127.0.0.1:9", "film", canaries), token),
            ("wrong", "GET", "/api/tasks", None, f"{token}x"),
            ("query", "GET", f"/api/tasks?token={token}", None, ""),
            ("path", "GET", f"/api/{token}", None, token),
            ("login", "POST", "/api/session", {"token": token}, ""),
            ("no login", "POST", "/api/session", {"token": token, "colour": token}, ""),
            ("health", "GET", "/api/health", None, token),
        ):
            headers = [f"Authorization: Bearer {shown_token}"] if shown_token else []
            answer = service.ask(method, target, body, *headers)
            said[name] = repr((answer.status, answer.headers, answer.text)).encode()
        service.stop()
    finally:
        service.kill()
    statuses = {name: int(each[1:4]) for name, each in said.items()}
    assert {"list": 200, "task": 200, "wrong": 401, "query": 401, "path": 404, "login": 200, "no login": 400} == {
        name: status for name, status in statuses.items() if name != "health"
    }
    files = {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert {"tokens.json", "m3u8svc.sqlite3", "service.log"} <= {Path(name).name for name in files}
    assert [] == [name for name, content in {**said, **files}.items() if "api_token" in canaries.found_in(content)]
    packed = bundled(tmp_path, place / "home", canaries, service.log)
    assert {"output", "doctor.json", "configuration.json", "log.txt"} == set(packed)
    assert b"p.example" in packed["configuration.json"] and b"o.example/a.ts" in packed["log.txt"]
    assert {} == {name: found for name, content in packed.items() if (found := canaries.found_in(content))}
    leaking = bundled(tmp_path, place / "home", canaries, service.log, broken="redact_text")
    assert {"userinfo", "url_query"} <= set(canaries.found_in(leaking["log.txt"]))


@pytest.mark.parametrize("place", PLACES)
def test_every_form_is_found(place: str) -> None:
    """As it is, in a URL, in hexadecimal, in base64 behind anything."""
    canaries = Canaries.fresh()
    raw = canaries.key if place == "key" else canaries[place].encode()
    forms = [raw, b"x" + raw + b"y", raw.hex().encode(), raw.hex().upper().encode()]
    forms += [base64.b64encode(b"u" * before + raw + b"z" * after) for before in range(7) for after in range(4)]
    assert [place] * len(forms) == [found for form in forms for found in canaries.found_in(form)]
