"""
What is looked for in lists of tasks.
"""

import pytest

from m3u8svc.tasks.search import STATES_IN_ORDER, has_letters_beyond_ascii
from m3u8svc.tasks.task import Status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("Film 1_%", False),
        ("电影", False),
        ("é", True),
        ("É", True),
        ("ж", True),
        ("ß", True),
        ("a电É", True),
    ],
)
def test_letters_that_only_we_can_make_small(text: str, expected: bool) -> None:
    """Those of other alphabets that have large and small ones; Chinese has none."""
    assert expected == has_letters_beyond_ascii(text)


def test_every_state_has_its_place() -> None:
    """Else a list in order of states would not know where to put it."""
    assert set(Status) == set(STATES_IN_ORDER)
