"""
What the failures of Twisted and OpenSSL to connect mean, as errors of ours and in words: read where a connection is
made, to the origin or to a proxy before it.
"""

import errno
from collections.abc import Iterator

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet import error as net
from twisted.internet.defer import CancelledError

from m3u8svc.errors import ConnectError, ConnectionRefused, ConnectionReset, DnsFailed, Unreachable
from m3u8svc.wording import Said

Unconnected = tuple[type[ConnectError], Said]
"""The kind of error, and why there is no connection, in Chinese."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """
    `error` and what it wraps: Twisted's client collects the reasons of a failure in `reasons`.
    """
    yield error
    for reason in getattr(error, "reasons", None) or ():
        yield from causes(reason.value)


def cancelled(cause: BaseException) -> bool:
    """
    Whether it ended because we said so.
    """
    return isinstance(cause, CancelledError | net.ConnectingCancelledError)


def distrust(cause: BaseException) -> Said:
    """
    Why the other end's certificate is not trusted; "" when it is about something else.
    """
    match cause:
        case VerificationError() | CertificateError():
            return Said("证书与主机名不符", "the certificate is that of another host")
        case SSL.Error() if "certificate verify failed" in str(cause):
            return Said("证书未通过验证", "the certificate cannot be verified")
    return Said("", "")


def unconnected(cause: BaseException) -> Unconnected | None:
    """
    Why there is no connection; None when it is about something else.
    """
    match cause:
        case net.DNSLookupError():
            return DnsFailed, Said("域名无法解析", "the name cannot be resolved")
        case net.ConnectionRefusedError():
            return ConnectionRefused, Said("连接被拒绝", "the connection was refused")
        case net.NoRouteError() | net.ConnectError(osError=errno.EHOSTUNREACH | errno.ENETDOWN | errno.EHOSTDOWN):
            return Unreachable, Said("网络不可达", "the network cannot be reached")
        case net.ConnectError(osError=errno.EACCES | errno.EPERM):  # a route or a firewall of this machine
            return Unreachable, Said("本机禁止连接", "this machine forbids the connection")
        case net.ConnectError(osError=errno.EINVAL):  # what Linux says of a blackhole route
            return Unreachable, Said("网络不可达", "the network cannot be reached")
        case SSL.Error():
            return ConnectError, Said("TLS 握手失败", "the TLS handshake failed")
        case net.ConnectionDone():
            return ConnectionReset, Said(
                "对方在应答之前关闭了连接", "the other end closed the connection before it answered"
            )
        case net.ConnectionLost() | net.ConnectionAborted():
            return ConnectionReset, Said("连接在应答之前中断", "the connection broke before there was an answer")
        case net.ConnectError():
            return ConnectError, Said("连接失败", "the connection failed")
    return None
