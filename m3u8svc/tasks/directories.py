"""
Which directories belong to the system. Pure: a path is judged by its name; what it leads to is judged by `roots`.
"""

import posixpath

SYSTEM_DIRECTORIES = tuple(
    (
        "/bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /proc /sbin /sys /usr /var/lib /var/log /var/run /var/spool"
        " /System /Library"
    ).split()
)
OPEN_DIRECTORIES = ("/dev/shm", "/run/media")
"""Inside of those, but made for users: shared memory, and where desktops mount what is plugged in."""


def is_system_directory(path: str) -> bool:
    """
    Whether an absolute path is one of the system's directories or lies in one. The root itself is one.
    """
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return plain == "/" or (within(plain, SYSTEM_DIRECTORIES) and not within(plain, OPEN_DIRECTORIES))


def within(plain: str, directories: tuple[str, ...]) -> bool:
    """
    Whether a normal path is one of `directories` or lies in one.
    """
    return any(plain == each or plain.startswith(f"{each}/") for each in directories)
