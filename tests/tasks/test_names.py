"""The name of a result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.names import derived_name, numbered, result_name
from m3u8svc.tasks.task import TaskSpec


@pytest.mark.parametrize(
    ("filename", "url", "name"),
    [
        ("movie", "http://h/x.m3u8", "movie"),
        ("movie.mp4", "http://h/x.m3u8", "movie"),
        ("movie.MP4", "http://h/x.m3u8", "movie"),
        ("a.b", "http://h/x.m3u8", "a.b"),
        (".mp4", "http://h/x.m3u8", ".mp4"),
        ("", "http://h/dir/index.m3u8?token=1", "index"),
        ("", "http://h/dir/%E7%94%B5%E5%BD%B1.m3u8", "电影"),
        ("", "http://h/", "all"),
        ("", "http://h/..%2f..%2fetc%2fpasswd", "_.._etc_passwd"),
        ("", "http://h/CON.m3u8", "CON_"),
        ("", "http://h/a%00b%0a.m3u8", "ab"),
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


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (1, "a_0001"), (12, "a_0012"), (10000, "a_10000")])
def test_numbered_as_the_origin(number: int, name: str) -> None:
    """The second file of a name is name_0001."""
    assert name == numbered("a", number)
