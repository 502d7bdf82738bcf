"""Which disks take files: tables of sizes and mount points."""

import pytest

from m3u8svc.tasks.concurrency import PER_HOST
from m3u8svc.tasks.reserve import (
    LEAST_FILES,
    Disk,
    Reserve,
    in_flight_bytes,
    is_lost,
    parse_reserve,
    room_on,
    trouble_with,
)
from m3u8svc.tasks.task import Progress, Settings, Task, TaskSpec

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("total", "kept"),
    [
        (0, 0),  # a file system that does not say how large it is
        (8 * MIB, 8 * MIB // 20),
        (10 * GIB, GIB // 2),
        (20 * GIB, GIB),
        (30 * GIB, GIB),
        (50 * GIB, GIB),
        (100 * GIB, 2 * GIB),
        (5000 * GIB, 100 * GIB),
    ],
)
def test_what_is_left_alone(total: int, kept: int) -> None:
    """Two per cent and at least a GiB, but never more than five per cent."""
    assert kept == Reserve().of(total)
    assert kept <= total / 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", Reserve(size_bytes=2 * GIB)),
        ("1.5 gib", Reserve(size_bytes=3 * GIB // 2)),
        ("500 MB", Reserve(size_bytes=500_000_000)),
        ("0", Reserve(size_bytes=0)),
        ("4096B", Reserve(size_bytes=4096)),
        ("3%", Reserve(share=0.03)),
        ("0.5 %", Reserve(share=0.005)),
    ],
)
def test_what_the_configuration_says(text: str, expected: Reserve) -> None:
    """A size or a share."""
    assert expected == parse_reserve(text)


def test_a_share_is_of_the_disk() -> None:
    """A size is the same for every disk, a share is not."""
    assert (30, 300) == (Reserve(share=0.03).of(1000), Reserve(share=0.03).of(10_000))
    assert (7, 7) == (Reserve(size_bytes=7).of(1000), Reserve(size_bytes=7).of(10_000))


@pytest.mark.parametrize("text", ["", "much", "-1", "100%", "1 parsec", "GiB", "1e9", "1.2.3", "٣%", "1 GiB 2"])
def test_what_is_no_reserve(text: str) -> None:
    """Anything else is said to be wrong."""
    with pytest.raises(ValueError, match="2GiB"):
        parse_reserve(text)


def disk(free: int, *, mount: str = "/", files: int | None = None, read_only: bool = False) -> Disk:
    """A disk of 1,000 bytes."""
    return Disk(mount=mount, total_bytes=1000, free_bytes=free, free_files=files, read_only=read_only)


@pytest.mark.parametrize(
    ("found", "mount", "comes_back", "code"),
    [
        (disk(100), "", False, None),
        (disk(99), "", False, "disk_full"),
        (disk(124), "", True, "disk_full"),
        (disk(125), "", True, None),
        (disk(500, files=LEAST_FILES - 1), "", False, "disk_full"),
        (disk(500, files=LEAST_FILES), "", False, None),
        (disk(500, read_only=True), "", False, "disk_read_only"),
        (disk(0, read_only=True), "", True, "disk_read_only"),
        (disk(500), "/mnt/usb", False, "disk_gone"),
        (disk(0, read_only=True), "/mnt/usb", False, "disk_gone"),  # of the disk below nothing is wanted
        (disk(500, mount="/mnt/usb"), "/mnt/usb", False, None),
        (disk(500, mount="/mnt/usb"), "/", False, None),
    ],
)
def test_what_is_wrong_with_a_disk(found: Disk, mount: str, comes_back: bool, code: str | None) -> None:
    """The boundary of the reserve, with and without the margin; files; writes; the mount point."""
    trouble = trouble_with("/mnt/usb/films", found, Reserve(size_bytes=100), mount=mount, comes_back=comes_back)
    assert code == (None if trouble is None else trouble.code)
    assert trouble is None or (trouble.holds and "/mnt/usb/films" in trouble.text("zh"))


@pytest.mark.parametrize(
    ("mount", "now", "lost"),
    [
        ("", "/", False),
        ("/", "/", False),
        ("/mnt/usb", "/mnt/usb", False),
        ("/mnt/usb", "/", True),
        ("/mnt/usb", "/mnt", True),
        ("/", "/mnt/usb", False),  # mounted since
        ("/mnt/usb", "/mnt/usb2", False),  # the directory is a link that leads elsewhere now
    ],
)
def test_a_lost_mount_point(mount: str, now: str, lost: bool) -> None:
    """What was below a mount point and is below another one above it has lost its disk."""
    assert lost == is_lost(mount, now)


@pytest.mark.parametrize(
    ("threads", "done", "total", "size", "expected"),
    [
        (8, 10, 100, 1000, 800),
        (0, 10, 100, 1000, PER_HOST * 100),
        (8, 97, 100, 9700, 300),
        (8, 0, 100, 0, 0),
        (8, 100, 100, 9700, 0),
    ],
)
def test_what_will_be_in_flight(threads: int, done: int, total: int, size: int, expected: int) -> None:
    """A segment for each worker, no more than there are left, of the mean size so far; nothing is known at first."""
    spec = TaskSpec(url="", filename="f", settings=Settings(download_threads=threads))
    progress = Progress(segments_done=done, segments_total=total, size_bytes=size)
    assert expected == in_flight_bytes(Task(id="t", spec=spec, progress=progress))


@pytest.mark.parametrize(
    ("wanted", "free", "enough"), [(0, 125, True), (10, 134, False), (10, 135, True), (10**6, 375, True)]
)
def test_room_beside_the_reserve(wanted: int, free: int, enough: bool) -> None:
    """And beside its margin; of a small disk a quarter is enough."""
    assert enough is room_on(disk(free), Reserve(size_bytes=100), wanted)
