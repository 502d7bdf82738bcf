"""
The whole way: tasks of the real service, told to a real receiver, across a kill -9.
"""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from m3u8svc.testing.harness import ts_segment
from m3u8svc.testing.playlists import media_playlist, segment_lines

SECRET = "correct horse battery staple"
README = Path(__file__).parent.parent / "README.md"


def verified(received: Any) -> bool:
    """By the README's own code."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    stamp, signature = (received.headers[f"x-m3u8svc-{name}"] for name in ("timestamp", "signature"))
    accepted: bool = names["verify"](SECRET.encode(), stamp, signature, received.body)
    return accepted


def until(condition: Callable[[], object], service: Any, within_s: float = 60.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)


def configured(receiver: Any) -> str:
    """One webhook with its secret in the environment."""
    return f'[[plugins.notify.webhooks]]\nurl = "{receiver.url}"\nsecret = {{"$env" = "HOOK_SECRET"}}\n'


def fill(directory: Path, segments: int) -> None:
    """A stream of next to nothing."""
    lines = segment_lines(segments)
    (directory / "list.m3u8").write_text(media_playlist(lines))
    for line in lines:
        (directory / line.uri).write_bytes(ts_segment(line.uri))


def test_a_task_is_told_from_created_to_completed(serve: Any, origin: Any, receiver: Any, tmp_path: Path) -> None:
    """Every transition of a task arrives, in order, signed."""
    fill(tmp_path / "origin", 2)
    service = serve(configured(receiver), HOOK_SECRET=SECRET)
    body = {"url": f"{origin.base}/list.m3u8?token=s3cret", "filename": "film", "merger": "ts"}
    status, task = service.ask("POST", "/api/tasks", body)
    assert 200 == status, task
    until(lambda: receiver.got and receiver.got[-1].said["event"] == "completed", service)
    assert ["created", "downloading", "completed"] == [each.said["event"] for each in receiver.got]
    assert {task["id"]} == {each.said["id"] for each in receiver.got}
    assert all(verified(each) for each in receiver.got)
    assert str(service.saves / "film.ts") == receiver.got[-1].said["output"]
    assert (service.saves / "film.ts").stat().st_size == receiver.got[-1].said["size"]
    assert "s3cret" not in str(receiver.got)
    assert SECRET not in service.log


def test_kill_9_loses_no_event(serve: Any, origin: Any, receiver: Any, tmp_path: Path) -> None:
    """
    Killed while it downloads and the receiver refuses: after the restart the rest arrives, in order, nothing that was
    taken comes again.
    """
    fill(tmp_path / "origin", 6)
    origin.delay_s = 0.5
    taken: list[Any] = []
    refusing = [True]

    def answer(received: Any) -> int:
        if refusing[0] and received.said["event"] != "created":
            return 503
        taken.append(received)
        return 200

    receiver.answer = answer
    service = serve(configured(receiver), HOOK_SECRET=SECRET)
    _, task = service.ask("POST", "/api/tasks", {"url": f"{origin.base}/list.m3u8", "filename": "film", "merger": "ts"})
    until(lambda: len(receiver.got) >= 2, service)  # created was taken, downloading refused
    service.end(signal.SIGKILL)
    refusing[0] = False
    service.start()
    assert "已完成" == service.wait(task["id"])["status"]
    until(lambda: taken[-1].said["event"] == "completed", service)
    events = [each.said["event"] for each in taken]
    assert ["created", "downloading"] == events[:2]
    assert 1 == events.count("completed")
    numbers = [each.said["event_id"] for each in taken]
    assert sorted(set(numbers)) == numbers
    assert all(verified(each) for each in taken)
