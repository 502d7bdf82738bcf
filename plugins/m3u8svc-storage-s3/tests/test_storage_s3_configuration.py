"""
What may be configured and asked for, and how what may not is said.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
from m3u8svc_storage_s3.configuration import read_configuration, read_options

from m3u8svc.plugin import ConfigError, NotConfigured, OptionError

CREDENTIALS = {"access_key_id": "AKIA", "secret_access_key": "s3cret-value"}
LEAST = {"bucket": "films"} | CREDENTIALS


@attrs.frozen(kw_only=True)
class FewServices:
    """What `configure` uses of the services."""

    state_dir: Path
    in_thread: Any = None
    log: Any = None


def loaded() -> Any:
    """The plugin as the service finds it."""
    (found,) = (each for each in entry_points(group="m3u8svc") if each.name == "storage-s3")
    return found.load()()


def refused(**table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_configuration(table)
    return str(caught.value)


def test_the_entry_point_offers_the_storage(tmp_path: Path) -> None:
    """Found by its name, configured, asked: one record, named s3."""
    plugin = loaded()
    plugin.configure(LEAST, FewServices(state_dir=tmp_path))
    assert ["s3"] == [storage.name for storage in plugin.register_storage()]
    plugin.check_options({"prefix": "films"})


def test_without_a_table_it_stays_off(tmp_path: Path) -> None:
    """Installed is not configured; it offers nothing then."""
    plugin = loaded()
    with pytest.raises(NotConfigured, match=r"\[plugins.storage-s3\]"):
        plugin.configure({}, FewServices(state_dir=tmp_path))
    assert [] == plugin.register_storage()


def test_little_is_enough() -> None:
    """A bucket and credentials; the rest has defaults."""
    configuration = read_configuration(LEAST)
    assert ("us-east-1", "", False) == (configuration.region, configuration.endpoint, configuration.path_style)
    assert read_configuration(LEAST | {"endpoint": "https://s3.example.com"}).path_style
    assert not read_configuration(LEAST | {"endpoint": "https://s3.example.com", "path_style": False}).path_style


def test_the_line_end_of_a_secret_file_is_no_part_of_it() -> None:
    """As secrets in files have one."""
    assert "s3cret" == read_configuration(LEAST | {"secret_access_key": "s3cret\n"}).secret_access_key


@pytest.mark.parametrize(
    "change, said",
    [
        ({"bucket": "a/b"}, "bucket must be"),
        ({"bucket": "ab"}, "bucket must be"),
        ({"bucket": 5}, "not 5"),
        ({"endpoint": "s3.example.com"}, "endpoint must be"),
        ({"endpoint": "ftp://s3.example.com"}, "endpoint must be"),
        ({"endpoint": "https://user:word@s3.example.com"}, "endpoint must be"),
        ({"endpoint": "https://s3.example.com/bucket"}, "endpoint must be"),
        ({"endpoint": "https://s3.example.com:99999"}, "endpoint must be"),
        ({"endpoint": "https://s3.example.com:x"}, "endpoint must be"),
        ({"endpoint": "https://"}, "endpoint must be"),
        ({"endpoint": "https://[::1"}, "endpoint must be"),
        ({"endpoint": "http://s3.example.com"}, "allow_http = true"),
        ({"region": "eu central"}, "region must be"),
        ({"prefix": "/films"}, "prefix must be"),
        ({"prefix": "films/../x"}, "prefix must be"),
        ({"prefix": "films//x"}, "prefix must be"),
        ({"prefix": "x" * 257}, "prefix must be"),
        ({"part_size_mb": 4}, "from 5 to 1024, not 4"),
        ({"part_size_mb": "16"}, "not '16'"),
        ({"part_size_mb": True}, "not True"),
        ({"concurrency": 0}, "from 1 to 32"),
        ({"timeout_s": 601}, "from 1 to 600"),
        ({"path_style": "yes"}, "path_style must be true or false"),
        ({"buckets": "films"}, "do you mean 'bucket'?"),
        ({"zzz": 1}, "there is no key 'zzz': endpoint, bucket"),
        ({"anonymous": True}, "goes without credentials, but there is access_key_id and secret_access_key"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    """The key, the value, what is allowed."""
    assert said in refused(**(LEAST | change))


@pytest.mark.parametrize(
    "table, said",
    [
        (CREDENTIALS, "bucket is missing"),
        ({"bucket": "films"}, "AWS_* is not used"),
        ({"bucket": "films", "access_key_id": "AKIA"}, "both needed"),
        ({"bucket": "films", "session_token": "x"}, "both needed"),
    ],
)
def test_what_is_missing_is_named(table: dict[str, Any], said: str) -> None:
    """Credentials come from here or not at all."""
    assert said in refused(**table)


def test_everything_wrong_is_said_at_once() -> None:
    """One start, one list."""
    said = refused(bucket="a/b", region="", conccurrency=1)
    assert all(key in said for key in ("bucket", "region", "concurrency", "access_key_id"))


@pytest.mark.parametrize("key", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize("value", ["two words", "密钥", "line\nline", ["a-list-of-secrets"]])
def test_a_wrong_secret_is_not_shown(key: str, value: object) -> None:
    """The key is named, its value is not."""
    said = refused(**(LEAST | {key: value}))
    assert f"{key} must be printable ASCII text" in said
    assert str(value) not in said


@pytest.mark.parametrize("given, prefix", [({}, ""), ({"prefix": ""}, ""), ({"prefix": "2026/films/"}, "2026/films")])
def test_a_request_may_name_a_prefix(given: dict[str, Any], prefix: str) -> None:
    """With or without a slash at its end."""
    assert prefix == read_options(given)


@pytest.mark.parametrize(
    "given",
    [
        "/films",
        "..",
        "../films",
        "films/../../x",
        "films//x",
        "./films",
        "/",
        "a\\b",
        "a\x00b",
        " /x",
        "x" * 513,
        5,
        None,
    ]
    + [["films"], "\ud800"],
)
def test_a_prefix_that_leads_elsewhere_is_refused(given: object) -> None:
    """Named by its path."""
    with pytest.raises(OptionError) as caught:
        read_options({"prefix": given})
    assert "prefix" == caught.value.fields["path"]
    assert "prefix: must be a relative path of" in caught.value.text("en")


def test_an_unknown_option_is_refused() -> None:
    """Nothing a request says is ignored."""
    with pytest.raises(OptionError) as caught:
        read_options({"bucket": "other"})
    assert "bucket" == caught.value.fields["path"]
    assert "bucket: there is no such option; prefix is the only one" == caught.value.text("en")
