"""
How to test a plugin: three lines for each kind of hook. `Harness` is a service without sockets, threads or waiting.
"""

import importlib.metadata
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from m3u8svc_example import NAME, Plugin

from m3u8svc.plugin import ConfigError, OptionError, Purpose, Request, Status
from m3u8svc.testing.harness import Harness, ts_segment
from m3u8svc.testing.playlists import KeyLine, SegmentLine, VariantLine, master_playlist

# -- own -------------------------------------------------------------------------------------------------------------


def test_entry_point_is_the_plugin(tmp_path: Path) -> None:
    """Installed, the service finds it, and starts it without any configuration."""
    (point,) = importlib.metadata.entry_points(group="m3u8svc", name=NAME)
    harness = Harness(point.load()(), tmp_path, name=NAME)
    assert "active" == harness.status.state.value


def test_configuration_wrong_stops_the_start(tmp_path: Path) -> None:
    """The operator reads which key is wrong."""
    with pytest.raises(ConfigError, match=f"plugins.{NAME}.max_hieght: .* did you mean max_height"):
        Harness(Plugin(), tmp_path, name=NAME, config={"max_hieght": 720})


def test_option_wrong_is_refused(tmp_path: Path) -> None:
    """Whoever asks reads which option is wrong."""
    harness = Harness(Plugin(), tmp_path, name=NAME)
    with pytest.raises(OptionError, match=f"plugins.{NAME}.skip_first_s"):
        harness.check_options({"skip_first_s": "ten"})


def test_close_lets_go_of_the_journal(tmp_path: Path) -> None:
    """The service stops: the file is closed, and nothing is written any more."""
    harness = Harness(Plugin(), tmp_path, name=NAME)
    harness.serve_stream("/list.m3u8", segments=1)
    harness.close()
    harness.download("/list.m3u8")
    assert "" == (tmp_path / "state" / NAME / "journal.jsonl").read_text()


# -- offer -----------------------------------------------------------------------------------------------------------


def test_merger_lists_the_segments(tmp_path: Path) -> None:
    """Asked for by its name, it makes a text of what was downloaded and what was not."""
    harness = Harness(Plugin(), tmp_path, name=NAME)
    harness.serve_stream("/list.m3u8", segments=3)
    run = harness.download("/list.m3u8", merger="list", plugins={NAME: {"skip_first_s": 6}})
    assert run.location.endswith("film.txt")
    assert run.output is not None
    assert [
        "00001\t6.000 s\t-\t片头：按请求去掉前 6 秒",
        "00002\t6.000 s\t1504 bytes\tts",
        "00003\t6.000 s\t1504 bytes\tts",
    ] == run.output.decode().splitlines()


# -- ask -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [({}, {}, "/high.m3u8"), ({"max_height": 720}, {}, "/middle.m3u8"), ({}, {"max_height": 100}, "/low.m3u8")],
)
def test_variant_is_not_higher_than_allowed(
    tmp_path: Path, config: dict[str, int], options: dict[str, int], expected: str
) -> None:
    """The request limits the height, else the configuration, else nobody."""
    harness = Harness(Plugin(), tmp_path, name=NAME, config=config)
    heights = {"low": 360, "middle": 720, "high": 1080}
    lines = [VariantLine(uri=f"{name}.m3u8", bandwidth=each, resolution=(640, each)) for name, each in heights.items()]
    harness.serve("/master.m3u8", master_playlist(lines))
    for name in heights:
        harness.serve_stream(f"/{name}.m3u8", segments=1)
    run = harness.download("/master.m3u8", plugins={NAME: options})
    assert expected == run.requests[1]


def test_key_from_the_configuration_is_used_and_not_fetched(tmp_path: Path) -> None:
    """A key that the operator has need not be served by anybody."""
    url, key = "https://keys.test/film.key", bytes(range(16))
    harness = Harness(Plugin(), tmp_path, name=NAME, config={"keys": {url: key.hex()}})
    harness.serve_stream("/list.m3u8", segments=[SegmentLine(uri="a.ts", keys=(KeyLine(uri=url, iv="0x0"),))])
    harness.serve("/a.ts", encrypted(ts_segment("a.ts"), key))
    run = harness.download("/list.m3u8")
    assert (ts_segment("a.ts"), ("/list.m3u8", "/a.ts")) == (run.output, run.requests)


def encrypted(plain: bytes, key: bytes) -> bytes:
    """AES-128-CBC as HLS has it, with an IV of zeros."""
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


# -- union -----------------------------------------------------------------------------------------------------------


def test_beginning_is_skipped_and_named(tmp_path: Path) -> None:
    """What is left out is not fetched, and the task says why."""
    harness = Harness(Plugin(), tmp_path, name=NAME)
    harness.serve_stream("/list.m3u8", segments=3)
    run = harness.download("/list.m3u8", plugins={NAME: {"skip_first_s": 12}})
    assert ("/list.m3u8", "/seg00003.ts") == run.requests
    assert "片头：按请求去掉前 12 秒" in run.warnings[0]


# -- pipeline --------------------------------------------------------------------------------------------------------


def test_header_is_added_to_every_request(tmp_path: Path) -> None:
    """Playlists and segments carry it, with the value the task gives it if it has one."""
    harness = Harness(Plugin(), tmp_path, name=NAME, config={"headers": {"X-Client": "nas"}})
    harness.serve_stream("/list.m3u8", segments=2)
    harness.download("/list.m3u8")
    harness.download("/list.m3u8", filename="second", headers={"X-Client": ["desk"]})
    assert ["nas"] * 3 + ["desk"] * 3 == [sent["X-Client"] for sent in harness.origin.sent]


def test_header_of_the_task_stays(tmp_path: Path) -> None:
    """Hooks may be called directly, once the harness has configured the plugin. None: no change."""
    plugin = Plugin()
    Harness(plugin, tmp_path, name=NAME, config={"headers": {"X-Client": "nas"}})
    request = Request(url="http://x/", purpose=Purpose.SEGMENT, headers=(("x-client", "desk"),))
    assert plugin.prepare_request(request=request) is None


# -- tell ------------------------------------------------------------------------------------------------------------


def test_finished_tasks_are_written_down(tmp_path: Path) -> None:
    """A line for each, with what became of its segments."""
    harness = Harness(Plugin(), tmp_path, name=NAME)
    harness.serve_stream("/list.m3u8", segments=3)
    run = harness.download("/list.m3u8")
    harness.download("/missing.m3u8", filename="missing")
    lines = (tmp_path / "state" / NAME / "journal.jsonl").read_text().splitlines()
    good, bad = map(json.loads, lines)
    assert run.status is Status.COMPLETED
    assert ("completed", {"done": 3}, run.location) == (good["status"], good["segments"], good["result"])
    assert ("failed", "missing", {}) == (bad["status"], bad["name"], bad["segments"])
