"""
Headers of a task: what is refused, what is dropped, and who gets to see the rest.
"""

import pytest

from m3u8svc.tasks.headers import (
    clean_headers,
    header_problems,
    moved_headers,
    parse_header_host,
    request_headers,
)


@pytest.mark.parametrize(
    ("headers", "problems"),
    [
        ({"X-Token": ["a"], "cookie": ["b=c", "d=e"]}, []),
        ({"Bad Name": ["a"]}, ["名称“Bad Name”无效"]),
        ({":authority": ["a"]}, ["名称“:authority”无效"]),
        ({"": ["a"]}, ["名称“”无效"]),
        ({"A\nB": ["a"]}, ["名称“A\\x0aB”无效"]),
        ({"头": ["a"]}, ["名称“头”无效"]),
        ({"A": ["secret\r\nHost: evil"]}, ["“A”的值含有换行符或空字符"]),
        ({"A": ["secret\x00"]}, ["“A”的值含有换行符或空字符"]),
        ({"A": ["值"]}, []),
        ({"A": ["x" * 8192]}, []),
        ({"A": ["x" * 8193]}, ["“A”的值超过 8192 字节"]),
        ({"A": ["x" * 8192], "B": ["x" * 8190]}, []),
        ({"A": ["x" * 8192], "B": ["x" * 8191]}, ["总长度超过 16384 字节"]),
        ({f"A{i}": ["x"] for i in range(64)}, []),
        ({f"A{i}": ["x"] for i in range(65)}, ["最多 64 项，实际 65 项"]),
        (
            {"A B": ["x\n"], "C": ["\x00"]},
            ["名称“A B”无效", "“A B”的值含有换行符或空字符", "“C”的值含有换行符或空字符"],
        ),
    ],
)
def test_problems_name_the_header_and_never_its_value(headers: dict[str, list[str]], problems: list[str]) -> None:
    """Bad names, unsendable values and each limit are reported together; no value is ever quoted."""
    assert header_problems(headers) == problems
    assert not any("secret" in problem for problem in problems)


def test_connection_and_framing_headers_are_dropped_with_one_warning() -> None:
    """What is ours to decide goes, in any spelling and named; everything else stays as it was typed."""
    kept, warnings = clean_headers(
        {"HOST": ["a"], "range": ["bytes=0-1"], "Proxy-Authorization": ["x"], "X-Token": ["t"], "Referer": ["r"]}
    )

    assert dict(kept) == {"X-Token": ("t",), "Referer": ("r",)}
    assert warnings == ("已忽略由程序自行决定的请求头：HOST、range、Proxy-Authorization",)


def test_nothing_is_said_when_nothing_is_dropped() -> None:
    """No warning without a reason."""
    assert clean_headers({"A": ["1"]})[1] == ()


def test_defaults_are_replaced_by_the_tasks_own_in_any_spelling() -> None:
    """A task's user-agent is sent alone, not beside ours; the default Referer is the submitted site."""
    scoped = request_headers({"user-agent": ("me",)}, "https://u:p@a.example:8443/x?t=1", "https://b.example/y")

    assert [value for name, value in scoped.headers if name.lower() == "user-agent"] == ["me"]
    assert ("Referer", "https://a.example:8443/") in scoped.headers
    assert ("Accept", "*/*") in scoped.headers


def test_several_values_of_one_header_are_several_lines() -> None:
    """Every value is sent, in order."""
    scoped = request_headers({"X-A": ("1", "2")}, "http://a.example/", "http://a.example/")

    assert scoped.headers[-2:] == (("X-A", "1"), ("X-A", "2"))


@pytest.mark.parametrize(
    ("submitted", "target", "sent"),
    [
        ("https://a.example.com/p", "https://a.example.com/s", True),
        ("https://a.example.com/p", "https://cdn.example.com:8443/s", True),
        ("https://a.example.com/p", "https://example.org/s", False),
        ("https://a.example.com/p", "https://example.com.evil.org/s", False),
        ("https://a.example.com/p", "http://a.example.com/s", False),
        ("http://a.example.com/p", "https://a.example.com/s", True),
        ("https://a.example.co.uk/p", "https://b.co.uk/s", False),
        ("https://one.github.io/p", "https://two.github.io/s", False),
        ("http://localhost:1/p", "http://localhost:2/s", True),
        ("http://nas/p", "http://tv/s", False),
        ("http://192.168.1.2/p", "http://192.168.1.2:8080/s", True),
        ("http://192.168.1.2/p", "http://10.0.1.2/s", False),
        ("http://[::1]/p", "http://[::1]:90/s", True),
        ("http://[::1]/p", "http://[::2]/s", False),
        ("https://A.Example.com./p", "https://a.example.COM/s", True),
        ("https://a.example.com/p", "data:text/plain,x", False),
        ("https://a.example.com/p", "https://[bad/s", False),
    ],
)
def test_secrets_go_to_the_submitted_site_only(submitted: str, target: str, sent: bool) -> None:
    """A credential reaches the registrable domain of the submitted URL, never plain http from https, nobody else."""
    scoped = request_headers({"Cookie": ("a=b",), "X-Api-Token": ("t",), "X-Plain": ("p",)}, submitted, target)

    names = {name for name, _ in scoped.headers}
    assert ({"Cookie", "X-Api-Token"} <= names) == sent
    assert scoped.withheld == (() if sent else ("Cookie", "X-Api-Token"))
    assert "X-Plain" in names


@pytest.mark.parametrize(
    ("own", "target", "sent", "withheld"),
    [
        ({}, "http://nas.test/a/1.ts", ["Basic dTpwOnfDpA=="], ()),
        ({}, "https://media.nas.test/1.key", ["Basic dTpwOnfDpA=="], ()),
        ({}, "http://elsewhere.test/1.ts", [], ("Authorization",)),
        ({}, "http://u:p%3Aw%C3%A4@nas.test/index.m3u8", [], ()),
        ({}, "http://other:one@nas.test/1.ts", [], ()),
        ({"authorization": ("Bearer b",)}, "http://nas.test/a/1.ts", ["Bearer b"], ()),
        ({"authorization": ("Bearer b",)}, "http://elsewhere.test/1.ts", [], ("authorization",)),
    ],
)
def test_userinfo_of_the_submitted_url_goes_where_secrets_go(
    own: dict[str, tuple[str, ...]], target: str, sent: list[str], withheld: tuple[str, ...]
) -> None:
    """It is a header for the submitted site, unless the task has its own or the target brings userinfo itself."""
    scoped = request_headers(own, "http://u:p%3Aw%C3%A4@nas.test/index.m3u8", target)

    assert [value for name, value in scoped.headers if name.lower() == "authorization"] == sent
    assert scoped.withheld == withheld


def test_secrets_are_not_in_the_repr() -> None:
    """Printing scoped headers shows no value."""
    assert "hidden" not in repr(request_headers({"Cookie": ("hidden",)}, "http://a.example/", "http://a.example/"))


# -- Hosts named besides ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("cdn.example", "cdn.example"),
        (" CDN.Example. ", "cdn.example"),
        ("cdn.example:8443", "cdn.example:8443"),
        ("*.cdn.example.com", "*.cdn.example.com"),
        ("*.example.com:444", "*.example.com:444"),
        ("电影.example", "xn--p3t879b.example"),
        ("192.168.1.2", "192.168.1.2"),
        ("192.168.1.2:80", "192.168.1.2:80"),
        ("[::1]:80", "[::1]:80"),
        ("::1", "[::1]"),
        ("nas", "nas"),
    ],
)
def test_hosts_that_can_be_named(given: str, kept: str) -> None:
    """A host, its port if that matters, or all hosts below a domain; kept in one spelling."""
    assert kept == parse_header_host(given) == parse_header_host(kept)


@pytest.mark.parametrize(
    "given",
    [
        *("", " ", "*", "*.", "**.example.com", "*.com", "*.co.uk", "*.github.io", "*.localhost", "a*.example.com"),
        *("https://cdn.example", "cdn.example/x", "u@cdn.example", "cdn example", "a.*.example.com", "*.192.168.1.2"),
        *("cdn.example:0", "cdn.example:65536", "cdn.example:x", "[::1", "a\nb", "?x", "#x", ".", "a..b", "x" * 300),
    ],
)
def test_what_is_no_host(given: str) -> None:
    """Whole top-level domains, URLs, and what no resolver takes."""
    with pytest.raises(ValueError):
        parse_header_host(given)


@pytest.mark.parametrize(
    ("named", "target", "sent"),
    [
        ("cdn.example.org", "https://cdn.example.org/s", True),
        ("cdn.example.org", "https://CDN.example.org.:8443/s", True),
        ("cdn.example.org", "https://x.cdn.example.org/s", False),
        ("cdn.example.org", "https://example.org/s", False),
        ("cdn.example.org", "https://cdn.example.org.evil.net/s", False),
        ("cdn.example.org", "https://evilcdn.example.org/s", False),
        ("cdn.example.org", "http://cdn.example.org/s", False),  # never from https to http
        ("cdn.example.org:8443", "https://cdn.example.org:8443/s", True),
        ("cdn.example.org:8443", "https://cdn.example.org/s", False),
        ("cdn.example.org:443", "https://cdn.example.org/s", True),
        ("*.example.org", "https://a.b.example.org/s", True),
        ("*.example.org", "https://example.org/s", False),
        ("*.example.org", "https://badexample.org/s", False),
        ("192.168.1.2", "https://192.168.1.2:81/s", True),
        ("192.168.1.2", "https://192.168.1.20/s", False),
        ("[::1]", "https://[0:0::1]/s", True),
        ("cdn.example.org", "https://[bad/s", False),
        ("cdn.example.org", "data:text/plain,x", False),
    ],
)
def test_secrets_go_to_the_hosts_named_besides(named: str, target: str, sent: bool) -> None:
    """Exactly those, over https as the submitted URL; the others stay withheld and named."""
    headers = {"Cookie": ("a=b",), "X-Plain": ("p",)}
    scoped = request_headers(headers, "https://a.example.com/p", target, [parse_header_host(named)])

    assert sent is ("Cookie" in {name for name, _ in scoped.headers})
    assert scoped.withheld == (() if sent else ("Cookie",))


def test_a_new_url_at_a_named_host_moves_nothing() -> None:
    """Its headers were meant for that host already."""
    old, new = "https://a.example.com/p", "https://cdn.example.org/p"

    assert moved_headers({"Cookie": ("a",)}, old, new) == ("Cookie",)
    assert moved_headers({"Cookie": ("a",)}, old, new, ("cdn.example.org",)) == ()
