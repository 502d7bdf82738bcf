"""
Our own page in Chromium: what people do with it works, nothing leaves the machine, nothing breaks the page's own
policy, and text from elsewhere stays text.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from m3u8svc.errors import catalogue
from tests.integration.browser import Seen, Stage, in_browser_thread, open_stage, within

PAUSE = {"status": "已暂停"}
PHONE = {"width": 375, "height": 740}
HOSTILE = "<img src=x onerror=window.hit=1><script>window.hit=2<b>"

RUNNING_NUMBERS = re.compile(r"[\d.]+\s[KM]B/s · \d\d:\d\d left · \d+/15 segments · [\d.]+\s[KM]B · \d+%")

SHOWN_COLOURS = """() => [...document.querySelectorAll("h1, .link, label span, button, .name, span, .error, .advice")]
    .filter(element => element.checkVisibility() && element.textContent)
    .map(element => {
        let ground = element;
        while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
        return [element.className || element.tagName, getComputedStyle(element).color,
            getComputedStyle(ground).backgroundColor];
    })"""
"""Of every text: which it is, its colour, and that of the ground it stands on."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One browser and one service for the module."""
    with open_stage(tmp_path_factory.getbasetemp()) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_left(stage: Stage) -> Iterator[None]:
    """Each test starts without tasks, and with a source that holds."""
    stage.source.release.clear()
    stage.source.let_through.clear()
    yield
    stage.source.release.set()
    stage.service.clear()


def open_page(stage: Stage, page: Page) -> None:
    """Our page, live."""
    page.goto(stage.service.base + "/")
    expect(page.locator("#link.live")).to_be_visible()


def row(page: Page, name: str) -> Locator:
    """The task of this name."""
    return page.locator(".task").filter(has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$")))


def assert_quiet(stage: Stage, seen: Seen) -> None:
    """Nobody complained, and nobody else was asked."""
    assert [] == seen.complaints
    assert [] == [url for url in seen.requests if not url.startswith(stage.service.base + "/")]


# -- What people do --------------------------------------------------------------------------------------------------


@in_browser_thread
def test_page_when_it_opens(stage: Stage) -> None:
    """It opens live, says that there is nothing yet, and keeps to itself."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        expect(page.locator("#empty")).to_have_text("No tasks yet. Paste an m3u8 link to begin.")
        expect(page.locator("footer")).to_have_text(re.compile(r"^m3u8svc \d+\.\d+"))
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_its_policy_is_broken(stage: Stage) -> None:
    """The other tests would see a broken policy: an inline script and a foreign picture are complained about."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "window.hit = 1";
            document.head.append(script);
            const picture = new Image();
            picture.src = "http://elsewhere.example/pixel.png";
            document.body.append(picture);
        }""")
        page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None
        assert 2 == len([each for each in seen.complaints if "Content Security Policy" in each])


@in_browser_thread
def test_page_when_a_task_is_added(stage: Stage) -> None:
    """A link pasted into the form becomes a row that moves by itself, and ends as a file with its place."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.fill("#url", stage.source.url("held"))
        page.fill("#filename", "evening news")
        page.press("#filename", "Enter")
        task = row(page, "evening news")
        expect(task.locator(".state")).to_have_text("Downloading")
        expect(page.locator("#url")).to_have_value("")
        progress, said = [watched(task)], []
        for number in range(stage.source.held_after, 11):
            stage.source.let_through.add(number)
            expect(task.locator(".numbers")).to_contain_text(f"{number + 1}/15")
            progress.append(watched(task))
            said.append(task.locator(".numbers").inner_text())
        assert sorted(progress) == progress and progress[-1] > 60
        assert len(set(progress)) > 5
        assert any(RUNNING_NUMBERS.fullmatch(each) for each in said)
        stage.source.release.set()
        expect(task.locator(".state")).to_have_text("Done")
        expect(task.locator(".numbers")).to_have_text(re.compile(r"^15/15 segments · [\d.]+\sMB · 100%$"))
        expect(task.locator(".output")).to_have_text(str(stage.service.saved / "evening news.mp4"))
        assert ["Delete"] == visible_buttons(task)
        assert_quiet(stage, seen)


def watched(task: Locator) -> int:
    """The progress that a row shows."""
    return int(task.locator("progress").evaluate("element => element.value"))


def visible_buttons(task: Locator) -> list[str]:
    """What can be done with a task."""
    buttons: list[str] = task.locator(".buttons button:not(.expand):visible").evaluate_all(
        "all => all.map(each => each.ariaLabel)"
    )
    return buttons


@in_browser_thread
def test_page_when_buttons_are_pressed(stage: Stage) -> None:
    """Pause, resume and delete do what they say; delete asks first."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        stage.service.add(stage.source.url("held"), "held film")
        task = row(page, "held film")
        expect(task.locator(".state")).to_have_text("Downloading")  # added elsewhere, shown here
        assert ["Pause", "Delete"] == visible_buttons(task)
        task.get_by_role("button", name="Pause").click()
        expect(task.locator(".state")).to_have_text("Paused")
        assert ["Resume", "Delete"] == visible_buttons(task)
        task.get_by_role("button", name="Resume").click()
        expect(task.locator(".state")).to_have_text("Downloading")
        task.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text("held film")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert 1 == len(stage.service.tasks())
        task.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(task).to_have_count(0)
        expect(page.locator("#empty")).to_be_visible()
        assert [] == stage.service.tasks()
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_a_task_fails(stage: Stage) -> None:
    """A failed task says why, and retrying it is one button."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        stage.service.add(stage.source.url("guarded"), "refused")
        task = row(page, "refused")
        expect(task.locator(".state")).to_have_text("Failed")
        expect(task.locator(".error")).to_contain_text("The server answered HTTP 401: http://127.0.0.1:")
        expect(task.locator(".advice")).to_contain_text("See whether the link has expired or needs headers")
        page.click("#language")
        expect(task.locator(".error")).to_contain_text("服务器返回 HTTP 401：http://127.0.0.1:")
        expect(task.locator(".advice")).to_contain_text("检查链接是否过期")
        page.click("#language")
        asked = len(stage.source.asked)
        task.get_by_role("button", name="Retry").click()
        within(lambda: len(stage.source.asked) > asked)
        expect(task.locator(".state")).to_have_text("Failed")
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_a_task_is_held(stage: Stage) -> None:
    """What the service paused itself looks otherwise than what somebody paused, and says why and what to do."""
    stage.service.ask("PUT", f"/api/tasks?id={stage.service.add(stage.source.url('held'), 'film')}", PAUSE)
    trouble = {"held": "disk_full", "err_code": "disk_full", "err_msg": "磁盘空间不足：/srv", "err_msg_en": "no space"}
    trouble |= {"err_advice": "清理磁盘空间", "err_advice_en": "free some space"}

    def full(route: Route) -> None:
        route.fulfill(json=[{**task, **trouble} for task in route.fetch().json()])

    with stage.page() as (page, seen):
        page.route("**/api/tasks?sort=*", full)
        open_page(stage, page)
        task = row(page, "film")
        expect(task.locator(".state")).to_have_text("Held")
        expect(task.locator(".error")).to_have_text("No space")
        expect(task.locator(".advice")).to_have_text("Free some space")
        assert ["Resume", "Delete"] == visible_buttons(task)
        expect(task.locator(".renew")).to_be_hidden()
        page.click("#language")
        expect(task.locator(".state")).to_have_text("已挂起")
        expect(task.locator(".advice")).to_have_text("清理磁盘空间")
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_a_link_has_expired(stage: Stage) -> None:
    """A task that needs another link has a place for one, and what is pasted there is its new link."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    stage.service.ask("PUT", f"/api/tasks?id={task_id}", PAUSE)
    sent: list[object] = []

    def expired(route: Route) -> None:
        route.fulfill(json=[{**task, "held": "needs_url", "err_msg": "链接已过期"} for task in route.fetch().json()])

    def renewed(route: Route) -> None:
        sent.append((route.request.method, route.request.post_data_json))
        route.fulfill(json={"status": "success"})

    with stage.page() as (page, seen):
        page.route("**/api/tasks?sort=*", expired)
        page.route(f"**/api/tasks?id={task_id}", renewed)
        open_page(stage, page)
        task = row(page, "film")
        task.get_by_role("button", name="Go on with this link").click()
        assert [] == sent  # nothing was pasted yet
        task.get_by_label("Playlist URL").fill("https://source.example/new.m3u8?token=2")
        task.get_by_label("Playlist URL").press("Enter")
        expect(task.get_by_label("Playlist URL")).to_have_value("")
        assert [("PUT", {"url": "https://source.example/new.m3u8?token=2"})] == sent
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_tasks_wait(stage: Stage) -> None:
    """Each says where it stands in the queue, and one button puts it first."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        for number in range(6):
            stage.service.add(stage.source.url("held"), f"film {number}")
        last = row(page, "film 5")
        expect(last.locator(".numbers")).to_contain_text("No. 3 in the queue")
        assert ["Start first", "Pause", "Delete"] == visible_buttons(last)
        last.get_by_role("button", name="Start first").click()
        expect(last.locator(".numbers")).to_contain_text("No. 1 in the queue")
        expect(row(page, "film 3").locator(".numbers")).to_contain_text("No. 2 in the queue")
        assert ["Pause", "Delete"] == visible_buttons(last)
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_when_a_task_has_warnings(stage: Stage) -> None:
    """What was ignored in a task is told with it, folded until somebody looks."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        stage.service.add(stage.source.url("held"), "warned", download_threads=3, colour="<b>red</b>")
        task = row(page, "warned")
        task.get_by_text("2 warnings").click()
        expect(task.locator(".warnings p")).to_have_text(re.compile("download_threads.*colour", re.DOTALL))
        assert_quiet(stage, seen)


@in_browser_thread
def test_page_knows_every_error(stage: Stage) -> None:
    """English has words for every error a task or a request can have; those of starting up never come here."""
    at_start = {"home_locked", "bad_config", "cannot_listen", "open_without_auth", "not_configured"}
    with stage.page() as (page, _seen):
        open_page(stage, page)
        known = page.evaluate("import('/static/texts.js').then(texts => Object.keys(texts.ERRORS))")
    assert sorted({each.code for each in catalogue()} - at_start) == sorted(known)


@in_browser_thread
def test_page_when_a_link_is_refused(stage: Stage) -> None:
    """A link that is none is refused by the service in words, and stays in the form to be mended."""
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.fill("#url", "ftp://source.example/film.m3u8")
        page.click("#add button.main")
        expect(page.locator("#url-says")).to_contain_text("must begin with http:// or https://")
        expect(page.locator("#url")).to_have_value("ftp://source.example/film.m3u8")
        assert [] == stage.service.tasks()


@in_browser_thread
def test_page_without_websocket(stage: Stage) -> None:
    """Where WebSockets do not get through, the page asks instead."""
    with stage.page() as (page, _seen):
        page.route_web_socket("**/ws/progress", lambda socket: socket.close())
        page.goto(stage.service.base + "/")
        expect(page.locator("#link")).to_have_text("Polling")
        stage.service.add(stage.source.url("plain"), "asked for")
        expect(row(page, "asked for").locator(".state")).to_have_text("Done")


@in_browser_thread
def test_page_when_the_service_is_away(stage: Stage) -> None:
    """The page says that it hears nothing, and comes back by itself."""
    with stage.page() as (page, _seen):
        page.route_web_socket("**/ws/progress", lambda socket: socket.close())
        page.route("**/api/tasks?sort=*", lambda route: route.abort())
        page.goto(stage.service.base + "/")
        expect(page.locator("#link")).to_have_text("Offline")
        page.unroute("**/api/tasks?sort=*")
        expect(page.locator("#link")).to_have_text("Polling")


# -- How it looks ----------------------------------------------------------------------------------------------------


@in_browser_thread
def test_page_when_the_language_changes(stage: Stage) -> None:
    """It speaks the browser's language, the other one by a button, and remembers that."""
    stage.service.add(stage.source.url("held"), "film")
    with stage.page(locale="zh-CN") as (page, seen):
        open_page(stage, page)
        task = row(page, "film")
        expect(task.locator(".state")).to_have_text("下载中")
        expect(task.locator(".bar")).to_have_text(re.compile(r"^\[3/5\]下载ts"))
        assert ["暂停", "删除"] == visible_buttons(task)
        page.click("#language")
        expect(task.locator(".state")).to_have_text("Downloading")
        expect(task.locator(".bar")).to_have_text("Downloading segments")
        page.reload()
        expect(task.locator(".state")).to_have_text("Downloading")
        assert "en" == page.evaluate("document.documentElement.lang")
        assert not re.search("[一-鿿]", page.inner_text("main"))
        page.click("#language")
        expect(page.locator("#add button.main")).to_have_text("添加任务")
        assert_quiet(stage, seen)


@in_browser_thread
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_page_on_a_phone(stage: Stage, locale: str) -> None:
    """Nothing sticks out on a phone, however long the names are, and every button can be hit."""
    stage.service.add(stage.source.url("held"), "a" * 150)
    failed = stage.service.add(stage.source.url("guarded") + "/" + "b" * 150, "refused")
    stage.service.becomes(failed, "失败")
    with stage.page(viewport=PHONE, locale=locale, has_touch=True, is_mobile=True) as (page, seen):
        open_page(stage, page)
        expect(page.locator(".task")).to_have_count(2)
        assert PHONE["width"] == page.evaluate("document.documentElement.scrollWidth")
        boxes = [button.bounding_box() for button in page.locator("button:visible").all()]
        assert [] == [box for box in boxes if box is None or box["height"] < 36]
        assert_quiet(stage, seen)


@in_browser_thread
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_both_schemes(stage: Stage, scheme: str) -> None:
    """Light and dark, every text stands out from its ground by 4.5:1 (WCAG AA)."""
    stage.service.add(stage.source.url("held"), "running")
    stage.service.becomes(stage.service.add(stage.source.url("guarded"), "refused"), "失败")
    stage.service.becomes(stage.service.add(stage.source.url("plain"), "ready"), "已完成")
    with stage.page(color_scheme=scheme) as (page, _seen):
        open_page(stage, page)
        expect(page.locator(".task")).to_have_count(3)
        shown = page.evaluate(SHOWN_COLOURS)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (scheme == "dark") == (luminance(ground) < 0.1)
    assert len(shown) > 15
    assert [] == [each for each in shown if contrast(each[1], each[2]) < 4.5]


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, 0 to 1 (WCAG 2)."""
    parts = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """How much two colours differ, 1 to 21 (WCAG 2)."""
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


# -- Text from elsewhere ---------------------------------------------------------------------------------------------


@in_browser_thread
def test_page_when_text_from_elsewhere_is_markup(stage: Stage) -> None:
    """Names, links and reasons that are markup are shown as they are, and run nothing."""
    stage.service.add(stage.source.url("held"), HOSTILE)
    derived = f"{stage.source.url('plain')[:-11]}/{quote(HOSTILE)}.m3u8"
    failed = stage.service.add(derived, "")
    stage.service.becomes(failed, "失败")
    with stage.page() as (page, seen):
        open_page(stage, page)
        expect(row(page, HOSTILE)).to_have_count(1)
        expect(page.locator(".task").filter(has_text="Failed")).to_contain_text("<img")
        page.fill("#url", "https://source.example/a")
        page.fill("#filename", f"{HOSTILE}/")
        page.click("#add button.main")
        expect(page.locator("#filename-says")).to_contain_text("<img")
        row(page, HOSTILE).get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text("<img")
        assert 0 == page.locator("main img, main script, dialog img").count()
        assert page.evaluate("window.hit") is None
    complaints = [each for each in seen.complaints if "status of 400" not in each]  # the refused name
    assert [] == complaints
