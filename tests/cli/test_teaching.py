"""
What the program says of itself: examples that can be typed, exit statuses, error codes, completion, and the page that
is made of all that.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from m3u8svc.cli import program
from m3u8svc.cli.examples import EXAMPLES
from m3u8svc.cli.lazy import Context
from m3u8svc.errors import Fault, catalogue
from tests.cli.conftest import CHINESE, ENGLISH, Invoke, StubService, task

ROOT = Path(__file__).parents[2]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command there is, a subcommand behind its group."""
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())


COMMANDS = dict(commands())


def run(*arguments: str, locale: str = ENGLISH, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m m3u8svc`` as a child."""
    return subprocess.run(
        [sys.executable, "-m", "m3u8svc", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": locale, **environment},
        timeout=120,
    )


# -- Help ------------------------------------------------------------------------------------------------------------


def test_every_command_has_examples() -> None:
    """And there are none of commands that are gone."""
    assert COMMANDS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_can_be_typed(name: str) -> None:
    """The program reads each line as one for that command; nothing of it is refused."""
    for example in EXAMPLES[name]:
        first, *words = shlex.split(example.line.split(" | ")[0].split(" > ")[0])
        parts = name.split()
        assert ["m3u8svc", *parts] == [first, *words[: len(parts)]]
        context = COMMANDS[name].make_context(name, words[len(parts) :], parent=Context(program))
        assert context.params is not None
        assert example.zh.strip() and example.en.strip()


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_examples_and_statuses(name: str) -> None:
    """The lines stand there whole, however narrow the terminal is, and what the exit status means comes last."""
    command = COMMANDS[name]
    page = command.get_help(Context(command, info_name=name, terminal_width=60))
    assert [] == [example.line for example in EXAMPLES[name] if f"  {example.line}\n" not in page]
    statuses = " ".join(page.split())
    assert "Exit status: 0 " in statuses and ", 2 the command line" in statuses


def test_the_page_of_the_command_line_is_that_of_the_program() -> None:
    """Made anew it is the same: ``LC_ALL=C.UTF-8 python docs/cli_page.py > docs/cli.md``."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "cli_page.py")],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "LC_ALL": ENGLISH, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
    )
    assert made.stdout == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_names_on_the_page_are_in_the_other_language_for_others() -> None:
    """The heading of the examples, too."""
    page = run("pause", "--help", locale=CHINESE).stdout
    assert "例子：" in page and "Examples" not in page


# -- explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        (
            ENGLISH,
            [
                "disk_full",
                "  about this machine or its configuration",
                "  no space left on the disk of ‹path›",
                "  What to do: free some space; the task goes on by itself",
                "  The task is paused (held), not failed: something outside is in the way.",
            ],
        ),
        (
            CHINESE,
            [
                "disk_full",
                "  这台机器或其配置的问题",
                "  磁盘空间不足：‹path›",
                "  怎么办：清理磁盘空间，任务会自动继续",
                "  任务会暂停（held）而不算失败，原因消失后自动继续，或等待你处理。",
            ],
        ),
    ],
)
def test_a_code_is_explained_in_the_user_s_language(invoke: Invoke, locale: str, expected: list[str]) -> None:
    """Whose problem, what, and what to do; also as messages show it, in brackets."""
    assert expected == invoke("explain", "[Disk_Full]", locale=locale).stdout.splitlines()


def test_all_codes_are_listed(invoke: Invoke) -> None:
    """Each once, under whose problem it is."""
    lines = invoke("explain").stdout.splitlines()
    codes = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted({each.code for each in catalogue()}) == sorted(codes)
    assert len(Fault) + 1 == len([line for line in lines if not line.startswith("  ")])


def test_codes_for_programs(invoke: Invoke) -> None:
    """The same as JSON, in both languages."""
    [found] = json.loads(invoke("explain", "--json", "http_4xx").stdout)
    assert {"code": "http_4xx", "about": "origin", "holds": False} == {
        name: found[name] for name in ("code", "about", "holds")
    }
    assert found["text"] != found["text_en"] and found["advice"] != found["advice_en"]
    assert {each.code for each in catalogue()} == {
        each["code"] for each in json.loads(invoke("explain", "--json").stdout)
    }


@pytest.mark.parametrize(("typed", "said"), [("http_4x", "http_4xx, http_5xx"), ("nonsense", "is no error code; all")])
def test_a_code_that_there_is_not(invoke: Invoke, typed: str, said: str) -> None:
    """Status 2, with what is near to it."""
    result = invoke("explain", typed)
    assert (2, True) == (result.exit_code, said in result.stderr), result.stderr


# -- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str, tmp_path: Path) -> None:
    """It is one that the shell can read; not every machine has all three."""
    script = run("completion", shell).stdout
    assert "_M3U8SVC_COMPLETE" in script
    (tmp_path / "script").write_text(script)
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


def completed(*line: str, **environment: str) -> list[str]:
    """What bash would be told for this line, whose last word is not finished."""
    words = " ".join(shlex.quote(each) for each in ("m3u8svc", *line))
    ended = run(_M3U8SVC_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(line)), **environment)
    assert "" == ended.stderr
    return [each.partition(",")[2] for each in ended.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["pl"], ["plan", "plugins"]),
        (["list", "--status", "do"], ["downloading"]),
        (["explain", "disk_f"], ["disk_full"]),
        (["get", "--dry"], ["--dry-run"]),
        (["token", "cr"], ["create"]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_words_are_completed(line: list[str], expected: list[str]) -> None:
    """Commands, options, states, codes."""
    assert expected == completed(*line)


def test_ids_are_completed_by_the_service(service: StubService) -> None:
    """Those that begin so, newest first; none, and no word, where no service answers."""
    service.put(task("a1"), task("a2"), task("b1"))
    assert ["a2", "a1"] == completed("pause", "a", M3U8SVC_SERVER=service.url)
    assert [] == completed("pause", "a", M3U8SVC_SERVER="http://127.0.0.1:1")


def test_ids_are_completed_among_very_many(service: StubService) -> None:
    """A page at a time, until there are as many as can be shown; and not for ever."""
    service.put(*(task(f"a{number}", filename="b film") for number in range(200)), task("b1", filename="a film"))
    newest = ["b1", *(f"a{number}" for number in range(199, 100, -1))]
    assert newest == completed("pause", "", M3U8SVC_SERVER=service.url)
    assert ["b1"] == completed("pause", "b", M3U8SVC_SERVER=service.url)
    asked = {"order": "desc", "limit": "100"}
    assert [asked, asked | {"q": "b"}] == [each.query for each in service.visits][:2]
    assert 4 == len(service.visits)
    service.put(*(task(f"n{number}", filename="b film") for number in range(2_000)))
    assert [] == completed("pause", "b", M3U8SVC_SERVER=service.url)
    assert 4 + 10 == len(service.visits)
