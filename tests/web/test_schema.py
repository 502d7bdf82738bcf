"""
The door: every field, right and wrong, and everything wrong at once.
"""

import json
import re
from contextlib import suppress
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3u8svc.errors import InvalidRequest, MissingTaskId, TaskNotFound
from m3u8svc.tasks.queue import LAST
from m3u8svc.tasks.search import Search, Sort
from m3u8svc.tasks.task import SETTING_NAMES, Extensions, Settings, Status, SystemSettings, TaskChange
from m3u8svc.web.queries import parse_files, parse_list_query, parse_task_id
from m3u8svc.web.schema import parse_change, parse_settings, parse_task

STATES = "|".join(status.value for status in Status)


def chinese_in(text):
    """
    The Chinese that a text has besides quoted values and the names of states.
    """
    return re.findall("[\u3000-\u9fff\uff00-\uffef]+", re.sub(rf"“[^”]*”|{STATES}", "", text))


LEAST = {"url": "https://a.example/i.m3u8", "filename": "film"}


def encoded(**fields):
    return json.dumps(fields).encode()


def problems_of(read, body):
    """
    What is said in Chinese; the English says it in English, but for what was sent and the names of states.
    """
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert not chinese_in(caught.value.text("en")), caught.value.text("en")
    return caught.value.text()


def test_task_with_the_least():
    """Two fields make a task; nothing else is given and nothing is warned of."""
    draft = parse_task(encoded(**LEAST))
    assert ("https://a.example/i.m3u8", "film", {}, False, {}, Extensions(), ()) == (
        draft.url,
        draft.filename,
        dict(draft.headers),
        draft.advanced,
        dict(draft.given),
        draft.spec(SystemSettings()).extensions,
        draft.warnings,
    )


def test_task_with_everything():
    """Every field of the seed, and ours, arrives under its name."""
    every_setting = {
        "save_location": "/srv/films",
        "temp_directory": "~/tmp",
        "download_threads": 16.0,
        "skip_ts_info": "1,92-100",
        "keep_ts_files": True,
        "no_merge_ts": True,
        "log_skipped_ts": True,
        "allow_insecure_https": True,
        "proxy_type": "socks5",
        "proxy_host": "proxy.example",
        "proxy_port": 1080,
        "proxy_username": "me",
        "proxy_password": "secret",
        "use_server_file_time": True,
        "debug_log": True,
    }
    assert list(SETTING_NAMES) == list(every_setting)
    ours = {"merger": "ts", "storage": "disk", "faststart": True, "allow_gaps": True}
    ours |= {
        "variant": "height<=720",
        "audio": "en,fr",
        "subtitles": "all",
        "subtitle_files": "vtt,srt",
        "groups": "1,3-5",
        "key": "00112233445566778899aabbccddeeff",
        "iv": "0f",
        "append_query": "a=b",
        "base_url": "https://cdn.example/x/",
        "on_param_change": "split",
        "low_disk": True,
        "report": True,
        "header_hosts": ("cdn.example", "*.example.org:8443"),
        "limit_rate": 2_000_000,
    }
    headers = {"X-One": ["a", "b"], "X-Two": "c"}
    body = encoded(**LEAST, advanced=True, use_http_headers=True, http_headers=headers, **every_setting, **ours)
    draft = parse_task(body)
    assert Settings(**every_setting) == draft.spec(SystemSettings()).settings
    assert {"X-One": ("a", "b"), "X-Two": ("c",)} == dict(draft.headers)
    extensions = draft.spec(SystemSettings()).extensions
    assert set(ours) | {"plugins"} == {field.name for field in attrs.fields(Extensions)}
    assert Extensions(**(ours | {"iv": "0f".zfill(32)})) == extensions
    assert () == draft.warnings


WRONG = [
    ({"url": 7}, "url: 必须是字符串（7）"),
    ({"url": None}, "url: 必须是字符串（null）"),
    ({"url": "  "}, "url: 不能为空"),
    ({"url": "ftp://a.example/x"}, "url: 必须以 http:// 或 https:// 开头"),
    ({"url": "file:///etc/passwd"}, "url: 必须以 http://"),
    ({"url": "a.example/x.m3u8"}, "url: 必须以 http://"),
    ({"url": "https:///x"}, "url: 链接中没有有效的主机名"),
    ({"url": "https://a.example:0/x"}, "url: 链接中没有有效的主机名"),
    ({"url": "https://a.example:99999/x"}, "url: 不是有效的链接"),
    ({"url": "https://[::1/x"}, "url: 不是有效的链接"),
    ({"url": "https://a b/x"}, "url: 链接中没有有效的主机名"),
    ({"url": f"https://{'a' * 64}.example/x"}, "url: 链接中没有有效的主机名"),
    ({"url": f"https://{'媒' * 60}.example/x"}, "url: 链接中没有有效的主机名"),
    ({"url": "https://a..example/x"}, "url: 链接中没有有效的主机名"),
    ({"url": "https://-/x"}, "url: 链接中没有有效的主机名"),
    ({"url": "https://a.example/x\r\nHost: b"}, "url: 含有控制字符"),
    ({"url": "https://a.example\\@b.example/"}, "url: 含有控制字符或反斜杠"),
    ({"url": "https://a.example/" + "x" * 8192}, "url: 超过 8192 字节"),
    ({"filename": None}, "filename: 必须是字符串"),
    ({"filename": ["a"]}, "filename: 必须是字符串（数组）"),
    ({"filename": "../x"}, "filename: 不能含有 / \\ :"),
    ({"filename": "a\\b"}, "filename: 不能含有"),
    ({"filename": "a:b"}, "filename: 不能含有"),
    ({"filename": ".."}, "filename: 不能以 - 或 . 开头"),
    ({"filename": "-rf"}, "filename: 不能以 - 或 . 开头"),
    ({"filename": ".hidden"}, "filename: 不能以"),
    ({"filename": "a."}, "filename: 不能以 . 或空格结尾"),
    ({"filename": "a "}, "filename: 不能以 . 或空格结尾"),
    ({"filename": "CON"}, "filename: 是系统保留名称"),
    ({"filename": "nul.mp4"}, "filename: 是系统保留名称"),
    ({"filename": "Com1 .txt"}, "filename: 是系统保留名称"),
    ({"filename": "a\nb"}, "filename: 不能含有控制字符"),
    ({"filename": "a\u202eb"}, "filename: 不能含有控制字符（“a\\u202eb”）"),
    ({"filename": "é" * 101}, "filename: 超过 200 字节"),
    ({"use_http_headers": 1}, "use_http_headers: 必须是 true 或 false（1）"),
    ({"http_headers": []}, "http_headers: 必须是对象"),
    ({"http_headers": {"X": 1}}, "http_headers: “X”的值必须是字符串列表"),
    ({"http_headers": {"X": [1]}}, "http_headers: “X”的值必须是字符串列表"),
    ({"http_headers": {"X": "a\r\nb"}}, "http_headers: "),
    ({"http_headers": {"X Y": "a"}}, "http_headers: "),
    ({"advanced": "true"}, "advanced: 必须是 true 或 false"),
    ({"save_location": "relative"}, "save_location: 必须是绝对路径"),
    ({"save_location": "/etc"}, "save_location: 是系统目录"),
    ({"save_location": "/dev/shm/../sda"}, "save_location: 是系统目录"),
    ({"save_location": "/tmp/../etc/cron.d"}, "save_location: 是系统目录"),
    ({"save_location": "//usr//share"}, "save_location: 是系统目录"),
    ({"save_location": "/"}, "save_location: 是系统目录"),
    ({"save_location": "~/../x"}, "save_location: 不能含有 .."),
    ({"save_location": "~root/x"}, "save_location: 必须是绝对路径"),
    ({"temp_directory": "/proc/self"}, "temp_directory: 是系统目录"),
    ({"temp_directory": False}, "temp_directory: 必须是字符串（false）"),
    ({"download_threads": "16"}, "download_threads: 必须是 0 到 1000 的整数（“16”）"),
    ({"download_threads": True}, "download_threads: 必须是 0 到 1000 的整数（true）"),
    ({"download_threads": 1.5}, "download_threads: 必须是 0 到 1000 的整数（1.5）"),
    ({"download_threads": -1}, "download_threads: 必须是"),
    ({"download_threads": 1001}, "download_threads: 必须是"),
    ({"skip_ts_info": "1,,2"}, "skip_ts_info: 解析跳过ts的表达式错误"),
    ({"skip_ts_info": 5}, "skip_ts_info: 必须是字符串（5）"),
    ({"skip_ts_info": "1," * 10_000}, "skip_ts_info: 超过 16384 个字符"),
    ({"keep_ts_files": 0}, "keep_ts_files: 必须是 true 或 false（0）"),
    ({"no_merge_ts": "yes"}, "no_merge_ts: 必须是"),
    ({"log_skipped_ts": {}}, "log_skipped_ts: 必须是 true 或 false（对象）"),
    ({"allow_insecure_https": None}, "allow_insecure_https: 必须是"),
    ({"use_server_file_time": 1}, "use_server_file_time: 必须是"),
    ({"debug_log": "x"}, "debug_log: 必须是"),
    ({"proxy_type": "socks5h"}, "proxy_type: 只支持 socks5"),
    ({"proxy_type": "socks4"}, "proxy_type: 只支持 socks5"),
    ({"proxy_type": "ssh"}, "proxy_type: 必须是 none、http、https、socks5 之一"),
    ({"proxy_host": "http://p.example"}, "proxy_host: 必须只是主机名"),
    ({"proxy_port": 65536}, "proxy_port: 必须是 0 到 65535 的整数"),
    ({"proxy_username": 1}, "proxy_username: 必须是字符串"),
    ({"proxy_password": "x" * 256}, "proxy_password: "),
    ({"merger": "avi"}, "merger: 必须是 mp4、ts、none 之一（“avi”）"),
    ({"storage": "s3"}, "storage: 必须是 disk 之一（“s3”）"),
    ({"faststart": "no"}, "faststart: 必须是"),
    ({"allow_gaps": 2}, "allow_gaps: 必须是"),
    ({"variant": "hight<=720"}, "variant: 第 1 个字符处的“hight”无法理解，可以是：height, width"),
    ({"variant": 720}, "variant: 必须是字符串（720）"),
    ({"variant": "b " * 600}, "variant: 第 1001 个字符处"),
    ({"audio": "none"}, "audio: 不能为 none"),
    ({"audio": "en,,fr"}, "audio: 第 4 个字符处"),
    ({"subtitles": "en,none"}, "subtitles: 第 4 个字符处的“none”"),
    ({"subtitles": True}, "subtitles: 必须是字符串（true）"),
    ({"subtitle_files": "ass"}, "subtitle_files: 第 1 个字符处的“ass”无法理解，可以是：vtt, srt, none（“ass”）"),
    ({"subtitle_files": "none,vtt"}, "subtitle_files: 第 1 个字符处的“none”"),
    ({"subtitle_files": ["vtt", 1]}, "subtitle_files: 必须是字符串或字符串列表（数组）"),
    ({"header_hosts": ["cdn.example", "*.com"]}, "header_hosts: “*.com”应写作 cdn.example、cdn.example:8443 或"),
    ({"header_hosts": ["https://cdn.example"]}, "header_hosts: “https://cdn.example”不是主机名"),
    ({"header_hosts": ["a.example"] * 65}, "header_hosts: 最多 64 项，实际 65 项"),
    ({"header_hosts": [1]}, "header_hosts: 必须是字符串"),
    ({"header_hosts": 1}, "header_hosts: 必须是字符串"),
    ({"groups": "1,x"}, "groups: 第 3 个字符处的“x”"),
    ({"groups": True}, "groups: 必须是字符串（true）"),
    ({"key": "0011"}, "key: 密钥应为 32 位十六进制数"),
    ({"key": 5}, "key: 必须是字符串"),
    ({"key": "***"}, "key: 新任务不能使用 ***"),
    ({"iv": "xyz"}, "iv: IV 应为"),
    ({"iv": "***"}, "iv: 新任务不能使用 ***"),
    ({"append_query": "a b=c"}, "append_query: 不能含有控制字符、空格"),
    ({"append_query": "a=b#c"}, "append_query: 不能含有"),
    ({"append_query": "token"}, "append_query: 应写作 a=b&c=d"),
    ({"append_query": 1}, "append_query: 必须是字符串"),
    ({"append_query": "a=" + "b" * 8192}, "append_query: 超过 8192 字节"),
    ({"base_url": "cdn.example"}, "base_url: 必须以 http://"),
    ({"base_url": "ftp://u:p@h/x?y"}, "base_url: 必须以 http:// 或 https:// 开头（“ftp://h/x?…”）"),
    ({"on_param_change": "cut"}, "on_param_change: 必须是 keep、split 之一"),
    ({"low_disk": "yes"}, "low_disk: 必须是 true 或 false"),
    ({"limit_rate": "2M"}, "limit_rate: 必须是 0（不限速）或 1024 到 1000000000000 的整数（字节/秒）（“2M”）"),
    ({"limit_rate": 1023}, "limit_rate: 必须是 0（不限速）或 1024 到"),
    ({"limit_rate": -1}, "limit_rate: 必须是 0（不限速）或 1024 到"),
    ({"limit_rate": 10**12 + 1}, "limit_rate: 必须是 0（不限速）或 1024 到"),
    ({"limit_rate": True}, "limit_rate: 必须是 0（不限速）或 1024 到"),
    ({"limit_rate": None}, "limit_rate: 必须是 0（不限速）或 1024 到"),
    ({"report": 1}, "report: 必须是 true 或 false"),
    ({"playlist": "http://h/x.m3u8"}, "playlist: 不是播放列表：应以 #EXTM3U 开头"),
    ({"playlist": ["#EXTM3U"]}, "playlist: 必须是字符串"),
    ({"playlist": "#EXTM3U" + "x" * 2**23}, "playlist: 超过 8388608 字节"),
]


@pytest.mark.parametrize(("field", "problem"), WRONG, ids=range(len(WRONG)))
def test_task_with_a_wrong_field(field, problem):
    """A wrong field is named with what is allowed, whether its switch is on or not."""
    for switch in ({}, {"advanced": True, "use_http_headers": True}):
        assert problem in problems_of(parse_task, encoded(**(LEAST | switch | field)))


@pytest.mark.parametrize(
    ("read", "body", "english"),
    [
        (
            parse_task,
            encoded(url="x", filename="a:b"),
            "url: must begin with http:// or https:// (“x”); filename: must not",
        ),
        (
            parse_task,
            encoded(**LEAST, header_hosts=["*.com"]),
            "header_hosts: “*.com” is written cdn.example, cdn.example:8",
        ),
        (parse_task, encoded(**LEAST, http_headers={"X Y": "", "Z": "\0"}), None),
        (
            parse_task,
            encoded(**LEAST, http_headers={"X Y": "a\n"}),
            "http_headers: the name “X Y” is not valid; the value of",
        ),
        (parse_task, encoded(**LEAST, base_url="h"), "base_url: must begin with http:// or https:// (“h”)"),
        (
            parse_task,
            encoded(**LEAST, key="0"),
            "key: a key is 32 hexadecimal digits, or the base64 of 16 bytes (1 char",
        ),
        (parse_task, encoded(**LEAST, variant="x"), "variant: at character 1"),
        (parse_change, b"{}", "status: is needed (or url, merge, repair"),
        (parse_change, encoded(colour=1), "unknown fields, ignored: colour"),
        (parse_settings, b"[]", "the body must be a JSON object"),
        (parse_list_query, {b"limit": [b"0"]}, "limit: must be a whole number from 1 to 1000 (“0”)"),
        (parse_files, {b"files": [b"1"]}, "files: must be true or false (“1”)"),
    ],
)
def test_a_wrong_field_in_english(read, body, english):
    """What is wrong, what is allowed and what was sent, without a word of the other language."""
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    said = caught.value.text("en")
    assert said.startswith("the request cannot be understood: ") and not chinese_in(said)
    assert english is None or english in said


def test_task_with_everything_wrong():
    """All wrong fields are told in one answer."""
    text = problems_of(parse_task, encoded(url="", download_threads=99999))
    assert "解析请求失败：" == text[:7]
    for problem in ("filename: 缺少必填字段", "download_threads: 必须是 0 到 1000 的整数（99999）", "url: 不能为空"):
        assert problem in text


def test_problems_are_told_one_after_the_other():
    """Each once, and nothing between them but a semicolon."""
    assert "解析请求失败：url: 不能为空（“”）; filename: 缺少必填字段" == problems_of(parse_task, encoded(url=""))
    wrong = encoded(status="x", merge="yes")
    assert 2 == len(problems_of(parse_change, wrong).split("; ")) and "XX" not in problems_of(parse_change, wrong)


@pytest.mark.parametrize(
    ("given", "shown"),
    [("x" * 60, "x" * 60), ("x" * 61, "x" * 59 + "…"), ("x\x1b", "x\\x1b"), (7, "7"), (None, "null")],
)
def test_a_wrong_value_is_shown_short(given, shown):
    """Long ones by their beginning, so that whoever sent it knows it again."""
    assert problems_of(parse_change, encoded(status=given)).endswith(
        f"（“{shown}”）" if isinstance(given, str) else f"（{shown}）"
    )


def test_task_names_known_elsewhere():
    """Mergers and storages are those the service has, plugins' ones among them."""
    body = encoded(**LEAST, merger="ffmpeg", storage="s3")
    draft = parse_task(body, mergers=("mp4", "ffmpeg"), storages=("disk", "s3"))
    assert ("ffmpeg", "s3") == (draft.extensions["merger"], draft.extensions["storage"])


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7"])
def test_task_that_is_no_object(body):
    """A body is an object."""
    assert "必须是 JSON 对象" in problems_of(parse_task, body)


SECRETS = [
    {"proxy_password": "hunter2\n"},
    {"proxy_username": "hunter2\n"},
    {"http_headers": {"Cookie": ["hunter2\r\n"]}},
    {"http_headers": {"Cookie": [["hunter2"]]}},
    {"http_headers": "Cookie: hunter2"},
    {"url": "ftp://me:hunter2@a.example/x?token=hunter2"},
    {"filename": "x/https://a.example/?token=hunter2"},
    {"key": "hunter2"},
    {"iv": "hunter2"},
    {"append_query": "token=hunter2 x"},
    {"base_url": "ftp://h/x?token=hunter2"},
    {"playlist": "hunter2"},
]


@pytest.mark.parametrize("field", SECRETS, ids=range(len(SECRETS)))
def test_secrets_in_wrong_fields(field):
    """An error never repeats a password, a header value or a token."""
    assert "hunter2" not in problems_of(parse_task, encoded(**(LEAST | field)))


def test_plugin_options():
    """Options of plugins are kept as they are, over those of the system settings, one plugin's as a whole."""
    draft = parse_task(encoded(**LEAST, plugins={"a": {"x": 1}}))
    system = SystemSettings(merger="ts", plugins={"a": {"y": 2}, "b": {"z": 3}})
    extensions = draft.spec(system).extensions
    assert ("ts", {"a": {"x": 1}, "b": {"z": 3}}) == (extensions.merger, extensions.plugins)


@pytest.mark.parametrize("plugins", [[], "a", {"a": 1}, {"a": []}, {"a": {"x": "y" * 70_000}}])
def test_plugin_options_that_are_none(plugins):
    """Anything but an object of objects of some size is refused."""
    assert "plugins: " in problems_of(parse_task, encoded(**LEAST, plugins=plugins))


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("variant", "", "best"),
        ("variant", " 720p ", "720p"),
        ("audio", " en ", "en"),
        ("subtitles", "", "none"),
        ("subtitle_files", "", "none"),
        ("subtitle_files", "none", "none"),
        ("subtitle_files", [], "none"),
        ("subtitle_files", ["srt", "vtt"], "vtt,srt"),
        ("subtitle_files", "SRT, vtt,srt", "vtt,srt"),
        ("header_hosts", [], ()),
        ("header_hosts", "", ()),
        ("header_hosts", "CDN.example, cdn.example,::1", ("cdn.example", "[::1]")),
        ("header_hosts", ["a.example"] * 64, ("a.example",)),
        ("groups", 3, "3"),
        ("key", "AAECAwQFBgcICQoLDA0ODw==", "000102030405060708090a0b0c0d0e0f"),
        ("key", "0x000102030405060708090A0B0C0D0E0F", "000102030405060708090a0b0c0d0e0f"),
        ("key", "", ""),
        ("iv", "0x1", "1".zfill(32)),
        ("append_query", True, "*"),
        ("append_query", False, ""),
        ("append_query", "?a=b", "a=b"),
        ("append_query", "*", "*"),
        ("base_url", "", ""),
    ],
)
def test_extensions_are_kept_in_one_form(field, given, kept):
    """What means the same is stored the same."""
    assert kept == parse_task(encoded(**LEAST, **{field: given})).extensions[field]


def test_extensions_over_the_system_settings():
    """They apply whatever `advanced` says; what the request does not name comes from the system settings."""
    system = SystemSettings(variant="worst", audio="fr", subtitles="all", low_disk=True, report=True)
    chosen = parse_task(encoded(**LEAST, variant="720p", low_disk=False)).spec(system).extensions
    assert ("720p", "fr", "all", False, True) == (
        chosen.variant,
        chosen.audio,
        chosen.subtitles,
        chosen.low_disk,
        chosen.report,
    )


def test_a_playlist_instead_of_a_link():
    """With a playlist the link may be empty; it is not among the extensions, which lists load."""
    text = "\ufeff\n#EXTM3U\n#EXTINF:1,片\nhttps://h/a.ts\n"
    draft = parse_task(encoded(url="", filename="", playlist=text))
    assert (text, "", {}) == (draft.playlist, draft.url, dict(draft.extensions))
    spec = draft.spec(SystemSettings())
    assert (len(text.encode()), True) == (spec.playlist_bytes, spec.has_playlist)
    assert "url: 不能为空" in problems_of(parse_task, encoded(url="", filename="", playlist=""))
    assert "url: 必须以 http" in problems_of(parse_task, encoded(url="x", filename="", playlist=text))


def test_settings_without_advanced():
    """Settings without their switch have no effect and are named."""
    draft = parse_task(encoded(**LEAST, download_threads=4, keep_ts_files=True))
    assert {} == draft.given
    assert ("advanced 不为 true，已忽略：download_threads、keep_ts_files",) == draft.warnings
    assert ["advanced is not true, ignored: download_threads, keep_ts_files"] == [each.en for each in draft.warnings]


def test_headers_without_their_switch():
    """Headers without their switch have no effect and are named."""
    draft = parse_task(encoded(**LEAST, http_headers={"X": ["a"]}))
    assert ({}, ("use_http_headers 不为 true，已忽略：http_headers",)) == (dict(draft.headers), draft.warnings)


def test_unknown_fields():
    """Unknown fields are ignored with a warning, in every body."""
    assert ("未知字段，已忽略：colour",) == parse_task(encoded(**LEAST, colour=1)).warnings
    assert ("未知字段，已忽略：colour",) == parse_change(encoded(status="已暂停", colour=1)).warnings
    assert ("未知字段，已忽略：colour",) == parse_settings(encoded(colour=1)).warnings


def test_fields_of_other_bodies_are_unknown():
    """What a task has and the settings have not is told as ignored."""
    assert ("未知字段，已忽略：url、filename",) == parse_settings(encoded(**LEAST)).warnings


def test_many_unknown_fields():
    """The first twenty are named, which is enough to see what is wrong."""
    names = [f"x{number}" for number in range(21)]
    [warning] = parse_settings(encoded(**dict.fromkeys(names, 1))).warnings
    assert f"未知字段，已忽略：{'、'.join(names[:20])}" == warning


@pytest.mark.parametrize("field", [{"proxy_type": "http"}, {"proxy_host": "p.example"}])
def test_proxy_without_advanced(field):
    """A proxy that would be ignored is refused: ignoring it would connect directly."""
    assert "proxy_type: 仅在 advanced 为 true 时有效" in problems_of(parse_task, encoded(**LEAST, **field))


def test_no_proxy_without_advanced():
    """Clients that always send their empty proxy fields are fine."""
    draft = parse_task(encoded(**LEAST, proxy_type="none", proxy_host="", proxy_port=0))
    assert 1 == len(draft.warnings)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"proxy_type": "http", "proxy_port": 1}, "proxy_host: 使用 http 代理时必填"),
        ({"proxy_type": "http", "proxy_host": "p"}, "proxy_port: 使用 http 代理时必须是 1 到 65535 的整数"),
        ({"proxy_host": "p", "proxy_port": 1}, "proxy_type: 填写 proxy_host 时必填"),
    ],
)
def test_proxy_that_is_incomplete(fields, problem):
    """A proxy needs its type, its host and its port."""
    assert problem in problems_of(parse_task, encoded(**LEAST, advanced=True, **fields))
    assert problem in problems_of(parse_settings, encoded(**fields))


def test_proxy_over_a_saved_one():
    """A request that names a proxy names all of it: the saved password of one never reaches another."""
    saved = Settings(proxy_type="http", proxy_host="old", proxy_port=1, proxy_username="me", proxy_password="secret")
    body = encoded(**LEAST, advanced=True, proxy_type="socks5", proxy_host="new", proxy_port=2)
    spec = parse_task(body).spec(SystemSettings(settings=saved))
    assert Settings(proxy_type="socks5", proxy_host="new", proxy_port=2) == spec.settings
    assert saved == parse_task(encoded(**LEAST, advanced=True)).spec(SystemSettings(settings=saved)).settings


def test_masked_password_in_a_task():
    """ "***" means "unchanged", and a new task has nothing to leave unchanged."""
    proxy = {"proxy_type": "http", "proxy_host": "p", "proxy_port": 1, "proxy_password": "***"}
    assert "proxy_password: " in problems_of(parse_task, encoded(**LEAST, advanced=True, **proxy))


def test_name_is_normalised():
    """A name is stored in NFC, so that the same name is the same file."""
    assert "\u00e9" == parse_task(encoded(url=LEAST["url"], filename="e\u0301")).filename


@pytest.mark.parametrize("name", ["", "电影 第1集", "a.mp4", "x" * 200, "😀" * 50, "CONSOLE", "Who?"])
def test_names_that_are_fine(name):
    """Ordinary names pass, and so does none at all."""
    assert name == parse_task(encoded(url=LEAST["url"], filename=name)).filename


@pytest.mark.parametrize("status", [Status.WAITING, Status.PAUSED])
def test_change(status):
    """The two states that can be asked for."""
    assert status == parse_change(encoded(status=status.value)).status


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "status: 缺少必填字段"),
        (b'{"colour": 1}', "status: 缺少必填字段"),
        (b'{"colour": 1}', "未知字段，已忽略：colour"),
        (encoded(status="下载中"), "status: 必须是 等待中、已暂停 之一（“下载中”）"),
        (encoded(status="已完成"), "status: 必须是"),
        (encoded(status="nonsense"), "status: 必须是"),
        (encoded(status=None), "status: 必须是字符串（null）"),
        (b"[1]", "必须是 JSON 对象"),
    ],
)
def test_change_that_is_wrong(body, problem):
    """Anything else is a 400 that names the field."""
    assert problem in problems_of(parse_change, body)


def test_a_change_of_settings():
    """Only what is named is set; settings need no `advanced` here."""
    change = parse_change(encoded(skip_ts_info="1-2", groups="2", merge=True))
    assert ({"skip_ts_info": "1-2"}, {"groups": "2"}, "merge", None) == (
        change.given,
        change.extensions,
        change.again,
        change.status,
    )
    assert (Status.PAUSED, "repair") == (
        (both := parse_change(encoded(status="已暂停", repair=True))).status,
        both.again,
    )
    assert "" == parse_change(encoded(merge=False)).again


def test_a_change_of_the_queue():
    """Priority and position; 0 is a priority, and not the same as none."""
    assert TaskChange(url="https://b.example/l") == parse_change(encoded(url=" https://b.example/l "))
    assert TaskChange(priority=0, position=1) == parse_change(encoded(priority=0, queue="first"))
    assert TaskChange(position=17) == parse_change(encoded(queue=17))
    assert TaskChange(position=LAST) == parse_change(encoded(queue="last"))
    assert TaskChange(again="merge") == parse_change(encoded(merge=True))


@pytest.mark.parametrize("priority", [-101, 101, "1", True, 1.5, None])
def test_a_wrong_priority(priority):
    """A whole number from -100 to 100, in both bodies."""
    assert "priority: 必须是 -100 到 100 的整数" in problems_of(parse_change, encoded(priority=priority))
    body = encoded(url="https://a.example/i.m3u8", filename="f", priority=priority)
    assert "priority: 必须是 -100 到 100 的整数" in problems_of(parse_task, body)


@pytest.mark.parametrize("queue", [0, -1, "second", "1", True, 1.5, None, 2**31 + 1])
def test_a_wrong_place(queue):
    """A position is counted from 1, or has one of two names."""
    assert "queue: 必须是 first、last 或不小于 1 的整数" in problems_of(parse_change, encoded(queue=queue))


def test_a_change_of_the_proxy():
    """Its fields come as a group, so that a password never goes to another proxy by accident; *** is the task's own."""
    proxy = {"proxy_type": "http", "proxy_host": "p.example", "proxy_port": 8080}
    masked = parse_change(encoded(**proxy, proxy_password="***")).given
    assert proxy | {"proxy_username": ""} == masked
    assert "" == parse_change(encoded(**proxy)).given["proxy_password"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"merge": True, "repair": True}, "repair: "),
        ({"save_location": "/tmp/x"}, "save_location: 任务创建后不能更改"),
        ({"temp_directory": "/tmp/x", "merge": True}, "temp_directory: "),
        ({"merge": "yes"}, "merge: "),
        ({"skip_ts_info": "x"}, "skip_ts_info: "),
        ({"groups": "3-1"}, "groups: "),
        ({"subtitle_files": "x"}, "subtitle_files: "),
        ({"header_hosts": ["*"]}, "header_hosts: "),
        ({"proxy_type": "http"}, "proxy_host: "),
    ],
)
def test_a_wrong_change(fields, problem):
    """Each wrong field is named."""
    assert problem in problems_of(parse_change, encoded(**fields))


def test_settings_absent_fields():
    """System settings are replaced whole: what is absent gets its default."""
    assert Settings(download_threads=8) == parse_settings(encoded(download_threads=8)).system.settings


def test_settings_masked_password():
    """A masked password leaves the saved one; any other replaces it."""
    proxy = {"proxy_type": "http", "proxy_host": "p", "proxy_port": 1}
    current = SystemSettings(settings=Settings(**proxy, proxy_password="old"))
    assert current == parse_settings(encoded(**proxy, proxy_password="***")).over(current)
    changed = parse_settings(encoded(**proxy, proxy_password="new")).over(current)
    assert attrs.evolve(current.settings, proxy_password="new") == changed.settings


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, Search()),
        ({b"status": ["失败".encode()]}, Search(status=Status.FAILED)),
        ({b"limit": [b"1"], b"offset": [b"0"]}, Search(limit=1)),
        ({b"limit": [b"1000"], b"offset": [b"70"], b"other": [b"x"]}, Search(limit=1000, offset=70)),
        ({b"q": [b""]}, Search()),
        ({b"q": ["电影 100%".encode()]}, Search(text="电影 100%")),
        ({b"q": ["影".encode() * 200]}, Search(text="影" * 200)),
        ({b"sort": [b"created"], b"order": [b"asc"]}, Search()),
        ({b"sort": [b"queue"], b"order": [b"desc"]}, Search(sort=Sort.QUEUE, descending=True)),
    ],
)
def test_list_query(query, expected):
    """What a list may be narrowed by."""
    assert expected == parse_list_query(query)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({b"status": [b"done"]}, "status: 必须是"),
        ({b"limit": [b"0"]}, "limit: 必须是 1 到 1000 的整数（“0”）"),
        ({b"limit": [b"1001"]}, "limit: 必须是"),
        ({b"limit": [b"-1"]}, "limit: 必须是"),
        ({b"limit": ["１".encode()]}, "limit: 必须是"),
        ({b"limit": [b""]}, "limit: 必须是"),
        ({b"offset": [b"x"]}, "offset: 必须是"),
        ({b"offset": [b"9" * 30]}, "offset: 必须是"),
        ({b"limit": [b"1", b"2"]}, "limit: 只能出现一次"),
        ({b"status": [b"\xff"]}, "status: 不是 UTF-8"),
        ({b"q": [b"a" * 201]}, "q: 最多 200 个字符，不含控制字符（"),
        ({b"q": [b"a\x00"]}, "q: 最多"),
        ({b"q": [b"\n"]}, "q: 最多"),
        ({b"q": [b"a", b"b"]}, "q: 只能出现一次"),
        ({b"sort": [b"colour"]}, "sort: 必须是 created、name、"),
        ({b"sort": [b""]}, "sort: 必须是"),
        ({b"order": [b"DESC"]}, "order: 必须是 asc、desc 之一"),
    ],
)
def test_list_query_that_is_wrong(query, problem):
    """A wrong query is a 400, never a guess."""
    assert problem in problems_of(parse_list_query, query)


@pytest.mark.parametrize(
    ("query", "error"),
    [({}, MissingTaskId), ({b"id": [b""]}, MissingTaskId), ({b"id": [b"a\x00"]}, TaskNotFound)]
    + [({b"id": [b"../x"]}, TaskNotFound), ({b"id": [b"a" * 65]}, TaskNotFound)]
    + [({b"id": [b"a", b"b"]}, InvalidRequest)],
)
def test_task_id_that_is_wrong(query, error):
    """What cannot be an id never reaches the store."""
    with pytest.raises(error):
        parse_task_id(query)


@pytest.mark.parametrize(("query", "expected"), [({}, False), ({b"files": [b"true"]}, True)])
def test_files(query, expected):
    """Output files go only when asked."""
    assert expected == parse_files(query)
    assert "files: 必须是 true 或 false" in problems_of(parse_files, {b"files": [b"1"]})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["***", "none", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*LEAST, *SETTING_NAMES, "use_http_headers", "http_headers", "advanced", "merger", "status"])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(NAMES | st.text(max_size=6), VALUES, max_size=8), st.booleans())
def test_any_object(fields, whole):
    """Whatever an object holds, it is read or refused: nothing else ever happens."""
    body = json.dumps((LEAST if whole else {}) | fields).encode()
    for read in (parse_task, parse_change, parse_settings):
        with suppress(InvalidRequest):
            read(body)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0123456789eE.-nulltruefasNI ', max_size=60).map(str.encode))
def test_any_bytes(body):
    """Whatever a body is, it is read or refused."""
    for read in (parse_task, parse_change, parse_settings):
        with suppress(InvalidRequest):
            read(body)


def test_draft_is_frozen():
    """What passed the door cannot be changed behind it."""
    draft = parse_task(encoded(**LEAST, advanced=True, download_threads=3))
    assert isinstance(draft.given, MappingProxyType)


@pytest.mark.parametrize("name", ["variant", "key", "merger", "playlist", "plugins"])
def test_a_change_of_what_cannot_be_changed(name):
    """Alone it is refused, beside something else ignored; either way it is said why, and it is not called unknown."""
    with pytest.raises(InvalidRequest) as refused:
        parse_change(encoded(**{name: "best", "colour": 1}))
    assert f"{name}: 任务创建后不能更改; 未知字段，已忽略：colour" == refused.value.fields["problems"]
    change = parse_change(encoded(status="已暂停", **{name: "best"}))
    assert (f"{name}: 任务创建后不能更改，已忽略",) == change.warnings
    assert [f"{name}: stays as it was when the task was created, ignored"] == [each.en for each in change.warnings]
