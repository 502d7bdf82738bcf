"""
One request as the fetch layer sends it and hooks see it.
"""

import enum

import attrs

from m3u8svc.hls.playlist import ByteRange
from m3u8svc.tasks.addresses import Zone


class Purpose(enum.Enum):
    """
    What the bytes are for; limits and policy follow from it.
    """

    PLAYLIST = "playlist"
    KEY = "key"
    INIT = "init"
    SEGMENT = "segment"
    PLUGIN = "plugin"
    """Asked for by a plugin on its own behalf; no hook sees such a request."""


@attrs.frozen(kw_only=True)
class Request:
    """
    A GET. `headers` are (name, value) pairs in order, already scoped to this URL; `position` is the 1-based segment
    position, None for anything else. Secrets live in `url` and `headers`: neither is ever in a repr.
    """

    url: str = attrs.field(repr=False)
    purpose: Purpose
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    byterange: ByteRange | None = None
    position: int | None = None
    insecure: bool = False
    """Whether certificates are not checked (`allow_insecure_https`)."""
    reach: Zone = Zone.PUBLIC
    """How near its host may be: what a public playlist leads to must be public (`tasks.reach`)."""
