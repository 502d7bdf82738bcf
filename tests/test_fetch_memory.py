"""
The one door out, without a socket: answers and failures that no origin can be made to give, and limits at their edges.
"""

import errno
import gzip
import os
import zlib
from typing import Any

import attrs
import pytest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web._newclient import BadHeaders, ParseError
from twisted.web.client import ResponseDone, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

from m3u8svc.connections import HeadersTooLong
from m3u8svc.errors import (
    BadByteRange,
    BadResponse,
    BodyTooLarge,
    ConnectError,
    ConnectionRefused,
    ConnectTimeout,
    FetchError,
    HeadersTimeout,
    HttpStatusError,
    M3u8svcError,
    ProxyUnreachable,
    TlsError,
    TooManyFiles,
    TotalTimeout,
    Unreachable,
)
from m3u8svc.fetch import Fetched, Fetcher, FetchLimits
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.tasks.request import Purpose, Request

URL = "http://a.example:8080/x"
NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
REQUEST = Request(url=URL, purpose=Purpose.SEGMENT)
LIMITS = FetchLimits()


@implementer(IResponse)
class Response:
    """An answer with these headers. `chunks` come at once and end it; without them the body waits."""

    version = (b"HTTP", 1, 1)
    phrase = b"Said"
    request = None
    previousResponse = None

    def __init__(
        self, code: int = 200, *chunks: bytes, length: Any = None, hang: bool = False, **headers: bytes | list[bytes]
    ) -> None:
        self.code = code
        self.length = sum(map(len, chunks)) if length is None else length
        self.headers = Headers()
        for name, value in headers.items():
            self.headers.setRawHeaders(name.replace("_", "-"), value if isinstance(value, list) else [value])
        self.transport = StringTransport()
        self.body: Any = None
        self._chunks = chunks
        self._hang = hang

    def deliverBody(self, protocol: Any) -> None:
        """As IResponse says."""
        self.body = protocol
        protocol.makeConnection(self.transport)
        for chunk in self._chunks:
            protocol.dataReceived(chunk)
        if not self._hang:
            protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: object) -> None:
        """As IResponse says."""

    @property
    def closed(self) -> bool:
        """Whether its connection was given up."""
        return self.transport.disconnecting or self.transport.disconnected


@implementer(IAgent)
class Answers:
    """Gives these, one after the other, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[bytes, bytes, Headers]] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: object = None) -> Any:
        """As IAgent says."""
        self.asked.append((method, uri, headers))
        answer = self._answers.pop(0)
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class Fetching:
    """One fetch, on a clock."""

    def __init__(self, *answers: Any, request: Request = REQUEST, limits: FetchLimits = LIMITS) -> None:
        self.clock = Clock()
        self.agent = Answers(*answers)
        self.chunks: list[bytes] = []
        self.ended: list[Any] = []
        fetcher = Fetcher(clock=self.clock, wall=lambda: NOW)
        fetching = fetcher.fetch(request, self, agent_for=self._agent_for, limits=limits)
        self.fetching = Deferred.fromCoroutine(fetching).addBoth(self.ended.append)

    async def _agent_for(self, request: Request) -> IAgent:
        return self.agent

    def write(self, chunk: bytes) -> None:
        """It is the sink, too."""
        self.chunks.append(chunk)

    @property
    def body(self) -> bytes:
        """What came."""
        assert isinstance(self.ended[0], Fetched), self.ended
        return b"".join(self.chunks)

    @property
    def error(self) -> Any:
        """What went wrong."""
        return self.ended[0].value


# -- Failures of others ----------------------------------------------------------------------------------------------

FAILURES: list[tuple[Exception, type[M3u8svcError], dict[str, object]]] = [
    (net.TimeoutError(), ConnectTimeout, {"seconds": 15.0}),
    (net.TCPTimedOutError(), ConnectTimeout, {"seconds": 15.0}),
    (HeadersTooLong(9, 1), BadResponse, {"reason": "响应头过长"}),
    (ParseError("x", b"y"), BadResponse, {"reason": "不是有效的 HTTP 应答"}),
    (BadHeaders("x", b"y"), BadResponse, {"reason": "不是有效的 HTTP 应答"}),
    (ValueError("x"), BadResponse, {"reason": "不是有效的 HTTP 应答"}),
    (KeyError("x"), BadResponse, {"reason": "不是有效的 HTTP 应答"}),
    (AttributeError("x"), BadResponse, {"reason": "不是有效的 HTTP 应答"}),
    (VerificationError(errors=[]), TlsError, {"reason": "证书与主机名不符"}),
    (SSL.Error([("", "", "certificate verify failed")]), TlsError, {"reason": "证书未通过验证"}),
    (SSL.Error([("", "", "wrong version number")]), ConnectError, {"reason": "TLS 握手失败"}),
    (net.ConnectionRefusedError(), ConnectionRefused, {"reason": "连接被拒绝"}),
    (net.NoRouteError(), Unreachable, {"reason": "网络不可达"}),
]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("error", "kind", "fields"), FAILURES, ids=range(len(FAILURES)))
def test_failures_of_others_are_told_as_ours(
    error: Exception, kind: type[M3u8svcError], fields: dict[str, object], wrapped: bool
) -> None:
    """Bare or among the reasons of Twisted's client; the URL is that of the request."""
    fetching = Fetching(ResponseNeverReceived([Failure(error)]) if wrapped else error)
    assert kind is type(fetching.error)
    assert fields | {"url": URL} == {name: fetching.error.fields[name] for name in (*fields, "url")}


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_an_agent_says_on_purpose_stays_as_it_is(wrapped: bool) -> None:
    """It knows best what is wrong."""
    error = ProxyUnreachable(proxy="p:1", reason="x")
    assert error is Fetching(ResponseNeverReceived([Failure(error)]) if wrapped else error).error


def test_what_nobody_knows_is_named() -> None:
    """By its class and its text."""
    error = Fetching(RuntimeError("boom")).error
    assert (FetchError, URL, "RuntimeError: boom") == (type(error), error.fields["url"], error.fields["reason"])


@pytest.mark.parametrize("error", [CancelledError(), net.ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 80))])
def test_what_was_cancelled_is_no_failure(error: Exception) -> None:
    """Wherever that was felt first."""
    assert CancelledError is type(Fetching(ResponseNeverReceived([Failure(error)])).error)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors(number: int) -> None:
    """It is tried again a little later each time, four times in all; then it says for which host."""
    fetching = Fetching(
        *[net.getConnectError((number, "")), OSError(number, "x"), OSError(number, "x"), OSError(number, "x")]
    )
    asked = []
    for wait_s in (0.2, 1.0, 3.0):
        asked.append(len(fetching.agent.asked))
        fetching.clock.advance(wait_s - 0.05)
        asked.append(len(fetching.agent.asked))
        fetching.clock.advance(0.05)
    assert [1, 1, 2, 2, 3, 3] == asked
    assert (TooManyFiles, "a.example:8080", os.strerror(number)) == (
        type(fetching.error),
        fetching.error.fields["path"],
        fetching.error.fields["reason"],
    )


# -- What is sent ----------------------------------------------------------------------------------------------------


def test_what_is_sent() -> None:
    """The headers of the request in their order, the range, and our own Host and Accept-Encoding over any of them."""
    request = attrs.evolve(
        REQUEST,
        headers=(("X-A", "1"), ("X-A", "2"), ("Host", "evil.example"), ("Accept-Encoding", "br")),
        byterange=ByteRange(offset_bytes=10, length_bytes=10),
    )
    [(method, uri, headers)] = Fetching(Response(404), request=request).agent.asked
    assert (b"GET", URL.encode()) == (method, uri)
    expected = {b"X-A": [b"1", b"2"], b"Host": [b"a.example:8080"], b"Range": [b"bytes=10-19"]}
    assert expected | {b"Accept-Encoding": [b"identity"]} == {
        name: headers.getRawHeaders(name) for name in (*expected, b"Accept-Encoding")
    }


@pytest.mark.parametrize(
    ("headers", "sent"),
    [((), [b"Basic bWU6cA=="]), ((("X-A", "b"),), [b"Basic bWU6cA=="]), ((("authorization", "own"),), [b"own"])],
)
def test_a_name_in_the_url_is_no_other_than_the_one_given(headers: Any, sent: list[bytes]) -> None:
    """A request that has credentials of its own keeps them."""
    request = attrs.evolve(REQUEST, url=URL.replace("://", "://me:p@"), headers=headers)
    [(_, uri, sent_headers)] = Fetching(Response(404), request=request).agent.asked
    assert (URL.encode(), sent) == (uri, sent_headers.getRawHeaders(b"Authorization"))


# -- What is answered ------------------------------------------------------------------------------------------------


def test_what_is_told_of_an_answer() -> None:
    """A type that is not UTF-8 is read byte by byte, a date that is none is not told."""
    fetching = Fetching(Response(200, b"abc", Content_Type=b"text/\xe9", Last_Modified=b"yesterday"))
    assert b"abc" == fetching.body
    assert ("text/é", None, 3, 0) == (
        fetching.ended[0].content_type,
        fetching.ended[0].last_modified,
        fetching.ended[0].size_bytes,
        fetching.ended[0].hops,
    )


def test_what_an_answer_does_not_say() -> None:
    """It is not made up."""
    fetching = Fetching(Response(200, b"abc"))
    assert b"abc" == fetching.body
    assert ("", None) == (fetching.ended[0].content_type, fetching.ended[0].last_modified)


def test_a_date_to_come_back_at() -> None:
    """Counted from the wall's time, not from the clock's."""
    error = Fetching(Response(503, Retry_After=b"Tue, 14 Nov 2023 22:13:30 GMT")).error
    assert (503, 10.0, URL) == (error.status, error.retry_after_s, error.fields["url"])


def test_a_part_that_nobody_asked_for_is_refused() -> None:
    """Taken for the whole it would be a hole in the film."""
    error = Fetching(Response(206, b"abc", Content_Range=b"bytes 0-2/3")).error
    assert isinstance(error, HttpStatusError) and 206 == error.status


WANTED = ByteRange(offset_bytes=10, length_bytes=10)
TEN = b"0123456789"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (lambda: Response(206, TEN), "HTTP 206 缺少有效的 Content-Range"),
        (lambda: Response(206, TEN, Content_Range=b"bytes 10-/20"), "HTTP 206 缺少有效的 Content-Range"),
        (lambda: Response(206, TEN, Content_Range=b"bytes 0-9/20"), "请求 bytes=10-19，应答 bytes=0-9"),
        (
            lambda: Response(206, b"01234", Content_Range=b"bytes 10-19/20"),
            "请求 bytes=10-19，应答 bytes=10-19",
        ),
        (lambda: Response(206, TEN, Content_Encoding=b"gzip"), "范围应答被压缩（gzip）"),
        (lambda: Response(200, bytes(19)), "资源只有 19 字节，bytes=10-19 超出范围"),
    ],
)
def test_a_part_that_is_another(response: Any, reason: str) -> None:
    """It says what was asked for and what was given."""
    error = Fetching(response(), request=attrs.evolve(REQUEST, byterange=WANTED)).error
    assert (BadByteRange, URL, reason) == (type(error), error.fields["url"], error.fields["reason"])


@pytest.mark.parametrize(
    "response",
    [
        lambda: Response(206, TEN, Content_Range=b"bytes 10-19/20"),
        lambda: Response(206, TEN, Content_Range=b"bytes 10-19/*", length=UNKNOWN_LENGTH),
        lambda: Response(206, TEN, Content_Range=b"bytes 10-19/20", Content_Encoding=b"identity"),
        lambda: Response(200, bytes(10) + TEN),
        lambda: Response(200, bytes(10) + TEN, length=UNKNOWN_LENGTH),
    ],
)
def test_a_part_that_is_the_one(response: Any) -> None:
    """Of a 206 or out of a 200, with or without a length."""
    assert TEN == Fetching(response(), request=attrs.evolve(REQUEST, byterange=WANTED)).body


@pytest.mark.parametrize(("offset", "length"), [(100_000, 1000), (10, 100_000)])
def test_what_lies_before_a_part_does_not_count(offset: int, length: int) -> None:
    """A limit is for what is kept; what a server sends besides is not."""
    request = attrs.evolve(REQUEST, byterange=ByteRange(offset_bytes=offset, length_bytes=length))
    response = Response(200, bytes(offset), b"x" * length, length=UNKNOWN_LENGTH)
    assert b"x" * length == Fetching(response, request=request, limits=FetchLimits(max_bytes=length)).body


@pytest.mark.parametrize(
    ("response", "byterange"),
    [
        (lambda: Response(200, TEN), None),
        (lambda: Response(200, TEN, length=UNKNOWN_LENGTH), None),
        (lambda: Response(200, gzip.compress(TEN), length=UNKNOWN_LENGTH, Content_Encoding=b"gzip"), None),
        (lambda: Response(206, TEN, Content_Range=b"bytes 10-19/20"), WANTED),
    ],
)
def test_the_largest_body(response: Any, byterange: ByteRange | None) -> None:
    """The limit itself is not over the limit, however the size comes out; one byte more is."""
    request = attrs.evolve(REQUEST, byterange=byterange)
    most = 30 if byterange is None and response().headers.hasHeader("Content-Encoding") else 10
    assert TEN == Fetching(response(), request=request, limits=FetchLimits(max_bytes=most)).body
    error = Fetching(response(), request=request, limits=FetchLimits(max_bytes=9)).error
    assert (BodyTooLarge, URL, 9) == (type(error), error.fields["url"], error.fields["limit"])


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ([b"gzip"], gzip.compress(TEN)),
        ([b" X-GZIP "], gzip.compress(TEN)),
        ([b"deflate"], zlib.compress(TEN)),
        ([b"x-deflate"], zlib.compress(TEN)),
        ([b"Identity"], TEN),
        ([b""], TEN),
    ],
    ids=["gzip", "x-gzip", "deflate", "x-deflate", "identity", "none"],
)
def test_how_a_body_is_packed(encoding: list[bytes], packed: bytes) -> None:
    """In any spelling."""
    assert TEN == Fetching(Response(200, packed, Content_Encoding=encoding)).body


@pytest.mark.parametrize(
    ("encoding", "named"), [([b"BR"], "br"), ([b"gzip", b"br"], "gzip,br"), ([b"x-compress"], "compress")]
)
def test_how_a_body_may_not_be_packed(encoding: list[bytes], named: str) -> None:
    """Nobody asked for it, and it is named."""
    error = Fetching(Response(200, TEN, Content_Encoding=encoding)).error
    assert (BadResponse, URL, f"未请求的压缩方式 {named}") == (type(error), error.fields["url"], error.fields["reason"])


# -- Time ------------------------------------------------------------------------------------------------------------


def test_headers_that_do_not_come() -> None:
    """The time to connect and the time for headers are one."""
    fetching = Fetching(Deferred(), limits=FetchLimits(connect_s=2.0, headers_s=1.25))
    fetching.clock.advance(3.2)
    assert [] == fetching.ended
    fetching.clock.advance(0.05)
    assert (HeadersTimeout, 3.25, URL) == (
        type(fetching.error),
        fetching.error.fields["seconds"],
        fetching.error.fields["url"],
    )


def test_the_total_is_over_all_hops() -> None:
    """A redirect does not begin it anew."""
    first: Deferred[Response] = Deferred()
    fetching = Fetching(first, Deferred(), limits=FetchLimits(total_s=20.0))
    fetching.clock.advance(15.0)
    first.callback(Response(302, Location=b"/y"))
    fetching.clock.advance(4.5)
    assert (2, []) == (len(fetching.agent.asked), fetching.ended)
    fetching.clock.advance(0.5)
    assert (TotalTimeout, 20.0) == (type(fetching.error), fetching.error.fields["seconds"])
    assert URL.replace("/x", "/y") == fetching.error.fields["url"]


def test_a_total_that_is_over_before_the_next_hop() -> None:
    """It is asked no more than it takes to say so."""
    first: Deferred[Response] = Deferred()
    fetching = Fetching(first, Deferred(), limits=FetchLimits(total_s=20.0))
    fetching.clock.advance(19.0)
    first.callback(Response(302, Location=b"/y", hang=True))
    fetching.clock.pump([1.0, 1.0, 0.0])
    assert TotalTimeout is type(fetching.error)


def test_a_total_for_the_body() -> None:
    """It counts from the beginning, and ends the body on time."""
    answer: Deferred[Response] = Deferred()
    fetching = Fetching(answer, limits=FetchLimits(silence_s=1000.0, total_s=20.0))
    fetching.clock.advance(15.0)
    response = Response(200, b"abc", length=9, hang=True)
    answer.callback(response)
    fetching.clock.advance(4.5)
    assert [] == fetching.ended
    fetching.clock.advance(0.5)
    assert (TotalTimeout, True) == (type(fetching.error), response.closed)
    assert (20.0, URL) == (fetching.error.fields["seconds"], fetching.error.fields["url"])


# -- What nobody wants -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "closed"), [(0, False), (64 * 1024, False), (64 * 1024 + 1, True)])
def test_the_rest_of_an_answer_that_is_not_wanted(size: int, closed: bool) -> None:
    """It is read if it is short, so that the connection can be used again."""
    response = Response(404, bytes(size), length=UNKNOWN_LENGTH)
    fetching = Fetching(response)
    assert (404, closed) == (fetching.error.status, response.closed)


@pytest.mark.parametrize(
    "response",
    [
        lambda: Response(404, b"x", length=9, hang=True),
        lambda: Response(200, b"x", length=9, hang=True, Content_Encoding=b"br"),
    ],
)
def test_the_rest_that_does_not_come(response: Any) -> None:
    """It is waited for two seconds, however much of it trickles in; what was wrong is said all the same."""
    answer = response()
    fetching = Fetching(answer)
    for _ in range(19):
        fetching.clock.advance(0.1)
        answer.body.dataReceived(bytes(400))
    assert ([], False) == (fetching.ended, answer.closed)
    fetching.clock.pump([0.1, 0.1])
    assert isinstance(fetching.error, HttpStatusError | BadResponse) and answer.closed
