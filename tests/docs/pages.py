"""
The examples of a page, typed as they stand there: one shell for the whole page, in a directory of its own.

A block of ``sh`` is run, and must end well. A block of ``text`` right behind it is what the one before printed, line by
line (what goes to stderr apart) and without regard to spaces at the ends and between the words; ``…`` stands for
anything, and a line of only that for any lines. ``<!-- not run: reason -->`` right before a block says why it is not
run, and only for reasons of `REASONS`. What must be another's on the machine of a test (a port, an address) is
replaced, and must be there.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import attrs

from tests.integration.nginx_server import free_ports

ROOT = Path(__file__).parents[2]
REASONS = {".ci/run installs", "needs the right to change the system", "another program's"}
ENDS_WITHIN_S = 240.0
_BLOCK = re.compile(r"^(?:<!-- not run: (.*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--the block has ended--"
_SERVE = re.compile(r"^m3u8svc serve\b", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Example:
    """
    One block of ``sh``, and what the page says it prints; "" if it does not say.
    """

    commands: str
    printed: str
    reason: str
    """Why it is not run; "" if it is."""


def examples(page: Path) -> list[Example]:
    """
    The examples of a page, in order.
    """
    text = page.read_text(encoding="utf-8")
    found: list[Example] = []
    end = -1
    for block in _BLOCK.finditer(text):
        reason, kind, content = block[1] or "", block[2], block[3]
        follows, end = text[end : block.start()].strip() == "" and end >= 0, block.end()
        if kind == "sh":
            found.append(Example(commands=content, printed="", reason=reason))
        elif kind == "text" and found and follows:
            found[-1] = attrs.evolve(found[-1], printed=content)
        else:
            end = -1
    return found


def matches(printed: str, said: str) -> bool:
    """
    Whether a program that printed `said` did what the page shows.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else "".join(".*" if each == "…" else re.escape(each) for each in line) + r"\n"
        for line in lines
    )
    have = "".join(" ".join(line.split()) + "\n" for line in said.splitlines() if line.strip())
    return re.fullmatch(pattern, have) is not None


class Shell:
    """
    The terminal of somebody who follows a page. Ended with the block, and all that was started in it.
    """

    def __init__(self, place: Path, environ: Mapping[str, str] | None = None) -> None:
        self.place = place
        (self.port,) = free_ports(1)
        self._lines: deque[str] = deque()
        self._news = threading.Condition()
        self._ended = False
        self._complaints = (place / ".complaints").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            ["bash", "--norc", "-eu", "-o", "pipefail"],
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
                "HOME": str(place),
                "LC_ALL": "C.UTF-8",
                "COLUMNS": "120",
                "M3U8SVC_SERVER": f"http://127.0.0.1:{self.port}",
                "PYTHONDONTWRITEBYTECODE": "1",
                **(environ or {}),
            },
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # the group that we made
        except ProcessLookupError:
            pass
        self._process.wait()
        self._reader.join()
        for each in (self._process.stdin, self._process.stdout, self._complaints):
            assert each is not None
            each.close()

    def follow(self, page: Path, changes: Mapping[str, str]) -> None:
        """
        Type all examples of a page, with these changes, each of which is somewhere in it.
        """
        text = page.read_text(encoding="utf-8")
        assert [] == [old for old in changes if old not in text]
        for example in examples(page):
            assert example.reason == "" or example.reason in REASONS
            if not example.reason:
                said = self.type(example.commands, changes)
                assert not example.printed or matches(example.printed, said), (
                    f"{example.commands}\nprinted\n{said}\nand not\n{example.printed}"
                )

    def type(self, commands: str, changes: Mapping[str, str]) -> str:
        """
        Run one block; what it printed.
        """
        for old, new in {"127.0.0.1:8080": f"127.0.0.1:{self.port}", **changes}.items():
            commands = commands.replace(old, new)
        serves = bool(_SERVE.search(commands))
        commands = _SERVE.sub(f"m3u8svc serve --listen tcp:{self.port}:interface=127.0.0.1", commands)
        script = self.place / ".block.sh"
        script.write_text(commands, encoding="utf-8")
        self._lines.clear()
        assert self._process.stdin is not None
        self._process.stdin.write(f". ./.block.sh </dev/null; echo; echo '{_MARK}'\n")
        self._process.stdin.flush()
        said = self._until_mark(commands)
        if serves:
            self._await_service(commands)
        return said

    def _until_mark(self, commands: str) -> str:
        with self._news:
            self._news.wait_for(lambda: self._ended or _MARK in self._lines, ENDS_WITHIN_S)
            said = list(self._lines)
        assert _MARK in said, f"{commands}\ndid not end well:\n" + "\n".join(said) + self._logs()
        return "\n".join(said[: said.index(_MARK)])

    def _await_service(self, commands: str) -> None:
        """A person takes longer to type the next line than the service takes to start."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        asked = ["curl", "--silent", "--fail", f"http://127.0.0.1:{self.port}/readyz"]
        while subprocess.run(asked, capture_output=True).returncode:
            assert time.monotonic() < deadline, f"{commands}\nthe service does not listen{self._logs()}"
            time.sleep(0.1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _logs(self) -> str:
        files = [self.place / ".complaints", *self.place.glob("*.log")]
        return "".join(f"\n{each.name}:\n{each.read_text()[-4000:]}" for each in files)
