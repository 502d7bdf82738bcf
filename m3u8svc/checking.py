"""
Finished files looked at once more: a child process with libav reads a file, and what it finds is compared with what the
file's report says (DESIGN 5.5). All blocking: the service does this in threads.
"""

import itertools
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any  # Any: JSON values

from m3u8svc.errands import Errands, Stopping
from m3u8svc.errors import CannotVerify
from m3u8svc.reins import BEGIN_BYTES, BEGIN_S, Allowance
from m3u8svc.sandbox.level import Box, read_box
from m3u8svc.tasks.task import CompanionFile
from m3u8svc.wording import Said

CHILD_MODULE = "m3u8svc.mux.check"
LONGEST_S = 3600.0
MOST_ANSWER_BYTES = 8 << 20
MOST_WORD = 100
READ_A_SECOND = 2 << 20
"""One second of processor time for so many bytes: sound has many small packets."""
TOLERANCE_S = 0.5
TOLERANCE = 0.01
COUNTED = ("video", "audio")
_PART = re.compile(r"p([1-9][0-9]*)\.mp4")


class Checks:
    """
    The checks that run now.
    """

    def __init__(self, boxed: Callable[[Box], None] = lambda box: None) -> None:
        """
        Args:
            boxed: told of the box of every child, in the thread of its caller.
        """
        self._boxed = boxed
        self._errands = Errands()

    def check(
        self, path: Path, report: Mapping[str, Any] | None, *, decode: bool, parts: Sequence[Path] = ()
    ) -> dict[str, Any]:
        """
        What there is to say about the file and the further `parts` of a split result, in JSON values; ``problems`` is
        empty if all is well. `report` is that of the result, without its segments.

        Raises:
            CannotVerify: there is no file, or one cannot be looked at.
        """
        if not path.is_file():
            raise CannotVerify(path=path, reason=Said("不是文件", "it is no file"))
        found = self._look(path, decode=decode)
        if report is not None:
            found["problems"] += differences(found, report)
            found["report"] = report["summary"]
        if parts:
            found["problems"] = [{"file": path.name, **each} for each in found["problems"]]
            found["parts"] = []
        for part in parts:
            if not part.is_file():
                found["problems"].append({"file": part.name, "code": "missing"})
                continue
            one = self._look(part, decode=decode)
            found["problems"] += [{"file": part.name, **each} for each in one.pop("problems")]
            found["parts"].append({"file": str(part), **one})
        if report is not None and not {"broken", "missing"} & {each["code"] for each in found["problems"]}:
            found["problems"] += lacks([found, *found.get("parts", ())], report)
        return {"ok": not found["problems"], **found}

    def stop(self) -> None:
        """
        End them all; their callers get an error.
        """
        self._errands.stop()

    def _look(self, path: Path, *, decode: bool) -> dict[str, Any]:
        order = json.dumps({"path": os.path.abspath(path), "decode": decode}).encode() + b"\n"
        try:
            ended = self._errands.run(
                CHILD_MODULE,
                order,
                _allowance(path, decode=decode),
                longest_s=LONGEST_S,
                most_bytes=MOST_ANSWER_BYTES,
            )
        except Stopping:
            raise CannotVerify(path=path, reason=Said("服务正在停止", "the service is stopping")) from None
        if ended.late:
            raise CannotVerify(
                path=path, reason=Said(f"{LONGEST_S:.0f} 秒内没有结果", f"no result within {LONGEST_S:.0f} s")
            )
        try:
            found = looked_at(json.loads(ended.output))
            self._boxed(read_box(found.pop("box"), ended.unheld))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CannotVerify(
                path=path,
                reason=Said(
                    f"校验进程意外退出（{ended.status}）",
                    f"the process that checks it ended unexpectedly ({ended.status})",
                ),
            ) from None
        return found


def looked_at(found: Any) -> dict[str, Any]:
    """
    An answer whose values are what they should be: the child may have been taken over by the file. Pure.

    Raises:
        ValueError, TypeError, KeyError: it is nonsense.
    """
    numbers = [found["size"], found["duration_s"], *(track["samples"] for track in found["tracks"])]
    if not all(isinstance(each, int | float) and math.isfinite(each) and each >= 0 for each in numbers):
        raise ValueError(f"numbers {numbers!r}")
    words = [*(each["code"] for each in found["problems"]), *(track["kind"] for track in found["tracks"])]
    if not all(isinstance(each, str) and len(each) <= MOST_WORD for each in words):
        raise ValueError(f"words {words!r}")
    known: dict[str, Any] = found
    return known


def _allowance(path: Path, *, decode: bool) -> Allowance:
    """Reading a file takes as long as it is large; to decode it may take all the time there is, on every processor."""
    cpu_s = LONGEST_S * (os.cpu_count() or 1) if decode else BEGIN_S + path.stat().st_size / READ_A_SECOND
    return Allowance(cpu_s=cpu_s, file_bytes=BEGIN_BYTES)


def differences(found: Mapping[str, Any], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Where a file is not what its report says. Pure.
    """
    result = report["result"]
    problems: list[dict[str, Any]] = []
    if result["size"] != found["size"]:
        problems.append({"code": "size", "expected": result["size"], "got": found["size"]})
    said_s = result.get("duration_s")
    if said_s is not None and abs(said_s - found["duration_s"]) > max(TOLERANCE_S, TOLERANCE * said_s):
        problems.append({"code": "duration", "expected": said_s, "got": found["duration_s"]})
    return problems


def lacks(files: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    What the files of a result together hold less than its report says: so a last part that is gone is missed. Pure.
    """
    got: Counter[str] = Counter()
    for track in itertools.chain(*(file["tracks"] for file in files)):
        got[track["kind"]] += track["samples"]
    said, dropped = packets_said(report)
    # libav queues packets, so one that was dropped may be counted for another track (see mux/job.py).
    return [
        {"code": "fewer", "kind": kind, "expected": expected, "got": got[kind]}
        for kind, expected in said.items()
        if got[kind] < expected - dropped
    ]


def packets_said(report: Mapping[str, Any]) -> tuple[Counter[str], int]:
    """
    How many packets of picture and sound a report says that the result has, over all its files, and how many were
    dropped. Pure.
    """
    said: Counter[str] = Counter()
    dropped = 0
    for stream in itertools.chain(*(track["streams"] for track in report.get("tracks", ()))):
        if stream.get("kind") in COUNTED:  # a plugin's merger may say less of its streams, or nothing
            said[stream["kind"]] += stream.get("packets", 0)
            dropped += stream.get("dropped", 0)
    return said, dropped


def parts_published(path: Path, companions: Sequence[CompanionFile]) -> list[Path]:
    """
    The further parts of a task's result, up to the last one known; where they should be, if they are not known. Pure.
    """
    known = {
        int(match[1]): Path(each.output) for each in companions if (match := _PART.fullmatch(each.suffix)) is not None
    }
    return [known.get(number, _part(path, number)) for number in range(2, max(known, default=1) + 1)]


def parts_beside(path: Path) -> list[Path]:
    """
    The further parts beside a file, and one that is not there though the next is. Blocking.
    """
    numbers = itertools.takewhile(
        lambda number: _part(path, number).exists() or _part(path, number + 1).exists(), itertools.count(2)
    )
    return [_part(path, number) for number in numbers]


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.p{number}.mp4")
