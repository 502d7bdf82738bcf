"""
What a request and the configuration may say, and the command lines that come of it. No process is started.
"""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3u8svc_merge_ffmpeg.options import FORMATS, PRESETS, Options, Rules, command_arguments, parse_options
from m3u8svc_merge_ffmpeg.settings import FfmpegSettings, parse_settings

from m3u8svc.plugin import ConfigError, OptionError

TARGET = Path("/save/-i http:.part.mkv")
ENCODED = {"format": "mp4", "preset": "h264-720p"}

ORACLE = {
    "-crf": r"\d{1,2}",
    "-b:v": r"\d+k",
    "-maxrate": r"\d+k",
    "-bufsize": r"\d+k",
    "-r": r"\d{1,3}",
    "-g": r"\d{1,4}",
    "-preset": r"[a-z]+",
    "-tune": r"[a-z]+",
    "-threads": r"\d{1,2}",
    "-b:a": r"\d+k",
    "-ac": r"[126]",
    "-ar": r"\d{5}",
    "-tag:v": r"(hvc1|hev1|avc1)",
    "-movflags": r"\+faststart",
    "-metadata": r"(title|artist|album|album_artist|comment|copyright|date|description|genre|show|track)=[^\x00-\x1f]*",
    "-metadata:s:v:0": r"language=[a-z]{3}",
    "-metadata:s:a:0": r"language=[a-z]{3}",
}
"""The allow-list written down a second time."""


def command(options: Options, **more: Any) -> tuple[str, ...]:
    """The arguments for these options."""
    given: dict[str, Any] = {"input_format": "mpegts", "faststart": False, "file_time": None, "progress_fd": 3} | more
    return command_arguments(options, target=TARGET, **given)


def english(options: Any) -> str:
    """The text of the refusal in English."""
    with pytest.raises(OptionError) as caught:
        parse_options(options, Rules())
    return caught.value.text("en")


def refusal(options: Any, rules: Rules | None = None) -> str:
    """The text of the refusal."""
    with pytest.raises(OptionError) as caught:
        parse_options(options, rules or Rules())
    return caught.value.text()


# -- Requests --------------------------------------------------------------------------------------------------------


def test_nothing_asked_is_a_copy_to_mkv() -> None:
    """An empty object copies into Matroska."""
    options = parse_options({}, Rules())
    assert Options(format="mkv", preset="copy", args=()) == options
    assert ".mkv" == options.target.extension


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", FORMATS)
def test_formats_and_presets_fit_or_are_refused(name: str, preset: str) -> None:
    """Each combination either makes a command line for that muxer, or is refused naming what fits."""
    if name in PRESETS[preset].formats:
        line = command(parse_options({"format": name, "preset": preset}, Rules()))
        assert ("-f", FORMATS[name].muxer, f"file:{TARGET}") == line[-3:]
    else:
        assert f"“{preset}”不能用于 {name}，只能用于" in refusal({"format": name, "preset": preset})


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ([], "", "应为对象"),
        ({"fromat": "mkv"}, "fromat", "是否为“format”"),
        ({"format": "avi"}, "format", "可用：mkv、mp4、ts、mp3、m4a"),
        ({"format": 3}, "format", "“3”不可用"),
        ({"preset": "h264-720"}, "preset", "是否为“h264-720p”"),
        ({"preset": ["copy"]}, "preset", "不可用"),
        ({"args": "-crf 20"}, "args", "应为字符串列表"),
        ({"args": ["-crf", 20]}, "args[1]", "应为字符串，实为 int"),
        ({"args": ["-metadata", "title=x"] * 21}, "args", "最多 40 项"),
        ({"args": ["-i", "http://example.test/a.ts"]}, "args[0]", "不允许的参数“-i”"),
        ({"args": ["/etc/passwd"]}, "args[0]", "不允许的参数"),
        ({"args": ["-filter_complex", "movie=/etc/passwd"]}, "args[0]", "不允许的参数“-filter_complex”"),
        ({"args": ["-metadata"]}, "args[0]", "缺少值"),
        ({"args": ["-metadata", "title=a\nb"]}, "args[1]", "控制字符"),
        ({"args": ["-metadata", "x=y"]}, "args[1]", "应为 <标签>=<文字>"),
        ({"args": ["-crf", "20"]}, "args[1]", "只能用于重新编码视频的 preset"),
        ({"args": ["-b:a", "96k"]}, "args[1]", "只能用于重新编码音频的 preset"),
        ({"args": ["-movflags", "+faststart"]}, "args[1]", "只能用于 mp4、m4a"),
        (ENCODED | {"args": ["-crf", "52"]}, "args[1]", "应为 0 到 51 的整数"),
        (ENCODED | {"args": ["-crf", "٣"]}, "args[1]", "应为 0 到 51 的整数"),
        (ENCODED | {"args": ["-crf", "20", "-crf", "21"]}, "args[2]", "重复"),
        (ENCODED | {"args": ["-movflags", "+faststart+use_metadata_tags"]}, "args[1]", "可用：+faststart"),
        (ENCODED | {"args": ["-b:v", "2M"]}, "args[1]", "应为 50k 到 100000k"),
    ],
)
def test_wrong_options_are_named(options: Any, path: str, words: str) -> None:
    """A refusal names the option or the argument, and what is allowed."""
    text = refusal(options)
    assert f"解析请求失败：{path}：" in text
    assert not re.search("[\u4e00-\u9fff]", english(options))
    assert words in text


def test_what_the_operator_or_the_program_lacks_is_said() -> None:
    """A preset that exists but cannot be used here says why."""
    rules = Rules(presets=("copy",), refused={"h264-720p": "此 ffmpeg 没有编码器 libx264"})
    assert "“h264-720p”不可用：此 ffmpeg 没有编码器 libx264" in refusal({"preset": "h264-720p"}, rules)


def test_several_tags_may_be_set() -> None:
    """-metadata may come again, with each of its values."""
    args = ["-metadata", "title=a", "-metadata", "artist=b"]
    assert tuple(args) == parse_options({"args": args}, Rules()).args


words = st.one_of(
    st.sampled_from([*ORACLE, "-i", "-f", "-vf", "-y", "-protocol_whitelist", "-filter_script", "-attach", "-map"]),
    st.sampled_from(["20", "128k", "title=x", "language=eng", "+faststart", "medium", "/etc/passwd", "concat:a|b"]),
    st.text(max_size=12),
    st.from_regex(r"-?[a-z:]{1,12}=?[0-9k]{0,4}", fullmatch=True),
)


@given(
    args=st.lists(words, max_size=8),
    name=st.sampled_from(list(FORMATS)),
    preset=st.sampled_from(list(PRESETS)),
    input_format=st.sampled_from(["mpegts", "mp4", "aac"]),
)
def test_no_request_makes_an_argument_outside_the_list(
    args: list[str], name: str, preset: str, input_format: str
) -> None:
    """Whatever a request says: one input, the pipe; one output, the target; and pairs of the allow-list."""
    try:
        options = parse_options({"format": name, "preset": preset, "args": args}, Rules())
    except OptionError:
        return
    plain = command(Options(format=name, preset=preset), input_format=input_format)
    line = command(options, input_format=input_format)
    assert len(line) - len(plain) in (len(args), len(args) - 2)  # -r takes the place of -fps_mode
    assert list(line[-3 - len(args) : -3]) == args
    assert 1 == line.count("-i") and "pipe:0" == line[line.index("-i") + 1]
    for flag, value in zip(args[::2], args[1::2], strict=True):
        assert re.fullmatch(ORACLE[flag], value), (flag, value)


@given(
    args=st.lists(
        st.sampled_from([*ORACLE]).flatmap(
            lambda flag: st.from_regex(ORACLE[flag], fullmatch=True).map(lambda value: (flag, value))
        ),
        max_size=4,
        unique_by=lambda pair: pair[0],
    )
)
def test_every_allowed_argument_reaches_the_program(args: list[tuple[str, str]]) -> None:
    """What is accepted is handed on unchanged, in order, before the output."""
    flat = [word for pair in args for word in pair]
    try:
        options = parse_options(ENCODED | {"args": flat}, Rules())
    except OptionError as error:
        assert "的值" in error.text()
        return
    assert flat == list(command(options)[-3 - len(flat) : -3])


def test_the_input_is_a_pipe_and_nothing_else_may_be_opened() -> None:
    """The pipe is the only protocol allowed before the input, and its format is forced."""
    line = command(Options())
    before = line[: line.index("-i")]
    assert "pipe" == before[before.index("-protocol_whitelist") + 1]
    assert "mpegts" == before[before.index("-f") + 1]
    assert "-nostdin" in before


# -- Configuration ---------------------------------------------------------------------------------------------------


def test_an_empty_table_is_the_defaults() -> None:
    """Nothing has to be configured."""
    assert FfmpegSettings() == parse_settings({})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"max_childs": 2}, "max_childs: there is no such key; did you mean 'max_children'?"),
        ({"x": 2}, "x: there is no such key; known are ffmpeg,"),
        ({"max_children": 0}, "max_children: 0 is not a whole number from 1 to 16"),
        ({"max_children": True}, "max_children: True is not a whole number"),
        ({"nice": "5"}, "nice: '5' is not a whole number from 0 to 19"),
        ({"ffmpeg": ""}, "ffmpeg: '' is not a program"),
        ({"ffmpeg": "bin/ffmpeg"}, "ffmpeg: 'bin/ffmpeg' is a relative path"),
        ({"presets": "copy"}, "presets: 'copy' is not a list"),
        ({"presets": []}, "presets: [] is not a list"),
        ({"presets": ["cop"]}, "presets: there is no preset 'cop'; did you mean 'copy'?"),
        ({"silence_s": 1}, "silence_s: 1 is not a whole number from 5 to 3600"),
        ({"memory_mb": 1}, "memory_mb: 1 is not a whole number"),
    ],
)
def test_wrong_settings_stop_the_start(config: Any, words: str) -> None:
    """A configuration error names the key, the value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(config)
    assert f"plugins.merge-ffmpeg.{words}" in caught.value.text("en")


def test_the_manual_names_everything() -> None:
    """Each key, format, preset and argument is in the README."""
    manual = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in (*attrs.fields_dict(FfmpegSettings), *FORMATS, *ORACLE):
        assert f"`{name}`" in manual, name
    for name in PRESETS:
        assert f"`{name}`" in manual or f"`-{name.rpartition('-')[2]}`" in manual, name
