"""
The built-in answer to `provide_agent`: a direct connection from the shared pools.
"""

from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.errors import ProxyUnsupported
from m3u8svc.hookspecs import hookimpl
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.task import Task
from m3u8svc.wording import Said


class DirectAgent:
    """
    Connects directly, and never for a task that wants a proxy (DESIGN 5.6: fails closed).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @hookimpl(trylast=True)
    def provide_agent(self, request: Request, task: Task, attempt: int) -> IAgent:
        """
        The pooled agent for this request's TLS setting.

        Raises:
            ProxyUnsupported: the task's settings name a proxy, and nobody before us has provided one.
        """
        settings = task.spec.settings
        if settings.wants_proxy:
            raise ProxyUnsupported(
                proxy_type=settings.proxy_type,
                reason=Said("没有插件提供代理连接", "no plugin makes connections through a proxy"),
            )
        return self._connections.agent(request.insecure, reach=request.reach)
