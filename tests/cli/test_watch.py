"""
``m3u8svc watch``: lines into a pipe, a table on a terminal, and how it ends.
"""

import itertools
import json
import os
import pty
import signal
import subprocess
import sys

import attrs
import pytest

from m3u8svc.cli.client import Client, RemoteTask
from m3u8svc.cli.watch import JsonLines, fitting, total
from tests.cli.conftest import CHINESE, ENGLISH, Invoke, StubService, task


def remote(task_id: str, status: str, *, err_msg: str = "") -> RemoteTask:
    """A task as the client reads it."""
    return RemoteTask(id=task_id, url="", filename="", status=status, percent=0, err_msg=err_msg, source={})


@pytest.mark.parametrize(
    ("expected", "tasks", "lines"),
    [
        (["a", "b"], [remote("a", "已完成"), remote("b", "下载中")], 2),
        (["b"], [remote("a", "已完成"), remote("b", "下载中")], 1),
        (["a"], [remote("a", "等待中"), remote("b", "已完成")], 1),
        (["b"], [remote("a", "已完成"), remote("b", "已完成")], 1),
        (["b"], [remote("a", "已完成"), remote("b", "失败", err_msg="x")], 2),
        (["a"], [remote("a", "下载中", err_msg="x")], 1),
        ([], [], 5),
    ],
)
def test_active_and_new_tasks_fit_first(expected: list[str], tasks: list[RemoteTask], lines: int) -> None:
    """What does not fit is what is over and old; the order stays the service's; one row is always there."""
    assert expected == [each.id for each in fitting(tasks, lines)]


def moving(service: StubService, *steps: dict[str, object]) -> None:
    """Let task a1 take the next of these steps whenever the service is asked."""
    coming = itertools.chain(steps, itertools.repeat(steps[-1]))
    service.before_get = lambda: service.tasks["a1"].update(next(coming))


def test_until_done_ends_with_the_last_active_task(service: StubService, invoke: Invoke) -> None:
    """A line whenever something changed, in the user's language; an old failure is not ours."""
    service.put(task("old", status="失败", err_msg="坏了"), task("a1"))
    moving(
        service, {"status": "下载中", "progress": 30, "speed": 100}, {"status": "已完成", "progress": 100, "speed": 0}
    )
    result = invoke("watch", "--until-done", locale=CHINESE)
    assert (0, "") == (result.exit_code, result.stderr)
    expected = ["old 失败 0% film 坏了", "a1 下载中 30% 100 B/s film", "a1 已完成 100% film"]
    assert expected == result.stdout.splitlines()


def test_failure_that_was_watched_is_the_status(service: StubService, invoke: Invoke) -> None:
    """A task that was active while we watched and then failed makes it 1."""
    service.put(task("a1"))
    moving(service, {"status": "下载中"}, {"status": "失败", "err_msg": "连接失败"})
    result = invoke("watch", "--until-done")
    assert (1, ["a1 downloading 0% film", "a1 failed 0% film 连接失败"]) == (
        result.exit_code,
        result.stdout.splitlines(),
    )


def test_one_task_is_watched_alone(service: StubService, invoke: Invoke) -> None:
    """With an id (or its start) other tasks neither show nor keep it going; a failed one is status 1 at once."""
    service.put(task("a1", status="失败"), task("b1", status="下载中"))
    result = invoke("watch", "a", "--until-done")
    assert (1, "a1 failed 0% film\n") == (result.exit_code, result.stdout)


def test_changes_for_programs(service: StubService, invoke: Invoke) -> None:
    """A line of JSON, the task as the service shows it, whenever it is another one, and not oftener."""
    service.put(task("old", status="失败"), task("a1"))
    moving(service, {"progress": 30}, {"progress": 30}, {"status": "已完成", "progress": 100})
    result = invoke("watch", "--until-done", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [("old", 0), ("a1", 30), ("a1", 100)] == [(each["id"], each["progress"]) for each in lines]
    assert service.tasks["a1"] == lines[-1]


def test_changes_among_very_many_tasks(service: StubService, invoke: Invoke) -> None:
    """All are shown and asked for once; after that a line is a change, and the question is what moves."""
    service.put(*(task(f"old{number}", status="已完成") for number in range(2_000)), task("a1"))
    moves = itertools.chain([0] * 4, itertools.repeat(1))  # a look is several questions
    service.before_get = lambda: service.tasks["a1"].update(status="已完成" if next(moves) else "下载中")
    result = invoke("watch", "--until-done")
    lines = result.stdout.splitlines()
    assert (0, 2_002, "a1 completed 0% film") == (result.exit_code, len(lines), lines[-1])
    assert 1 == sum(visit.query == {} for visit in service.visits)


def test_a_task_that_is_removed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Once, to programs that would wait for it."""
    show = JsonLines()
    for tasks in ([remote("a", "等待中"), remote("b", "等待中")], [remote("b", "等待中")], [remote("b", "等待中")]):
        show(tasks)
    assert [{}, {}, {"id": "a", "removed": True}] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_total_counts_states_and_adds_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line below the table."""
    monkeypatch.setenv("LC_ALL", ENGLISH)
    tasks = [remote("a", "下载中"), remote("b", "下载中"), remote("c", "失败"), remote("d", "已暂停")]
    tasks = [attrs.evolve(each, speed=1024.0 * 1024) for each in tasks[:2]] + tasks[2:]
    assert "2 downloading · 0 waiting · 0 completed · 1 failed · 2.00 MB/s" == total(tasks)


def test_service_that_goes_away_ends_it(service: StubService, invoke: Invoke) -> None:
    """Status 3, as for every other command; nothing hangs."""
    service.put(task("a1", status="下载中"))
    service.before_get = service.socket.close
    result = invoke("watch")
    assert 3 == result.exit_code
    assert f"no service at {service.url}" in result.stderr


def test_ctrl_c_leaves_a_clean_terminal(service: StubService) -> None:
    """On a terminal: a live table, status 130, the cursor back, the tasks untouched, no traceback."""
    service.put(task("a1", status="下载中", progress=50))
    controller, terminal = pty.openpty()
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    arguments = [sys.executable, "-m", "m3u8svc", "watch", "--server", service.url]
    process = subprocess.Popen(arguments, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    seen = b""
    while b"1 downloading" not in seen:
        seen += os.read(controller, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(controller, 4096):
            seen += piece
    except OSError:
        pass  # Linux says EIO when the other end is closed
    os.close(controller)
    assert 130 == process.wait(10)
    assert b"1 downloading" in seen
    assert b"\xe2\x96\x88" in seen and b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert [] == service.changes


def test_client_and_table_agree_on_what_is_active(service: StubService) -> None:
    """Waiting and downloading are; the rest, and states we do not know, are not."""
    for status in ("等待中", "下载中", "已暂停", "已完成", "失败", "新状态"):
        service.put(task(status, status=status))
    assert ["等待中", "下载中"] == [each.id for each in Client(service.url).tasks() if each.is_active]
