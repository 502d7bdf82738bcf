"""
``m3u8svc add``: what it sends, and what it says.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from m3u8svc.cli import program
from tests.cli.conftest import CHINESE, ENGLISH, Invoke, StubService, Visit

URL = "https://stream.example/live/index.m3u8?token=a%20b"


def test_plain_add_sends_url_and_name_and_prints_the_id(service: StubService, invoke: Invoke) -> None:
    """Nothing that was not given is sent: the service's settings hold."""
    result = invoke("add", URL)
    assert (0, "new1\n", "") == (result.exit_code, result.stdout, result.stderr)
    expected = Visit(method="POST", query={}, body={"url": URL, "filename": ""}, content_type="application/json")
    assert [expected] == service.visits


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["--name", "影片"], {"filename": "影片"}),
        (["--threads", "0"], {"advanced": True, "download_threads": 0}),
        (["--skip", "1,92-100"], {"advanced": True, "skip_ts_info": "1,92-100"}),
        (["--save-dir", "/srv/video"], {"advanced": True, "save_location": "/srv/video"}),
        (["--save-dir", "~/video"], {"advanced": True, "save_location": "~/video"}),
        (["--save-dir", "video"], {"advanced": True, "save_location": os.path.join(os.getcwd(), "video")}),
        (["--insecure"], {"advanced": True, "allow_insecure_https": True}),
        (["--keep-ts"], {"advanced": True, "keep_ts_files": True}),
        (["--no-merge"], {"advanced": True, "no_merge_ts": True}),
        (["--merger", "ffmpeg", "--storage", "s3"], {"merger": "ffmpeg", "storage": "s3"}),
        (["--plugin", "skip-ads"], {"plugins": {"skip-ads": {}}}),
        (["--priority", "-5"], {"priority": -5}),
        (["-f", "height<=720 / best"], {"variant": "height<=720 / best"}),
        (["--variant", " worst "], {"variant": "worst"}),
        (["--audio", "en,fr", "--subs", "all"], {"audio": "en,fr", "subtitles": "all"}),
        (["--subtitle-files", "srt,vtt"], {"subtitle_files": "vtt,srt"}),
        (["--groups", "1,3-5"], {"groups": "1,3-5"}),
        (["--key", "0x" + "AB" * 16, "--iv", "1"], {"key": "ab" * 16, "iv": "1".zfill(32)}),
        (["--append-query", "*"], {"append_query": "*"}),
        (["--limit-rate", "1.5M"], {"limit_rate": 1_572_864}),
        (["--limit-rate", "0"], {"limit_rate": 0}),
        (["--append-query", "?a=b", "--base-url", "http://h/x/"], {"append_query": "a=b", "base_url": "http://h/x/"}),
        (
            ["--allow-gaps", "--split", "--low-disk", "--faststart", "--report"],
            {"allow_gaps": True, "on_param_change": "split", "low_disk": True, "faststart": True, "report": True},
        ),
        (
            ["--plugin", "a.mode=auto", "--plugin", "a.most=0.4", "--plugin", "a.drop=[1, 2]", "--plugin", "b.x=a=b"],
            {"plugins": {"a": {"mode": "auto", "most": 0.4, "drop": [1, 2]}, "b": {"x": "a=b"}}},
        ),
        (
            ["--header", "Referer: https://a.example/x", "--header", "Cookie:a=1", "--header", "Cookie: b=2:3"],
            {
                "use_http_headers": True,
                "http_headers": {"Referer": ["https://a.example/x"], "Cookie": ["a=1", "b=2:3"]},
            },
        ),
        (
            ["--proxy", "socks5://me:p%40ss@[::1]:1080"],
            {
                "advanced": True,
                "proxy_type": "socks5",
                "proxy_host": "::1",
                "proxy_port": 1080,
                "proxy_username": "me",
                "proxy_password": "p@ss",
            },
        ),
        (
            ["--proxy", "SOCKS5H://m%3Ae:%25%20%E5%AF%86%2F@proxy.example:1080"],
            {
                "advanced": True,
                "proxy_type": "socks5",
                "proxy_host": "proxy.example",
                "proxy_port": 1080,
                "proxy_username": "m:e",
                "proxy_password": "% 密/",
            },
        ),
        (
            ["--proxy", "http://proxy.example:3128/"],
            {
                "advanced": True,
                "proxy_type": "http",
                "proxy_host": "proxy.example",
                "proxy_port": 3128,
                "proxy_username": "",
                "proxy_password": "",
            },
        ),
    ],
)
def test_options_become_fields_of_the_api(
    service: StubService, invoke: Invoke, arguments: list[str], sent: dict[str, Any]
) -> None:
    """A setting makes the request advanced; headers switch themselves on."""
    result = invoke("add", URL, *arguments)
    assert (0, "new1\n") == (result.exit_code, result.stdout), result.stderr
    assert {"url": URL, "filename": ""} | sent == service.visits[0].body


def test_relative_directory_is_left_to_a_service_elsewhere(service: StubService, invoke: Invoke) -> None:
    """Only a service on this machine is told about our current directory."""
    from m3u8svc.cli.add import _directory

    assert "video" == _directory("video", "http://nas.example:8080")
    assert os.path.join(os.getcwd(), "video") == _directory("video", "http://[::1]:8080")


def test_warnings_go_to_standard_error(service: StubService, invoke: Invoke) -> None:
    """A script reads the id alone; a person sees what had no effect, with control characters written out."""
    service.warnings = ["已忽略\x1b[2J"]
    result = invoke("add", URL)
    assert ("new1\n", "Warning: 已忽略\\x1b[2J\n") == (result.stdout, result.stderr)
    assert "注意：已忽略\\x1b[2J\n" == invoke("add", URL, locale=CHINESE).stderr


def test_warnings_are_in_the_language_of_the_user(service: StubService, invoke: Invoke) -> None:
    """The English ones where the service has them, one for each."""
    service.warnings, service.warnings_en = ["提示"], ["a hint"]
    assert "Warning: a hint\n" == invoke("add", URL).stderr
    assert "注意：提示\n" == invoke("add", URL, locale=CHINESE).stderr
    service.warnings_en = ["a hint", "of another list"]
    assert "Warning: 提示\n" == invoke("add", URL).stderr


def test_json_is_the_whole_answer(service: StubService, invoke: Invoke) -> None:
    """--json prints what the service said, warnings included, and nothing beside it."""
    service.warnings = ["已忽略"]
    result = invoke("add", URL, "--json")
    assert {"status": "success", "id": "new1", "warnings": ["已忽略"]} == json.loads(result.stdout)
    assert "" == result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'URL'"),
        ([URL, "--threads", "1001"], "'--threads': 1001 is not in the range"),
        ([URL, "--threads", "many"], "'--threads': 'many' is not a valid integer"),
        ([URL, "--header", "no colon"], "'--header': a header is written 'Name: value'"),
        ([URL, "--header", ": value"], "'--header': a header is written 'Name: value'"),
        ([URL, "--proxy", "ftp://proxy.example:1"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://proxy.example"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://:8080"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://proxy.example:99999"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "none://me:s3cret@proxy:1/x"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://me:s3cret#@proxy:1"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://me:s3cret/@proxy:1"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://me:s3cret%ff@proxy:1"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://me:s3cret\udcff@proxy:1"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://proxy:1#s3cret"], "'--proxy': a proxy is written"),
        ([URL, "--proxy", "http://me:s3cret%0a@proxy:1"], "'--proxy': the proxy's user name or password"),
        ([URL, "--proxy", f"http://me:s3cret{'x' * 250}@proxy:1"], "'--proxy': the proxy's user name or password"),
        ([URL, "--proxy", "socks4://me:s3cret@proxy:1"], "'--proxy': only SOCKS5 works"),
        ([URL, "--proxy", "socks4a://proxy:1"], "'--proxy': only SOCKS5 works"),
        ([URL, "--nonsense"], "No such option"),
    ],
)
def test_wrong_line_is_a_usage_error(service: StubService, invoke: Invoke, arguments: list[str], said: str) -> None:
    """Status 2, the option named, nothing sent, no secret repeated."""
    result = invoke("add", *arguments)
    assert (2, "") == (result.exit_code, result.stdout)
    assert said in result.stderr
    assert "s3cret" not in result.stderr
    assert [] == service.visits


@pytest.mark.parametrize("given", ["", "a.", "a.b", "a=1", ".b=1", "a.=1"])
def test_a_plugin_option_that_is_none(service: StubService, invoke: Invoke, given: str) -> None:
    """A usage error that shows how it is written; nothing is sent."""
    result = invoke("add", URL, "--plugin", given)
    assert (2, True, []) == (result.exit_code, "PLUGIN.OPTION=VALUE" in result.stderr, service.visits)


PLAYLIST = "#EXTM3U\n#EXTINF:1,片\nhttp://h/a.ts\n"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_playlist_is_sent_as_text(service: StubService, invoke: Invoke, tmp_path: Path, scheme: str) -> None:
    """Its name becomes the film's, unless one was given; a byte order mark is not part of it."""
    path = tmp_path / "the film.m3u8"
    path.write_text("\ufeff" + PLAYLIST, encoding="utf-8")
    assert 0 == invoke("add", f"{scheme}{path}").exit_code
    assert {"url": "", "filename": "the film", "playlist": PLAYLIST} == service.visits[0].body
    assert 0 == invoke("add", str(path), "--name", "other").exit_code
    assert "other" == service.visits[1].body["filename"]


def test_the_standard_input_is_a_playlist(service: StubService, invoke: Invoke) -> None:
    """For what another program writes."""
    environment = {"M3U8SVC_SERVER": service.url, "LC_ALL": ENGLISH}
    result = CliRunner().invoke(program, ["add", "-"], input=PLAYLIST.encode(), env=environment)
    assert 0 == result.exit_code, result.stderr
    assert {"url": "", "filename": "", "playlist": PLAYLIST} == service.visits[0].body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"<html>", "no playlist"),
        (b"#EXTM3U\n\xff", "no playlist"),
        (b"#EXTM3U" + b"x" * 2**23, "at most 8388608 bytes"),
    ],
)
def test_a_file_that_is_no_playlist(
    service: StubService, invoke: Invoke, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """The line is wrong, and nothing is sent."""
    path = tmp_path / "x.m3u8"
    if content is not None:
        path.write_bytes(content)
    result = invoke("add", str(path))
    assert (2, [], True) == (result.exit_code, service.visits, said in result.stderr)


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (["-f", "hight<=720"], 'at character 1, "hight" cannot be understood', "第 1 个字符处的“hight”"),
        (["--audio", "en,,fr"], "at character 4", "第 4 个字符处"),
        (["--audio", "none"], "there must be sound", "不能没有声音"),
        (["--subs", "en,none"], "at character 4", "第 4 个字符处"),
        (["--groups", "0"], "at character 1", "第 1 个字符处"),
        (["--subtitle-files", "vtt,ass"], 'at character 5, "ass"', "第 5 个字符处的“ass”"),
        (["--key", "hunter2"], "32 hexadecimal digits", "32 位十六进制数"),
        (["--iv", "hunter2"], "at most 32", "最多 32 位"),
        (["--append-query", "hunter2 x"], "written a=b&c=d", "a=b&c=d"),
        (["--base-url", "h/x"], "must begin with http://", "应以 http://"),
    ],
)
def test_a_wrong_choice_is_told_before_anything_is_sent(
    service: StubService, invoke: Invoke, arguments: list[str], english: str, chinese: str
) -> None:
    """In the user's language, naming the option; a key is not repeated."""
    for locale, said in ((ENGLISH, english), (CHINESE, chinese)):
        result = invoke("add", URL, *arguments, locale=locale)
        text = " ".join(result.stderr.split())
        assert (2, []) == (result.exit_code, service.visits)
        assert said in text and arguments[0] in text and "hunter2" not in text
