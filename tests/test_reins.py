"""
What a muxing child may take grows with what it is fed.
"""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m3u8svc.offerings import Gap, MediaFile
from m3u8svc.reins import BEGIN_BYTES, BEGIN_S, Allowance, hold
from tests import needs

MIB = 1 << 20


def segment(**given: object) -> MediaFile:
    """A segment of 6 s and 10 MiB."""
    plain = {"position": 1, "path": Path("/x"), "kind": "ts", "duration_s": 6.0, "size_bytes": 10 * MIB}
    return MediaFile(**plain | given)  # type: ignore[arg-type]  # keyword by keyword


def test_it_grows() -> None:
    """By bytes, by segments and by how long they last; the file by half more than was read."""
    begun = Allowance()
    assert (BEGIN_S, BEGIN_BYTES) == (begun.cpu_s, begun.file_bytes)
    fed = begun.and_part(segment())
    assert pytest.approx(BEGIN_S + 1 + 10 / 16 + 6 / 30) == fed.cpu_s
    assert BEGIN_BYTES + 15 * MIB == fed.file_bytes


def test_a_day_of_sound_is_enough() -> None:
    """Many small packets take time that their bytes do not tell."""
    allowance = Allowance()
    for _ in range(24 * 600):
        allowance = allowance.and_part(segment(size_bytes=72_000))
    assert allowance.cpu_s > 24 * 600


def test_what_is_not_known_is_allowed_its_most() -> None:
    """A segment without a size, and the silence in a gap."""
    assert BEGIN_BYTES + 3 * 1024 * MIB == Allowance().and_part(segment(size_bytes=0)).file_bytes
    assert BEGIN_BYTES + MIB == Allowance().and_part(Gap(position=1, duration_s=6.0)).file_bytes


@pytest.mark.parametrize("duration_s", [float("inf"), float("nan"), -1.0])
def test_impossible_durations_add_nothing(duration_s: float) -> None:
    """What a hostile playlist could say."""
    assert pytest.approx(BEGIN_S + 1 + 10 / 16) == Allowance().and_part(segment(duration_s=duration_s)).cpu_s


@pytest.fixture
def prlimit() -> None:
    """Limits of another process."""
    if not hasattr(resource, "prlimit"):
        needs.lacking("prlimit (Linux)")


@pytest.mark.usefixtures("prlimit")
def test_a_process_is_held(tmp_path: Path) -> None:
    """It ends by the signals of the two limits, and they can be raised while it runs."""
    spin = "import sys; print(flush=True)\nwhile True: pass"
    write = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); print(flush=True); sys.stdin.read(1)\n"
        f"open({str(tmp_path / 'f')!r}, 'wb').write(bytes(2 << 20))"
    )
    for code, allowance, ended in (
        (spin, Allowance(cpu_s=1.0), signal.SIGXCPU),
        (write, Allowance(file_bytes=MIB), signal.SIGXFSZ),
    ):
        child = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        assert () == hold(child.pid, allowance)
        assert () == hold(child.pid, Allowance())
        assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[0] == BEGIN_BYTES
        assert () == hold(child.pid, allowance)
        child.communicate(b"x")
        assert -ended == child.returncode


@pytest.mark.usefixtures("prlimit")
def test_one_that_is_gone() -> None:
    """Nothing is missing: there is nothing to hold."""
    child = subprocess.Popen([sys.executable, "-I", "-c", ""])
    child.wait()
    assert () == hold(child.pid, Allowance())


def test_a_narrower_limit_stays() -> None:
    """What the service may not have itself, its child may not either."""
    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n"
        "from m3u8svc.reins import Allowance, hold\n"
        "print(hold(os.getpid(), Allowance()), *resource.getrlimit(resource.RLIMIT_CPU))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "() 9 9" == ran.stdout.strip()
