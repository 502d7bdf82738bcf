"""
Options of plugins in the dashboard, with plugins that are installed: what one does not take is said beside the field.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser import Stage, in_browser_thread, open_stage
from tests.integration.foreign import distribute

NOTIFY = Path(__file__).parents[2] / "plugins/m3u8svc-notify/src/m3u8svc_notify"
CONFIGURATION = '[[plugins.notify.webhooks]]\nurl = "http://127.0.0.1:9/hook"\nsecret = "correct horse battery"\n'
HOOK = json.dumps({"notify": {"webhooks": [{"url": "https://evil.example/"}]}})
COLOUR = json.dumps({"picky": {"colour": "blue"}})
RED = json.dumps({"picky": {"colour": "red"}})
PICKY = """
from m3u8svc.plugin import OptionError, hookimpl


class Plugin:
    @hookimpl
    def check_options(self, options):
        if options.get("colour", "red") != "red":
            raise OptionError(path="colour", reason="red is the only one")
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """With a plugin that posts what happens to where the configuration says, and one that has an option."""
    place = tmp_path_factory.mktemp("plugins")
    site = place / "site"
    distribute(site, "picky", PICKY)
    shutil.copytree(NOTIFY, site / "m3u8svc_notify")
    info = site / "m3u8svc_notify-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: m3u8svc-notify\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[m3u8svc]\nnotify = m3u8svc_notify:Plugin\n")
    (place / "c.toml").write_text(CONFIGURATION)
    with open_stage(tmp_path_factory.getbasetemp(), "--config", str(place / "c.toml"), site=site) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_left(stage: Stage) -> Iterator[None]:
    """Each test starts without options in the settings."""
    yield
    stage.service.clear()


def shown(stage: Stage, page: Page, where: str) -> None:
    """The page of the settings, or the options of the form."""
    page.goto(f"{stage.service.base}/#/{'settings' if where == 's' else ''}")
    if where == "a":
        page.fill("#url", stage.source.url("held"))
        page.click("#options")


@pytest.mark.parametrize(
    ("typed", "locale", "said"),
    [
        (HOOK, "zh-CN", "notify.webhooks：“notify” 没有任务选项，通知目标只能写在配置文件中"),
        (
            HOOK,
            "en",
            "notify.webhooks: notify takes no options of a task: who is told stands in the configuration file alone",
        ),
        (COLOUR, "zh-CN", "picky.colour：red is the only one"),
        ('{"nobody": {}}', "en", "nobody: there is no such plugin; those installed: notify, picky"),
    ],
)
@pytest.mark.parametrize(("where", "press"), [("s", "#settings .main"), ("a", "#add .main")])
@in_browser_thread
def test_an_option_that_a_plugin_does_not_take(
    stage: Stage, typed: str, locale: str, said: str, where: str, press: str
) -> None:
    """In the settings and in the form: the plugin's own words stand beside the field, which keeps what was typed."""
    with stage.page(locale=locale) as (page, _seen):
        shown(stage, page, where)
        field = page.locator(f"#{where}-plugins")
        field.fill(typed)
        page.click(press)
        expect(page.locator(f"#{where}-plugins-problem")).to_have_text(said)
        expect(field).to_have_value(typed)
        expect(field).to_be_focused()
        expect(page.locator("#notice")).to_have_count(0)
    assert ({}, []) == (stage.service.ask("GET", "/api/settings")["plugins"], stage.service.tasks())


@in_browser_thread
def test_an_option_that_a_plugin_takes(stage: Stage) -> None:
    """It is saved, and stands there again."""
    with stage.page() as (page, _seen):
        shown(stage, page, "s")
        page.locator("#s-plugins").fill(RED)
        page.click("#settings .main")
        expect(page.locator("#notice")).to_contain_text("Saved")
        page.reload()
        expect(page.locator("#s-plugins")).to_have_value(json.dumps(json.loads(RED), separators=(",", ":")))
    assert json.loads(RED) == stage.service.ask("GET", "/api/settings")["plugins"]
