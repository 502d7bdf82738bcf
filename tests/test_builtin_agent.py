"""
The built-in agents: direct, pooled, and never in place of a proxy; and the one through a proxy.
"""

from typing import Any

import pytest
from twisted.internet import reactor as _reactor

from m3u8svc.builtin.agent import DirectAgent
from m3u8svc.builtin.proxy import ProxyAgent
from m3u8svc.connections import MAX_LINES, Connections
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

    assert caught.value.text() == f"无法使用代理（{proxy_type}）：没有插件提供代理连接；任务未直接连接"


# -- Through a proxy ---------------------------------------------------------------------------------------------------

HTTP_PROXY = {"proxy_type": "http", "proxy_host": "p.example", "proxy_port": 3128, "proxy_password": "p"}


def provided(plugin: ProxyAgent, *, insecure: bool = False, **settings: Any) -> object:
    """What the plugin gives for a request of such a task."""
    request = Request(url="https://a.example/", purpose=Purpose.SEGMENT, insecure=insecure)
    return plugin.provide_agent(request=request, task=task(**settings), attempt=1)


def test_a_task_without_a_proxy_is_left_to_others() -> None:
    """None: no opinion."""
    assert None is provided(ProxyAgent(Connections(reactor)))
    assert None is provided(ProxyAgent(Connections(reactor)), proxy_type="", proxy_host="p.example")


def test_tasks_share_an_agent_only_if_nothing_differs() -> None:
    """The same agent for the same proxy, another for another kind, host, port, user, password or TLS setting."""
    plugin = ProxyAgent(Connections(reactor))
    assert provided(plugin, **HTTP_PROXY) is provided(plugin, **HTTP_PROXY)
    others = [
        {"proxy_type": "socks5"},
        {"proxy_type": "https"},
        {"proxy_host": "q.example"},
        {"proxy_port": 3129},
        {"proxy_username": "u"},
        {"proxy_password": "q"},
        {"insecure": True},
    ]
    agents = [provided(plugin, **HTTP_PROXY)] + [provided(plugin, **(HTTP_PROXY | other)) for other in others]
    assert len(agents) == len(set(map(id, agents)))


@pytest.mark.parametrize(
    "settings",
    [{"proxy_type": "socks4"}, {"proxy_host": ""}, {"proxy_port": 0}, {"proxy_host": "\u200d.example"}],
)
def test_a_proxy_that_cannot_be_used_is_an_error(settings: dict[str, Any]) -> None:
    """Never None, which would leave the task to the direct agent."""
    with pytest.raises(ProxyUnsupported):
        provided(ProxyAgent(Connections(reactor)), **(HTTP_PROXY | settings))


def test_lines_that_nobody_uses_are_forgotten() -> None:
    """Thousands of tasks with a user each leave no thousands of agents; the direct ones stay."""
    connections = Connections(reactor)
    direct, plugin = connections.agent(), ProxyAgent(connections)
    first = provided(plugin, **HTTP_PROXY, proxy_username="0")
    for number in range(1, MAX_LINES + 10):
        last = provided(plugin, **HTTP_PROXY, proxy_username=str(number))

    assert connections.agent() is direct
    assert last is provided(plugin, **HTTP_PROXY, proxy_username=str(MAX_LINES + 9))
    assert first is not provided(plugin, **HTTP_PROXY, proxy_username="0")
