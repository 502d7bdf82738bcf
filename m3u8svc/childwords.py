"""
What a muxing child says, read as the words of somebody who may have been taken over by the media it reads: numbers that
are numbers, tracks of its job, texts of a bounded length without controls, and no name of a file but those that its
target gives. Pure.
"""

import math
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any  # Any: JSON values

from m3u8svc.hls.playlist import MAIN
from m3u8svc.offerings import Companion
from m3u8svc.redact import escape_controls
from m3u8svc.wording import Said

MOST = 1 << 53
TEXT_CHARACTERS = 500
MOST_COMPANIONS = 10_000
_SUFFIX_BYTES = 120
_MADE = re.compile(r"p[1-9][0-9]{0,3}|[1-9][0-9]{0,3}\.(vtt|srt)")
_SUFFIX = re.compile(r"(p[1-9][0-9]{0,3}\.)?([\w\-.]+\.(vtt|srt))|p[1-9][0-9]{0,3}\.mp4")
BEGIN_BYTES = 1 << 20
BYTES_A_PART = 16 << 10

Report = Mapping[str, Any]
"""One line, an object with an ``ev``."""


class Nonsense(ValueError):
    """
    Nothing that a child of ours would say.
    """


def most_bytes(parts: int) -> int:
    """
    How much a child may say in all that was fed so many parts.
    """
    return BEGIN_BYTES + BYTES_A_PART * parts


def whole(report: Report, name: str, default: int | None = None) -> int:
    """
    A whole number that is not negative.
    """
    value = report.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise Nonsense(f"{name} {value!r}")
    return value


def seconds(report: Report, name: str) -> float:
    """
    A finite number.
    """
    value = report.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise Nonsense(f"{name} {value!r}")
    return float(value)


def track_of(report: Report, tracks: Collection[str]) -> str:
    """
    A track of the job.
    """
    track = report.get("track", MAIN)
    if not isinstance(track, str) or track not in tracks:
        raise Nonsense(f"track {track!r}")
    return track


def text(report: Report, name: str) -> str:
    """
    A text for people.
    """
    value = report.get(name)
    if not isinstance(value, str):
        raise Nonsense(f"{name} {value!r}")
    return escape_controls(value[:TEXT_CHARACTERS])


def said_of(report: Report, name: str) -> Said:
    """
    A text for people in both languages; a report without the English has one text for both.
    """
    zh = text(report, name)
    return Said(zh, text(report, f"{name}_en") if f"{name}_en" in report else zh)


def companions_of(report: Report, target: Path) -> tuple[Companion, ...]:
    """
    Files beside the target: only those whose name is the target's with something behind it, so that nobody else's file
    is ever published, and only under names that stay beside the result.
    """
    said = report.get("companions", ())
    if not isinstance(said, list | tuple) or len(said) > MOST_COMPANIONS:
        raise Nonsense(f"companions {said!r}")
    return tuple(_companion(each, os.path.abspath(target)) for each in said)


def _companion(said: Any, target: str) -> Companion:
    if not isinstance(said, dict):
        raise Nonsense(f"companion {said!r}")
    path, suffix = said.get("path"), said.get("suffix")
    if not isinstance(path, str) or not isinstance(suffix, str):
        raise Nonsense(f"companion {said!r}")
    behind = path.removeprefix(f"{target}.")
    if behind == path or _MADE.fullmatch(behind) is None:
        raise Nonsense(f"companion at {path!r}")
    if _SUFFIX.fullmatch(suffix) is None or len(os.fsencode(suffix)) > _SUFFIX_BYTES or ".." in suffix:
        raise Nonsense(f"companion named {suffix!r}")
    return Companion(path=Path(path), suffix=suffix)


def details_of(report: Report) -> dict[str, Any]:
    """
    What is told of tracks: an object.
    """
    value = report.get("details", {})
    if not isinstance(value, dict):
        raise Nonsense(f"details {value!r}")
    return value
