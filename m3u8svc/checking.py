"""
Finished files looked at once more: a child process with libav reads a file, and what it finds is compared with what the
file's report says (DESIGN 5.5). All blocking: the service does this in threads.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # Any: JSON values

from m3u8svc.errors import CannotVerify
from m3u8svc.tasks.task import CompanionFile

CHILD_MODULE = "m3u8svc.mux.check"
LONGEST_S = 3600.0
TOLERANCE_S = 0.5
TOLERANCE = 0.01
COUNTED = ("video", "audio")
_PART = re.compile(r"p([1-9][0-9]*)\.mp4")


class Checks:
    """
    The checks that run now.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

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
            raise CannotVerify(path=path, reason="不是文件")
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
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.kill()

    def _look(self, path: Path, *, decode: bool) -> dict[str, Any]:
        argv = [sys.executable, "-I", "-m", CHILD_MODULE, str(os.getpid())]
        order = json.dumps({"path": os.path.abspath(path), "decode": decode}).encode() + b"\n"
        with self._lock:
            if self._stopped:
                raise CannotVerify(path=path, reason="服务正在停止")
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
            )
            self._running.add(child)
        try:
            output, _ = child.communicate(order, timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            raise CannotVerify(path=path, reason=f"{LONGEST_S:.0f} 秒内没有结果") from None
        finally:
            child.kill()
            child.wait()
            with self._lock:
                self._running.discard(child)
        try:
            found: dict[str, Any] = json.loads(output)
        except ValueError:
            raise CannotVerify(path=path, reason=f"校验进程意外退出（{child.returncode}）") from None
        return found


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
