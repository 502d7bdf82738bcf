"""
The catalogue and the choice of language.
"""

import re
import string

import pytest

from m3u8svc.cli import words
from m3u8svc.cli.get import get
from m3u8svc.cli.words import Phrase, language
from m3u8svc.errors import catalogue


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
    tables = {"STATUSES": words.STATUSES, "GET_ADVICE": words.GET_ADVICE}
    named = {f"{table} {name}": each for table, entries in tables.items() for name, each in entries.items()}
    return found | named | dict(words.CLICK)


def test_both_languages_say_the_same_fields() -> None:
    """No message fails, or loses a fact, in one language only; none is empty."""
    fields = {
        name: [{field for _, field, _, _ in string.Formatter().parse(text) if field} for text in (each.zh, each.en)]
        for name, each in phrases().items()
    }
    assert {} == {name: (zh, en) for name, (zh, en) in fields.items() if zh != en}
    assert [] == [name for name, each in phrases().items() if not each.zh.strip() or not each.en.strip()]


OF_THE_SERVICE = (
    r"任务|重新添加|合并方式|the task|resume|add it|merger|`|(allow_gaps|allow_insecure|low_disk|skip_ts_info)"
)
"""What advice says to whoever has a service, tasks and fields of its API."""
NEVER_OF_GET = set(
    """
    missing_task_id task_not_found invalid_transition cannot_remake too_many_tasks report_not_found result_not_ready
    file_gone nothing_to_watch headers_too_large plugin_failed plugin_unavailable stale_task db_restored db_file_lost
    """.split()
)
"""Codes with such advice that only a service has."""


def test_advice_of_get_is_about_get() -> None:
    """No code that `get` may end with tells of tasks, of a service that goes on by itself or of fields of the API."""
    told = {each.code: (each.todo_zh, each.todo_en) for each in catalogue()}
    assert set() == words.GET_ADVICE.keys() - told.keys()
    told |= {code: (each.zh, each.en) for code, each in words.GET_ADVICE.items()}
    assert {code for code, texts in told.items() if re.search(OF_THE_SERVICE, " ".join(texts))} == NEVER_OF_GET


def test_advice_of_get_names_options_that_it_has() -> None:
    """Each of them."""
    ours = {name for each in get.params for name in each.opts}
    told = " ".join(f"{each.zh} {each.en}" for each in words.GET_ADVICE.values())
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told, re.ASCII))
    assert named and set() == named - ours - {"-n"}  # ulimit's
