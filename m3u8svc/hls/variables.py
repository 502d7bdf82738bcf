"""
EXT-X-DEFINE: the variables of a playlist (G12, G13; RFC 8216bis 4.4.2.3 and 4.3).

A variable is known from the line after its definition on. What it stands for is put in as it is and never looked at
again for variables, so nothing nests; a text that would outgrow the limits of a line or of a playlist is refused before
it is made.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from urllib.parse import unquote

from m3u8svc.hls.lines import MAX_BYTES, MAX_LINE_BYTES, Line, Reading, shown, too_large, wrong
from m3u8svc.hls.uri import query_of
from m3u8svc.wording import Said, joined, said

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_REFERENCE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")
_WAYS = ("NAME", "IMPORT", "QUERYPARAM")


class Variables:
    """
    The variables of one playlist. `imported` are those of the multivariant playlist that led to it, None when none did.
    """

    def __init__(self, url: str, imported: Mapping[str, str] | None) -> None:
        self._url = url
        self._imported = imported
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._made_bytes = 0

    @property
    def definitions(self) -> Mapping[str, str]:
        """All of them by name, for the playlists that may import them."""
        return dict(self._values)

    def read(self, lines: Iterable[Line], reading: Reading) -> Iterator[Line]:
        """
        Learn the definitions, top to bottom; the lines with variables in URI lines replaced, one at a time.
        """
        for line in lines:
            if line.name == "#EXT-X-DEFINE":
                self._define(line, reading.attributes(line))
            elif not line.name and "{$" in line.value:
                line = Line(line.number, "", self.substitute(line, line.value))
            yield line

    def substitute(self, line: Line, text: str) -> str:
        """
        `text`, which stands in `line`, with each ``{$name}`` replaced.
        """
        pieces: list[str] = []
        done = length = 0
        for match in _REFERENCE.finditer(text):
            value = self._value(line, match[1])
            pieces += [text[done : match.start()], value]
            done = match.end()
            length += len(pieces[-2]) + len(value)
            self._check(line, length)
        pieces.append(text[done:])
        made = "".join(pieces)
        size = len(made.encode("utf-8", "surrogateescape"))
        self._check(line, size)
        self._made_bytes += size
        if self._made_bytes > MAX_BYTES:
            what = Said("替换变量后的字节数", "its size in bytes with variables replaced")
            raise too_large(what, MAX_BYTES, line.number)
        return made

    def _check(self, line: Line, size: int) -> None:
        if size > MAX_LINE_BYTES:
            what = said(
                "第 {line} 行替换变量后的字节数",
                "the size of line {line} in bytes with variables replaced",
                line=line.number,
            )
            raise too_large(what, MAX_LINE_BYTES, line.number)

    def _value(self, line: Line, name: str) -> str:
        if self._lines.get(name, line.number) >= line.number:
            why = Said(f"使用了未定义的变量 {shown(name)}", f"variable {shown(name)} is not defined")
            raise wrong(line, "undefined-variable", why)
        return self._values[name]

    def _define(self, line: Line, attributes: dict[str, str]) -> None:
        ways = [way for way in _WAYS if way in attributes]
        if not ways:
            why = Said("缺少 NAME、IMPORT 或 QUERYPARAM", "NAME, IMPORT or QUERYPARAM is missing")
            raise wrong(line, "missing-attribute", why)
        if len(ways) > 1:
            why = said("同时含有 {ways}", "{ways} exclude each other", ways=joined(ways, zh="、", en=" and "))
            raise wrong(line, "conflicting-attributes", why)
        name = attributes[ways[0]]
        if not _NAME.fullmatch(name):
            raise wrong(line, "bad-name", Said(f"的变量名无效：{shown(name)}", f"invalid variable name: {shown(name)}"))
        if name in self._values:
            why = Said(f"重复定义变量 {shown(name)}", f"variable {shown(name)} is defined twice")
            raise wrong(line, "duplicate-definition", why)
        match ways[0]:
            case "NAME":
                if "VALUE" not in attributes:
                    why = Said(f"定义变量 {shown(name)} 缺少 VALUE", f"VALUE of variable {shown(name)} is missing")
                    raise wrong(line, "missing-attribute", why)
                value = attributes["VALUE"]
            case "IMPORT":
                value = self._import(line, name)
            case _:
                value = self._query_parameter(line, name)
        self._values[name] = value
        self._lines[name] = line.number

    def _import(self, line: Line, name: str) -> str:
        if self._imported is None:
            why = said(
                "导入变量 {name}，但没有通向它的多码流列表",
                "variable {name} is imported, but no Multivariant Playlist led here",
                name=shown(name),
            )
            raise wrong(line, "undefined-import", why)
        if name not in self._imported:
            why = said(
                "导入的变量 {name} 在多码流列表中未定义",
                "imported variable {name} is not defined in the Multivariant Playlist",
                name=shown(name),
            )
            raise wrong(line, "undefined-import", why)
        return self._imported[name]

    def _query_parameter(self, line: Line, name: str) -> str:
        if name not in self._parameters:
            why = said(
                "播放列表的地址没有参数 {name}，或其值为空",
                "the playlist's URI has no query parameter {name}, or it is empty",
                name=shown(name),
            )
            raise wrong(line, "missing-query-parameter", why)
        return self._parameters[name]

    @cached_property
    def _parameters(self) -> Mapping[str, str]:
        """
        Those of the URL that have a value, decoded once; of one given twice the first counts.
        """
        found: dict[str, str] = {}
        for pair in query_of(self._url).split("&"):
            given, _, value = pair.partition("=")
            if value:
                # Undecodable bytes stay what they were: they go back into a link.
                name = unquote(given, errors="surrogateescape")
                found.setdefault(name, unquote(value, errors="surrogateescape"))
        return found
