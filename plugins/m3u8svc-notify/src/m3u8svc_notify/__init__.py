"""
Tells the world of every transition of a task: signed webhooks, and commands that the configuration names.

Only the hooks are here. `settings` says who is told what, `events` what is said, `queue` keeps it until it is
delivered, `deciding` says what follows an answer, `sender` does it; `webhook` and `command` are the two ways.
"""

from collections.abc import Mapping
from typing import Any  # Any: a plugin's configuration and options are its own

from m3u8svc.plugin import OptionError, Said, Services, Task, hookimpl

__version__ = "0.1.0"


class Plugin:
    """
    Off without a target.
    """

    @hookimpl
    async def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """
        Open the queue; what an earlier run left in it is sent at once.
        """
        from m3u8svc_notify.outbound import Outbound
        from m3u8svc_notify.settings import parse_settings

        self._outbound = await services.in_thread(Outbound, parse_settings(config), services)
        self._outbound.start()

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        A request has no say in who is told.
        """
        path = next((str(key) for key in options), "") if isinstance(options, Mapping) else ""
        why = Said(
            "“notify” 没有任务选项，通知目标只能写在配置文件中",
            "notify takes no options of a task: who is told stands in the configuration file alone",
        )
        raise OptionError(path=path, reason=why)

    @hookimpl
    async def task_changed(self, task: Task, previous: Task | None, event_id: int) -> None:
        """
        Durable in the queue when it returns.
        """
        await self._outbound.tell(task, previous, event_id)

    @hookimpl
    async def close(self) -> None:
        """
        Stop sending; what is queued stays so.
        """
        await self._outbound.stop()
