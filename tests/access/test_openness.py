"""
Who gets in before anybody is asked who he is.
"""

import attrs
import pytest

from m3u8svc.access.forwarding import parse_trusted
from m3u8svc.access.openness import way_in


@attrs.frozen(kw_only=True)
class Place:
    """Somewhere to listen."""

    endpoint: str
    stays_here: bool


HERE = Place(endpoint="tcp:1:interface=127.0.0.1", stays_here=True)
OPEN = Place(endpoint="tcp:2", stays_here=False)


@pytest.mark.parametrize(
    ("entrances", "trusted", "way"),
    [
        ([], (), ""),
        ([HERE, HERE], (), ""),
        ([HERE, OPEN], (), "--listen: tcp:2"),
        ([HERE], ("127.0.0.1", "10.0.0.0/8", "::1", "unix"), "--trusted-proxy: 127.0.0.1, 10.0.0.0/8, ::1, unix"),
        ([OPEN], ("unix",), "--listen: tcp:2"),
    ],
)
def test_way_in(entrances: list[Place], trusted: tuple[str, ...], way: str) -> None:
    """One entrance that others reach is enough, and so is a proxy; both languages name it."""
    error = way_in(entrances, tuple(parse_trusted(each) for each in trusted))
    assert way == ("" if error is None else error.fields["way"])
    assert error is None or all(way in error.text(language) for language in ("zh", "en"))
