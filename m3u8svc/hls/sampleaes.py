"""
SAMPLE-AES (S10) with an identity key, undone as the bytes arrive: MPEG-TS or packed audio in, the same in clear out.

The format is Apple's "MPEG-2 Stream Encryption Format for HTTP Live Streaming". Containers, headers and most of a
picture stay readable; AES-128-CBC covers parts of each sample, and every sample starts again from the segment's IV:

- H.264: slices (NAL types 1 and 5) longer than 48 bytes. 32 clear bytes, then 16 locked ones of every 160, as long as
  more than 16 are left. What comes out of that could look like a start code, so emulation prevention is applied once
  more, on top of the slice's own. Undoing it takes off that outer layer only: the slice's own layer is plaintext.
- AAC in ADTS: behind the header 16 clear bytes, then every whole block. AC-3 and E-AC-3: the same from the sync word.

In MPEG-TS such streams have stream types of their own (0xDB, 0xCF, 0xC1, 0xC2) and descriptors that say so. The type
decides, as in the specification: a stream of any other type is clear and passes as it is. The clear types are put into
the PMT, so that any demuxer takes the result.

Every packet keeps its place. A table or PES packet is held until it is whole, and so is what follows it, up to
`MAX_HELD_BYTES`; then the packets' payloads are filled again. A slice loses its outer emulation prevention, so a PES
packet may shrink, never grow: the room is stuffed, packets that end up empty leave, and the counters behind them close
the gap. Audio keeps its length, and its frames may run across PES packets.
"""

import re
import zlib
from typing import Literal, Protocol

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

from m3u8svc.errors import DecryptError, UnsupportedEncryption
from m3u8svc.hls.media import HEAD_BYTES, frame_length, id3_length, recognise
from m3u8svc.hls.packets import PACKET, SYNC
from m3u8svc.hls.playlist import CBCS, IDENTITY
from m3u8svc.wording import Said

MAX_HELD_BYTES = 16 * 1024 * 1024

Codec = Literal["h264", "aac", "ac3"]
"""What a stream of samples holds. ac3 is E-AC-3, too: its frames tell."""

_CLEAR_TYPES: dict[int, tuple[int, Codec]] = {
    0xDB: (0x1B, "h264"),
    0xCF: (0x0F, "aac"),
    0xC1: (0x81, "ac3"),
    0xC2: (0x87, "ac3"),
}
_PRIVATE_DATA_INDICATOR, _REGISTRATION = 15, 5
_INDICATORS = (b"zavc", b"aacd", b"ac3d", b"ec3d")
_AUDIO_SETUP = b"apad"

_PAT, _PMT = 0, 2
_START_CODE = b"\0\0\1"
_AUDIO_SYNC = {"aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "ac3": re.compile(rb"\x0b\x77")}
_LEADER, _BLOCK, _STRIDE, _SHORT_SLICE = 32, 16, 160, 48
_AUDIO_LEADER = 16
_AUDIO_HEADER = 8
"""Bytes that tell the length of an audio frame."""


class SampleDecryption:
    """
    One SAMPLE-AES segment on its way: `update` each chunk, then `finish`. `line` is that of its EXT-X-KEY.
    """

    def __init__(self, *, key: bytes, iv: bytes, position: int, line: int = 0) -> None:
        self._samples = _Samples(key, iv)
        self._position = position
        self._line = line
        self._head = bytearray()
        self._container: _Container | None = None

    def update(self, chunk: bytes) -> bytes:
        """
        What is clear by now: nothing until the container is known, then all but the sample under way.

        Raises:
            DecryptError: a sample that does not end.
            UnsupportedEncryption: this is fMP4.
        """
        if self._container is not None:
            return self._container.feed(chunk)
        self._head += chunk
        return self._begin(whole=False) if len(self._head) >= HEAD_BYTES else b""

    def finish(self) -> bytes:
        """
        The rest.

        Raises:
            DecryptError: empty, or an MPEG-TS that never says what is in it.
            UnsupportedEncryption: this is fMP4.
        """
        begun = self._begin(whole=True) if self._container is None else b""
        assert self._container is not None  # _begin sets it or raises
        return begun + self._container.finish()

    def _begin(self, *, whole: bool) -> bytes:
        """
        Choose by what `MediaCheck` will see as well. Text and what is no media pass: the check behind us names it.
        """
        head = bytes(self._head)
        self._head = bytearray()
        if not head:
            raise DecryptError(position=self._position, reason=Said("内容为空", "it is empty"))
        kind, disguise_bytes = recognise(head[:HEAD_BYTES], whole=whole) or (None, 0)
        match kind:
            case "ts":
                self._container = _TransportStream(self._samples, self._position)
            case "aac" | "ac3":
                self._container = _PackedAudio(self._samples, kind)
            case "fmp4":
                raise UnsupportedEncryption(method=CBCS, keyformat=IDENTITY, line=self._line)
            case _:
                self._container = _Clear()
        return head[:disguise_bytes] + self._container.feed(head[disguise_bytes:])


class _Container(Protocol):
    """
    What wraps the samples.
    """

    def feed(self, chunk: bytes) -> bytes:
        """The next bytes; what is clear by now."""

    def finish(self) -> bytes:
        """The rest."""


class _Clear:
    """
    Nothing in it that SAMPLE-AES knows.
    """

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


# -- Samples ---------------------------------------------------------------------------------------------------------


class _Samples:
    """
    Unlocks samples with one key and IV.
    """

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._cipher = Cipher(AES128(key), CBC(iv))

    def video(self, stream: bytes) -> bytes:
        """
        H.264 with start codes, its slices unlocked.
        """
        pieces: list[bytes] = []
        copied = 0
        at = stream.find(_START_CODE)
        while at >= 0:
            start = at + len(_START_CODE)
            at = stream.find(_START_CODE, start)
            end = at if at >= 0 else len(stream)
            if end - start > _SHORT_SLICE and stream[start] & 31 in (1, 5):
                # Zeros before the next start code belong to no NAL unit: one never ends in a zero.
                nal = stream[start:end].rstrip(b"\0")
                if len(nal) > _SHORT_SLICE:
                    pieces += (stream[copied:start], self._slice(nal))
                    copied = start + len(nal)
        pieces.append(stream[copied:])
        return b"".join(pieces)

    def _slice(self, nal: bytes) -> bytes:
        nal = nal.replace(b"\0\0\3", b"\0\0")
        end = len(nal) - _BLOCK
        blocks = len(range(_LEADER, end, _STRIDE))
        clear = bytearray(nal)
        locked = bytearray(blocks * _BLOCK)
        # Byte by byte of all blocks at once: 16 strided copies each way, however long the slice is.
        for column in range(_BLOCK):
            locked[column::_BLOCK] = nal[_LEADER + column : end + column : _STRIDE]
        unlocked = self._unlock(locked)
        for column in range(_BLOCK):
            clear[_LEADER + column : end + column : _STRIDE] = unlocked[column::_BLOCK]
        return bytes(clear)

    def audio(self, codec: Literal["aac", "ac3"], stream: bytearray) -> int:
        """
        Unlock the whole frames in `stream`, in place; up to where. What lies between frames is passed over.
        """
        at = 0
        while at + _AUDIO_HEADER <= len(stream):
            header = bytes(stream[at : at + _AUDIO_HEADER])
            length = frame_length(codec, header)
            if not length:
                found = _AUDIO_SYNC[codec].search(stream, at + 1)
                at = found.start() if found else max(at + 1, len(stream) - _AUDIO_HEADER + 1)
                continue
            if at + length > len(stream):
                break
            clear = _AUDIO_LEADER
            if codec == "aac":
                clear += 7 if header[1] & 1 else 9
            locked = (length - clear) // _BLOCK * _BLOCK
            if locked > 0:
                start = at + clear
                stream[start : start + locked] = self._unlock(stream[start : start + locked])
            at += length
        return min(at, len(stream))

    def _unlock(self, locked: bytes | bytearray) -> bytes:
        return self._cipher.decryptor().update(locked)


class _PackedAudio:
    """
    Frame after frame, behind ID3 tags.
    """

    def __init__(self, samples: _Samples, codec: Literal["aac", "ac3"]) -> None:
        self._samples = samples
        self._codec = codec
        self._rest = bytearray()
        self._tag_bytes: int | None = None

    def feed(self, chunk: bytes) -> bytes:
        if self._tag_bytes is None:
            # The first chunk is all of the head, and the head was recognised by what stands behind its tags.
            self._tag_bytes = id3_length(chunk)
        tag, chunk = chunk[: self._tag_bytes], chunk[self._tag_bytes :]
        self._tag_bytes -= len(tag)
        self._rest += chunk
        done = self._samples.audio(self._codec, self._rest)
        clear = bytes(self._rest[:done])
        del self._rest[:done]
        return tag + clear

    def finish(self) -> bytes:
        return bytes(self._rest)


# -- MPEG-TS ---------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Held:
    """
    Packets of one PID that cannot leave yet, oldest first: a table not yet whole, or samples under way.
    """

    packets: list[bytes] = attrs.Factory(list)
    starts: list[int] = attrs.Factory(list)
    """Where in each packet its share of the table or elementary stream begins: behind all headers."""
    slots: list[int] = attrs.Factory(list)
    """The places of the packets in the output."""
    clear_bytes: int = 0
    """How much of the stream is clear already: the end of a frame in the first packet."""
    missing_bytes: int | None = None
    """What the PES packet lacks, if it says how long it is."""
    length_at: tuple[int, int] | None = None
    """Packet and place where it says so."""

    def add(self, packet: bytes, start: int, slot: int) -> None:
        """One more packet."""
        self.packets.append(packet)
        self.starts.append(start)
        self.slots.append(slot)

    def stream(self) -> bytes:
        """All shares."""
        return b"".join([packet[start:] for packet, start in zip(self.packets, self.starts, strict=True)])


class _TransportStream:
    """
    Packet by packet. Nothing leaves before a first PMT is known, since what stands in front of it may be locked.
    """

    def __init__(self, samples: _Samples, position: int) -> None:
        self._samples = samples
        self._position = position
        self._rest = b""
        self._lost = False
        self._early: list[bytes] | None = []
        self._programs: dict[int, dict[int, Codec]] = {}
        """For the PID of each PMT read: its locked streams."""
        self._watched: dict[int, Codec | Literal["table"]] = {0: "table"}
        self._held: dict[int, _Held] = {}
        self._out: list[bytes] = []
        self._left = 0
        """How many slots left before the first in `_out`."""
        self._dropped: dict[int, int] = {}
        """How far the continuity counters of a PID run ahead of what leaves."""

    def feed(self, chunk: bytes) -> bytes:
        data = self._rest + chunk
        at = 0
        while len(data) - at >= PACKET:
            if self._lost or data[at] != SYNC:
                at, self._lost = self._search(data, at)
                if self._lost:
                    break
            else:
                at = self._packets(data, at)
        self._rest = data[at:]
        return self._leave()

    def finish(self) -> bytes:
        if self._early is not None:
            why = Said(
                "找不到节目表（PMT），不知道哪些数据是加密的",
                "there is no PMT to say which streams are encrypted",
            )
            raise DecryptError(position=self._position, reason=why)
        for pid in list(self._held):
            self._release(pid, last=True)
        return self._leave() + self._rest

    def _packets(self, data: bytes, at: int) -> int:
        """
        Take packets as long as they are in sync; where that ends.
        """
        for place in range(at, len(data) - PACKET + 1, PACKET):
            if data[place] != SYNC:
                return place
            self._take(data[place : place + PACKET])
        return len(data) - (len(data) - at) % PACKET

    def _search(self, data: bytes, at: int) -> tuple[int, bool]:
        """
        Out of sync: pass on what is no packet, up to where three follow each other, or may once more has arrived.
        """
        found = data.find(SYNC, at)
        while 0 <= found and found + 2 * PACKET < len(data):
            if data[found + PACKET] == data[found + 2 * PACKET] == SYNC:
                break
            found = data.find(SYNC, found + 1)
        end = found if found >= 0 else len(data)
        passed = self._out if self._early is None else self._early
        passed += [data[place : min(place + PACKET, end)] for place in range(at, end, PACKET)]
        return end, end + 2 * PACKET >= len(data)

    def _take(self, packet: bytes) -> None:
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        kind = self._watched.get(pid)
        if self._early is not None:
            self._early.append(packet)
            if kind == "table":
                self._take_table(pid, packet)
            if self._programs:
                self._start_over(self._early)
        elif kind is None:
            self._out.append(packet)
        elif kind == "table":
            self._take_table(pid, packet)
        else:
            self._take_sample(pid, packet, kind)

    def _start_over(self, early: list[bytes]) -> None:
        """
        Now that it is known what is locked.
        """
        self._early = None
        self._out.clear()
        self._held.clear()
        for piece in early:
            if len(piece) == PACKET and piece[0] == SYNC:
                self._take(piece)
            else:  # what stood between packets
                self._out.append(piece)

    def _leave(self) -> bytes:
        """
        What nothing held stands in front of.
        """
        if self._early is not None:
            self._limit(len(self._early))
            return b""
        first = min([held.slots[0] for held in self._held.values()], default=self._left + len(self._out))
        count = first - self._left
        self._limit(len(self._out) - count)
        leaving = b"".join(self._out[:count])
        del self._out[:count]
        self._left = first
        return leaving

    def _limit(self, waiting: int) -> None:
        if waiting * PACKET > MAX_HELD_BYTES:
            limit = f"{MAX_HELD_BYTES >> 20} MiB"
            why = Said(f"{limit} 的数据中没有完整的节目表或样本", f"no whole PAT, PMT or sample in {limit}")
            raise DecryptError(position=self._position, reason=why)

    # Tables

    def _take_table(self, pid: int, packet: bytes) -> None:
        held = self._held.get(pid)
        if packet[1] & 0x40:
            held = self._held[pid] = _Held()
        if held is not None:
            held.add(packet, _payload_start(packet), self._left + len(self._out))
        self._out.append(packet)
        if held is not None:
            self._read_sections(pid, held)

    def _read_sections(self, pid: int, held: _Held) -> None:
        """
        Put clear sections in the place of the locked ones, once the last has ended.
        """
        area = held.stream()
        at = 1 + area[0] if area else 1
        pieces = [area[:at]]
        while at < len(area) and area[at] != 0xFF:
            end = at + 3 + ((area[at + 1] & 15) << 8 | area[at + 2]) if at + 3 <= len(area) else len(area) + 1
            if end > len(area):
                return
            pieces.append(self._section(pid, area[at:end]))
            at = end
        if len(pieces) == 1 and at >= len(area):
            return
        pieces.append(area[at:])
        del self._held[pid]
        self._refill(pid, held, b"".join(pieces).ljust(len(area), b"\xff"))

    def _section(self, pid: int, section: bytes) -> bytes:
        if len(section) < 12 or _crc(section) != 0:
            return section
        if pid == 0 and section[0] == _PAT:
            for at in range(8, len(section) - 7, 4):
                if section[at : at + 2] != b"\0\0":
                    self._watched[(section[at + 2] & 0x1F) << 8 | section[at + 3]] = "table"
        if pid != 0 and section[0] == _PMT:
            section, codecs = _clear_pmt(section)
            self._follow(pid, codecs)
        return section

    def _follow(self, pmt_pid: int, codecs: dict[int, Codec]) -> None:
        """
        From here on these streams are locked, and those that a PMT before named are not. A table is no stream,
        whatever another says.
        """
        before = self._programs.get(pmt_pid)
        if codecs == before:
            return
        for pid in before or ():
            if self._watched.get(pid) != "table":
                if pid in self._held:
                    self._release(pid, last=True)
                self._watched.pop(pid, None)
        for pid, codec in codecs.items():
            if self._watched.get(pid) != "table":
                self._watched[pid] = codec
        self._programs[pmt_pid] = codecs

    # Samples

    def _take_sample(self, pid: int, packet: bytes, codec: Codec) -> None:
        start = 4 if packet[3] & 0x30 == 0x10 else _payload_start(packet)
        held = self._held.get(pid)
        if packet[1] & 0x40 and start < PACKET:
            held, start = self._begin_pes(pid, packet, start, codec)
        elif held is not None and held.missing_bytes is not None:
            held.missing_bytes -= PACKET - start
        if held is None:
            self._out.append(self._recounted(pid, packet))
            return
        held.add(packet, start, self._left + len(self._out))
        self._out.append(packet)
        if codec != "h264" and held.missing_bytes is not None and held.missing_bytes <= 0:
            self._release(pid)

    def _begin_pes(self, pid: int, packet: bytes, start: int, codec: Codec) -> tuple[_Held | None, int]:
        """
        What collects the PES packet that begins here, and where its share of the stream begins in this packet.
        """
        header = packet[start : start + 9]
        if len(header) < 9 or not header.startswith(_START_CODE) or header[6] & 0xC0 != 0x80:
            if pid in self._held:
                self._release(pid, last=True)
            return None, start
        share = start + 9 + header[8]
        # A large picture may be spread over PES packets: one that begins with no start code goes on with it.
        begins = packet.startswith((_START_CODE, b"\0" + _START_CODE), share)
        goes_on = codec == "h264" and share < PACKET and not begins
        if pid in self._held and not goes_on:
            self._release(pid)
        held = self._held.setdefault(pid, _Held())
        length = int.from_bytes(header[4:6], "big")
        held.missing_bytes = length + 6 - (PACKET - start) if length else None
        held.length_at = (len(held.packets), start + 4) if length else None
        # Should the header go on in the next packet, the stream begins with its rest, which looks like no sample.
        return held, min(share, PACKET)

    def _release(self, pid: int, *, last: bool = False) -> None:
        """
        Unlock what is held. A frame of audio without its end stays, unless nothing more will come.
        """
        held = self._held.pop(pid)
        stream = held.stream()
        codec = self._watched[pid]
        if codec == "table":
            return
        if codec == "h264":
            self._refill(pid, held, self._samples.video(stream))
            return
        frames = bytearray(stream[held.clear_bytes :])
        done = held.clear_bytes + self._samples.audio(codec, frames)
        self._refill(pid, held, stream[: held.clear_bytes] + frames)
        if done < len(stream) and not last:
            self._held[pid] = self._remainder(held, done)

    def _remainder(self, held: _Held, done: int) -> _Held:
        """
        The packets with what comes behind the first `done` bytes of the stream.
        """
        index = 0
        while done >= PACKET - held.starts[index]:
            done -= PACKET - held.starts[index]
            index += 1
        slots = held.slots[index:]
        packets = [self._out[slot - self._left] for slot in slots]
        return _Held(packets=packets, starts=held.starts[index:], slots=slots, clear_bytes=done)

    # Packets

    def _refill(self, pid: int, held: _Held, stream: bytes) -> None:
        """
        The packets once more, with `stream` in them, which may be shorter than what they held.
        """
        packets = held.packets
        room = sum([PACKET - start for start in held.starts])
        if room > len(stream) and held.length_at is not None:
            index, at = held.length_at
            packet = packets[index]
            length = max(int.from_bytes(packet[at : at + 2], "big") - (room - len(stream)), 0)
            packets[index] = packet[:at] + length.to_bytes(2, "big") + packet[at + 2 :]
        at = 0
        for packet, start, slot in zip(packets, held.starts, held.slots, strict=True):
            end = at + PACKET - start
            filled = packet[:start] + stream[at:end]
            at = end
            if len(filled) < PACKET:
                filled = self._shortened(pid, filled)
            self._out[slot - self._left] = self._recounted(pid, filled)

    def _shortened(self, pid: int, packet: bytes) -> bytes:
        """
        A packet whose payload got shorter: stuffed. Without payload it is worth keeping for its flags and clock only.
        """
        if _payload_start(packet) < len(packet):
            return _stuffed(packet)
        self._dropped[pid] = self._dropped.get(pid, 0) + 1
        if packet[3] & 0x20 and packet[4] and packet[5]:
            return _stuffed(packet[:3] + bytes([packet[3] & 0xEF]) + packet[4:])
        return b""

    def _recounted(self, pid: int, packet: bytes) -> bytes:
        """
        With the continuity counter that follows when others were dropped.
        """
        dropped = self._dropped.get(pid, 0)
        if not packet or not dropped & 15:
            return packet
        counter = packet[3] & 0xF0 | (packet[3] - dropped) & 15
        return packet[:3] + bytes([counter]) + packet[4:]


def _payload_start(packet: bytes) -> int:
    """
    Where a packet's payload begins; its end when it has none.
    """
    control = packet[3]
    if not control & 0x10:
        return PACKET
    return min(5 + packet[4], PACKET) if control & 0x20 else 4


def _stuffed(packet: bytes) -> bytes:
    """
    A packet that is too short, filled up in its adaptation field.
    """
    missing = PACKET - len(packet)
    if packet[3] & 0x20:
        end = 5 + packet[4]
        field = (packet[5:end] or b"\0").ljust(packet[4] + missing, b"\xff")
    else:
        end = 4
        field = b"\0".ljust(missing - 1, b"\xff") if missing > 1 else b""
    return packet[:3] + bytes([packet[3] | 0x20, len(field)]) + field + packet[end:]


def _clear_pmt(section: bytes) -> tuple[bytes, dict[int, Codec]]:
    """
    A PMT as it would be without encryption, and which streams are locked.
    """
    codecs: dict[int, Codec] = {}
    at = 12 + ((section[10] & 15) << 8 | section[11])
    pieces = [section[3:at]]
    end = len(section) - 4
    while at + 5 <= end:
        kind, pid = section[at], (section[at + 1] & 0x1F) << 8 | section[at + 2]
        after = at + 5 + ((section[at + 3] & 15) << 8 | section[at + 4])
        if kind in _CLEAR_TYPES and after <= end:
            clear_type, codecs[pid] = _CLEAR_TYPES[kind]
            told = _clear_descriptors(section[at + 5 : after])
            length = (0xF000 | len(told)).to_bytes(2, "big")
            pieces.append(bytes([clear_type]) + section[at + 1 : at + 3] + length + told)
        else:
            pieces.append(section[at:after])
        at = after
    if not codecs:
        return section, codecs
    body = b"".join(pieces)
    size = (section[1] & 0xF0) << 8 | (len(body) + 4)
    clear = section[:1] + size.to_bytes(2, "big") + body
    return clear + _crc(clear).to_bytes(4, "big"), codecs


def _clear_descriptors(descriptors: bytes) -> bytes:
    """
    Without those that speak of encryption.
    """
    kept: list[bytes] = []
    at = 0
    while at + 2 <= len(descriptors):
        tag, end = descriptors[at], at + 2 + descriptors[at + 1]
        value = descriptors[at + 2 : end]
        spent = (tag == _PRIVATE_DATA_INDICATOR and value in _INDICATORS) or (
            tag == _REGISTRATION and value.startswith(_AUDIO_SETUP)
        )
        if not spent:
            kept.append(descriptors[at:end])
        at = end
    return b"".join([*kept, descriptors[at:]])


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _crc(section: bytes) -> int:
    """
    CRC-32/MPEG-2: the usual one with every bit order reversed and nothing inverted at the end. 0 over a whole section.
    """
    reflected = zlib.crc32(section.translate(_REVERSED)) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")
