r"""
Text that would be more than text: line ends, terminal sequences, format fields, markup. In a log it is one line with
everything strange escaped; the page shows it as it is (tests/integration/test_browser_page.py).
"""

import re

import pytest

from tests.attacks.rig import END, LINES, Hostile, say
from tests.integration.service_child import Service

NASTY = "\x1b[31mred\x1b]0;title\x07 %s%n {0} {task} {x.__class__} <script>alert(1)</script> ‮evil"
FORGED = "\r\n2026-01-01T00:00:00+0000 [m3u8svc#critical] forged"
SPLIT = "x\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>"
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[")
_STRANGE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def assert_log_is_clean(service: Service) -> None:
    """Every line is one of ours, and no control character is in any."""
    lines = service.log.splitlines()
    assert [] == [line for line in lines if not _LINE.match(line)]
    assert [] == [line for line in lines if line.startswith("2026-01-01T00:00:00") or "[m3u8svc#critical]" in line[:60]]
    assert [] == _STRANGE.findall(service.log)


@pytest.mark.parametrize(
    "body",
    [
        f"{NASTY}{FORGED}",
        f"<html><title>{NASTY}{FORGED}</title>",
        f'{LINES}#EXT-X-KEY:METHOD={NASTY},URI="k"\n#EXTINF:1,\na\n{END}',
        f"{LINES}#EXTINF:{NASTY},\na\n{END}",
        f"{LINES}#EXTINF:1,{NASTY}\nhttp://127.0.0.1:9/{NASTY}\n{END}",
        f"{LINES}#EXTINF:1,\n{NASTY}://a/\n{END}",
        f'#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="{NASTY}"\n{NASTY}.m3u8\n',
    ],
    ids=["text", "title", "method", "duration", "name", "scheme", "variant"],
)
def test_what_a_server_says(service: Service, server: Hostile, body: str) -> None:
    """Whatever of it is quoted is quoted escaped, in the log and in the task."""
    server.answers["/a.m3u8"] = body.encode()
    task = service.fail(f"{server.base}/a.m3u8", "film")
    assert not _STRANGE.search(task["err_msg"] + task["status_bar"])
    assert_log_is_clean(service)


def test_the_head_of_an_answer(service: Service, server: Hostile) -> None:
    """The phrase behind a status, and headers, likewise."""
    said = NASTY.encode()
    server.answers["/a.m3u8"] = lambda visit: visit.wfile.write(
        b"HTTP/1.1 404 "
        + said
        + b"\r\nServer: "
        + said
        + b"\r\nContent-Type: "
        + said
        + b"\r\nContent-Length: 0\r\n\r\n"
    )
    task = service.fail(f"{server.base}/a.m3u8", "film")
    assert not _STRANGE.search(task["err_msg"])
    server.answers["/a.m3u8"] = lambda visit: visit.redirect(f"gopher://{NASTY}/")
    task = service.fail(f"{server.base}/a.m3u8", "film")
    assert not _STRANGE.search(task["err_msg"])
    assert_log_is_clean(service)


def test_what_a_client_says(service: Service, server: Hostile) -> None:
    """Names, links, headers and request lines of whoever talks to the API, refused or not."""
    service.fail(f"{server.base}/%0d%0a%1b[31m{{task}}%s?%n", "%s {0} {task} <script>")
    for fields in ({"filename": NASTY}, {"url": f"http://a/{NASTY}{FORGED}\u0000"}, {NASTY: 1}, {"proxy_type": NASTY}):
        service.ask("POST", "/api/tasks", {"url": f"{server.base}/", "filename": "film"} | fields)
    said = NASTY.encode()
    for head in (
        b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nOrigin: " + said,
        b"GET /api/tasks HTTP/1.1\r\nHost: " + said,
        b"GET /" + said + b" HTTP/1.1\r\nHost: HOST",
        said.replace(b" ", b"") + b" /api/tasks HTTP/1.1\r\nHost: HOST",
        b"GET /api/tasks?id=" + said.replace(b" ", b"") + b" HTTP/1.1\r\nHost: HOST\r\nOrigin: null",
        b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nOrigin: a\r\n forged",
    ):
        assert 400 <= say(service, head + b"\r\n\r\n").status < 500
    assert_log_is_clean(service)


def test_a_foreign_origin_is_one_warning(service: Service) -> None:
    """A refused page is one line of the log, with its origin."""
    before = len(service.log)
    say(service, b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.example%s{x}\r\n\r\n")
    (line,) = [line for line in service.log[before:].splitlines() if "refused" in line]
    assert "#warn]" in line
    assert line.endswith(f"(host {service.base[7:]}, origin http://evil.example%s{{x}})")


@pytest.mark.parametrize("fields", [{"filename": SPLIT}, {"url": f"http://a/{SPLIT}"}, {SPLIT: 1}, {"variant": SPLIT}])
def test_an_answer_is_not_split(service: Service, server: Hostile, fields: dict[str, object]) -> None:
    """What is quoted in an answer's head stays in its line."""
    task = {"url": f"{server.base}/", "filename": "film"} | fields
    for target in ("/api/tasks?dry_run=true", "/api/tasks?dry_run=true&x=%0d%0aSet-Cookie:%20a=b"):
        answer = service.ask("POST", target, task)
        assert answer.status in (200, 400)
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-type"].startswith("application/json")
        assert isinstance(answer.value, str | dict)
        assert "nosniff" == answer.headers["x-content-type-options"]
