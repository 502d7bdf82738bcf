"""
The modules beside the hooks, without a service.
"""

import errno
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from m3u8svc_example.choices import at_most
from m3u8svc_example.journal import Journal
from m3u8svc_example.merger import ListMerger
from m3u8svc_example.options import read_configuration, read_options

from m3u8svc.plugin import (
    ConfigError,
    DiskFull,
    Gap,
    MergeJob,
    OptionError,
    Part,
    SegmentOutcome,
    Status,
    Task,
    TaskSpec,
    Variant,
)

LOW, MIDDLE, RICH = (
    Variant(uri=f"http://x/{height}-{bandwidth}", height=height, bandwidth=bandwidth)
    for height, bandwidth in ((360, 1), (720, 2), (720, 3))
)
DONE = Task(id="t", spec=TaskSpec(url="http://x/", filename="film"), status=Status.COMPLETED)
UNTOLD = Variant(uri="http://x/audio", bandwidth=9)


@pytest.mark.parametrize(
    ("height", "variants", "expected"),
    [
        (720, [LOW, MIDDLE, RICH], RICH),
        (719, [LOW, MIDDLE, RICH], LOW),
        (100, [MIDDLE, LOW], LOW),
        (720, [UNTOLD, LOW], LOW),
        (720, [UNTOLD], None),
    ],
)
def test_at_most(height: int, variants: list[Variant], expected: Variant | None) -> None:
    """The best that is allowed, the lowest when nothing is, none when heights are not told."""
    assert expected == at_most(height, variants)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"max_height": 0}, "max_height"),
        ({"max_height": True}, "max_height"),
        ({"headers": ["X-Client"]}, "headers"),
        ({"headers": {"X Client": "nas"}}, "headers.X Client"),
        ({"headers": {"X-Client": "nas\r\nHost: evil"}}, "headers.X-Client"),
        ({"keys": {"https://x/k?token=s3cret": "0123"}}, "keys.https://x/k"),
        ({"hooks": 1}, "hooks"),
    ],
)
def test_configuration_wrong_is_named(config: dict[str, Any], where: str) -> None:
    """The key is named, and a secret is not."""
    with pytest.raises(ConfigError) as caught:
        read_configuration(config)
    assert where == caught.value.fields["where"]
    assert "s3cret" not in str(caught.value)


def test_keys_are_not_shown() -> None:
    """Whoever logs the configuration logs no key."""
    configured = read_configuration({"keys": {"https://x/k": "00112233445566778899aabbccddeeff\n"}})
    assert {"https://x/k": bytes.fromhex("00112233445566778899aabbccddeeff")} == configured.keys
    assert "keys" not in repr(configured)


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"max_height": "720"}, "max_height", "must be a whole number from 1 to 10000, not '720'"),
        ({"skip_first_s": -1}, "skip_first_s", "must be seconds from 0 to 86400, not -1"),
        ({"skip_first_s": float("nan")}, "skip_first_s", "must be seconds from 0 to 86400, not nan"),
        ({"skip_firsts": 1}, "skip_firsts", "there is no such option, did you mean skip_first_s?"),
    ],
)
def test_options_wrong_are_named(options: dict[str, Any], path: str, said: str) -> None:
    """The option is named, with what it may be, in both languages."""
    with pytest.raises(OptionError) as caught:
        read_options(options)
    assert path == caught.value.fields["path"]
    assert f"{path}: {said}" == caught.value.text("en")


def test_event_that_comes_again_is_written_once(tmp_path: Path) -> None:
    """After a crash events come again; lines do not, even behind one that the crash cut off."""
    path = tmp_path / "journal.jsonl"
    first = Journal(path)
    first.note(DONE, 7)
    first.note(DONE, 7)
    first.close()
    path.write_text(path.read_text() + '{"event": 9, "ta\n')
    again = Journal(path)
    again.note(DONE, 7)
    again.note(DONE, 8)
    again.close()
    assert 2 == path.read_text().count('"task": "t"')


def test_segments_are_counted_until_the_task_ends(tmp_path: Path) -> None:
    """That the download has begun may be told after its first segment."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.count("t", SegmentOutcome(kind="done", attempts=1))
    journal.note(attrs.evolve(DONE, status=Status.DOWNLOADING), 1)
    journal.count("t", SegmentOutcome(kind="done", attempts=1))
    journal.note(DONE, 2)
    journal.close()
    assert {"done": 2} == json.loads((tmp_path / "journal.jsonl").read_text())["segments"]


def test_list_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A full disk fails the task as what it is, and the half file is gone."""
    asked: list[str] = []

    async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        asked.append(function.__name__)
        if len(asked) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return result

    async def parts() -> AsyncIterator[Part]:
        yield Gap(position=1, duration_s=6.0, reason="advert")

    job = MergeJob(target=tmp_path / "film.txt", task=DONE)
    merging = ListMerger(in_thread).merge(job, parts(), lambda parts_done: None)
    with pytest.raises(DiskFull):
        merging.send(None)
    assert ["_write", "unlink"] == asked
    assert [] == list(tmp_path.iterdir())
