"""
Names that would be more than a name: a way out of the directory, a name of the system's, one that reads backwards.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.attacks.rig import Hostile, nothing_happens, touch
from tests.integration.service_child import Service

BAD = [
    "../../x",
    "..",
    ".",
    "a/b",
    "/etc/passwd",
    "..\\..\\x",
    "C:x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "CON",
    "CON.mp4",
    "nul.mp4",
    "com1.x",
    "a" * 201,
    "a" * 256,
    "é" * 128,
    "\U0001f600" * 64,
    "film\u202e4pm.exe",
    "a\u2067b",
    ".hidden",
    "-rf",
    "film.",
    "film ",
]


@pytest.fixture
def outside(service: Service, tmp_path: Path) -> Iterator[Path]:
    """Files of others, beside the service and where its names could lead."""
    for place in (tmp_path, service.place):
        (place / "x").write_text("of somebody else")
    yield tmp_path


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_name_that_is_typed(service: Service, outside: Path, name: str) -> None:
    """It is a 400 that names the field, and nothing happens anywhere."""
    with nothing_happens(service, outside, service.place / "x"):
        answer = service.ask("POST", "/api/tasks", {"url": "http://127.0.0.1:9/a.m3u8", "filename": name})
        assert (400, "invalid_request") == (answer.status, answer.headers["x-error-code"])
        assert answer.value.startswith("解析请求失败：filename: ")


def test_a_name_that_is_no_text(service: Service, outside: Path) -> None:
    """A lone surrogate is refused as JSON, before it is a name."""
    with nothing_happens(service, outside):
        body = b'{"url": "http://127.0.0.1:9/a.m3u8", "filename": "a\\ud800b"}'
        assert 400 == service.ask("POST", "/api/tasks", body).status


@pytest.mark.parametrize("field", ["save_location", "temp_directory"])
@pytest.mark.parametrize(
    "place", ["/etc", "/etc/../etc/x", "/proc/self/cwd/x", "/usr/lib", "HOME", "HOME/../home", "a"]
)
def test_a_place_that_is_not_for_films(service: Service, outside: Path, field: str, place: str) -> None:
    """Directories of the system and our own are refused, however they are written."""
    before = touch(Path("/etc/passwd"))
    with nothing_happens(service, outside):
        named = place.replace("HOME", str(service.home))
        answer = service.ask(
            "POST",
            "/api/tasks",
            {"url": "http://127.0.0.1:9/a.m3u8", "filename": "film", "advanced": True, field: named},
        )
        assert 400 == answer.status, answer.text
    assert before == touch(Path("/etc/passwd"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real stream of two seconds."""
    directory = tmp_path_factory.mktemp("film")
    made = [sys.executable, "-I", "-m", "m3u8svc.testing.stream", str(directory), "--seconds", "2"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fx", "%2e%2e%2fx", "a%00b", "CON", quote("\u202e" * 100), "%ff%fe", "-rf", "..", "%20."],
)
def test_a_name_that_is_taken_from_a_link(
    service: Service, server: Hostile, film: Path, outside: Path, path: str
) -> None:
    """Where no name is typed, the link's end becomes one component below the save directory, and nothing else."""
    for file in film.iterdir():
        server.answers[f"/{file.name}"] = file.read_bytes()
    server.answers[f"/{path}.m3u8"] = server.answers["/index.m3u8"]
    before, known = touch(outside), set(service.saves.rglob("*"))
    service.finish(f"{server.base}/{path}.m3u8", "")
    (made,) = set(service.saves.rglob("*")) - known
    assert service.saves == made.parent
    assert made.name.isprintable() and made.suffix == ".mp4" and made.name[0] not in ".-"
    assert before == touch(outside)
    assert "of somebody else" == (service.place / "x").read_text()
    assert {"home", "saves", "tmp", "service.log", "x"} == {each.name for each in service.place.iterdir()}
