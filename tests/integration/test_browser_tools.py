"""
What sends a link here from other people's pages, in Chromium: the bookmarklet and the userscript open our page with
the link filled in, and nothing is added before somebody presses the button.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import expect

from tests.integration.browser import Stage, in_browser_thread, open_stage, within

OTHERS_PAGE = """<!doctype html><title>Film</title><p>somebody else's page</p>
<script>fetch("/plain/index.m3u8?token=a%26b")</script>"""
MONKEY = """window.GM_getValue = () => BASE; window.GM_setValue = () => {}; window.GM_registerMenuCommand = () => {};
Element.prototype.attachShadow = (shadow => function () { return shadow.call(this, { mode: "open" }); })(
    Element.prototype.attachShadow);
"""
"""What a userscript extension gives its scripts, and a window into the script's own button."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One browser and one service, which wants a login, for the module."""
    with open_stage(tmp_path_factory.getbasetemp(), with_token=True) as opened:
        yield opened


@pytest.fixture(autouse=True)
def others_page(stage: Stage) -> Iterator[str]:
    """A page of another site that asks for a playlist; no task is left afterwards."""
    stage.source.pages["/film"] = OTHERS_PAGE
    yield f"http://localhost:{stage.source.server_port}/film"
    stage.service.clear()


@in_browser_thread
def test_bookmarklet_when_it_is_used(stage: Stage, others_page: str) -> None:
    """It finds the playlist among what the page asked for, and opens our form with it, with the login that there is."""
    with stage.page() as (page, seen):
        page.goto(stage.service.base + "/#/tools")
        script = page.locator(".mark").get_attribute("href")
        assert script and script.startswith("javascript:")
        page.locator(".mark").click()
        expect(page.locator("#notice")).to_contain_text("Drag it to the bookmarks bar")
        assert [] == seen.complaints
        page.goto(others_page)
        within(lambda: page.evaluate("performance.getEntriesByType('resource').length"))
        with page.context.expect_page() as opened:
            page.evaluate(unquote(script.removeprefix("javascript:")))
        form = opened.value
        link = f"http://localhost:{stage.source.server_port}/plain/index.m3u8?token=a%26b"
        expect(form.locator("#url")).to_have_value(link)
        assert stage.service.base + "/" == form.url.partition("#")[0]
        assert [] == stage.service.tasks()
        form.locator("#url").press("Enter")
        within(stage.service.tasks)
        assert link == stage.service.tasks()[0]["url"]


@in_browser_thread
def test_userscript_when_it_is_used(stage: Stage, others_page: str) -> None:
    """It shows a button on a page that asks for a playlist, which opens our form, and changes nothing by itself."""
    script = Path("m3u8svc/web/static/m3u8svc.user.js").read_text("utf-8")
    with stage.page() as (page, seen):
        page.add_init_script(MONKEY.replace("BASE", f'"{stage.service.base}/"') + script)
        page.goto(others_page)
        button = page.get_by_role("button", name="Send to m3u8svc")
        expect(button).to_be_visible()
        with page.context.expect_page() as opened:
            button.click()
        expect(opened.value.locator("#url")).to_have_value(
            f"http://localhost:{stage.source.server_port}/plain/index.m3u8?token=a%26b"
        )
        assert [] == stage.service.tasks()
        page.get_by_role("button", name="Close").click()
        expect(button).to_have_count(0)
        assert [] == [each for each in seen.complaints if "favicon" not in each and "404" not in each]


@in_browser_thread
def test_a_link_for_a_stranger(stage: Stage) -> None:
    """Who is not logged in sees the login, once, and finds the link in the form afterwards."""
    link = "https://source.example/film.m3u8?token=a&b=c"
    with stage.browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{stage.service.base}/?add={quote(link, safe='')}")
        page.fill("#secret", stage.service.token)
        page.click("#login button[type=submit]")
        expect(page.locator("#url")).to_have_value(link)
        assert [] == stage.service.tasks()


@in_browser_thread
def test_a_link_while_enter_is_pressed(stage: Stage) -> None:
    """Whoever opens our page cannot have a key that is pressed anyway add the link."""
    link = f"http://localhost:{stage.source.server_port}/held/index.m3u8"
    with stage.page() as (page, _seen):
        page.goto(f"{stage.service.base}/?add={quote(link, safe='')}")
        expect(page.locator("#url")).to_have_value(link)
        expect(page.locator("#add button.main")).to_be_in_viewport()
        for key in ("Enter", "Enter", "Space"):
            page.keyboard.press(key)
        page.wait_for_timeout(500)
        expect(page.locator("#url")).to_have_value(link)
        assert [] == stage.service.tasks()


@in_browser_thread
def test_userscript_is_served(stage: Stage) -> None:
    """The page of tools leads to the file that an extension installs."""
    with stage.page(locale="zh-CN") as (page, _seen):
        page.goto(stage.service.base + "/#/tools")
        link = page.get_by_role("link", name="打开用户脚本")
        assert link.get_attribute("href") == "static/m3u8svc.user.js"
        served = page.request.get(f"{stage.service.base}/static/m3u8svc.user.js")
        assert served.headers["content-type"].startswith("text/javascript")
        assert served.text().startswith("// ==UserScript==")
