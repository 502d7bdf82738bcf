"""
The task's skip expression as a hook: the default of `skip_segments`.
"""

from collections.abc import Iterable

from m3u8svc.hls.skip import Selection, parse_skip_expression, select_skips
from m3u8svc.plugin import Segment, Skip, Task, hookimpl
from m3u8svc.waiting import InThread, settled


class SkipExpression:
    """
    Skips what ``skip_ts_info`` names by number or time; its ``http.code=`` rules are `failures`' business.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    @hookimpl(trylast=True)
    async def skip_segments(self, segments: tuple[Segment, ...], task: Task) -> Iterable[Skip] | None:
        """
        The segments the expression leaves out, each with the item that did it.
        """
        rules = parse_skip_expression(task.spec.settings.skip_ts_info)
        if not rules.selects:
            return None
        selection: Selection = await settled(self._in_thread(select_skips, rules, segments))
        return [Skip(position=position, reason=reason) for position, reason in selection.skips.items()]
