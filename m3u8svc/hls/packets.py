"""
The packets of an MPEG-TS segment, followed to its end: every 188th byte is 0x47, and those of each PID count on. Pure.

A gigabyte is 5.3 million packets, too many to look at one by one in Python (measured: 2.0 s). So they are looked at in
columns, one byte of every packet each (0.4 s). PID and continuity counter become one byte that tells which stream it
is and where it stands; what is left of that for one stream must be a stretch of 0, 1 … 15, 0, 1 …. Where it is not, or
where there are more PIDs than such a byte can tell apart, each packet is looked at as well.
"""

from collections.abc import Callable
from functools import lru_cache

from m3u8svc.wording import Said, joined

PACKET = 188
SYNC = 0x47
_NULL_PID = 0x1FFF
_HAS_PAYLOAD = 0x10
_PID_HIGH = 0x1F
_EVERY = bytes(range(256))
_LOW_DIGIT = bytes(value & 15 for value in _EVERY)
_BUT_FOR = [bytes(value for value in _EVERY if value >> 4 != name) for name in range(16)]
"""All bytes but those of one stream, by its name."""
_COUNTS = {
    nameless: bytes(value & 15 | (0 if value & _HAS_PAYLOAD else nameless) for value in _EVERY)
    for nameless in (0xC0, 0x30)
}
"""For `bytes.translate`: the counter; of a packet without payload, which does not count, as of no stream at all."""
_COUNTING = bytes(range(16)) * 257
"""Longer than what one chunk has of a stream; of a longer chunk each packet is looked at."""
_TOLD_APART = 4
"""How many values of each half of a PID fit into two bits."""

Column = Callable[[int], bytes]
"""The byte at one place of every packet."""


class PacketWalk:
    """
    Follows the packets of one segment.
    """

    def __init__(self) -> None:
        self._counters = Counters()
        self._rest = b""
        self._packets = 0
        self._lost = 0
        self._first_lost = 0
        self._last_in_sync = True

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        start = -len(self._rest) % PACKET
        if len(chunk) < start:
            self._rest += chunk
            return
        end = len(chunk) - (len(chunk) - start) % PACKET
        spread = self._rest + chunk[:start]  # the packet that is in two chunks, if there is one
        self._rest = chunk[end:]

        def column(byte: int) -> bytes:
            return spread[byte : byte + 1] + chunk[start + byte : end : PACKET]

        syncs = column(0)
        are_in_sync = not self._look_at(syncs)
        self._counters.follow(syncs, column, are_in_sync=are_in_sync)

    def _look_at(self, syncs: bytes) -> int:
        """How many of these bytes are no sync byte."""
        wrong = len(syncs) - syncs.count(SYNC)
        if wrong and not self._lost:
            index = next(index for index, byte in enumerate(syncs) if byte != SYNC)
            self._first_lost = self._packets + index + 1
        if syncs:
            self._last_in_sync = syncs[-1] == SYNC
        self._lost += wrong
        self._packets += len(syncs)
        return wrong

    def finish(self) -> tuple[str, bool]:
        """(damage, complete) as in `hls.media.Media`."""
        self._look_at(self._rest[:1])
        damages = []
        if self._lost:
            damages.append(
                Said(
                    f"{self._lost} 个 TS 包失去同步，从第 {self._first_lost} 个起",
                    f"TS packets out of sync: {self._lost}, from packet {self._first_lost} on",
                )
            )
        if rest := len(self._rest):
            damages.append(Said(f"末尾 {rest} 字节不足一个 TS 包", f"{rest} bytes at the end are no whole TS packet"))
        if jumps := self._counters.jumps:
            damages.append(
                Said(
                    f"{jumps} 处 TS 包不连续，可能丢包",
                    f"TS continuity counters jump ({jumps}): packets may be lost",
                )
            )
        return joined(damages, zh="；"), not self._rest and self._last_in_sync


class Counters:
    """
    The continuity counters of every PID (ISO 13818-1 2.4.3.3). One that does not move is a packet sent twice, or a
    muxer that does not count; neither lost anything.
    """

    def __init__(self) -> None:
        self.jumps = 0
        """How often packets may be missing."""
        self._last: dict[int, int] = {}
        self._highs = _Names(_PID_HIGH, shift=6)
        self._lows = _Names(0xFF, shift=4)

    def follow(self, syncs: bytes, column: Column, *, are_in_sync: bool) -> None:
        """The next packets, of which `syncs` is the first column; whether each begins with a sync byte."""
        if not (are_in_sync and self._count_on(len(syncs), column)):
            self._look_at_each(syncs, column)

    def _count_on(self, count: int, column: Column) -> bool:
        """
        Whether all of these packets are seen to go on where those before them ended; if not, none is counted.
        """
        high, low, control = column(1), column(2), column(3)
        if not (self._highs.learn(high) and self._lows.learn(low)):
            return False
        nameless = self._highs.free_name or self._lows.free_name
        if not nameless:
            return False
        marks = (
            high.translate(self._highs.table),
            low.translate(self._lows.table),
            control.translate(_COUNTS[nameless]),
        )
        together = 0
        for part in marks:
            together |= int.from_bytes(part, "big")
        marked = together.to_bytes(count, "big")
        ends = {}
        for upper, high_name in self._highs.names.items():
            for lower, low_name in self._lows.names.items():
                pid, counts = upper << 8 | lower, marked.translate(None, _BUT_FOR[(high_name | low_name) >> 4])
                if not counts or pid == _NULL_PID:
                    continue
                first = self._last.get(pid, counts[0] - 1) + 1 & 15
                if counts.translate(_LOW_DIGIT) != _COUNTING[first : first + len(counts)]:
                    return False
                ends[pid] = counts[-1]
        self._last |= ends
        return True

    def _look_at_each(self, syncs: bytes, column: Column) -> None:
        last = self._last
        columns = zip(syncs, *map(column, range(1, 6)), strict=True)
        for sync, high, low, control, length, flags in columns:
            if control & _HAS_PAYLOAD and sync == SYNC:
                pid = (high & _PID_HIGH) << 8 | low
                before = last.get(pid)
                last[pid] = control
                if before is not None and (control - before) & 15 > 1 and pid != _NULL_PID:
                    # A discontinuity_indicator says that it jumps.
                    told = control & 0x20 and length and flags & 0x80
                    self.jumps += not told


class _Names:
    """
    Two bits for each of the values that one half of a PID has.
    """

    def __init__(self, mask: int, *, shift: int) -> None:
        self._mask = mask
        self._shift = shift
        self._known = b""
        self.free_name = (_TOLD_APART - 1) << shift
        """A name that nothing has; 0 if there is none."""
        self.table = bytes(256)
        """For `bytes.translate`: from a byte to the name of what it holds."""
        self.names: dict[int, int] = {}

    def learn(self, column: bytes) -> bool:
        """Whether all that is in a column has a name."""
        unknown = column.translate(None, self._known)
        if not unknown:
            return True
        for value in {byte & self._mask for byte in set(unknown)}:
            if len(self.names) == _TOLD_APART:
                return False
            self.names[value] = len(self.names) << self._shift
        if len(self.names) == _TOLD_APART:
            self.free_name = 0
        self._known, self.table = _tables(self._mask, tuple(self.names.items()))
        return True


@lru_cache(maxsize=64)  # those of one film are the same for each of its segments
def _tables(mask: int, names: tuple[tuple[int, int], ...]) -> tuple[bytes, bytes]:
    """
    The bytes that hold something which has a name, and the names of all.
    """
    name_of = dict(names)
    known = bytes(byte for byte in _EVERY if byte & mask in name_of)
    return known, bytes(name_of.get(byte & mask, 0) for byte in _EVERY)
