"""
The gate's decisions, as a table: what passes, and why the rest does not.
"""

import time

import pytest

from m3u8svc.errors import advice_on
from m3u8svc.web.gate import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    HEADERS_TOO_LARGE,
    ROUTES,
    body_limit,
    decide,
    host_names,
    names_of_own_end,
    route_of,
    whose_page,
)

HOSTS = frozenset({"127.0.0.1:8080", "localhost:8080", "[::1]:8080"})
OWN = {"host": ["127.0.0.1:8080"]}
JSON = {"content-type": ["application/json"]}


def refused(method, target, headers=OWN, length=0):
    found = decide(method, target, headers, HOSTS, length=length)
    return None if found is None else (found.status, found.code)


HOST_TABLE = [
    (["127.0.0.1:8080"], None),
    (["LOCALHOST:8080"], None),
    (["[::1]:8080"], None),
    ([], (421, "wrong_host")),
    (["127.0.0.1:8080", "127.0.0.1:8080"], (421, "wrong_host")),
    (["evil.example:8080"], (421, "wrong_host")),
    (["127.0.0.1"], (421, "wrong_host")),
    (["127.0.0.1:8081"], (421, "wrong_host")),
    (["127.0.0.1:8080.evil.example"], (421, "wrong_host")),
    (["user@127.0.0.1:8080"], (421, "wrong_host")),
    (["2130706433:8080"], (421, "wrong_host")),
    ([""], (421, "wrong_host")),
]


@pytest.mark.parametrize(("given", "expected"), HOST_TABLE, ids=range(len(HOST_TABLE)))
def test_host_of_every_path(given, expected):
    """Exactly one Host, and one of ours, for every path alike."""
    for path in (*ROUTES, "/static/app.js"):
        assert expected == refused(ROUTES.get(path, ("GET",))[0], path, {"host": given})
    assert (expected or (404, "not_found")) == refused("GET", "/nowhere", {"host": given})


ORIGIN_TABLE = [
    ({}, None),
    ({"origin": ["http://127.0.0.1:8080"]}, None),
    ({"origin": ["http://localhost:8080"]}, None),
    ({"origin": ["https://localhost:8080"]}, None),
    ({"origin": ["http://x://localhost:8080"]}, (403, "foreign_origin")),
    ({"origin": ["https://evil.example"]}, (403, "foreign_origin")),
    ({"origin": ["http://127.0.0.1:9000"]}, (403, "foreign_origin")),
    ({"origin": ["null"]}, (403, "foreign_origin")),
    ({"origin": ["http://127.0.0.1:8080", "http://127.0.0.1:8080"]}, (403, "foreign_origin")),
    ({"origin": ["file://127.0.0.1:8080"]}, (403, "foreign_origin")),
    ({"origin": [""]}, (403, "foreign_origin")),
    ({"sec-fetch-site": ["same-origin"]}, None),
    ({"sec-fetch-site": ["none"]}, None),
    ({"sec-fetch-site": ["same-site"]}, (403, "foreign_origin")),
    ({"sec-fetch-site": ["cross-site"]}, (403, "foreign_origin")),
]


@pytest.mark.parametrize(("given", "expected"), ORIGIN_TABLE, ids=range(len(ORIGIN_TABLE)))
def test_origin_below_the_api(given, expected):
    """What a foreign page sends is refused, and so is a foreign WebSocket."""
    for path in ("/api/tasks", "/api/settings", "/ws/progress", "/metrics"):
        assert expected == refused("GET", path, OWN | given)


@pytest.mark.parametrize(
    ("origin", "secure", "refused"),
    [
        ("https://localhost:8080", True, False),
        ("http://localhost:8080", True, True),
        ("http://localhost:8080", False, False),
        ("https://localhost:8080", False, False),
        ("https://evil.example", True, True),
    ],
)
def test_an_origin_without_tls(origin, secure, refused):
    """A page of our name that came over http is no page of a service that is asked over https."""
    found = decide("GET", "/api/tasks", OWN | {"origin": [origin]}, HOSTS, secure=secure)
    assert refused is (found is not None)


@pytest.mark.parametrize("path", ["/", "/healthz", "/favicon.ico", "/static/app.js"])
def test_origin_of_pages(path):
    """A link from another site may lead to our pages: they change nothing and cannot be framed."""
    assert None is refused("GET", path, OWN | {"sec-fetch-site": ["cross-site"]})


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_methods_of_the_api(method):
    """Whatever the API does not have is a 405 that says what it has."""
    for path in ("/api/tasks", "/api/settings", "/ws/progress"):
        found = decide(method, path, OWN, HOSTS)
        assert (405, "方法不支持", ROUTES[path]) == (found.status, found.message, found.allow)
        assert "method_not_allowed" == found.code


def test_methods_of_files():
    """What lies below /static/ is read, with or without its body, and nothing else."""
    assert [None, None] == [refused(method, "/static/app.js") for method in ("GET", "HEAD")]
    found = decide("POST", "/static/app.js", OWN, HOSTS)
    assert (405, ("GET", "HEAD")) == (found.status, found.allow)
    assert (404, "not_found") == refused("GET", "/nowhere")


def test_methods_nobody_has():
    """They are refused wherever they are tried, and where there is nothing, nothing is named instead."""
    found = decide("PROPFIND", "/nowhere", OWN, HOSTS)
    assert (405, ()) == (found.status, found.allow)


def test_a_request_without_a_body():
    """It is one if nothing is said of a length."""
    assert [None, None] == [decide(method, "/healthz", OWN, HOSTS) for method in ("GET", "HEAD")]


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/task", "/api/tasks/", "/API/tasks", "//api/tasks", "/%61pi/tasks", "/api/../api/tasks"]
    + ["/static/../../etc/passwd", "/static/%2e%2e/x", "/static//x", "/a\\b", "http://127.0.0.1:8080/", "*", ""],
)
def test_paths_nobody_answers(path):
    """A path is one of ours as it is written, or it is a 404: nothing is unquoted, joined or folded."""
    assert (404, "not_found") == refused("GET", path)


def test_path_check_when_the_path_is_long():
    """Judging a path takes no longer than reading it."""
    begun = time.process_time()
    refused("GET", "/" + "a" * 16_000 + "!")
    refused("GET", "/" + "a/" * 8_000 + "!")
    assert time.process_time() - begun < 0.5


TYPES = [
    (["application/json"], None),
    (["application/json; charset=utf-8"], None),
    (['Application/JSON;charset="UTF-8"'], None),
    (["application/json; charset=latin-1"], (415, "not_json")),
    (["text/plain"], (415, "not_json")),
    (["application/x-www-form-urlencoded"], (415, "not_json")),
    (["multipart/form-data; boundary=x"], (415, "not_json")),
    (["text/plain; application/json"], (415, "not_json")),
    (["application/json", "text/plain"], (415, "not_json")),
    ([], (415, "not_json")),
]


@pytest.mark.parametrize("length", [2, None])
@pytest.mark.parametrize(("given", "expected"), TYPES, ids=range(len(TYPES)))
def test_types_of_bodies(given, expected, length):
    """A body is JSON, or it is not read."""
    assert expected == refused("POST", "/api/tasks", OWN | {"content-type": given}, length)


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/api/tasks", 17039360),
        ("POST", "/api/tasks?dry_run=true", 17039360),
        ("PUT", "/api/tasks?id=1", 16384),
        ("POST", "/api/settings", 16384),
        ("POST", "/api/curl", 262144),
    ],
)
def test_size_of_bodies(method, path, limit):
    """Each body has its limit, and the limit itself passes."""
    assert limit == body_limit(method, path)
    assert None is refused(method, path, OWN | JSON, limit)
    assert (413, "body_too_large") == refused(method, path, OWN | JSON, limit + 1)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_bodies_where_none_belongs(method):
    """GET and DELETE say everything in the address."""
    assert (400, "unexpected_body") == refused(method, "/api/tasks", OWN | JSON, 2)
    assert "此请求不能带请求体" == decide(method, "/api/tasks", OWN | JSON, HOSTS, length=2).message


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        ([("127.0.0.1", 8080)], {"127.0.0.1:8080", "[::1]:8080", "localhost:8080"}),
        ([("::1", 80)], {"127.0.0.1:80", "127.0.0.1", "[::1]:80", "[::1]", "localhost:80", "localhost"}),
        ([("192.168.1.5", 8080)], {"192.168.1.5:8080"}),
        ([("0.0.0.0", 9)], {"127.0.0.1:9", "[::1]:9", "localhost:9"}),
        ([("::", 9)], {"127.0.0.1:9", "[::1]:9", "localhost:9"}),
        ([("", 9)], {"127.0.0.1:9", "[::1]:9", "localhost:9"}),
        ([("192.168.1.5", 443), ("192.168.1.6", 444)], {"192.168.1.5:443", "192.168.1.5", "192.168.1.6:444"}),
        ([], set()),
    ],
)
def test_host_names(listening, expected):
    """Who we are follows from where we listen."""
    assert expected == host_names(listening)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (("192.168.1.5", 8080), {"192.168.1.5:8080"}),
        (("::ffff:192.168.1.5", 8080), {"192.168.1.5:8080"}),
        (("FD00:0:0::5", 8080), {"[fd00::5]:8080"}),
        (("192.168.1.5", 80), {"192.168.1.5:80", "192.168.1.5"}),
        (("fe80::1%eth0", 8080), set()),
        (("", 8080), set()),
    ],
)
def test_names_of_own_end(end, expected):
    """The number that a connection really came to is ours, as browsers write it; behind a proxy it says nothing."""
    assert expected == names_of_own_end(*end, proxied=False)
    assert set() == names_of_own_end(*end, proxied=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": ["https://evil.example"], "referer": ["https://other.example/"]}, "https://evil.example"),
        ({"origin": ["https://a.example", "null"]}, "https://a.example, null"),
        ({"referer": ["https://evil.example/page?secret=1"]}, "https://evil.example"),
        ({"referer": ["nonsense"]}, "nonsense"),
        ({}, ""),
    ],
)
def test_whose_page(headers, expected):
    """A browser names the page by its Origin, or where it sends none by the Referer, of which the rest is private."""
    assert expected == whose_page(headers)


def test_refusals_in_both_languages():
    """Every refusal has its text in both, and advice for its code."""
    asked = [
        ("GET", "/", {}, 0),
        ("GET", "/api/tasks", OWN | {"origin": ["null"]}, 0),
        ("GET", "/nowhere", OWN, 0),
        ("PATCH", "/api/tasks", OWN, 0),
        ("GET", "/api/tasks", OWN, 1),
        ("POST", "/api/tasks", OWN, 1),
    ]
    found = [decide(method, path, headers, HOSTS, length=length) for method, path, headers, length in asked]
    for refusal in (*found, BAD_REQUEST, HEADERS_TOO_LARGE, BODY_TOO_LARGE):
        assert not refusal.message.isascii() and refusal.english.isascii()
        assert advice_on(refusal.code, "zh") and advice_on(refusal.code, "en")


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("GET", "/api/tasks", ("GET", "/api/tasks")),
        ("GET", "/static/app.js", ("GET", "/static/")),
        ("GET", "/static/nothing/here", ("GET", "/static/")),
        ("GET", "/wp-login.php", ("GET", "other")),
        ("BREW", "/api/tasks", ("other", "/api/tasks")),
    ],
)
def test_what_requests_are_counted_under(method, path, counted):
    """A route of ours or one name for all others: strangers choose paths, and there is no end to those."""
    assert counted == route_of(method, path)
