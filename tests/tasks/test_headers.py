"""
Headers of a task: what is refused, what is dropped, and who gets to see the rest.
"""

import pytest

from m3u8svc.tasks.headers import clean_headers, header_problems, request_headers


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
