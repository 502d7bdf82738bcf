"""
The built-in answer to `provide_agent` for a task whose settings name a proxy.
"""

from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.hookspecs import hookimpl
from m3u8svc.tasks.proxy import proxy_of
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.task import Task


class ProxyAgent:
    """
    Connects through the task's proxy: http and https ones, which are asked for http URLs whole and for https by
    CONNECT, and SOCKS5. Names are looked up by the proxy.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @hookimpl(tryfirst=True)
    def provide_agent(self, request: Request, task: Task, attempt: int) -> IAgent | None:
        """
        The pooled agent for this proxy and this request's TLS setting; None for a task without a proxy.

        Raises:
            ProxyUnsupported: the settings want a proxy that cannot be used.
        """
        proxy = proxy_of(task.spec.settings)
        return None if proxy is None else self._connections.agent(request.insecure, proxy, reach=request.reach)
