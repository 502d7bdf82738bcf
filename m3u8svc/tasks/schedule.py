"""
Rates as people write them, and the weekly schedule of the global one: what holds at a time, and when that changes.

A schedule is a text of entries, ``Mon-Fri 08:00-18:00 2M; Sat,Sun 22:00-06:00 0``: days (none: every day), from when
until when, how many bytes per second. The first entry that holds counts; where none does, it is `limit_rate`. An end
that is not after its beginning is on the next day, and belongs to the day on which it began.

Times are those that a clock on the wall shows. So what holds is found by asking what it shows now, and never by adding
up hours: an hour that is left out where it is put forward does not come, and one that it shows twice comes twice.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from m3u8svc.wording import Said

MAX_RATE = 10**12
LEAST_RATE = 1024
"""Less than this is no rate at which servers wait."""
MAX_ENTRIES = 64
MAX_TEXT = 4096

Local = Callable[[float], datetime]
"""What a clock on the wall shows at a time, seconds since the epoch: a datetime without zone."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_RATE = re.compile(r"([0-9]{1,13})(\.[0-9]{1,6})?([kmg]?)(?:i?b)?(?:/s)?", re.IGNORECASE | re.ASCII)
_ENTRY = re.compile(
    r"(?:(?P<days>[a-z,\s-]*[a-z])\s+)?(?P<begin>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d)\s+(?P<rate>\S.*)",
    re.IGNORECASE | re.ASCII,
)
_TIME = re.compile(r"(\d{1,2}):(\d\d)", re.ASCII)


class BadSchedule(ValueError):
    """
    A text is no schedule: `entry` is the part that is wrong, "" for all of it, and `said` says why.
    """

    def __init__(self, entry: str, zh: str, en: str) -> None:
        super().__init__(f"{entry}: {en}" if entry else en)
        self.entry = entry
        self.said = Said(zh, en)


@attrs.frozen(kw_only=True)
class Entry:
    """
    From `begin` to `end`, minutes since midnight, on days from 0 for Monday, `rate` bytes per second hold; 0 is no
    limit. An end of more than a day's minutes is on the next day.
    """

    days: frozenset[int]
    begin: int
    end: int
    rate: int

    def holds(self, shown: datetime) -> bool:
        """Whether it counts while a clock shows this."""
        minute, today = shown.hour * 60 + shown.minute, shown.weekday()
        if today in self.days and self.begin <= minute < self.end:
            return True
        return (today - 1) % 7 in self.days and minute + _DAY_MINUTES < self.end


@attrs.frozen
class Schedule:
    """
    Entries, the first of which that holds counts.
    """

    entries: tuple[Entry, ...] = ()

    def rate_at(self, at: float, otherwise: int, local: Local) -> int:
        """
        The rate at a time, `otherwise` where no entry holds.
        """
        shown = local(at)
        return next((entry.rate for entry in self.entries if entry.holds(shown)), otherwise)

    def next_change(self, at: float, otherwise: int, local: Local) -> float | None:
        """
        When the rate becomes another one than it is at a time; None if it does not within a week.
        """
        rate = self.rate_at(at, otherwise, local)
        return next((each for each in self._turns(at, local) if self.rate_at(each, otherwise, local) != rate), None)

    def _turns(self, at: float, local: Local) -> list[float]:
        """
        Every time of the coming week at which an entry may begin or end: when a clock shows its minutes, whatever zone
        it then keeps, and when it is put forward or back.
        """
        days = [at + day * 86400.0 for day in range(9)]
        jumps = [_jump(before, after, local) for before, after in zip(days, days[1:], strict=False)]
        offsets = {_offset(each, local) for each in days}
        first = local(at).replace(hour=0, minute=0, second=0, microsecond=0)
        minutes = {minute for entry in self.entries for minute in (entry.begin, entry.end)}
        shown = [first + timedelta(days=day, minutes=minute) for day in range(-1, 9) for minute in minutes]
        turns = {_as_utc(each) - offset for each in shown for offset in offsets}
        return sorted(each for each in (*turns, *filter(None, jumps)) if each > at)


def parse_rate(text: str) -> int:
    """
    Bytes per second as people write them: ``500K``, ``2M``, ``1.5M``, ``2MB/s``; K is 1024.

    Raises:
        ValueError: it is none, or one that nobody can mean.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError("no rate")
    rate = int(float(found[1] + (found[2] or "")) * _UNITS[found[3].lower()])
    if not is_rate(rate) or (rate == 0 and float(found[1] + (found[2] or "")) > 0):
        raise ValueError("out of range")
    return rate


def is_rate(rate: int) -> bool:
    """
    Whether so many bytes per second can be a limit; 0 is none.
    """
    return rate == 0 or LEAST_RATE <= rate <= MAX_RATE


def parse_schedule(text: str) -> Schedule:
    """
    A schedule out of its text; "" has no entries.

    Raises:
        BadSchedule: naming the entry that is wrong.
    """
    if len(text) > MAX_TEXT:
        raise BadSchedule("", f"超过 {MAX_TEXT} 个字符", f"more than {MAX_TEXT} characters")
    entries = tuple(_parse_entry(each.strip()) for each in re.split(r"[;\n]", text) if each.strip())
    if len(entries) > MAX_ENTRIES:
        raise BadSchedule("", f"超过 {MAX_ENTRIES} 项", f"more than {MAX_ENTRIES} entries")
    return Schedule(entries)


def _parse_entry(text: str) -> Entry:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise BadSchedule(text, "应写作 Mon-Fri 08:00-18:00 2M", "should be like Mon-Fri 08:00-18:00 2M")
    begin, end = _minutes(text, found["begin"]), _minutes(text, found["end"])
    if begin == _DAY_MINUTES or end == begin:
        raise BadSchedule(text, "起止时间不对", "it never begins, or ends when it begins")
    try:
        rate = parse_rate(found["rate"])
    except ValueError:
        raise BadSchedule(
            text,
            f"速率应为 0（不限速）或 {LEAST_RATE} 到 {MAX_RATE} 字节/秒，如 500K、2M",
            f"the rate should be 0 for no limit, or {LEAST_RATE} to {MAX_RATE} bytes per second, such as 500K or 2M",
        ) from None
    days = frozenset(range(7)) if found["days"] is None else frozenset(_parse_days(text, found["days"]))
    return Entry(days=days, begin=begin, end=end if end > begin else end + _DAY_MINUTES, rate=rate)


def _minutes(entry: str, text: str) -> int:
    found = _TIME.fullmatch(text)
    hour, minute = (int(found[1]), int(found[2])) if found else (99, 0)
    if minute > 59 or hour * 60 + minute > _DAY_MINUTES:
        raise BadSchedule(entry, f"没有 {text} 这个时间", f"there is no time {text}")
    return hour * 60 + minute


def _parse_days(entry: str, text: str) -> Iterator[int]:
    for part in text.lower().split(","):
        names = [name.strip() for name in part.split("-")]
        if len(names) > 2 or not all(name in _DAYS for name in names):
            raise BadSchedule(entry, f"星期应为 {'、'.join(_DAYS)}", f"days are {', '.join(_DAYS)}")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        yield from ((first + day) % 7 for day in range((last - first) % 7 + 1))


def _as_utc(shown: datetime) -> float:
    return shown.replace(tzinfo=UTC).timestamp()


def _offset(at: float, local: Local) -> float:
    """
    How far the clock on the wall is ahead of UTC, in whole seconds.
    """
    return round(_as_utc(local(at)) - at)


def _jump(before: float, after: float, local: Local) -> float | None:
    """
    When between two times the clock on the wall is put forward or back, to the second; None if it is not.
    """
    if _offset(before, local) == _offset(after, local):
        return None
    low, high = int(before), int(after) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle, local) == _offset(before, local) else (low, middle)
    return float(high)
