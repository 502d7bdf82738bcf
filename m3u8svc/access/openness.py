"""
Whether others than this machine's own users get in (R-AUTH-2): the one rule, for the start, which refuses where nobody
would ask them who they are, and for the doctor, who says so before. Pure.
"""

from collections.abc import Iterable
from typing import Protocol

from m3u8svc.access.forwarding import Trusted
from m3u8svc.errors import OpenWithoutAuth


class Entrance(Protocol):
    """
    A place where we listen.
    """

    @property
    def endpoint(self) -> str:
        """As the operator wrote it."""

    @property
    def stays_here(self) -> bool:
        """Whether only this machine can reach it."""


def way_in(
    entrances: Iterable[Entrance], trusted: Trusted, *, listen_named: str = "--listen"
) -> OpenWithoutAuth | None:
    """
    How others get in, as the error that it is while there is no token and no user; None if they do not. A reverse proxy
    brings others wherever we listen. `listen_named` is what the operator knows the entrances as.
    """
    for each in entrances:
        if not each.stays_here:
            return OpenWithoutAuth(way=f"{listen_named}: {each.endpoint}", opens="listen")
    if trusted:
        return OpenWithoutAuth(way=f"--trusted-proxy: {', '.join(map(_short, trusted))}", opens="proxy")
    return None


def _short(network: object) -> str:
    """
    A network as the operator would write it: one address without its prefix.
    """
    return str(network).removesuffix("/32").removesuffix("/128")
