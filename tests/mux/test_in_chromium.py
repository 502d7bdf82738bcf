"""
Holes in the sound as Chromium plays them: it takes the sound for continuous and its clock for the film's.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from playwright.sync_api import Route, sync_playwright

from tests.integration.browser import ARGUMENTS, CHROMIUM
from tests.mux.conftest import AAC, X264, Outcome, Streams, gap
from tests.needs import lacking

Mux = Callable[..., Outcome]

BASE = "http://127.0.0.1:9/"
"""Nobody listens there: every request is answered by us."""
PAGE = """<!doctype html><link rel=icon href="data:,"><script>
async function play() {
  const context = new AudioContext({sampleRate: 48000});
  const code = `registerProcessor("ear", class extends AudioWorkletProcessor {
    process([input]) {
      if (input.length) this.port.postMessage([currentFrame, input[0].slice()]);
      return true;
    }
  })`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
  const ear = new AudioWorkletNode(context, "ear");
  const beeps = [];
  let loudUntil = -Infinity;
  ear.port.onmessage = ({data: [frame, samples]}) => samples.forEach((sample, index) => {
    if (sample < 0.1) return;
    const at = (frame + index) / context.sampleRate;
    if (at - loudUntil > 0.2) beeps.push(at);
    loudUntil = at;
  });
  const video = document.createElement("video");
  context.createMediaElementSource(video).connect(ear);
  ear.connect(context.destination);
  document.body.append(video);
  await new Promise((resolve, reject) => {
    video.onended = resolve;
    video.onerror = () => reject(new Error(video.error.message));
    video.src = "film.mp4";
    video.play().catch(reject);
  });
  return {duration: video.duration, frames: video.getVideoPlaybackQuality().totalVideoFrames, beeps};
}
</script><body>"""
BEEPS = "aevalsrc='0.6*sin(2*PI*880*t)*between(mod(t,1),0.4,0.5)':s=44100"
"""One a second."""


def played(film: Path) -> dict[str, Any]:  # Any: JSON
    """What Chromium says of a film that it plays to its end, and when beeps were heard."""

    def answer(route: Route) -> None:
        if route.request.url.endswith(".mp4"):
            route.fulfill(body=film.read_bytes(), content_type="video/mp4")
        else:
            route.fulfill(body=PAGE, content_type="text/html")

    def watch() -> dict[str, Any]:
        with sync_playwright() as driver:
            arguments = [each.replace("&", " ") for each in ARGUMENTS.split()]
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=arguments)
            page = browser.new_page()
            page.set_default_timeout(40_000)
            page.route("**/*", answer)
            page.goto(BASE)
            seen: dict[str, Any] = json.loads(page.evaluate("play().then(JSON.stringify)"))
            browser.close()
            return seen

    with ThreadPoolExecutor(max_workers=1) as thread:  # Playwright wants one without an event loop
        return thread.submit(watch).result()


@pytest.fixture(autouse=True)
def chromium() -> None:
    """These tests are nothing without it."""
    if not CHROMIUM.exists():
        lacking(f"{CHROMIUM}: apt-get install chromium")


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_sound_behind_a_kept_hole_is_in_step(layout: str, streams: Streams, mux: Mux) -> None:
    """What is heard after it is as far behind what was heard before as the film has it."""
    codec = (*AAC, "-ac", {"mono": "1", "stereo": "2"}[layout])
    film = streams.get(f"beeps-{layout}", seconds=8, audio=BEEPS, audio_codec=codec)
    orders = film.orders()
    orders[3:5] = [gap(4, keep=True), gap(5, keep=True)]
    seen = played(mux(orders).target)
    assert (pytest.approx(8.0, abs=0.1), 150) == (seen["duration"], seen["frames"])
    first = seen["beeps"][0]
    assert pytest.approx([0, 1, 2, 5, 6, 7], abs=0.03) == [beep - first for beep in seen["beeps"]]


def test_film_that_begins_without_a_key_frame(streams: Streams, mux: Mux) -> None:
    """It plays, from the first key frame on; with the pictures before it Chromium refuses the whole file."""
    halves = ("-hls_time", "0.45", "-hls_flags", "split_by_time")
    film = streams.get("beeps-halves", seconds=4, audio=BEEPS, video_codec=X264, hls=halves)
    late = attrs.evolve(film, segments=film.segments[1:], durations_s=film.durations_s[1:])
    assert 75 == played(mux(late.orders()).target)["frames"]
