"""
Answers that are not quite HTTP, by the thousand: each ends as bytes or as one of our errors, never as anything else.

``FUZZ=200000`` tries as many as the gate wants; ``FAULTS_SEED`` repeats a run.
"""

import gzip
import os
import random
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.errors import M3u8svcError
from m3u8svc.fetch import Fetcher, FetchLimits
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.tasks.addresses import NEAREST
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.waiting import together
from tests.faults.stage import FastReactor, sockets, within

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
pytestmark = pytest.mark.faults

CASES = int(os.environ.get("FUZZ", "5000"))
AT_ONCE = 8
BODY = bytes(range(256)) * 4
PACKED = gzip.compress(BODY, mtime=0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n"
ANSWERS = (
    HEAD + b"Content-Length: 1024\r\n\r\n" + BODY,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + BODY + b"\r\n0\r\n\r\n",
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n200;x=y\r\n"
    + BODY[:512]
    + b"\r\n200\r\n"
    + BODY[512:]
    + b"\r\n0\r\nA: b\r\n\r\n",
    HEAD + b"\r\n" + BODY,
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-14/1024\r\nContent-Length: 10\r\n\r\n" + BODY[5:15],
    b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + HEAD + b"Content-Length: 1024\r\n\r\n" + BODY,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"\t", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"ffffffffffffffffffff\r\n", b"-1\r\n", b"HTTP/9.9 ", b"HTTP/1.1 100 Continue\r\n\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"Location: \r\n", b"Location: http://[::1\r\n", b"Location: //\r\n",
    b"Content-Range: bytes */*\r\n", b"Content-Encoding: gzip, gzip\r\n", b"Retry-After: x\r\n", b"\xff\xfe", b"999",
)  # fmt: skip


FOUND = (b"HTTP/1.1 200 OK\r\n folded: into nothing\r\nContent-Length: 0\r\n\r\n",)
"""What failed once is always tried, first."""


def wounded(dice: random.Random) -> bytes:
    """An answer with up to four wounds."""
    answer = bytearray(dice.choice(ANSWERS))
    for _ in range(dice.randint(0, 4)):
        head = answer.find(b"\r\n\r\n") + 4
        end = max(1, dice.choice((head, len(answer))))  # most of what can go wrong is in the head
        at = dice.randrange(end)
        match dice.randrange(6):
            case 0:
                answer[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del answer[at : at + dice.randint(1, 40)]
            case 2:
                answer[at:at] = dice.choice(TOKENS)
            case 3:
                answer[at:at] = answer[at : at + dice.randint(1, 200)]
            case 4:
                del answer[at:]
            case 5:
                line = answer.rfind(b"\r\n", 0, at)
                answer[line + 2 : line + 2] = dice.choice(TOKENS)
        if not answer:
            break
    return bytes(answer)


class Wounded(Protocol):
    """Answers each request with the next wounded answer, in pieces, and then is gone in one way or another."""

    transport: Any
    factory: "WoundedFactory"

    def dataReceived(self, data: bytes) -> None:
        """A request."""
        for _ in range(data.count(b"\r\n\r\n")):
            dice = self.factory.dice
            answer = self.factory.found.pop() if self.factory.found else wounded(dice)
            cut = dice.randrange(len(answer) + 1)
            self.transport.write(answer[:cut])
            self.transport.write(answer[cut:])
            match dice.randrange(4):
                case 0:
                    self.transport.abortConnection()
                case 1 | 2:
                    self.transport.loseConnection()
                case 3:
                    reactor.callLater(0.02, self.transport.loseConnection)  # kept open: the next answer may come on it


class WoundedFactory(Factory):
    """The server."""

    protocol = Wounded
    noisy = False

    def __init__(self, seed: str) -> None:
        self.dice = random.Random(f"answers {seed}")
        self.found = list(FOUND)


@within(3600)
async def test_answers_that_are_not_quite_http(seed: str) -> None:
    """Every one of them is bytes or an error of ours; no socket is left, and no error that nobody handled."""
    before = sockets()
    listening = reactor.listenTCP(0, WoundedFactory(seed), interface="127.0.0.1")
    clock = FastReactor(reactor, pace=20.0)
    connections = Connections(clock)
    fetcher = Fetcher(clock=clock)
    dice = random.Random(f"requests {seed}")
    url = f"http://127.0.0.1:{listening.getHost().port}/x"
    outcomes: set[str] = set()
    unnamed: set[str] = set()

    async def agent(request: Request) -> IAgent:
        return connections.agent(False, reach=NEAREST)

    async def ask() -> None:
        for _ in range(CASES // AT_ONCE):
            purpose = dice.choice((Purpose.SEGMENT, Purpose.SEGMENT, Purpose.PLAYLIST, Purpose.KEY))
            byterange = ByteRange(offset_bytes=5, length_bytes=10) if dice.random() < 0.2 else None
            request = Request(url=url, purpose=purpose, byterange=byterange, reach=NEAREST)
            limits = FetchLimits(max_bytes=1 << 20, total_s=60.0)
            try:
                await fetcher.read(request, agent_for=agent, limits=limits)
                outcomes.add("")
            except M3u8svcError as error:
                outcomes.add(error.code)
                if error.code == "fetch_failed":
                    unnamed.add(error.text("en").partition("(")[2])

    await together(*(ask() for _ in range(AT_ONCE)))
    await connections.close()
    await listening.stopListening()
    for _ in range(300):
        if sockets() <= before:
            break
        await deferLater(reactor, 0.01)
    assert sockets() <= before
    assert {"", "bad_response", "truncated"} <= outcomes
    assert set() == unnamed
    assert "internal" not in outcomes
