"""Templates of names, and lists of links: pure."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.cli.batch import parse_batch
from m3u8svc.cli.template import FIELDS, UNKNOWN, BadTemplate, literal, parse_template

ROOT = Path(__file__).parents[2]
VALUES = {"name": "film", "host": "a.example", "date": "2026-11-26", "height": "720", "ext": "mp4", "index": "07"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("film.mp4", "film.mp4"),
        ("{name}.{ext}", "film.mp4"),
        ("d/{host}/{date} {index} {name} {height}p.{ext}", "d/a.example/2026-11-26 07 film 720p.mp4"),
        ("{{name}} }}{{", "{name} }{"),
        ("", ""),
    ],
)
def test_templates(text: str, filled: str) -> None:
    """What stands there stays, fields are filled in, doubled braces are braces."""
    assert filled == parse_template(text).filled(VALUES)
    assert text == literal(text).filled({})


@pytest.mark.parametrize("page", ["README.md", "docs/zh/README.md", "docs/cli.md"])
def test_templates_that_pages_teach_look_well(page: str) -> None:
    """Also where the stream does not say how high its picture is, as a playlist of segments alone does not."""
    taught = re.findall(r"'([^' ]*\{name\}[^']*)'", (ROOT / page).read_text())
    filled = [parse_template(each).filled(VALUES | {"height": UNKNOWN}) for each in taught]
    assert filled and [] == [each for each in filled if UNKNOWN in each]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{title}", "{title}"),
        ("{name!r}", "{name!r}"),
        ("{name:>9}", "{name:>9}"),
        ("{name.x}", "{name.x}"),
        ("{0}", "{0}"),
        ("{}", "{}"),
        ("{name", "}}"),
        ("name}", "}}"),
        ("%(title)s {x}", "{x}"),
    ],
)
def test_bad_templates_name_the_field(text: str, named: str) -> None:
    """In both languages, with the fields that there are."""
    with pytest.raises(BadTemplate) as caught:
        parse_template(text)
    assert named in caught.value.said.en and named in caught.value.said
    assert named == "}}" or "{name} {host}" in caught.value.said.en


@pytest.mark.parametrize(
    ("value", "component"),
    [("../x", "_x"), ("a/b\\c:d", "a_b_c_d"), ("\x1b[0m", "_[0m"), ("", "NA"), ("..", "NA"), (" x ", "x")],
)
def test_values_stay_within_a_component(value: str, component: str) -> None:
    """Whatever a link says, it leads nowhere."""
    assert f"d/{component}.mp4" == parse_template("d/{name}.mp4").filled({"name": value})


@given(st.text(max_size=30) | st.lists(st.sampled_from(["{", "}", "name", "host", ":", "!", "x", "/"])).map("".join))
def test_any_text_is_a_template_or_a_bad_one(text: str) -> None:
    """Nothing fails in another way."""
    try:
        parsed = parse_template(text)
    except BadTemplate:
        return
    assert parsed.fields <= set(FIELDS)
    parsed.filled(VALUES)


LIST = """\
\ufeff# two films
https://a.example/1.m3u8

  https://a.example/2.m3u8?x=1#y   film two.mp4\t
\thttps://a.example/3.m3u8\tthird
#https://a.example/4.m3u8
"""


@pytest.mark.parametrize("text", [LIST, LIST.replace("\n", "\r\n")])
def test_lists(text: str) -> None:
    """Link and name, with the number of the line; comments and empty lines are none."""
    lines, wrong = parse_batch(text)
    assert [] == wrong
    assert [
        (2, "https://a.example/1.m3u8", ""),
        (4, "https://a.example/2.m3u8?x=1#y", "film two.mp4"),
        (5, "https://a.example/3.m3u8", "third"),
    ] == [(each.number, each.url, each.name) for each in lines]


def test_wrong_lines_are_all_named() -> None:
    """With their numbers, in both languages, beside the good ones."""
    lines, wrong = parse_batch("ftp://a/\nhttps://a/\nhttps://a/ d/x\nhttps://\n")
    assert [2] == [each.number for each in lines]
    assert [(1, "unsupported URL scheme 'ftp': ftp://a/"), (3, "the name must not have / \\ : in it")] == [
        (each.number, each.why.en) for each in wrong[:2]
    ]
    assert [1, 3, 4] == [each.number for each in wrong]
    assert all(each.why != each.why.en for each in wrong)


@given(st.text())
def test_any_text_is_a_list(text: str) -> None:
    """Every line is a link, wrong, a comment or empty."""
    lines, wrong = parse_batch(text)
    assert len(lines) + len(wrong) <= text.count("\n") + 1
