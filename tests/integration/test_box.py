"""
The box as a user of the service meets it.
"""

import os
import sys
from pathlib import Path

import pytest

from m3u8svc.sandbox import landlock
from tests import needs
from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import running


@pytest.fixture
def walls() -> None:
    """The kernel has what makes the whole box."""
    needs.walls()


@pytest.mark.usefixtures("walls")
def test_how_good_it_is(nginx: Nginx, streams: dict[str, Stream], tmp_path: Path) -> None:
    """Before the first merge what the kernel offers, after it what the child reached: everything. No warning."""
    with running(tmp_path) as service:
        health = service.ask("GET", "/api/health").value
        assert ("full", False) == (health["sandbox"]["level"], health["sandbox"]["seen"])
        service.finish(nginx.base + streams["plain"].path, "film")
        box = service.ask("GET", "/api/health").value["sandbox"]
        assert {"level": "full", "missing": [], "landlock_abi": landlock.abi(), "seccomp": True, "seen": True} == box
        assert "the box of the muxing child" not in service.log


# Runs the rest of its command under a filter that does not know some calls, as older kernels and containers do.
OLDER = """
import ctypes, os, struct, sys
numbers, code = list(map(int, sys.argv[1].split(","))), [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 38)]
packed = b"".join(struct.pack("=HBBI", *each) for each in [*code, (0x06, 0, 0, 0x7fff0000)])
buffer = ctypes.create_string_buffer(packed, len(packed))
program = struct.pack("@HP", len(packed) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(os.uname().machine, -1)


@pytest.mark.usefixtures("walls")
@pytest.mark.parametrize(
    ("unknown", "level", "missing"),
    [((444, 445, 446), "partial", ["landlock"]), ((444, 445, 446, SECCOMP), "none", ["landlock", "seccomp"])],
)
def test_a_wall_that_is_missing(
    unknown: tuple[int, ...],
    level: str,
    missing: list[str],
    nginx: Nginx,
    streams: dict[str, Stream],
    tmp_path: Path,
) -> None:
    """It is said in the log, once, and at /api/health, before the first merge and after it; tasks end as ever."""
    older = [sys.executable, "-I", "-c", OLDER, ",".join(map(str, unknown))]
    with running(tmp_path, before=older) as service:
        for seen in (False, True):
            health = service.ask("GET", "/api/health").value
            box = health["sandbox"]
            assert (level, missing, seen, "ok") == (box["level"], box["missing"], box["seen"], health["status"])
            service.finish(nginx.base + streams["plain"].path, f"film{seen}")
        assert 1 == service.log.count(f"the box of the muxing child is {level}: {', '.join(missing)} missing")
