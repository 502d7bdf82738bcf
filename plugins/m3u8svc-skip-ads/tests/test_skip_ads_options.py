"""
What the operator and a request may write, and how what is wrong is named.
"""

import time
from typing import Any

import pytest
from m3u8svc_skip_ads.options import LONGEST_REGEX, Chosen, Options, matcher, read_configuration, read_options

from m3u8svc.plugin import ConfigError, OptionError


def test_configuration_empty_does_nothing() -> None:
    """Without a table no task is touched."""
    assert read_configuration({}).idle


def test_configuration_read_into_defaults() -> None:
    """The keys of the table are what tasks get that say nothing."""
    config = {"default_mode": "auto", "max_share": 0.25, "max_signatures": 5}
    assert Options(mode="auto", max_share=0.25, max_signatures=5) == read_configuration(config)


@pytest.mark.parametrize(
    ("config", "where", "reason"),
    [
        ({"default_mode": "on"}, "default_mode", 'must be "auto", "marks" or "off", not \'on\''),
        ({"default_mode": True}, "default_mode", 'must be "auto", "marks" or "off", not True'),
        ({"max_share": 1.5}, "max_share", "must be a number from 0 to 1, not 1.5"),
        ({"max_share": float("nan")}, "max_share", "must be a number from 0 to 1, not nan"),
        ({"max_share": True}, "max_share", "must be a number from 0 to 1, not True"),
        ({"max_signatures": 201}, "max_signatures", "must be a whole number from 0 to 200, not 201"),
        (
            {"defualt_mode": "auto"},
            "defualt_mode",
            "there is no such key, did you mean default_mode? (known: default_mode, max_share, max_signatures)",
        ),
    ],
)
def test_configuration_wrong_names_key_and_value(config: dict[str, Any], where: str, reason: str) -> None:
    """The operator reads which key is wrong, what it says and what it may say."""
    with pytest.raises(ConfigError) as caught:
        read_configuration(config)
    assert (f"plugins.skip-ads.{where}", reason) == (caught.value.fields["where"], caught.value.fields["reason"])


def test_configuration_tells_all_problems_at_once() -> None:
    """Two wrong keys are two problems in one message."""
    with pytest.raises(ConfigError) as caught:
        read_configuration({"max_share": 2, "mode": "auto"})
    assert "max_share: must be" in str(caught.value) and "plugins.skip-ads.mode: there is no such key" in str(
        caught.value
    )


def test_options_stand_over_the_configuration() -> None:
    """A request says what it wants, the rest is as configured."""
    defaults = Options(mode="auto", max_share=0.25)
    read = read_options({"mode": "marks", "drop": [2, "7-9", "11"], "keep": [1], "regex": "/ads?/"}, defaults)
    expected = Options(
        mode="marks",
        max_share=0.25,
        regex="/ads?/",
        drop=Chosen(groups=frozenset({2}), ranges=((7, 9), (11, 11))),
        keep=Chosen(groups=frozenset({1})),
    )
    assert expected == read


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"mode": 1}, "mode", '"auto"、"marks" 或 "off"'),
        ({"regex": ""}, "regex", "1 到 500"),
        ({"regex": "a" * (LONGEST_REGEX + 1)}, "regex", "1 到 500"),
        ({"regex": "("}, "regex", "missing )"),
        ({"regex": "(?=a)b"}, "regex", "RE2"),
        ({"regex": r"(a)\1"}, "regex", "RE2"),
        ({"regex": "((a{100}){100}){100}"}, "regex", "RE2"),
        ({"regex": r"(\pL{10}){10}"}, "regex", "RE2"),
        ({"regex": ["a"]}, "regex", "1 到 500"),
        ({"drop": 2}, "drop", "列表"),
        ({"drop": [1, 0]}, "drop[1]", "从 1 开始"),
        ({"drop": [True]}, "drop[0]", "True"),
        ({"drop": ["9-7"]}, "drop[0]", "'9-7'"),
        ({"drop": ["0-3"]}, "drop[0]", "'0-3'"),
        ({"keep": [1.5]}, "keep[0]", "1.5"),
        ({"keep": ["x" * 500]}, "keep[0]", "…"),
        ({"keep": [1] * 1001}, "keep", "1000"),
        ({"max_share": -0.1}, "max_share", "0 到 1"),
        ({"max_signatures": 3.0}, "max_signatures", "整数"),
        ({"modes": "auto"}, "modes", "是否指 mode"),
        ({"default_mode": "auto"}, "default_mode", "可用：mode、regex、drop、keep、max_share、max_signatures"),
    ],
)
def test_options_wrong_name_path_and_value(options: dict[str, Any], path: str, said: str) -> None:
    """Whoever asks reads which option is wrong and what it may be."""
    with pytest.raises(OptionError) as caught:
        read_options(options, Options())
    assert path == caught.value.fields["path"]
    assert said in str(caught.value.fields["reason"])
    assert_in_english(caught.value)


def assert_in_english(error: OptionError) -> None:
    """It says the same in English, path and reason."""
    path, _, reason = error.text("en").partition(": ")
    assert path == error.fields["path"] and reason.strip() and error.text("en").isascii() is ("…" not in reason)


@pytest.mark.parametrize("options", [{}, {"keep": [1]}, {"max_share": 0.1}])
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any]) -> None:
    """Naming the plugin and getting nothing would be silence; saying "off" is an answer."""
    with pytest.raises(OptionError) as caught:
        read_options(options, Options())
    assert "mode" == caught.value.fields["path"]
    assert_in_english(caught.value)
    assert read_options({**options, "mode": "off"}, Options()).idle
    assert not read_options(options, Options(mode="auto")).idle


def test_expression_is_not_shown() -> None:
    """An expression may hold a token, as the addresses do that it matches."""
    assert "s3cret" not in repr(Options(regex="token=s3cret"))


def test_expression_that_would_explode_takes_linear_time() -> None:
    """What makes a backtracking matcher run for ever is answered at once."""
    started = time.thread_time()
    assert not matcher("^(a+)+$")("a" * 5000 + "b")
    assert time.thread_time() - started < 1
