"""
docs/deploy/m3u8svc.toml: it has every setting, and each can be switched on as it stands there.
"""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from m3u8svc import config
from m3u8svc.config import Configuration, load_configuration
from m3u8svc.weblimits import WebLimits

FILE = Path(__file__).parents[2] / "docs" / "deploy" / "m3u8svc.toml"
TEXT = FILE.read_text(encoding="utf-8")
SWITCHED_ON = re.sub(r"^#(?=[a-z\[])", "", TEXT, flags=re.MULTILINE)
EVERY = {
    "": {*config._RULES, "users", "settings", "limits", "network", "web", "plugins"},
    "settings": set(config._SETTING_RULES),
    "limits": set(config._LIMIT_RULES),
    "network": set(config._NETWORK_RULES),
    "web": set(config._WEB_RULES),
    "plugins": {*config._CHOICE_RULES, "skip-ads"},
}


def load(text: str) -> Configuration:
    secrets = {"/etc/m3u8svc/database-url": "sqlite:////tmp/x.sqlite3", "/etc/m3u8svc/password": "correct horse"}
    return load_configuration(text, environ={"M3U8SVC_PROXY_PASSWORD": "x"}, read_file=secrets.__getitem__)


@pytest.mark.parametrize("table", EVERY)
def test_every_setting_is_there(table: str) -> None:
    """A setting that the service knows and the file does not have fails here, and so does one that is gone."""
    whole = tomllib.loads(SWITCHED_ON)
    assert EVERY[table] == set(whole[table] if table else whole)


def test_as_it_stands_nothing_is_set() -> None:
    """The file changes nothing until somebody takes a "#" away."""
    assert Configuration() == attrs.evolve(load(TEXT), home=Configuration().home)


def test_every_setting_can_be_switched_on() -> None:
    """All of them at once are a valid configuration."""
    read = load(SWITCHED_ON)
    assert ("/m3u8", "me", 1080) == (read.front.base_path, read.users[0].name, read.system.settings.proxy_port)


def test_what_is_no_example_is_the_default() -> None:
    """Limits stand there as they are without the file."""
    read = load(SWITCHED_ON)
    assert WebLimits() == read.web
    assert (Configuration().ceilings, Configuration().listen) == (read.ceilings, read.listen)


def test_every_setting_is_explained() -> None:
    """Above each, or above the ones right before it, stands a comment."""
    explained = False
    for line in TEXT.splitlines():
        if line.startswith("# "):
            explained = True
        elif not line:
            explained = False
        elif line.startswith("#"):
            assert explained, line
