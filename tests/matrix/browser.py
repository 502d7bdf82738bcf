"""
Whether Chromium plays an MP4: to its end, every frame, at its size, with the sound in step.

Sound and picture share one clock in a browser, that of the sound. So what is heard is recorded, and beeps must be as
far apart there as the frames they belong to are in the file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.matrix.check import JOINT_S, group_starts
from tests.matrix.look import decode
from tests.matrix.streams import SAMPLES_PER_FRAME, Stream

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
).split()
PAGE = Path(__file__).with_name("player.html")
AT_ONCE = (6, 3, 1)
"""How many files play at the same time. A machine that is busy elsewhere interrupts the sound: what fails is played
again, among fewer."""
EVEN_S = 0.002


class Player:
    """
    A page of Chromium that plays what is below `base`. Playwright's calls are made in a thread of its own.
    """

    def __init__(self, base: str, page: Page, submit: Callable[..., Any]) -> None:
        self._base = base
        self._page = page
        self._submit = submit

    def check(self, results: Mapping[Stream, Path], paths: Mapping[Stream, str]) -> dict[Stream, list[str]]:
        """Play each of these; what is wrong with it. `paths` are where the server has them."""
        problems: dict[Stream, list[str]] = {}
        left = list(results)
        for at_once in AT_ONCE:
            for first in range(0, len(left), at_once):
                some = left[first : first + at_once]
                seen = self._submit(self._play, [self._base + paths[stream] for stream in some]).result()
                problems |= {
                    stream: list(judge(results[stream], stream, each)) for stream, each in zip(some, seen, strict=True)
                }
            left = [stream for stream in left if problems[stream]]
        return problems

    def _play(self, urls: Sequence[str]) -> list[dict[str, Any]]:
        played: list[dict[str, Any]] = self._page.evaluate("urls => Promise.all(urls.map(play))", urls)
        return played


def judge(media: Path, stream: Stream, seen: Mapping[str, Any]) -> Iterator[str]:
    """
    What is wrong with what a player saw and heard of a file.
    """
    if seen["error"]:
        yield f"Chromium: {seen['error']}"
        return
    picture, _ = decode(media)
    starts = [each.at for each in group_starts(picture, stream.spans)]
    if len(picture.frames) != seen["decoded"]:
        yield f"Chromium decoded {seen['decoded']} frames instead of {len(picture.frames)}"
    if abs(seen["ended"] - seen["duration"]) > EVEN_S:
        yield f"Chromium ends at {seen['ended']:.3f} s of {seen['duration']:.3f} s"
    if abs(seen["duration"] - starts[-1] - stream.spans[-1].seconds) > JOINT_S:
        yield f"to Chromium it lasts {seen['duration']:.3f} s"
    sizes = [span.size for span in stream.spans for _ in span.frames]
    for time, *size in seen["shown"]:
        near = min(range(len(picture.times)), key=lambda number: abs(picture.times[number] - time))
        if abs(picture.times[near] - time) > EVEN_S:
            yield f"Chromium shows a frame at {time:.3f} s, where there is none"
        elif tuple(size) != sizes[near]:
            yield f"Chromium shows frame {near} at {size} instead of {sizes[near]}"
    if {tuple(size) for _, *size in seen["shown"]} != set(sizes):
        yield "Chromium never shows one of the sizes"
    yield from _judge_sound(stream, starts, seen["beeps"])


def _judge_sound(stream: Stream, starts: Sequence[float], beeps: Sequence[float]) -> Iterator[str]:
    """The first language is what a player plays by itself."""
    expected = [
        start + beep
        for start, span in zip(starts, stream.spans, strict=True)
        for beep in (span.sounds[0].beeps if span.sounds else ())
    ]
    if len(expected) != len(beeps):
        yield f"Chromium sounds {len(beeps)} beeps instead of {len(expected)}"
        return
    frame_s = SAMPLES_PER_FRAME[stream.row.audio] / 48_000
    late = [(there - beeps[0]) - (beep - expected[0]) for there, beep in zip(beeps, expected, strict=True)]
    worst = max(range(len(late)), key=lambda number: abs(late[number]))
    if abs(late[worst]) > frame_s:
        yield f"Chromium sounds beep {worst} {late[worst] * 1000:+.0f} ms late, against the first"


@contextmanager
def player(root: Path, base: str) -> Iterator[Player]:
    """
    A Chromium with the page open, which it has from the server over `root` at `base`.
    """
    (root / PAGE.name).write_bytes(PAGE.read_bytes())
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="chromium") as thread:
        driver = thread.submit(lambda: sync_playwright().start()).result()
        try:
            page = thread.submit(_open, driver, f"{base}/{PAGE.name}").result()
            yield Player(base, page, thread.submit)
        finally:
            thread.submit(driver.stop).result()


def _open(driver: Any, url: str) -> Page:  # Any: Playwright's driver has no public type for its synchronous half
    browser = driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS)
    page: Page = browser.new_page()
    page.goto(url)
    return page
