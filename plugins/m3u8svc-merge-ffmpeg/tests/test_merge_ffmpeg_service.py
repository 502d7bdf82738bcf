"""
The whole way: a request over REST to the real service, a file that ffmpeg made.
"""

import shutil
from pathlib import Path
from typing import Any

FIELDS = {"filename": "film", "merger": "ffmpeg"}


def served(streams: Any, tmp_path: Path) -> None:
    """A stream of four segments where the origin serves it."""
    for part in streams.ts():
        shutil.copy(part.path, tmp_path / "origin")
    shutil.copy(streams.ts()[0].path.with_name("index.m3u8"), tmp_path / "origin")


def test_a_request_names_the_merger(serve: Any, origin: Any, streams: Any, look: Any, tmp_path: Path) -> None:
    """ "merger": "ffmpeg" with a format makes that file, with every packet of the stream."""
    served(streams, tmp_path)
    service = serve()
    body = FIELDS | {"url": f"{origin.base}/index.m3u8", "plugins": {"merge-ffmpeg": {"format": "mkv"}}}
    status, task = service.ask("POST", "/api/tasks", body)
    assert 200 == status, task
    done = service.wait(task["id"])
    assert "已完成" == done["status"], done
    assert {"video": 200, "audio": 376} == look.packets(service.saves / "film.mkv")
    assert [] == [path.name for path in service.saves.iterdir() if path.name.startswith(".t")]


def test_wrong_options_are_answered_400(serve: Any, origin: Any, streams: Any) -> None:
    """An argument outside the list is refused by the service, naming its path in the request."""
    body = FIELDS | {"url": f"{origin.base}/index.m3u8", "plugins": {"merge-ffmpeg": {"args": ["-i", "/etc/passwd"]}}}
    status, text = serve().ask("POST", "/api/tasks", body)
    assert 400 == status
    assert "plugins.merge-ffmpeg.args[0]：不允许的参数“-i”" in text


def test_without_ffmpeg_the_service_starts_and_says_so(serve: Any, origin: Any) -> None:
    """The plugin is off with its reason, and a task that names the merger is told."""
    service = serve('[plugins.merge-ffmpeg]\nffmpeg = "no-such-ffmpeg"\n')
    _, plugins = service.ask("GET", "/api/plugins")
    (plugin,) = [each for each in plugins["plugins"] if each["name"] == "merge-ffmpeg"]
    assert "off" == plugin["state"]
    assert "there is no program 'no-such-ffmpeg' on PATH" in plugin["reason"]
    status, text = service.ask("POST", "/api/tasks", FIELDS | {"url": f"{origin.base}/index.m3u8"})
    assert 400 == status
    assert "ffmpeg" in text
