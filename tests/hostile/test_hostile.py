"""
Hostile media in the box (R-DEM-1..3, table 2.10): it is not media, or it is damaged, and that is all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests import needs, seeds
from tests.hostile.baits import baits
from tests.hostile.mutate import mutated
from tests.hostile.run import Originals, Rig, make_originals, seeds_of
from tests.hostile.watch import Canary, watched

SEGMENTS = 300
SEED = int(seeds.seed(seeds.HOSTILE))
NAMES = list(baits(Path("/x"), "http://h"))


@pytest.fixture(scope="session", autouse=True)
def walls() -> None:
    """What is tried is the whole box."""
    needs.walls()


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    """Real segments."""
    needs.commands("ffmpeg")
    return make_originals(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def canary(tmp_path: Path):
    """A file to read, an address to go to."""
    with watched(tmp_path / "outside") as found:
        yield found


@pytest.fixture
def rig(tmp_path: Path, originals: Originals, canary: Canary) -> Rig:
    """The real children."""
    folder = tmp_path / "inside"
    folder.mkdir()
    return Rig(reactor=reactor, in_thread=deferToThread, folder=folder, originals=originals, canary=canary)


BARE = """
import sys, av
try:
    with av.open(sys.argv[1], **({"format": sys.argv[2]} if len(sys.argv) > 2 else {})) as container:
        for packet in container.demux():
            pass
except av.FFmpegError as error:
    print(error)
"""


def test_the_bait_is_bait(canary: Canary, tmp_path: Path) -> None:
    """Without our precautions libav opens the canary: so the watch sees, and the bait would work."""
    script = tmp_path / "x.ts"
    script.write_text(f"ffconcat version 1.0\nfile '{os.path.relpath(canary.path, tmp_path)}'\n")
    for arguments in ([], ["mpegts"]):
        subprocess.run([sys.executable, "-I", "-c", BARE, str(script), *arguments], check=True, capture_output=True)
        assert bool(canary.touched()) == (not arguments), arguments


@pytest.mark.parametrize("name", NAMES)
@pytest_twisted.ensureDeferred
async def test_bait(name: str, rig: Rig, canary: Canary) -> None:
    """Alone it is no media, between real segments it is missing, as whatever kind it comes; nothing is opened."""
    content = baits(canary.path, canary.url)[name]
    alone = {"no_media", "merge_failed", "merger_died", "verify_failed"}
    for kind in ("ts", "fmp4"):
        assert await rig.bait(name, content, kind, genuine=False) in alone
    assert "merged with warnings" == await rig.bait(name, content, "ts", genuine=True)


@pytest.mark.parametrize("seed", seeds_of(SEED, SEGMENTS))
@pytest_twisted.ensureDeferred
async def test_damage(seed: str, rig: Rig) -> None:
    """Ten damaged segments are a file or a named failure; the seed is in the test's name (HOSTILE_SEED repeats it)."""
    assert await rig.batch(seed)


def test_damage_is_the_same_by_its_seed(originals: Originals) -> None:
    """So that a failing seed can be kept."""
    whole = originals.ts[0]
    assert mutated(whole, "7/3") == mutated(whole, "7/3") != mutated(whole, "7/4")
    assert sum(mutated(whole, str(seed)) != whole for seed in range(50)) >= 45
