"""
The core, area by area: which code it is, which tests speak of it, what they must reach (reliability.md 6.2).
"""

from collections.abc import Sequence
from fnmatch import fnmatch

import attrs

LINES = 95.0
BRANCHES = 90.0
MUTANTS = 85.0
"""Percent: of the lines and branches that run, of the mutants that a test notices."""


@attrs.frozen(kw_only=True)
class Area:
    """
    A part of the core. `modules` are patterns of paths in the checkout; `tests` what pytest is given. Mutants are tried
    with `mutant_tests`, which leave out what is slow and says nothing about single lines.
    """

    name: str
    modules: Sequence[str]
    tests: Sequence[str]
    mutant_tests: Sequence[str] = ()

    def has(self, path: str) -> bool:
        """Whether a module belongs to it."""
        return any(fnmatch(path, pattern) for pattern in self.modules)


AREAS = (
    Area(
        name="parser",
        modules=("m3u8svc/hls/*.py",),
        tests=("tests/hls", "tests/conformance", "tests/test_failover.py"),
        mutant_tests=("tests/hls", "tests/conformance/test_conformance.py", "tests/test_failover.py"),
    ),
    Area(
        name="fetcher",
        modules=("m3u8svc/fetch.py", "m3u8svc/body.py", "m3u8svc/disconnects.py", "m3u8svc/tasks/wire.py"),
        tests=(
            "tests/test_fetch.py",
            "tests/test_fetch_memory.py",
            "tests/test_body.py",
            "tests/test_wire.py",
            "tests/tasks/test_wire.py",
            "tests/test_disconnects.py",
            "tests/test_connections.py",
            "tests/test_tunnels.py",
        ),
        mutant_tests=(
            "tests/test_fetch.py",
            "tests/test_fetch_memory.py",
            "tests/test_body.py",
            "tests/test_wire.py",
            "tests/tasks/test_wire.py",
            "tests/test_disconnects.py",
        ),
    ),
    Area(
        name="store",
        modules=("m3u8svc/store/*.py",),
        tests=("tests/test_store.py", "tests/store", "tests/test_upkeep.py"),
    ),
    Area(
        name="state machine",
        modules=("m3u8svc/tasks/lifecycle.py", "m3u8svc/tasks/again.py", "m3u8svc/tasks/retry.py"),
        tests=("tests/tasks", "tests/test_service.py", "tests/test_again.py"),
        mutant_tests=("tests/tasks",),
    ),
    Area(
        name="gate",
        modules=("m3u8svc/web/gate.py", "m3u8svc/web/channel.py", "m3u8svc/web/strictjson.py", "m3u8svc/web/schema.py"),
        tests=("tests/web",),
    ),
)


def area_named(name: str) -> Area:
    """
    The area of this name.

    Raises:
        KeyError: there is none.
    """
    return {area.name: area for area in AREAS}[name]
