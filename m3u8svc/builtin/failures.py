"""
What happens after a failed attempt: the default of `after_failure`.
"""

from collections.abc import Callable

from m3u8svc.hls.skip import parse_skip_expression
from m3u8svc.plugin import FailureDecision, M3u8svcError, Segment, Task, hookimpl
from m3u8svc.tasks.retry import decide


class RetryPolicy:
    """
    Retries with jittered backoff, honours Retry-After and the task's ``http.code=`` rules. `chance` is random() or a
    test's dice.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance

    @hookimpl(trylast=True)
    def after_failure(self, segment: Segment, error: M3u8svcError, attempt: int, task: Task) -> FailureDecision:
        """
        The decision of `tasks.retry` under this task's expression.
        """
        rules = parse_skip_expression(task.spec.settings.skip_ts_info)
        return decide(error, attempt, skip_statuses=rules.statuses, chance=self._chance())
