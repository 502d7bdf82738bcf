"""
The task's skip expression, and the groups it keeps, as a hook: the default of `skip_segments`.
"""

from collections.abc import Iterable, Sequence

from m3u8svc.hls.groups import Ranges, parse_groups, skip_groups
from m3u8svc.hls.skip import SkipRules, parse_skip_expression, select_skips
from m3u8svc.plugin import Segment, Skip, Task, hookimpl
from m3u8svc.waiting import InThread, settled
from m3u8svc.wording import Said


class SkipExpression:
    """
    Skips what ``skip_ts_info`` names by number or time, and groups that ``groups`` does not name; the expression's
    ``http.code=`` rules are `failures`' business.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    @hookimpl(trylast=True)
    async def skip_segments(self, segments: Sequence[Segment], task: Task) -> Iterable[Skip] | None:
        """
        The segments to leave out, each with the item that did it.
        """
        rules = parse_skip_expression(task.spec.settings.skip_ts_info)
        kept = parse_groups(task.spec.extensions.groups)
        if not rules.selects and not kept:
            return None
        skips: dict[int, Said] = await settled(self._in_thread(skips_of, segments, rules, kept))
        return [Skip(position=position, reason=reason) for position, reason in skips.items()]


def skips_of(segments: Sequence[Segment], rules: SkipRules, kept: Ranges) -> dict[int, Said]:
    """
    position -> reason for what a task's own settings leave out, in order.
    """
    skips = skip_groups(segments, kept) | select_skips(rules, segments).skips
    return dict(sorted(skips.items()))
