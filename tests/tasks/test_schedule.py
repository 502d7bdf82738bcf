"""Rates as people write them, and what a weekly schedule says at a time."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3u8svc.tasks.schedule import MAX_ENTRIES, MAX_TEXT, BadSchedule, Schedule, parse_rate, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
WORK = "Mon-Fri 08:00-18:00 2M"
M = 1024**2


def berlin(at: float) -> datetime:
    """What a clock in Berlin shows."""
    return datetime.fromtimestamp(at, BERLIN).replace(tzinfo=None)


def when(text: str, *, fold: int = 0) -> float:
    """The time at which it shows this."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *[("0", 0), ("2000000", 2_000_000), ("1024", 1024), ("500K", 500 * 1024), ("500k", 500 * 1024)],
        *[("2M", 2 * M), ("2MB", 2 * M), ("2MiB/s", 2 * M), (" 1.5m ", 3 * M // 2), ("1G", 1024 * M), ("1K", 1024)],
    ],
)
def test_rates_that_people_write(text: str, rate: int) -> None:
    """As wget, curl and the status bar: K is 1024."""
    assert rate == parse_rate(text)


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "2T", "1e6", "1023", "0.5", "0.001K", "1.5.2M", "2 M", "1000G", "٣M", "inf"]
)
def test_what_is_no_rate(text: str) -> None:
    """Nothing is guessed, and a rate below a kilobyte is none."""
    with pytest.raises(ValueError, match=r"no rate|out of range"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "shown", "rate"),
    [
        (WORK, "2026-11-26 07:59:59", 7),
        (WORK, "2026-11-26 08:00:00", 2 * M),
        (WORK, "2026-11-26 17:59:59", 2 * M),
        (WORK, "2026-11-26 18:00:00", 7),
        (WORK, "2026-11-28 12:00:00", 7),
        ("sat,SUN 00:00-24:00 0", "2026-11-28 23:59:59", 0),
        ("sat,SUN 00:00-24:00 0", "2026-11-30 00:00:00", 7),
        ("08:00-09:00 1M", "2026-11-29 08:30:00", M),
        ("Fri 22:00-06:00 1M", "2026-11-28 05:59:00", M),
        ("Fri 22:00-06:00 1M", "2026-11-27 05:59:00", 7),
        ("Sun 22:00-06:00 1M", "2026-11-30 00:00:00", M),
        ("Sat-Mon 00:00-24:00 1M", "2026-11-30 12:00:00", M),
        ("Sat-Mon 00:00-24:00 1M", "2026-12-01 12:00:00", 7),
        ("Mon, Wed-Thu 00:00-24:00 1M", "2026-11-26 12:00:00", M),
        ("12:00-13:00 1M; 00:00-24:00 3M", "2026-11-26 12:30:00", M),
        ("12:00-13:00 1M\n00:00-24:00 3M;", "2026-11-26 13:00:00", 3 * M),
        ("", "2026-11-26 13:00:00", 7),
    ],
)
def test_what_holds(text: str, shown: str, rate: int) -> None:
    """The first entry that holds, and otherwise the rate beside the schedule. 2026-11-26 is a Thursday."""
    assert rate == parse_schedule(text).rate_at(when(shown), 7, berlin)


@pytest.mark.parametrize(
    ("text", "at", "change"),
    [
        (WORK, "2026-11-26 12:00", "2026-11-26 18:00"),
        (WORK, "2026-11-26 18:00", "2026-11-27 08:00"),
        (WORK, "2026-11-27 18:00", "2026-11-30 08:00"),
        ("Thu 12:00-13:00 1M", "2026-11-26 13:00", "2026-12-03 12:00"),
        ("00:00-12:00 1M; 12:00-24:00 1M", "2026-11-26 13:00", None),
        ("Fri 22:00-06:00 1M", "2026-11-27 23:00", "2026-11-28 06:00"),
        ("Fri 22:00-06:00 1M", "2026-11-28 03:00", "2026-11-28 06:00"),
        ("08:00-10:00 1M; 09:00-11:00 1M", "2026-11-26 08:00", "2026-11-26 11:00"),
        ("", "2026-11-26 13:00", None),
        # The clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
        ("01:00-04:00 1M", "2026-03-29 01:30", "2026-03-29 04:00"),
        ("02:30-05:00 1M", "2026-03-29 01:30", "2026-03-29 03:00"),
        ("01:00-02:30 1M", "2026-03-29 01:30", "2026-03-29 03:00"),
        ("08:00-18:00 1M", "2026-03-28 18:00", "2026-03-29 08:00"),
        ("08:00-18:00 1M", "2026-10-24 18:00", "2026-10-25 08:00"),
    ],
)
def test_when_it_changes(text: str, at: str, change: str | None) -> None:
    """To the second, also over the days on which the clock is changed."""
    found = parse_schedule(text).next_change(when(at), 7, berlin)
    assert (None if change is None else when(change)) == found


def test_an_hour_that_comes_twice_counts_twice() -> None:
    """From 01:00 to 02:30 on the day on which 02:00 to 03:00 comes twice: it ends, begins again, and ends."""
    schedule = parse_schedule("01:00-02:30 1M")
    found, at = [], when("2026-10-25 01:30")
    for _ in range(3):
        change = schedule.next_change(at, 7, berlin)
        assert change is not None
        found.append(at := change)
    assert found == [when("2026-10-25 02:30"), when("2026-10-25 02:00", fold=1), when("2026-10-25 02:30", fold=1)]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "Mon ", "Sat-Tue "]), st.integers(0, 95), st.integers(0, 95)).filter(
            lambda entry: entry[1] != entry[2]
        ),
        max_size=4,
    ),
    st.integers(0, 250 * 24),
)
def test_nothing_changes_before_the_next_change(given: list[tuple[str, int, int]], hours: int) -> None:
    """At every quarter of an hour until then it is the same rate, and at the change it is another one."""
    text = ";".join(
        f"{days}{begin // 4:02d}:{begin % 4 * 15:02d}-{end // 4:02d}:{end % 4 * 15:02d} {index + 1}M"
        for index, (days, begin, end) in enumerate(given)
    )
    schedule, at = parse_schedule(text), when("2026-03-25 00:00") + hours * 3600.0
    change = schedule.next_change(at, 7, berlin)
    rate = schedule.rate_at(at, 7, berlin)
    end = at + timedelta(days=7).total_seconds() if change is None else change
    same = {schedule.rate_at(at + quarter * 900.0, 7, berlin) for quarter in range(int((end - 1 - at) // 900) + 1)}
    assert {rate} == same
    if change is not None:
        assert schedule.rate_at(change - 1, 7, berlin) == rate != schedule.rate_at(change, 7, berlin)


@pytest.mark.parametrize(
    ("text", "entry", "reason"),
    [
        ("always", "always", "should be like"),
        ("Mon-Fri 2M", "Mon-Fri 2M", "should be like"),
        (f"{WORK}; Mon-Fri 08:00 2M", "Mon-Fri 08:00 2M", "should be like"),
        ("Mon-Foo 08:00-18:00 2M", "Mon-Foo 08:00-18:00 2M", "days are mon"),
        ("Mon-Tue-Wed 08:00-18:00 2M", "Mon-Tue-Wed 08:00-18:00 2M", "days are mon"),
        ("08:00-18:00 2X", "08:00-18:00 2X", "the rate should be"),
        ("08:00-18:00 5", "08:00-18:00 5", "the rate should be"),
        ("08:60-18:00 2M", "08:60-18:00 2M", "there is no time 08:60"),
        ("08:00-24:01 2M", "08:00-24:01 2M", "there is no time 24:01"),
        ("24:00-08:00 2M", "24:00-08:00 2M", "never begins"),
        ("08:00-08:00 2M", "08:00-08:00 2M", "ends when it begins"),
        ("08:00-09:00 2M;" * (MAX_ENTRIES + 1), "", "more than 64 entries"),
        (";" * (MAX_TEXT + 1), "", "more than 4096 characters"),
    ],
)
def test_what_is_no_schedule(text: str, entry: str, reason: str) -> None:
    """The entry that is wrong is named, and why."""
    with pytest.raises(BadSchedule) as caught:
        parse_schedule(text)
    assert entry == caught.value.entry
    assert reason in caught.value.said.en
    assert caught.value.said


def test_no_schedule_has_no_entries() -> None:
    """Empty text, and text without entries."""
    assert [Schedule(), Schedule()] == [parse_schedule(""), parse_schedule(" ;\n ")]
