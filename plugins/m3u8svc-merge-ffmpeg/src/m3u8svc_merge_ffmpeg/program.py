"""
The ffmpeg program on this machine: where it is and what it can encode. Blocking: for `configure` only.
"""

import os
import re
import shutil
import subprocess

import attrs

from m3u8svc.plugin import NotConfigured, Said
from m3u8svc_merge_ffmpeg.options import PRESETS, Rules
from m3u8svc_merge_ffmpeg.settings import FfmpegSettings

ASK_S = 4.0
"""Less than a hook's deadline."""
_NOT_ALLOWED = Said("配置（presets）未允许", "the configuration (presets) does not allow it")


@attrs.frozen(kw_only=True)
class Program:
    """
    `ffprobe` is "" when there is none beside it or on PATH.
    """

    ffmpeg: str
    ffprobe: str
    version: str
    encoders: frozenset[str] = attrs.field(repr=False)

    def rules(self, settings: FfmpegSettings) -> Rules:
        """
        Which presets requests may name: those the operator allows and this program can carry out.
        """
        refused: dict[str, str] = {name: _NOT_ALLOWED for name in PRESETS if name not in settings.presets}
        for name in settings.presets:
            lacking = [encoder for encoder in PRESETS[name].encoders if encoder not in self.encoders]
            if lacking:
                refused[name] = Said(
                    f"此 ffmpeg 没有编码器 {'、'.join(lacking)}", f"this ffmpeg has no encoder {', '.join(lacking)}"
                )
        return Rules(presets=tuple(name for name in settings.presets if name not in refused), refused=refused)


def find_program(settings: FfmpegSettings) -> Program:
    """
    The program these settings name.

    Raises:
        NotConfigured: it is not there, or does not answer.
    """
    found = shutil.which(settings.ffmpeg)
    if found is None:
        where = "" if os.path.isabs(settings.ffmpeg) else " on PATH"
        raise NotConfigured(
            reason=f"there is no program {settings.ffmpeg!r}{where}: install ffmpeg, or set its path as "
            "ffmpeg in [plugins.merge-ffmpeg]"
        )
    ffmpeg = os.path.abspath(found)
    version = re.match(r"ffmpeg version (\S+)", _ask(ffmpeg, "-version"))
    if version is None:
        raise NotConfigured(reason=f"{ffmpeg} does not answer as ffmpeg does")
    encoders = frozenset(re.findall(r"^ [VAS][A-Z.]{5} (\S+)", _ask(ffmpeg, "-encoders"), re.MULTILINE))
    beside = os.path.join(os.path.dirname(ffmpeg), "ffprobe")
    ffprobe = shutil.which(beside) or shutil.which("ffprobe") or ""
    return Program(ffmpeg=ffmpeg, ffprobe=ffprobe, version=version[1], encoders=encoders)


def _ask(ffmpeg: str, question: str) -> str:
    try:
        ran = subprocess.run(
            [ffmpeg, "-hide_banner", question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_S / 2,
            check=True,
            env={"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise NotConfigured(reason=f"{ffmpeg} {question} does not answer within {ASK_S / 2:.0f} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotConfigured(reason=f"{ffmpeg} cannot be run: {error}") from error
    return ran.stdout.decode("utf-8", "replace")
