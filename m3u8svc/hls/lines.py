"""
The lines of a playlist and what stands in them: bytes -> numbered lines, attribute lists, numbers, links.

Everything here holds for both kinds of playlist (rules G1-G3, G5, G7, G10, G13). Limits are here, too: what comes in is
bounded in bytes, lines and length of a line, and variables cannot make more of it than that.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Literal

import attrs

from m3u8svc.errors import NotAPlaylist, PlaylistError, PlaylistTooLarge, UnsupportedScheme
from m3u8svc.hls.uri import BadReference, resolve, scheme_of
from m3u8svc.wording import Said, said

MAX_BYTES = 32 * 1024 * 1024
MAX_LINES = 2_000_000
MAX_LINE_BYTES = 16 * 1024
MAX_OFFSET = 2**53
NEWEST_VERSION = 13

Kind = Literal[
    "bad-byterange",
    "bad-iv",
    "bad-link",
    "bad-name",
    "bad-number",
    "conflicting-attributes",
    "delta-update",
    "duplicate-definition",
    "missing-attribute",
    "missing-query-parameter",
    "no-base-url",
    "undefined-import",
    "undefined-variable",
    "unsupported-scheme",
]
"""What may be wrong with a line, in a word that does not change: field `kind` of a `PlaylistError`."""

_SECONDS = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,20}")
_BYTERANGE = re.compile(r"([0-9]{1,20})(?:@([0-9]{1,20}))?")
_IV = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,32})")
_ATTRIBUTE = re.compile(r'[ \t]*([^=,]*)(?:=[ \t]*("[^"]*"[ \t]*|[^,]*))?(?:,|$)')
_HEXADECIMAL = frozenset(["IV", "SCTE35-CMD", "SCTE35-OUT", "SCTE35-IN"])
"""Attributes whose value is a hexadecimal sequence, where variables count without quotes."""


@attrs.frozen
class Line:
    """
    One line that says something. `name` is the tag up to its colon, "" for a URI line; `value` what follows.
    """

    number: int
    name: str
    value: str


class Warnings:
    """
    What was read although it is wrong: each kind once, with its first line and how often. Bounded by construction,
    since the texts are ours and hold nothing of the playlist.
    """

    def __init__(self) -> None:
        self._seen: dict[Said, list[int]] = {}

    def add(self, line: int, text: Said) -> None:
        """Note one more `text` at `line`."""
        self._seen.setdefault(text, [line, 0])[1] += 1

    def texts(self) -> tuple[Said, ...]:
        """One line for people per kind, in order of appearance."""
        return tuple(_warning(text, line, count) for text, (line, count) in self._seen.items())


def _warning(text: Said, line: int, count: int) -> Said:
    if line:
        text = said("第 {line} 行：{text}", "line {line}: {text}", line=line, text=text)
    return said("{text}（共 {count} 处）", "{text} ({count} times)", text=text, count=count) if count > 1 else text


def repeated(line: Line) -> Said:
    """
    That a tag which may be there once is there again.
    """
    return said("{tag} 重复，取第一个", "{tag} is there more than once, the first counts", tag=line.name)


def wrong(line: Line, kind: Kind, reason: Said) -> PlaylistError:
    """
    The error that `line` cannot be read, with its number and tag.
    """
    tag = line.name.removeprefix("#")
    if tag:
        reason = said("{tag} {reason}", "{tag}: {reason}", tag=tag, reason=reason)
    return PlaylistError(line=line.number, tag=tag, kind=kind, reason=reason)


def too_large(what: Said, limit: int, line: int = 0) -> PlaylistTooLarge:
    """
    The error that there is too much of something.
    """
    return PlaylistTooLarge(what=what, limit=limit, line=line)


class Lines:
    """
    The tags and URIs of a playlist, without comments and blank lines; read off its text anew at each iteration.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def names(self) -> set[str]:
        """The names of the tags, "" if there is a URI."""
        return {line.name for line in self}

    def __iter__(self) -> Iterator[Line]:
        begin = 0
        for number in itertools.count(1):
            end = self._text.find("\n", begin)
            row = self._text[begin : None if end < 0 else end].strip(" \t")
            if row.startswith("#EXT"):
                name, _, value = row.partition(":")
                yield Line(number, name.rstrip(" \t"), value)
            elif row and not row.startswith("#"):
                yield Line(number, "", row)
            if end < 0:
                return
            begin = end + 1


def readable_lines(body: bytes | str, url: str, content_type: str) -> Lines:
    """
    The lines in `body`.

    Raises:
        NotAPlaylist, PlaylistTooLarge.
    """
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if len(raw) > MAX_BYTES:
        raise too_large(Said("字节数", "its size in bytes"), MAX_BYTES)
    if raw.count(b"\n") + raw.count(b"\r") > MAX_LINES:
        raise too_large(Said("行数", "its number of lines"), MAX_LINES)
    # G2: LF, CRLF and CR end a line, nothing else; str.splitlines() would also split at U+2028 and its like.
    raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if long := _long_line(raw):
        raise too_large(Said(f"第 {long} 行的字节数", f"the size of line {long} in bytes"), MAX_LINE_BYTES, long)
    # G1: undecodable bytes survive as surrogates, so that those in URIs can be percent-encoded as they were.
    text = raw.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    if not _is_header(text.lstrip(" \t\n").partition("\n")[0]):
        raise NotAPlaylist(url=url, content_type=content_type or "Content-Type ?", start=printable(text[:60]))
    return Lines(text)


def _long_line(raw: bytes) -> int:
    """
    The number of the first line that is too long; 0 when none is. It goes from the last end of a line within reach to
    the next, so each byte is looked at twice at most, and a short line costs nothing.
    """
    begin = 0
    while len(raw) - begin > MAX_LINE_BYTES:
        end = raw.rfind(b"\n", begin, begin + MAX_LINE_BYTES + 1)
        if end < 0:
            return raw.count(b"\n", 0, begin) + 1
        begin = end + 1
    return 0


def _is_header(line: str) -> bool:
    """
    G3. Some add attributes behind #EXTM3U; more letters make it another word.
    """
    return line.startswith("#EXTM3U") and line[7:8] in ("", " ", "\t", ":", ",")


# -- What a line holds -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Reading:
    """
    One playlist being read: what its links are relative to, what its variables mean, what was wrong with it so far.
    `key_given`: the user has the key, so that what stands in the way of fetching one does not matter.
    """

    base: str = attrs.field(repr=False)
    warnings: Warnings = attrs.field(factory=Warnings)
    substitute: Callable[[Line, str], str] = attrs.field(repr=False)
    key_given: bool = False

    def attributes(self, line: Line) -> dict[str, str]:
        """
        G7: NAME=value pairs, commas inside double quotes kept, quotes removed, variables replaced. Of a name given
        twice the first counts.
        """
        found: dict[str, str] = {}
        position = 0
        while position < len(line.value):
            match = _ATTRIBUTE.match(line.value, position)
            assert match is not None  # an empty name and no value match anywhere
            position = match.end()
            name, value = match[1].strip().upper(), match[2]
            if value is None:
                if name:
                    self.warnings.add(
                        line.number, Said("属性缺少等号，已忽略", "an attribute without its equals sign, ignored")
                    )
            elif name in found:
                self.warnings.add(
                    line.number, Said("属性重复，取第一个", "an attribute is there more than once, the first counts")
                )
            else:
                value = self._value(line, name, value.strip(" \t"))
                found[name] = value if name == "URI" else printable(value)
        return found

    def _value(self, line: Line, name: str, text: str) -> str:
        """
        G13: variables count in quoted strings and hexadecimal sequences only. Replaced here, where quotes and commas
        are behind us, so that what a variable holds cannot add attributes.
        """
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        value = text[1:-1] if quoted else text
        if "{$" in value and (quoted or name in _HEXADECIMAL or value[:2] in ("0x", "0X")):
            return self.substitute(line, value)
        return value

    def absolute(self, line: Line, reference: str) -> str:
        """
        G5, G10: `reference` against the base, its faults told with the line.
        """
        if not self.base and not scheme_of(reference):
            why = said(
                "是相对链接，但没有播放列表的地址，请填写 base_url：{given}",
                "the URI is relative, and that of the playlist is not known; give base_url: {given}",
                given=shown(reference),
            )
            raise wrong(line, "no-base-url", why)
        try:
            return resolve(reference, self.base)
        except BadReference as error:
            why = said("{why}：{given}", "{why}: {given}", why=error.said, given=shown(reference))
            raise wrong(line, "bad-link", why) from error
        except UnsupportedScheme as error:
            why = said(
                "不支持的链接类型“{scheme}”：{given}",
                'the URI scheme "{scheme}" is not supported: {given}',
                scheme=printable(str(error.fields["scheme"])),
                given=shown(reference),
            )
            raise wrong(line, "unsupported-scheme", why) from error

    def absolute_or_data(self, line: Line, reference: str) -> str:
        """
        As `absolute`, for keys and init sections, which may stand in the playlist itself as data: URIs.
        """
        return printable(reference) if scheme_of(reference) == "data" else self.absolute(line, reference)


# -- Numbers ---------------------------------------------------------------------------------------------------------


def seconds(text: str) -> float | None:
    """
    A number as playlists write durations, any sign and size; None when it is none.
    """
    return float(text) if _SECONDS.fullmatch(text) else None


def whole_number(line: Line, limit: int = 2**64 - 1) -> int:
    """
    The value of a tag we cannot guess.
    """
    text = line.value.strip(' \t"')
    if not _WHOLE.fullmatch(text) or int(text) > limit:
        given = shown(line.value)
        raise wrong(line, "bad-number", Said(f"不是有效的整数：{given}", f"not a valid decimal-integer: {given}"))
    return int(text)


def lenient_number(value: str | None) -> float | None:
    """
    A finite number that is not negative, or None: for hints that a download can do without.
    """
    number = None if value is None else seconds(value.strip(' \t"'))
    return number if number is not None and 0 <= number < MAX_OFFSET else None


def lenient_whole(value: str | None) -> int | None:
    """
    As `lenient_number`, without its fraction.
    """
    number = lenient_number(value)
    return None if number is None else int(number)


def read_version(line: Line, warnings: Warnings) -> int:
    """
    G9: a version is never refused.
    """
    number = lenient_number(line.value)
    if number is None or number != int(number) or not 1 <= number <= NEWEST_VERSION:
        warnings.add(line.number, Said("未知的 EXT-X-VERSION", "unknown EXT-X-VERSION"))
    return int(number or 1)


def byterange(line: Line, value: str) -> tuple[int, int | None]:
    """
    ``n[@o]`` as (length, offset).
    """
    match = _BYTERANGE.fullmatch(value.strip(' \t"'))
    if match is None:
        raise wrong(
            line, "bad-byterange", Said(f"的 BYTERANGE 无效：{shown(value)}", f"invalid byte range: {shown(value)}")
        )
    length, offset = int(match[1]), int(match[2]) if match[2] else None
    if not 0 < length <= MAX_OFFSET or (offset or 0) + length > MAX_OFFSET:
        why = Said(f"的 BYTERANGE 超出范围：{shown(value)}", f"byte range out of bounds: {shown(value)}")
        raise wrong(line, "bad-byterange", why)
    return length, offset


def initialisation_vector(line: Line, value: str | None) -> bytes | None:
    """
    S8: hexadecimal with 0x, shorter ones padded on the left. Some leave out the 0x.
    """
    if value is None:
        return None
    match = _IV.fullmatch(value)
    if match is None:
        why = Said("的 IV 不是最多 32 位的十六进制数", "the IV is not a hexadecimal number of at most 32 digits")
        raise wrong(line, "bad-iv", why)
    return bytes.fromhex(match[1].rjust(32, "0"))


# -- Text ------------------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """
    `text` with what could not be decoded replaced.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text


def shown(value: str) -> str:
    """
    Text of the playlist for an error: short, without the query of a link.
    """
    value = printable(value).partition("?")[0]
    return value if len(value) <= 60 else value[:60] + "…"
