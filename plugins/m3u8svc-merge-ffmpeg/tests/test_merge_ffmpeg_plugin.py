"""
The plugin as the service meets it: through its entry point.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.plugin import NotConfigured, OptionError


def plugin() -> Any:
    """A new plugin from the installed distribution."""
    (found,) = entry_points(group="m3u8svc", name="merge-ffmpeg")
    return found.load()()


def test_the_entry_point_offers_the_merger(bench: Any, streams: Any) -> None:
    """Installed and configured, it offers "ffmpeg" and judges options by what this ffmpeg can do."""
    loaded = plugin()
    loaded.configure(config={"presets": ["copy"]}, services=bench.services())
    (merger,) = loaded.register_mergers()
    assert "ffmpeg" == merger.name
    assert ".mp4" == merger.extension(bench.job(format="mp4").task)
    loaded.check_options(options={"format": "mkv"})
    with pytest.raises(OptionError) as caught:
        loaded.check_options(options={"preset": "h264-720p"})
    assert "配置（presets）未允许" in caught.value.text()
    assert "“h264-720p” cannot be used: the configuration (presets) does not allow it" in caught.value.text("en")


@pytest.mark.parametrize("named", ["no-such-ffmpeg", "/nowhere/ffmpeg"])
def test_without_the_program_it_is_off(bench: Any, named: str) -> None:
    """A missing ffmpeg is named, with what to do; the service starts without the plugin."""
    with pytest.raises(NotConfigured) as caught:
        plugin().configure(config={"ffmpeg": named}, services=bench.services())
    assert f"there is no program {named!r}" in caught.value.text("en")
    assert "install ffmpeg" in caught.value.text("en")


@pytest.mark.parametrize(("body", "words"), [("echo hello", "does not answer as ffmpeg does"), ("exit 3", "cannot be")])
def test_another_program_of_that_name_is_not_used(bench: Any, tmp_path: Path, body: str, words: str) -> None:
    """A program that is no ffmpeg, or a broken one, leaves the plugin off."""
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    with pytest.raises(NotConfigured) as caught:
        plugin().configure(config={"ffmpeg": str(program)}, services=bench.services())
    assert words in caught.value.text("en")


def test_without_encoders_presets_are_refused(bench: Any, tmp_path: Path) -> None:
    """An ffmpeg built without an encoder says so for each preset that needs it."""
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\n[ "$2" = -version ] && echo "ffmpeg version 9" || echo " A..... aac  AAC"\n')
    program.chmod(0o755)
    loaded = plugin()
    loaded.configure(config={"ffmpeg": str(program)}, services=bench.services())
    loaded.check_options(options={"format": "m4a", "preset": "audio-aac-128"})
    with pytest.raises(OptionError) as caught:
        loaded.check_options(options={"preset": "h264-720p"})
    assert "此 ffmpeg 没有编码器 libx264" in caught.value.text()
    assert "“h264-720p” cannot be used: this ffmpeg has no encoder libx264" in caught.value.text("en")
