"""The name of a result."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.names import derived_name, name_problem, numbered, result_name
from m3u8svc.tasks.task import TaskSpec


@pytest.mark.parametrize(
    ("filename", "url", "name"),
    [
        ("movie", "http://h/x.m3u8", "movie"),
        ("movie.mp4", "http://h/x.m3u8", "movie"),
        ("movie.MP4", "http://h/x.m3u8", "movie"),
        ("a.b", "http://h/x.m3u8", "a.b"),
        (".mp4", "http://h/x.m3u8", ".mp4"),
        ("x ..mp4", "http://h/x.m3u8", "x"),
        ("", "http://h/dir/index.m3u8?token=1", "index"),
        ("", "http://h/dir/%E7%94%B5%E5%BD%B1.m3u8", "电影"),
        ("", "http://h/", "all"),
        ("", "http://h/..%2f..%2fetc%2fpasswd", "_.._etc_passwd-3754d6cb"),
        ("", "http://h/CON.m3u8", "CON_-8d2a5e3e"),
        ("", "http://h/a%00b%0a.m3u8", "ab-6fe6d3c2"),
    ],
)
def test_result_name_by_request(filename: str, url: str, name: str) -> None:
    """The typed name wins; an extension of ours is not doubled; a URL's last element is made safe."""
    assert name == result_name(TaskSpec(url=url, filename=filename))


@given(st.text(max_size=400))
def test_derived_name_is_one_safe_component(path: str) -> None:
    """Whatever the URL holds, the name is one component of at most 200 bytes and no dot name."""
    name = derived_name("http://h/" + path)
    assert name not in ("", ".", "..")
    assert "/" not in name and "\\" not in name and "\0" not in name
    assert not name.startswith(("-", "."))
    assert len(name.encode("utf-8", "replace")) <= 200
    assert "" == name_problem(name)
    assert name == derived_name("http://h/" + path)


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_names_that_were_changed_do_not_meet(one: str, other: str) -> None:
    """Two addresses that differ in what cannot be a name are told apart."""
    names = [derived_name(f"http://h/{quote(text, safe='')}") for text in (f"{one}\x00", f"{other}\x00")]
    assert (one == other) == (names[0] == names[1])


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        *(
            (name, True)
            for name in ("film", "film.mp4", " film", "a b", "é" * 100, "😀" * 50, "x" * 200, "CONSOLE", "电影")
        ),
        *((name, False) for name in ("a/b", "a\\b", "a:b", "a\0b", "a\nb", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b")),
        *((f"a{chr(code)}b", False) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
        *(
            (name, False)
            for name in (".", "..", ".x", "-x", "x.", "x ", "\u3000.x", "\xa0-x", "x.\xa0", "...", " .x", " -x")
        ),
        *(
            (name, False)
            for name in ("CON", "con.mp4", "Nul", "aux.tar.gz", "COM1", "lpt9.x", "prn .x", "COM¹", " nul")
        ),
        *((name, False) for name in ("é" * 101, "😀" * 51, "x" * 201)),
    ],
)
def test_typed_names(name: str, fine: bool) -> None:
    """One component that every system takes, of at most 200 bytes."""
    assert fine is (name_problem(name) == "")


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (1, "a_0001"), (12, "a_0012"), (10000, "a_10000")])
def test_numbered_as_the_origin(number: int, name: str) -> None:
    """The second file of a name is name_0001."""
    assert name == numbered("a", number)
