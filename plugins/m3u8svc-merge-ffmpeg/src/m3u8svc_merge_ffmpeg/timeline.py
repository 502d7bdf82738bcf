"""
One clock for a transport stream of many: timestamps shifted in place, so that ffmpeg reads one stream without splices.

ffmpeg has to guess, on one pipe, whether a jump of the clock is a splice or a hole; we know. So each run of segments
gets one offset for all of its timestamps (PCR, PTS, DTS; 33 bits, 90 kHz, they wrap):

- the first run keeps its clock;
- a run after a splice, after a segment that is left out, or after a jump nobody announced, begins where the stream that
  ends last ended: ``offset = max over streams (end - first)``, so nothing overlaps and sound stays with its picture;
- a hole that is to stay (a segment given up) stays by itself while the clock runs on, and is added after a splice.

Pure: bytes in, bytes out. Packets are found by slicing; only those that carry a timestamp are looked at one by one.
"""

from collections.abc import Iterator, Mapping

import attrs

PACKET = 188
HZ = 90_000
WRAP = 1 << 33
BACK = HZ // 2
"""A clock that goes back by more was set anew."""
AHEAD = 10 * HZ
"""So does one that goes ahead by more than this and the holes we know of."""
_SYNC = 0x47
_FLAG_START = bytes(1 if value & 0x40 else 0 for value in range(256))
_FLAG_FIELD = bytes(1 if value & 0x20 else 0 for value in range(256))
_ADTS = 0x0F
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_TAIL_PACKETS = 4096
_AUDIO_VIDEO = frozenset({0x01, 0x02, 0x03, 0x04, 0x06, 0x0F, 0x10, 0x11, 0x1B, 0x24, 0x81, 0x84, 0x87})
"""Stream types that are heard or seen; timed ID3, SCTE-35 and sections are not."""


@attrs.frozen(kw_only=True)
class Programme:
    """
    What the tables of a segment say: where the PMT is and which streams there are, PID -> stream type.
    """

    pmt_pid: int
    streams: Mapping[int, int]

    @property
    def media(self) -> dict[int, int]:
        """Those that are heard or seen."""
        return {pid: kind for pid, kind in self.streams.items() if kind in _AUDIO_VIDEO}


def find_programme(head: bytes) -> Programme | None:
    """
    The first programme in the first bytes of a segment, None when its tables are not there.
    """
    pat = _section(head, 0)
    if pat is None or pat[0] != 0x00:
        return None
    entries = pat[8 : 3 + _section_length(pat) - 4]
    for at in range(0, len(entries) - 3, 4):
        if entries[at : at + 2] != b"\0\0":  # programme 0 is the network's
            pmt_pid = int.from_bytes(entries[at + 2 : at + 4]) & 0x1FFF
            pmt = _section(head, pmt_pid)
            return None if pmt is None or pmt[0] != 0x02 else Programme(pmt_pid=pmt_pid, streams=_streams(pmt))
    return None


class Timeline:
    """
    The offsets of one merge. For each segment: `begin` with its head, `shift` for every piece of it; `skip` between
    segments for what is not there.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._ends: dict[int, int] = {}  # where each stream ends in the output
        self._last: dict[int, int] = {}  # the last output timestamp of each stream, for the step
        self._steps: dict[int, int] = {}
        self._splice: int | None = None
        self._kept = 0
        self._dropped = False
        self._pids: frozenset[int] = frozenset()
        self._timed: frozenset[int] = frozenset()
        self._adts: frozenset[int] = frozenset()
        self._tail = b""

    def skip(self, duration_s: float, *, keep: bool) -> None:
        """
        A segment is not there; its time stays empty, or what follows moves up.
        """
        if keep:
            self._kept += round(duration_s * HZ)
        else:
            self._dropped = True

    def begin(self, head: bytes, programme: Programme, splice: int) -> bool:
        """
        Decide the offset of the segment that begins with `head`. True when its clock jumped and nobody had said so.
        """
        self._measure_last()
        self._pids = frozenset(programme.streams)
        self._timed = frozenset(programme.media)
        self._adts = frozenset(pid for pid, kind in programme.media.items() if kind == _ADTS)
        firsts = self._first_times(head)
        jumped = False
        if self._ends and firsts:
            announced = self._dropped or splice != self._splice
            jumped = not announced and self._has_jumped(firsts)
            if announced or jumped:
                self._offset = self._joined(firsts) + self._kept
                self._last.clear()
        self._splice, self._kept, self._dropped = splice, 0, False
        return jumped

    def shift(self, piece: bytes) -> bytes:
        """
        `piece`, whole packets, in the time of the output.
        """
        moved = bytearray(piece)
        for at in _marked(moved):
            self._shift_packet(moved, at)
        shifted = bytes(moved)
        self._tail = (self._tail + shifted)[-_TAIL_PACKETS * PACKET :]
        return shifted

    def _shift_packet(self, data: bytearray, at: int) -> None:
        if data[at + 3] & 0x20 and data[at + 4] >= 7 and data[at + 5] & 0x10:
            _add_pcr(data, at + 6, self._offset)
        pes = _pes_start(data, at)
        pid = _pid(data, at)
        if pes is None or pid not in self._pids:
            return
        flags = data[pes + 7] >> 6
        if flags & 2 and pes + 14 <= at + PACKET:
            time = _add_stamp(data, pes + 9, self._offset)
            if flags == 3 and pes + 19 <= at + PACKET:
                time = _add_stamp(data, pes + 14, self._offset)
            if pid in self._timed:
                self._note(pid, time)

    def _note(self, pid: int, time: int) -> None:
        last = self._last.get(pid)
        if last is not None and 0 < (step := _ahead(time, last)) < HZ:
            self._steps[pid] = step
        self._last[pid] = time
        self._ends[pid] = (time + self._steps.get(pid, 0)) % WRAP

    def _measure_last(self) -> None:
        """
        Where streams of AAC really end: the last PES of a segment holds fewer frames than the others, and what is
        taken for its length becomes a hole at a splice.
        """
        for pid in self._adts & self._last.keys():
            length = adts_duration(_last_pes(self._tail, pid))
            if length:
                self._ends[pid] = (self._last[pid] + length) % WRAP
        self._tail = b""

    def _first_times(self, head: bytes) -> dict[int, int]:
        firsts: dict[int, int] = {}
        for at in _marked(head):
            pes, pid = _pes_start(head, at), _pid(head, at)
            if pes is None or pid not in self._timed or pid in firsts:
                continue
            flags = head[pes + 7] >> 6
            if flags & 2 and pes + 14 <= at + PACKET:
                decoded = flags == 3 and pes + 19 <= at + PACKET
                firsts[pid] = _stamp(head, pes + 14 if decoded else pes + 9)
        return firsts

    def _has_jumped(self, firsts: Mapping[int, int]) -> bool:
        jumps = [_ahead(first + self._offset, self._ends[pid]) for pid, first in firsts.items() if pid in self._ends]
        return any(jump < -BACK or jump > AHEAD + self._kept for jump in jumps)

    def _joined(self, firsts: Mapping[int, int]) -> int:
        """The smallest offset with which no stream begins before its end."""
        offsets = [(self._ends[pid] - first) % WRAP for pid, first in firsts.items() if pid in self._ends]
        if not offsets:  # no stream in common
            offsets = [(end - first) % WRAP for end in self._ends.values() for first in firsts.values()]
        return (offsets[0] + max(_ahead(offset, offsets[0]) for offset in offsets)) % WRAP


# -- Packets ---------------------------------------------------------------------------------------------------------


def _marked(data: bytes | bytearray) -> Iterator[int]:
    """
    Where the packets are that begin something or have an adaptation field: only those can carry a timestamp.
    """
    if data[::PACKET].strip(b"\x47"):  # damaged: find the packets one by one
        yield from _resynced(data)
        return
    starts = bytes(data[1::PACKET]).translate(_FLAG_START)
    fields = bytes(data[3::PACKET]).translate(_FLAG_FIELD)
    count = len(data) // PACKET
    either = (int.from_bytes(starts[:count]) | int.from_bytes(fields[:count])).to_bytes(count)
    at = either.find(1)
    while at >= 0:
        yield at * PACKET
        at = either.find(1, at + 1)


def _resynced(data: bytes | bytearray) -> Iterator[int]:
    at = 0
    in_step = True
    while at + PACKET <= len(data):
        following = at + PACKET
        if data[at] == _SYNC and (in_step or following >= len(data) or data[following] == _SYNC):
            yield at
            at, in_step = following, True
        else:
            at, in_step = at + 1, False


def _pid(data: bytes | bytearray, at: int) -> int:
    return (data[at + 1] & 0x1F) << 8 | data[at + 2]


def _payload(data: bytes | bytearray, at: int) -> int | None:
    """Where the payload of the packet at `at` begins."""
    control = data[at + 3] >> 4 & 3
    if not control & 1:
        return None
    begin = at + 4 if control == 1 else at + 5 + data[at + 4]
    return begin if begin < at + PACKET else None


def _pes_start(data: bytes | bytearray, at: int) -> int | None:
    """Where a PES header begins in this packet."""
    if not data[at + 1] & 0x40:
        return None
    begin = _payload(data, at)
    if begin is None or begin + 9 > at + PACKET or data[begin : begin + 3] != b"\0\0\1":
        return None
    return begin


def _stamp(data: bytes | bytearray, at: int) -> int:
    """The 33 bits of a PTS or DTS."""
    high, middle, low = data[at] >> 1 & 7, data[at + 1] << 7 | data[at + 2] >> 1, data[at + 3] << 7 | data[at + 4] >> 1
    return high << 30 | middle << 15 | low


def _add_stamp(data: bytearray, at: int, offset: int) -> int:
    time = (_stamp(data, at) + offset) % WRAP
    data[at] = data[at] & 0xF1 | time >> 29 & 0x0E
    data[at + 1] = time >> 22 & 0xFF
    data[at + 2] = time >> 14 & 0xFE | 1
    data[at + 3] = time >> 7 & 0xFF
    data[at + 4] = time << 1 & 0xFE | 1
    return time


def _add_pcr(data: bytearray, at: int, offset: int) -> None:
    value = int.from_bytes(data[at : at + 6])
    base = ((value >> 15) + offset) % WRAP
    data[at : at + 6] = (base << 15 | value & 0x7FFF).to_bytes(6)


def _ahead(time: int, other: int) -> int:
    """How far `time` is ahead of `other`, across a wrap; negative when it is behind."""
    return (time - other + WRAP // 2) % WRAP - WRAP // 2


def _last_pes(data: bytes, pid: int) -> bytes:
    """The payload of the last PES of a stream, b"" when its beginning is not in `data`."""
    pieces: list[bytes] = []
    for at in range(len(data) // PACKET * PACKET - PACKET, -1, -PACKET):
        if data[at] != _SYNC or _pid(data, at) != pid or (begin := _payload(data, at)) is None:
            continue
        if (pes := _pes_start(data, at)) is None:
            pieces.append(data[begin : at + PACKET])
            continue
        pieces.append(data[pes + 9 + data[pes + 8] : at + PACKET])
        return b"".join(reversed(pieces))
    return b""


def adts_duration(frames: bytes) -> int:
    """
    How long these AAC frames last, in ticks; 0 when they are none.
    """
    at = samples = 0
    rate = 0
    while at + 7 <= len(frames) and frames[at] == 0xFF and frames[at + 1] & 0xF6 == 0xF0:
        index = frames[at + 2] >> 2 & 0xF
        length = (frames[at + 3] & 3) << 11 | frames[at + 4] << 3 | frames[at + 5] >> 5
        if length < 7 or index >= len(_ADTS_RATES):
            break
        rate = _ADTS_RATES[index]
        samples += 1024 * ((frames[at + 6] & 3) + 1)
        at += length
    return samples * HZ // rate if rate else 0


# -- Tables ----------------------------------------------------------------------------------------------------------


def _section(data: bytes, pid: int) -> bytes | None:
    """The first section of a table, put together from its packets."""
    gathered = b""
    for at in range(0, len(data) - PACKET + 1, PACKET):
        if data[at] != _SYNC or _pid(data, at) != pid or (begin := _payload(data, at)) is None:
            continue
        if data[at + 1] & 0x40:
            begin += 1 + data[begin]  # the pointer field
            gathered = data[begin : at + PACKET]
        elif gathered:
            gathered += data[begin : at + PACKET]
        if len(gathered) >= 12 and len(gathered) >= 3 + _section_length(gathered):
            return gathered
    return None


def _section_length(section: bytes) -> int:
    return int.from_bytes(section[1:3]) & 0x0FFF


def _streams(pmt: bytes) -> dict[int, int]:
    end = 3 + _section_length(pmt) - 4
    at = 12 + (int.from_bytes(pmt[10:12]) & 0x0FFF)
    streams = {}
    while at + 5 <= end:
        streams[int.from_bytes(pmt[at + 1 : at + 3]) & 0x1FFF] = pmt[at]
        at += 5 + (int.from_bytes(pmt[at + 3 : at + 5]) & 0x0FFF)
    return streams
