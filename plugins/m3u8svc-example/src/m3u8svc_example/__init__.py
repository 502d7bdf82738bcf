"""
The plugin "example" of m3u8svc: one small hook of each kind, to be copied. See README.md.

Only hooks stand here, and they are thin: what they do is in the modules beside, which are tested without a service.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # configuration and options are whatever somebody wrote

import attrs

from m3u8svc.plugin import (
    Key,
    MasterPlaylist,
    Merger,
    Request,
    Segment,
    SegmentOutcome,
    Services,
    Skip,
    Task,
    Variant,
    hookimpl,
)
from m3u8svc_example.choices import at_most, leading
from m3u8svc_example.journal import Journal
from m3u8svc_example.merger import ListMerger
from m3u8svc_example.options import read_configuration, read_options

NAME = "example"


class Plugin:
    """
    One object per service. A plain `def` hook runs in a thread of the plugin, an `async def` on the reactor.
    """

    # -- own: once per plugin

    @hookimpl
    def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """Before any other hook. Raise ConfigError when the table is wrong, NotConfigured to stay off."""
        self._configured = read_configuration(config)
        self._services = services
        self._journal = Journal(services.state_dir / "journal.jsonl")

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """What a request says to this plugin. Raise OptionError, and it is answered 400."""
        read_options(options)

    @hookimpl
    def close(self) -> None:
        """The service stops."""
        self._journal.close()

    # -- offer: at start

    @hookimpl
    def register_mergers(self) -> Iterable[Merger]:
        """A request chooses it with ``"merger": "list"``."""
        return [ListMerger(self._services.in_thread)]

    # -- ask: the first answer that is not None wins

    @hookimpl
    def choose_variant(self, master: MasterPlaylist, task: Task) -> Variant | None:
        """The best that is not higher than allowed; no opinion where nothing is said."""
        limit = read_options(task.options_for(NAME)).max_height or self._configured.max_height
        return None if limit is None else at_most(limit, master.variants)

    @hookimpl
    def provide_key(self, key: Key) -> bytes | None:
        """A key that the operator has."""
        return self._configured.keys.get(key.uri)

    # -- union: the answers of all are joined

    @hookimpl
    def skip_segments(self, segments: Sequence[Segment], task: Task) -> Iterable[Skip] | None:
        """The beginning, as long as the request says."""
        return leading(read_options(task.options_for(NAME)).skip_first_s, segments)

    # -- pipeline: each may change the value that is passed on

    @hookimpl
    def prepare_request(self, request: Request) -> Request | None:
        """The configured headers, where the request does not have them."""
        present = {name.lower() for name, _ in request.headers}
        more = tuple((name, value) for name, value in self._configured.headers.items() if name.lower() not in present)
        return attrs.evolve(request, headers=request.headers + more) if more else None

    # -- tell: the answer is ignored

    @hookimpl
    def segment_finished(self, outcome: SegmentOutcome, task: Task) -> None:
        """Called for every segment: be quick."""
        self._journal.count(task.id, outcome)

    @hookimpl
    def task_changed(self, task: Task, event_id: int) -> None:
        """At least once for each transition: after a crash an event may come again."""
        self._journal.note(task, event_id)
