"""
Texts that people read in either language, as values. Pure.
"""

import json
from collections.abc import Callable, Iterable


class Said(str):
    """
    A text in both languages. As a string it is the Chinese one, that of the API's contract; `en` says the same in
    English.
    """

    en: str

    def __new__(cls, zh: str, en: str) -> "Said":
        """Takes both; neither is a template."""
        both = super().__new__(cls, zh)
        both.en = en
        return both

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # what our __new__ takes
        return str.__str__(self), self.en


def in_english(text: object) -> str:
    """
    The English of a text in both languages; any other as it is.
    """
    return text.en if isinstance(text, Said) else str(text)


def each_of(text: str, change: Callable[[str], str]) -> Said:
    """
    A text with the same done to each of its languages.
    """
    return Said(change(str(text)), change(in_english(text)))


def said(zh: str, en: str, **fields: object) -> Said:
    """
    These templates with their fields filled in, each in the language of the template.
    """
    return Said(zh.format_map(fields), en.format_map({name: in_english(value) for name, value in fields.items()}))


def in_both(name: str, text: str) -> dict[str, str]:
    """
    A text as fields: the Chinese by its name, the English beside it if there is one.
    """
    return {name: str(text), f"{name}_en": text.en} if isinstance(text, Said) else {name: text}


def packed(text: str) -> str:
    """
    A text as one string, from which `unpacked` makes it again: both languages as a JSON list, anything else as it is.
    """
    if isinstance(text, Said):
        return json.dumps([str(text), text.en])
    return json.dumps([text]) if text.startswith("[") else text


def unpacked(stored: str) -> str:
    """
    What `packed` made the string of; a string that it did not make is itself.
    """
    if not stored.startswith("["):
        return stored
    try:
        found = json.loads(stored)
    except (ValueError, RecursionError):
        return stored
    if not all(isinstance(each, str) for each in found):
        return stored
    match found:
        case [zh, en]:
            return Said(zh, en)
        case [text]:
            return str(text)
    return stored


def joined(texts: Iterable[str], zh: str = "; ", en: str = "; ") -> Said:
    """
    Texts one after the other, with what stands between them in each language.
    """
    each = list(texts)
    return Said(zh.join(each), en.join(map(in_english, each)))
