"""
The hooks, called as the service calls them, on fakes that record.
"""

import importlib.metadata
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from m3u8svc_skip_ads import Plugin
from m3u8svc_skip_ads.judging import LOOK_S, MOST_LINES, MOST_NOTES, judge, notes, report
from m3u8svc_skip_ads.options import Options
from m3u8svc_skip_ads.stretches import cut
from m3u8svc_skip_ads.told import Told
from m3u8svc_skip_ads.verdict import analyse
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger

from m3u8svc.plugin import (
    ConfigError,
    MediaPlaylist,
    MergeError,
    Note,
    OptionError,
    Segment,
    SegmentGroup,
    Services,
    Signature,
    Skip,
    Status,
)
from m3u8svc.testing.harness import Harness
from m3u8svc.testing.playlists import SegmentLine, media_playlist

FILM, ADVERT = Signature(video="h264:film"), Signature(video="h264:advert")


class Log:
    """
    An observer that keeps lines by level.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.logger = Logger("test", observer=self)

    def __call__(self, event: Mapping[str, Any]) -> None:
        fields = {name: value for name, value in event.items() if not name.startswith("log_")}
        self.lines.append((event["log_level"].name, event["log_format"].format(**fields)))

    def of(self, level: str) -> list[str]:
        """The lines of one level."""
        return [line for found, line in self.lines if found == level]


@attrs.frozen
class AskedTask:
    """
    As much of a task as the hook looks at.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    id: str = "t1"

    def options_for(self, plugin: str) -> Mapping[str, Any]:
        """What the request says to the plugin of this name."""
        return self.options if plugin == "skip-ads" else {}


def services(clock: Clock, log: Log) -> Services:
    """Threads that are none, a clock, a log; no way out."""

    async def fetch(url: str, **more: object) -> bytes:
        raise AssertionError("the plugin fetches nothing by itself")

    return Services(
        reactor=clock,
        clock=clock,
        in_thread=lambda function, *arguments: succeed(function(*arguments)),
        log=log.logger,
        state_dir=Path("/nonexistent"),
        fetch=fetch,
    )


def groups(*counts: int, look: Callable[[SegmentGroup], Coroutine[Any, Any, Signature]]) -> tuple[SegmentGroup, ...]:
    """Groups of so many segments of two seconds."""
    made = []
    position = 1
    for index, count in enumerate(counts):
        segments = tuple(
            Segment(
                position=each,
                number=each,
                uri=f"http://x/s{each}.ts?token=s3cret",
                duration_s=2.0,
                start_s=2.0 * each - 2,
            )
            for each in range(position, position + count)
        )
        made.append(SegmentGroup(discontinuity_sequence=index, segments=segments, look=look))
        position += count
    return tuple(made)


async def look_short_is_advert(group: SegmentGroup) -> Signature:
    """Groups of less than four segments are adverts here."""
    return ADVERT if len(group.segments) < 4 else FILM


def result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that need not wait returns."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    assert found, "it waits"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def configured(config: Mapping[str, Any], log: Log) -> Plugin:
    """The plugin after its start."""
    plugin = Plugin()
    plugin.configure(config=config, services=services(Clock(), log))
    return plugin


def test_entry_point_loads_the_plugin() -> None:
    """Installed, the plugin is found under the name that requests and configuration use."""
    (found,) = importlib.metadata.entry_points(group="m3u8svc", name="skip-ads")
    assert found.load() is Plugin


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        ({}, {}, None),
        ({}, {"mode": "auto"}, [21, 22]),
        ({"default_mode": "auto"}, {}, [21, 22]),
        ({"default_mode": "auto"}, {"mode": "off"}, None),
        ({"default_mode": "auto"}, {"keep": [2]}, []),
        ({}, {"drop": ["1-2"]}, [1, 2]),
    ],
)
def test_task_gets_what_it_or_the_configuration_asks_for(
    config: Mapping[str, Any], options: Mapping[str, Any], expected: list[int] | None
) -> None:
    """A task that asks for nothing is left alone, unless the configuration asks for all."""
    log = Log()
    found = result(
        configured(config, log).skip_segments(
            groups=groups(20, 2, 20, look=look_short_is_advert),
            playlist=MediaPlaylist(url="http://x/list.m3u8", segments=()),
            task=AskedTask(options),
        )
    )
    assert expected == (None if found is None else [skip.position for skip in found])
    assert bool(log.lines) == (found is not None)


def test_hooks_refuse_what_is_wrong() -> None:
    """The configuration stops the start, an option the request."""
    with pytest.raises(ConfigError):
        configured({"max_share": "much"}, Log())
    with pytest.raises(OptionError):
        configured({}, Log()).check_options(options={"mode": "maybe"})


def test_log_reports_every_group_and_no_address() -> None:
    """The operator reads of each group its times, its positions, its fate and the reason; addresses hold tokens."""
    log = Log()
    configured({"default_mode": "auto"}, log)
    skips = result(
        judge(groups(20, 2, 30, look=look_short_is_advert), (), Options(mode="auto"), services(Clock(), log), "t1")
    )
    assert [
        "task t1: group 1: 00:00-00:40, segments 1-20: kept",
        "task t1: group 2: 00:40-00:44, segments 21-22: left out (短插播、不同编码参数)",
        "task t1: group 3: 00:44-01:44, segments 23-52: kept",
    ] == log.of("info")
    reason = "广告（第 2 组）：00:40–00:44，短插播、不同编码参数"
    assert [Skip(position=21, reason=reason), Skip(position=22, reason=reason)] == skips
    assert "s3cret" not in repr(log.lines)


def test_group_that_cannot_be_looked_into_is_kept_and_told() -> None:
    """A failing segment is a warning, not the end of the judgement."""

    async def look(group: SegmentGroup) -> Signature:
        if len(group.segments) == 3:
            raise MergeError(reason="no")
        return await look_short_is_advert(group)

    log = Log()
    *skips, note = result(
        judge(groups(20, 2, 20, 3, 20, look=look), (), Options(mode="auto"), services(Clock(), log), "t1")
    )
    assert [21, 22] == [skip.position for skip in skips]
    assert Note(reason="第 4 组无法查看，其编码参数不参与判断") == note
    assert "task t1: group 4 cannot be looked into: merging failed: no" in log.of("info")
    assert ["task t1: judged without the encoder settings of groups 4, which cannot be looked into"] == log.of("warn")


def test_looking_that_takes_too_long_ends_with_what_is_known() -> None:
    """The hook ends before its own deadline, and the look that hangs is cancelled."""
    clock, log = Clock(), Log()
    cancelled: list[bool] = []

    async def look(group: SegmentGroup) -> Signature:
        if len(group.segments) == 3:
            await Deferred(lambda deferred: cancelled.append(True))
        return await look_short_is_advert(group)

    found: list[Any] = []
    judging = judge(groups(20, 2, 20, 3, 20, look=look), (), Options(mode="auto"), services(clock, log), "t1")
    Deferred.fromCoroutine(judging).addBoth(found.append)
    clock.advance(LOOK_S - 1)
    assert not found
    clock.advance(2)
    assert [True] == cancelled
    assert [
        Note(reason="查看分片超过 90 秒，只按已知的判断"),
        Note(reason="第 4 组无法查看，其编码参数不参与判断"),
    ] == found[0], "group 2 was not looked into any more"
    assert ["task t1: group 4 cannot be looked into: no answer in time"] == log.of("info")[:1]
    assert "took over 90 s" in log.of("warn")[0]


def test_cancelled_task_ends_the_look() -> None:
    """A pause ends the hook at once: cancellation is passed on, not taken for a failed look."""

    async def look(group: SegmentGroup) -> Signature:
        await Deferred()
        raise AssertionError("never")

    found: list[Any] = []
    judging = judge(groups(20, 2, 20, look=look), (), Options(mode="auto"), services(Clock(), Log()), "t1")
    waiting = Deferred.fromCoroutine(judging)
    waiting.addErrback(lambda failure: found.append(failure.type.__name__))
    waiting.cancel()
    assert ["CancelledError"] == found


def test_advert_inside_a_group_is_looked_into_by_its_own_first_segment() -> None:
    """Where a group holds an advert of another path, the signature is the advert's and not the group's."""
    asked: list[int] = []

    async def look(group: SegmentGroup) -> Signature:
        asked.append(group.segments[0].position)
        return ADVERT if "/ads/" in group.segments[0].uri else FILM

    (group,) = groups(40, look=look)
    mixed = tuple(
        attrs.evolve(each, uri=each.uri.replace("/s", "/ads/s")) if 20 <= each.position <= 22 else each
        for each in group.segments
    )
    whole = (attrs.evolve(group, segments=mixed),)
    skips = result(judge(whole, (), Options(mode="auto"), services(Clock(), Log()), "t1"))
    assert [20, 21, 22] == [skip.position for skip in skips]
    assert {1, 20, 23} >= set(asked) > {20}


def test_report_of_very_many_groups_is_cut_but_names_all_that_are_left_out() -> None:
    """A playlist of thousands of groups does not flood the log."""
    from m3u8svc_skip_ads.options import Chosen

    found = cut(groups(*[1] * (MOST_LINES + 50), look=look_short_is_advert))
    verdict = analyse(found, {}, Options(drop=Chosen(groups=frozenset({MOST_LINES + 20}))))
    lines = [*report(verdict)]
    assert MOST_LINES + 2 == len(lines)
    assert lines[-2].startswith(f"group {MOST_LINES + 20}:") and "按请求去除" in lines[-2]
    assert f"{MOST_LINES + 50} groups in all" in lines[-1]


def test_very_many_notes_are_cut_and_the_rest_is_counted() -> None:
    """The service takes twenty notes; people read that the log has more."""
    remarks = [Told(zh=f"提示 {number}", en="") for number in range(MOST_NOTES + 1)]
    assert MOST_NOTES == len([*notes(remarks[:MOST_NOTES])])
    *_, before, last = notes(remarks)
    assert (f"提示 {MOST_NOTES - 2}", "另有 2 条提示，见日志") == (before.reason, last.reason)
    assert "2 more remarks, see the log" == last.reason.en


SPLICED = [
    *(SegmentLine(uri=f"film{number}.ts") for number in range(1, 9)),
    SegmentLine(uri="http://ads.test/spot1.ts", discontinuity=True),
    SegmentLine(uri="http://ads.test/spot2.ts"),
    *(SegmentLine(uri=f"film{number}.ts", discontinuity=number == 9) for number in range(9, 17)),
]


@pytest.mark.parametrize(
    ("config", "options", "skipped"),
    [
        ({}, {"mode": "auto"}, True),
        ({"default_mode": "auto"}, None, True),
        ({"default_mode": "auto"}, {"mode": "off"}, False),
        ({}, None, False),
        ({}, {"regex": "^http://ads[.]test/"}, True),
        ({}, {"mode": "auto", "max_share": 0.01}, False),
    ],
)
def test_download_leaves_adverts_out(
    tmp_path: Path, config: dict[str, Any], options: dict[str, Any] | None, skipped: bool
) -> None:
    """Adverts of another host, between discontinuities: not in the result, not even fetched, named in the task."""
    harness = Harness(Plugin(), tmp_path, name="skip-ads", config=config)
    harness.serve_stream("/film/list.m3u8", SPLICED)
    run = harness.download("/film/list.m3u8", plugins={} if options is None else {"skip-ads": options})
    assert run.status is Status.COMPLETED and run.output is not None
    assert skipped == (b"spot" not in run.output)
    assert skipped == ("/spot2.ts" not in run.requests)
    assert 16 == run.output.count(b"film")
    assert skipped == any("广告（第 2 组）：00:48–01:00" in warning for warning in run.warnings)


def test_look_keeps_what_it_fetched(tmp_path: Path) -> None:
    """A segment that was looked into is not fetched again, and one that cannot be read proves nothing."""
    harness = Harness(Plugin(), tmp_path, name="skip-ads", config={"default_mode": "auto"})
    lines = [attrs.evolve(each, uri=each.uri.rpartition("/")[2].replace("spot", "film9")) for each in SPLICED]
    harness.serve_stream("/film/list.m3u8", lines)
    run = harness.download("/film/list.m3u8")
    assert run.status is Status.COMPLETED
    assert sorted(set(run.requests)) == sorted(run.requests)
    assert 19 == len(run.requests)
    assert ("插件 skip-ads：没有一种编码参数占到总时长的 60%，不按编码参数判断",) == run.warnings
    english = "plugin skip-ads: no encoder is known to have 60% of the duration: encoder settings are not judged"
    assert [english] == [each.en for each in run.warnings]


def test_what_the_verdict_warns_of_is_read_in_the_task(tmp_path: Path) -> None:
    """Whoever asked for the download reads why adverts were kept; the log is for the operator."""
    harness = Harness(Plugin(), tmp_path, name="skip-ads")
    harness.serve_stream("/film/list.m3u8", SPLICED)
    run = harness.download("/film/list.m3u8", plugins={"skip-ads": {"mode": "auto", "max_share": 0.01, "keep": [9]}})
    assert run.status is Status.COMPLETED
    assert (
        "插件 skip-ads：请求指定的组不存在：9（共 3 组）",
        "插件 skip-ads：判断为广告的部分占总时长的 11%，超过 max_share 1%，因此保留",
    ) == run.warnings


def test_post_roll_ends_at_the_mark_after_the_last_segment(tmp_path: Path) -> None:
    """An advert at the end, whose CUE-IN stands behind it, is left out."""
    harness = Harness(Plugin(), tmp_path, name="skip-ads")
    lines = [SegmentLine(uri=f"seg{number}.ts", duration_s=6.0) for number in range(1, 11)]
    harness.serve_stream("/list.m3u8", lines)
    lines[8] = attrs.evolve(lines[8], before=("#EXT-X-CUE-OUT",))
    harness.serve("/list.m3u8", media_playlist(lines, tail=["#EXT-X-CUE-IN"]))
    run = harness.download("/list.m3u8", plugins={"skip-ads": {"mode": "marks"}})
    assert run.status is Status.COMPLETED
    assert "/seg8.ts" == run.requests[-1]
    assert ["CUE-OUT 标记" in warning for warning in run.warnings] == [True]
