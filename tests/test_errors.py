"""The catalogue holds together."""

import string

import pytest

from m3u8svc.errors import ConnectError, HttpStatusError, M3u8svcError, SegmentFailed, catalogue


@pytest.mark.parametrize("each", list(catalogue()), ids=lambda each: each.__name__)
def test_both_languages_name_the_same_things(each: type[M3u8svcError]) -> None:
    """Both texts of an error exist and can be made from its fields."""
    names = {name for _, name, _, _ in string.Formatter().parse(each.zh + each.en) if name}
    error = each(**{name: f"<{name}>" for name in names})
    assert error.text("zh") and error.text("en")
    assert str(error) == error.text("en")


def test_codes_are_unique() -> None:
    """A code means one thing."""
    codes = [each.code for each in catalogue()]
    assert sorted(set(codes)) == sorted(codes)


def test_a_missing_field_is_a_mistake_of_ours() -> None:
    """Raising without a field the text needs is a TypeError, not a half text."""
    with pytest.raises(TypeError, match="url"):
        HttpStatusError(status=500)


def test_a_cause_is_told_in_the_language_of_the_whole() -> None:
    """An error within another one is in the language that was asked for, and redacted."""
    cause = ConnectError(url="https://h.test/a.ts?token=secret", reason="refused")
    error = SegmentFailed(name="00001.ts", cause=cause)
    assert "segment 00001.ts could not be downloaded: cannot connect: https://h.test/a.ts?… (refused)" == str(error)
    assert "下载ts文件错误: 00001.ts: 无法连接：https://h.test/a.ts?…（refused）" == error.text("zh")


def test_texts_are_redacted() -> None:
    """Neither userinfo nor a query gets into a text."""
    error = HttpStatusError(url="https://user:pass@h.test/a.ts?token=secret", status=403)
    assert "服务器返回 HTTP 403：https://h.test/a.ts?…" == error.text("zh")
    assert "secret" not in str(error) and "pass" not in str(error)
