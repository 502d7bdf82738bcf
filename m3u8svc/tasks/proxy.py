"""
Which proxy a task goes through, as a value.
"""

import base64
from typing import Literal

import attrs
import idna

from m3u8svc.errors import ProxyUnsupported
from m3u8svc.tasks.task import Settings
from m3u8svc.wording import Said

ProxyKind = Literal["http", "https", "socks5"]
KINDS: tuple[ProxyKind, ...] = ("http", "https", "socks5")


@attrs.frozen(kw_only=True)
class Proxy:
    """
    One proxy and whom to be there. Equal ones may share connections, others never do, so every field counts.
    """

    kind: ProxyKind
    """How to speak to it: ``https`` is ``http`` inside TLS."""
    host: str
    """ASCII; an IPv6 address without brackets."""
    port: int
    username: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)

    @property
    def shown(self) -> str:
        """Which one it is, for people: no credentials."""
        return f"{self.kind}://{authority(self.host, self.port)}"

    @property
    def credentials(self) -> tuple[bytes, bytes] | None:
        """User name and password as they are sent, if there are any."""
        if not (self.username or self.password):
            return None
        return self.username.encode("utf-8"), self.password.encode("utf-8")

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (RFC 7617, in UTF-8), if there are credentials."""
        if self.credentials is None:
            return None
        return "Basic " + base64.b64encode(b":".join(self.credentials)).decode("ascii")


def proxy_of(settings: Settings) -> Proxy | None:
    """
    The proxy these settings name; None for a direct connection.

    Raises:
        ProxyUnsupported: they want one, and do not name one that can be used.
    """
    if not settings.wants_proxy:
        return None
    if settings.proxy_type not in KINDS:
        raise ProxyUnsupported(
            proxy_type=settings.proxy_type, reason=Said("不支持这种代理", "this kind of proxy is not supported")
        )
    host = settings.proxy_host.strip().removeprefix("[").removesuffix("]")
    if not host or not settings.proxy_port:
        raise ProxyUnsupported(
            proxy_type=settings.proxy_type, reason=Said("缺少代理的主机或端口", "the proxy's host or port is missing")
        )
    return Proxy(
        kind=settings.proxy_type,
        host=host if host.isascii() else _ascii(host, settings.proxy_type),
        port=settings.proxy_port,
        username=settings.proxy_username,
        password=settings.proxy_password,
    )


def authority(host: str, port: int) -> str:
    """
    ``host:port``, with an IPv6 address in brackets.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ascii(host: str, proxy_type: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ProxyUnsupported(
            proxy_type=proxy_type, reason=Said("代理的主机名无效", "the proxy's host name is not valid")
        ) from error
