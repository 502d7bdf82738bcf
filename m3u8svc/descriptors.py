"""
File descriptors: how many this process may have open, and how many transfers that allows (H8).

A transfer has two, a socket and a file. The service itself has sixteen at rest (measured), a muxing child three pipes,
and clients of the API one each. What is left is for transfers: so a small limit makes downloads slower, and nothing
fails. It is raised as far as the system lets us.
"""

import os
import resource

from m3u8svc.errors import ConfigError

WANTED = 65_536
LEAST = 48
"""With fewer the service does not start: it could not serve, and could not say why."""
COMFORTABLE = 256
OWN = 40
CLIENTS = 64


def transfers_within(limit: int) -> int:
    """
    How many transfers may run at once where so many descriptors may be open.
    """
    return max(2, (limit - OWN - min(CLIENTS, limit // 4)) // 2)


def raise_limit() -> int:
    """
    Raise this process's limit as far as it may be; returns how many descriptors it may have.

    Raises:
        ConfigError: that is too few to work with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    limit = WANTED if soft == resource.RLIM_INFINITY else soft
    if limit < LEAST:
        raise ConfigError(where="ulimit -n", reason=f"only {limit} files may be open, at least {LEAST} are needed")
    return limit


def lacking() -> int:
    """
    The system's number for why nothing can be opened now; 0 when something can.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or 0
    return 0
