"""
How fast, how long still, and the origin's words for it: numbers in, numbers and text out.

The status bar is the API's contract (origin-semantics 2.7): a title, one space, and what is known.
"""

from collections import deque

from m3u8svc.tasks.task import Phase

TITLES: dict[Phase, str] = {
    Phase.SNIFF: "[1/5]嗅探m3u8",
    Phase.PLAYLIST: "[2/5]获取ts列表",
    Phase.DOWNLOAD: "[3/5]下载ts",
    Phase.ANALYSE: "[4/5]分析ts列表",
    Phase.MERGE: "[5/5]合并ts为mp4",
}
WINDOW_S = 5.0
_BUCKET_S = 0.25
_SILENT_S = 1.0
"""Nothing is said about speed in the first second: it would be noise."""


class SpeedWindow:
    """
    Bytes and finished segments of the last five seconds. Memory is bounded: one bucket per quarter of a second.
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._buckets: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, *, size_bytes: int = 0, segments: int = 0) -> None:
        """
        Record what arrived at `now` (seconds, monotonic).
        """
        if self._buckets and now - self._buckets[-1][0] < _BUCKET_S:
            at, had_bytes, had_segments = self._buckets.pop()
            self._buckets.append((at, had_bytes + size_bytes, had_segments + segments))
        else:
            self._buckets.append((now, size_bytes, segments))
        self._forget(now)

    def speed(self, now: float) -> float:
        """
        Bytes per second; 0.0 in the first second.
        """
        span = self._span(now)
        return 0.0 if span is None else sum(size for _, size, _ in self._buckets) / span

    def eta_s(self, now: float, segments_left: int) -> float | None:
        """
        Seconds until `segments_left` more are done at this pace; None when unknown.
        """
        span = self._span(now)
        finished = sum(segments for _, _, segments in self._buckets)
        if span is None or not finished:
            return None
        return span / finished * segments_left

    def _span(self, now: float) -> float | None:
        self._forget(now)
        span = min(WINDOW_S, now - self._started_at)
        return span if span >= _SILENT_S else None

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] > WINDOW_S:
            self._buckets.popleft()


def rate_text(speed: float) -> str:
    """
    Bytes per second as the origin writes them: 1024-based, two decimals only from MB on.
    """
    if speed < 1024:
        return f"{int(speed)} B/s"
    if speed < 1024 * 1024:
        return f"{int(speed / 1024)} KB/s"
    return f"{speed / 1024 / 1024:.2f} MB/s"


def remaining_text(eta_s: float) -> str:
    """
    MM:SS; minutes have no upper end.
    """
    whole = max(0, int(eta_s))
    return f"{whole // 60:02d}:{whole % 60:02d}"


def status_bar(
    phase: Phase, *, speed: float = 0.0, eta_s: float | None = None, sleeping: int = 0, waits_for: str = ""
) -> str:
    """
    The origin's status text; behind it, what the end of a download waits for. Ends in a space when there is nothing to
    say, as the origin's does.
    """
    if phase is Phase.NONE:
        return ""
    said = []
    if speed > 0:
        said.append(f"速度 {rate_text(speed)}")
        if eta_s is not None:
            said.append(f"剩余时间 {remaining_text(eta_s)}")
    if sleeping:
        said.append(f"有 {sleeping}个线程正在休眠.")
    if waits_for:
        said.append(f"等待 {waits_for}")
    return f"{TITLES[phase]} {', '.join(said)}"


def percent(*, fetched: int, total: int, published: bool) -> int:
    """
    0..100 over the whole task: fetching is 95 of it, publishing the rest (DESIGN 6).
    """
    share = fetched / total if total else 0.0
    return int(100 * (0.95 * share + 0.05 * published) + 1e-9)
