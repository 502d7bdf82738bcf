"""
Nobody connects to anything but the rooms of the one door (R-SSRF-1): every other way out would go round the policy.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import m3u8svc

ROOT = Path(m3u8svc.__file__).parent
DOOR = {"connections.py", "fetch.py", "tunnels.py"}
LOCAL = {"handing.py", "mux/job.py"}
"""They have sockets that connect to nothing: those between us and our child."""
OURS = {
    "cli/client.py": {"http.client", "urllib.request", "socket"},  # talks to the service, where its user says it is
    "doctor.py": {"socket"},  # sees whether something listens where the operator wants to
    **dict.fromkeys(LOCAL, {"socket"}),
}

LIBRARIES = {
    *(
        "treq",
        "requests",
        "httpx",
        "aiohttp",
        "urllib3",
        "pycurl",
        "urllib.request",
        "http.client",
        "ftplib",
        "smtplib",
    ),
    *("socket", "asyncio", "twisted.web.client", "twisted.web.proxy", "twisted.internet.endpoints", "twisted.names"),
}
HARMLESS = {
    ("twisted.web.client", "ResponseDone"),
    ("twisted.internet.endpoints", "serverFromString"),
}
CALLS = {"connectTCP", "connectSSL", "connectUNIX", "connectUDP", "listenUDP", "create_connection", "open_connection"}


def ways_out(source: str) -> Iterator[str]:
    """What in a module can make a connection, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"{each.name}" for each in names if _is_library(each.name))
            case ast.ImportFrom(module=str(module), names=names):
                for each in names:
                    if (module, each.name) in HARMLESS:
                        continue
                    if _is_library(module):
                        yield module
                    elif _is_library(f"{module}.{each.name}"):
                        yield f"{module}.{each.name}"
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in CALLS:
                yield name


def _is_library(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in LIBRARIES)


def modules() -> dict[str, str]:
    """Every module of the service by its path; the origin and the harness for tests are none."""
    found = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in ROOT.rglob("*.py")}
    return {name: text for name, text in found.items() if not name.startswith("testing/")}


def test_only_the_door_makes_connections() -> None:
    """No library that connects is imported elsewhere, and nothing that connects is called."""
    found = {name: set(ways_out(text)) - OURS.get(name, set()) for name, text in modules().items() if name not in DOOR}
    assert {} == {name: ways for name, ways in found.items() if ways}


def test_sockets_of_others_connect_to_nothing() -> None:
    """None of the calls that reach somebody else, by whatever object."""
    reaching = {"connect", "connect_ex", "sendto", "getaddrinfo", "gethostbyname"}
    for name in LOCAL:
        tree = ast.walk(ast.parse(modules()[name]))
        assert set() == reaching & {node.attr for node in tree if isinstance(node, ast.Attribute)}, name


def test_the_door_is_looked_at_too() -> None:
    """What is looked for is found where it is."""
    found = {name: set(ways_out(text)) for name, text in modules().items() if name in DOOR | set(OURS)}
    assert {"twisted.web.client", "twisted.internet.endpoints", "socket"} <= found["connections.py"]
    assert "treq.client" in found["fetch.py"]
    assert OURS["cli/client.py"] <= found["cli/client.py"]


@pytest.mark.parametrize(
    "line",
    [
        "import treq",
        "from treq import get",
        "import urllib.request",
        "import urllib.request as r",
        "from urllib import request",
        "from urllib.request import urlopen",
        "import socket",
        "from socket import create_connection",
        "from twisted.web.client import Agent",
        "from twisted.web.client import Agent, ResponseDone",
        "from twisted.web import client",
        "from twisted.internet import endpoints",
        "from twisted.internet.endpoints import HostnameEndpoint",
        "reactor.connectTCP('a', 80, f)",
        "import http.client",
        "def f():\n    import treq",
    ],
)
def test_ways_out_are_recognised(line: str) -> None:
    """However they are spelled."""
    assert [] != list(ways_out(line))
