"""
Texts in both languages: how they are put together, and that no module that speaks to both forgets one.
"""

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

import m3u8svc
from m3u8svc.errors import ConnectionRefused
from m3u8svc.wording import Said, each_of, in_english, joined, packed, said, unpacked

PACKAGE = Path(m3u8svc.__file__).parent
IN_BOTH = [
    *("web/fields.py", "web/strictjson.py", "web/queries.py", "web/idempotency.py", "web/session.py"),
    *("tasks/names.py", "tasks/wire.py", "tasks/handshakes.py", "tasks/proxy.py", "tasks/reserve.py"),
    *("hls/decrypt.py", "hls/media.py", "hls/overrides.py", "hls/playlist.py", "hls/sampleaes.py", "hls/steering.py"),
    *("hls/uri.py", "hls/variables.py"),
    *("body.py", "disconnects.py", "diskwatch.py", "fetch.py", "refresh.py", "segmentsink.py", "tokenfile.py"),
    *("loading.py", "tunnels.py", "builtin/ts.py"),
]
"""Modules whose every text is told in both languages."""
ERRORS_IN_BOTH = [
    *("hls/dateranges.py", "hls/keys.py", "hls/lines.py", "hls/multivariant.py", "hls/parse.py"),
    *("hls/plan.py", "hls/select.py", "hls/skip.py"),
    *("download.py", "job.py", "merge.py", "report.py", "sniff.py"),
]
"""Modules whose every error is; what they warn of or write down is Chinese, as the API has it."""


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


@pytest.mark.parametrize("name", IN_BOTH)
def test_no_text_is_chinese_alone(name: str) -> None:
    """In these modules Chinese stands only where English stands beside it."""
    tree = _tree(name)
    assert [] == _chinese_alone(tree, tree)


@pytest.mark.parametrize("name", ERRORS_IN_BOTH)
def test_no_error_is_chinese_alone(name: str) -> None:
    """In these modules Chinese stands in what is raised, and in reasons, only where English stands beside it."""
    tree = _tree(name)
    raised = [
        part
        for part in ast.walk(tree)
        if isinstance(part, ast.Raise) or (isinstance(part, ast.keyword) and part.arg in ("reason", "how"))
    ]
    assert raised
    assert [] == [text for part in raised for text in _chinese_alone(part, tree)]


def _tree(name: str) -> ast.AST:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def _chinese_alone(part: ast.AST, tree: ast.AST) -> list[str]:
    """The Chinese in a part of a module that has no English beside it."""
    bilingual = {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("Said", "said")
        for part in ast.walk(call.args[0])
    }
    bilingual |= {
        id(part)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "joined"
        for keyword in call.keywords
        for part in ast.walk(keyword)
    }
    return [
        node.value
        for node in ast.walk(part)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search("[\u4e00-\u9fff]", node.value)
        and id(node) not in bilingual
    ]
