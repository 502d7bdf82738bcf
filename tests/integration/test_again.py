"""
Over REST, with a real service: a finished task is made again without fetching, whenever it is killed; its report, a
look at its file, and its repair.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import seeds
from tests.integration.media import SECONDS, Stream, decoding_errors, packets
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

SEED = seeds.seed(seeds.OTHERS)
KILLS = 12
LONGEST_S = 0.6
"""Until a kill: about what merging again takes."""


@pytest.fixture
def plain(nginx: Nginx, streams: dict[str, Stream]) -> str:
    """The URL of the plain stream, eight segments of a second each."""
    return nginx.base + streams["plain"].path


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change(service: Service, task_id: str, **fields: object) -> Any:
    """The answer to a change that is accepted."""
    answer = service.ask("PUT", f"/api/tasks?id={task_id}", fields)
    assert 200 == answer.status, answer.text
    return answer.value


def made(service: Service, task_id: str) -> dict[str, Any]:
    """The task once nothing is to be made any more."""
    deadline = time.monotonic() + 60
    while (task := service.task(task_id))["again"]:
        assert "已完成" == task["status"]
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    return task


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line of a user."""
    program = str(Path(sys.executable).with_name("m3u8svc"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_merged_again_over_the_api(service: Service, plain: str, nginx: Nginx, tmp_path: Path) -> None:
    """
    With kept segments: other settings make another file under the same name, and the server is asked for nothing; the
    report says what is in it.
    """
    task = service.finish(plain, "film", save_location=str(tmp_path), keep_ts_files=True)
    asked, first = len(nginx.lines()), sha256(tmp_path / "film.mp4")
    assert {"status": "success"} == change(service, task["id"], skip_ts_info="1-2", merge=True)
    task = made(service, task["id"])
    assert asked == len(nginx.lines())
    assert {"h264": 25 * (SECONDS - 2)}.items() <= packets(tmp_path / "film.mp4").items()
    assert "" == decoding_errors(tmp_path / "film.mp4")
    report = service.ask("GET", f"/api/tasks?id={task['id']}&report=true").value
    assert ["skipped"] * 2 + ["done"] * (SECONDS - 2) == [each["outcome"] for each in report["segments"]]
    assert report["segments"][2]["sha256"] == sha256(tmp_path / "film" / "00003.ts")
    assert ("1-2", "film") == (task["advanced_settings"]["skip_ts_info"], report["result"]["file"].split("/")[-1][:4])
    change(service, task["id"], skip_ts_info="", merge=True)
    made(service, task["id"])
    assert (first, asked) == (sha256(tmp_path / "film.mp4"), len(nginx.lines()))


def test_what_a_change_may_not_say(service: Service, plain: str, tmp_path: Path) -> None:
    """All of it is refused with a 400 that names the field, and nothing is changed."""
    task = service.finish(plain, "film", save_location=str(tmp_path))
    for body, code, word in [
        ({}, "invalid_request", "merge"),
        ({"merge": True, "repair": True}, "invalid_request", "repair"),
        ({"merge": True, "save_location": "/tmp"}, "invalid_request", "save_location"),
        ({"merge": True, "skip_ts_info": "x"}, "invalid_request", "skip_ts_info"),
        ({"merge": True, "groups": "0"}, "invalid_request", "groups"),
        ({"status": "等待中", "skip_ts_info": "1"}, "invalid_transition", "已完成"),
        ({"no_merge_ts": True, "merge": True}, "cannot_remake", "no_merge_ts"),
    ]:
        answer = service.ask("PUT", f"/api/tasks?id={task['id']}", body)
        assert (400, code) == (answer.status, answer.headers["x-error-code"]), answer.text
        assert word in answer.value
    assert task == service.task(task["id"])
    answer = change(service, task["id"], merge=True)
    assert ["没有保留的分片，将重新下载"] == answer["warnings"]
    made(service, task["id"])


def test_killed_while_it_is_merged_again(start_service: Callable[..., Service], plain: str, nginx: Nginx) -> None:
    """
    Whenever the service is killed, the name leads to the old file or the new one, whole; a restart ends at the new one,
    fetches nothing, and leaves nothing else behind.
    """
    chance = random.Random(SEED)
    service = start_service()
    task = service.finish(plain, "film", keep_ts_files=True)
    path, task_id = Path(task["output"]), task["id"]
    known: dict[str, str] = {"": sha256(path)}
    for skipped in ("1-4", "8"):
        change(service, task_id, skip_ts_info=skipped, merge=True)
        made(service, task_id)
        known[skipped] = sha256(path)
    assert 3 == len(set(known.values()))
    asked, now = len(nginx.lines()), "8"
    for _ in range(KILLS):
        wanted = chance.choice([each for each in known if each != now])
        change(service, task_id, skip_ts_info=wanted, merge=True)
        time.sleep(chance.uniform(0, LONGEST_S))
        service.kill()
        assert sha256(path) in (known[now], known[wanted]), SEED
        service.start()
        assert "已完成" == service.task(task_id)["status"]
        made(service, task_id)
        assert (known[wanted], asked) == (sha256(path), len(nginx.lines())), SEED
        report = service.ask("GET", f"/api/tasks?id={task_id}&report=true").value
        assert path.stat().st_size == report["result"]["size"] == service.task(task_id)["size"]
        now = wanted
    deadline = time.monotonic() + 5
    while ["film", "film.mp4"] != sorted(os.listdir(path.parent)):
        assert time.monotonic() < deadline, os.listdir(path.parent)
        time.sleep(0.05)


def test_repaired_from_the_command_line(
    service: Service, served: Path, streams: dict[str, Stream], nginx: Nginx, tmp_path: Path
) -> None:
    """What a result lacked is fetched when it is there, and nothing else; `verify` says how complete it is."""
    site = served / "holes"
    shutil.copytree((served / streams["plain"].path.lstrip("/")).parent, site)
    [missing] = site.glob("*3.ts")
    missing.rename(site / "away")
    url = f"{nginx.base}/holes/{Path(streams['plain'].path).name}"
    task_id = service.add(url, "film", save_location=str(tmp_path), allow_gaps=True, report=True)
    deadline = time.monotonic() + 60
    while "已完成" != (task := service.task(task_id))["status"]:
        assert time.monotonic() < deadline, task
        time.sleep(0.1)
    assert task["status_bar"].startswith("缺失 1 个分片（1.0")
    assert task["status_bar"] in task["warnings"]
    file = tmp_path / "film.mp4"
    checked = run("verify", file, "--json")
    assert (0, 1) == (checked.returncode, json.loads(checked.stdout)["report"]["missing"]), checked
    (site / "away").rename(missing)
    asked = len(nginx.lines())
    repaired = run("repair", task_id, "--server", service.base)
    assert 0 == repaired.returncode, repaired
    task = made(service, task_id)
    fetched = [line.split()[1].partition("?")[0] for line in nginx.lines()[asked:]]
    assert sorted([f"/holes/{Path(url).name}", f"/holes/{missing.name}"]) == sorted(fetched)
    assert ("", 25 * SECONDS) == (task["status_bar"], packets(file)["h264"])
    by_id = run("verify", task_id, "--server", service.base)
    assert (0, 0) == (by_id.returncode, run("verify", file).returncode), by_id
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 9)
    assert 1 == run("verify", file).returncode
    assert 1 == run("verify", task_id, "--server", service.base).returncode
