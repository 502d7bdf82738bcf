"""
What is said, how it is signed, what follows an answer, what may be configured. Nothing is sent.
"""

import json
import re
import tomllib
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3u8svc_notify.deciding import (
    Again,
    Answered,
    Delivered,
    Disabled,
    Dropped,
    Ran,
    Unanswered,
    backoff_s,
    decide,
    retry_after_s,
)
from m3u8svc_notify.events import EVENT, EVENT_ID, SIGNATURE, TIMESTAMP, describe, shown_url, sign
from m3u8svc_notify.settings import EVENTS, Command, Webhook, parse_settings

from m3u8svc.plugin import ConfigError, NotConfigured, Settings, Status, Task, TaskSpec

README = Path(__file__).parent.parent / "README.md"
SECRET = "correct horse battery staple"
WALL = 1_767_225_600.0


def task(status: Status = Status.COMPLETED, **more: Any) -> Task:
    """A task with a token in its URL."""
    spec = TaskSpec(url="https://u:p@example.test/a/list.m3u8?token=s3cret#x", filename="电影", settings=Settings())
    return Task(id="t1", spec=spec, status=status, updated_at=12.5, **more)


# -- Events ----------------------------------------------------------------------------------------------------------


def test_an_event_says_what_happened() -> None:
    """The body has the documented fields, and nothing of the URL's secrets."""
    event = describe(task(output="/s/f.mp4", size=7), task(Status.DOWNLOADING), 42)
    assert {
        "event_id": 42,
        "event": "completed",
        "id": "t1",
        "status": "已完成",
        "previous": "下载中",
        "filename": "电影",
        "url": "https://example.test/a/list.m3u8",
        "output": "/s/f.mp4",
        "size": 7,
        "err_code": "",
        "err_msg": "",
        "at": 12.5,
    } == json.loads(event.body)
    assert "s3cret" not in event.body


@pytest.mark.parametrize(
    ("status", "previous", "name", "names"),
    [
        (Status.WAITING, None, "created", {"created", "waiting"}),
        (Status.WAITING, Status.PAUSED, "waiting", {"waiting"}),
        (Status.FAILED, Status.DOWNLOADING, "failed", {"failed"}),
    ],
)
def test_events_have_names(status: Status, previous: Status | None, name: str, names: set[str]) -> None:
    """A new task is created and waiting; everything else is the name of its state."""
    event = describe(task(status), None if previous is None else task(previous), 1)
    assert (name, names) == (event.name, event.names)


def test_a_failure_says_why() -> None:
    """Code and text of the error are there when the task failed, and only then."""
    said = json.loads(describe(task(Status.FAILED, err_code="c", err_msg="m"), task(), 1).body)
    assert ("c", "m") == (said["err_code"], said["err_msg"])
    said = json.loads(describe(task(Status.WAITING, err_code="c", err_msg="m"), task(), 1).body)
    assert ("", "") == (said["err_code"], said["err_msg"])


@given(st.text(max_size=60))
def test_no_url_breaks_or_leaks(text: str) -> None:
    """Whatever a URL is, what is shown has no query, fragment or user of it."""
    shown = shown_url(f"https://user:pass@host.test/p?{text}#{text}")
    assert shown in ("https://host.test/p", "")
    shown_url(text)


# -- Signatures ------------------------------------------------------------------------------------------------------


def readme_verify() -> Any:
    """The README's own code."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    namespace["time"] = type("Clock", (), {"time": staticmethod(lambda: WALL)})
    return namespace["verify"]


@pytest.mark.parametrize(
    ("secret", "at", "body", "good"),
    [
        (SECRET, WALL, b'{"a":1}', True),
        (SECRET, WALL - 299, b'{"a":1}', True),
        (SECRET, WALL - 301, b'{"a":1}', False),
        (SECRET, WALL + 301, b'{"a":1}', False),
        (SECRET, WALL, b'{"a":2}', False),
        ("another secret altogether", WALL, b'{"a":1}', False),
    ],
)
def test_the_manuals_code_verifies(secret: str, at: float, body: bytes, good: bool) -> None:
    """What the README tells receivers to do accepts what we send, and nothing altered, old or from somebody else."""
    timestamp = int(at)
    signature = sign(secret.encode(), timestamp, b'{"a":1}')
    assert good is readme_verify()(SECRET.encode(), str(timestamp), signature, body)


def test_the_signature_is_over_the_timestamp() -> None:
    """Another timestamp with the same signature is refused."""
    signature = sign(SECRET.encode(), int(WALL), b"{}")
    assert not readme_verify()(SECRET.encode(), str(int(WALL) + 1), signature, b"{}")


# -- Decisions -------------------------------------------------------------------------------------------------------


def after(answer: Any, *, attempts: int = 1, age_s: float = 0.0, chance: float = 1.0) -> Any:
    """The decision within a day."""
    return decide(answer, attempts=attempts, age_s=age_s, max_age_s=86_400, wall=WALL, chance=chance)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (Answered(status=200), Delivered()),
        (Answered(status=299), Delivered()),
        (Answered(status=410), Disabled(why="HTTP 410")),
        (Answered(status=400), Dropped(why="HTTP 400")),
        (Answered(status=404), Dropped(why="HTTP 404")),
        (Answered(status=302), Dropped(why="HTTP 302 (redirects are not followed)")),
        (Answered(status=408), Again(delay_s=1.0, why="HTTP 408")),
        (Answered(status=425), Again(delay_s=1.0, why="HTTP 425")),
        (Answered(status=429), Again(delay_s=1.0, why="HTTP 429")),
        (Answered(status=500), Again(delay_s=1.0, why="HTTP 500")),
        (Answered(status=503, retry_after="120"), Again(delay_s=120.0, why="HTTP 503")),
        (Answered(status=503, retry_after="0"), Again(delay_s=1.0, why="HTTP 503")),
        (Answered(status=404, retry_after="120"), Dropped(why="HTTP 404")),
        (Unanswered(why="refused"), Again(delay_s=1.0, why="refused")),
        (Ran(), Delivered()),
        (Ran(why="exit status 3"), Delivered(complaint="exit status 3")),
    ],
)
def test_what_follows_an_answer(answer: Any, decision: Any) -> None:
    """The table of the README."""
    assert decision == after(answer)


@pytest.mark.parametrize(("attempts", "whole"), [(1, 1), (2, 2), (5, 16), (12, 2048), (13, 3600), (10_000, 3600)])
def test_the_delay_doubles_up_to_an_hour(attempts: int, whole: float) -> None:
    """1, 2, 4 … 3600 s, of which at most half is taken off."""
    assert (whole / 2, whole) == (backoff_s(attempts, 0.0), backoff_s(attempts, 1.0))


def test_an_old_event_is_dropped() -> None:
    """When the next attempt would be beyond the limit there is none."""
    dropped = after(Unanswered(why="refused"), attempts=20, age_s=85_000)
    assert isinstance(dropped, Dropped)
    assert "refused" in dropped.why
    assert isinstance(after(Answered(status=503, retry_after="90000")), Dropped)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("", 0.0),
        ("-7", 0.0),
        ("soon", 0.0),
        ("9" * 40, 0.0),
        (formatdate(WALL + 60), 60.0),
        (formatdate(WALL - 60), 0.0),
        ("٣", 0.0),
    ],
)
def test_retry_after_in_both_forms(text: str, seconds: float) -> None:
    """Seconds or a date; nonsense is nothing."""
    assert seconds == retry_after_s(text, WALL)


# -- Configuration ---------------------------------------------------------------------------------------------------

URL = "https://example.test/hook?key=s3cret"


def test_targets_are_read() -> None:
    """The README's configuration, read."""
    settings = parse_settings(
        {
            "webhooks": [
                {"url": URL, "secret": SECRET, "on": ["已完成", "failed"], "headers": {"Authorization": "Bearer x"}},
                {"url": URL, "name": "other"},
            ],
            "commands": [{"argv": ["sh", "-c", "true"], "timeout_s": 5}],
        }
    )
    first, second, third = settings.targets
    assert isinstance(first, Webhook) and isinstance(second, Webhook) and isinstance(third, Command)
    assert ("webhook:example.test/hook", frozenset({"completed", "failed"})) == (first.key, first.on)
    assert "webhook:other" == second.key
    assert third.argv[0].startswith("/")
    assert "s3cret" not in repr(settings) and SECRET not in repr(settings) and "Bearer" not in repr(settings)


def test_without_targets_it_is_off() -> None:
    """Nobody to tell is no error."""
    with pytest.raises(NotConfigured):
        parse_settings({})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"webhook": []}, "plugins.notify.webhook: there is no such key; did you mean 'webhooks'?"),
        ({"webhooks": {"url": URL}}, "webhooks: this is not a list of tables"),
        ({"webhooks": [{}]}, "webhooks[0].url: this is missing"),
        ({"webhooks": [{"url": URL, "secrt": "x"}]}, "webhooks[0].secrt: there is no such key; did you mean 'secret'?"),
        ({"webhooks": [{"url": "ftp://a/b"}]}, "webhooks[0].url: this is not an http"),
        ({"webhooks": [{"url": "https://a:99999/b"}]}, "webhooks[0].url: this is not an http"),
        ({"webhooks": [{"url": "https://a/b\r\nX: y"}]}, "webhooks[0].url: this is not an http"),
        ({"webhooks": [{"url": "https://u:hidden1@a/b"}]}, "webhooks[0].url: no user and password"),
        ({"webhooks": [{"url": URL, "secret": "hidden1"}]}, "webhooks[0].secret: this is not a string of at least 16"),
        ({"webhooks": [{"url": URL, "secret": ""}]}, "webhooks[0].secret"),
        ({"webhooks": [{"url": URL, "on": []}]}, "webhooks[0].on: [] is not a list of events"),
        ({"webhooks": [{"url": URL, "on": ["complete"]}]}, "there is no event 'complete'; did you mean 'completed'?"),
        ({"webhooks": [{"url": URL, "timeout_s": 0}]}, "webhooks[0].timeout_s: 0 is not a number from 1 to 300"),
        ({"webhooks": [{"url": URL, "headers": {"A b": "c"}}]}, "'A b' is not the name of a header"),
        ({"webhooks": [{"url": URL, "headers": {"Host": "c"}}]}, "Host is set by the plugin itself"),
        ({"webhooks": [{"url": URL, "headers": {"A": "hidden1\n"}}]}, "the value of A is not a line of ASCII text"),
        ({"webhooks": [{"url": URL}, {"url": URL}]}, "two targets are called 'webhook:example.test/hook'"),
        ({"webhooks": [{"url": URL, "name": "a b"}]}, "webhooks[0].name: 'a b' is not a name"),
        ({"commands": [{}]}, "commands[0].argv: None is not a list of strings"),
        ({"commands": [{"argv": "rm -rf /"}]}, "commands[0].argv: 'rm -rf /' is not a list of strings"),
        ({"commands": [{"argv": ["no-such-program"]}]}, "commands[0].argv: there is no program 'no-such-program'"),
        ({"commands": [{"argv": ["./here"]}]}, "commands[0].argv: './here' is a relative path"),
        ({"commands": [{"argv": ["sh"], "on": ["失效"]}]}, "there is no event '失效'"),
        ({"max_age_s": 1, "webhooks": [{"url": URL}]}, "plugins.notify.max_age_s: 1 is not a number from 60"),
        ({"max_queued": "x", "webhooks": [{"url": URL}]}, "max_queued: 'x' is not a number"),
    ],
)
def test_wrong_settings_stop_the_start(config: Any, words: str) -> None:
    """A configuration error names the key, the value and what is allowed, and shows no secret."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(config)
    text = caught.value.text("en")
    assert words in text
    assert "hidden1" not in text and "s3cret" not in text


def test_the_manual_names_everything() -> None:
    """Each event, key, header and field is in the README, and its configuration is a good one but for its program."""
    manual = README.read_text(encoding="utf-8")
    for name in (*EVENTS, "url", "secret", "on", "timeout_s", "headers", "name", "argv", "max_age_s", "max_queued"):
        assert name in manual, name
    for name in (SIGNATURE, TIMESTAMP, EVENT, EVENT_ID, *json.loads(describe(task(), None, 1).body)):
        assert f"`{name}`" in manual or f'"{name}"' in manual, name
    (toml,) = re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)
    toml = re.sub(r'\{"\$(env|file)" = [^}]*\}', f'"{SECRET}"', toml)
    config = tomllib.loads(toml.replace("/usr/local/bin/film-is-there", "/bin/sh"))["plugins"]["notify"]
    assert ["webhook:home.example/hooks/m3u8svc", "webhook:chat", "command:sh"] == [
        target.key for target in parse_settings(config).targets
    ]
