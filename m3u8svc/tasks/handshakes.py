"""
What is said to a proxy before a connection through it is ours: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928 and
1929). Bytes in, bytes out; nobody here knows a socket.

A handshake begins with `opening()`. What the proxy says goes into `feed()` in pieces of any size, which gives what to
answer; once it is `done`, everything further belongs to the two ends. Whatever the proxy says wrong is one of the
errors below `ProxyError`, so that the caller knows whom to blame and whether to ask again. The name of the target goes
to the proxy as it is: nothing is looked up here.
"""

from typing import Protocol

import h11
from socksio import ProtocolError
from socksio.socks5 import (
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Connection,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5State,
    SOCKS5UsernamePasswordReply,
    SOCKS5UsernamePasswordRequest,
)

from m3u8svc.errors import ProxyAuthFailed, ProxyError, ProxyRefused, ProxyTargetUnreachable
from m3u8svc.tasks.proxy import Proxy, authority
from m3u8svc.wording import Said

MAX_BYTES = 64 * 1024
"""More than any proxy has to say before a connection; an answer in headers without end stops here."""

_WORTH_ASKING_AGAIN = frozenset({408, 425, 429})


class Handshake(Protocol):
    """
    One handshake with one proxy for one connection.
    """

    done: bool

    def opening(self) -> bytes:
        """What we say first."""
        ...

    def feed(self, data: bytes) -> bytes:
        """
        What to answer to these bytes; b"" for nothing.

        Raises:
            ProxyError: one of its kinds; the handshake is over.
        """
        ...


def handshake_for(proxy: Proxy, host: str, port: int) -> Handshake:
    """
    The handshake that makes `proxy` connect to `host`.
    """
    return Socks5(proxy, host, port) if proxy.kind == "socks5" else HttpConnect(proxy, host, port)


class HttpConnect:
    """
    One CONNECT request and its answer. The credentials are in this request, which the target never sees.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done = False
        self._proxy = proxy
        self._target = authority(host, port)
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_BYTES)
        self._received = 0

    def opening(self) -> bytes:
        """The request."""
        headers = [("Host", self._target)]
        if self._proxy.authorization is not None:
            headers.append(("Proxy-Authorization", self._proxy.authorization))
        request = h11.Request(method="CONNECT", target=self._target, headers=headers)
        return (self._connection.send(request) or b"") + (self._connection.send(h11.EndOfMessage()) or b"")

    def feed(self, data: bytes) -> bytes:
        """Reads the answer's head; there is never anything more to say."""
        self._received += len(data)
        if self._received > MAX_BYTES:
            raise ProxyError(
                proxy=self._proxy.shown, reason=Said("应答头过长", "the headers of its answer are too long")
            )
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            raise ProxyError(
                proxy=self._proxy.shown, reason=Said("不是有效的 HTTP 应答", "not a valid HTTP answer")
            ) from error
        if isinstance(event, h11.Response):
            self._judge(event.status_code)
            _expect_silence(self._proxy, self._connection.trailing_data[0])
            self.done = True
        return b""

    def _judge(self, status: int) -> None:
        if 200 <= status < 300:
            return
        reason = f"HTTP {status}"
        if status in (401, 407):  # tinyproxy says 401 to wrong credentials, and 407 to none
            raise ProxyAuthFailed(proxy=self._proxy.shown, reason=reason)
        kind = ProxyTargetUnreachable if status >= 500 or status in _WORTH_ASKING_AGAIN else ProxyRefused
        raise kind(proxy=self._proxy.shown, target=self._target, reason=reason)


class Socks5:
    """
    Method, credentials if the proxy wants them, CONNECT. Names are sent as names.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.done = False
        self._proxy = proxy
        self._address = (host, port)
        self._connection = SOCKS5Connection()
        self._buffer = b""

    def opening(self) -> bytes:
        """The methods we know: without credentials only the one that needs none."""
        methods = [SOCKS5AuthMethod.NO_AUTH_REQUIRED]
        if self._proxy.credentials is not None:
            methods.append(SOCKS5AuthMethod.USERNAME_PASSWORD)
        self._connection.send(SOCKS5AuthMethodsRequest(methods))
        return self._connection.data_to_send()

    def feed(self, data: bytes) -> bytes:
        """Takes whole replies out of what has come, since socksio takes no parts of one."""
        self._buffer += data
        while not self.done and len(self._buffer) >= (size := self._reply_size()):
            reply, self._buffer = self._buffer[:size], self._buffer[size:]
            self._take(reply)
        if self.done:
            _expect_silence(self._proxy, self._buffer)
        return self._connection.data_to_send()

    def _reply_size(self) -> int:
        """
        How long the reply is that is being received, as far as its beginning tells: at least that many bytes.
        """
        if self._connection.state is not SOCKS5State.CLIENT_AUTHENTICATED:
            return 2
        if len(self._buffer) < 5:
            return 5
        address_bytes = {1: 4, 3: 1 + self._buffer[4], 4: 16}.get(self._buffer[3], 0)  # 0: garbage, for socksio to say
        return 4 + address_bytes + 2

    def _take(self, reply: bytes) -> None:
        first = self._connection.state is SOCKS5State.SERVER_AUTH_REPLY
        try:
            if first and reply[:1] != b"\x05":
                raise ProtocolError("another version")  # the one thing socksio does not look at
            event = self._connection.receive_data(reply)
        except (ProtocolError, OSError) as error:  # OSError: an address that is none
            raise ProxyError(
                proxy=self._proxy.shown, reason=Said("不是有效的 SOCKS5 应答", "not a valid SOCKS5 answer")
            ) from error
        match event:
            case SOCKS5AuthReply():
                self._use(event.method)
            case SOCKS5UsernamePasswordReply():
                if not event.success:
                    raise ProxyAuthFailed(proxy=self._proxy.shown, reason="SOCKS5")
                self._ask_to_connect()
            case SOCKS5Reply():
                self._judge(event.reply_code)
                self.done = True

    def _use(self, method: SOCKS5AuthMethod) -> None:
        credentials = self._proxy.credentials
        if method is SOCKS5AuthMethod.NO_AUTH_REQUIRED:
            self._ask_to_connect()
        elif method is SOCKS5AuthMethod.USERNAME_PASSWORD and credentials is not None:
            self._connection.send(SOCKS5UsernamePasswordRequest(*credentials))
        else:
            reason = (
                Said("需要用户名和密码", "it asks for a user name and a password")
                if credentials is None
                else Said("不接受用户名和密码", "it does not take a user name and a password")
            )
            raise ProxyAuthFailed(proxy=self._proxy.shown, reason=reason)

    def _ask_to_connect(self) -> None:
        self._connection.send(SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, self._address))

    def _judge(self, code: SOCKS5ReplyCode) -> None:
        """RFC 1928, 6. A general failure is what some servers say about everything, so it is worth asking again."""
        if code is SOCKS5ReplyCode.SUCCEEDED:
            return
        refused = (
            SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET,
            SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED,
            SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
        )
        kind = ProxyRefused if code in refused else ProxyTargetUnreachable
        raise kind(proxy=self._proxy.shown, target=authority(*self._address), reason=_SOCKS_REASONS[code])


_SOCKS_REASONS = {
    SOCKS5ReplyCode.GENERAL_SERVER_FAILURE: Said("SOCKS5 1，一般故障", "SOCKS5 1, general failure"),
    SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET: Said(
        "SOCKS5 2，规则不允许", "SOCKS5 2, not allowed by its rules"
    ),
    SOCKS5ReplyCode.NETWORK_UNREACHABLE: Said("SOCKS5 3，网络不可达", "SOCKS5 3, network unreachable"),
    SOCKS5ReplyCode.HOST_UNREACHABLE: Said("SOCKS5 4，主机不可达", "SOCKS5 4, host unreachable"),
    SOCKS5ReplyCode.CONNECTION_REFUSED: Said("SOCKS5 5，连接被拒绝", "SOCKS5 5, connection refused"),
    SOCKS5ReplyCode.TTL_EXPIRED: Said("SOCKS5 6，超时", "SOCKS5 6, timed out"),
    SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED: Said("SOCKS5 7，不支持的命令", "SOCKS5 7, command not supported"),
    SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: Said(
        "SOCKS5 8，不支持的地址类型", "SOCKS5 8, kind of address not supported"
    ),
}


def _expect_silence(proxy: Proxy, rest: bytes) -> None:
    """
    We speak first to whoever is behind the proxy: bytes before that are nobody's answer.
    """
    if rest:
        raise ProxyError(proxy=proxy.shown, reason=Said("应答之后还有数据", "there is data behind its answer"))
