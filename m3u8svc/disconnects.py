"""
What the failures of Twisted and OpenSSL to connect mean, in words: read where a connection is made, to the origin or
to a proxy before it.
"""

from collections.abc import Iterator

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet import error as net
from twisted.internet.defer import CancelledError


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


def distrust(cause: BaseException) -> str:
    """
    Why the other end's certificate is not trusted, in Chinese; "" when it is about something else.
    """
    match cause:
        case VerificationError() | CertificateError():
            return "证书与主机名不符"
        case SSL.Error() if "certificate verify failed" in str(cause):
            return "证书未通过验证"
    return ""


def unconnected(cause: BaseException) -> str:
    """
    Why there is no connection, in Chinese; "" when it is about something else.
    """
    match cause:
        case net.DNSLookupError():
            return "域名无法解析"
        case net.ConnectionRefusedError():
            return "连接被拒绝"
        case net.NoRouteError():
            return "网络不可达"
        case SSL.Error():
            return "TLS 握手失败"
        case net.ConnectionDone():
            return "对方在应答之前关闭了连接"
        case net.ConnectionLost() | net.ConnectionAborted():
            return "连接在应答之前中断"
        case net.ConnectError():
            return "连接失败"
    return ""
