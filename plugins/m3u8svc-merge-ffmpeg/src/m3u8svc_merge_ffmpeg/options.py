"""
A request's side: format, preset, extra arguments -> a command line. Pure; the one place where arguments are made.

Nothing of a request is ever handed on as it is unless a rule of its own has looked at it: a flag is one of `_RULES`,
its value is what that rule accepts, and no rule accepts a file, a URL, a filter or another flag. Inputs are a pipe,
the output is the path the service named.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any  # Any: what JSON can hold

import attrs

from m3u8svc.plugin import OptionError, Said

MOST_ARGS = 40
MOST_TEXT = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@attrs.frozen(kw_only=True)
class Format:
    """
    One kind of result: its extension, ffmpeg's muxer, whether it holds pictures, whether it is of the MP4 family.
    """

    extension: str
    muxer: str
    video: bool
    mp4_family: bool = False


@attrs.frozen(kw_only=True)
class Preset:
    """
    What happens to the streams: arguments, the encoders they need, the formats they fit.
    """

    formats: tuple[str, ...]
    arguments: tuple[str, ...]
    encoders: tuple[str, ...] = ()
    encodes_video: bool = False
    encodes_audio: bool = False


FORMATS: Mapping[str, Format] = {
    "mkv": Format(extension=".mkv", muxer="matroska", video=True),
    "mp4": Format(extension=".mp4", muxer="mp4", video=True, mp4_family=True),
    "ts": Format(extension=".ts", muxer="mpegts", video=True),
    "mp3": Format(extension=".mp3", muxer="mp3", video=False),
    "m4a": Format(extension=".m4a", muxer="ipod", video=False, mp4_family=True),
}


def _h264(height: int, crf: int, audio_rate: str) -> Preset:
    """
    Never larger than the source; even sizes, as 4:2:0 needs. The lookahead keeps pace with the encoder: where it runs
    ahead in a thread of its own, one of eight encodings of the same parts came out otherwise by a few bytes.
    """
    return Preset(
        formats=("mkv", "mp4", "ts"),
        arguments=(
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-pix_fmt", "yuv420p"),
            *("-x264-params", "sync-lookahead=0"),
            *("-vf", rf"scale=-2:min({height}\,trunc(ih/2)*2)"),
            *("-c:a", "aac", "-b:a", audio_rate),
        ),
        encoders=("libx264", "aac"),
        encodes_video=True,
        encodes_audio=True,
    )


def _audio(formats: tuple[str, ...], encoder: str, rate: str) -> Preset:
    return Preset(formats=formats, arguments=("-c:a", encoder, "-b:a", rate), encoders=(encoder,), encodes_audio=True)


PRESETS: Mapping[str, Preset] = {
    "copy": Preset(formats=tuple(FORMATS), arguments=("-c", "copy")),
    "h264-1080p": _h264(1080, 22, "160k"),
    "h264-720p": _h264(720, 23, "128k"),
    "h264-480p": _h264(480, 24, "128k"),
    "h264-small": _h264(480, 28, "96k"),
    "audio-mp3-320": _audio(("mp3",), "libmp3lame", "320k"),
    "audio-mp3-192": _audio(("mp3",), "libmp3lame", "192k"),
    "audio-mp3-128": _audio(("mp3",), "libmp3lame", "128k"),
    "audio-aac-192": _audio(("m4a",), "aac", "192k"),
    "audio-aac-128": _audio(("m4a",), "aac", "128k"),
}


@attrs.frozen(kw_only=True)
class Rules:
    """
    Which presets a request may name, and why the others not.
    """

    presets: tuple[str, ...] = tuple(PRESETS)
    refused: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Options:
    """
    What one request asks for, checked.
    """

    format: str = "mkv"
    preset: str = "copy"
    args: tuple[str, ...] = ()
    """Flags and values, all of them looked at by their own rule."""

    @property
    def target(self) -> Format:
        """The format's record."""
        return FORMATS[self.format]


def parse_options(options: Mapping[str, Any], rules: Rules) -> Options:
    """
    A request's object, checked.

    Raises:
        OptionError: it names the key or the argument, and what is allowed.
    """
    if not isinstance(options, Mapping):
        kind = type(options).__name__
        raise OptionError(path="", reason=Said(f"应为对象，实为 {kind}", f"must be an object, is {kind}"))
    for key in options:
        if key not in ("format", "preset", "args"):
            near = difflib.get_close_matches(str(key), ("format", "preset", "args"), n=1)
            hint = _meant(near) if near else Said("，可用：format、preset、args", "; there are format, preset, args")
            raise OptionError(path=str(key), reason=Said(f"没有这个选项{hint}", f"there is no such option{hint.en}"))
    format_name = _one_of(options.get("format", "mkv"), "format", FORMATS)
    preset_name = options.get("preset", "copy")
    if isinstance(preset_name, str) and preset_name in rules.refused:
        why = rules.refused[preset_name]
        raise OptionError(
            path="preset",
            reason=Said(f"“{preset_name}”不可用：{why}", f"“{preset_name}” cannot be used: {getattr(why, 'en', why)}"),
        )
    preset_name = _one_of(preset_name, "preset", rules.presets)
    preset = PRESETS[preset_name]
    if format_name not in preset.formats:
        fitting = _listed(preset.formats)
        raise OptionError(
            path="preset",
            reason=Said(
                f"“{preset_name}”不能用于 {format_name}，只能用于 {fitting}",
                f"“{preset_name}” is not for {format_name}, only for {fitting.en}",
            ),
        )
    args = _checked_args(options.get("args", []), FORMATS[format_name], preset)
    return Options(format=format_name, preset=preset_name, args=args)


def command_arguments(
    options: Options, *, input_format: str, target: Path, faststart: bool, file_time: float | None, progress_fd: int
) -> tuple[str, ...]:
    """
    Everything after the program's name. The output is bit-exact for equal input: nothing asks the clock, nothing is
    random.
    """
    to = options.target
    arguments = [
        *("-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-progress", f"pipe:{progress_fd}"),
        # The pipe and nothing else may be read, whatever the media says.
        *("-protocol_whitelist", "pipe", "-fflags", "+genpts"),
        *("-analyzeduration", "30M", "-probesize", "32M"),
        # `timeline` has joined the clocks: a jump ahead is a hole that is meant, however long.
        *("-dts_delta_threshold", "86400"),
        *("-f", input_format, "-i", "pipe:0"),
        *(("-map", "0:v?", "-map", "0:a?") if to.video else ("-map", "0:a:0", "-vn")),
        *(
            "-sn",
            "-dn",
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
            "-flags:v",
            "+bitexact",
            "-flags:a",
            "+bitexact",
        ),
        *("-max_muxing_queue_size", "4096"),
        *PRESETS[options.preset].arguments,
    ]
    if PRESETS[options.preset].encodes_video and "-r" not in options.args:
        arguments += ["-fps_mode", "vfr"]  # each picture once: a hole is not filled with copies
    if file_time is not None:
        arguments += ["-metadata", f"creation_time={datetime.fromtimestamp(file_time, UTC):%Y-%m-%dT%H:%M:%SZ}"]
    if faststart and to.mp4_family and "-movflags" not in options.args:
        arguments += ["-movflags", "+faststart"]
    # With "file:" in front no name can be taken for a protocol or a flag.
    return (*arguments, *options.args, "-f", to.muxer, f"file:{target}")


# -- Extra arguments -------------------------------------------------------------------------------------------------

_Rule = Callable[[str, Format, Preset], Said | None]
"""What is wrong with a value, None when nothing is."""


def _number(least: int, most: int, *, video: bool) -> _Rule:
    def check(value: str, to: Format, preset: Preset) -> Said | None:
        if problem := _needs_encoding(preset, video=video):
            return problem
        fits = re.fullmatch(r"[0-9]{1,6}", value) and least <= int(value) <= most
        return None if fits else Said(f"应为 {least} 到 {most} 的整数", f"must be an integer from {least} to {most}")

    return check


def _rate(least_k: int, most_k: int, *, video: bool) -> _Rule:
    def check(value: str, to: Format, preset: Preset) -> Said | None:
        if problem := _needs_encoding(preset, video=video):
            return problem
        fits = re.fullmatch(r"[1-9][0-9]{0,5}k", value) and least_k <= int(value[:-1]) <= most_k
        return None if fits else Said(f"应为 {least_k}k 到 {most_k}k", f"must be from {least_k}k to {most_k}k")

    return check


def _word(*words: str, video: bool | None = None, mp4_family: bool = False) -> _Rule:
    def check(value: str, to: Format, preset: Preset) -> Said | None:
        if video is not None and (problem := _needs_encoding(preset, video=video)):
            return problem
        if mp4_family and not to.mp4_family:
            return Said("只能用于 mp4、m4a", "is for mp4 and m4a only")
        fitting = _listed(words)
        return None if value in words else Said(f"可用：{fitting}", f"could be {fitting.en}")

    return check


_TAGS = (
    "title",
    "artist",
    "album",
    "album_artist",
    "comment",
    "copyright",
    "date",
    "description",
    "genre",
    "show",
    "track",
)


def _metadata(value: str, to: Format, preset: Preset) -> Said | None:
    key, equals, text = value.partition("=")
    if not equals or key not in _TAGS:
        tags = _listed(_TAGS)
        return Said(f"应为 <标签>=<文字>，标签可用：{tags}", f"is written <tag>=<text>, the tag one of {tags.en}")
    if len(text) > MOST_TEXT or _CONTROL.search(text) or not text.isprintable():
        return Said(
            f"文字最多 {MOST_TEXT} 个字符，不得含控制字符",
            f"at most {MOST_TEXT} characters, without control characters",
        )
    return None


def _language(value: str, to: Format, preset: Preset) -> Said | None:
    if re.fullmatch(r"language=[a-z]{3}", value):
        return None
    return Said(
        "应为 language=<三个小写字母>，如 language=eng",
        "is written language=<three small letters>, such as language=eng",
    )


def _needs_encoding(preset: Preset, *, video: bool) -> Said | None:
    if not (preset.encodes_video if video else preset.encodes_audio):
        what = Said("视频", "video") if video else Said("音频", "audio")
        return Said(f"只能用于重新编码{what}的 preset", f"is for presets that encode {what.en} anew only")
    return None


_RULES: Mapping[str, _Rule] = {
    "-crf": _number(0, 51, video=True),
    "-b:v": _rate(50, 100_000, video=True),
    "-maxrate": _rate(50, 200_000, video=True),
    "-bufsize": _rate(50, 400_000, video=True),
    "-r": _number(1, 120, video=True),
    "-g": _number(1, 1000, video=True),
    "-preset": _word("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", video=True),
    "-tune": _word("film", "animation", "grain", "stillimage", video=True),
    "-threads": _number(1, 64, video=True),
    "-b:a": _rate(16, 512, video=False),
    "-ac": _word("1", "2", "6", video=False),
    "-ar": _word("22050", "32000", "44100", "48000", video=False),
    "-tag:v": _word("hvc1", "hev1", "avc1", mp4_family=True),
    "-movflags": _word("+faststart", mp4_family=True),
    "-metadata": _metadata,
    "-metadata:s:v:0": _language,
    "-metadata:s:a:0": _language,
}
"""The allow-list: each flag takes exactly one value."""
_REPEATABLE = ("-metadata",)
_NO_LIST = Said('应为字符串列表，如 ["-crf", "20"]', 'must be a list of strings, such as ["-crf", "20"]')


def _checked_args(value: object, to: Format, preset: Preset) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise OptionError(path="args", reason=_NO_LIST)
    if len(value) > MOST_ARGS:
        count = len(value)
        raise OptionError(
            path="args",
            reason=Said(f"最多 {MOST_ARGS} 项，实为 {count}", f"at most {MOST_ARGS}, there are {count}"),
        )
    for index, each in enumerate(value):
        if not isinstance(each, str):
            kind = type(each).__name__
            raise OptionError(
                path=f"args[{index}]", reason=Said(f"应为字符串，实为 {kind}", f"must be a string, is {kind}")
            )
    for index in range(0, len(value), 2):
        _check_pair(value, index, to, preset)
    return tuple(value)


def _check_pair(args: Sequence[str], index: int, to: Format, preset: Preset) -> None:
    flag = args[index]
    rule = _RULES.get(flag)
    if rule is None:
        allowed = _listed(_RULES)
        raise OptionError(
            path=f"args[{index}]",
            reason=Said(
                f"不允许的参数“{_shown(flag)}”，可用：{allowed}",
                f"the argument “{_shown(flag)}” is not allowed; it could be {allowed.en}",
            ),
        )
    if index + 1 >= len(args):
        raise OptionError(
            path=f"args[{index}]", reason=Said(f"参数“{flag}”缺少值", f"the argument “{flag}” needs a value")
        )
    if flag not in _REPEATABLE and flag in args[0:index:2]:
        raise OptionError(
            path=f"args[{index}]", reason=Said(f"参数“{flag}”重复", f"the argument “{flag}” is there twice")
        )
    if problem := rule(args[index + 1], to, preset):
        value = _shown(args[index + 1])
        raise OptionError(
            path=f"args[{index + 1}]",
            reason=Said(f"“{flag}”的值“{value}”不可用：{problem}", f"“{value}” is no value for “{flag}”: {problem.en}"),
        )


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _one_of(value: object, path: str, known: Iterable[str]) -> str:
    names = tuple(known)
    if isinstance(value, str) and value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1)
    shown, hint, fitting = _shown(str(value)), _meant(near), _listed(names)
    raise OptionError(
        path=path,
        reason=Said(
            f"“{shown}”不可用{hint}，可用：{fitting}", f"“{shown}” cannot be used{hint.en}; it could be {fitting.en}"
        ),
    )


def _meant(near: Sequence[str]) -> Said:
    """What may have been meant, as a part of a line; "" where nothing is like it."""
    return Said(f"，是否为“{near[0]}”？", f"; is “{near[0]}” meant?") if near else Said("", "")


def _listed(names: Iterable[str]) -> Said:
    each = list(names)
    return Said("、".join(each), ", ".join(each))
