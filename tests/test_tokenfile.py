"""The file of the tokens: read while it is changed, and never trusted blindly."""

import os
import threading
from pathlib import Path

import pytest

from m3u8svc.access import tokens
from m3u8svc.access.roles import Role
from m3u8svc.access.tokens import TokenRecord, digest_of
from m3u8svc.errors import BadTokenFile, M3u8svcError
from m3u8svc.tokenfile import TokenFile
from tests.needs import lacking


def record(name: str) -> TokenRecord:
    return TokenRecord(name=name, role=Role.USER, digest=digest_of(name), created_at="2026-01-01T00:00:00+00:00")


def names(file: TokenFile) -> list[str]:
    return [each.name for each in file.read()]


def add(file: TokenFile, name: str) -> None:
    file.change(lambda records: tokens.with_token(records, record(name)))


def test_what_another_process_changes_is_seen_at_once(tmp_path: Path) -> None:
    """Made, changed, removed: each reading says what is there."""
    reader, writer = (TokenFile(tmp_path / "tokens.json") for _ in range(2))
    assert [] == names(reader)
    for count, name in enumerate(("a", "b", "c"), 1):
        add(writer, name)
        assert ["a", "b", "c"][:count] == names(reader)
    writer.change(lambda records: tokens.without_token(records, "a"))
    assert ["b", "c"] == names(reader)
    (tmp_path / "tokens.json").unlink()
    assert [] == names(reader)


def test_writers_take_turns(tmp_path: Path) -> None:
    """None loses what another wrote."""
    expected = [f"t{number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(TokenFile(tmp_path / "tokens.json"), name)) for name in expected]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert expected == sorted(names(TokenFile(tmp_path / "tokens.json")))


def test_a_change_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    """And leaves nothing behind but the lock."""
    file = TokenFile(tmp_path / "tokens.json")
    with pytest.raises(ValueError):
        file.change(lambda records: tokens.without_token(records, "a"))
    assert ["tokens.json.lock"] == os.listdir(tmp_path)


def test_a_mode_that_lets_others_in(tmp_path: Path) -> None:
    """It is refused as soon as it has that mode, and good again afterwards."""
    path = tmp_path / "tokens.json"
    file = TokenFile(path)
    add(file, "a")
    assert ["a"] == names(file)
    path.chmod(0o640)
    with pytest.raises(BadTokenFile) as refused:
        file.read()
    assert f"others may read or write it (mode 0640): chmod 600 {path}" in refused.value.text("en")
    assert f"别人可以读写它（0640）：chmod 600 {path}" in refused.value.text()
    path.chmod(0o600)
    assert ["a"] == names(file)


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    """Whoever it belongs to could read it again at any time; it is said how to take it over."""
    path = tmp_path / "it is here" / "tokens.json"
    path.parent.mkdir()
    file = TokenFile(path)
    add(file, "a")
    try:
        os.chown(path, os.geteuid() + 1, -1)
    except PermissionError:
        lacking("root, who alone gives files away")
    with pytest.raises(BadTokenFile) as refused:
        file.read()
    assert f"not to {os.geteuid()}: chown {os.geteuid()} '{path}'" in refused.value.text("en")


def test_what_is_no_file_of_ours(tmp_path: Path) -> None:
    """A link, a pipe, a directory in its place."""
    path = tmp_path / "tokens.json"
    file = TokenFile(path)
    add(file, "a")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(M3u8svcError):
        file.read()
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(BadTokenFile, match="not a regular file"):
        file.read()
    path.unlink()
    path.mkdir()
    with pytest.raises(M3u8svcError):
        file.read()


@pytest.mark.parametrize("content", [b"{}", b"\xff", b" " * (1024 * 1024 + 1), b"[" * 100_000])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    """It is refused whole, and not written over: it may be mended by hand."""
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    path.chmod(0o600)
    for act in (TokenFile.read, lambda file: file.change(lambda records: ())):
        with pytest.raises(BadTokenFile, match="damaged"):
            act(TokenFile(path))
    assert content == path.read_bytes()
