"""
Texts that people read in either language, as values. Pure.
"""

from collections.abc import Iterable


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


def said(zh: str, en: str, **fields: object) -> Said:
    """
    These templates with their fields filled in, each in the language of the template.
    """
    return Said(zh.format_map(fields), en.format_map({name: in_english(value) for name, value in fields.items()}))


def joined(texts: Iterable[str], zh: str = "; ", en: str = "; ") -> Said:
    """
    Texts one after the other, with what stands between them in each language.
    """
    each = list(texts)
    return Said(zh.join(each), en.join(map(in_english, each)))
