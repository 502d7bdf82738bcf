"""
``m3u8svc list``, ``show``, ``pause``, ``resume``, ``remove``.
"""

import json
from typing import Any

import pytest

from tests.cli.conftest import CHINESE, ENGLISH, Invoke, StubService, Visit, task


def put(task_id: str, status: str) -> Visit:
    """The request that asks for a state."""
    return Visit(method="PUT", query={"id": task_id}, body={"status": status}, content_type="application/json")


def delete(task_id: str, **query: str) -> Visit:
    """The request that removes."""
    return Visit(method="DELETE", query={"id": task_id, **query}, body=None, content_type=None)


def columns(line: str) -> list[str]:
    """The cells of a row of the table."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


# -- list ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "header", "status"),
    [
        (ENGLISH, ["ID", "Status", "Progress", "Speed", "Left", "Name"], "downloading"),
        (CHINESE, ["ID", "状态", "进度", "速度", "剩余", "名称"], "下载中"),
    ],
)
def test_list_is_a_table_in_the_user_s_language(
    service: StubService, invoke: Invoke, locale: str, header: list[str], status: str
) -> None:
    """One row a task: id, state, bar, rate, time left, name."""
    service.put(task("a1", status="下载中", progress=50, speed=2048, eta=75, filename="影片"))
    lines = [line for line in invoke("list", locale=locale).stdout.splitlines() if line.strip()]
    assert header == columns(lines[0])
    assert ["a1", status, "████████░░░░░░░░", "50%", "2 KB/s", "01:15", "影片"] == columns(lines[-1])


def test_list_without_a_terminal_cuts_nothing(service: StubService, invoke: Invoke) -> None:
    """A program that reads the table gets whole lines."""
    service.put(task("a1", filename="长" * 200))
    assert "长" * 200 in invoke("list").stdout


def test_list_shows_what_a_service_sends_as_text(service: StubService, invoke: Invoke) -> None:
    """Neither markup nor control characters do anything; a task without a name is its URL without the query."""
    service.put(
        task("a1", filename="[red]x[/red]\x1b[2J"),
        task(
            "a2", filename="", url="http://s.example/v.m3u8?token=s3cret", status="失败", err_msg="坏了", progress=7.9
        ),
        task("a3", status="新状态"),
    )
    output = invoke("list").stdout
    assert "[red]x[/red]\\x1b[2J" in output
    assert "http://s.example/v.m3u8?…" in output and "s3cret" not in output
    assert "坏了" in output and "新状态" in output


def test_list_of_nothing_says_how_to_begin(invoke: Invoke) -> None:
    """An empty service is no empty screen."""
    assert "No tasks. Add one with: m3u8svc add URL\n" == invoke("list").stdout


@pytest.mark.parametrize(
    ("given", "asked"),
    [("waiting", "等待中"), ("DOWNLOADING", "下载中"), ("paused", "已暂停"), ("completed", "已完成"), ("失败", "失败")],
)
def test_list_filters_by_state_in_either_language(service: StubService, invoke: Invoke, given: str, asked: str) -> None:
    """The service filters; we translate."""
    service.put(task("a1", status=asked), task("b1", status="x"))
    result = invoke("list", "--status", given, "--json")
    assert ["a1"] == [each["id"] for each in json.loads(result.stdout)]
    assert {"status": asked} == service.visits[0].query


def test_list_as_json_is_what_the_service_sent(service: StubService, invoke: Invoke) -> None:
    """All fields, known to us or not, in order."""
    tasks = [task("a1", filename="影片", future={"x": [1]}), task("a2")]
    service.put(*tasks)
    assert tasks == json.loads(invoke("list", "--json").stdout)


def test_unknown_state_is_a_usage_error(service: StubService, invoke: Invoke) -> None:
    """Status 2, and the names there are; nothing is asked."""
    result = invoke("list", "--status", "done")
    assert 2 == result.exit_code
    assert "'done' is no state; there are: waiting, downloading, paused, completed, failed" in result.stderr
    assert [] == service.visits


# -- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_the_facts(service: StubService, invoke: Invoke) -> None:
    """What a person asks about one task, and nothing that is empty."""
    service.put(
        task(
            "a1",
            status="失败",
            progress=40,
            err_msg="连接失败",
            err_code="connect_failed",
            segments_done=4,
            segments_total=10,
            bytes=12345,
            warnings=["已忽略：x"],
        )
    )
    facts = dict(line.strip().split("  ", 1) for line in invoke("show", "a1").stdout.splitlines())
    assert {
        "ID": "a1",
        "Name": "film",
        "Status": "failed",
        "Progress": "40%",
        "Segments": "4/10",
        "Size": "12,345 bytes",
        "Error": "连接失败 [connect_failed]",
        "Warning": "已忽略：x",
        "Created": "2026-01-02T03:04:05.000006Z",
        "URL": "http://stream.example/a1.m3u8",
    } == {label: value.strip() for label, value in facts.items()}


def test_show_as_json_is_the_object(service: StubService, invoke: Invoke) -> None:
    """The object of GET ?id=, whole."""
    service.put(task("a1", header_map={"Cookie": ["a"]}))
    assert task("a1", header_map={"Cookie": ["a"]}) == json.loads(invoke("show", "a1", "--json").stdout)


# -- ids -------------------------------------------------------------------------------------------------------------


def test_start_of_an_id_is_enough(service: StubService, invoke: Invoke) -> None:
    """A whole id wins over longer ones that start like it; else the start must belong to one task."""
    service.put(task("ab"), task("abc1"), task("xyz"))
    assert "ab" == json.loads(invoke("show", "ab", "--json").stdout)["id"]
    assert "abc1" == json.loads(invoke("show", "abc", "--json").stdout)["id"]
    assert "xyz" == json.loads(invoke("show", "x", "--json").stdout)["id"]


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        (ENGLISH, "'a' is ambiguous; it could be: a1, a2"),
        (CHINESE, "“a”不明确，可能是：a1, a2"),
    ],
)
def test_ambiguous_start_changes_nothing(service: StubService, invoke: Invoke, locale: str, said: str) -> None:
    """Status 2, the candidates named; tasks named beside it are not touched either."""
    service.put(task("a1"), task("a2"), task("b1"))
    result = invoke("remove", "b1", "a", locale=locale)
    assert 2 == result.exit_code
    assert said in result.stderr
    assert [] == service.changes


@pytest.mark.parametrize(
    ("given", "locale", "said"),
    [
        ("zzz", ENGLISH, "Error: 任务不存在 [task_not_found]\n"),
        ("zzz", CHINESE, "错误：任务不存在 [task_not_found]\n"),
        ("", ENGLISH, "Error: 任务ID不能为空 [missing_task_id]\n"),
    ],
)
@pytest.mark.parametrize("command", ["show", "pause", "resume", "remove", "watch"])
def test_unknown_id_is_refused_in_the_service_s_words(
    service: StubService, invoke: Invoke, command: str, given: str, locale: str, said: str
) -> None:
    """Status 1; the API's text as it is, and its code. An empty id is not the start of every other."""
    service.put(task("a1"))
    result = invoke(command, given, locale=locale)
    assert (1, "", said) == (result.exit_code, result.stdout, result.stderr)
    assert [] == service.changes


# -- pause, resume, remove -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        (["pause", "a1", "b"], [put("a1", "已暂停"), put("b1", "已暂停")], "a1 paused\nb1 paused\n"),
        (["resume", "b", "a1"], [put("b1", "等待中"), put("a1", "等待中")], "b1 resumed\na1 resumed\n"),
        (["remove", "a1", "b1"], [delete("a1"), delete("b1")], "a1 removed\nb1 removed\n"),
        (["remove", "a1", "--files"], [delete("a1", files="true")], "a1 removed\n"),
        (["pause", "a1", "a", "a1"], [put("a1", "已暂停")], "a1 paused\n"),
    ],
)
def test_several_tasks_at_once(
    service: StubService, invoke: Invoke, arguments: list[str], asked: list[Any], said: str
) -> None:
    """Each in the order given, one request each, one line each; named twice is asked once."""
    service.put(task("a1"), task("b1"))
    result = invoke(*arguments)
    assert (0, said, "") == (result.exit_code, result.stdout, result.stderr)
    assert asked == service.changes


def test_refused_task_does_not_keep_the_others(service: StubService, invoke: Invoke) -> None:
    """The rest is done all the same, the refusal is told with its code, and the status says 1."""
    service.put(task("a1", status="已完成"), task("b1"))
    result = invoke("resume", "a1", "b1")
    assert (1, "b1 resumed\n") == (result.exit_code, result.stdout)
    assert "Error: a1: 任务不能从“已完成”变为“等待中” [invalid_transition]\n" == result.stderr


@pytest.mark.parametrize("command", ["pause", "resume", "remove", "show"])
def test_no_id_is_a_usage_error(invoke: Invoke, command: str) -> None:
    """Status 2."""
    result = invoke(command)
    assert 2 == result.exit_code
    assert "Missing argument 'ID" in result.stderr
