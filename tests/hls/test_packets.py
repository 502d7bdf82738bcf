"""
The packets of a segment, looked at in columns: whatever comes, the same is found as by looking at one after the other.
"""

import re

import attrs
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.hls.packets import PACKET, Counters, PacketWalk

FEW = (0, 0x11, 0x100, 0x101, 0x1FFF)
"""PIDs of an ordinary stream, padding among them."""
MANY = (*FEW, 0x1000, 0x202, 0x303, 0x404)
"""More than two bits of either half tell apart."""


@attrs.frozen(kw_only=True)
class Packet:
    """What a continuity counter depends on."""

    pid: int
    step: int = 1
    """How far its counter is from the last one's."""
    has_payload: bool = True
    is_told: bool = False
    """Whether it has an adaptation field that says that the counter jumps."""
    in_sync: bool = True
    flags: int = 0
    """The upper bits of its second byte."""


def packets(pids: tuple[int, ...]) -> st.SearchStrategy[list[Packet]]:
    """Mostly such as nothing is wrong with."""
    seldom = st.integers(0, 60).map(lambda number: number == 0)
    step = st.integers(0, 200).map(lambda number: number if number < 20 else 1)
    packet = st.builds(
        Packet,
        pid=st.sampled_from(pids),
        step=step,
        has_payload=seldom.map(lambda is_so: not is_so),
        is_told=seldom,
        in_sync=seldom.map(lambda is_so: not is_so),
        flags=st.sampled_from((0, 0x40, 0xE0)),
    )
    return st.lists(packet, max_size=80)


def written(given_packets: list[Packet]) -> tuple[bytes, int, int]:
    """The bytes of these packets, how many counters jump in them, and how many are out of sync."""
    counters: dict[int, int] = {}
    body, jumps, lost = bytearray(), 0, 0
    for packet in given_packets:
        counter = (counters.get(packet.pid, 7) + packet.step) % 16
        control = (0x10 if packet.has_payload else 0) | (0x20 if packet.is_told else 0) | counter
        field = b"\x07\x80" if packet.is_told else b"\x00\x80"
        start = bytes((0x47 if packet.in_sync else 0x46, packet.flags | packet.pid >> 8, packet.pid & 0xFF, control))
        body += (start + field).ljust(PACKET, b"\xaa")
        lost += not packet.in_sync
        if packet.in_sync and packet.has_payload:
            known = packet.pid in counters and packet.pid != 0x1FFF
            jumps += known and packet.step % 16 > 1 and not packet.is_told
            counters[packet.pid] = counter
    return bytes(body), jumps, lost


@given(st.data(), st.sampled_from((FEW, MANY)))
def test_what_is_found_is_what_is_there(data: st.DataObject, pids: tuple[int, ...]):
    body, jumps, lost = written(data.draw(packets(pids)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    walk = PacketWalk()
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        walk.feed(body[start:end])
    damage, complete = walk.finish()
    assert (jumps, lost) == (number(r"(\d+) 处 TS 包不连续", damage), number(r"(\d+) 个 TS 包失去同步", damage))
    assert complete == (body[-PACKET:][:1] != b"\x46")


def number(pattern: str, text: str) -> int:
    """What stands there in a text; 0 if nothing does."""
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def test_an_ordinary_stream_is_looked_at_in_columns_alone():
    """Of which there are four: only whoever looks at each packet wants more."""
    kinds = [(n % 9 != 0, pid) for n in range(600) for pid in FEW]
    steps = {0x1FFF: 5}  # padding does not count on
    body, *_ = written([Packet(pid=pid, has_payload=has, step=steps.get(pid, int(has))) for has, pid in kinds])
    columns = [body[byte::PACKET] for byte in range(4)]
    counters = Counters()
    for start in range(0, len(kinds), 250):
        part = [column[start : start + 250] for column in columns]
        counters.follow(part[0], part.__getitem__, are_in_sync=True)
    assert counters.jumps == 0


def found_in(*given_packets: Packet) -> str:
    """What is said of these packets."""
    walk = PacketWalk()
    walk.feed(written(list(given_packets))[0])
    return walk.finish()[0]


def test_what_is_out_of_sync_is_no_packet_of_its_stream():
    stream = [Packet(pid=0x100), Packet(pid=0x100, in_sync=False), Packet(pid=0x100, step=2)]
    assert found_in(*stream) == "1 个 TS 包失去同步，从第 2 个起；1 处 TS 包不连续，可能丢包"


def test_what_has_no_payload_is_taken_for_no_other_stream():
    """Although with four streams no name is left for it."""
    others = [Packet(pid=pid) for pid in (0x000, 0x100, 0x200)]
    stream = [Packet(pid=0x300), Packet(pid=0x100, has_payload=False), Packet(pid=0x300, step=2)]
    assert "1 处 TS 包不连续" in found_in(*others, *stream)


def test_a_packet_cut_off_may_be_out_of_sync_too():
    walk = PacketWalk()
    walk.feed(written([Packet(pid=0x100), Packet(pid=0x100)])[0] + b"\x46abc")
    damage, complete = walk.finish()
    assert damage == "1 个 TS 包失去同步，从第 3 个起；末尾 4 字节不足一个 TS 包"
    assert not complete


def test_more_packets_than_are_looked_at_at_once():
    body, jumps, _ = written([Packet(pid=0x100, step=2 if n == 4500 else 1) for n in range(5000)])
    walk = PacketWalk()
    walk.feed(body)
    assert jumps == 1
    assert "1 处 TS 包不连续" in walk.finish()[0]
