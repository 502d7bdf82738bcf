"""
The built-in agent: direct, pooled, and never in place of a proxy.
"""

from typing import Any

import pytest
from twisted.internet import reactor as _reactor

from m3u8svc.builtin.agent import DirectAgent
from m3u8svc.connections import Connections
from m3u8svc.errors import ProxyUnsupported
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.task import Settings, Task, TaskSpec

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else


def task(**settings: Any) -> Task:  # Any: whatever Settings takes
    return Task(id="1", spec=TaskSpec(url="http://a.example/", filename="a", settings=Settings(**settings)))


@pytest.mark.parametrize("insecure", [False, True])
def test_the_agent_is_the_pooled_one_of_the_tls_setting(insecure: bool) -> None:
    """The same agent for every request of a kind, so that connections are shared by all tasks."""
    connections = Connections(reactor)
    request = Request(url="https://a.example/", purpose=Purpose.SEGMENT, insecure=insecure)

    given = DirectAgent(connections).provide_agent(request=request, task=task(), attempt=1)

    assert given is connections.agent(insecure)


@pytest.mark.parametrize("proxy_type", ["http", "https", "socks5", "sock4-misspelt"])
def test_a_task_with_a_proxy_is_never_connected_directly(proxy_type: str) -> None:
    """Fails closed, and says which proxy cannot be used."""
    request = Request(url="https://a.example/", purpose=Purpose.SEGMENT)

    with pytest.raises(ProxyUnsupported) as caught:
        DirectAgent(Connections(reactor)).provide_agent(request=request, task=task(proxy_type=proxy_type), attempt=1)

    assert caught.value.text() == f"代理（{proxy_type}）暂不可用，任务未直接连接"
