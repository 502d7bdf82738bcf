"""
The operator's side: the table ``[plugins.merge-ffmpeg]``. Pure.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any  # Any: what TOML can hold

import attrs

from m3u8svc.plugin import ConfigError
from m3u8svc_merge_ffmpeg.options import PRESETS

WHERE = "plugins.merge-ffmpeg"
MOST_CHILDREN = 16


@attrs.frozen(kw_only=True)
class FfmpegSettings:
    """
    `ffmpeg`: a name looked up on PATH, or an absolute path. `nice`: added to the service's own. `silence_s`: a program
    with work to do that does not move for so long is ended.
    """

    ffmpeg: str = "ffmpeg"
    nice: int = 5
    presets: tuple[str, ...] = tuple(PRESETS)
    max_children: int = 1
    silence_s: float = 120.0
    memory_mb: int = 4096


def parse_settings(config: Mapping[str, Any]) -> FfmpegSettings:
    """
    The settings, every key checked.

    Raises:
        ConfigError: a key is unknown, or a value cannot be used; it names the key, the value and what is allowed.
    """
    known = {field.name for field in attrs.fields(FfmpegSettings)}
    for key in config:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            raise _wrong(key, f"there is no such key{hint}")
    return FfmpegSettings(
        ffmpeg=_program(config.get("ffmpeg", "ffmpeg")),
        nice=_whole(config, "nice", 5, 0, 19),
        presets=_presets(config.get("presets", list(PRESETS))),
        max_children=_whole(config, "max_children", 1, 1, MOST_CHILDREN),
        silence_s=float(_whole(config, "silence_s", 120, 5, 3600)),
        memory_mb=_whole(config, "memory_mb", 4096, 256, 1 << 20),
    )


def _program(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong("ffmpeg", f"{value!r} is not a program: give a name on PATH or an absolute path")
    if os.sep in value and not os.path.isabs(value):
        raise _wrong("ffmpeg", f"{value!r} is a relative path: give a name on PATH or an absolute path")
    return value


def _whole(config: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(key, f"{value!r} is not a whole number from {least} to {most}")
    return value


def _presets(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong("presets", f"{value!r} is not a list of presets; known are {', '.join(PRESETS)}")
    for each in value:
        if not isinstance(each, str) or each not in PRESETS:
            near = difflib.get_close_matches(str(each), PRESETS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PRESETS)}"
            raise _wrong("presets", f"there is no preset {each!r}; {hint}")
    return tuple(dict.fromkeys(value))


def _wrong(key: str, reason: str) -> ConfigError:
    return ConfigError(where=f"{WHERE}.{key}", reason=reason)
