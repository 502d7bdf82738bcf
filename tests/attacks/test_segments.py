"""
Segments that are no media but would lead a demuxer astray: files that name other files, archives, programs.
"""

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.attacks.rig import END, LINES, Canary, Trap, attacked, bounded, hostile, touch
from tests.integration.conftest import require

SECRET = "CANARY-1d0f"


def named(kind: str, path: str, url: str) -> bytes:
    """A segment of this kind that leads to a file and an address."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../../escaped.txt", SECRET)
    # TS packets whose payload is a list for ffmpeg, cut in the middle of the last one.
    packets = b"".join(b"G\x40\x00\x10\x00" + f"file '{path}'\n".encode().ljust(183, b"\xff") for _ in range(20))
    return {
        "ffconcat": f"ffconcat version 1.0\nfile 'file:{path}'\nfile '{url}'\n".encode(),
        "hls": f"#EXTM3U\n#EXTINF:1,\nfile://{path}\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "subfile": f"#EXTM3U\n#EXTINF:1,\nconcat:{path}|subfile,,start,0,end,9,,:{path}\n".encode(),
        "dash": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>'.encode(),
        "svg": f'<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="{url}"/></svg>'.encode(),
        "xml": f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{path}">]><x>&a;</x>'.encode(),
        "zip": archive.getvalue(),
        "elf": Path("/bin/true").read_bytes()[:20_000],
        "mov": struct.pack(">I4sQ", 1, b"moov", 10 << 30) + bytes(1000),
        "mov reference": b"\0\0\0\x14ftypqt  \0\0\0\0qt  "
        + _atom(b"moov", _atom(b"rmra", _atom(b"rmda", _atom(b"rdrf", b"\0" * 4 + b"url " + _sized(url.encode()))))),
        "cut ts": packets[:-100],
        "empty ts": packets,
    }[kind]


def _atom(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def _sized(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


KINDS = ["ffconcat", "hls", "subfile", "dash", "svg", "xml", "zip", "elf", "mov", "mov reference", "cut ts", "empty ts"]


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one kind: its task, what was asked of its server, and the traps it named."""

    task: dict[str, Any]
    asked: set[str]
    canary: Canary
    trap: Trap


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the service has no business in."""
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def outcomes(outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Outcome]]:
    """All kinds at once, each from a server of its own, since each is asked for several times."""
    require("curl")
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("segments") / "service"
        service = stack.enter_context(attacked(place, "--max-active", str(len(KINDS))))
        stack.enter_context(bounded(service, 100))
        begun = {}
        for kind in KINDS:
            server = stack.enter_context(hostile())
            canary, trap = Canary(outside / f"{kind}.txt", SECRET), Trap()
            stack.callback(canary.close)
            stack.callback(trap.close)
            init = '#EXT-X-MAP:URI="a.ts"\n' if kind.startswith("mov") else ""
            server.answers["/a.m3u8"] = f"{LINES}{init}#EXTINF:1,\na.ts\n{END}".encode()
            server.answers["/a.ts"] = named(kind, str(canary.path), f"http://127.0.0.1:{trap.port}/x.ts")
            begun[kind] = (service.add(f"{server.base}/a.m3u8", f"film {kind}"), server, canary, trap)
        before = touch(outside)
        assert all([canary.opened() for _, _, canary, _ in begun.values()]), "by ourselves: they see what they should"
        ended = {kind: service.wait(task_id, "失败") for kind, (task_id, *_) in begun.items()}
        yield {
            kind: Outcome(task=ended[kind], asked={path for path, _ in server.asked}, canary=canary, trap=trap)
            for kind, (_, server, canary, trap) in begun.items()
        }
        assert [] == list(service.saves.glob("*film*"))
        assert before == touch(outside)


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_that_is_something_else(outcomes: Mapping[str, Outcome], kind: str) -> None:
    """The task fails by name; the file it names is not opened, the address not asked, and no result is left."""
    outcome = outcomes[kind]
    assert outcome.task["err_code"] in ("not_media", "bad_segment", "merge_failed", "no_media")
    assert SECRET not in str(outcome.task)
    assert (0, []) == (outcome.canary.opened(), outcome.trap.knocks)
    assert {"/a.m3u8", "/a.ts"} == outcome.asked
