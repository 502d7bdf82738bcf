"""/api/curl: a command in, a body for a new task out."""

import pytest


def test_its_answer_can_be_posted_as_it_is(wire, service):
    """What the command says reaches the service with the new task, without a remark about the fields besides."""
    command = "curl 'http://a.example/i.m3u8' -H 'A: b' -k -x http://u:p@h:3128 --limit-rate 1M -o film.mp4 --retry 3"
    found = wire.ask("POST", "/api/curl", {"command": command})
    assert (200, ["已忽略：--retry"], ["ignored: --retry"]) == (
        found.status,
        found.value["warnings"],
        found.value["warnings_en"],
    )
    created = wire.ask("POST", "/api/tasks", found.value)
    assert (200, {"status", "id"}) == (created.status, created.value.keys())
    draft = next(call[1] for call in service.calls if call[0] == "create")
    assert ("http://a.example/i.m3u8", "film.mp4", {"A": ("b",)}) == (draft.url, draft.filename, dict(draft.headers))
    assert {
        "allow_insecure_https": True,
        "proxy_type": "http",
        "proxy_host": "h",
        "proxy_port": 3128,
        "proxy_username": "u",
        "proxy_password": "p",
    } == {name: value for name, value in draft.given.items() if value}
    assert {"limit_rate": 1 << 20} == dict(draft.extensions)


def test_it_makes_no_task(wire, service):
    """Only the answer is made."""
    assert 200 == wire.ask("POST", "/api/curl", {"command": "curl http://a/"}).status
    assert [] == service.calls


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({}, "invalid_request", "command"),
        ({"command": 3}, "invalid_request", "command"),
        ({"command": "  "}, "invalid_request", "command"),
        ({"command": "curl http://a/ " + "x" * 32768}, "invalid_request", "command"),
        ({"command": "curl -d secret http://a/"}, "bad_curl_command", "-d"),
        ({"command": "wget http://a/"}, "bad_curl_command", "curl"),
        ({"command": "curl http://a/" + "x" * 9000}, "bad_curl_command", "8192"),
        ({"command": "curl http://a/" + "é" * 5000}, "invalid_request", "url"),
    ],
    ids=["nothing", "a number", "blank", "too long", "a body", "another program", "a long URL", "a task refused"],
)
def test_what_is_refused(wire, body, code, named):
    """A 400 that names the field or the option, and says no value that may be secret."""
    answer = wire.ask("POST", "/api/curl", body)
    assert (400, code) == (answer.status, answer.headers["x-error-code"])
    assert named in answer.value and "secret" not in answer.value


def test_unknown_fields_are_named(wire):
    """As everywhere."""
    assert "others" in wire.ask("POST", "/api/curl", {"command": "curl http://a/", "others": 1}).value["warnings"][0]
