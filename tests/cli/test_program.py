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
