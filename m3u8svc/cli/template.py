"""
Names of files made of fields: ``films/{host}/{name}.{ext}``. A small set, each of them safe as a part of one
path component, so that nothing a server says leads anywhere. Pure.
"""

import string
from collections.abc import Iterator, Mapping

import attrs

from m3u8svc.wording import Said

FIELDS = ("name", "host", "date", "height", "ext", "index")
CHANGING = frozenset({"date", "height", "index"})
"""Those that another run, or another day, may fill in otherwise."""
UNKNOWN = "NA"
"""What stands for a field that the stream does not say."""


class BadTemplate(ValueError):
    """
    A template that is none; `said` names what is wrong in it.
    """

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self.said = said


@attrs.frozen(kw_only=True)
class Template:
    """
    A path with fields in it, or without any. ``{{`` and ``}}`` are braces.
    """

    text: str
    parts: tuple[tuple[str, str], ...]
    """What stands there, and the field behind it, "" for none."""

    @property
    def fields(self) -> frozenset[str]:
        """Those it has."""
        return frozenset(field for _, field in self.parts if field)

    def filled(self, values: Mapping[str, str]) -> str:
        """The path; `values` has every field of it."""
        return "".join(stands + (_component(values[field]) if field else "") for stands, field in self.parts)


def parse_template(text: str) -> Template:
    """
    Raises:
        BadTemplate: a brace that begins or ends nothing, or a field that there is not.
    """
    try:
        parts = tuple(_parts(text))
    except ValueError as error:
        if isinstance(error, BadTemplate):
            raise
        raise BadTemplate(
            Said("花括号不成对；要写花括号本身，用 {{ 和 }}", "a brace has no other; {{ and }} are braces themselves")
        ) from None
    return Template(text=text, parts=parts)


def literal(text: str) -> Template:
    """
    A path as it is: a brace in it is one.
    """
    return Template(text=text, parts=((text, ""),))


def _parts(text: str) -> Iterator[tuple[str, str]]:
    known = " ".join(f"{{{each}}}" for each in FIELDS)
    for stands, field, format_spec, conversion in string.Formatter().parse(text):
        if field is not None and (field not in FIELDS or format_spec or conversion):
            shown = field + (f"!{conversion}" if conversion else "") + (f":{format_spec}" if format_spec else "")
            raise BadTemplate(
                Said(f"没有字段 {{{shown}}}，可用：{known}", f"there is no field {{{shown}}}; there are: {known}")
            )
        yield stands, field or ""


def _component(value: str) -> str:
    """
    A value as a part of one path component.
    """
    safe = "".join("_" if each in "/\\:" or not each.isprintable() else each for each in value)
    return safe.strip().lstrip(".") or UNKNOWN
