"""
The merger "ffmpeg": the ffmpeg program makes the result, as Matroska, MP4, MPEG-TS, MP3 or M4A.

Only the hooks are here. `settings` and `options` decide what is allowed, `timeline` and `feed` what ffmpeg is given,
`child` and `merger` run it.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # Any: a plugin's configuration and options are its own

from m3u8svc.plugin import Merger, Services, hookimpl

__version__ = "0.1.0"


class Plugin:
    """
    Off without an ffmpeg to run.
    """

    @hookimpl
    def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """
        Find the program and ask it what it can encode.
        """
        from m3u8svc_merge_ffmpeg.merger import FfmpegMerger
        from m3u8svc_merge_ffmpeg.program import find_program
        from m3u8svc_merge_ffmpeg.settings import parse_settings

        settings = parse_settings(config)
        program = find_program(settings)
        self._rules = program.rules(settings)
        self._merger = FfmpegMerger(program=program, settings=settings, rules=self._rules, services=services)

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        Whether these make a command line.
        """
        from m3u8svc_merge_ffmpeg.options import parse_options

        parse_options(options, self._rules)

    @hookimpl
    def register_mergers(self) -> Iterable[Merger]:
        """
        The one record.
        """
        return [self._merger]
