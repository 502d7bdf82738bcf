"""
The program as a whole: its help in both languages, its version, and what it does not import.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from m3u8svc import __version__
from m3u8svc.cli import program
from m3u8svc.cli.lazy import in_chinese
from m3u8svc.home import open_home
from tests.cli.conftest import CHINESE, ENGLISH, Invoke

HEAVY = ("twisted", "klein", "treq", "pydantic", "sqlalchemy", "rich", "av", "cryptography", "pluggy")


def run(*arguments: str, locale: str = ENGLISH) -> subprocess.CompletedProcess[str]:
    """``python -m m3u8svc`` as a child."""
    return subprocess.run(
        [sys.executable, "-m", "m3u8svc", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": locale},
        timeout=20,
    )


@pytest.mark.parametrize(
    ("arguments", "may_load"),
    [
        (["--help"], ()),
        (["--version"], ()),
        (["add", "--help"], ()),
        (["list", "--help"], ()),
        (["pause"], ()),
        (["get", "--help"], ()),
        (["watch", "--help"], ("rich",)),
    ],
)
def test_light_commands_load_nothing_heavy(arguments: list[str], may_load: tuple[str, ...]) -> None:
    """Help, version and the thin clients need neither the reactor nor the web room nor a codec."""
    script = (
        "import sys, m3u8svc.cli as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print('loaded', *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=20)
    loaded = ended.stderr.splitlines()[-1].split()[1:]
    assert [] == [name for name in loaded if name not in may_load]


def test_every_command_of_the_table_is_there() -> None:
    """A name on the help page leads to a command of that name."""
    context = click.Context(program)
    commands = {name: program.get_command(context, name) for name in program.list_commands(context)}
    assert {name: name for name in commands} == {name: each.name for name, each in commands.items() if each}


def test_version_is_the_package_s(invoke: Invoke) -> None:
    """--version says it in one line."""
    assert f"m3u8svc {__version__}\n" == invoke("--version").stdout


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        (
            ENGLISH,
            ["Usage: m3u8svc [OPTIONS]", "Commands:", "Add a download", "Exit status: 0 success", "3 no service"],
        ),
        (CHINESE, ["用法：m3u8svc [OPTIONS]", "命令:", "添加下载任务", "退出状态：0 成功", "3 该地址没有服务"]),
    ],
)
def test_help_is_in_the_user_s_language(locale: str, said: list[str]) -> None:
    """The page lists the commands and the exit statuses, without a word of the other language's headings."""
    page = run("--help", locale=locale).stdout
    assert [] == [each for each in said if each not in page]


@pytest.mark.parametrize(
    "command", ["add", "list", "show", "pause", "resume", "remove", "watch", "demo", "verify", "repair"]
)
def test_help_of_a_command_is_in_the_user_s_language(command: str) -> None:
    """Each of our commands documents itself and its exit statuses; nothing click says by itself is left in English."""
    page = run(command, "--help", locale=CHINESE).stdout
    assert "退出状态：0 成功" in page
    assert [] == [each for each in ("Usage:", "Options:", "Show this message", "Exit status") if each in page]


def test_unknown_command_is_a_usage_error(invoke: Invoke) -> None:
    """Status 2, and the name that was typed."""
    result = invoke("frobnicate")
    assert 2 == result.exit_code
    assert "No such command 'frobnicate'" in result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["frobnicate"], "没有命令 'frobnicate'"),
        (["--frobnicate"], "没有选项 "),
        (["list", "--statu", "x"], "没有选项 "),
        (["show"], "缺少参数 'ID'"),
        (["show", "a", "b"], "多余的参数：b"),
        (["list", "--status"], "选项 '--status' 需要一个值"),
        (["priority", "a", "x"], "'N' 的值“x”不是整数"),
        (["priority", "a", "900"], "'N' 的值 900 不在 -100<=x<=100 之内"),
        (["list", "--status", "done"], "'--status' 的值无效：“done”不是状态"),
        (["get", "nope"], "URL 的值无效：不支持的链接类型“”：nope"),
        (["get", "http://h/a.m3u8", "-o", "-"], "--output 的值无效：不能写到标准输出"),
        (["resume", "a", "b", "--url", "u"], "--url 只能用于一个任务"),
    ],
)
def test_usage_error_is_in_the_user_s_language(invoke: Invoke, line: list[str], said: str) -> None:
    """What click says of a wrong line, too: not a word of English but the names that were typed."""
    result = invoke(*line, locale=CHINESE)
    assert (2, "") == (result.exit_code, result.stdout)
    assert f"错误：{said}" in result.stderr
    assert [] == [each for each in ("Usage", "Try", "Error", "No such", "Missing", "Invalid") if each in result.stderr]


def test_address_without_a_scheme_is_named_in_the_user_s_language(invoke: Invoke) -> None:
    """With what to write; the reason is the system's."""
    said = invoke("get", "1.2.3.4:80/i.m3u8", locale=CHINESE).stderr
    assert "'[URL]...' 的值无效：1.2.3.4:80/i.m3u8 既不是 http 链接" in said
    assert "；若是网址，写 http://1.2.3.4:80/i.m3u8\n" in said


def test_usage_error_nobody_translated_stays_as_it_is() -> None:
    """Another click may say something else."""
    assert "Something new." == in_chinese("Something new.")


def test_a_service_that_cannot_start_says_so_in_the_user_s_language(tmp_path: Path) -> None:
    """The reason, its code and what to do, found before the reactor runs or after, on stderr; the log is English."""
    home, log = tmp_path / "home", tmp_path / "log"
    line = ["serve", "--home", str(home), "--save-dir", str(tmp_path / "saves"), "--log-file", str(log)]
    with open_home(home):
        locked = run(*line, locale=CHINESE)
    assert (75, "") == (locked.returncode, locked.stdout)
    assert locked.stderr.startswith(f"m3u8svc: 状态目录已被另一个进程使用：{home}（pid ")
    assert locked.stderr.endswith("怎么办：停止另一个进程，或用 --home 指定其他目录 [home_locked]\n")
    wrong = run(*line, "--max-active", "0", locale=CHINESE)
    assert 2 == wrong.returncode and "错误：配置有误：--max-active：" in wrong.stderr and "[bad_config]" in wrong.stderr
    deaf = run(*line, "--listen", "nonsense:1", locale=CHINESE)
    assert 1 == deaf.returncode and deaf.stderr.startswith("m3u8svc: 配置有误：--listen：nonsense:1")
    assert deaf.stderr.endswith("[bad_config]\n")
    assert "cannot start: the configuration is wrong: --listen" in log.read_text()


def test_configuration_that_is_not_toml_is_named(tmp_path: Path) -> None:
    """Status 2, with the file and the line to look at."""
    (tmp_path / "service.toml").write_text("max_active = = 1\n")
    ended = run("serve", "--config", str(tmp_path / "service.toml"), "--home", str(tmp_path / "home"))
    assert 2 == ended.returncode
    assert str(tmp_path / "service.toml") in ended.stderr and "line 1" in ended.stderr


def test_output_without_unicode_is_escaped() -> None:
    """A terminal of another encoding gets escapes, not a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "m3u8svc", "--help"],
        capture_output=True,
        env={**os.environ, "LC_ALL": CHINESE, "PYTHONIOENCODING": "latin-1"},
        timeout=20,
    )
    assert (0, b"") == (ended.returncode, ended.stderr)
    assert rb"\u547d\u4ee4" in ended.stdout


def test_ctrl_c_ends_any_command_quietly() -> None:
    """Status 130, no traceback, no word: here a client that waits for a service which never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        process = subprocess.Popen(
            [sys.executable, "-m", "m3u8svc", "list", "--server", f"127.0.0.1:{deaf.getsockname()[1]}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = deaf.accept()
        with connection:
            connection.recv(1)  # it has asked
            process.send_signal(signal.SIGINT)
            assert ("", "") == process.communicate(timeout=10)
    assert 130 == process.returncode
