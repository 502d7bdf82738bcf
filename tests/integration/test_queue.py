"""
The queue of a real service, changed over the API and from the command line; requests that come twice, over a kill; and
one trouble told by API, command line and log.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from m3u8svc.errors import advice_on
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

StartService = Callable[..., Service]


def m3u8svc(service: Service, *arguments: str, locale: str = "C.UTF-8") -> str:
    """What the command line says to this service."""
    command = [sys.executable, "-m", "m3u8svc", *arguments, "--server", service.base]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, "LC_ALL": locale})
    assert (0, "") == (ended.returncode, ended.stderr)
    return ended.stdout


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that takes connections and never answers: a task of it keeps its place for long."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/list.m3u8"


def queue(service: Service) -> list[str]:
    """The names of those that wait, in the order in which they will start."""
    waiting = [task for task in service.ask("GET", "/api/tasks").value if task["queue_position"] is not None]
    return [task["filename"] for task in sorted(waiting, key=lambda task: task["queue_position"])]


def test_the_queue(start_service: StartService, nginx: Nginx, deaf: str) -> None:
    """Tasks start by priority, then by place; who downloads goes on; the list stays in the order of creation."""
    service = start_service("--max-active", "1")
    first = service.add(deaf, "first")
    service.wait(first, "下载中")
    ids = {name: service.add(f"{nginx.base}/none/{name}.m3u8", name) for name in "abcd"}
    ids["e"] = m3u8svc(service, "add", f"{nginx.base}/none/e.m3u8", "--name", "e", "--priority", "5").strip()
    assert ["e", "a", "b", "c", "d"] == queue(service)
    assert f"{ids['d']} moved\n" == m3u8svc(service, "move", ids["d"], "first")
    m3u8svc(service, "move", ids["a"], "3")
    m3u8svc(service, "priority", ids["c"], "-7")
    assert ["e", "d", "b", "a", "c"] == queue(service)
    assert re.search(r"In the queue +5 *\nPriority +-7 *\n", m3u8svc(service, "show", ids["c"]))
    service.put(ids["b"], "已暂停")
    assert (400, True) == (
        (refused := service.ask("PUT", f"/api/tasks?id={first}", {"queue": "first"})).status,
        "任务不在队列中（下载中）" in refused.value,
    )
    both = service.ask("PUT", f"/api/tasks?id={ids['b']}", {"status": "等待中", "priority": 100, "queue": "last"})
    assert 200 == both.status
    assert "下载中" == service.task(first)["status"]
    listed = [task["filename"] for task in service.ask("GET", "/api/tasks").value]
    assert ["first", *"abcde"] == listed
    service.ask("DELETE", f"/api/tasks?id={first}")
    for name in "abcde":
        service.wait(ids[name], "失败")
    started = re.findall(r"task (\w+) started", service.log)
    assert [first, *(ids[name] for name in "bedac")] == started


def test_only_so_many_tasks_are_unfinished(start_service: StartService, deaf: str, tmp_path: Path) -> None:
    """As many as the configuration says; the next is told so in both languages."""
    configuration = tmp_path / "few.toml"
    configuration.write_text("[web]\nunfinished_tasks = 2\n", encoding="utf-8")
    service = start_service("--config", str(configuration))
    body = {"url": deaf, "filename": "one"}
    made = [service.ask("POST", "/api/tasks", body) for _ in range(3)]
    assert [200, 200, 429] == [answer.status for answer in made]
    assert ("too_many_tasks", "60") == (made[2].headers["x-error-code"], made[2].headers["retry-after"])
    assert "too many tasks: 2 are not finished yet" == made[2].headers["x-error-text-en"]
    assert 2 == len(service.ask("GET", "/api/tasks").value)


def test_a_request_that_comes_twice(start_service: StartService, deaf: str) -> None:
    """One task of twenty requests at once; also after the service was killed, and after the task was removed."""
    service = start_service()
    body = {"url": deaf, "filename": "once"}
    key = "Idempotency-Key: 0a62f4d7"
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: service.ask("POST", "/api/tasks", body, key), range(20)))
    assert 1 == len({answer.text for answer in answers}), {answer.text for answer in answers}
    assert 19 == sum("idempotent-replayed" in answer.headers for answer in answers)
    (task,) = service.ask("GET", "/api/tasks").value
    assert task["id"] == answers[0].value["id"]
    service.kill()
    service.start()
    again = service.ask("POST", "/api/tasks", body, key)
    assert (answers[0].text, "true") == (again.text, again.headers["idempotent-replayed"])
    other = service.ask("POST", "/api/tasks", body | {"filename": "twice"}, key)
    assert (400, "idempotency_conflict") == (other.status, other.headers["x-error-code"])
    service.ask("DELETE", f"/api/tasks?id={task['id']}")
    assert again.text == service.ask("POST", "/api/tasks", body, key).text
    assert [] == service.ask("GET", "/api/tasks").value


def test_one_trouble_is_told_the_same_everywhere(start_service: StartService, nginx: Nginx, served: Path) -> None:
    """The API, the command line in both languages and the log: one code, and what to do about it."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "gone.ts?token=CANARY", "#EXT-X-ENDLIST"]
    (served / "broken.m3u8").write_text("\n".join(lines))
    service = start_service()
    task = service.fail(f"{nginx.base}/broken.m3u8", "broken")
    assert "http_4xx" == task["err_code"]
    assert "下载ts文件错误: 00001.ts: 服务器返回 HTTP 404" in task["err_msg"]
    assert "segment 00001.ts could not be downloaded: the server answered HTTP 404" in task["err_msg_en"]
    assert (advice_on("http_4xx", "zh"), advice_on("http_4xx", "en")) == (task["err_advice"], task["err_advice_en"])
    assert (f"{nginx.base}/gone.ts?…", "") == (task["err_url"], task["held"])
    assert "http_4xx" in {incident["code"] for incident in task["incidents"]}
    english, chinese = m3u8svc(service, "show", task["id"]), m3u8svc(service, "show", task["id"], locale="zh_CN.UTF-8")
    assert f"{task['err_msg_en']} [http_4xx]" in english and task["err_advice_en"] in english
    assert f"{task['err_msg']} [http_4xx]" in chinese and task["err_advice"] in chinese
    (line,) = [line for line in service.log.splitlines() if f"task {task['id']} failed" in line]
    assert "http_4xx" in line
    assert "CANARY" not in english + chinese + service.log + str(task)
