"""
Real POSTs to a real receiver, real commands.
"""

import json
import os
import re
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor  # noqa: TID251  # a test names it
from twisted.internet.task import Clock

from m3u8svc.plugin import ConfigError, OptionError, Status

SECRET = "correct horse battery staple"
README = Path(__file__).parent.parent / "README.md"


def hook(receiver: Any, **more: Any) -> dict[str, Any]:
    """The configuration of one webhook."""
    return {"webhooks": [{"url": receiver.url, "name": "a", "secret": SECRET, **more}]}


def order(receiver: Any) -> list[tuple[str, int]]:
    """Tasks and event numbers, as they arrived."""
    return [(each.said["id"], each.said["event_id"]) for each in receiver.got]


def verify(received: Any) -> bool:
    """By the README's own code."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    headers = received.headers
    accepted: bool = names["verify"](
        SECRET.encode(), headers["x-m3u8svc-timestamp"], headers["x-m3u8svc-signature"], received.body
    )
    return accepted


# -- Webhooks --------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_signed_post_arrives(world: Any, receiver: Any) -> None:
    """One POST with the documented headers; the README's code accepts it."""
    plugin = await world.plugin(**hook(receiver, headers={"Authorization": "Bearer x"}))
    await plugin.task_changed(task=world.task(), previous=None, event_id=7)
    await world.until(lambda: receiver.got)
    (received,) = receiver.got
    assert verify(received)
    assert "created" == received.headers["x-m3u8svc-event"]
    assert "7" == received.headers["x-m3u8svc-event-id"]
    assert "application/json" == received.headers["content-type"]
    assert "Bearer x" == received.headers["authorization"]
    assert received.headers["user-agent"].startswith("m3u8svc-notify/")
    assert "https://example.test/list.m3u8" == received.said["url"]
    await world.close()


@pytest_twisted.ensureDeferred
async def test_only_what_was_asked_for(world: Any, receiver: Any) -> None:
    """Events outside `on` are not sent."""
    plugin = await world.plugin(**hook(receiver, on=["失败", "created"]))
    await plugin.task_changed(task=world.task(Status.WAITING), previous=None, event_id=1)
    await plugin.task_changed(task=world.task(Status.DOWNLOADING), previous=world.task(Status.WAITING), event_id=2)
    await plugin.task_changed(task=world.task(Status.FAILED), previous=world.task(Status.DOWNLOADING), event_id=3)
    await world.until(lambda: len(receiver.got) == 2)
    await world.pause(0.1)
    assert [("t1", 1), ("t1", 3)] == order(receiver)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_order_per_task_while_others_go_on(world: Any, receiver: Any) -> None:
    """A task whose event is refused twice waits for it; another task's events do not. All arrive, in order."""
    came: list[tuple[str, int]] = []
    all_of_the_quick = threading.Event()

    def answer(received: Any) -> int:
        came.append((received.said["id"], received.said["event_id"]))
        if received.said["event_id"] == 4:
            all_of_the_quick.set()
        if received.said["event_id"] != 1:
            return 200
        if came.count(("slow", 1)) <= 2:
            return 500
        all_of_the_quick.wait()
        return 200

    receiver.answer = answer
    plugin = await world.plugin(**hook(receiver, timeout_s=300))
    for number, task in enumerate(["slow", "slow", "quick", "quick", "slow"], 1):
        await plugin.task_changed(task=world.task(id=task), previous=world.task(), event_id=number)
    await world.until(lambda: len(receiver.got) == 7)
    assert [("slow", 1)] * 3 + [("slow", 2), ("slow", 5)] == [each for each in came if each[0] == "slow"]
    assert [("quick", 3), ("quick", 4)] == [each for each in came if each[0] == "quick"]
    assert came.index(("quick", 4)) < came.index(("slow", 2))
    assert all(verify(each) for each in receiver.got)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_restart_sends_the_rest(world: Any, receiver: Any) -> None:
    """What the receiver did not take before a restart comes after it, in order, and what it took does not."""
    receiver.answer = lambda received: 200 if received.said["event_id"] == 1 else 503
    plugin = await world.plugin(**hook(receiver))
    for number in (1, 2, 3):
        await plugin.task_changed(task=world.task(), previous=world.task(), event_id=number)
    await world.until(lambda: len(receiver.got) >= 2)
    await world.close(plugin)
    receiver.got.clear()
    receiver.answer = lambda received: 200
    plugin = await world.plugin(**hook(receiver))
    await plugin.task_changed(task=world.task(), previous=world.task(), event_id=1)  # told again: at least once
    await world.until(lambda: len(receiver.got) == 2)
    await world.pause(0.1)
    assert [("t1", 2), ("t1", 3)] == order(receiver)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_gone_disables_the_target(world: Any, receiver: Any) -> None:
    """410: nothing more is sent to it in this run, and the log says so loudly."""
    receiver.answer = lambda received: 410
    plugin = await world.plugin(**hook(receiver))
    for number in (1, 2):
        await plugin.task_changed(task=world.task(id=f"t{number}"), previous=None, event_id=number)
        await world.until(lambda: any("NOTHING more" in line for line in world.log.lines))
    await world.pause(0.2)
    assert [("t1", 1)] == order(receiver)
    assert any(line.startswith("error: webhook:a answered HTTP 410") for line in world.log.lines)
    await world.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [404, 302])
async def test_a_refusal_drops_the_event(world: Any, receiver: Any, status: int) -> None:
    """Other 4xx and redirects drop the event, loudly; the next one is sent. A redirect is not followed."""
    receiver.answer = lambda received: (status if received.said["event_id"] == 1 else 200, {"Location": "/else"})
    plugin = await world.plugin(**hook(receiver))
    for number in (1, 2):
        await plugin.task_changed(task=world.task(), previous=None, event_id=number)
    await world.until(lambda: len(receiver.got) == 2)
    assert [("t1", 1), ("t1", 2)] == order(receiver)
    assert any("NOT told of event 1 of task t1: HTTP " in line for line in world.log.lines)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_retry_after_is_honoured(world: Any, receiver: Any) -> None:
    """The next attempt comes when the receiver asked for it, not before."""
    times: list[float] = []

    def answer(received: Any) -> Any:
        times.append(time.monotonic())
        return (429, {"Retry-After": "2"}) if len(times) == 1 else 200

    receiver.answer = answer
    plugin = await world.plugin(**hook(receiver))
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.until(lambda: len(times) == 2)
    assert 2.0 <= times[1] - times[0]
    assert "warn: webhook:a, event 1: HTTP 429, again in 2 s" in world.log.lines
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_hangs_is_tried_again(world: Any, receiver: Any) -> None:
    """No answer within the time allowed is a failure like others."""
    receiver.answer = lambda received: 0 if len(receiver.got) == 0 else 200
    plugin = await world.plugin(**hook(receiver, timeout_s=1))
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.until(lambda: len(receiver.got) >= 2)
    assert any("no answer within 1 s" in line for line in world.log.lines)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_nobody_listening_is_tried_again(world: Any, receiver: Any) -> None:
    """A refused connection leaves the event queued; the log has no token of the URL."""
    receiver.close()
    plugin = await world.plugin(**hook(receiver))
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.until(lambda: any("ConnectionRefusedError" in line for line in world.log.lines))
    await world.close()
    assert "in-the-query" not in str(world.log.lines)


@pytest_twisted.ensureDeferred
async def test_closing_while_a_post_hangs(world: Any, receiver: Any) -> None:
    """A stop cuts a delivery off at once; it stays queued for the next start."""
    receiver.answer = lambda received: 0
    plugin = await world.plugin(**hook(receiver, timeout_s=300))
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.until(lambda: receiver.got)
    closing = world.running(world.close(plugin))
    await world.until(lambda: closing.called)  # who waits for the post's end waits longer
    await closing
    receiver.answer = lambda received: 200
    await world.plugin(**hook(receiver))
    await world.until(lambda: len(receiver.got) == 2)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_target_that_is_gone_from_the_configuration(world: Any, receiver: Any) -> None:
    """What waits for it is dropped, and counted in the log."""
    receiver.answer = lambda received: 500
    plugin = await world.plugin(**hook(receiver))
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.close(plugin)
    await world.plugin(**hook(receiver, name="b"))
    assert "error: webhook:a is not configured any more: 1 events for it are dropped" in world.log.lines
    await world.close()


@pytest_twisted.ensureDeferred
async def test_requests_have_no_say(world: Any, receiver: Any) -> None:
    """Options of a request are refused by name."""
    plugin = await world.plugin(**hook(receiver))
    with pytest.raises(OptionError) as caught:
        plugin.check_options(options={"url": "http://evil.test"})
    assert "解析请求失败：url：“notify” 没有任务选项" in caught.value.text()
    assert caught.value.text("en").startswith("url: notify takes no options of a task")
    await world.close()


@pytest_twisted.ensureDeferred
async def test_few_at_once(world: Any, receiver: Any) -> None:
    """However many tasks have something to say, one target has at most four POSTs at a time; all arrive."""
    now, most = [0], [0]
    lock = threading.Lock()
    answering = threading.Event()

    def answer(received: Any) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        answering.wait()
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return 200

    receiver.answer = answer
    plugin = await world.plugin(**hook(receiver, timeout_s=300))
    for number in range(1, 41):
        await plugin.task_changed(task=world.task(id=f"t{number}"), previous=None, event_id=number)
    await world.until(lambda: most[0] >= 4)
    await world.pause(0.1)  # a fifth would come
    answering.set()
    await world.until(lambda: len(receiver.got) == 40)
    assert 4 == most[0]
    await world.close()


@pytest_twisted.ensureDeferred
async def test_one_dead_target_does_not_hold_up_another(world: Any, receiver: Any) -> None:
    """A target that takes nothing has no part in what others get."""
    receiver.answer = lambda received: 0 if received.path == "/dead" else 200
    base = receiver.url.partition("/hook")[0]
    plugin = await world.plugin(webhooks=[{"url": f"{base}/dead", "timeout_s": 300}, {"url": f"{base}/alive"}])
    for number in range(1, 21):
        await plugin.task_changed(task=world.task(id=f"t{number}"), previous=None, event_id=number)
    await world.until(lambda: sum(each.path == "/alive" for each in receiver.got) == 20)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_for_a_while(world: Any, receiver: Any) -> None:
    """An event that cannot be saved is held, said, and saved with the next one; the plugin goes on."""
    plugin = await world.plugin(**hook(receiver))
    other = sqlite3.connect(world.place / "notify.db")
    other.execute("ALTER TABLE item RENAME TO away")
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    assert any("event 1 cannot be queued" in line for line in world.log.lines)
    other.execute("ALTER TABLE away RENAME TO item")
    other.close()
    await plugin.task_changed(task=world.task(), previous=None, event_id=2)
    await world.until(lambda: len(receiver.got) == 2)
    assert [("t1", 1), ("t1", 2)] == order(receiver)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_queue_that_is_no_database_stops_the_start(world: Any, receiver: Any) -> None:
    """A damaged file is named; nothing is told by guessing."""
    (world.place / "notify.db").write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError) as caught:
        await world.plugin(**hook(receiver))
    assert "plugins.notify: the queue notify.db cannot be used" in caught.value.text("en")


# -- Commands --------------------------------------------------------------------------------------------------------


def writing(place: Path) -> list[str]:
    """A command that writes down how it was run."""
    script = place / "script.py"
    script.write_text(
        "import json, os, sys\n"
        "said = {'argv': sys.argv[1:], 'stdin': sys.stdin.read(), 'env': dict(os.environ), 'sid': os.getsid(0)}\n"
        f"open({str(place / 'out.tmp')!r}, 'w').write(json.dumps(said))\n"
        f"os.rename({str(place / 'out.tmp')!r}, {str(place / 'out')!r})\n"
        "print('x' * 100000)\n"
        "sys.exit(3)\n"
    )
    return [sys.executable, str(script), "$(touch here); echo *", "a b"]


@pytest_twisted.ensureDeferred
async def test_a_command_is_run_without_a_shell(world: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """It gets its arguments as written, the event as JSON and in its environment, and nothing else of ours."""
    monkeypatch.setenv("M3U8SVC_HOOK_SECRET", SECRET)
    plugin = await world.plugin(commands=[{"argv": writing(tmp_path), "name": "c"}])
    await plugin.task_changed(task=world.task(filename="a'b;c"), previous=world.task(Status.DOWNLOADING), event_id=5)
    await world.until(lambda: any("printed" in line for line in world.log.lines))
    said = json.loads((tmp_path / "out").read_text())
    assert ["$(touch here); echo *", "a b"] == said["argv"]
    assert (5, "completed", "a'b;c") == tuple(
        json.loads(said["stdin"])[key] for key in ("event_id", "event", "filename")
    )
    assert ("5", "completed", "t1", "已完成", "下载中", "a'b;c") == tuple(
        said["env"][f"M3U8SVC_{key}"] for key in ("EVENT_ID", "EVENT", "TASK_ID", "STATUS", "PREVIOUS", "FILENAME")
    )
    assert SECRET not in str(said["env"])
    assert os.getsid(0) != said["sid"]
    (printed,) = [line for line in world.log.lines if "printed" in line]
    assert len(printed) < 4200
    await world.until(lambda: "warn: command:c, event 5: exit status 3" in world.log.lines)
    await world.close()


@pytest_twisted.ensureDeferred
async def test_a_hanging_command_is_killed_with_its_children(world: Any, tmp_path: Path) -> None:
    """After the time allowed it and what it started are gone, and the next event has its turn."""
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ >> {pids}; [ $M3U8SVC_EVENT_ID = 2 ] || wait"
    world.reactor = HeldTimers(reactor)
    plugin = await world.plugin(commands=[{"argv": ["sh", "-c", script], "name": "c", "timeout_s": 1}])
    for number in (1, 2):
        await plugin.task_changed(task=world.task(), previous=None, event_id=number)
    await world.until(lambda: len(written(pids)) == 2)
    world.reactor.timers.advance(1)
    await world.until(lambda: "warn: command:c, event 1: ended after 1 s" in world.log.lines)
    await world.until(lambda: len(written(pids)) == 4)
    await world.until(lambda: [] == [pid for pid in written(pids) if runs(pid)])
    await world.close()


class HeldTimers:
    """
    A reactor whose timers ring when `timers` is told of the time that passed; everything else is the real one's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.timers = Clock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(self, delay: float, call: Any, *args: Any, **kwargs: Any) -> Any:
        """As IReactorTime says."""
        return self.timers.callLater(delay, call, *args, **kwargs)


def written(path: Path) -> list[str]:
    """The words in a file, none when it is not there."""
    return path.read_text().split() if path.exists() else []


def runs(pid: str) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it went, before the opening or after
        return False


@pytest_twisted.ensureDeferred
async def test_closing_ends_a_command_and_runs_it_again(world: Any, tmp_path: Path) -> None:
    """A stop kills what runs; the event is told again at the next start."""
    marks = tmp_path / "marks"
    config = {"commands": [{"argv": ["sh", "-c", f"echo $$ >> {marks}; sleep 60"], "name": "c"}]}
    plugin = await world.plugin(**config)
    await plugin.task_changed(task=world.task(), previous=None, event_id=1)
    await world.until(lambda: written(marks))
    await world.close(plugin)
    (pid,) = written(marks)
    await world.until(lambda: not Path(f"/proc/{pid}").exists())
    await world.plugin(**config)
    await world.until(lambda: len(written(marks)) == 2)
    await world.close()
