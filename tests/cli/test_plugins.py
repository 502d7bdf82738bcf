"""
``m3u8svc plugins``.
"""

import json

import pytest

from tests.cli.conftest import CHINESE, ENGLISH, Invoke, Raw, StubService

FOUND = {
    "plugins": [
        {
            "name": "skip-ads",
            "version": "0.1.0",
            "distribution": "m3u8svc-skip-ads",
            "state": "active",
            "reason": "",
            "warnings": ["there is no hook chose_variant"],
            "hooks": {"skip_segments": {"calls": 4, "failures": 1, "slow": 0}, "close": {"calls": 1, "failures": 0}},
        },
        {"name": "sad", "version": "2", "state": "broken", "reason": "[red]ImportError\x1b[2J", "hooks": {}},
    ],
    "mergers": ["mp4", "ts", "none"],
    "storages": ["disk"],
}


@pytest.mark.parametrize(("locale", "states"), [(ENGLISH, ["active", "broken"]), (CHINESE, ["启用", "损坏"])])
def test_plugins_is_a_table(service: StubService, invoke: Invoke, locale: str, states: list[str]) -> None:
    """One row a plugin in the user's language, whatever it is called as text; and what requests may name."""
    service.answer = Raw(body=json.dumps(FOUND).encode())
    printed = invoke("plugins", locale=locale).stdout
    rows = [line.split() for line in printed.splitlines() if "skip-ads" in line or "sad" in line]
    assert [["skip-ads", "0.1.0", states[0], "1/5"], ["sad", "2", states[1], "0/0"]] == [row[:4] for row in rows]
    assert "there is no hook chose_variant" in printed and "[red]ImportError\\x1b[2J" in printed
    assert "mp4, ts, none" in printed


def test_plugins_as_json(service: StubService, invoke: Invoke) -> None:
    """The service's own answer."""
    service.answer = Raw(body=json.dumps(FOUND).encode())
    assert FOUND == json.loads(invoke("plugins", "--json").stdout)


def test_no_plugins(service: StubService, invoke: Invoke) -> None:
    """Said in words, not as an empty table."""
    service.answer = Raw(body=json.dumps({**FOUND, "plugins": []}).encode())
    assert "No plugins are installed." in invoke("plugins").stdout


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"plugins": [1]}'])
def test_an_answer_that_is_none(service: StubService, invoke: Invoke, body: bytes) -> None:
    """Something else that answers is named, without a traceback."""
    service.answer = Raw(body=body)
    result = invoke("plugins")
    assert (3, True) == (result.exit_code, "/api/plugins" in result.stderr)
