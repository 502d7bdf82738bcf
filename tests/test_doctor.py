"""
What the doctor finds, and that it changes nothing.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import attrs
import pytest

from m3u8svc.access.forwarding import Front, parse_trusted
from m3u8svc.access.passwords import User, hash_password
from m3u8svc.access.roles import Role
from m3u8svc.config import Configuration
from m3u8svc.doctor import (
    Finding,
    examine,
    file_system,
    holder,
    judged_box,
    judged_descriptors,
    judged_libav,
    judged_schema,
    tcp_address,
    worst,
)
from m3u8svc.home import open_home
from m3u8svc.sandbox.level import Box
from m3u8svc.store.database import Database
from m3u8svc.store.tables import REVISION
from m3u8svc.supportbundle import redacted, redacted_log, write_bundle
from tests import needs

COMMAND = [sys.executable, "-I", "-m", "m3u8svc", "doctor"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory as a service leaves it."""
    with open_home(tmp_path / "home") as held:
        database = Database(held.home.database_url)
        database.open()
        database.close()
    return tmp_path / "home"


@pytest.fixture
def configuration(home: Path, tmp_path: Path) -> Configuration:
    """It, and a place to save to; a port that is free."""
    (tmp_path / "films").mkdir()
    return Configuration(home=str(home), save_dir=str(tmp_path / "films"), listen=("tcp:0:interface=127.0.0.1",))


def found(configuration: Configuration, about: str) -> list[tuple[str, str]]:
    """What is said of one thing, in English."""
    return [(each.status, each.en) for each in examine(configuration) if each.about == about]


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything that could change in a directory: access times aside."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.stat().st_size,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def test_all_is_well(configuration: Configuration, tmp_path: Path) -> None:
    """No problem; every check speaks, in both languages, with advice where something is wrong; nothing changes."""
    before = snapshot(tmp_path)
    findings = examine(configuration)
    assert before == snapshot(tmp_path)
    assert "problem" != worst(findings), findings
    assert {"sandbox", "libav", "home", "files", "save_dir", "database", "descriptors", "listen"} <= {
        each.about for each in findings
    }
    for each in findings:
        assert each.zh and each.en
        assert bool(each.advice_zh) == bool(each.advice_en)
        assert each.status == "ok" or each.advice_en or "cannot be looked at" in each.en


def test_a_service_that_runs(configuration: Configuration, home: Path, tmp_path: Path) -> None:
    """It is seen, it is not disturbed, its database is read while it is open."""
    with open_home(home) as held:
        database = Database(held.home.database_url)
        database.open()
        try:
            before = {name: value for name, value in snapshot(tmp_path).items() if not name.endswith("-shm")}
            [(status, text)] = found(configuration, "home")
            assert ("ok", True) == (status, f"process {os.getpid()} has it" in text)
            assert [("ok", True)] == [
                (status, REVISION in text) for status, text in found(configuration, "database") if "schema" in text
            ]
            after = {name: value for name, value in snapshot(tmp_path).items() if not name.endswith("-shm")}
            assert before == after
        finally:
            database.close()


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    """A first look, before the first start: no problem, and nothing is made."""
    configuration = Configuration(
        home=str(tmp_path / "home"), save_dir=str(tmp_path / "a" / "b"), listen=("tcp:0:interface=127.0.0.1",)
    )
    assert "problem" != worst(examine(configuration))
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mode", "status", "advice"), [(0o700, "ok", ""), (0o750, "warning", "chmod 700"), (0o777, "problem", "chmod 700")]
)
def test_who_may_enter(configuration: Configuration, home: Path, mode: int, status: str, advice: str) -> None:
    """The state directory is ours alone; one that others may write to is not even started in."""
    home.chmod(mode)
    [finding] = [each for each in examine(configuration) if each.about == "home"]
    assert (status, True) == (finding.status, advice in finding.advice_en)


def test_who_may_read(configuration: Configuration, home: Path, tmp_path: Path) -> None:
    """Configuration and database are nobody else's."""
    config = tmp_path / "m3u8svc.toml"
    config.write_text("")
    config.chmod(0o644)
    configuration = attrs.evolve(configuration, file=str(config))
    (home / "m3u8svc.sqlite3").chmod(0o640)
    [(status, text)] = found(configuration, "files")
    assert ("warning", True, True) == (status, str(config) in text, "m3u8svc.sqlite3" in text)
    config.chmod(0o600)
    (home / "m3u8svc.sqlite3").chmod(0o600)
    assert [("ok", True)] == [(status, "nobody else" in text) for status, text in found(configuration, "files")]


def test_a_damaged_database(configuration: Configuration, home: Path) -> None:
    """It is a problem; it is not touched."""
    path = home / "m3u8svc.sqlite3"
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)
    [(status, text)] = found(configuration, "database")
    assert ("problem", True) == (status, "is damaged" in text)
    assert content == path.read_bytes()


def test_a_database_whose_service_was_killed(configuration: Configuration, home: Path, tmp_path: Path) -> None:
    """All there is may be in its log still: that is no damage, and neither file is touched."""
    path, log = home / "m3u8svc.sqlite3", home / "m3u8svc.sqlite3-wal"
    for each in home.glob("m3u8svc.sqlite3*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    database = Database(f"sqlite:///{tmp_path}/living.sqlite3")
    database.open()
    for name, target in (("living.sqlite3", path), ("living.sqlite3-wal", log)):
        shutil.copyfile(tmp_path / name, target)
    database.close()
    before = path.read_bytes(), log.read_bytes()
    assert b"tasks" not in before[0] and b"tasks" in before[1]
    assert [("ok", True), ("ok", False)] == [(s, REVISION in text) for s, text in found(configuration, "database")]
    assert before == (path.read_bytes(), log.read_bytes())
    assert not (home / "m3u8svc.sqlite3-shm").exists()


def test_a_database_of_another_version(configuration: Configuration, home: Path) -> None:
    """Which it is, and which we have."""
    with sqlite3.connect(home / "m3u8svc.sqlite3") as connection:
        connection.execute("UPDATE m3u8svc_schema SET version_num = '9999'")
    connection.close()
    assert ("warning", True) == [(s, "9999" in text) for s, text in found(configuration, "database")][0]


def test_a_port_that_is_taken(configuration: Configuration) -> None:
    """By somebody else: a problem. By our own service it would be no news."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = attrs.evolve(configuration, listen=(f"tcp:{port}:interface=127.0.0.1",))
        assert ["problem"] == [status for status, _ in found(taken, "listen")]
        with open_home(Path(configuration.home)):
            assert ["ok"] == [status for status, _ in found(taken, "listen")]


def test_a_port_that_others_can_reach(configuration: Configuration, home: Path) -> None:
    """It needs a token or user; behind a proxy the names that others ask for, too."""
    reachable = attrs.evolve(configuration, listen=("tcp:0",), listen_named="listen")
    assert ["ok", "problem"] == [status for status, _ in found(reachable, "listen")]
    assert "the configuration is wrong: listen: tcp:0 can be reached" in found(reachable, "listen")[-1][1]
    (home / "tokens.json").write_text("{}", encoding="utf-8")
    assert ["ok"] == [status for status, _ in found(reachable, "listen")]
    proxied = attrs.evolve(reachable, front=Front(trusted=(parse_trusted("127.0.0.1"),)))
    assert ["ok", "warning"] == [status for status, _ in found(proxied, "listen")]
    named = attrs.evolve(proxied, hosts=("films.example",))
    assert ["ok"] == [status for status, _ in found(named, "listen")]
    (home / "tokens.json").unlink()
    known = attrs.evolve(named, users=(User(name="me", role=Role.USER, password=hash_password("a secret", b"s" * 16)),))
    assert ["ok"] == [status for status, _ in found(known, "listen")]


@pytest.mark.parametrize("endpoint", ["tcp:0:interface=192.0.2.7", r"tcp:0:interface=2001\:db8\:\:7"])
def test_a_port_at_one_address(configuration: Configuration, endpoint: str) -> None:
    """Others can reach that as well, and by a name that is known."""
    reachable = attrs.evolve(configuration, listen=(endpoint,))
    assert ["ok", "problem"] == [status for status, _ in found(reachable, "listen")]


def test_a_proxy_without_a_login(configuration: Configuration) -> None:
    """It brings others wherever the service listens, which would not start; said in the words of the start."""
    proxied = attrs.evolve(configuration, front=Front(trusted=(parse_trusted("127.0.0.1"),)))
    status, text = found(proxied, "listen")[-1]
    assert ("problem", True) == (status, "--trusted-proxy: 127.0.0.1" in text)


def test_no_place_to_save(configuration: Configuration, tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "file").write_text("")
    bad = attrs.evolve(configuration, save_dir=str(tmp_path / "file" / "films"))
    assert ["problem"] == [status for status, _ in found(bad, "save_dir")]


@pytest.mark.parametrize("place", ["/etc/films", "/usr/share", "~/.ssh"])
def test_a_place_that_is_not_for_films(configuration: Configuration, place: str) -> None:
    """An operator may mean it; it is said all the same, and what to do."""
    status, text = found(attrs.evolve(configuration, save_dir=place), "save_dir")[0]
    assert ("warning", True) == (status, "the save directory is" in text and "it is a directory of" in text)


def test_a_check_that_fails(configuration: Configuration) -> None:
    """It is a finding; the others go on, and no secret is in it."""
    bad = attrs.evolve(configuration, database="mysql://me:hunter2@h/x")
    findings = examine(bad)
    [finding] = [each for each in findings if each.about == "database"]
    assert "hunter2" not in finding.en + finding.zh
    assert "listen" in {each.about for each in findings}


@pytest.mark.parametrize(
    ("box", "status"),
    [
        (Box(landlock=7, seccomp=True), "ok"),
        (Box(landlock=0, seccomp=True, missing=("landlock",)), "warning"),
        (Box(missing=("landlock", "seccomp")), "warning"),
    ],
)
def test_boxes(box: Box, status: str) -> None:
    """What is missing is named."""
    finding = judged_box(box)
    assert status == finding.status
    assert all(wall in finding.en and wall in finding.zh for wall in box.missing)


def test_judgements() -> None:
    """Versions and limits."""
    assert ["warning", "ok", "ok"] == [judged_libav("1", v).status for v in ((59, 27), (62, 12), (63, 0))]
    assert ["problem", "warning", "ok"] == [judged_descriptors(limit).status for limit in (47, 255, 256)]
    assert ["ok", "warning", "warning"] == [judged_schema(Path("x"), v).status for v in ([REVISION], ["0001"], [])]


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("tcp:8080:interface=127.0.0.1", ("127.0.0.1", 8080)),
        ("tcp:port=80", ("0.0.0.0", 80)),
        (r"tcp:8080:interface=\:\:1", ("::1", 8080)),
        ("unix:/run/x", None),
        ("ssl:443", None),
        ("tcp:x", None),
        ("tcp:99999", None),
        ("", None),
    ],
)
def test_endpoints(endpoint: str, address: tuple[str, int] | None) -> None:
    """Where a plain one listens."""
    assert address == tcp_address(endpoint)


def test_file_systems(tmp_path: Path) -> None:
    """The mount that is nearest to a path tells its kind; the last one, where two have one place."""
    mounts = tmp_path / "mounts"
    line = "36 35 98:0 / {} rw,noatime shared:1 - {} server:/x rw\n"
    points = (("/", "ext4"), (str(tmp_path), "nfs4"), (str(tmp_path / "a b"), "tmpfs"), (str(tmp_path / "n"), "xfs"))
    mounts.write_text("".join(line.format(point.replace(" ", "\\040"), kind) for point, kind in points))
    seen = [
        file_system(path, str(mounts)) for path in (tmp_path / "m", tmp_path / "a b" / "c", Path("/"), tmp_path / "nn")
    ]
    assert ["nfs4", "tmpfs", "ext4", "nfs4"] == seen


# -- The command -----------------------------------------------------------------------------------------------------


def run(*arguments: str, language: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    """The real command."""
    environ = {**os.environ, "LC_ALL": language}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environ)


def test_the_command(home: Path) -> None:
    """JSON for tools, lines for people in their language; status 0 unless there is a problem, then 1."""
    ran = run("--home", str(home), "--json")
    answer = json.loads(ran.stdout)
    assert ("", ran.returncode == 1) == (ran.stderr, answer["status"] == "problem")
    assert {"status", "findings", "versions"} == set(answer)
    assert {"about", "status", "text", "text_en", "advice", "advice_en"} == set(answer["findings"][0])
    assert {"m3u8svc", "python", "av", "sqlite"} <= set(answer["versions"])
    home.chmod(0o777)
    ran = run("--home", str(home), language="zh_CN.UTF-8")
    assert (1, True) == (ran.returncode, f"[问题] 别人可以写入 {home}" in ran.stdout)
    home.chmod(0o700)


def test_a_wrong_configuration(home: Path, tmp_path: Path) -> None:
    """It is a finding like others, and the rest is looked at all the same."""
    config = tmp_path / "c.toml"
    config.write_text("max_active = -1\n")
    ran = run("--home", str(home), "--config", str(config))
    assert (1, True, True) == (ran.returncode, "max_active" in ran.stdout, str(home) in ran.stdout)


def test_the_bundle(home: Path, tmp_path: Path) -> None:
    """A zip of mode 0600 with everything that helps and no secret; an older one is not written over."""
    config, log, bundle = tmp_path / "c.toml", tmp_path / "log", tmp_path / "b.zip"
    config.write_text(
        '[settings]\nproxy_type = "http"\nproxy_host = "p.example"\nproxy_port = 1\nproxy_username = "me"\n'
        'proxy_password = "canary-one"\n[plugins.notify]\nurl = "https://hooks.example/canary-two"\n'
    )
    log.write_text("fetched https://o.example/a.ts?token=canary-three\nline\n")
    ran = run("--home", str(home), "--config", str(config), "--log-file", str(log), "--bundle", str(bundle))
    assert f"wrote {bundle}\n" == ran.stderr
    assert 0o600 == bundle.stat().st_mode & 0o777
    with zipfile.ZipFile(bundle) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    assert {"doctor.json", "configuration.json", "log.txt"} == set(texts)
    assert not [name for name, text in texts.items() if "canary" in text]
    assert "p.example" in texts["configuration.json"]
    assert "fetched https://o.example/a.ts?…\nline" == texts["log.txt"]
    again = run("--home", str(home), "--bundle", str(bundle))
    assert (1, True) == (again.returncode, str(bundle) in again.stderr)


def test_what_is_redacted() -> None:
    """Secrets by their name, wherever they stand; where a secret is kept is none."""
    shown = redacted(
        {
            "database": "postgresql+psycopg://me:canary@db.example/x?sslkey=canary",
            "max_active": 3,
            "auth": {"tokens": ["canary"], "users": {"me": {"password": "canary"}}},
            "settings": {"proxy_password": {"$env": "PW"}, "header_map": {"Cookie": "canary", "Accept": "x"}},
            "plugins": {"enabled": ["a"], "s3": {"bucket": "canary", "port": 3, "deep": {"x": ["canary"]}}},
        }
    )
    assert "canary" not in json.dumps(shown)
    assert (3, ["a"], 3, "x") == (
        shown["max_active"],
        shown["plugins"]["enabled"],
        shown["plugins"]["s3"]["port"],
        shown["settings"]["header_map"]["Accept"],
    )
    assert "db.example" in shown["database"]
    assert "a\\x1b[0m" == redacted_log(b"a\x1b[0m\n")


def test_a_bundle_without_a_log(tmp_path: Path) -> None:
    """There is none to put in."""
    write_bundle(tmp_path / "b.zip", found={"status": "ok"}, configuration={}, log=b"")
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        assert ["doctor.json", "configuration.json"] == packed.namelist()


def test_the_worst_counts() -> None:
    """A problem over a warning over nothing."""

    def of(*states: str) -> str:
        return worst([Finding(about="x", status=each, zh="", en="") for each in states])  # type: ignore[arg-type]

    assert ["ok", "ok", "warning", "problem"] == [of(), of("ok"), of("ok", "warning"), of("problem", "warning")]


def test_nothing_is_written(home: Path, tmp_path: Path) -> None:
    """Of the calls that could change something in the state directory none is made."""
    needs.commands("strace")
    log = tmp_path / "trace"
    changing = "creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,chmod,fchmod,fchmodat,truncate"
    strace = ["strace", "-f", "-o", str(log), "-e", f"trace=open,openat,{changing}"]
    ran = subprocess.run([*strace, *COMMAND, "--home", str(home)], capture_output=True)
    assert ran.returncode in (0, 1), ran.stderr
    ours = [line for line in log.read_text(errors="replace").splitlines() if str(home) in line]
    assert ours
    writing = ("O_CREAT", "O_RDWR", "O_WRONLY")
    assert not [line for line in ours if any(flag in line for flag in writing) or "open" not in line]


def test_a_lock_that_cannot_be_read_is_nobody_s(tmp_path: Path) -> None:
    """Who looks at somebody else's state directory is not told of our mistakes."""
    lock = tmp_path / "lock"
    lock.write_text("1\n")
    lock.chmod(0)
    with needs.no_rights():
        assert 0 == holder(lock)
