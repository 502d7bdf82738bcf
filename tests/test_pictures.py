"""
Pictures as the service keeps them, and what it takes from a child that may have been taken over.
"""

import base64
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from m3u8svc import pictures
from m3u8svc.errands import Ended
from m3u8svc.errors import NoPicture, NotThereYet
from m3u8svc.pictures import MOST_PICTURE_BYTES, Footage, Picture, Pictures, picture_in
from m3u8svc.sandbox.level import Box
from m3u8svc.watching import open_piece

BOX = {"landlock": 7, "seccomp": True, "missing": []}


def jpeg(size: int = 100) -> bytes:
    """So many bytes that begin and end as a JPEG does."""
    return b"\xff\xd8" + bytes(size - 4) + b"\xff\xd9"


def said(content: bytes) -> dict[str, Any]:
    return {"box": BOX, "jpeg": base64.b64encode(content).decode()}


def test_a_picture() -> None:
    """As the child made it."""
    assert Picture(jpeg=jpeg()) == picture_in(said(jpeg()))


@pytest.mark.parametrize("word", ["no_video", "no_key_frame", "undecodable"])
def test_none(word: str) -> None:
    """Why is said in both languages."""
    with pytest.raises(NoPicture) as caught:
        picture_in({"none": word}).shown("00007.ts")
    assert "00007.ts" in caught.value.text("zh")
    assert caught.value.text("en").isascii()


@pytest.mark.parametrize("word", ["<script>", "", None, 7])
def test_none_for_a_reason_of_its_own(word: Any) -> None:
    """It is not repeated."""
    with pytest.raises(NoPicture) as caught:
        picture_in({"none": word}).shown("00007.ts")
    assert caught.value.text("en").endswith("it cannot be decoded")


@pytest.mark.parametrize(
    "found",
    [
        said(b"<html>"),
        said(jpeg()[:-1]),
        said(jpeg(MOST_PICTURE_BYTES + 1)),
        {"box": BOX, "jpeg": "not base64!"},
        {"box": BOX, "jpeg": 7},
        {"box": BOX},
        [],
        7,
    ],
    ids=["a page", "cut off", "too large", "no base64", "a number", "nothing", "a list", "no object"],
)
def test_nonsense(found: Any) -> None:
    """It is no picture, whatever is said: nothing of it goes to a browser."""
    boxes: list[Box] = []
    ended = Ended(output=json.dumps(found).encode(), status=0, late=False, unheld=())
    assert "died" == Pictures(boxes.append)._judged(ended).none
    assert [] == boxes


@pytest.mark.parametrize("output", [b"", b"{", b'{"jpeg": "', b"[" * 100_000])
def test_a_child_that_died(output: bytes) -> None:
    """There is no picture."""
    assert "died" == Pictures()._judged(Ended(output=output, status=-9, late=False, unheld=())).none


class Errand:
    """Ends so."""

    def __init__(self, **how: Any) -> None:
        self._ended = Ended(**{"output": b"", "status": -9, "late": False, "killed": False, "unheld": (), **how})

    def run(self, *order: Any, **limits: Any) -> Ended:
        """As `Errands`."""
        return self._ended


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"late": True}, None),
        ({"killed": True}, None),
        ({"status": -24}, Picture(none="died")),  # SIGXCPU: it would die of it again
        ({"killed": True, "output": json.dumps(said(jpeg())).encode()}, Picture(jpeg=jpeg())),
    ],
)
def test_what_is_remembered_of_a_death(how: dict[str, Any], expected: Picture | None, tmp_path: Path) -> None:
    """Only what the segment did to the child, not what others did."""
    kept, key = Pictures(errands=Errand(**how)), ("t", 1, "")
    (tmp_path / "1.ts").write_bytes(b"")
    where = Footage(path=tmp_path / "1.ts", demuxer="mpegts")
    with nullcontext() if expected else pytest.raises(NotThereYet):
        kept.make(key, where, open_piece(where.path, lambda *_: Deferred()), None)
    assert expected == kept.known(key)


def test_what_is_kept() -> None:
    """The last ones that were made or shown, no more bytes than may be; also that there is none."""
    kept = Pictures()
    large = MOST_PICTURE_BYTES
    room = pictures.MOST_KEPT_BYTES // large
    for number in range(room):
        kept._keep(("t", number, ""), Picture(jpeg=jpeg(large)))
    assert kept.known(("t", 0, "")) is not None
    kept._keep(("t", room, ""), Picture(none="no_video"))
    assert kept.known(("t", 1, "")) is not None
    kept._keep(("t", room + 1, ""), Picture(jpeg=jpeg(large)))
    assert [True, True, False, True] == [kept.known(("t", number, "")) is not None for number in range(4)]
    assert Picture(none="no_video") == kept.known(("t", room, ""))


def test_made_twice() -> None:
    """It counts once."""
    kept = Pictures()
    room = pictures.MOST_KEPT_BYTES // MOST_PICTURE_BYTES
    for _ in range(2 * room):
        kept._keep(("t", 1, ""), Picture(jpeg=jpeg(MOST_PICTURE_BYTES)))
    kept._keep(("t", 2, ""), Picture(jpeg=jpeg()))
    assert kept.known(("t", 1, "")) is not None


def test_segments_without_any() -> None:
    """They weigh nothing, and there are no more of them than may be."""
    kept = Pictures()
    for number in range(pictures.MOST_KEPT + 1):
        kept._keep(("t", number, ""), Picture(none="no_video"))
    assert kept.known(("t", 0, "")) is None
    assert kept.known(("t", 1, "")) is not None
