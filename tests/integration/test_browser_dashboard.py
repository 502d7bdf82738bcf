"""
The dashboard in Chromium, each flow as a person does it: adding in every way there is, the plan, the list with its
search, selection and order, the settings, the keyboard; and that axe-core finds nothing serious on any page.
"""

import gzip
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.integration.browser import WITHIN_S, Stage, in_browser_thread, open_stage, turned, within
from tests.integration.test_browser_page import PHONE, assert_quiet, open_page, row

AXE = Path(__file__).parents[1] / "vendor/axe-core/axe.min.js"
DOCS = Path(__file__).parents[2] / "docs"
FIRST_LOAD_BYTES = 60_000
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Deutsch",LANGUAGE="de",AUTOSELECT=YES,URI="sound.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2400000,RESOLUTION=1280x720,CODECS="avc1.64001f,mp4a.40.2",AUDIO="a"
index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360,CODECS="avc1.64001e,mp4a.40.2",AUDIO="a"
index.m3u8
"""

DROP = """([target, type, value]) => {
    const data = new DataTransfer();
    if (type === "file") data.items.add(new File([value], "dropped.m3u8")); else data.setData(type, value);
    for (const name of ["dragover", "drop"]) {
        const event = new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data });
        document.querySelector(target).dispatchEvent(event);
    }
}"""

NEAR = "place => [...document.querySelectorAll('.task')].some(each => Math.abs(each.dataset.place - place) < 300)"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One browser and one service for the module."""
    with open_stage(tmp_path_factory.getbasetemp()) as opened:
        (opened.source.directory / "master.m3u8").write_text(MASTER)
        (opened.source.directory / "sound.m3u8").write_bytes((opened.source.directory / "index.m3u8").read_bytes())
        (opened.source.directory / "groups.m3u8").write_text(in_groups(opened))
        yield opened


@pytest.fixture(autouse=True)
def nothing_left(stage: Stage) -> Iterator[None]:
    """Each test starts without tasks, and with a source that holds."""
    stage.source.release.clear()
    yield
    stage.source.release.set()
    stage.service.clear()


def in_groups(stage: Stage) -> str:
    """The stream with a discontinuity before its sixth segment."""
    lines = (stage.source.directory / "index.m3u8").read_text().splitlines()
    sixth = [number for number, line in enumerate(lines) if line.startswith("#EXTINF")][5]
    return "\n".join([*lines[:sixth], "#EXT-X-DISCONTINUITY", *lines[sixth:], ""])


def named(stage: Stage, name: str) -> dict[str, Any]:
    """The one task of this name, once it is there."""
    [task] = within(lambda: [task for task in stage.service.tasks() if task["filename"] == name])
    found: dict[str, Any] = stage.service.task(task["id"])
    return found


def until(page: Page, holds: str, argument: object = None) -> None:
    """
    Wait for an expression to hold. The driver's own wait evaluates it in the page, whose policy forbids that.
    """
    deadline = time.monotonic() + WITHIN_S
    while not page.evaluate(holds, argument):
        assert time.monotonic() < deadline, f"it never held: {holds}"
        page.wait_for_timeout(50)  # what the page asks meanwhile is answered


def add(page: Page) -> None:
    """Press the button."""
    page.click("#add button.main")


def url_of(stage: Stage, way: str, name: str = "index.m3u8") -> str:
    """A file of the source."""
    return stage.source.url(way).replace("index.m3u8", name)


# -- Adding ----------------------------------------------------------------------------------------------------------


@in_browser_thread
def test_adding_many_links(stage: Stage) -> None:
    """One link a line, each with its name behind it: each is a task, and the form is empty again."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.fill("#url", f"{stage.source.url('plain')} first film\n\n{stage.source.url('plain')} second film")
        expect(page.locator("#url-says")).to_have_text("2 tasks")
        expect(page.locator("#filename")).to_be_disabled()
        page.press("#url", "Enter")
        for name in ("first film", "second film"):
            expect(row(page, name).locator(".state")).to_have_text("Done")
        expect(page.locator("#url")).to_have_value("")
        assert_quiet(stage, seen)


@in_browser_thread
@pytest.mark.parametrize(
    ("locale", "why"), [("en-US", "must begin with http"), ("zh-CN", "必须以 http:// 或 https:// 开头")]
)
def test_adding_many_links_one_of_them_wrong(stage: Stage, locale: str, why: str) -> None:
    """The others are added; the wrong line stays, and what is wrong with it is said beside it."""
    with stage.page(locale=locale) as (page, _seen):
        open_page(stage, page)
        page.fill("#url", f"{stage.source.url('held')} right\nftp://source.example/a wrong")
        add(page)
        expect(row(page, "right")).to_have_count(1)
        expect(page.locator("#url-says")).to_contain_text(why)
        expect(page.locator("#url")).to_have_value("ftp://source.example/a wrong")
        expect(page.locator("#url")).to_be_focused()
        expect(page.locator("#url")).to_have_attribute("aria-invalid", "true")


@in_browser_thread
def test_adding_links_with_spaces(stage: Stage) -> None:
    """What cannot be a name is the rest of the link."""
    base = f"http://127.0.0.1:{stage.source.server_port}/plain"
    lines = (f"{base}/my films/电影 1.m3u8", f"{base}/film one.m3u8?a=b", f"{base}/index.m3u8 of a name")
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.fill("#url", "\n".join(lines))
        add(page)
        within(lambda: 3 == len(stage.service.tasks()))
        tasks = {unquote(task["url"]): task.get("filename", "") for task in stage.service.tasks()}
        assert {lines[0]: "", lines[1]: "", f"{base}/index.m3u8": "of a name"} == tasks
        assert_quiet(stage, seen)


@in_browser_thread
def test_adding_a_curl_command(stage: Stage) -> None:
    """A pasted command becomes the link and the options it says, which can be seen before they are used."""
    with stage.page(permissions=["clipboard-read", "clipboard-write"]) as (page, seen):
        open_page(stage, page)
        page.evaluate(
            "text => navigator.clipboard.writeText(text)",
            f"curl '{stage.source.url('guarded')}' \\\n -H 'X-Token: open' -k",
        )
        page.focus("#url")
        page.keyboard.press("Control+v")
        expect(page.locator("#url")).to_have_value(stage.source.url("guarded"))
        expect(page.locator("#a-http_headers")).to_have_value("X-Token: open")
        expect(page.locator("#a-allow_insecure_https")).to_have_value("yes")
        page.fill("#filename", "members only")
        add(page)
        expect(row(page, "members only").locator(".state")).to_have_text("Done")
        task = named(stage, "members only")
        assert {"X-Token": ["open"]} == task["header_map"]
        assert task["advanced_settings"]["allow_insecure_https"]
        expect(page.locator("#a-http_headers")).to_have_count(0)  # the next task begins anew
        assert_quiet(stage, seen)


@in_browser_thread
def test_adding_another_curl_command(stage: Stage) -> None:
    """The second has nothing of what the first one said; what somebody typed stays."""
    first = "-x socks5://proxy.example:1 -U me:secret -k --limit-rate 2M -o first -H 'X-Token: open'"
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.click("#options")
        page.fill("#a-priority", "7")
        page.fill("#url", f"curl {stage.source.url('held')} {first}")
        page.click("#plan")
        expect(page.locator("#a-limit_rate")).to_have_value("2M")
        expect(page.locator("#a-proxy_host")).to_have_value("proxy.example")
        page.fill("#url", f"curl {stage.source.url('held')}?second")
        add(page)
        expect(page.locator(".task")).to_have_count(1)
        [task] = stage.service.tasks()
        settings = task["advanced_settings"]
        assert ("none", "", False) == tuple(
            settings[name] for name in ("proxy_type", "proxy_host", "allow_insecure_https")
        )
        assert (0, {}, 7) == (task["limit_rate"], task["header_map"], task["priority"])


def planned(stage: Stage, page: Page) -> Locator:
    """The plan of a film with two variants and two languages, typed into the form."""
    page.fill("#url", url_of(stage, "held", "master.m3u8"))
    page.fill("#filename", "planned")
    page.click("#plan")
    return page.locator(".plan")


@in_browser_thread
def test_adding_while_a_plan_is_due(stage: Stage) -> None:
    """A choice asks for another plan a moment later; who adds the task before that has an empty form, and no plan."""
    plans: list[str] = []
    with stage.page() as (page, seen):
        page.on("request", lambda request: plans.append(request.url) if "dry_run" in request.url else None)
        open_page(stage, page)
        planned(stage, page).get_by_role("radio", name=re.compile("640×360")).wait_for()
        page.evaluate("""() => {
            document.querySelectorAll(".plan input[type=radio]")[1].click();
            document.querySelector("#add button.main").click();
        }""")
        expect(row(page, "planned")).to_have_count(1)
        expect(page.locator("#url")).to_have_value("")
        page.wait_for_timeout(1000)
        assert 1 == len(plans)
        expect(page.locator(".plan")).to_have_count(0)
        expect(page.locator("#url-says")).to_have_text("")
        assert_quiet(stage, seen)


@in_browser_thread
def test_adding_with_a_key_held_down(stage: Stage) -> None:
    """A key that was held before the field had the focus adds nothing; pressed again, it does."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.fill("#url", stage.source.url("held"))
        page.fill("#filename", "pressed")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.down("Enter")
        page.focus("#url")
        page.keyboard.down("Enter")
        page.keyboard.up("Enter")
        expect(page.locator("#url")).to_have_value(stage.source.url("held"))
        page.wait_for_timeout(500)
        assert [] == stage.service.tasks()
        page.keyboard.press("Enter")
        expect(row(page, "pressed")).to_have_count(1)
        assert_quiet(stage, seen)


class Lost:
    """
    Creations reach the service; the answers of the first ones, so many, do not reach the page. `keys` are those sent.
    """

    def __init__(self, page: Page, count: int) -> None:
        self.keys: list[str] = []
        self._count = count
        page.route("**/api/tasks", self._let)

    def _let(self, route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        self.keys.append(route.request.headers["idempotency-key"])
        answer = route.fetch()
        if len(self.keys) > self._count:
            route.fulfill(response=answer)
        else:
            route.abort()


@in_browser_thread
def test_adding_again_when_the_answer_was_lost(stage: Stage) -> None:
    """Whoever presses again has one task; the same link once more, later, is another."""
    url = stage.source.url("held")
    with stage.page(locale="en") as (page, _seen):
        open_page(stage, page)
        lost = Lost(page, 1)
        page.fill("#url", f"{url} once")
        add(page)
        expect(page.locator("#url-says")).to_have_text("Offline")
        add(page)
        expect(page.locator("#url")).to_have_value("")
        assert ["once"] == [task["filename"] for task in stage.service.tasks()]
        page.fill("#url", f"{url} once")
        add(page)
        expect(row(page, "once")).to_have_count(2)
        assert lost.keys[0] == lost.keys[1] != lost.keys[2]


@in_browser_thread
def test_adding_equal_lines_when_an_answer_was_lost(stage: Stage) -> None:
    """Two lines are two tasks, and those whose answers were lost are not made again."""
    url = stage.source.url("held")
    with stage.page(locale="en") as (page, _seen):
        open_page(stage, page)
        lost = Lost(page, 1)
        page.fill("#url", f"{url} twin\n{url} twin")
        add(page)
        expect(page.locator("#url")).to_have_value(f"{url} twin")
        add(page)
        expect(page.locator("#url")).to_have_value("")
        assert [lost.keys[0]] == lost.keys[2:] and lost.keys[0] != lost.keys[1]
        assert 2 == len(stage.service.tasks())


@in_browser_thread
@pytest.mark.parametrize(("option", "wrong"), [("limit_rate", "soon"), ("proxy_port", "99999")])
def test_adding_again_with_something_wrong_in_between(stage: Stage, option: str, wrong: str) -> None:
    """The answer was lost, an option is wrong, to the page or to the service, and is put right: still one task."""
    with stage.page(locale="en") as (page, _seen):
        open_page(stage, page)
        lost = Lost(page, 1)
        page.fill("#url", f"{stage.source.url('held')} once")
        add(page)
        expect(page.locator("#url-says")).to_have_text("Offline")
        page.click("#options")
        page.fill(f"#a-{option}", wrong)
        add(page)
        expect(page.locator(f"#a-{option}-problem")).not_to_have_text("")
        page.fill(f"#a-{option}", "")
        add(page)
        expect(page.locator("#url")).to_have_value("")
        assert lost.keys[0] == lost.keys[-1] and len(lost.keys) > 1
        assert ["once"] == [task["filename"] for task in stage.service.tasks()]


@in_browser_thread
def test_adding_lines_one_by_one_when_their_answers_were_lost(stage: Stage) -> None:
    """What is not sent with the first keeps its key."""
    lines = [f"{stage.source.url('held')} {name}" for name in ("one", "two")]
    with stage.page(locale="en") as (page, _seen):
        open_page(stage, page)
        lost = Lost(page, 2)
        page.fill("#url", "\n".join(lines))
        add(page)
        expect(page.locator("#url-says")).to_contain_text("Offline")
        for line in lines:
            page.fill("#url", line)
            add(page)
            expect(page.locator("#url")).to_have_value("")
        assert lost.keys[:2] == lost.keys[2:]
        assert 2 == len(stage.service.tasks())


@in_browser_thread
def test_adding_again_what_was_removed_meanwhile(stage: Stage) -> None:
    """The answer was lost and the task is gone: who adds it again wants it."""
    with stage.page(locale="en") as (page, _seen):
        open_page(stage, page)
        Lost(page, 1)
        page.fill("#url", stage.source.url("held"))
        page.fill("#filename", "removed")
        add(page)
        expect(page.locator("#url-says")).not_to_have_text("")
        first = named(stage, "removed")["id"]
        stage.service.ask("DELETE", f"/api/tasks?id={first}")
        add(page)
        expect(page.locator("#url")).to_have_value("")
        assert first != named(stage, "removed")["id"]


@in_browser_thread
def test_adding_a_curl_command_that_cannot_be_used(stage: Stage) -> None:
    """What is wrong with it is said beside it, and it stays to be mended."""
    command = "curl https://source.example/a.m3u8 -X POST"
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.fill("#url", command)
        add(page)
        expect(page.locator("#url-says")).to_contain_text("-X")
        expect(page.locator("#url")).to_have_value(command)
        assert [] == stage.service.tasks()


@in_browser_thread
def test_adding_by_drag_and_drop(stage: Stage) -> None:
    """A link dropped anywhere is in the form; a playlist's file is a task of its own, named as the file."""
    text = (stage.source.directory / "index.m3u8").read_text()
    text = re.sub(r"^(?!#)(.+)$", lambda found: url_of(stage, "plain", found[1]), text, flags=re.MULTILINE)
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.evaluate(DROP, ["main", "text/uri-list", stage.source.url("held")])
        expect(page.locator("#url")).to_have_value(stage.source.url("held"))
        page.evaluate(DROP, ["main", "file", text])
        expect(page.locator(".chip")).to_have_text("dropped.m3u8")
        add(page)
        expect(row(page, "dropped").locator(".state")).to_have_text("Done")
        expect(page.locator(".task")).to_have_count(2)
        page.set_input_files("#add input[type=file]", {"name": "no.m3u8", "mimeType": "", "buffer": b"<html>"})
        expect(page.locator("#url-says")).to_have_text("no.m3u8 is no m3u8 playlist")
        assert_quiet(stage, seen)


@in_browser_thread
def test_a_name_is_suggested(stage: Stage) -> None:
    """The link's telling part is offered as the name."""
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.fill("#url", "https://source.example/shows/evening%20news/index.m3u8")
        page.get_by_role("button", name="Name it “evening news”").click()
        expect(page.locator("#filename")).to_have_value("evening news")


@in_browser_thread
def test_the_plan_comes_first(stage: Stage) -> None:
    """It shows variants, sound and size; what is chosen there is what the task gets."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        plan = planned(stage, page)
        expect(plan.get_by_role("radio", name=re.compile("1280×720"))).to_be_checked()
        expect(plan.locator("dl")).to_contain_text("00:30")
        plan.get_by_role("radio", name=re.compile("640×360")).check()
        expect(plan.get_by_role("radio", name=re.compile("640×360"))).to_be_checked()
        plan.get_by_role("checkbox", name="Deutsch (de)").check()
        expect(plan.get_by_role("checkbox", name="Deutsch (de)")).to_be_checked()
        page.click("#options")
        expect(page.locator("#a-variant")).to_have_value("height=360 bandwidth=900000")
        expect(page.locator("#a-audio")).to_have_value("en,de")
        assert [] == stage.service.tasks()
        add(page)
        task = named(stage, "planned")
        assert ("height=360 bandwidth=900000", "en,de") == (task["variant"], task["audio"])
        assert_quiet(stage, seen)


@in_browser_thread
def test_a_choice_outlives_a_plan_under_way(stage: Stage) -> None:
    """An answer to what was in the form before comes after the next choice: it does not undo it."""
    held: list[Route] = []
    with stage.page() as (page, seen):
        open_page(stage, page)
        plan = planned(stage, page)
        plan.get_by_role("radio", name=re.compile("640×360")).wait_for()
        page.route("**/api/tasks?dry_run=true", lambda route: held.append(route))
        plan.get_by_role("radio", name=re.compile("640×360")).check()
        within(lambda: held or page.wait_for_timeout(20))
        plan.get_by_role("checkbox", name="Deutsch (de)").check()
        with page.expect_response("**/api/tasks?dry_run=true"):
            held.pop(0).continue_()
        page.wait_for_timeout(100)
        assert plan.get_by_role("checkbox", name="Deutsch (de)").is_checked()
        within(lambda: held or page.wait_for_timeout(20))
        held.pop(0).continue_()
        expect(page.locator("#plan")).to_be_enabled()
        expect(plan.get_by_role("radio", name=re.compile("640×360"))).to_be_checked()
        expect(plan.get_by_role("checkbox", name="Deutsch (de)")).to_be_checked()
        assert_quiet(stage, seen)


@in_browser_thread
def test_groups_are_chosen_in_the_plan(stage: Stage) -> None:
    """What lies between two discontinuities can be left out."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.fill("#url", url_of(stage, "held", "groups.m3u8"))
        page.fill("#filename", "grouped")
        page.click("#plan")
        page.locator(".plan").get_by_role("checkbox", name=re.compile(r"^1 · ")).uncheck()
        add(page)
        assert "2" == named(stage, "grouped")["groups"]
        assert_quiet(stage, seen)


@in_browser_thread
@pytest.mark.parametrize(
    ("locale", "why"), [("en-US", "must be a whole number from 0 to 65535"), ("zh-CN", "必须是 0 到 65535 的整数")]
)
def test_an_option_that_is_wrong(stage: Stage, locale: str, why: str) -> None:
    """What is wrong stands beside its field, in the page's language; what was typed stays, and can be mended."""
    with stage.page(locale=locale) as (page, _seen):
        open_page(stage, page)
        page.fill("#url", stage.source.url("held"))
        page.fill("#filename", "through a proxy")
        page.click("#options")
        page.select_option("#a-proxy_type", "http")
        page.fill("#a-proxy_host", "127.0.0.1")
        page.fill("#a-proxy_port", "99999")
        page.fill("#a-limit_rate", "500K")
        add(page)
        expect(page.locator("#a-proxy_port-problem")).to_contain_text(why)
        expect(page.locator("#a-proxy_port")).to_have_value("99999")
        expect(page.locator("#a-proxy_port")).to_be_focused()
        expect(page.locator("#url")).to_have_value(stage.source.url("held"))
        page.fill("#a-proxy_port", "9")
        add(page)
        task = named(stage, "through a proxy")
        assert ("http", 9, 512000) == (
            task["advanced_settings"]["proxy_type"],
            task["advanced_settings"]["proxy_port"],
            task["limit_rate"],
        )


# -- The list --------------------------------------------------------------------------------------------------------


@in_browser_thread
def test_searching_filtering_sorting(stage: Stage) -> None:
    """The list shows what is asked for, in the order asked for, and the tabs how many there are."""
    for name in ("alpha film", "beta film", "gamma"):
        stage.service.becomes(stage.service.add(stage.source.url("plain"), name), "已完成")
    stage.service.add(stage.source.url("held"), "delta film")
    names = "all => all.map(each => each.textContent)"
    with stage.page() as (page, seen):
        open_page(stage, page)
        expect(page.locator(".name")).to_have_text(["delta film", "gamma", "beta film", "alpha film"])
        page.fill("#search", "FILM")
        expect(page.locator(".name")).to_have_text(["delta film", "beta film", "alpha film"])
        page.select_option("#sort", "name")
        expect(page.locator(".name")).to_have_text(["alpha film", "beta film", "delta film"])
        page.click("#order")
        expect(page.locator(".name")).to_have_text(["delta film", "beta film", "alpha film"])
        expect(page.get_by_role("button", name=re.compile("^Done"))).to_contain_text("3")
        page.get_by_role("button", name=re.compile("^Done")).click()
        expect(page.locator(".name")).to_have_text(["beta film", "alpha film"])
        page.fill("#search", "nothing like it")
        expect(page.locator("#empty")).to_have_text("No task is like that.")
        assert [] == page.locator(".name").evaluate_all(names)
        assert_quiet(stage, seen)


@in_browser_thread
def test_many_at_once(stage: Stage) -> None:
    """Chosen with Shift, tasks are paused, resumed, and deleted with their files, which is asked first."""
    done = stage.service.becomes(stage.service.add(stage.source.url("plain"), "ready"), "已完成")
    for number in range(3):
        stage.service.add(stage.source.url("held"), f"film {number}")
    with stage.page() as (page, seen):
        open_page(stage, page)
        expect(page.locator(".task")).to_have_count(4)
        page.get_by_role("checkbox", name="Select film 2").click()
        page.get_by_role("checkbox", name="Select film 0").click(modifiers=["Shift"])
        bulk = page.locator("#bulk")
        expect(bulk).to_contain_text("3 selected")
        bulk.get_by_role("button", name="Pause").click()
        expect(page.locator(".task.paused")).to_have_count(3)
        bulk.get_by_role("button", name="Resume").click()
        expect(page.locator(".task.running")).to_have_count(3)
        bulk.get_by_role("button", name="Select all 4").click()
        expect(bulk).to_contain_text("4 selected")
        bulk.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog", name="Delete 4 tasks?")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
        assert 4 == len(stage.service.tasks())
        bulk.get_by_role("button", name="Delete").click()
        dialog.get_by_role("checkbox", name="Delete the downloaded files too").check()
        dialog.get_by_role("button", name="Delete").click()
        expect(page.locator("#empty")).to_be_visible()
        expect(bulk).to_have_count(0)
        assert [] == stage.service.tasks()
        within(lambda: not Path(done["output"]).exists())
        assert_quiet(stage, seen)


@in_browser_thread
def test_buttons_of_a_row_stay_what_they_are(stage: Stage) -> None:
    """Whatever comes and goes beside it, the element of a button is that button: with its focus, and half pressed."""
    task_id = [stage.service.add(stage.source.url("held"), f"film {number}") for number in range(5)][-1]
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.select_option("#sort", "queue")
        expect(page.locator(".task.waiting")).to_have_count(2)
        last = row(page, "film 4")
        buttons, bulk = last.locator(".buttons > *"), page.locator("#bulk button:not([disabled])")
        last.locator(".pick").click()
        for _ in range(2):
            expect(page.locator("#bulk")).to_contain_text("1 selected")
            assert [] == turned(bulk)
            bulk.last.focus()
            page.keyboard.press("a")
            expect(page.locator("#bulk")).to_contain_text("5 selected")
            assert [] == turned(bulk)
            for number in range(4):
                row(page, f"film {number}").locator(".pick").click()
        last.locator(".remove").focus()
        for status, state in 2 * (("已暂停", "paused"), ("等待中", "waiting")):
            assert [] == turned(buttons)
            stage.service.ask("PUT", f"/api/tasks?id={task_id}", {"status": status})
            expect(page.locator(f".task.{state}[data-id='{task_id}']")).to_be_visible()
        assert [] == turned(buttons)
        expect(last.locator(".remove")).to_be_focused()
        assert_quiet(stage, seen)


@in_browser_thread
def test_the_order_of_the_queue(stage: Stage) -> None:
    """Sorted by the queue, a task that waits is dragged to another's place, or moved there by the arrow keys."""
    for number in range(7):
        stage.service.add(stage.source.url("held"), f"film {number}")

    def queue() -> list[str]:
        waiting = [task for task in stage.service.tasks() if task["queue_position"]]
        return [task["filename"][-1] for task in sorted(waiting, key=lambda task: task["queue_position"])]

    within(lambda: len(queue()) == 4)
    with stage.page() as (page, seen):
        open_page(stage, page)
        page.select_option("#sort", "queue")
        drag = row(page, "film 6").locator(".drag")
        drag.drag_to(row(page, "film 3").locator(".name"))
        within(lambda: queue() == ["6", "3", "4", "5"])
        expect(row(page, "film 6").locator(".numbers")).to_contain_text("No. 1")
        drag.press("ArrowDown")
        within(lambda: queue() == ["3", "6", "4", "5"])
        expect(row(page, "film 6").locator(".numbers")).to_contain_text("No. 2")
        expect(drag).to_be_focused()
        drag.press("ArrowUp")
        within(lambda: queue() == ["6", "3", "4", "5"])
        assert_quiet(stage, seen)


@in_browser_thread
def test_the_priority_of_a_task(stage: Stage) -> None:
    """It is set where the row unfolds; what cannot be is not sent."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        open_page(stage, page)
        task = row(page, "film")
        task.get_by_role("button", name="More").click()
        expect(task.locator(".address")).to_contain_text(stage.source.url("held"))
        task.get_by_label("Priority").fill("7")
        task.get_by_label("Priority").press("Enter")
        within(lambda: stage.service.task(task_id)["priority"] == 7)
        assert_quiet(stage, seen)


@in_browser_thread
def test_ten_thousand_tasks(stage: Stage) -> None:
    """Only what is near the screen is asked for and drawn, to the very end; a message redraws its own row."""
    stage.service.add(stage.source.url("held"), "template")
    [template] = stage.service.tasks()
    asked: list[int] = []
    told: dict[str, Any] = {}

    def some(route: Route) -> None:
        wanted = dict(each.split("=") for each in route.request.url.partition("?")[2].split("&"))
        first, limit = int(wanted["offset"]), int(wanted["limit"])
        asked.append(first)
        numbers = range(first, min(first + limit, 10_000))
        listed = [{**template, "id": f"t{number}", "filename": f"film {number}"} for number in numbers]
        listed = [{**each, **told} if each["id"] == told.get("id") else each for each in listed]
        route.fulfill(json=listed, headers={"X-Total-Count": "10000"})

    sockets = []
    with stage.page() as (page, seen):
        page.route("**/api/tasks?sort=*", some)
        page.route_web_socket("**/ws/progress", lambda socket: sockets.append(socket))
        open_page(stage, page)
        expect(row(page, "film 0")).not_to_have_count(0)
        for place in (0.5, 0.25, 1):
            page.evaluate("place => scrollTo(0, place * document.documentElement.scrollHeight)", place)
            until(page, NEAR, place * 10_000)
            assert page.locator(".task").count() <= 200
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.locator('.task[data-id="t9999"]')).to_be_visible()
        assert len(set(asked)) < 60
        page.evaluate("""() => {
            window.changed = new Set();
            const rowOf = node => (node.closest ? node : node.parentElement).closest(".task")?.dataset.id ?? "other";
            const watching = new MutationObserver(records => records.forEach(each => changed.add(rowOf(each.target))));
            const all = { subtree: true, childList: true, characterData: true, attributes: true };
            watching.observe(document.querySelector("#tasks"), all);
        }""")
        message = {"id": "t9999", "status": "下载中", "status_bar": "", "progress": 87, "speed": 1, "phase": "merge"}
        told.update(message)  # what is asked for meanwhile says the same
        sockets[0].send(json.dumps(message))
        expect(page.locator('.task[data-id="t9999"] .numbers')).to_contain_text("87%")
        assert ["t9999"] == page.evaluate("[...changed]")
        assert_quiet(stage, seen)


# -- The other pages, the keyboard, the browser ----------------------------------------------------------------------


@in_browser_thread
def test_the_settings(stage: Stage) -> None:
    """What is wrong is said beside its field, and kept; what is right is saved, and the head says the limit."""
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.get_by_role("link", name="Settings").click()
        save = page.get_by_role("button", name="Save")
        expect(save).to_be_disabled()
        page.get_by_label("Keep the segments").check()
        page.locator("#s-limit_schedule").fill("Mon-Fro 08:00-18:00 2M")
        page.locator("#s-limit_rate").fill("2M")
        save.click()
        expect(page.locator("#s-limit_schedule-problem")).to_contain_text("Mon-Fro")
        expect(page.locator("#s-limit_schedule")).to_have_value("Mon-Fro 08:00-18:00 2M")
        expect(page.locator("#s-limit_schedule")).to_be_focused()
        page.locator("#s-limit_schedule").fill("")
        before = save.bounding_box()
        save.click()
        expect(page.locator("#notice.good")).to_contain_text("Saved")
        expect(page.locator("#notice")).to_be_in_viewport(ratio=1)
        assert before == save.bounding_box()
        page.locator("#notice button").click()
        expect(page.locator("#notice")).to_have_count(0)
        assert before == save.bounding_box()
        settings = stage.service.ask("GET", "/api/settings")
        assert (True, 2 * 2**20, "") == (settings["keep_ts_files"], settings["limit_rate"], settings["limit_schedule"])
        expect(page.locator("#limit")).to_have_text(re.compile(r"^2\.00\sMB/s$"))
        expect(page.locator("#s-limit_rate")).to_have_value("2M")
        page.locator("#s-plugins").fill("{nonsense")
        save.click()
        expect(page.locator("#s-plugins-problem")).to_have_text("This is not valid JSON")


@in_browser_thread
def test_the_plugins(stage: Stage) -> None:
    """What there is and how it fares; what broke says why."""
    plugin = {
        "name": "skip-ads",
        "state": "broken",
        "version": "0.1.0",
        "distribution": "m3u8svc-skip-ads",
        "reason": "no <b>",
        "warnings": ["old"],
        "hooks": {"skip_segments": {"calls": 4, "failures": 1, "slow": 0}},
    }
    with stage.page() as (page, seen):
        page.route(
            "**/api/plugins",
            lambda route: route.fulfill(json={"plugins": [plugin], "mergers": ["mp4"], "storages": ["disk"]}),
        )
        page.goto(stage.service.base + "/#/plugins")
        card = page.get_by_role("region", name="skip-ads")
        expect(card.locator(".state")).to_have_text("Broken")
        expect(card.locator(".error")).to_have_text("no <b>")
        expect(card.locator("tbody")).to_contain_text("skip_segments")
        assert_quiet(stage, seen)


@in_browser_thread
def test_only_the_keyboard(stage: Stage) -> None:
    """A task is added, found, paused, resumed and deleted, and the help read, without a pointer."""
    with stage.page() as (page, seen):
        open_page(stage, page)
        keys = page.keyboard
        keys.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        keys.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        keys.press("n")
        expect(page.locator("#url")).to_be_focused()
        keys.insert_text(f"{stage.source.url('held')} typed film")
        keys.press("Enter")
        task = row(page, "typed film")
        expect(task.locator(".state")).to_have_text("Downloading")
        keys.press("Escape")  # out of the field
        keys.press("j")
        expect(task).to_be_focused()
        keys.press("p")
        expect(task.locator(".state")).to_have_text("Paused")
        keys.press("r")
        expect(task.locator(".state")).to_have_text("Downloading")
        keys.press("x")
        expect(page.locator("#bulk")).to_contain_text("1 selected")
        keys.press("Escape")
        expect(page.locator("#bulk")).to_have_count(0)
        keys.press("Enter")
        expect(page).to_have_url(re.compile(r"#/task/\w+$"))
        keys.type("gs")  # one after the other at once: who waits too long has pressed two keys
        expect(page).to_have_url(re.compile(r"#/settings$"))
        keys.type("gl")
        expect(task).to_be_visible()
        keys.press("/")
        expect(page.locator("#search")).to_be_focused()
        keys.press("Escape")
        keys.press("j")
        keys.press("Delete")
        dialog = page.get_by_role("dialog", name="Delete the task?")
        expect(dialog).to_be_visible()
        for _ in range(4):  # checkbox, Cancel, Delete, and what the browser has of its own
            if dialog.get_by_role("button", name="Delete").evaluate("each => each === document.activeElement"):
                break
            keys.press("Tab")
        keys.press("Enter")
        expect(page.locator("#empty")).to_be_visible()
        assert_quiet(stage, seen)


@in_browser_thread
def test_the_colours_are_chosen(stage: Stage) -> None:
    """As the system, light or dark, and remembered."""
    ground = "getComputedStyle(document.body).backgroundColor"
    with stage.page(color_scheme="light") as (page, seen):
        open_page(stage, page)
        light = page.evaluate(ground)
        page.click("#theme")
        assert light == page.evaluate(ground)
        page.click("#theme")
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        expect(page.locator("#link.live")).to_be_visible()
        assert dark == page.evaluate(ground)
        assert_quiet(stage, seen)


@in_browser_thread
def test_the_browser_tells_when_a_task_ends(stage: Stage) -> None:
    """Only once somebody asked for it in the settings."""
    recorded = """
        window.notes = [];
        window.Notification = class {
            static permission = "default";
            static async requestPermission() { return this.permission = "granted"; }
            constructor(title, more) { notes.push([title, more.body]); } };"""
    with stage.page() as (page, seen):
        page.add_init_script(recorded)
        open_page(stage, page)
        stage.service.becomes(stage.service.add(stage.source.url("slow"), "quiet film"), "已完成")
        expect(row(page, "quiet film").locator(".state")).to_have_text("Done")
        page.goto(stage.service.base + "/#/settings")
        page.get_by_label("Tell me when a task ends").check()
        stage.service.becomes(stage.service.add(stage.source.url("slow"), "told film"), "已完成")
        until(page, "notes.length > 0")
        assert [["Download finished", "told film"]] == page.evaluate("notes")
        assert_quiet(stage, seen)


# -- What it weighs, and whom it is for ------------------------------------------------------------------------------


@in_browser_thread
def test_the_weight_of_the_first_load(stage: Stage) -> None:
    """What the page needs to be there is below 60 kB, compressed."""
    stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        open_page(stage, page)
        expect(page.locator(".task")).to_have_count(1)
        static = sorted({url for url in seen.requests if "/static/" in url})
        sizes = {
            url: len(gzip.compress(page.request.get(url).body(), 9)) for url in (stage.service.base + "/", *static)
        }
    assert len(sizes) > 10
    assert sum(sizes.values()) < FIRST_LOAD_BYTES, sizes


def in_the_list(page: Page) -> None:
    """The list with a selection, an open row, and the form with its options."""
    page.locator(".pick").first.click()
    page.locator(".expand").first.click()
    page.click("#options")


PAGES: dict[str, tuple[str, str, Callable[[Page], None]]] = {
    "list": ("#/", ".task", in_the_list),
    "task": ("#/task/ID", ".legend", lambda page: None),
    "delete": ("#/", ".task", lambda page: page.locator(".remove").first.click()),
    "settings": ("#/settings", "#settings", lambda page: None),
    "plugins": ("#/plugins", "h1", lambda page: page.keyboard.press("?")),
    "tools": ("#/tools", "h1", lambda page: None),
}
"""Where each page is (ID is a task's), what shows that it is there, and what somebody does on it."""


@in_browser_thread
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("locale", "phone"), [("en-US", False), ("zh-CN", True)])
def test_nothing_serious_for_axe(stage: Stage, scheme: str, locale: str, phone: bool) -> None:
    """On no page, neither wide nor on a phone, light nor dark, in neither language."""
    stage.service.becomes(stage.service.add(stage.source.url("guarded"), "refused"), "失败")
    stage.service.becomes(stage.service.add(stage.source.url("plain"), "ready", colour="red"), "已完成")
    ids = [stage.service.add(stage.source.url("held"), f"film {number}") for number in range(4)]
    size = PHONE if phone else {"width": 1200, "height": 900}
    with stage.page(color_scheme=scheme, locale=locale, viewport=size) as (page, seen):
        for name, (address, there, done) in PAGES.items():
            page.goto("about:blank")
            page.goto(f"{stage.service.base}/{address.replace('ID', ids[0])}")
            expect(page.locator(there).first).to_be_visible()
            done(page)
            assert [] == serious(page), name
            assert size["width"] >= page.evaluate("document.documentElement.scrollWidth"), name
        assert_quiet(stage, seen)


def serious(page: Page) -> list[Any]:
    """What axe-core finds that is serious or worse: the rule, and where."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    worse = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    return [(each["id"], [(node["html"][:200], node["any"][:1]) for node in each["nodes"]][:5]) for each in worse]


@in_browser_thread
def test_axe_finds_what_is_serious(stage: Stage) -> None:
    """The other test would see a field without a name."""
    with stage.page() as (page, _seen):
        open_page(stage, page)
        page.evaluate("document.querySelector('main').append(document.createElement('input'))")
        assert "label" in [each[0] for each in serious(page)]


# -- Pictures --------------------------------------------------------------------------------------------------------


@in_browser_thread
def test_pictures_for_the_docs(stage: Stage, tmp_path: Path) -> None:
    """
    A page full of tasks, wide, dark and on a phone. With M3U8SVC_PICTURES=1 they become docs/dashboard.png,
    docs/dashboard-dark.png and docs/dashboard-phone.png.
    """
    place = DOCS if "M3U8SVC_PICTURES" in os.environ else tmp_path
    stage.service.becomes(stage.service.add(stage.source.url("plain"), "Harbour at dawn"), "已完成")
    stage.service.becomes(stage.service.add(stage.source.url("guarded"), "Members only concert"), "失败")
    paused = stage.service.add(stage.source.url("held"), "Lecture 12, streams and their segments")
    stage.service.ask("PUT", f"/api/tasks?id={paused}", {"status": "已暂停"})
    for name, held_after in (("Evening news", 4), ("Football final", 9), ("Night train, part 1", 13)):
        stage.source.held_after = held_after
        running = stage.service.add(stage.source.url("held"), name)
        within(lambda: stage.service.task(running)["segments_done"] >= held_after)  # noqa: B023
    stage.service.add(stage.source.url("held"), "Night train, part 2")
    stage.service.add(stage.source.url("held"), "Cooking school")
    wide, phone = {"width": 1200, "height": 860}, {"width": 390, "height": 844}
    for name, scheme, size in (("", "light", wide), ("-dark", "dark", wide), ("-phone", "light", phone)):
        with stage.page(color_scheme=scheme, viewport=size, device_scale_factor=1.5) as (page, _seen):
            open_page(stage, page)
            expect(page.locator(".task")).to_have_count(8)
            expect(page.locator(".task.running .numbers").first).to_contain_text("13/15")
            page.screenshot(path=place / f"dashboard{name}.png")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
