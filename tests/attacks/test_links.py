"""
Links and detours: directories that are not those they seem to be, asked for over the API of a service that others can
use, or planted where it works.
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.rig import Hostile, attacked, nothing_happens, touch
from tests.integration.conftest import require
from tests.integration.service_child import Service


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real stream of four seconds."""
    directory = tmp_path_factory.mktemp("film")
    made = [sys.executable, "-I", "-m", "m3u8svc.testing.stream", str(directory), "--seconds", "4"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture
def served(server: Hostile, film: Path) -> Hostile:
    """A server of it."""
    server.answers |= {f"/{file.name}": file.read_bytes() for file in film.iterdir()}
    return server


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file of somebody else; nothing in it may change."""
    place = tmp_path / "outside"
    (place / "deep").mkdir(parents=True)
    (place / "film.mp4").write_text("of somebody else")
    (place / "deep" / "film.mp4").write_text("of somebody else")
    before = touch(place)
    yield place
    assert before == touch(place)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that saves in its roots alone."""
    require("curl")
    with attacked(tmp_path_factory.mktemp("strict") / "service", "--network-mode", "strict") as started:
        yield started


@pytest.mark.parametrize("field", ["save_location", "temp_directory"])
@pytest.mark.parametrize(
    "where",
    [
        "{outside}",
        "{saves}-evil",
        "{saves}/../evil",
        "{saves}/a/../../evil",
        "{saves}/link",
        "{saves}/link/deep",
        "/",
        "~",
    ],
)
def test_a_place_outside_the_roots(strict: Service, outside: Path, field: str, where: str) -> None:
    """However it is spelled it is refused, by a text that names the field, and nothing is made."""
    link = strict.saves / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    place = where.format(outside=outside, saves=strict.saves)
    with nothing_happens(strict, outside):
        task = {"url": "http://127.0.0.1:9/a.m3u8", "filename": "film", "advanced": True, field: place}
        answer = strict.ask("POST", "/api/tasks", task)
        code = "invalid_request" if place == "/" else "unsafe_path"  # a directory of the system is refused anywhere
        assert (400, code) == (answer.status, answer.headers["x-error-code"])
        assert field in answer.value
    assert not list(strict.place.glob("*evil*"))


def instead_of_saves(saves: Path, task_id: str, outside: Path) -> None:
    """The directory of the results is a link now."""
    saves.rename(saves.with_name("moved"))
    saves.symlink_to(outside)


def instead_of_work(saves: Path, task_id: str, outside: Path) -> None:
    """That of the segments is."""
    work = saves / ".m3u8svc" / task_id
    work.rename(work.with_name("moved"))
    work.symlink_to(outside)


def instead_of_all_work(saves: Path, task_id: str, outside: Path) -> None:
    """That of all tasks' segments is."""
    (saves / ".m3u8svc").rename(saves / "moved")
    (saves / ".m3u8svc").symlink_to(outside)


@pytest.mark.parametrize("plant", [instead_of_saves, instead_of_work, instead_of_all_work])
def test_planted_while_it_runs(
    tmp_path: Path, film: Path, served: Hostile, outside: Path, plant: Callable[[Path, str, Path], None]
) -> None:
    """The task ends with a name for it, deleting it with its files removes nothing there either."""
    go_on, waiting = threading.Event(), threading.Event()
    last = max(name for name in served.answers if name.endswith(".ts"))
    body = served.answers[last]
    assert isinstance(body, bytes)

    def wait(visit: object) -> None:
        waiting.set()
        go_on.wait(60)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        visit.wfile.write(head + body)  # type: ignore[attr-defined]

    served.answers[last] = wait
    with attacked(tmp_path / "service") as service:
        task_id = service.add(f"{served.base}/index.m3u8", "film")
        assert waiting.wait(60)
        plant(service.saves, task_id, outside)
        go_on.set()
        task = service.wait(task_id, "失败")
        assert "unsafe_path" == task["err_code"]
        service.ask("DELETE", f"/api/tasks?id={task_id}&files=true")
    shutil.rmtree(tmp_path / "service" / "moved", ignore_errors=True)


def test_planted_in_the_place_of_a_result(tmp_path: Path, served: Hostile, outside: Path) -> None:
    """Deleting a task with its file does not delete what a link in its place leads to; nor does a new result."""
    with attacked(tmp_path / "service") as service:
        task = service.finish(f"{served.base}/index.m3u8", "film")
        result = service.saves / "film.mp4"
        result.unlink()
        result.symlink_to(outside / "film.mp4")
        service.finish(f"{served.base}/index.m3u8", "film")
        assert (service.saves / "film_0001.mp4").is_file()
        service.ask("DELETE", f"/api/tasks?id={task['id']}&files=true")
        assert result.is_symlink()
