"""
What may be configured and asked for, and how what may not is said.
"""

import io
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import paramiko
import pytest
from m3u8svc_storage_sftp.configuration import read_configuration, read_options

from m3u8svc.plugin import ConfigError, NotConfigured, OptionError

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
LEAST = {"host": "nas.example", "username": "films", "password": "s3cret-value", "host_key": HOST_KEY}


@attrs.frozen(kw_only=True)
class FewServices:
    """What `configure` uses of the services."""

    state_dir: Path
    in_thread: Any = None
    log: Any = None


def loaded() -> Any:
    """The plugin as the service finds it."""
    (found,) = (each for each in entry_points(group="m3u8svc") if each.name == "storage-sftp")
    return found.load()()


def refused(**table: Any) -> str:
    table = {key: value for key, value in table.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        read_configuration(table)
    assert "plugins.storage-sftp" == caught.value.fields["where"]
    return str(caught.value)


def private_key(passphrase: str | None = None) -> str:
    text = io.StringIO()
    paramiko.ECDSAKey.generate().write_private_key(text, passphrase)
    return text.getvalue()


def test_the_entry_point_offers_the_storage(tmp_path: Path) -> None:
    """Found by its name, configured, asked: one record, named sftp."""
    plugin = loaded()
    plugin.configure(LEAST, FewServices(state_dir=tmp_path))
    assert ["sftp"] == [storage.name for storage in plugin.register_storage()]
    plugin.check_options({"directory": "films"})


def test_without_a_table_it_stays_off(tmp_path: Path) -> None:
    """Installed is not configured; it offers nothing then."""
    plugin = loaded()
    with pytest.raises(NotConfigured, match=r"\[plugins.storage-sftp\]"):
        plugin.configure({}, FewServices(state_dir=tmp_path))
    assert [] == plugin.register_storage()


def test_little_is_enough() -> None:
    """Where, who, and how the server is known; the rest has defaults."""
    configuration = read_configuration(LEAST)
    assert (22, "", 30) == (configuration.port, configuration.directory, configuration.timeout_s)
    assert "nas.example:22" == configuration.address
    assert "[::1]:22" == read_configuration(LEAST | {"host": "::1"}).address


@pytest.mark.parametrize("passphrase", [None, "words and more"])
def test_a_private_key_is_read(passphrase: str | None) -> None:
    """With and without a passphrase; a file's line end is no part of it."""
    table = {key: value for key, value in LEAST.items() if key != "password"} | {"private_key": private_key(passphrase)}
    if passphrase is not None:
        table["passphrase"] = passphrase + "\n"
    assert read_configuration(table).private_key is not None


@pytest.mark.parametrize(
    "change, said",
    [
        ({"host": "sftp://nas.example"}, "host must be"),
        ({"host": "nas example"}, "host must be"),
        ({"host": None}, "host is missing"),
        ({"username": "a@b"}, "username must be"),
        ({"username": None}, "username is missing"),
        ({"port": 0}, "from 1 to 65535, not 0"),
        ({"port": "22"}, "not '22'"),
        ({"timeout_s": 601}, "from 1 to 600"),
        ({"directory": ""}, "directory must be"),
        ({"directory": "a\x00b"}, "directory must be"),
        ({"password": None}, "password or private_key"),
        ({"private_key": "x"}, "one of the two"),
        ({"passphrase": "x"}, "passphrase is for private_key"),
        ({"host_key": None}, "known_hosts or host_key"),
        ({"known_hosts": "/dev/null"}, "known_hosts or host_key"),
        ({"host_key": "AAAA"}, "host_key must be"),
        ({"host_key": "ssh-ed25519 AAAA"}, "host_key must be"),
        ({"host_key": HOST_KEY.replace("ssh-ed25519", "ssh-rsa")}, "host_key must be"),
        ({"host_key": None, "known_hosts": "/nowhere/known_hosts"}, "not '/nowhere/known_hosts'"),
        ({"host_key": None, "known_hosts": "known_hosts"}, "absolute path"),
        ({"hosts": "x"}, "do you mean 'host'?"),
        ({"zzz": 1}, "there is no key 'zzz': host, port"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    """The key, the value, what is allowed."""
    assert said in refused(**(LEAST | change))


def test_everything_wrong_is_said_at_once() -> None:
    """One start, one list."""
    said = refused(host="a b", port=0, usernam="x")
    assert all(key in said for key in ("host must", "port must", "'username'", "password or", "known_hosts or"))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"private_key": "no key at all"}, "private_key must be a private key"),
        ({"private_key": private_key("words")}, "passphrase is missing"),
        ({"private_key": private_key("words"), "passphrase": "w0rds-wrong"}, "the passphrase is wrong"),
        ({"private_key": 5}, "private_key must be"),
    ],
)
def test_a_wrong_private_key_is_not_shown(change: dict[str, Any], said: str) -> None:
    """What is wrong with it is, without a line of it."""
    told = refused(**(LEAST | {"password": None} | change))
    assert said in told
    assert "BEGIN" not in told and "no key at all" not in told and "w0rds" not in told


def test_nothing_shows_a_secret() -> None:
    """Not even when the configuration is printed."""
    key = private_key()
    table = {name: value for name, value in LEAST.items() if name != "password"} | {"private_key": key}
    assert "s3cret" not in repr(read_configuration(LEAST))
    assert "private_key" not in repr(read_configuration(table))
    assert "s3cret" not in refused(**(LEAST | {"password": "s3cret\nvalue"}))


@pytest.mark.parametrize(
    "given, below", [({}, ""), ({"directory": ""}, ""), ({"directory": "2026/films/"}, "2026/films")]
)
def test_a_request_may_name_a_directory(given: dict[str, Any], below: str) -> None:
    """With or without a slash at its end."""
    assert below == read_options(given)


@pytest.mark.parametrize(
    "given",
    ["/films", "..", "../films", "films/../../x", "films//x", "./films", "/", "a\\b", "a\x00b", " /x", "x" * 513]
    + [5, None, ["films"], "\ud800"],
)
def test_a_directory_that_leads_elsewhere_is_refused(given: object) -> None:
    """Named by its path."""
    with pytest.raises(OptionError) as caught:
        read_options({"directory": given})
    assert "directory" == caught.value.fields["path"]
    assert "directory: must be a relative path of" in caught.value.text("en")


def test_an_unknown_option_is_refused() -> None:
    """Nothing a request says is ignored."""
    with pytest.raises(OptionError) as caught:
        read_options({"host": "other"})
    assert "host" == caught.value.fields["path"]
    assert "host: there is no such option; directory is the only one" == caught.value.text("en")
