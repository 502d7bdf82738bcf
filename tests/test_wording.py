"""
Texts in both languages: how they are put together, and that no module that speaks to both forgets one.
"""

import ast
import copy
import itertools
import pickle
import re
from pathlib import Path

import pytest

import m3u8svc
from m3u8svc.errors import ConnectionRefused
from m3u8svc.wording import Said, each_of, in_english, joined, packed, said, unpacked

PACKAGE = Path(m3u8svc.__file__).parent
OTHERWISE = {
    "access/": "the command line says it by its own catalogue",
    "cli/examples.py": "examples, a text for each language",
    "cli/words.py": "the catalogue of the command line, a text for each language",
    "doctor.py": "findings, a text for each language",
    "errors.py": "the catalogue of errors, a text for each language",
    "roots.py": "reasons of `UnsafePath`, which has their English",
    "tasks/again.py": "the status bar, which is the contract's",
    "tasks/curlline.py": "`_bad` takes a text for each language",
    "tasks/pace.py": "the status bar, which is the contract's",
    "tasks/schedule.py": "its one error takes a text for each language",
    "tasks/source.py": "how a warning of its own begins",
    "tasks/task.py": "the states, which are the contract's",
    "underway.py": "the status bar, which is the contract's",
    "hosts.py": "the status bar, which is the contract's",
    "web/apologies.py": "bodies of answers, which are the contract's; the header has the English",
    "web/channel.py": "bodies of answers, which are the contract's; the header has the English",
    "web/gate.py": "bodies of answers, which are the contract's; the header has the English",
    "web/openapi.py": "examples of what is Chinese",
    "web/openapi_texts.py": "examples of what is Chinese",
}
"""Modules that have Chinese elsewhere than beside its English, and why. All others say everything in both languages."""


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_a_copy_speaks_both(again) -> None:
    """Whatever copies an error copies its texts."""
    text = again(Said("磁盘已满", "the disk is full"))
    assert ("磁盘已满", "the disk is full") == (text, text.en)


def test_a_text_is_the_chinese_one() -> None:
    """Whoever compares, stores or sends it sees what the contract has; the English is beside it."""
    text = Said("必须是字符串", "must be a string")
    assert ("必须是字符串", "必须是字符串!", "must be a string") == (text, f"{text}!", in_english(text))
    assert "plain" == in_english("plain")


def test_texts_within_texts() -> None:
    """Each in the language of the whole; what was given is no template."""
    inner = Said("不是主机名", "is no host name")
    whole = said("“{given}”{why}", "“{given}” {why}", given="{x}", why=inner)
    assert ("“{x}”不是主机名", "“{x}” is no host name") == (whole, whole.en)
    both = joined([whole, "plain"], zh="；", en="; ")
    assert ("“{x}”不是主机名；plain", "“{x}” is no host name; plain") == (both, both.en)


def test_the_same_is_done_to_each_language() -> None:
    """A text in one language is then the same in both."""
    both, plain = each_of(Said("提示", "a hint"), str.upper), each_of("plain", str.upper)
    assert ("提示", "A HINT", "PLAIN", "PLAIN") == (both, both.en, plain, plain.en)


@pytest.mark.parametrize("text", ["", "plain", "[", '["a", "b"]', Said("提示", "a hint"), Said("", ""), "[" * 9999])
def test_a_text_as_one_string(text: str) -> None:
    """What was packed comes back, of its own kind."""
    assert str is type(packed(text))
    assert (type(text), text, in_english(text)) == (type(found := unpacked(packed(text))), found, in_english(found))


@pytest.mark.parametrize("stored", ["plain", "[", "[1]", "[]", '["a", 1]', '["a", "b", "c"]', '{"a": 1}'])
def test_a_string_that_was_never_packed(stored: str) -> None:
    """It is itself."""
    assert stored == unpacked(stored)


def test_an_error_is_told_in_both_languages() -> None:
    """Its text in each."""
    error = ConnectionRefused(url="http://h/", reason=Said("连接被拒绝", "the connection was refused"))
    assert (error.text("zh"), error.text("en")) == (error.told, error.told.en)


def test_an_error_speaks_one_language() -> None:
    """Its reason, too."""
    error = ConnectionRefused(url="http://h/", reason=Said("连接被拒绝", "the connection was refused"))
    assert "连接被拒绝" in error.text() and error.text("en").isascii()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_is_chinese_alone(path: Path) -> None:
    """Chinese stands only where English stands beside it, and none is in that."""
    name = str(path.relative_to(PACKAGE))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    zh, en = _in_both(tree)
    if not any(name == each or (each.endswith("/") and name.startswith(each)) for each in OTHERWISE):
        assert [] == [text for text in _chinese_in(tree) if id(text) not in zh]
    assert [] == [text for text in _chinese_in(tree) if id(text) in en]


@pytest.mark.parametrize("name", sorted(each for each in OTHERWISE if not each.endswith("/")))
def test_what_is_otherwise_is_needed(name: str) -> None:
    """A module that says everything in both languages is not on the list."""
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    zh, _ = _in_both(tree)
    assert any(id(text) not in zh for text in _chinese_in(tree))


def test_chinese_alone_is_found() -> None:
    """Wherever it stands, but in docstrings."""
    tree = ast.parse(
        '"""中"""\nx = "中"\nf(f"中{x}")\nSaid("中", "en")\nzh, en = "中", "en"\nsaid(zh, en)\nSaid("中", "中")\n'
    )
    zh, en = _in_both(tree)
    assert [2, 3] == [text.lineno for text in _chinese_in(tree) if id(text) not in zh | en]
    assert [7] == [text.lineno for text in _chinese_in(tree) if id(text) in en]


def _chinese_in(tree: ast.AST) -> list[ast.Constant]:
    """The texts with Chinese characters in them that are no docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search("[\u4e00-\u9fff]", node.value)
        and id(node) not in docstrings
    ]


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements that a part of a module has."""
    blocks = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
    return [block for block in blocks if isinstance(block, list)]


def _in_both(tree: ast.AST) -> tuple[set[int], set[int]]:
    """
    The parts of a module that are the Chinese of a text in both languages, and those that are the English: arguments of
    `Said`, `said` and `joined`, or what `zh` and `en` are set to, one beside the other.
    """
    zh: list[ast.AST] = []
    en: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Said" | "said"), args=[chinese, english, *_]):
                zh.append(chinese)
                en.append(english)
            case ast.Call(func=ast.Name(id="joined"), keywords=keywords):
                zh += [each.value for each in keywords if each.arg == "zh"]
                en += [each.value for each in keywords if each.arg == "en"]
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                named = {
                    each.id: value for each, value in zip(names, values, strict=True) if isinstance(each, ast.Name)
                }
                zh += [named["zh"]] if named.keys() >= {"zh", "en"} else []
                en += [named["en"]] if named.keys() >= {"zh", "en"} else []
            case ast.Assign(
                targets=[ast.Tuple(elts=[ast.Name(id="zh"), ast.Name(id="en")])], value=ast.IfExp() as value
            ):
                for branch in (value.body, value.orelse):
                    assert isinstance(branch, ast.Tuple)
                    zh.append(branch.elts[0])
                    en.append(branch.elts[1])
        for before, after in itertools.chain(*map(itertools.pairwise, _blocks(node))):
            match before, after:
                case (
                    ast.Assign(targets=[ast.Name(id="zh")], value=chinese),
                    ast.Assign(targets=[ast.Name(id="en")], value=english),
                ):
                    zh.append(chinese)
                    en.append(english)
    return (
        {id(part) for each in zh for part in ast.walk(each)},
        {id(part) for each in en for part in ast.walk(each)},
    )
