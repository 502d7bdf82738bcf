"""
What a task would do, found out by reading its playlists and nothing else: the outline of a request that is not stored.

Plugins choose the variant and send requests as they would for the task. What they would skip is not counted: to judge
segments they have to look into them.
"""

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from m3u8svc.builtin.skip import skips_of
from m3u8svc.errors import NothingToDownload, TotalTimeout
from m3u8svc.hls.groups import missing_groups, parse_groups
from m3u8svc.hls.outline import Outline, outline
from m3u8svc.hls.playlist import Presentation
from m3u8svc.hls.skip import parse_skip_expression, select_skips
from m3u8svc.job import Tools, mergeable
from m3u8svc.report import withheld_headers
from m3u8svc.sniff import Sniffer
from m3u8svc.tasks.task import Task
from m3u8svc.waiting import settled
from m3u8svc.wording import Said

TOTAL_S = 60.0
"""How long somebody may wait for a plan: its playlists are small, and a server that fails is tried again as always."""


async def plan_task(task: Task, tools: Tools, playlist: str) -> Outline:
    """
    The outline of `task`, whose playlist is `playlist` if that is not "".

    Raises:
        M3u8svcError: the task could not be downloaded either, and why.
    """
    tools.plugins.need(task.spec.extensions)
    found: Deferred[Outline] = Deferred.fromCoroutine(_outlined(task, tools, playlist))
    try:
        return await found.addTimeout(TOTAL_S, tools.clock)
    except DeferredTimeout:
        raise TotalTimeout(url=task.spec.address, seconds=TOTAL_S) from None


async def _outlined(task: Task, tools: Tools, playlist: str) -> Outline:
    wire = tools.wire(task, note=lambda line: None)
    sniffer = Sniffer(wire=wire, clock=tools.clock, in_thread=tools.in_thread)
    presentation = await sniffer.presentation(task.spec.address, playlist or None)
    presentation, left_out = mergeable(task, tools.plugins, presentation)
    made: Outline = await settled(tools.in_thread(_outline, task, presentation))
    withheld = withheld_headers(wire.withheld)
    warnings = [*task.spec.warnings, *left_out, *made.warnings, *withheld, *wire.downgrades]
    return attrs.evolve(made, warnings=tuple(dict.fromkeys(warnings)))


def _outline(task: Task, presentation: Presentation) -> Outline:
    """
    The outline under the task's own skips. Blocking.
    """
    rules = parse_skip_expression(task.spec.settings.skip_ts_info)
    segments = presentation.main.segments
    kept = parse_groups(task.spec.extensions.groups)
    skips = skips_of(segments, rules, kept)
    if not any(segment.position not in skips and not segment.gap for segment in segments):
        raise NothingToDownload()
    warnings = [*select_skips(rules, segments).warnings, *missing_groups(segments, kept)]
    if task.spec.extensions.plugins:
        warnings.append(
            Said(
                "插件的跳过规则要看到分片才能判断，未计入",
                "what plugins skip is not counted: they judge by the segments themselves",
            )
        )
    return outline(attrs.evolve(presentation, warnings=(*presentation.warnings, *warnings)), skips)
