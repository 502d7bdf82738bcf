"""What Twisted's and OpenSSL's failures to connect are called."""

import errno

import pytest
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet import error as net
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from m3u8svc.disconnects import cancelled, causes, distrust, unconnected


@pytest.mark.parametrize(
    ("cause", "code", "reason"),
    [
        (net.DNSLookupError(), "dns_failed", "域名无法解析"),
        (net.ConnectionRefusedError(), "refused", "连接被拒绝"),
        (net.getConnectError((errno.ECONNREFUSED, "")), "refused", "连接被拒绝"),
        (net.ConnectionDone(), "reset", "对方在应答之前关闭了连接"),
        (net.ConnectionLost(), "reset", "连接在应答之前中断"),
        (net.ConnectionAborted(), "reset", "连接在应答之前中断"),
        (net.getConnectError((errno.ENETUNREACH, "")), "unreachable", "网络不可达"),
        (net.getConnectError((errno.EHOSTUNREACH, "")), "unreachable", "网络不可达"),
        (net.getConnectError((errno.ENETDOWN, "")), "unreachable", "网络不可达"),
        (net.getConnectError((errno.EHOSTDOWN, "")), "unreachable", "网络不可达"),
        (net.getConnectError((errno.EACCES, "")), "unreachable", "本机禁止连接"),
        (net.getConnectError((errno.EPERM, "")), "unreachable", "本机禁止连接"),
        (net.getConnectError((errno.EINVAL, "")), "unreachable", "网络不可达"),
        (net.getConnectError((errno.EADDRNOTAVAIL, "")), "connect_failed", "连接失败"),
        (SSL.Error(), "connect_failed", "TLS 握手失败"),
    ],
)
def test_each_failure_to_connect_has_its_code(cause: Exception, code: str, reason: str) -> None:
    """Whether the name, the server, the way to it or something else is at fault."""
    lost = unconnected(cause)
    assert lost is not None
    assert (code, reason) == (lost[0].code, lost[1])


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (VerificationError(errors=[]), "证书与主机名不符"),
        (CertificateError("x"), "证书与主机名不符"),
        (SSL.Error([("SSL routines", "", "certificate verify failed")]), "证书未通过验证"),
        (SSL.Error([("SSL routines", "", "wrong version number")]), ""),
        (net.ConnectionDone(), ""),
    ],
)
def test_a_certificate_that_is_not_trusted(cause: Exception, reason: str) -> None:
    """It is told apart from what only failed."""
    assert reason == distrust(cause)


@pytest.mark.parametrize(
    ("cause", "ours"),
    [
        (CancelledError(), True),
        (net.ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 80)), True),
        (net.ConnectionAborted(), False),
    ],
)
def test_what_ended_because_we_said_so(cause: Exception, ours: bool) -> None:
    """And what did not."""
    assert ours is cancelled(cause)


def test_what_a_failure_wraps_is_told_with_it() -> None:
    """All of it, from the outside to the inside."""
    inner, other = ValueError("x"), KeyError("y")
    middle = ResponseNeverReceived([Failure(inner)])
    outer = ResponseNeverReceived([Failure(middle), Failure(other)])
    assert [outer, middle, inner, other] == list(causes(outer))


def test_other_errors_are_not_about_connecting() -> None:
    """What a plugin's agent may raise besides."""
    assert unconnected(ValueError("x")) is None
