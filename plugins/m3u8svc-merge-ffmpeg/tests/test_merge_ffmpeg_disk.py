"""
What a disk refuses, in the service's own errors.
"""

import errno
import os
from pathlib import Path

import pytest
from m3u8svc_merge_ffmpeg.merger import disk_error

TARGET = Path("/saves/.t1.part.mkv")


@pytest.mark.parametrize(
    ("number", "named", "code", "path"),
    [
        (errno.ENOSPC, None, "disk_full", "/saves"),
        (errno.EDQUOT, "/saves/x", "disk_full", "/saves/x"),
        (errno.EIO, None, "disk_error", "/saves"),
        (errno.EACCES, "/srv/7.ts", "disk_error", "/srv/7.ts"),
    ],
)
def test_errors_of_the_disk_keep_their_code(number: int, named: str | None, code: str, path: str) -> None:
    """A full disk or quota is one thing, what else a file refuses another; the file is named, else the directory."""
    error = disk_error(OSError(number, os.strerror(number), named), TARGET)
    assert (code, path) == (error.code, error.fields["path"])
