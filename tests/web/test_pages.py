"""
The pages: what is served, how, and that nothing in them breaks their own policy.
"""

import re
from importlib.resources import files

import pytest

from m3u8svc.web.gate import SECURITY_HEADERS

STATIC = files("m3u8svc.web").joinpath("static")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/app.js", "text/javascript; charset=utf-8"),
        ("/static/texts.js", "text/javascript; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/vendor/preact.js", "text/javascript; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml; charset=utf-8"),
        ("/api/docs", "text/html; charset=utf-8"),
    ],
)
def test_page(wire, path, content_type):
    """Each file comes with its type."""
    reply = wire.ask("GET", path)
    assert (200, content_type, len(reply.body)) == (
        reply.status,
        reply.headers["content-type"],
        int(reply.headers["content-length"]),
    )


def test_version_on_the_page(wire):
    """The page says which version it is of."""
    assert b"m3u8svc 1.2.3" in wire.ask("GET", "/").body


def test_page_known_to_the_browser(wire):
    """A page the browser has is not sent again."""
    etag = wire.ask("GET", "/").headers["etag"]
    reply = wire.ask("GET", "/", headers={"If-None-Match": etag})
    assert (304, b"") == (reply.status, reply.body)


def test_page_head(wire):
    """HEAD is GET without the body."""
    reply = wire.ask("HEAD", "/healthz")
    assert (200, b"") == (reply.status, reply.body)


def test_healthz(wire):
    """We answer, so we live."""
    reply = wire.ask("GET", "/healthz")
    assert (200, {"status": "ok"}) == (reply.status, reply.value)


@pytest.mark.parametrize(
    "path",
    [
        "/static/nothing.js",
        "/static/..",
        "/static/%2e%2e",
        "/static/vendor",
        "/static/vendor/",
        "/static/vendor/..",
        "/static/vendor/../app.js",
        "/static/vendor/%2e%2e/app.js",
        "/static/vendor%2fpreact.js",
        "/static/vendor/vendor/preact.js",
        "/static/preact.js",
        "/index.html",
    ],
)
def test_page_that_is_not_there(wire, path):
    """Any other path is a 404 in the same form as every error."""
    reply = wire.ask("GET", path)
    assert (404, "路径不存在") == (reply.status, reply.value)


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/tasks", "/api/nowhere", "/static/app.js", "/ws/progress"])
def test_security_headers(wire, path):
    """Every answer carries the security headers, and does not say what it is made with."""
    headers = wire.ask("GET", path).headers
    for name, value in SECURITY_HEADERS:
        if name != "Cache-Control":
            assert value == headers[name.lower()]
    assert "m3u8svc" == headers["server"]
    assert ("no-store" if path.startswith(("/api", "/healthz", "/ws")) else "no-cache") == headers["cache-control"]


def test_page_keeps_its_own_policy():
    """No inline script or style, no markup made of text: the policy would block the one, and the other is unsafe."""
    page = STATIC.joinpath("index.html").read_text("utf-8")
    scripts = "".join(each.read_text("utf-8") for each in STATIC.iterdir() if each.name.endswith(".js"))
    assert [] == re.findall(r"<style|style=|\son\w+=|<script(?![^>]*src=)|javascript:|https?://(?!…)", page)
    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scripts)


def test_page_names_its_scripts():
    """All that the first load takes is asked for at once, and not one after the other."""
    named = re.findall(
        r'<link rel="modulepreload" href="static/(.+)">', STATIC.joinpath("index.html").read_text("utf-8")
    )
    assert sorted(named) == sorted(imported("app.js") - {"app.js"})


def imported(name, known=frozenset()):
    """A script, and those that it cannot begin without."""
    found = known | {name}
    for other in re.findall(r'\bfrom\s*"\./([^"]+)"', STATIC.joinpath(name).read_text("utf-8")):
        there = f"{name.rpartition('/')[0]}/{other}".lstrip("/")
        found = found if there in found else imported(there, found)
    return found


def test_page_in_both_languages():
    """Every text exists in Chinese and in English, and is one that the page may ask for."""
    texts = [STATIC.joinpath(f"texts-{name}.js").read_text("utf-8") for name in ("zh", "en")]
    names = [
        set(re.findall(r"(?:^|[{,\s])(\w+): (?=[\"\w({])", re.sub(r'"[^"]*"|`[^`]*`', '"', each))) for each in texts
    ]
    assert names[0] == names[1]
    assert len(names[0]) > 40
    pages = "".join(each.read_text("utf-8") for each in STATIC.iterdir() if each.name.endswith(".html"))
    assert set(re.findall(r'data-text="(\w+)"', pages)) <= names[0]


def test_vendored_scripts_are_all_named():
    """Each script that is not ours is in the table of where it is from, and finds the others beside it."""
    vendor = {each.name: each.read_text("utf-8") for each in STATIC.joinpath("vendor").iterdir()}
    scripts = {name for name in vendor if name.endswith(".js")}
    assert scripts == set(
        re.findall(r"^\| `([\w.-]+\.js)` \| `[\w@/.-]+@\d+\.\d+\.\d+` ", vendor["README.md"], re.MULTILINE)
    )
    wanted = {name for script in scripts for name in re.findall(r'\bfrom *"([\w./@-]+)"', vendor[script])}
    assert wanted <= {f"./{name}" for name in scripts}
