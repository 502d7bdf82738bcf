"""
The catalogue and the choice of language.
"""

import string

import pytest

from m3u8svc.cli import words
from m3u8svc.cli.words import Phrase, language


@pytest.mark.parametrize(
    ("expected", "environ"),
    [
        ("en", {}),
        ("zh", {"LANG": "zh_CN.UTF-8"}),
        ("zh", {"LANG": "zh"}),
        ("zh", {"LANG": "ZH_tw"}),
        ("en", {"LANG": "de_DE.UTF-8"}),
        ("en", {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}),
        ("zh", {"LC_ALL": "", "LC_MESSAGES": "zh_CN", "LANG": "en_US"}),
        ("en", {"LC_MESSAGES": "en_US", "LANG": "zh_CN"}),
        ("zh", {"LC_ALL": "zh_CN", "LC_MESSAGES": "en_US"}),
    ],
)
def test_first_locale_variable_that_is_set_decides(expected: str, environ: dict[str, str]) -> None:
    """LC_ALL before LC_MESSAGES before LANG; empty is not set; what is not Chinese is English."""
    assert expected == language(environ)


def phrases() -> dict[str, Phrase]:
    """The whole catalogue by name."""
    found = {name: value for name, value in vars(words).items() if isinstance(value, Phrase)}
    return found | {f"STATUSES {name}": each for name, each in words.STATUSES.items()} | dict(words.CLICK)


def test_both_languages_say_the_same_fields() -> None:
    """No message fails, or loses a fact, in one language only; none is empty."""
    fields = {
        name: [{field for _, field, _, _ in string.Formatter().parse(text) if field} for text in (each.zh, each.en)]
        for name, each in phrases().items()
    }
    assert {} == {name: (zh, en) for name, (zh, en) in fields.items() if zh != en}
    assert [] == [name for name, each in phrases().items() if not each.zh.strip() or not each.en.strip()]
