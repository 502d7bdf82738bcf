"""The catalogue holds together."""

import errno
import os
import string

import pytest

from m3u8svc.errors import (
    ConnectError,
    DiskFull,
    DnsFailed,
    HttpStatusError,
    Language,
    M3u8svcError,
    SegmentFailed,
    advice_on,
    catalogue,
    from_os_error,
    status_error,
)


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


@pytest.mark.parametrize("each", list(catalogue())[1:], ids=lambda each: each.__name__)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_error_says_what_to_do(each: type[M3u8svcError], language: Language) -> None:
    """Advice of its own or of its family, in both languages; never that of mistakes of ours."""
    advice = advice_on(each.code, language)
    assert "" != advice != advice_on(M3u8svcError.code, language)
    assert (language == "zh") == any("\u4e00" <= character for character in advice)
    assert not advice.endswith((".", "。"))


def test_a_code_of_nobody_has_no_advice() -> None:
    """What a plugin made up is not ours to explain."""
    assert "" == advice_on("made_up")


@pytest.mark.parametrize(
    ("status", "code"),
    [(204, "http_status"), (302, "http_status"), (400, "http_4xx"), (499, "http_4xx"), (522, "http_5xx")],
)
def test_a_status_has_the_code_of_its_class(status: int, code: str) -> None:
    """Whose problem it is shows in the code, and the status in the text."""
    error = status_error(url="https://h.test/", status=status)
    assert (code, status) == (error.code, error.status)
    assert str(status) in error.text("zh") and str(status) in error.text("en")


def test_a_failed_segment_has_the_code_of_its_cause() -> None:
    """What can be done about it depends on the cause, and so does whether the task is held."""
    error = SegmentFailed(name="00001.ts", cause=DnsFailed(url="https://h.test/", reason="x"))
    assert ("dns_failed", False, advice_on("dns_failed", "en")) == (error.code, error.holds, error.advice("en"))
    held = SegmentFailed(name="00001.ts", cause=DiskFull(path="/"))
    assert ("disk_full", True) == (held.code, held.holds)
    assert "segment_failed" == SegmentFailed.code


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


@pytest.mark.parametrize(
    ("number", "code", "holds"),
    [
        (errno.ENOSPC, "disk_full", True),
        (errno.EDQUOT, "disk_full", True),
        (errno.EROFS, "disk_read_only", True),
        (errno.ESTALE, "disk_gone", True),
        (errno.ENODEV, "disk_gone", True),
        (errno.ENOTCONN, "disk_gone", True),
        (errno.EACCES, "no_permission", False),
        (errno.EPERM, "no_permission", False),
        (errno.EMFILE, "too_many_files", True),
        (errno.ENFILE, "too_many_files", True),
        (errno.EIO, "disk_error", False),
        (errno.ENOENT, "disk_error", False),
        (errno.EFBIG, "disk_error", False),
    ],
    ids=lambda value: errno.errorcode[value] if type(value) is int else None,
)
def test_what_the_system_says_of_a_file(number: int, code: str, holds: bool) -> None:
    """Each kind of trouble has its code; what mends itself pauses the task, what somebody has to see to fails it."""
    error = from_os_error(OSError(number, os.strerror(number)), "/saves")
    assert (code, holds, True) == (error.code, error.holds, "/saves" in error.text("zh"))
