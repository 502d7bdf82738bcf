"""
Log files: how many, how large, whose, and what a full disk does.
"""

import resource
import stat
from pathlib import Path

from m3u8svc.logfile import FILES, open_log


def test_ten_files_at_most_and_the_owners_only(tmp_path: Path) -> None:
    """However much is written; the last lines are in the current one."""
    log = open_log(tmp_path / "service.log", rotate_bytes=100)
    for number in range(200):
        log.write(f"line {number:03d}\n")
        log.flush()
    log.close()
    files = list(tmp_path.iterdir())
    assert FILES == len(files)
    assert (tmp_path / "service.log").read_text().endswith("line 199\n")
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}
    assert max(file.stat().st_size for file in files) <= 110


def test_a_disk_that_takes_nothing_hinders_nobody(tmp_path: Path) -> None:
    """Lines are lost, and whoever logs does not hear of it."""
    (tmp_path / "service.log").symlink_to("/dev/full")
    log = open_log(tmp_path / "service.log")
    for _ in range(3):
        log.write("x" * 100_000)
        log.flush()
    log.close()


def test_a_log_that_could_not_begin_anew_goes_on(tmp_path: Path) -> None:
    """Without a descriptor for the next file the lines of that time are lost, and not all that follow."""
    log = open_log(tmp_path / "service.log", rotate_bytes=10)
    log.write("x" * 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        log.write("lost\n")
        log.write("lost\n")
        log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log.write("there\n")
    log.close()
    assert "there\n" == (tmp_path / "service.log").read_text()
