"""
``m3u8svc curl``: the three ways to give a command, and the three things to do with it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from m3u8svc.cli import program
from tests.cli.conftest import CHINESE, ENGLISH, Invoke, StubService
from tests.cli.test_get import Origin, origin, stream

__all__ = ["origin", "stream"]  # fixtures

TEXT = "curl 'http://a.example/i.m3u8?x=1&y=2' -H 'A: b c' --compressed -k -o film.mp4"
WORDS = ["http://a.example/i.m3u8?x=1&y=2", "-H", "A: b c", "--compressed", "-k", "-o", "film.mp4"]
BODY = {
    "url": "http://a.example/i.m3u8?x=1&y=2",
    "filename": "film.mp4",
    "use_http_headers": True,
    "http_headers": {"A": ["b c"]},
    "advanced": True,
    "allow_insecure_https": True,
}


@pytest.mark.parametrize("command", [[TEXT], WORDS, ["curl", *WORDS], [*WORDS[1:], WORDS[0]]])
def test_a_task_is_added(invoke: Invoke, service: StubService, command: list[str]) -> None:
    """As one text, as words, with or without curl's own name, options first or last."""
    result = invoke("curl", *command)
    assert (0, "new1\n", "") == (result.exit_code, result.stdout, result.stderr)
    assert BODY == service.visits[0].body


def test_the_standard_input_is_read(service: StubService) -> None:
    """For what a shell would not take as it is, such as the quoting of the Windows command prompt."""
    text = 'curl ^"http://a.example/i.m3u8?x=1^&y=2^" ^\r\n  -H ^"A: b c^" -k -o film.mp4\r\n'
    environment = {"LC_ALL": ENGLISH, "M3U8SVC_SERVER": service.url}
    result = CliRunner().invoke(program, ["curl", "-"], input=text, env=environment)
    assert (0, "new1\n") == (result.exit_code, result.stdout)
    assert BODY == service.visits[0].body


def test_what_is_left_out_is_said(invoke: Invoke) -> None:
    """On standard error, in the user's language; the id alone is on standard output."""
    for locale, said in ((ENGLISH, "Warning: ignored: --retry\n"), (CHINESE, "注意：已忽略：--retry\n")):
        result = invoke("curl", "http://a/", "--retry", "3", locale=locale)
        assert (0, "new1\n", said) == (result.exit_code, result.stdout, result.stderr)


def test_a_name_and_json(invoke: Invoke, service: StubService) -> None:
    """Our own options come first."""
    result = invoke("curl", "--json", "--name", "other", *WORDS)
    assert ("success", "other") == (json.loads(result.stdout)["status"], service.visits[0].body["filename"])


def test_show_only_shows(invoke: Invoke, service: StubService) -> None:
    """What would be sent, and nobody is asked."""
    assert BODY == json.loads(invoke("curl", "--show", TEXT).stdout)
    assert [] == service.visits


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        (
            ENGLISH,
            ["Error: this curl command cannot be used: -d sends something", "What to do: ", "[bad_curl_command]"],
        ),
        (CHINESE, ["错误：无法使用这条 curl 命令：-d 会发送内容", "怎么办：", "[bad_curl_command]"]),
    ],
)
def test_what_cannot_be_downloaded_is_a_usage_error(
    invoke: Invoke, service: StubService, locale: str, said: list[str]
) -> None:
    """Status 2, the option, what to do, and no value."""
    result = invoke("curl", "http://a/", "-d", "secret", locale=locale)
    assert (2, "", []) == (result.exit_code, result.stdout, service.visits)
    assert [] == [each for each in said if each not in result.stderr] and "secret" not in result.stderr


def test_a_curl_command_is_downloaded_here(origin: Origin, tmp_path: Path) -> None:
    """Without a service, by the name it says; a brace in it is one."""
    ended = subprocess.run(
        [sys.executable, "-m", "m3u8svc", "curl", "--get", f"curl '{origin.url}' -H 'A: b' -o 'f{{x}}.mp4'"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    assert (0, ["f{x}.mp4"]) == (ended.returncode, [each.name for each in tmp_path.glob("*.mp4")]), ended.stderr
