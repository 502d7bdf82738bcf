"""
``m3u8svc token`` and ``password``, and the tokens that the other commands send.
"""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import Result

from m3u8svc.access import tokens
from m3u8svc.access.passwords import is_right, parse_hash
from m3u8svc.access.roles import Role
from m3u8svc.cli.options import ServerType
from tests.cli.conftest import CHINESE, Invoke, Raw, StubService, task

TOKEN = tokens.token_of(bytes(32))


def token(invoke: Invoke, home: Path, *line: str, **named: str) -> Result:
    return invoke("token", line[0], "--home", str(home), *line[1:], **named)


# -- Making them -----------------------------------------------------------------------------------------------------


def test_create_list_revoke(invoke: Invoke, tmp_path: Path) -> None:
    """The token alone is on standard output, once; the list knows its name and role; revoked it is gone."""
    made = token(invoke, tmp_path / "home", "create", "--name", "phone", "--role", "reader")
    secret = made.stdout.strip()
    assert (0, "The token phone (reader) is made, and shown only now:\n") == (made.exit_code, made.stderr)
    file = tmp_path / "home" / "tokens.json"
    (record,) = tokens.parse(file.read_text())
    assert ("phone", Role.READER, record) == (record.name, record.role, tokens.find([record], secret))
    assert secret not in file.read_text()
    listed = token(invoke, tmp_path / "home", "list")
    assert f"phone\treader\t{record.created_at}\n" == listed.stdout
    assert secret not in listed.output
    assert "phone is revoked\n" == token(invoke, tmp_path / "home", "revoke", "phone").stdout
    assert () == tokens.parse(file.read_text())
    assert "No tokens." in token(invoke, tmp_path / "home", "list").stderr


def test_the_file_is_private(invoke: Invoke, tmp_path: Path) -> None:
    """Whatever the umask is."""
    mask = os.umask(0)
    try:
        token(invoke, tmp_path / "home", "create")
    finally:
        os.umask(mask)
    assert 0o700 == stat.S_IMODE((tmp_path / "home").stat().st_mode)
    assert {0o600} == {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "home").iterdir()}


def test_names_and_roles_by_default(invoke: Invoke, tmp_path: Path) -> None:
    """token-1, token-2, as users; no two are alike."""
    secrets = {token(invoke, tmp_path, "create").stdout for _ in range(2)}
    listed = json.loads(token(invoke, tmp_path, "list", "--json").stdout)
    assert [("token-1", "user"), ("token-2", "user")] == [(each["name"], each["role"]) for each in listed]
    assert 2 == len(secrets)


def test_the_home_of_a_configuration(invoke: Invoke, tmp_path: Path) -> None:
    """The service that has this file reads the tokens there."""
    (tmp_path / "c.toml").write_text(f'home = "{tmp_path}/theirs"\n')
    assert 0 == invoke("token", "create", "--config", str(tmp_path / "c.toml")).exit_code
    assert (tmp_path / "theirs" / "tokens.json").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("create", "--name", "a/b"), "名称“a/b”不可用"),
        (("create", "--name", "phone"), "已有名为 phone 的令牌"),
        (("revoke", "other"), "没有名为 other 的令牌"),
    ],
)
def test_what_cannot_be(invoke: Invoke, tmp_path: Path, line: tuple[str, ...], said: str) -> None:
    """Status 1 with the reason, and nothing is changed."""
    token(invoke, tmp_path, "create", "--name", "phone")
    before = (tmp_path / "tokens.json").read_text()
    result = token(invoke, tmp_path, *line, locale=CHINESE)
    assert (1, "", True) == (result.exit_code, result.stdout, said in result.stderr)
    assert before == (tmp_path / "tokens.json").read_text()


def test_a_role_that_is_none(invoke: Invoke, tmp_path: Path) -> None:
    """A usage error."""
    assert 2 == token(invoke, tmp_path, "create", "--role", "god").exit_code


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("{}", 0o600, "damaged"), ('{"version": 1, "tokens": []}', 0o644, "chmod 600")],
)
def test_a_file_that_cannot_be_trusted(invoke: Invoke, tmp_path: Path, content: str, mode: int, said: str) -> None:
    """Nothing is made of it, and it stays as it is."""
    file = tmp_path / "tokens.json"
    file.write_text(content)
    file.chmod(mode)
    for line in (("create",), ("list",), ("revoke", "x")):
        result = token(invoke, tmp_path, *line)
        assert (1, True) == (result.exit_code, said in result.stderr)
    assert content == file.read_text()


def test_a_home_of_somebody_else(invoke: Invoke, tmp_path: Path) -> None:
    """What we wrote there the service could not read, or others could replace."""
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    result = token(invoke, tmp_path / "open", "create")
    assert (1, True) == (result.exit_code, "chmod 700" in result.stderr)
    assert [] == list((tmp_path / "open").iterdir())


def test_password_makes_a_hash(invoke: Invoke) -> None:
    """Read from standard input, and never shown."""
    from click.testing import CliRunner

    from m3u8svc.cli import program

    result = CliRunner().invoke(program, ["password"], input="correct horse\n", env={"LC_ALL": "C.UTF-8"})
    assert is_right("correct horse", parse_hash(result.stdout.strip()))
    assert "correct horse" not in result.output
    short = CliRunner().invoke(program, ["password"], input="short\n", env={"LC_ALL": "C.UTF-8"})
    assert (1, "", True) == (short.exit_code, short.stdout, "8 to 256" in short.stderr)


# -- Sending them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["list"], ["show", "t1"], ["pause", "t1"], ["add", "http://a.example/i.m3u8"]])
@pytest.mark.parametrize("way", ["--token", "M3U8SVC_TOKEN", "--token-file", "M3U8SVC_TOKEN_FILE"])
def test_a_token_goes_with_every_request(
    service: StubService,
    invoke: Invoke,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    way: str,
) -> None:
    """On the line, in the environment, or in a file."""
    service.put(task("t1"))
    (tmp_path / "token").write_text(TOKEN + "\n")
    value = str(tmp_path / "token") if "FILE" in way.upper() else TOKEN
    line = [way, value] if way.startswith("--") else []
    if not line:
        monkeypatch.setenv(way, value)
    result = invoke(*command, *line)
    assert (0, {f"Bearer {TOKEN}"}) == (result.exit_code, set(service.authorizations))
    assert TOKEN not in result.output


def test_a_user_in_the_address(service: StubService, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent as Basic, percent-decoded, instead of a token of the environment; never shown."""
    monkeypatch.setenv("M3U8SVC_TOKEN", TOKEN)
    expected = "Basic " + base64.b64encode("me:p@ss:wörd".encode()).decode()
    server = service.url.replace("://", "://me:p%40ss:w%C3%B6rd@")
    assert 0 == invoke("list", server=server).exit_code
    assert {expected} == set(service.authorizations)
    service.answer = Raw(status=500, body=b"<html>")
    failed = invoke("list", server=server)
    assert service.url in failed.stderr and "p%40ss" not in failed.output and "p@ss" not in failed.output


@pytest.mark.parametrize("typed", ["--token", "--token-file"])
def test_what_is_typed_wins_over_the_environment(
    service: StubService, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """Whichever of both is in the environment."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "other").write_text("another")
    monkeypatch.setenv("M3U8SVC_TOKEN", "another")
    monkeypatch.setenv("M3U8SVC_TOKEN_FILE", str(tmp_path / "other"))
    assert 0 == invoke("list", typed, TOKEN if typed == "--token" else str(tmp_path / "token")).exit_code
    assert {f"Bearer {TOKEN}"} == set(service.authorizations)


def test_without_a_token_nothing_is_sent(service: StubService, invoke: Invoke) -> None:
    """As before."""
    invoke("list")
    assert {None} == set(service.authorizations)


@pytest.mark.parametrize("given", ["", "a b", "ü", "a\nb"])
def test_a_token_that_is_none(invoke: Invoke, given: str, tmp_path: Path, service: StubService) -> None:
    """A usage error that does not repeat it."""
    (tmp_path / "token").write_text(given)
    on_line = invoke("list", "--token", given or " ")
    in_file = invoke("list", "--token-file", str(tmp_path / "token"))
    missing = invoke("list", "--token-file", str(tmp_path / "nowhere"))
    assert [2, 2, 2] == [each.exit_code for each in (on_line, in_file, missing)]
    assert "this is no token" in on_line.stderr and "this is no token" in in_file.stderr
    assert "No such file" in missing.stderr
    assert [] == service.authorizations


@pytest.mark.parametrize(
    ("status", "code", "said", "advice"),
    [
        (401, "unauthorized", "需要令牌、密码或登录", "--token-file"),
        (401, "bad_credentials", "令牌无效", "m3u8svc token list"),
        (403, "forbidden", "没有权限：此操作需要角色 admin", "--role"),
        (429, "too_many_failures", "失败次数过多，请 50 秒后再试", "等待"),
    ],
)
def test_a_refusal_says_what_to_do(
    service: StubService, invoke: Invoke, status: int, code: str, said: str, advice: str
) -> None:
    """Status 1, the service's words, its code and advice."""
    service.answer = Raw(status=status, body=json.dumps(said).encode(), headers=(("X-Error-Code", code),))
    result = invoke("list", locale=CHINESE)
    assert 1 == result.exit_code
    assert f"{said} [{code}]" in result.stderr and advice in result.stderr


def test_an_address_shows_no_password() -> None:
    """Whoever prints it."""
    server = ServerType().convert("http://me:s3cret@nas.example:81/x/", None, None)
    assert ("http://nas.example:81/x", False) == (str(server), "s3cret" in repr(server))
