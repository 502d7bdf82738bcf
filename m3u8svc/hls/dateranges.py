"""
EXT-X-DATERANGE: tags of one ID merged into one value (S17, RFC 8216bis 4.4.5.1).

A date range decides nothing about which bytes are fetched, so junk is told and passed over.
"""

import re
from datetime import datetime
from typing import TypeVar

from m3u8svc.hls.lines import Line, Reading, lenient_number, too_large
from m3u8svc.hls.playlist import DateRange
from m3u8svc.wording import Said

_T = TypeVar("_T")

MAX_TAGS = 100_000
_HEXADECIMAL = re.compile(r"0[xX]((?:[0-9A-Fa-f]{2})*)")


class DateRanges:
    """
    Collects the tags of one playlist.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._found: dict[str, tuple[Line, dict[str, str]]] = {}
        self._tags = 0

    def add(self, line: Line) -> None:
        """One more tag; of attributes that contradict each other the first counts."""
        self._tags += 1
        if self._tags > MAX_TAGS:
            raise too_large(Said("DATERANGE 数", "the number of EXT-X-DATERANGE tags"), MAX_TAGS, line.number)
        attributes = self._reading.attributes(line)
        name = attributes.get("ID")
        if not name:
            self._reading.warnings.add(
                line.number, Said("EXT-X-DATERANGE 缺少 ID，已忽略", "EXT-X-DATERANGE has no ID, ignored")
            )
            return
        _, merged = self._found.setdefault(name, (line, {}))
        if any(merged.get(each, value) != value for each, value in attributes.items()):
            self._reading.warnings.add(
                line.number,
                Said(
                    "相同 ID 的 EXT-X-DATERANGE 互相矛盾，取第一个",
                    "EXT-X-DATERANGE tags with the same ID contradict each other, the first counts",
                ),
            )
        for each, value in attributes.items():
            merged.setdefault(each, value)

    def values(self) -> tuple[DateRange, ...]:
        """All of them, in order of their first tags."""
        return tuple(self._value(name, line, attributes) for name, (line, attributes) in self._found.items())

    def _value(self, name: str, line: Line, attributes: dict[str, str]) -> DateRange:
        if "START-DATE" not in attributes:
            self._reading.warnings.add(
                line.number, Said("EXT-X-DATERANGE 缺少 START-DATE", "EXT-X-DATERANGE has no START-DATE")
            )
        return DateRange(
            id=name,
            class_name=attributes.get("CLASS", ""),
            start=self._date(line, attributes.get("START-DATE")),
            end=self._date(line, attributes.get("END-DATE")),
            duration_s=self._number(line, attributes.get("DURATION")),
            planned_duration_s=self._number(line, attributes.get("PLANNED-DURATION")),
            cue=tuple(cue for each in attributes.get("CUE", "").split(",") if (cue := each.strip())),
            end_on_next=attributes.get("END-ON-NEXT") == "YES",
            scte35_cmd=self._bytes(line, attributes.get("SCTE35-CMD")),
            scte35_out=self._bytes(line, attributes.get("SCTE35-OUT")),
            scte35_in=self._bytes(line, attributes.get("SCTE35-IN")),
            client={each: value for each, value in attributes.items() if each.startswith("X-")},
            line=line.number,
        )

    def _date(self, line: Line, text: str | None) -> datetime | None:
        date = read_date(text) if text is not None else None
        return self._read(line, text, date)

    def _number(self, line: Line, text: str | None) -> float | None:
        return self._read(line, text, lenient_number(text))

    def _bytes(self, line: Line, text: str | None) -> bytes | None:
        match = _HEXADECIMAL.fullmatch(text or "")
        return self._read(line, text, bytes.fromhex(match[1]) if match else None)

    def _read(self, line: Line, text: str | None, value: _T | None) -> _T | None:
        if text is not None and value is None:
            self._reading.warnings.add(
                line.number,
                Said(
                    "EXT-X-DATERANGE 的属性无法识别，已忽略",
                    "an attribute of EXT-X-DATERANGE is not understood, ignored",
                ),
            )
        return value


def read_date(text: str) -> datetime | None:
    """
    ISO 8601 as playlists write it; None when it is none.
    """
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
