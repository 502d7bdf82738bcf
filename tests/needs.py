"""
What a test needs from the machine. Without it the test is skipped by name; with ``CI=true`` it fails, since a gate that
skips says nothing.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from m3u8svc.sandbox import landlock, seccomp

ORDINARY_USER = "m3u8svc-ci"
"""Made by .ci/run: root cannot be denied permission."""


def lacking(what: str) -> NoReturn:
    """
    End the test: the machine lacks this.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true this must be there: {what}")
    pytest.skip(what)


def commands(*names: str) -> None:
    """
    The test starts these.
    """
    for name in names:
        if shutil.which(name) is None:
            lacking(name)


def walls(*, landlocked: bool = True, filtered: bool = True) -> None:
    """
    The test is about what the kernel refuses a muxing child.
    """
    if landlocked and not landlock.abi():
        lacking("Landlock (a kernel with it, and not switched off)")
    if filtered and not seccomp.is_available():
        lacking("seccomp filters (a kernel and a machine that we have a table for)")


def root(purpose: str) -> None:
    """
    Only root can do what the test does.
    """
    if os.geteuid() != 0:
        lacking(f"{purpose} needs root: run this as root")


@contextmanager
def memory_disk(place: Path, size: str) -> Iterator[Path]:
    """
    A file system of its own at `place`, of this size.
    """
    root("mounting a tmpfs")
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        place.rmdir()
        lacking(f"the right to mount a tmpfs (in a container: CAP_SYS_ADMIN): {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


def ordinary_user() -> list[str]:
    """
    The beginning of a command that runs it as a user without rights. Reading is allowed everywhere, so that the
    checkout and the test's directory may lie in root's own; writing is not.
    """
    root("becoming another user")
    if shutil.which("setpriv") is None:
        lacking("setpriv (util-linux)")
    try:
        pwd.getpwnam(ORDINARY_USER)
    except KeyError:
        lacking(f"the user {ORDINARY_USER}: useradd --system {ORDINARY_USER}")
    identity = [f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups"]
    return ["setpriv", *identity, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]


@contextmanager
def no_rights() -> Iterator[None]:
    """
    What is done meanwhile is done as the ordinary user where it would be done as root, who may read everything.
    """
    if os.geteuid() != 0:
        yield
        return
    try:
        user = pwd.getpwnam(ORDINARY_USER)
    except KeyError:
        lacking(f"the user {ORDINARY_USER}: useradd --system {ORDINARY_USER}")
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
