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


def test_list_searches_and_sorts(service: StubService, invoke: Invoke) -> None:
    """By the service, which is asked for nothing that was not typed."""
    invoke("list", "--search", "片 1", "--sort", "size", "--reverse", "--limit", "3")
    assert {"q": "片 1", "sort": "size", "order": "desc", "limit": "3"} == service.visits[0].query
    assert 2 == invoke("list", "--sort", "colour").exit_code


def test_list_as_json_is_what_the_service_sent(service: StubService, invoke: Invoke) -> None:
    """All fields, known to us or not, in order."""
    tasks = [task("a1", filename="影片", future={"x": [1]}), task("a2")]
    service.put(*tasks)
    assert tasks == json.loads(invoke("list", "--json").stdout)


@pytest.mark.parametrize(
    ("locale", "line"),
    [
        (ENGLISH, "note: it was\\x1b restored [db_restored]; look at it\n"),
        (CHINESE, "注意：已恢复 [db_restored]；请检查\n"),
    ],
)
def test_list_says_what_is_wrong_with_the_service(service: StubService, invoke: Invoke, locale: str, line: str) -> None:
    """On stderr, in the user's language, with the code and what to do; the table and the JSON are as ever."""
    service.put(task("a1"))
    service.degraded = [
        {
            "code": "db_restored",
            "text": "已恢复",
            "text_en": "it was\x1b restored",
            "advice": "请检查",
            "advice_en": "look at it",
        }
    ]
    for as_json in ((), ("--json",)):
        result = invoke("list", *as_json, locale=locale)
        assert (0, line) == (result.exit_code, result.stderr)
        assert "a1" in result.stdout and "db_restored" not in result.stdout


def test_list_of_an_older_service(service: StubService, invoke: Invoke) -> None:
    """One that does not say how it is: nothing is said of that."""
    service.put(task("a1"))
    service.degraded = None
    result = invoke("list")
    assert (0, "") == (result.exit_code, result.stderr)


@pytest.mark.parametrize("state", ["held", "HELD", "已挂起"])
def test_list_of_what_the_service_holds(service: StubService, invoke: Invoke, state: str) -> None:
    """Of the paused tasks those with a reason."""
    paused = {"status": "已暂停"}
    service.put(task("a1", **paused), task("b1", **paused, held="disk_full"), task("c1", status="失败"))
    listed = json.loads(invoke("list", "--status", state, "--json").stdout)
    assert ["b1"] == [each["id"] for each in listed]


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
            warnings_en=["ignored: x"],
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
        "What to do": "look at the network and the link, then resume the task",
        "Warning": "ignored: x",
        "Created": "2026-01-02T03:04:05.000006Z",
        "URL": "http://stream.example/a1.m3u8",
    } == {label: value.strip() for label, value in facts.items()}


TROUBLE = {
    "status": "已暂停",
    "held": "disk_full",
    "err_code": "disk_full",
    "err_msg": "磁盘空间不足：/srv",
    "err_msg_en": "no space left on the disk of /srv",
    "err_advice": "清理磁盘空间",
    "err_advice_en": "free some space",
    "priority": -2,
    "queue_position": None,
    "incidents": [
        {"at": "2026-01-02T03:04:05.000006Z", "code": "http_5xx", "text": "坏", "text_en": "bad", "count": 3},
        {"at": "2026-01-02T03:04:06.000006Z", "code": "disk_full", "text": "满", "text_en": ""},
    ],
}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        (
            ENGLISH,
            {
                "Status": "held",
                "Priority": "-2",
                "Error": "no space left on the disk of /srv [disk_full]",
                "What to do": "free some space",
            },
        ),
        (
            CHINESE,
            {"状态": "已挂起", "优先级": "-2", "错误": "磁盘空间不足：/srv [disk_full]", "怎么办": "清理磁盘空间"},
        ),
    ],
)
def test_trouble_is_told_in_the_user_s_language(
    service: StubService, invoke: Invoke, locale: str, expected: dict[str, str]
) -> None:
    """What is wrong, its code, what can be done, and that it was not the user who paused the task."""
    service.put(task("a1", **TROUBLE))
    lines = invoke("show", "a1", locale=locale).stdout.splitlines()
    facts = {label: value.strip() for label, value in (line.strip().split("  ", 1) for line in lines)}
    assert expected == {label: facts[label] for label in expected}
    listed = invoke("list", locale=locale).stdout
    assert all(text in listed for label, text in expected.items() if label not in ("Priority", "优先级"))
    watched = invoke("watch", "a1", "--until-done", locale=locale).stdout
    assert f"{expected.popitem()[1]}\n" in watched and "[disk_full]" in watched


def test_incidents_are_shown_oldest_first(service: StubService, invoke: Invoke) -> None:
    """When, what, and how often in a row; what has no English is told as it is."""
    service.put(task("a1", **TROUBLE))
    shown = [line.split("  ", 1)[1].strip() for line in invoke("show", "a1").stdout.splitlines() if "Incident" in line]
    assert ["2026-01-02T03:04:05 [http_5xx] ×3 bad", "2026-01-02T03:04:06 [disk_full] 满"] == shown


def test_show_of_a_task_that_waits(service: StubService, invoke: Invoke) -> None:
    """Its place in the queue; a priority of 0 goes without saying."""
    service.put(task("a1", queue_position=3, priority=0))
    output = invoke("show", "a1").stdout
    assert "In the queue" in output and "3" in output and "Priority" not in output


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


def test_the_start_of_an_id_is_looked_for(service: StubService, invoke: Invoke) -> None:
    """By the service, which may have very many tasks; what no id could have is not."""
    service.put(task("abc1"), task("xyz", filename="abc"))
    assert "abc1" == json.loads(invoke("show", "abc", "--json").stdout)["id"]
    assert [{"id": "abc"}, {"q": "abc", "limit": "100"}] == [visit.query for visit in service.visits]
    for given in ("no id", "a" * 65, "é"):
        assert 1 == invoke("show", given).exit_code
    assert 3 == sum("id" in visit.query for visit in service.visits[2:]) == len(service.visits[2:])


def test_the_start_of_an_id_among_very_many(service: StubService, invoke: Invoke) -> None:
    """The service is asked for a page at a time, and for no more once it is clear that the start is of several."""
    names = (task(f"n{number}", filename="a film") for number in range(250))
    service.put(*names, *(task(f"a{number}") for number in range(250)), task("zz9"))
    assert "it could be: a0, a1, a2, a3, a4\n" in invoke("show", "a").stderr
    pages = [{"q": "a", "limit": "100"} | ({"offset": str(place)} if place else {}) for place in (0, 100, 200)]
    assert [{"id": "a"}, *pages] == [visit.query for visit in service.visits]
    service.put(*(task(f"m{number}", filename="zz") for number in range(100)))
    service.put(service.tasks.pop("zz9"))
    assert "zz9" == json.loads(invoke("show", "zz", "--json").stdout)["id"]


@pytest.mark.parametrize("most", [0, 10])
def test_the_start_of_an_id_where_there_are_no_pages(service: StubService, invoke: Invoke, most: int) -> None:
    """Of a service that gives fewer tasks at a time, or heeds no limit, all are asked for."""
    service.page_tasks = most
    service.put(*(task(f"n{number}", filename="a film") for number in range(100 - 1)), task("a1"))
    assert "a1" == json.loads(invoke("show", "a", "--json").stdout)["id"]
    assert len(service.visits) <= 5


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
        (
            "zzz",
            ENGLISH,
            "Error: 任务不存在 [task_not_found]\nWhat to do: look up the ids of the tasks with m3u8svc list\n",
        ),
        ("zzz", CHINESE, "错误：任务不存在 [task_not_found]\n怎么办：用 m3u8svc list 查看现有任务的 ID\n"),
        ("", ENGLISH, "Error: 任务ID不能为空 [missing_task_id]\nWhat to do: add ?id= with the task's id\n"),
    ],
)
@pytest.mark.parametrize("command", ["show", "pause", "resume", "remove", "watch"])
def test_unknown_id_is_refused_in_the_service_s_words(
    service: StubService, invoke: Invoke, command: str, given: str, locale: str, said: str
) -> None:
    """Status 1; the API's text as it is, its code, and advice. An empty id is not the start of every other."""
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


@pytest.mark.parametrize(
    ("arguments", "body", "said"),
    [
        (["move", "a", "first"], {"queue": "first"}, "a1 moved\n"),
        (["move", "a1", "last"], {"queue": "last"}, "a1 moved\n"),
        (["move", "a1", "17"], {"queue": 17}, "a1 moved\n"),
        (["priority", "a1", "10"], {"priority": 10}, "a1 has its priority\n"),
        (["priority", "a1", "-10"], {"priority": -10}, "a1 has its priority\n"),
    ],
)
def test_the_queue_is_changed(
    service: StubService, invoke: Invoke, arguments: list[str], body: dict[str, Any], said: str
) -> None:
    """One request, one line."""
    service.put(task("a1"), task("b1"))
    result = invoke(*arguments)
    assert (0, said, "") == (result.exit_code, result.stdout, result.stderr)
    assert [Visit(method="PUT", query={"id": "a1"}, body=body, content_type="application/json")] == service.changes


def test_a_task_goes_on_from_another_url(service: StubService, invoke: Invoke) -> None:
    """One request for both, one line; what the service has to say of it is told."""
    service.put(task("a1"), task("b1"))
    service.warnings, service.warnings_en = ["Cookie 将发送到那里"], ["Cookie goes elsewhere"]
    result = invoke("resume", "a", "--url", "https://s.example/new.m3u8")
    assert (0, "a1 resumed\n", "Warning: Cookie goes elsewhere\n") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )
    body = {"url": "https://s.example/new.m3u8", "status": "等待中"}
    assert [Visit(method="PUT", query={"id": "a1"}, body=body, content_type="application/json")] == service.changes


def test_a_url_goes_with_one_task(service: StubService, invoke: Invoke) -> None:
    """Two tasks of one URL would be the same film twice."""
    service.put(task("a1"), task("b1"))
    assert 2 == invoke("resume", "a1", "b1", "--url", "https://s.example/new.m3u8").exit_code
    assert [] == service.visits


@pytest.mark.parametrize(
    "arguments",
    [["move", "a1", "second"], ["move", "a1", "0"], ["move", "a1"], ["priority", "a1", "101"], ["priority", "a1", "x"]],
)
def test_a_place_that_is_none(service: StubService, invoke: Invoke, arguments: list[str]) -> None:
    """Status 2, and nothing is asked."""
    service.put(task("a1"))
    assert 2 == invoke(*arguments).exit_code
    assert [] == service.visits


def test_what_became_of_each_as_json(service: StubService, invoke: Invoke) -> None:
    """One object a task, with the code of what was refused, and nothing beside it."""
    service.put(task("a1", status="已完成"), task("b1"))
    result = invoke("resume", "a1", "b1", "--json")
    assert (1, "") == (result.exit_code, result.stderr)
    refused, done = json.loads(result.stdout)
    assert {"id": "b1", "ok": True} == done
    assert ("a1", False, "invalid_transition") == (refused["id"], refused["ok"], refused["code"])
    assert "任务不能" in refused["error"]
    assert [{"id": "b1", "ok": True}] == json.loads(invoke("move", "b1", "first", "--json").stdout)
    assert [{"id": "b1", "ok": True}] == json.loads(invoke("remove", "b1", "--json").stdout)


def test_refused_task_does_not_keep_the_others(service: StubService, invoke: Invoke) -> None:
    """The rest is done all the same, the refusal is told with its code, and the status says 1."""
    service.put(task("a1", status="已完成"), task("b1"))
    result = invoke("resume", "a1", "b1")
    assert (1, "b1 resumed\n") == (result.exit_code, result.stdout)
    said, advice = result.stderr.splitlines()
    assert "Error: a1: 任务不能从“已完成”变为“等待中” [invalid_transition]" == said
    assert "What to do: look at the task's state first, and ask for what that state allows" == advice


@pytest.mark.parametrize("command", ["pause", "resume", "remove", "show"])
def test_no_id_is_a_usage_error(invoke: Invoke, command: str) -> None:
    """Status 2."""
    result = invoke(command)
    assert 2 == result.exit_code
    assert "Missing argument 'ID" in result.stderr
