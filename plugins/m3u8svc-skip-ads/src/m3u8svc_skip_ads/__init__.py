"""
The plugin "skip-ads" of m3u8svc: leaves out segments that are adverts. See README.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # configuration and options are whatever somebody wrote

from m3u8svc.plugin import MediaPlaylist, Note, SegmentGroup, Services, Skip, Task, hookimpl


class Plugin:
    """
    Judges playlists of tasks that ask for it, or of all when the configuration says so.
    """

    @hookimpl
    def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """
        What tasks get that say nothing.
        """
        from m3u8svc_skip_ads.options import read_configuration

        self._defaults = read_configuration(config)
        self._services = services

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        Refuse what cannot be done.
        """
        from m3u8svc_skip_ads.options import read_options

        read_options(options, self._defaults)

    @hookimpl
    async def skip_segments(
        self, groups: tuple[SegmentGroup, ...], playlist: MediaPlaylist, task: Task
    ) -> Iterable[Skip | Note] | None:
        """
        The adverts, and what their judgement lacked; None for a task that does not want this.
        """
        from m3u8svc_skip_ads.judging import judge
        from m3u8svc_skip_ads.options import NAME, read_options

        given = task.options_for(NAME)
        options = read_options(given, self._defaults) if given else self._defaults
        if options.idle:
            return None
        return await judge(groups, playlist.trailing_marks, options, self._services, task.id)
