"""
A network of two: a namespace of its own with an origin in it, and a cable to it that can be cut, shaped and made to
lose packets. All traffic stays on the cable.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # JSON values

import attrs

from tests.needs import lacking, root

HERE, THERE = "10.213.77.1", "10.213.77.2"
_SPACE, _NEAR, _FAR = "m3u8svc-far", "m3u8near", "m3u8far"


@attrs.frozen(kw_only=True)
class FarSide:
    """
    The cable, and the origin at its other end.
    """

    base: str

    def url(self, path: str) -> str:
        """
        The URL of a path of the origin.
        """
        return self.base + path

    def visits(self, path: str = "") -> list[dict[str, Any]]:
        """
        The origin's journal.
        """
        url = f"{self.base}/journal" + (f"?path={path}" if path else "")
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def route(self, kind: str) -> None:
        """
        Let this machine have no way there: ``blackhole``, ``unreachable`` or ``prohibit``; "" mends it.
        """
        if kind:
            _run("ip", "route", "add", kind, f"{THERE}/32", "metric", "0")
        else:
            subprocess.run(["ip", "route", "flush", f"{THERE}/32"], check=False, capture_output=True)

    def drop(self, percent: int) -> None:
        """
        Lose that many of a hundred packets that arrive there; 0 mends it.
        """
        _inside("nft", "flush", "ruleset")
        if percent:
            _inside("nft", "add", "table", "ip", "faults")
            _inside("nft", "add", "chain", "ip", "faults", "in", "{ type filter hook input priority 0 ; }")
            rule = f"numgen random mod 100 < {percent} drop" if percent < 100 else "drop"
            _inside("nft", "add", "rule", "ip", "faults", "in", *rule.split())

    def shape(self, rate: str, latency: str = "200ms") -> None:
        """
        Send no faster from there than `rate`, such as ``1mbit``.
        """
        _inside("tc", "qdisc", "replace", "dev", _FAR, "root", "tbf", "rate", rate, "burst", "16kb", "latency", latency)

    def plug(self, *, in_: bool) -> None:
        """
        Plug the cable in, or out.
        """
        _inside("ip", "link", "set", _FAR, "up" if in_ else "down")


@contextmanager
def far_side(directory: Path) -> Iterator[FarSide]:
    """
    An origin that serves `directory` behind a cable of its own.
    """
    root("a network namespace")
    _remove()
    made = subprocess.run(["ip", "netns", "add", _SPACE], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        lacking(f"network namespaces (in a container: CAP_SYS_ADMIN and CAP_NET_ADMIN): {made.stderr.strip()}")
    origin = None
    try:
        _run("ip", "link", "add", _NEAR, "type", "veth", "peer", "name", _FAR, "netns", _SPACE)
        _run("ip", "addr", "add", f"{HERE}/30", "dev", _NEAR)
        _run("ip", "link", "set", _NEAR, "up")
        _inside("ip", "addr", "add", f"{THERE}/30", "dev", _FAR)
        _inside("ip", "link", "set", _FAR, "up")
        _inside("ip", "link", "set", "lo", "up")
        command = ["ip", "netns", "exec", _SPACE, sys.executable, "-m", "m3u8svc.testing.origin", str(directory)]
        origin = subprocess.Popen([*command, "--interface", THERE], stdout=subprocess.PIPE, text=True)
        assert origin.stdout is not None
        yield FarSide(base=origin.stdout.readline().split()[-1])
    finally:
        if origin is not None:
            origin.kill()
            origin.wait()
            assert origin.stdout is not None
            origin.stdout.close()
        _remove()


def _remove() -> None:
    for command in (
        ["ip", "route", "flush", f"{THERE}/32"],
        ["ip", "link", "del", _NEAR],
        ["ip", "netns", "del", _SPACE],
    ):
        subprocess.run(command, capture_output=True, check=False)


def _inside(*command: str) -> None:
    _run("ip", "netns", "exec", _SPACE, *command)


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}: {ran.stderr}"
