"""
The pages of how-to: their commands are typed as they stand there, their configurations are read.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3u8svc.config import load_configuration
from tests.docs import origin
from tests.docs.pages import ROOT, Shell
from tests.integration.conftest import require
from tests.integration.nginx_server import await_port, free_ports

PAGES = ROOT / "docs" / "how-to"
NAMES = sorted(each.stem for each in PAGES.glob("*.md") if "```sh" in each.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the origin is."""
    require("ffmpeg")
    root = tmp_path_factory.mktemp("origin")
    origin.make_streams(root)
    with origin.serving(origin.origin(root)) as address:
        yield address


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the plugin of the pages, installed with pip."""
    site = tmp_path_factory.mktemp("site")
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    plugin = str(ROOT / "plugins" / "m3u8svc-skip-ads")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", *offline, "--target", str(site)]
    subprocess.run([*pip, plugin], check=True)
    return site


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_a_page(name: str, address: str, site: Path, tmp_path: Path) -> None:
    """Each does what it is there for, with a service at its default address."""
    require("bash", "curl")
    page = PAGES / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    changes = {"https://example.com": f"http://{address}"}
    if "pip install ./plugins" in text:
        changes["pip install ./plugins/m3u8svc-skip-ads"] = "true"  # it is, see `site`
    with Shell(tmp_path, {"PYTHONPATH": str(site)}) as shell, proxies(name == "proxies") as places:
        shell.type("m3u8svc serve --save-dir films > service.log 2>&1 &", {})
        shell.follow(page, changes | places)


def proxies(wanted: bool) -> "ProxyPlaces":
    """The two proxies of the page about them."""
    return ProxyPlaces(wanted)


class ProxyPlaces:
    """
    An HTTP proxy and microsocks while the block runs; what stands for them on the page, and where they are.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> dict[str, str]:
        if not self._wanted:
            return {}
        require("microsocks")
        (port,) = free_ports(1)
        login = ["-u", origin.PROXY_USER, "-P", origin.PROXY_PASSWORD]
        self._socks = subprocess.Popen(
            ["microsocks", "-i", "127.0.0.1", "-p", str(port), *login], stderr=subprocess.DEVNULL
        )
        await_port(port, self._socks)
        self._http = origin.serving(origin.Proxy)
        return {"proxy.example:3128": self._http.__enter__(), "proxy.example:1080": f"127.0.0.1:{port}"}

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            self._http.__exit__(None, None, None)
            self._socks.terminate()
            self._socks.wait(30)


@pytest.mark.parametrize("name", sorted(each.stem for each in PAGES.glob("*.md")))
def test_the_configurations_of_a_page(name: str) -> None:
    """Each TOML can be read as it stands there."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        load_configuration(block, environ={"M3U8SVC_PROXY_PASSWORD": "x"}, read_file=str)


def test_there_are_pages() -> None:
    """None of them is passed over."""
    assert {"headers", "proxies", "adverts", "choose", "rate", "disks", "expired-links", "queue"} <= set(NAMES)
