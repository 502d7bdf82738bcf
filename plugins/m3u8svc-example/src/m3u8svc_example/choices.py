"""
Decisions as functions of values: the easiest code to test.
"""

from collections.abc import Sequence

from m3u8svc.plugin import Said, Segment, Skip, Variant


def at_most(height: int, variants: Sequence[Variant]) -> Variant | None:
    """
    The best variant up to this height, else the lowest; None when no variant tells its height.
    """
    told = [variant for variant in variants if variant.height is not None]
    allowed = [variant for variant in told if (variant.height or 0) <= height]
    if allowed:
        return max(allowed, key=lambda variant: (variant.height, variant.bandwidth))
    return min(told, key=lambda variant: (variant.height, variant.bandwidth), default=None)


def leading(seconds: float, segments: Sequence[Segment]) -> list[Skip]:
    """
    The segments that end within the first `seconds`. The reason is read by people, in the task.
    """
    reason = Said(f"片头：按请求去掉前 {seconds:g} 秒", f"intro: the first {seconds:g} s are left out as asked")
    return [
        Skip(position=segment.position, reason=reason)
        for segment in segments
        if segment.start_s + segment.duration_s <= seconds
    ]
