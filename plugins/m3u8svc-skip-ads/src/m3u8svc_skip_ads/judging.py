"""
One playlist judged: cut it, look into stretches while that may change the verdict, report every group.
"""

from collections.abc import Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from m3u8svc.plugin import M3u8svcError, SegmentGroup, Services, Signature, Skip
from m3u8svc_skip_ads.options import Options
from m3u8svc_skip_ads.stretches import Stretch, cut
from m3u8svc_skip_ads.verdict import Finding, Verdict, analyse, clock, next_question

LOOK_S = 90.0
"""For all looks together; the hook's own deadline would lose what is known by then."""
MOST_LINES = 200
"""Groups that one report names, besides those left out, which it always names."""


async def judge(groups: Sequence[SegmentGroup], options: Options, services: Services, task_id: str) -> list[Skip]:
    """
    The segments of a task to leave out.
    """
    found = await services.in_thread(cut, groups)
    known: dict[int, Signature] = {}
    ends_at = services.clock.seconds() + LOOK_S
    while (stretch := await services.in_thread(next_question, found, known, options)) is not None:
        left_s = ends_at - services.clock.seconds()
        if left_s <= 0:
            services.log.warn(
                "task {task}: looking took over {limit:.0f} s: judged by what is known", task=task_id, limit=LOOK_S
            )
            break
        known[stretch.number] = await _look(groups[stretch.group], stretch, left_s, services, task_id)
    verdict: Verdict = await services.in_thread(analyse, found, known, options)
    for warning in verdict.warnings:
        services.log.warn("task {task}: {warning}", task=task_id, warning=warning)
    for line in report(verdict):
        services.log.info("task {task}: {line}", task=task_id, line=line)
    return verdict.skips


async def _look(group: SegmentGroup, stretch: Stretch, left_s: float, services: Services, task_id: str) -> Signature:
    """
    The signature of a stretch; an empty one when it cannot be had, or not in time.
    """
    asked = group if group.segments[0] == stretch.segments[0] else attrs.evolve(group, segments=stretch.segments)
    try:
        return await Deferred.fromCoroutine(asked.signature()).addTimeout(left_s, services.clock)
    except (M3u8svcError, DeferredTimeout) as error:
        reason = error.text("en") if isinstance(error, M3u8svcError) else "no answer in time"
        services.log.warn(
            "task {task}: group {number} cannot be looked into: {reason}",
            task=task_id,
            number=stretch.number,
            reason=reason,
        )
        return Signature()


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
