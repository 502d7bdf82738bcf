"""
One playlist judged: cut it, look into stretches while that may change the verdict, report every group.
"""

from collections.abc import Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from m3u8svc.plugin import M3u8svcError, Note, Said, SegmentGroup, Services, Signature, Skip
from m3u8svc_skip_ads.options import Options
from m3u8svc_skip_ads.stretches import Stretch, cut
from m3u8svc_skip_ads.told import Told
from m3u8svc_skip_ads.verdict import Finding, Verdict, analyse, clock, listed, next_question

LOOK_S = 90.0
"""For all looks together; the hook's own deadline would lose what is known by then."""
MOST_LINES = 200
"""Groups that one report names, besides those left out, which it always names."""
MOST_NOTES = 15
"""Remarks that one task gets; the service takes twenty."""


async def judge(
    groups: Sequence[SegmentGroup], trailing: tuple[str, ...], options: Options, services: Services, task_id: str
) -> list[Skip | Note]:
    """
    The segments of a task to leave out, and what its user should know of the judgement. `trailing` are the marks after
    the last segment.
    """
    found = await services.in_thread(cut, groups, trailing)
    known: dict[int, Signature] = {}
    failed: list[int] = []
    remarks: list[Told] = []
    ends_at = services.clock.seconds() + LOOK_S
    while (stretch := await services.in_thread(next_question, found, known, options)) is not None:
        left_s = ends_at - services.clock.seconds()
        if left_s <= 0:
            remarks.append(_TOO_LONG)
            break
        signature = await _look(groups[stretch.group], stretch, left_s, services, task_id)
        if signature is None:
            failed.append(stretch.number)
        known[stretch.number] = signature or Signature()
    if failed:
        remarks.append(_not_looked_into(failed))
    verdict: Verdict = await services.in_thread(analyse, found, known, options)
    remarks += verdict.warnings
    for remark in remarks:
        services.log.warn("task {task}: {remark}", task=task_id, remark=remark.en)
    for line in report(verdict):
        services.log.info("task {task}: {line}", task=task_id, line=line)
    return [*verdict.skips, *notes(remarks)]


_TOO_LONG = Told(
    zh=f"查看分片超过 {LOOK_S:.0f} 秒，只按已知的判断",
    en=f"looking took over {LOOK_S:.0f} s: judged by what is known",
)


def _not_looked_into(numbers: Sequence[int]) -> Told:
    return Told(
        zh=f"第 {listed(numbers, '、')} 组无法查看，其编码参数不参与判断",
        en=f"judged without the encoder settings of groups {listed(numbers, ', ')}, which cannot be looked into",
    )


async def _look(
    group: SegmentGroup, stretch: Stretch, left_s: float, services: Services, task_id: str
) -> Signature | None:
    """
    The signature of a stretch; None when it cannot be had, or not in time.
    """
    asked = group if group.segments[0] == stretch.segments[0] else attrs.evolve(group, segments=stretch.segments)
    try:
        return await Deferred.fromCoroutine(asked.signature()).addTimeout(left_s, services.clock)
    except (M3u8svcError, DeferredTimeout) as error:
        reason = error.text("en") if isinstance(error, M3u8svcError) else "no answer in time"
        services.log.info(
            "task {task}: group {number} cannot be looked into: {reason}",
            task=task_id,
            number=stretch.number,
            reason=reason,
        )
        return None


def notes(remarks: Sequence[Told]) -> Iterator[Note]:
    """
    For the task's user: of very many the first, and how many more the log has.
    """
    shown = remarks if len(remarks) <= MOST_NOTES else remarks[: MOST_NOTES - 1]
    for remark in shown:
        yield Note(reason=Said(remark.zh, remark.en))
    if len(shown) < len(remarks):
        more = len(remarks) - len(shown)
        yield Note(reason=Said(f"另有 {more} 条提示，见日志", f"{more} more remarks, see the log"))


def report(verdict: Verdict) -> Iterator[str]:
    """
    A line for each group: its number, times, positions, what becomes of it and why.
    """
    told = 0
    for finding in verdict.findings:
        told += 1
        if finding.dropped or told <= MOST_LINES:
            yield _line(finding)
    if told > MOST_LINES:
        yield f"groups from number {MOST_LINES + 1} on that are not named are kept ({told} groups in all)"


def _line(finding: Finding) -> str:
    stretch = finding.stretch
    count = len(finding.dropped)
    fate = "kept" if not count else "left out" if count == len(stretch.segments) else f"{count} segments left out"
    reasons = dict.fromkeys(reason.partition("，")[2] for reason in finding.dropped.values())
    why = [*reasons] or [sign.value for sign in finding.signs]
    first, last = stretch.positions[0], stretch.positions[-1]
    place = f"group {stretch.number}: {clock(stretch.start_s)}-{clock(stretch.end_s)}, segments {first}-{last}"
    return f"{place}: {fate}" + (f" ({'、'.join(why)})" if why else "")
