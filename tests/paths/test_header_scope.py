"""
Who gets to see which header, by the journals of real servers: the submitted site, another one, and redirects between
them.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
import pytest
import pytest_twisted

from m3u8svc.tasks.task import Task
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist
from tests.test_job import encrypted
from tests.test_service import COMPLETED, COUNT, Bench, bench, reactor, segments, test

__all__ = ["bench", "segments"]

SECRETS = {
    "authorization": "Bearer CANARY1",
    "cookie": "sid=CANARY2",
    "x-api-token": "CANARY3",
    "x-session": "CANARY4",
    "my-signature": "CANARY5",
}
KEY = bytes(range(16))


@pytest_twisted.async_yield_fixture
async def other() -> AsyncIterator[Origin]:
    """Another site: another address."""
    origin = await Origin.start(reactor, interface="127.0.0.2")
    yield origin
    await origin.stop()


def serve(bench: Bench, other: Origin, media: list[bytes], uris: list[str], key: str = "") -> None:
    """The stream of a task, each segment at its own place, on both sites."""
    keys = (KeyLine(uri=key, iv=f"0x{1:032x}"),) if key else ()
    lines = [SegmentLine(uri=uri, duration_s=1.0, keys=keys) for uri in uris]
    for origin in (bench.origin, other):
        origin.put("/key.bin", KEY)
        origin.put("/film.m3u8", media_playlist(lines).encode())
        for number, content in enumerate(media):
            origin.put(f"/{number}.ts", encrypted(content, KEY, 1) if key else content, content_type="video/mp2t")


async def download(bench: Bench, **fields: Any) -> Task:
    """A finished task with secret headers and a plain one."""
    headers = {name: (value,) for name, value in SECRETS.items()} | {"X-Plain": ("plain",)}
    draft = attrs.evolve(bench.draft("ignored"), url=bench.origin.url("/film.m3u8"), filename="film", headers=headers)
    task = await bench.service.create(attrs.evolve(draft, extensions=fields))
    await bench.service.start()
    return await bench.until_status(task, COMPLETED)


def secrets_at(origin: Origin) -> list[tuple[str, str]]:
    """Every secret that a server was told, with the path."""
    told = [(visit.path, visit.headers) for visit in origin.visits()]
    return [(path, value) for path, headers in told for value in _values(headers) if "CANARY" in value]


def _values(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


@pytest.mark.parametrize("key", ["", "{other}/key.bin"], ids=["plain", "key"])
@test
async def test_another_site_gets_the_plain_ones_only(
    bench: Bench, other: Origin, segments: list[bytes], key: str
) -> None:
    """Segments and keys of another site are asked for without secrets; the task names them and the site."""
    uris = [f"{other.base}/{number}.ts" if number % 2 else f"{number}.ts" for number in range(COUNT)]
    serve(bench, other, segments, uris, key.format(other=other.base))
    task = await download(bench)
    assert [] == secrets_at(other)
    assert {"plain"} == {visit.headers["x-plain"] for visit in other.visits()}
    here = bench.origin.visits("/0.ts")[0].headers
    assert SECRETS.items() <= here.items()
    for name in SECRETS:
        assert any(name in text and f"127.0.0.2:{other.port}" in text for text in task.warnings), (name, task.warnings)


@pytest.mark.parametrize("named", ["127.0.0.2", "127.0.0.2:{port}"])
@test
async def test_a_site_that_header_hosts_names_gets_them(
    bench: Bench, other: Origin, segments: list[bytes], named: str
) -> None:
    """All of them, and nothing is said to be withheld."""
    serve(bench, other, segments, [f"{other.base}/{number}.ts" for number in range(COUNT)])
    task = await download(bench, header_hosts=(named.format(port=other.port),))
    assert [True] * COUNT == [SECRETS.items() <= visit.headers.items() for visit in other.visits()]
    assert [] == [text for text in task.warnings if "header_hosts" in text]


@test
async def test_a_host_beside_the_one_named_does_not(bench: Bench, other: Origin, segments: list[bytes]) -> None:
    """Another port is another host where a port is named."""
    serve(bench, other, segments, [f"{other.base}/{number}.ts" for number in range(COUNT)])
    await download(bench, header_hosts=(f"127.0.0.2:{other.port + 1}", "127.0.0.20"))
    assert [] == secrets_at(other)


@pytest.mark.parametrize("header_hosts", [(), ("127.0.0.2",)], ids=["scoped", "named"])
@pytest.mark.parametrize("what", ["segment", "key", "playlist"])
@test
async def test_a_redirect_takes_them_away_for_good(
    bench: Bench, other: Origin, segments: list[bytes], what: str, header_hosts: tuple[str, ...]
) -> None:
    """To another site and back: neither gets a secret, whatever is named."""

    def there_and_back(path: str) -> str:
        back = bench.origin.url(path, back="1")
        return bench.origin.url(path, redirect=other.url(path, redirect=back))

    uris = [f"{number}.ts" for number in range(COUNT)]
    if what == "segment":
        uris = [there_and_back(f"/{uri}") for uri in uris]
    serve(bench, other, segments, uris, there_and_back("/key.bin") if what == "key" else "key.bin")
    if what == "playlist":
        bench.origin.put("/moved.m3u8", b"")
        location = other.url("/film.m3u8", redirect=bench.origin.url("/film.m3u8", back="1"))
        headers = {name: (value,) for name, value in SECRETS.items()}
        draft = attrs.evolve(bench.draft("ignored"), url=bench.origin.url("/moved.m3u8", redirect=location))
        draft = attrs.evolve(draft, filename="film", headers=headers, extensions={"header_hosts": header_hosts})
        task = await bench.service.create(draft)
        await bench.service.start()
        await bench.until_status(task, COMPLETED)
    else:
        await download(bench, header_hosts=header_hosts)
    assert other.visits()
    assert [] == secrets_at(other)
    returned = [visit for visit in bench.origin.visits() if "back=1" in visit.query]
    assert returned
    assert [] == [value for visit in returned for value in _values(visit.headers) if "CANARY" in value]
