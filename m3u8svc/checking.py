"""
Finished files looked at once more: a child process with libav reads a file, and what it finds is compared with what the
file's report says (DESIGN 5.5). All blocking: the service does this in threads.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: JSON values

from m3u8svc.errors import CannotVerify

CHILD_MODULE = "m3u8svc.mux.check"
LONGEST_S = 3600.0
TOLERANCE_S = 0.5
TOLERANCE = 0.01


class Checks:
    """
    The checks that run now.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def check(self, path: Path, report: Mapping[str, Any] | None, *, decode: bool) -> dict[str, Any]:
        """
        What there is to say about the file, in JSON values; ``problems`` is empty if all is well. `report` is that of
        the file, without its segments.

        Raises:
            CannotVerify: there is no file, or it cannot be looked at.
        """
        if not path.is_file():
            raise CannotVerify(path=path, reason="不是文件")
        found = self._look(path, decode=decode)
        if report is not None:
            found["problems"] += differences(found, report)
            found["report"] = report["summary"]
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
