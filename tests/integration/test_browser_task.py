"""
The page of one task in Chromium: it shows where every segment stands, plays what is there while the rest is fetched,
plays the finished file, and everything that can be done with a task can be done there.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests import needs
from tests.integration.browser import SEGMENTS, Seen, Service, Stage, in_browser_thread, open_stage, turned, within
from tests.integration.test_browser_page import PHONE, SHOWN_COLOURS, contrast

PAUSE = {"status": "已暂停"}
LAST = SEGMENTS - 1
NAMES = {"d": "Done", "r": "Done after a retry", "f": "In flight", "x": "Failed or missing", "s": "Skipped"} | {
    ".": "Waiting"
}
CELL = """(canvas, numbers) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const sharp = canvas.width / canvas.clientWidth, columns = Math.floor(canvas.clientWidth / 16);
    const style = getComputedStyle(canvas);
    const near = number => [number % columns, Math.floor(number / columns)].map(each => (each * 16 + 3) * sharp);
    return numbers.map(number => {
        const shown = [...pen.getImageData(...near(number), 1, 1).data].slice(0, 3);
        return ["done", "inflight", "failed", "waiting"].find(name => {
            const value = style.getPropertyValue(`--map-${name}`).trim().slice(1);
            const wanted = [0, 2, 4].map(at => parseInt(value.slice(at, at + 2), 16));
            return wanted.every((each, place) => Math.abs(each - shown[place]) < 8);
        }) ?? shown.join();
    });
}"""
"""Which colours these cells of the map have, near their corners; a map with few segments has cells of 16 px."""


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
    stage.source.asked.clear()
    yield
    stage.source.release.set()
    stage.service.clear()


def open_task(stage: Stage, page: Page, task_id: str) -> None:
    """The page of this task."""
    page.goto(f"{stage.service.base}/#/task/{task_id}")
    expect(page.locator(".one h1")).to_be_visible()


def assert_quiet(stage: Stage, seen: Seen, *, noted: Collection[int] = (503,)) -> None:
    """
    Nobody complained, and nobody else was asked. That a segment is not there within the time a player waits for it is
    said by a status that a browser always notes: on a slow machine that is no fault. `noted` are such statuses.
    """
    is_noted = re.compile(rf"status of ({'|'.join(map(str, noted))}) .*/api/tasks/media\?").search
    assert [] == [each for each in seen.complaints if not is_noted(each)]
    elsewhere = (stage.service.base + "/", f"blob:{stage.service.base}/")
    assert [] == [url for url in seen.requests if not url.startswith(elsewhere)]


def segments_asked(stage: Stage) -> list[int]:
    """Which segments the origin was asked for, in order."""
    found = (re.fullmatch(r"/\w+/(\d+)\.ts", path) for path, _headers in list(stage.source.asked))
    return [int(each[1]) for each in found if each]


def clock(page: Page) -> float:
    """Where the video is."""
    return float(page.locator("video").evaluate("video => video.currentTime"))


def legend(page: Page) -> dict[str, int]:
    """How many segments are in each state, as the legend says."""
    lines = page.locator(".legend li").all_inner_texts()
    found = [re.fullmatch(r"(.+?)\s+([\d,]+)", line.strip()) for line in lines]
    return {each[1]: int(each[2].replace(",", "")) for each in found if each}


def states(service: Service, task_id: str) -> str:
    """The letters of the main track, as the API says."""
    tracks = service.ask("GET", f"/api/tasks/segments?id={task_id}")["tracks"]
    return tracks[0]["states"] if tracks else ""


def playlist(stage: Stage, name: str, *lines: str) -> str:
    """A playlist of the source's segments that a test needs; its URL. A number is the segment, anything else a line."""
    body = [f"#EXTINF:2.0,\n{int(line):05}.ts" if line.isdigit() else line for line in lines]
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
    (stage.source.directory / name).write_text(head + "\n".join(body) + "\n#EXT-X-ENDLIST\n", "utf-8")
    return stage.source.url("plain").replace("index.m3u8", name)


# -- Watching --------------------------------------------------------------------------------------------------------


@in_browser_thread
def test_watching_while_it_downloads(stage: Stage) -> None:
    """
    What is there plays while the rest is not; who seeks to the end has the end fetched before what is in between; and
    when the task is done, the file goes on where the segments were.
    """
    task_id = stage.service.add(stage.source.url("held"), "film")
    within(lambda: states(stage.service, task_id).startswith("ddd"))
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        assert not any("vendor/hls" in url for url in seen.requests)
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 1)
        before = clock(page)
        within(lambda: clock(page) > before + 0.5)
        assert "下载中" == stage.service.task(task_id)["status"]
        assert any("vendor/hls" in url for url in seen.requests)

        stage.source.asked.clear()
        page.locator("video").evaluate(f"video => {{ video.currentTime = {2 * LAST} + 0.2; }}")
        within(lambda: LAST in segments_asked(stage))
        asked_first = segments_asked(stage)
        assert LAST - 1 not in asked_first[: asked_first.index(LAST)]
        stage.source.let_through.add(LAST)
        within(lambda: clock(page) > 2 * LAST + 0.5)
        assert "下载中" == stage.service.task(task_id)["status"]
        assert "d" == states(stage.service, task_id)[LAST]
        assert "d" != states(stage.service, task_id)[LAST - 1]

        page.locator("video").evaluate("video => { video.pause(); video.currentTime = 2.5; }")
        stage.source.release.set()
        expect(page.locator(".saying")).to_have_text("Playing the finished file.")
        within(lambda: abs(clock(page) - 2.5) < 0.3)
        expect(page.locator("video")).to_have_attribute("src", re.compile("^api/tasks/file"))
        assert page.locator("video").evaluate("video => video.paused")
        assert_quiet(stage, seen, noted=(503, 409))  # 409: the task ended while the player asked for the next segment


@in_browser_thread
def test_watching_with_separate_sound(stage: Stage) -> None:
    """Sound with a playlist of its own is heard while it downloads, beside the picture."""
    needs.commands("ffmpeg")
    for track, only in (("v", "-an"), ("a", "-vn")):
        place = stage.source.directory / track
        place.mkdir(exist_ok=True)
        made = ["-i", str(stage.source.directory / "index.m3u8"), only, "-c", "copy", "-f", "hls", "-hls_time", "2"]
        made += [
            "-hls_playlist_type",
            "vod",
            "-hls_segment_filename",
            str(place / "%05d.ts"),
            str(place / "index.m3u8"),
        ]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *made], check=True)
    master = stage.source.directory / "master.m3u8"
    master.write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Sound",DEFAULT=YES,URI="a/index.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS="avc1.42c01e,mp4a.40.2",AUDIO="a"\nv/index.m3u8\n',
        "utf-8",
    )
    task_id = stage.service.add(stage.source.url("held").replace("index", "master"), "film")
    within(lambda: states(stage.service, task_id).startswith("ddd"))
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        expect(page.locator(".map")).to_have_count(2)
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 1)
        heard = "video => [video.webkitVideoDecodedByteCount, video.webkitAudioDecodedByteCount]"
        within(lambda: all(page.locator("video").evaluate(heard)))
        assert "下载中" == stage.service.task(task_id)["status"]
        assert_quiet(stage, seen)


@in_browser_thread
def test_watching_from_the_map(stage: Stage) -> None:
    """A cell of the map is a place in the film: pressing it plays from there, and the map says where one is."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    within(lambda: states(stage.service, task_id).startswith("ddd"))
    stage.source.let_through.add(9)
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        page.locator(".map").focus()
        page.keyboard.press("Home")
        for _ in range(9):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        within(lambda: clock(page) > 18)
        assert clock(page) < 20.5  # what follows is held back
        assert 10 == int(page.locator(".map").get_attribute("aria-valuenow") or 0)
        assert_quiet(stage, seen)


@in_browser_thread
def test_watching_past_a_segment_that_will_not_come(stage: Stage) -> None:
    """
    A segment of the list that turns out not to exist is left out, as a list loaded again leaves it out; one stays where
    one was, though what was let go before that is not in the new list, either.
    """
    stage.source.let_through.update(range(LAST))
    task_id = stage.service.add(stage.source.url("held"), "film")
    within(lambda: states(stage.service, task_id).startswith("d" * LAST))
    gone, refused = 13, []

    def media(route: Route) -> None:
        if f"segment={gone}" not in route.request.url:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=404)

    def listed(route: Route) -> None:
        text = route.fetch().text()
        for each in (1, 2, gone) if refused else ():
            text = re.sub(rf"#EXTINF:.*\n.*segment={each}\n", "#EXT-X-DISCONTINUITY\n", text)
        route.fulfill(body=text, content_type="application/vnd.apple.mpegurl")

    with stage.page() as (page, seen):
        page.route("**/api/tasks/media?*", media)
        page.route("**/api/tasks/play?*", listed)
        open_task(stage, page, task_id)
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 0.2)
        page.locator("video").evaluate(
            """(video, stop) => {
                video.addEventListener("timeupdate", () => { if (video.currentTime > stop) video.pause(); });
                video.currentTime = 17;
            }""",
            2 * (gone - 3) + 0.5,
        )
        within(lambda: clock(page) and refused)
        before = len(seen.requests)
        within(lambda: clock(page) > 2 * (gone - 3) + 0.5)  # in the new list what follows is 6 s earlier
        assert clock(page) < 2 * LAST - 4
        after = [re.search(r"segment=(\d+)", url) for url in seen.requests[before:]]
        assert min(int(each[1]) for each in after if each) > 6
        assert 1 == len(refused)
        expect(page.locator(".saying")).not_to_have_class(re.compile("error"))
        assert all("status of 404" in each for each in seen.complaints)


@in_browser_thread
def test_watching_to_the_end_of_what_is_no_file_for_browsers(stage: Stage) -> None:
    """Who watches while a .ts is finished, and comes to what is not kept, is told that the task is finished."""
    task_id = stage.service.add(stage.source.url("held"), "film", merger="ts")
    within(lambda: states(stage.service, task_id).startswith("ddd"))
    with stage.page() as (page, _seen):
        open_task(stage, page, task_id)
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 0.5)
        page.locator("video").evaluate("video => video.pause()")
        stage.source.release.set()
        stage.service.becomes(task_id, "已完成")
        expect(page.locator(".head .state")).to_have_text("Done")
        page.locator("video").evaluate(f"video => {{ video.currentTime = {2 * LAST} + 1; }}")
        expect(page.locator(".saying")).to_have_text(re.compile("^The task is finished and its segments are not kept"))
        expect(page.get_by_role("link", name="Download file")).to_be_visible()


@in_browser_thread
def test_watching_what_was_not_merged(stage: Stage) -> None:
    """A result that is a directory is no file to take away; its segments play, whatever it is called."""
    results = [{"no_merge_ts": True, "advanced": True}, {"merger": "none"}]
    made = [
        stage.service.add(stage.source.url("plain"), f"{number}.mp4", **each) for number, each in enumerate(results)
    ]
    with stage.page() as (page, seen):
        for task_id in made:
            stage.service.becomes(task_id, "已完成")
            open_task(stage, page, task_id)
            expect(page.locator(".head .state")).to_have_text("Done")
            expect(page.get_by_role("link", name="Download file")).to_have_count(0)
        open_task(stage, page, made[0])
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 0.5)
        assert not any("api/tasks/file" in url for url in seen.requests)
        assert_quiet(stage, seen)


@in_browser_thread
def test_what_is_kept_elsewhere_is_not_offered(stage: Stage) -> None:
    """A file that another storage keeps can neither be watched nor downloaded here."""
    task_id = stage.service.add(stage.source.url("plain"), "film")
    stage.service.becomes(task_id, "已完成")

    def told(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"output": "s3://films/film.mp4"})

    with stage.page() as (page, seen):
        page.route(f"**/api/tasks?id={task_id}", told)
        open_task(stage, page, task_id)
        expect(page.locator(".head .output")).to_have_text("s3://films/film.mp4")
        expect(page.locator(".map")).to_be_visible()
        expect(page.get_by_role("link", name="Download file")).to_have_count(0)
        expect(page.get_by_role("button", name="Watch")).to_have_count(0)
        assert_quiet(stage, seen)


@in_browser_thread
def test_watching_the_finished_file(stage: Stage) -> None:
    """The file plays by ranges, also from its middle, and can be taken away under its name."""
    task_id = stage.service.add(stage.source.url("plain"), "片 1")
    stage.service.becomes(task_id, "已完成")
    with stage.page(accept_downloads=True) as (page, seen):
        statuses: list[int] = []
        page.on("response", lambda each: statuses.append(each.status) if "api/tasks/file" in each.url else None)
        open_task(stage, page, task_id)
        page.get_by_role("button", name="Watch").click()
        within(lambda: clock(page) > 0.5)
        page.locator("video").evaluate("video => { video.currentTime = 25; }")
        within(lambda: clock(page) > 25.3)
        assert {206} == set(statuses)
        assert not any("vendor/hls" in url for url in seen.requests)
        page.get_by_role("button", name="Close the player").click()
        page.locator(".map").focus()
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        within(lambda: clock(page) >= 2 * LAST)
        page.get_by_role("button", name="Close the player").click()
        expect(page.locator("video")).to_have_count(0)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download file").click()
        assert "片 1.mp4" == download.value.suggested_filename
        assert (stage.service.saved / "片 1.mp4").read_bytes() == Path(download.value.path()).read_bytes()
        assert_quiet(stage, seen)


# -- What it shows ---------------------------------------------------------------------------------------------------


@in_browser_thread
def test_the_map_when_segments_stand_differently(stage: Stage) -> None:
    """Legend, cells and what is said of a cell are what the service says of the segments."""
    task_id = stage.service.add(stage.source.url("held"), "film", advanced=True, skip_ts_info="2")
    within(lambda: states(stage.service, task_id).startswith("dsd"))
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)

        def agree() -> bool:
            told = Counter(states(stage.service, task_id))
            return legend(page) == {name: told.get(letter, 0) for letter, name in NAMES.items()}

        within(agree)
        now = states(stage.service, task_id)
        names = {"d": "done", "f": "inflight", ".": "waiting", "x": "failed"}
        cells = {number: names[letter] for number, letter in enumerate(now) if letter in names}
        canvas = page.locator(".map")
        within(lambda: [*cells.values()] == canvas.evaluate(CELL, [*cells]))
        canvas.focus()
        page.keyboard.press("Home")
        assert f"Segment 1 of {SEGMENTS}: Done" == canvas.get_attribute("aria-valuetext")
        page.keyboard.press("PageDown")
        assert f"Segment 2 of {SEGMENTS}: Skipped" == canvas.get_attribute("aria-valuetext")
        page.keyboard.press("End")
        assert str(SEGMENTS) == canvas.get_attribute("aria-valuenow")
        canvas.click(position={"x": 2 * 16 + 6, "y": 6})
        expect(page.locator(".readout")).to_have_text(f"Segment 3 of {SEGMENTS}: Done")
        assert_quiet(stage, seen)


CELLS: list[tuple[str, int, str]] = [
    ("dd.f", 1, "d d . f"),
    ("dd..", 2, "d ."),
    ("d.", 2, "d/2"),
    ("dx", 2, "x"),
    ("df", 2, "f"),
    ("ss", 2, "s"),
    ("ds", 2, "d"),
    (".s", 2, "."),
    ("rddd", 4, "r"),
    ("rdddd", 5, "d"),
    ("ddd", 2, "d d"),
    ("?", 1, "."),
]


@in_browser_thread
def test_cells_for_several_segments(stage: Stage) -> None:
    """A cell for several shows what is worst, and how much is there; any number of segments fits the map."""
    with stage.page() as (page, _seen):
        page.goto(stage.service.base + "/")
        told = page.evaluate(
            """async cases => {
                const { cells } = await import("/static/segmentmap.js");
                return cases.map(([states, each]) => cells(states, each).map(
                    ({ letter, part }) => part < 1 ? `${letter}/${1 / part}` : letter).join(" "));
            }""",
            [[given, each] for given, each, _ in CELLS],
        )
        assert [expected for _, _, expected in CELLS] == told
        laid = page.evaluate("""async () => {
            const { layout } = await import("/static/segmentmap.js");
            return [1, 15, 498, 5000, 100000, 1000000].flatMap(
                total => [300, 1000].map(width => [total, width, layout(total, width)]));
        }""")
        for total, width, grid in laid:
            assert grid["columns"] * grid["rows"] * grid["each"] >= total
            assert grid["columns"] * grid["size"] <= width
            assert grid["rows"] * grid["size"] <= 150


@in_browser_thread
def test_a_map_of_a_hundred_thousand(stage: Stage) -> None:
    """A very long film has its map, its legend is exact, and the arrow keys go from cell to cell."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    letters = "d" * 60000 + "x" + "." * 39999
    track = {"kind": "video", "name": "", "total": len(letters), "states": letters}
    with stage.page() as (page, seen):
        page.route("**/api/tasks/segments?*", lambda route: route.fulfill(json={"tracks": [track], "groups": []}))
        open_task(stage, page, task_id)
        within(lambda: legend(page).get("Done") == 60000)
        assert (1, 39999) == (legend(page)["Failed or missing"], legend(page)["Waiting"])
        canvas = page.locator(".map")
        assert "100000" == canvas.get_attribute("aria-valuemax")
        canvas.focus()
        page.keyboard.press("Home")
        page.keyboard.press("PageDown")
        assert "60001" == canvas.get_attribute("aria-valuenow")
        assert "Failed or missing 1" in (canvas.get_attribute("aria-valuetext") or "")
        assert (canvas.bounding_box() or {})["height"] <= 150
        assert_quiet(stage, seen)


@in_browser_thread
def test_speed_hosts_and_log(stage: Stage) -> None:
    """While it downloads, the page shows how fast, from whom, and what happens; the log can be narrowed."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        expect(page.locator(".hosts td").first).to_have_text(f"127.0.0.1:{stage.source.server_port}")
        expect(page.locator(".hosts td").nth(1)).to_have_text(re.compile(r"^\s*\d+ of \d+"))
        within(lambda: len(points(page)) > 3 and len(set(points(page))) > 1)
        expect(page.locator(".speed figcaption")).to_have_text(re.compile(r"Most [\d.]+\s[KM]B/s"))
        page.locator(".log select").select_option("debug")
        expect(page.locator(".log li").first).to_be_visible()
        everything = page.locator(".log li").count()
        page.locator(".log select").select_option("error")
        expect(page.locator(".log .nothing")).to_be_visible()
        page.locator(".log select").select_option("debug")
        within(lambda: page.locator(".log li").count() >= everything)
        stage.source.release.set()
        stage.service.becomes(task_id, "已完成")
        expect(page.locator(".head .state")).to_have_text("Done")
        assert_quiet(stage, seen)


def points(page: Page) -> list[str]:
    """The heights of the speed's line."""
    if not page.locator(".speed .line").count():
        return []
    return [each.split(",")[1] for each in (page.locator(".speed .line").get_attribute("points") or "").split()]


@in_browser_thread
def test_what_went_wrong_and_what_to_do(stage: Stage) -> None:
    """A task that failed says why and what to do, and so does each incident, in the reader's language."""
    task_id = stage.service.add(stage.source.url("guarded"), "refused")
    stage.service.becomes(task_id, "失败")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        expect(page.locator(".head .notice")).to_contain_text("The server answered HTTP 401")
        expect(page.locator(".head .notice .todo")).to_contain_text("See whether the link has expired")
        page.click("#language")
        expect(page.locator(".head .notice")).to_contain_text("服务器返回 HTTP 401")
        incidents = [
            {"at": "2026-11-26T18:39:00Z", "code": "http_5xx", "text": "坏了", "text_en": "it broke", "segment": "7.ts"}
            | {"attempt": 3, "url": "https://a.example/7.ts", "count": 2, "advice": "等等", "advice_en": "wait"}
        ]

        def told(route: Route) -> None:
            route.fulfill(json=route.fetch().json() | {"incidents": incidents})

        page.route(f"**/api/tasks?id={task_id}", told)
        page.reload()
        expect(page.locator(".incidents .what")).to_have_text("坏了 连续 2 次")
        expect(page.locator(".incidents .todo")).to_have_text("等等")
        page.click("#language")
        expect(page.locator(".incidents .what")).to_have_text("it broke 2 times in a row")
        expect(page.locator(".incidents .todo")).to_have_text("wait")
        assert_quiet(stage, seen)


@in_browser_thread
def test_the_report(stage: Stage) -> None:
    """A finished task says whether it is complete, and names what is not there; a look at the file is one button."""
    url = playlist(stage, "gap.m3u8", "0", "1", "#EXT-X-GAP", "2", "3")
    whole = stage.service.add(stage.source.url("plain"), "whole")
    holed = stage.service.add(url, "holed", advanced=True, skip_ts_info="1")
    for each in (whole, holed):
        stage.service.becomes(each, "已完成")
    with stage.page() as (page, seen):
        open_task(stage, page, whole)
        page.locator(".report .read").click()
        expect(page.locator(".report .verdict")).to_have_text("Complete: nothing is missing")
        expect(page.locator(".report dd").nth(2)).to_have_text(f"{SEGMENTS} of {SEGMENTS}")
        page.locator(".report .verify").click()
        expect(page.locator(".report .buttons")).to_contain_text("The file is fine")
        open_task(stage, page, holed)
        expect(page.locator(".one h1")).to_have_text("holed")
        page.locator(".report .read").click()
        expect(page.locator(".report tbody tr")).to_have_count(2)
        expect(page.locator(".report tbody tr").first).to_contain_text("no. 1")
        assert_quiet(stage, seen)


# -- What can be done ------------------------------------------------------------------------------------------------


@in_browser_thread
def test_groups_dropped_and_merged_again(stage: Stage) -> None:
    """A group whose mark is taken away is not in the file that is made again."""
    url = playlist(stage, "groups.m3u8", *"012", "#EXT-X-DISCONTINUITY", *"34", "#EXT-X-DISCONTINUITY", *"5678")
    task_id = stage.service.add(url, "film")
    stage.service.becomes(task_id, "已完成")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        groups = page.locator(".groups")
        expect(groups.locator("tbody tr")).to_have_count(3)
        expect(groups.locator("tbody tr").nth(1)).to_contain_text("4–5")
        expect(groups.locator(".apply")).to_be_disabled()
        groups.get_by_label("Keep group 2").uncheck()
        groups.get_by_role("button", name="Merge again").click()
        within(lambda: stage.service.task(task_id)["groups"] == "1,3" and not stage.service.task(task_id)["again"])
        report = stage.service.ask("GET", f"/api/tasks?id={task_id}&report=true")
        assert [True, False, True] == [each["kept"] for each in report["groups"]]
        expect(groups.get_by_label("Keep group 2")).not_to_be_checked()
        expect(groups.locator(".apply")).to_be_disabled()
        assert "dddssdddd" == states(stage.service, task_id)
        assert_quiet(stage, seen)


@in_browser_thread
def test_pictures_of_groups(stage: Stage) -> None:
    """
    Each group shows what it is: of a task that runs as far as its segments are there, of a finished one out of its
    file; and one that is dropped then keeps its picture as long as the page is open, so that it can be brought back.
    """
    cut = (*"012", "#EXT-X-DISCONTINUITY", *"34", "#EXT-X-DISCONTINUITY", *"5678")
    url = playlist(stage, "pictured.m3u8", *cut)
    held = stage.service.add(url.replace("/plain/", "/held/"), "held")
    done = stage.service.add(url, "done")
    stage.service.becomes(done, "已完成")
    within(lambda: states(stage.service, held).startswith("ddd"))
    with stage.page() as (page, seen):
        open_task(stage, page, held)
        pictures = page.locator(".groups tbody img")
        expect(pictures).to_have_count(1)
        expect(pictures).to_have_attribute("alt", "Picture of group 1")
        within(lambda: drawn(pictures) == [(160, 90)])
        assert (96, 54) == size_of(page.locator(".groups tbody .frame").nth(2))
        open_task(stage, page, done)
        expect(page.locator(".one h1")).to_have_text("done")
        expect(pictures).to_have_count(3)
        within(lambda: drawn(pictures) == [(160, 90)] * 3)
        assert [(96, 54)] * 3 == [size_of(each) for each in pictures.all()]
        assert ["lazy"] * 3 == [each.get_attribute("loading") for each in pictures.all()]
        page.locator(".groups").get_by_label("Keep group 2").uncheck()
        page.locator(".groups").get_by_role("button", name="Merge again").click()
        within(lambda: [True, False, True] == [each["kept"] for each in groups_of(stage.service, done)])
        within(lambda: groups_of(stage.service, done)[1]["picture"] is None)
        expect(page.locator(".groups").get_by_label("Keep group 2")).not_to_be_checked()
        assert [(160, 90)] * 3 == drawn(pictures)
        page.click("#language")
        expect(pictures.first).to_have_attribute("alt", "第 1 组的画面")
        assert_quiet(stage, seen)


@in_browser_thread
def test_a_picture_stays_when_another_segment_is_offered(stage: Stage) -> None:
    """Only the segment in the middle takes the place of another; so nothing flickers while a film is made again."""
    cut = (*"012", "#EXT-X-DISCONTINUITY", *"345")
    task_id = stage.service.add(playlist(stage, "offered.m3u8", *cut), "film")
    stage.service.becomes(task_id, "已完成")
    offered: tuple[int | None, int | None] = (1, 5)

    def groups(route: Route) -> None:
        answer = route.fetch().json()
        for group, number in zip(answer["groups"], offered, strict=True):
            group["picture"] = number
        route.fulfill(json=answer)

    with stage.page() as (page, seen):
        page.route("**/api/tasks/segments?*", groups)
        open_task(stage, page, task_id)
        pictures = page.locator(".groups tbody img")
        expect(pictures.nth(0)).to_have_attribute("src", re.compile("segment=1$"))
        for now in ((2, None), (1, 4), (None, 6)):
            offered = now
            for _ in range(3):  # the answers before the last one are shown
                with page.expect_response("**/api/tasks/segments?*"):
                    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            expect(pictures.nth(0)).to_have_attribute("src", re.compile("segment=2$"))
            expect(pictures.nth(1)).to_have_attribute("src", re.compile("segment=5$"))
        page.unroute_all(behavior="ignoreErrors")
        assert_quiet(stage, seen)


@in_browser_thread
def test_a_picture_that_cannot_be_had(stage: Stage) -> None:
    """Another segment stands for the group; where none can be had the place stays empty, and as large as it was."""
    cut = (*"012", "#EXT-X-DISCONTINUITY", *"345")
    task_id = stage.service.add(playlist(stage, "unpictured.m3u8", *cut), "film")
    stage.service.becomes(task_id, "已完成")
    with stage.page() as (page, _seen):
        page.route(
            re.compile(r"api/tasks/picture\?.*segment=[2456]$"), lambda route: route.fulfill(status=404)
        )  # of 1 to 3 and 4 to 6
        open_task(stage, page, task_id)
        expect(page.locator(".groups tbody tr")).to_have_count(2)
        pictures = page.locator(".groups tbody img")
        expect(pictures).to_have_count(1)
        expect(pictures).to_have_attribute("src", re.compile("segment=1$"))
        within(lambda: drawn(pictures) == [(160, 90)])
        assert [(96, 54)] * 2 == [size_of(each) for each in page.locator(".groups .frame").all()]


@in_browser_thread
def test_a_picture_that_can_be_had_later(stage: Stage) -> None:
    """It is asked for again after a while."""
    cut = (*"012", "#EXT-X-DISCONTINUITY", *"345")
    task_id = stage.service.add(playlist(stage, "later.m3u8", *cut), "film")
    stage.service.becomes(task_id, "已完成")
    refused: set[str] = set()

    def refuse(route: Route) -> None:
        refused.add(route.request.url.rpartition("=")[2])
        route.fulfill(status=503)

    with stage.page() as (page, _seen):
        page.route("**/api/tasks/picture?*", refuse)
        open_task(stage, page, task_id)
        within(lambda: page.title() and refused == set("123456"))
        expect(page.locator(".groups tbody img")).to_have_count(0)
        page.unroute_all(behavior="wait")
        pictures = page.locator(".groups tbody img")
        within(lambda: drawn(pictures) == [(160, 90)] * 2)
        assert ["2", "5"] == [(each.get_attribute("src") or "")[-1] for each in pictures.all()]


@in_browser_thread
def test_a_better_picture_that_cannot_be_had(stage: Stage) -> None:
    """The one that was seen comes back."""
    cut = (*"012", "#EXT-X-DISCONTINUITY", *"345")
    task_id = stage.service.add(playlist(stage, "better.m3u8", *cut), "film")
    stage.service.becomes(task_id, "已完成")
    offered, refused = 6, []

    def groups(route: Route) -> None:
        answer = route.fetch().json()
        answer["groups"][1]["picture"] = offered
        route.fulfill(json=answer)

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=404)

    with stage.page() as (page, _seen):
        page.route("**/api/tasks/segments?*", groups)
        page.route("**/api/tasks/picture?*segment=5", refuse)
        open_task(stage, page, task_id)
        picture = page.locator(".groups tbody img").nth(1)
        expect(picture).to_have_attribute("src", re.compile("segment=6$"))
        within(lambda: drawn(picture) == [(160, 90)])
        offered = 5
        within(lambda: page.title() and refused)
        expect(picture).to_have_attribute("src", re.compile("segment=6$"))
        within(lambda: drawn(picture) == [(160, 90)])
        page.unroute_all(behavior="ignoreErrors")


def groups_of(service: Service, task_id: str) -> list[dict[str, Any]]:
    """As the API says."""
    found: list[dict[str, Any]] = service.ask("GET", f"/api/tasks/segments?id={task_id}")["groups"]
    return found


def drawn(pictures: Locator) -> list[tuple[int, int]]:
    """How large these pictures are by themselves; (0, 0) for one that is not there."""
    return [
        tuple(each) for each in pictures.evaluate_all("all => all.map(each => [each.naturalWidth, each.naturalHeight])")
    ]


def size_of(shown: Locator) -> tuple[int, int]:
    """How large it is on the page."""
    box = shown.bounding_box() or {}
    return round(box["width"]), round(box["height"])


@in_browser_thread
def test_buttons_of_a_task(stage: Stage) -> None:
    """Pause, go on, delete with and without the file: each does what it says; deleting asks first."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    done = stage.service.add(stage.source.url("plain"), "ready")
    stage.service.becomes(done, "已完成")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        press(page, "Pause")
        stage.service.becomes(task_id, "已暂停")
        expect(page.locator(".head .state")).to_have_text("Paused")
        press(page, "Resume")
        stage.service.becomes(task_id, "下载中")
        press(page, "Delete")
        page.locator("dialog").get_by_role("button", name="Cancel").click()
        assert 2 == len(stage.service.tasks())
        press(page, "Delete")
        page.locator("dialog").get_by_role("button", name="Delete the task").click()
        within(lambda: 1 == len(stage.service.tasks()))
        within(lambda: page.evaluate("location.hash") == "#/")
        open_task(stage, page, done)
        expect(page.locator(".one h1")).to_have_text("ready")
        press(page, "Delete")
        page.locator("dialog").get_by_role("button", name="Delete with its file").click()
        within(lambda: [] == stage.service.tasks())
        within(lambda: [] == list(stage.service.saved.glob("ready*")))
        late = [each for each in seen.complaints if "status of 404" in each]  # asked across the deletion
        for each in late:
            seen.complaints.remove(each)
        assert_quiet(stage, seen)


@in_browser_thread
def test_buttons_stay_where_they_are(stage: Stage) -> None:
    """A press that falls into a change of state meets the button that it was meant for."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        for language in ("en", "zh"):
            open_task(stage, page, task_id)
            tops = []
            delete = page.locator(".head button.remove")
            for button, state in (("pause", "paused"), ("resume", "running")):
                page.locator(f".head button.{button}").click()
                expect(page.locator(f".one .head.{state}")).to_be_visible()
                # A moment's figures are above them: how many lines they take is another matter.
                within(lambda: (page.locator(".head .numbers").bounding_box() or {})["height"] < 30)
                tops.append((delete.bounding_box() or {})["y"])
            assert max(tops) - min(tops) < 2
            page.click("#language")
            expect(page.locator("html")).to_have_attribute("lang", "zh-CN" if language == "en" else "en")
        assert_quiet(stage, seen)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 720, "height": 800}, {"width": 1280, "height": 720}])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@in_browser_thread
def test_buttons_stay_where_they_are_while_figures_change(stage: Stage, viewport: Any, locale: str) -> None:
    """A speed and a time left come and go while it downloads; the buttons below them do not move with that."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    left, segments = {"en-GB": ("1:02:03 left", "segments"), "zh-CN": ("剩余 1:02:03", "分片")}[locale]
    with stage.page(viewport=viewport, locale=locale) as (page, seen):
        open_task(stage, page, task_id)
        tops = page.locator(".head").evaluate(
            """(head, all) => {
                const numbers = head.querySelector(".numbers"), kept = [...numbers.childNodes];
                const tops = [["0%"], all].map(figures => {
                    numbers.replaceChildren(...figures.map(figure => {
                        const span = document.createElement("span");
                        span.textContent = figure;
                        return span;
                    }));
                    return head.querySelector(".remove").getBoundingClientRect().top;
                });
                numbers.replaceChildren(...kept);
                return tops;
            }""",
            ["99%", "123.45 MB/s", left, f"12345 / 23456 {segments}", "123.45 GB"],
        )
        assert tops[0] == tops[1]
        assert_quiet(stage, seen)


@in_browser_thread
def test_buttons_stay_what_they_are(stage: Stage) -> None:
    """Whatever comes and goes beside it, the element of a button is that button: with its focus, and half pressed."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        buttons = page.locator(".head .buttons > *")
        expect(page.locator(".head .watch")).to_be_enabled()
        places = page.locator(".head .pause").bounding_box()
        assert [] == turned(buttons)
        page.locator(".head .curl").focus()
        for status, state in 2 * (("已暂停", "paused"), ("等待中", "running")):
            stage.service.ask("PUT", f"/api/tasks?id={task_id}", {"status": status})
            expect(page.locator(f".one .head.{state}")).to_be_visible()
            assert [] == turned(buttons)
            expect(page.locator(".head .curl")).to_be_focused()
            watch, change = page.locator(".head .watch"), page.locator(".head").locator(".pause, .resume")
            assert watch.is_enabled() or state == "paused"
            assert (places or {})["x"] == (change.bounding_box() or {})["x"]
        assert_quiet(stage, seen)


def press(page: Page, name: str) -> None:
    """A button of the task's head."""
    page.locator(".head").get_by_role("button", name=name, exact=True).click()


@in_browser_thread
def test_settings_of_a_task(stage: Stage) -> None:
    """What was typed wrongly is said beside it and kept; what is right is stored, also another link."""
    task_id = stage.service.add(stage.source.url("held"), "film")
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        assert "A whole number from -100 to 100" == stored(page.locator("form.priority"), "1000")
        assert "Saved" == stored(page.locator("form.priority"), "-7")
        assert -7 == stage.service.task(task_id)["priority"]
        assert "0, or a whole number from 1" == stored(page.locator("form.limit"), "fast")
        assert "fast" == page.locator("form.limit input").input_value()
        assert "Saved" == stored(page.locator("form.limit"), "512")
        assert 512 * 1024 == stage.service.task(task_id)["limit_rate"]
        expect(page.locator("form.url")).to_have_count(0)
        press(page, "Pause")
        stage.service.becomes(task_id, "已暂停")
        expect(page.locator("form.url")).to_be_visible()
        assert "A link that begins with http:// or https://" == stored(page.locator("form.url"), "film.m3u8")
        assert "Saved" == stored(page.locator("form.url"), stage.source.url("plain"))
        assert stage.source.url("plain") == stage.service.task(task_id)["url"]
        assert_quiet(stage, seen)


def stored(form: Locator, value: str) -> str:
    """What the page says of this value once it has tried to store it."""
    form.locator("input").fill(value)
    form.locator("button").click()
    expect(form.locator("p")).to_have_text(re.compile("Saved|number|begins"))
    return form.locator("p").inner_text()


@in_browser_thread
def test_copied_as_curl(stage: Stage) -> None:
    """The command asks for what the task asks for; quotes in it harm no shell, and a proxy's password is masked."""
    headers = {"X-Note": ["it's $(me)"], "User-Agent": ["a"], "X-Empty": [""]}
    url = stage.source.url("held") + "?part=[1-3]{a,b}"
    proxy = {"proxy_type": "socks5", "proxy_host": "::1", "proxy_port": 9, "proxy_username": "u"}
    task_id = stage.service.add(
        url,
        "film",
        use_http_headers=True,
        http_headers=headers,
        advanced=True,
        allow_insecure_https=True,
        proxy_password="secret",
        **proxy,
    )
    stage.service.ask("PUT", f"/api/tasks?id={task_id}", PAUSE)
    with stage.page(permissions=["clipboard-read", "clipboard-write"]) as (page, seen):
        open_task(stage, page, task_id)
        press(page, "Copy as curl")
        expect(page.locator("#notice")).to_contain_text("Copied")
        command: str = page.evaluate("navigator.clipboard.readText()")
        read = ["sh", "-c", f"set -- {command}\nprintf '%s\\n' \"$@\""]
        words = subprocess.run(read, check=True, capture_output=True, text=True).stdout.splitlines()
        asked = ["curl", "-g", url, "-H", "X-Note: it's $(me)", "-H", "User-Agent: a", "-H", "X-Empty;", "-k"]
        assert [*asked, "-x", "socks5h://[::1]:9", "-U", "u:***"] == words
        read_again = stage.service.ask("POST", "/api/curl", {"command": command.replace("***", "secret")})
        assert (url, "::1", headers) == tuple(read_again[name] for name in ("url", "proxy_host", "http_headers"))
        assert_quiet(stage, seen)


@in_browser_thread
def test_nothing_to_copy_as_curl(stage: Stage) -> None:
    """A task that was given its playlist as a text has no link, and so no command."""
    text = (stage.source.directory / "index.m3u8").read_text("utf-8")
    task_id = stage.service.add("", "film", playlist=text, base_url=stage.source.url("held"))
    with stage.page() as (page, seen):
        open_task(stage, page, task_id)
        expect(page.locator(".head .remove")).to_be_visible()
        expect(page.locator(".head .curl")).to_have_count(0)
        assert_quiet(stage, seen)


@in_browser_thread
def test_a_task_that_is_not_there(stage: Stage) -> None:
    """An address of a task that was deleted says so, and leads back."""
    with stage.page() as (page, _seen):
        page.goto(f"{stage.service.base}/#/task/0123456789ab")
        expect(page.locator(".one .nothing")).to_have_text("There is no such task; perhaps it was deleted.")
        page.get_by_role("link", name="All tasks").click()
        within(lambda: page.evaluate("location.hash") == "#/")


# -- How it looks ----------------------------------------------------------------------------------------------------


@in_browser_thread
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_task_on_a_phone(stage: Stage, locale: str) -> None:
    """Nothing sticks out on a phone, however long names are, and every button can be hit."""
    task_id = stage.service.add(stage.source.url("held"), "a" * 150)
    within(lambda: states(stage.service, task_id).startswith("ddd"))
    with stage.page(viewport=PHONE, locale=locale, has_touch=True, is_mobile=True) as (page, seen):
        open_task(stage, page, task_id)
        expect(page.locator(".legend")).to_be_visible()
        expect(page.locator(".hosts tbody")).to_be_visible()
        assert PHONE["width"] == page.evaluate("document.documentElement.scrollWidth")
        boxes = [button.bounding_box() for button in page.locator(".one button:visible, .one a.button").all()]
        assert [] == [box for box in boxes if box is None or box["height"] < 36]
        assert_quiet(stage, seen)


@in_browser_thread
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_task_in_both_schemes(stage: Stage, scheme: str) -> None:
    """Light and dark, every text of the page stands out from its ground by 4.5:1 (WCAG AA)."""
    running = stage.service.add(stage.source.url("held"), "running")
    failed = stage.service.add(stage.source.url("guarded"), "refused")
    stage.service.becomes(failed, "失败")
    within(lambda: states(stage.service, running).startswith("ddd"))
    script = SHOWN_COLOURS.replace("h1,", "h1, h2, h3, small, p, dt, dd, td, th, li, b, summary, time, code,")
    with stage.page(color_scheme=scheme) as (page, _seen):
        for each in (running, failed):
            open_task(stage, page, each)
            expect(page.locator(".settings")).to_be_visible()
            shown: list[Any] = page.evaluate(script)
            assert len(shown) > 30
            faint = [one for one in shown if contrast(one[1], one[2]) < 4.5]
            assert [] == faint, json.dumps(faint)


@in_browser_thread
def test_task_in_both_languages(stage: Stage) -> None:
    """Every text of the two pages exists in Chinese and in English."""
    with stage.page() as (page, _seen):
        page.goto(stage.service.base + "/")
        names = page.evaluate("""async () => {
            const { TASK_TEXTS } = await import("/static/texts-task.js");
            const { TOOLS_TEXTS } = await import("/static/texts-tools.js");
            const below = value => typeof value !== "object" ? typeof value
                : Object.keys(value).sort().map(name => [name, below(value[name])]);
            return [TASK_TEXTS, TOOLS_TEXTS].map(texts => [below(texts.zh), below(texts.en)]);
        }""")
    for chinese, english in names:
        assert len(chinese) > 10
        assert chinese == english
