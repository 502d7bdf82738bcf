"""
The built-in answer to `choose_variant`.
"""

import pytest

from m3u8svc.builtin.variant import ChosenVariant
from m3u8svc.errors import NoSuchVariant
from m3u8svc.hls.playlist import MasterPlaylist, Variant
from m3u8svc.tasks.task import Extensions, Task, TaskSpec

SMALL, LARGE = (
    Variant(uri="http://h/s", bandwidth=1, width=640, height=360),
    Variant(uri="http://h/l", bandwidth=2, width=1280, height=720),
)
MASTER = MasterPlaylist(url="http://h/m", variants=(SMALL, LARGE))


def chosen(variant: str) -> Variant:
    spec = TaskSpec(url="http://h/m", filename="", extensions=Extensions(variant=variant))
    return ChosenVariant().choose_variant(MASTER, Task(id="t", spec=spec))


@pytest.mark.parametrize(("variant", "expected"), [("best", LARGE), ("worst", SMALL), ("height<=480", SMALL)])
def test_the_variant_the_task_asks_for(variant: str, expected: Variant) -> None:
    """The best unless it says otherwise."""
    assert expected == chosen(variant)


def test_a_wish_nothing_meets_fails_the_task() -> None:
    """Another variant than the wanted one would be wrong."""
    with pytest.raises(NoSuchVariant):
        chosen("height>=1080")
