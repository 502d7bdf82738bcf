"""
The one door out, as plugins may use it: a GET of their own, that belongs to no task.
"""

from collections.abc import Sequence

from twisted.web.iweb import IAgent

from m3u8svc.fetch import Fetcher, FetchLimits
from m3u8svc.tasks.request import Purpose, Request


class PluginDoor:
    """
    `Services.fetch`: timers, redirects and limits are those of every other request. Connects directly.
    """

    def __init__(self, fetcher: Fetcher, agent: IAgent) -> None:
        self._fetcher = fetcher
        self._agent = agent

    async def __call__(
        self, url: str, *, headers: Sequence[tuple[str, str]] = (), max_bytes: int = 1 << 20, total_s: float = 30.0
    ) -> bytes:
        """
        The whole body at `url`.

        Raises:
            FetchError: it did not come, or not whole.
        """
        request = Request(url=url, purpose=Purpose.PLUGIN, headers=tuple(headers))
        limits = FetchLimits(max_bytes=max_bytes, total_s=total_s)
        _, body = await self._fetcher.read(request, agent_for=self._agent_for, limits=limits)
        return body

    async def _agent_for(self, request: Request) -> IAgent:
        return self._agent
