"""
Which language tags mean the same.
"""

import pytest

from m3u8svc.hls.languages import is_language, normal_tag


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("en", "en"),
        ("ENG", "en"),
        ("en_US", "en-us"),
        ("ger-AT", "de-at"),
        ("deu", "de"),
        ("zho-Hans", "zh-hans"),
        ("chi", "zh"),
        (" pt-BR ", "pt-br"),
        ("haw", "haw"),
        ("qaa", "qaa"),
        ("", ""),
    ],
)
def test_one_tag_for_one_language(written: str, expected: str) -> None:
    """The shortest code, whichever of ISO 639 was written."""
    assert expected == normal_tag(written)


@pytest.mark.parametrize(
    ("wanted", "tag", "expected"),
    [
        ("en", "en", True),
        ("en", "en-US", True),
        ("en", "eng", True),
        ("eng", "en-GB", True),
        ("en-US", "en", False),
        ("en-us", "EN-US", True),
        ("zh-Hans", "zho-Hans-CN", True),
        ("zh-CN", "zh-Hans-CN", False),
        ("e", "en", False),
        ("en", "enm", False),
        ("fre", "fra", True),
        ("en", "", False),
        ("", "", False),
    ],
)
def test_basic_filtering(wanted: str, tag: str, expected: bool) -> None:
    """RFC 4647 3.3.1: a range wants the tags it is a prefix of, at a hyphen."""
    assert expected is is_language(wanted, tag)
