"""
A curl command, as a browser's developer tools copy it, to what a task needs: pure.

Two shells' quoting is read, bash's and that of the Windows command prompt, and nothing is ever run or expanded: a
variable or a command in it is an error, since we do not know what it stands for. Then curl's options are read as curl
reads them. What changes nothing for a download is silently taken (``--compressed``, ``-L``); what has no meaning here
is left out with a warning; what would make it another request than curl's (a method, a body, another way to the host)
is an error that names the option, never its value, which may be a secret.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import attrs

from m3u8svc.errors import BadCurlCommand, InvalidUrl, UnsupportedScheme
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.headers import clean_headers, header_problems
from m3u8svc.tasks.names import name_problem
from m3u8svc.tasks.schedule import LEAST_RATE, MAX_RATE
from m3u8svc.tasks.wire import wire_url
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said, joined

MAX_COMMAND = 32 * 1024
"""Characters of a command: twice what the longest URL and all headers may have together."""
_MOST_WORDS = 1000
_MOST_HEADERS = 200
_MOST_PIECES = 3000
"""Of quoting in a command for bash; each costs some microseconds of the reactor's."""
_MOST_CARETS = 8000
"""The same for the command prompt, where browsers put a caret before all that is special."""
_MOST_CREDENTIAL_BYTES = 255


@attrs.frozen(kw_only=True)
class CurlLine:
    """
    What a command asks for, as far as a task can have it. `proxy` are the proxy's fields of the API, none for none.
    """

    url: str = attrs.field(repr=False)
    filename: str = ""
    headers: Mapping[str, tuple[str, ...]] = attrs.field(default=MappingProxyType({}), repr=False)
    proxy: Mapping[str, str | int] = attrs.field(default=MappingProxyType({}), repr=False)
    insecure: bool = False
    limit_rate: int = 0
    warnings: tuple[Said, ...] = ()


def parse_curl(command: str, limits: WebLimits = DEFAULTS) -> CurlLine:
    """
    A command as text, in the quoting of whichever shell it was copied for.

    Raises:
        BadCurlCommand: it is none, or none that a download can be made of.
    """
    if len(command) > MAX_COMMAND:
        _refuse(f"超过 {MAX_COMMAND} 个字符", f"it has more than {MAX_COMMAND} characters")
    _check_characters(command)
    text = command.strip().removeprefix("$ ").lstrip()
    words = _cmd_words(text) if _is_for_cmd(text) else _bash_words(text)
    if not words or not _is_curl(words[0]):
        _refuse("不是以 curl 开头的命令", "it does not begin with curl")
    return read_words(words[1:], limits)


def read_words(words: Sequence[str], limits: WebLimits = DEFAULTS) -> CurlLine:
    """
    What follows ``curl``, as words that a shell has made already.

    Raises:
        BadCurlCommand: no download can be made of it.
    """
    if len(words) > _MOST_WORDS:
        _refuse(f"超过 {_MOST_WORDS} 个词", f"it has more than {_MOST_WORDS} words")
    _check_characters("".join(words))
    found = _Found(limits)
    for number, option in enumerate(_options(words)):
        if number == _MOST_WORDS:
            _refuse(f"超过 {_MOST_WORDS} 个选项", f"it has more than {_MOST_WORDS} options")
        found.take(*option)
    return found.line()


def task_fields(line: CurlLine) -> dict[str, object]:
    """
    The fields of POST /api/tasks that a command comes to; the same ones for every command.
    """
    return {
        "url": line.url,
        "filename": line.filename,
        "use_http_headers": bool(line.headers),
        "http_headers": {name: list(values) for name, values in line.headers.items()},
        "advanced": bool(line.proxy) or line.insecure,
        **({"allow_insecure_https": True} if line.insecure else {}),
        **line.proxy,
        **({"limit_rate": line.limit_rate} if line.limit_rate else {}),
    }


def _check_characters(text: str) -> None:
    if re.search("[\x00\ud800-\udfff]", text):
        _refuse("含有无效的字符", "there are characters in it that no text has")


def _refuse(zh: str, en: str) -> NoReturn:
    raise BadCurlCommand(problem=Said(zh, en))


# -- Shells ----------------------------------------------------------------------------------------------------------

_FOR_CMD = re.compile(r"['\"]|\\\r?\n|\^[\"&|<>%^\\\r\n]")
# Possessive are sets of characters alone: before 3.11.5, Python lets a possessive group with (?!…) take characters that
# it does not match (github.com/python/cpython/issues/100061), and a variable in "…" passed for text.
_BASH = re.compile(
    r"(?P<space>[ \t]+)"
    r"|(?P<joined>\\\r?\n)"
    r"|(?P<end>[\r\n;]+)"
    r"|(?P<ansi>\$'[^'\\]*+(?:\\.[^'\\]*+)*')"
    r"|(?P<single>'[^']*')"
    r"|\$?(?P<double>\"[^\"\\$`]*+(?:(?:\\.|\$(?![A-Za-z_{(0-9@*#?!$-]))[^\"\\$`]*+)*\")"
    r"|(?P<escaped>\\.)"
    r"|(?P<plain>(?:[^\s\\'\"`$&|;<>()]++|\$(?![A-Za-z_{(0-9@*#?!$'\"-]))+)",
    re.DOTALL,
)
_ANSI = re.compile(
    r"\\(?:x(?P<hex>[0-9A-Fa-f]{1,2})|u(?P<u>[0-9A-Fa-f]{1,4})|U(?P<U>[0-9A-Fa-f]{1,8})|(?P<octal>[0-7]{1,3})"
    r"|c(?P<control>.)|(?P<one>.))",
    re.DOTALL,
)
_CARETS = re.compile(
    r"\^(?:\r?\n)?(?P<for>.?)"
    r"|(?P<quote>\")|(?P<special>[&|<>\r\n])"
    r"|[^\^\"&|<>\r\n]+",
    re.DOTALL,
)
_ONE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def _is_for_cmd(text: str) -> bool:
    """
    Whether a command is for the Windows command prompt: its first special character is a caret, or its lines end in
    one. There a single quote quotes nothing.
    """
    first = _FOR_CMD.search(text)
    if first is None or first.group() == "'":
        return False
    return first.group().startswith("^") or (first.group() == '"' and re.search(r"\^[ \t]*\r?\n", text) is not None)


def _bash_words(text: str) -> list[str]:
    """
    The words of the one command in `text`.
    """
    words: list[str] = []
    word: list[str] | None = None
    at, ended, pieces = 0, False, 0
    while at < len(text):
        if (pieces := pieces + 1) > _MOST_PIECES:
            _refuse_pieces()
        piece = _BASH.match(text, at)
        if piece is None:
            _refuse_bash(text, at)
        kind, got = piece.lastgroup or "", piece.group(piece.lastgroup or 0)
        at = piece.end()
        if kind in ("space", "joined", "end"):
            if word is not None and kind != "joined":
                words.append("".join(word))
                word = None
            ended = ended or (kind == "end" and bool(words))
        elif ended:
            _refuse("只能是一条命令", "there must be one command only")
        else:
            word = [] if word is None else word
            word.append(_unquoted(kind, got))
    return words if word is None else [*words, "".join(word)]


def _unquoted(kind: str, got: str) -> str:
    """
    What a piece of a word stands for.
    """
    if kind == "single":
        return got[1:-1]
    if kind == "double":
        return re.sub(r"\\(\r?\n|[\"\\$`])", lambda found: found.group(1).strip("\r\n"), got[1:-1])
    if kind == "ansi":
        return _in_utf8(_ANSI.sub(_ansi, got[2:-1]))
    return got[1:] if kind == "escaped" else got


def _ansi(found: re.Match[str]) -> str:
    """
    What a backslash in $'…' begins. ``\\x`` and octal digits are bytes: one that is no character stays a surrogate.
    """
    for name, base in (("hex", 16), ("octal", 8), ("u", 16), ("U", 16)):
        if digits := found.group(name):
            number = int(digits, base)
            if name in ("hex", "octal") and 0x80 <= number < 0x100:
                return chr(0xDC00 + number)
            if number == 0 or number > 0x10FFFF or 0xD800 <= number < 0xE000:
                _refuse("$'…' 中有无效的字符", "there is no such character as one in its $'…'")
            return chr(number)
    if control := found.group("control"):
        return chr(ord(control) & 0x1F or 0x1F)
    one = found.group("one")
    return _ONE.get(one, one if one in "\\'\"?" else "\\" + one)


def _in_utf8(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except ValueError:
        _refuse("$'…' 中的字节不是 UTF-8", "bytes in its $'…' are not UTF-8")


def _refuse_bash(text: str, at: int) -> NoReturn:
    """
    Say why no piece of a word begins at `at`.
    """
    character = text[at]
    if character == '"' and re.match(r'"(?:[^"\\]|\\.)*"', text[at:], re.DOTALL):
        _refuse(
            '"…" 中有变量或命令，无法知道其值', 'there is a variable or a command in its "…", which is not run here'
        )
    if character in "'\"" or text.startswith("$'", at):
        _refuse("引号没有结束", "a quote does not end")
    if character in "$`":
        _refuse("其中有变量或命令，无法知道其值", "there is a variable or a command in it, which is not run here")
    if character == "\\":
        _refuse("以反斜杠结尾，可能没有复制完整", "it ends in a backslash: perhaps not all of it was copied")
    _refuse(
        f"引号之外有 {character}：请给链接加上引号，只保留一条命令",
        f"there is a {character} outside of quotes: quote the link, and leave one command only",
    )


def _refuse_pieces() -> NoReturn:
    _refuse("引号或转义过多", "it has too many quotes or escapes")


def _cmd_words(text: str) -> list[str]:
    """
    The words of the one command in `text`, as the Windows command prompt, and then a program's start, make them.
    """
    return _windows_words(_without_carets(text))


def _without_carets(text: str) -> str:
    """
    The line that the command prompt hands on: a caret outside of its quotes is for the character behind it, and at the
    end of a line joins that with the next one, whose first character it then is for.
    """
    kept: list[str] = []
    quoted = False
    for number, piece in enumerate(_CARETS.finditer(text)):
        if number == _MOST_CARETS:
            _refuse_pieces()
        whole = piece.group()
        if piece.group("quote"):
            quoted = not quoted
            kept.append(whole)
        elif whole.startswith("^") and not quoted:
            kept.append(piece.group("for"))
        elif piece.group("special") and not quoted:
            if whole in "\r\n" and not text[piece.end() :].strip():
                break
            if whole in "\r\n&":
                _refuse("只能是一条命令", "there must be one command only")
            _refuse(f"引号之外有 {whole}", f"there is a {whole} outside of quotes")
        else:
            kept.append(whole)
            # A caret in quotes is one, and what stands behind it is looked at by itself.
            if whole.startswith("^") and piece.group("for") == '"':
                quoted = not quoted
    return "".join(kept)


def _windows_words(line: str) -> list[str]:
    r"""
    The arguments of a command line: ``"`` quotes, ``\"`` is one, and backslashes are special before one only.
    """
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    for piece in re.finditer(r"(?P<slashes>\\*)(?P<quote>\"\"?)|\\+|(?P<space>[ \t]+)|[^\\\" \t]+", line):
        if piece.group("space") and not quoted:
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        word = [] if word is None else word
        if piece.group("quote") is None:
            word.append(piece.group())
            continue
        slashes, quotes = len(piece.group("slashes")), piece.group("quote")
        word.append("\\" * (slashes // 2))
        if slashes % 2:
            word.append('"')
            quoted = quoted if len(quotes) == 1 else not quoted
        elif len(quotes) == 2:
            word.append('"' if quoted else "")
        else:
            quoted = not quoted
    if quoted:
        _refuse("引号没有结束", "a quote does not end")
    return words if word is None else [*words, "".join(word)]


def _is_curl(word: str) -> bool:
    return re.fullmatch(r"(?:.*[/\\])?curl(?:\.exe)?", word, re.IGNORECASE) is not None


# -- Options ---------------------------------------------------------------------------------------------------------

_SHORT = dict(
    pair.split("=")
    for pair in (
        "H=header b=cookie A=user-agent e=referer x=proxy U=proxy-user k=insecure L=location o=output O=remote-name "
        "u=user X=request d=data F=form T=upload-file I=head G=get K=config E=cert c=cookie-jar m=max-time s=silent "
        "S=show-error v=verbose f=fail i=include g=globoff J=remote-header-name N=no-buffer R=remote-time r=range "
        "C=continue-at y=speed-time Y=speed-limit w=write-out D=dump-header #=progress-bar 4=ipv4 6=ipv6 0=http1.0 "
        "1=tlsv1 q=disable Z=parallel j=junk-session-cookies n=netrc p=proxytunnel :=next"
    ).split()
)
_VALUED = frozenset(
    "header cookie user-agent referer proxy proxy-user output user request url limit-rate oauth2-bearer socks5 "
    "socks5-hostname".split()
)
"""Those that are read, and have a value."""
_SAME = frozenset(
    "location compressed silent show-error fail globoff remote-name remote-name-all remote-header-name no-buffer "
    "progress-bar basic disable fail-with-body get create-dirs no-progress-meter styled-output path-as-is".split()
)
"""What makes no difference to a download."""
_LEFT_OUT = frozenset(
    "verbose include remote-time ipv4 ipv6 http1.0 http1.1 http2 http2-prior-knowledge http3 http3-only tlsv1 tlsv1.0 "
    "tlsv1.1 tlsv1.2 tlsv1.3 keepalive tcp-nodelay tcp-fastopen location-trusted anyauth proxy-anyauth proxy-basic "
    "proxy-insecure ssl-no-revoke cert-status false-start parallel parallel-immediate junk-session-cookies tr-encoding "
    "proxytunnel retry-connrefused retry-all-errors remove-on-error raw sessionid alpn npn".split()
)
"""What is left out, without a value."""
_LEFT_OUT_VALUED = frozenset(
    "cookie-jar max-time connect-timeout retry retry-delay retry-max-time range continue-at speed-time speed-limit "
    "write-out dump-header output-dir max-redirs max-filesize stderr trace trace-ascii keepalive-time noproxy "
    "proxy-header ciphers tls13-ciphers curves tls-max happy-eyeballs-timeout-ms expect100-timeout rate parallel-max "
    "proxy-ciphers".split()
)
"""What is left out with its value."""
_METHODS = frozenset("HEAD POST PUT PATCH DELETE OPTIONS".split())
"""Those that are named when they are refused."""
_BODY = frozenset(
    "data data-raw data-binary data-ascii data-urlencode json form form-string upload-file url-query".split()
)
_OTHER = frozenset(
    "head config cert key cacert capath pinnedpubkey resolve connect-to unix-socket abstract-unix-socket interface "
    "preproxy doh-url dns-servers next digest ntlm negotiate netrc netrc-file aws-sigv4 socks4 socks4a proxy-digest "
    "proxy-ntlm proxy-negotiate proxy1.0 proxy-cert proxy-key proxy-cacert haproxy-protocol crlfile cert-type "
    "key-type pass engine ech login-options".split()
)
"""What makes it another request than a download's, or one that goes another way."""

Option = tuple[str, str, str]
"""As it was typed, its long name ("" for none), and its value."""


def _options(words: Sequence[str]) -> Iterator[Option]:
    """
    One by one; what is no option is one named ``url``, as curl has it.
    """
    at, only_urls = 0, False
    while at < len(words):
        word = words[at]
        at += 1
        if only_urls or not word.startswith("-") or word == "-":
            yield "", "url", word
        elif word == "--":
            only_urls = True
        elif word.startswith("--"):
            typed, equals, value = word.partition("=")
            name = typed[2:]
            if not _has_value(typed, name):
                yield typed, name, value
                continue
            if not equals:
                value, at = _value_of(typed, words, at)
            yield typed, name, value
        else:
            for behind, letter in enumerate(word[1:], 2):
                typed, name = f"-{letter}", _SHORT.get(letter, "")
                if not _has_value(typed, name):
                    yield typed, name, ""
                    continue
                value = word[behind:]
                if not value:
                    value, at = _value_of(typed, words, at)
                yield typed, name, value
                break


def _value_of(typed: str, words: Sequence[str], at: int) -> tuple[str, int]:
    if at == len(words):
        _refuse(f"{typed} 缺少值", f"{typed} has no value")
    return words[at], at + 1


def _has_value(typed: str, name: str) -> bool:
    """
    Whether an option has a value; an unknown one, and one that no download can have, is refused here.
    """
    shown = escape_controls(typed[:40])
    plain = name.removeprefix("no-")
    if name in _BODY:
        _refuse(f"{shown} 会发送内容，只能下载 GET 请求", f"{shown} sends something, and only a GET can be downloaded")
    if name in _OTHER:
        _refuse(
            f"不支持 {shown}，忽略它会变成另一个请求", f"{shown} cannot be had, and without it this is another request"
        )
    if name in _VALUED or name in _LEFT_OUT_VALUED:
        return True
    if not name or (
        name not in _SAME and name != "insecure" and name not in _LEFT_OUT and plain not in _SAME | _LEFT_OUT
    ):
        _refuse(f"未知选项 {shown}", f"the option {shown} is unknown")
    return False


class _Found:
    """
    What was said so far.
    """

    def __init__(self, limits: WebLimits) -> None:
        self.limits = limits
        self.urls: list[str] = []
        self.headers: dict[str, tuple[str, ...]] = {}
        self.spelled: dict[str, str] = {}  # the names of those, by themselves in lower case
        self.header_count = 0
        self.besides: dict[str, str] = {}
        self.proxy = self.proxy_user = self.output = ""
        self.insecure = self.globoff = False
        self.limit_rate = 0
        self.left_out: list[str] = []
        self.warnings: list[Said] = []

    def take(self, typed: str, name: str, value: str) -> None:
        """One option."""
        match name:
            case "url":
                self.urls.append(value)
            case "header":
                self._header(typed, value)
            case "cookie":
                self._cookie(typed, value)
            case "user-agent":
                self.besides["User-Agent"] = value
            case "referer":
                self.besides["Referer"] = value.removesuffix(";auto")
            case "user":
                self._user(typed, value)
            case "oauth2-bearer":
                self.besides["Authorization"] = f"Bearer {value}"
            case "proxy":
                self.proxy = value
            case "socks5" | "socks5-hostname":
                self.proxy = f"socks5h://{value}"
            case "proxy-user":
                self.proxy_user = value
            case "output":
                self.output = value
            case "limit-rate":
                self.limit_rate = _rate(typed, value)
            case "request":
                if value.upper() != "GET":
                    shown = f"{typed} {value}" if value in _METHODS else typed
                    _refuse(f"{shown}：只能下载 GET 请求", f"{shown}: only a GET can be downloaded")
            case "insecure":
                self.insecure = True
            case "globoff":
                self.globoff = True
            case _ if name not in _SAME:
                self.left_out.append(typed)

    def _header(self, typed: str, value: str) -> None:
        self.header_count += 1
        if self.header_count > _MOST_HEADERS:
            _refuse(f"超过 {_MOST_HEADERS} 个 {typed}", f"it has more than {_MOST_HEADERS} {typed}")
        if value.startswith("@"):
            _refuse(f"{typed} @文件：无法读取文件", f"{typed} @file: files cannot be read here")
        if value.startswith(":"):  # HTTP/2's own, which Chrome used to copy
            return
        name, colon, content = value.partition(":")
        name, content = name.strip(), content.strip()
        if not colon and name.endswith(";"):
            name, colon = name[:-1], ":"
        elif not colon or not name:
            _refuse(f"{typed} 应写作 '名称: 值'", f"{typed} is written 'Name: value'")
        elif not content:  # which takes one of curl's own away
            self.left_out.append(f"{typed} '{escape_controls(name[:60])}:'")
            return
        known = self.spelled.setdefault(name.lower(), name)
        self.headers[known] = (*self.headers.get(known, ()), content)

    def _cookie(self, typed: str, value: str) -> None:
        if "=" not in value:
            if value:
                _refuse(f"{typed} 文件：无法读取文件", f"{typed} FILE: files cannot be read here")
            return
        before = self.besides.get("Cookie")
        self.besides["Cookie"] = f"{before}; {value}" if before else value

    def _user(self, typed: str, value: str) -> None:
        if ":" not in value:
            _refuse(f"{typed} 应写作 用户名:密码", f"{typed} is written user:password")
        pair = value.encode("utf-8", "surrogateescape")
        self.besides["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")

    def line(self) -> CurlLine:
        """The whole."""
        headers = self._all_headers()
        if self.left_out:
            names = list(dict.fromkeys(self.left_out))
            self.warnings.append(Said(f"已忽略：{'、'.join(names)}", f"ignored: {', '.join(names)}"))
        return CurlLine(
            url=self._url(),
            filename=self._filename(),
            headers=MappingProxyType(headers),
            proxy=MappingProxyType(_proxy(self.proxy, self.proxy_user)),
            insecure=self.insecure,
            limit_rate=self.limit_rate,
            warnings=tuple(self.warnings),
        )

    def _url(self) -> str:
        if len(self.urls) != 1:
            count = len(self.urls)
            _refuse(
                "没有链接" if not count else f"有 {count} 个链接，只能有一个",
                "there is no URL in it" if not count else f"there are {count} URLs in it, and only one can be used",
            )
        url, most = self.urls[0].strip(), self.limits.url_bytes
        if len(url) > most:  # before it is taken apart, which costs time in proportion
            _refuse(f"链接超过 {most} 字节", f"its URL has more than {most} bytes")
        if not self.globoff:
            if re.search(r"(?<!\\)(?:\{[^{},]*,[^{}]*\}|\[(?:\d+-\d+|[A-Za-z]-[A-Za-z])(?::\d+)?\])", url):
                _refuse("链接中的 {…} 或 […] 代表多个链接", "a {…} or […] in its URL stands for several")
            url = re.sub(r"\\([\[\]{}])", r"\1", url)
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url) and re.search("[./:]", url):
            url = f"http://{url}"  # as curl does, for which a word alone is a host, too
        try:
            wire_url(url)
        except (InvalidUrl, UnsupportedScheme) as error:
            raise BadCurlCommand(problem=Said(error.text("zh"), error.text("en"))) from None
        return url

    def _all_headers(self) -> dict[str, tuple[str, ...]]:
        """
        Those of -H, then those that other options are short for, unless -H says them, as curl has it.
        """
        besides = {name: (value,) for name, value in self.besides.items() if value and name.lower() not in self.spelled}
        self.headers |= besides
        if problems := header_problems(self.headers, self.limits):
            raise BadCurlCommand(problem=joined(problems))
        kept, _ = clean_headers(self.headers)
        dropped = [name for name in self.headers if name not in kept or name.lower() == "authority"]
        if dropped := [name for name in dropped if name.lower() not in ("accept-encoding", "connection")]:
            self.warnings.append(
                Said(
                    f"由程序自行决定的请求头，已忽略：{'、'.join(dropped)}",
                    f"headers that are ours to say, ignored: {', '.join(dropped)}",
                )
            )
        return {name: values for name, values in kept.items() if name.lower() != "authority"}

    def _filename(self) -> str:
        """
        The last part of -o, where it can be a name.
        """
        if self.output in ("", "-", "/dev/null", "NUL"):
            return ""
        parts = re.split(r"[/\\]", self.output)
        name = parts[-1]
        if not name or name_problem(name):
            self.warnings.append(Said("-o 的文件名不可用，已忽略", "the name of -o cannot be one, ignored"))
            return ""
        if len(parts) > 1:
            self.warnings.append(Said("已忽略 -o 中的目录", "the directory of -o is ignored"))
        return name


def _rate(typed: str, value: str) -> int:
    """
    Bytes per second, as curl writes them.
    """
    found = re.fullmatch(r"(\d{1,15})(?:\.(\d{1,6}))?([BKMG]?)", value.strip(), re.IGNORECASE | re.ASCII)
    number = -1
    if found:
        unit = 1024 ** " KMG".index((found.group(3) or " ").upper().replace("B", " "))
        number = int(float(f"{found.group(1)}.{found.group(2) or 0}") * unit)
    if number != 0 and not LEAST_RATE <= number <= MAX_RATE:
        _refuse(
            f"{typed} 应写作 500K、2M，至少 {LEAST_RATE} 字节/秒",
            f"{typed} is written 500K or 2M, and is at least {LEAST_RATE} bytes per second",
        )
    return number


_PROXY_PORTS = {"http": 1080, "https": 443, "socks5": 1080}
"""Curl's own, where none is given."""
_PROXY_KINDS = {"": "http", "http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5", "socks": ""}


def _proxy(given: str, user: str) -> dict[str, str | int]:
    """
    The proxy's fields of the API; names are always looked up by the proxy, which curl calls socks5h.
    """
    if not given:
        return {}
    scheme, separator, rest = given.partition("://")
    kind = _PROXY_KINDS.get(scheme.lower() if separator else "", "")
    if not kind:
        _refuse(
            "-x 的代理只能是 http、https 或 socks5",
            "the proxy of -x must be one of http, https or socks5",
        )
    bad = Said(
        "-x 需要主机和端口，前面可以有 用户名:密码@", "-x needs a host and a port, behind user:password@ if need be"
    )
    try:
        parts = urlsplit(f"//{rest if separator else given}")
        host, port = parts.hostname or "", parts.port or _PROXY_PORTS[kind]
        name = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except ValueError:
        raise BadCurlCommand(problem=bad) from None
    if user:
        name, _, password = user.partition(":")
    odd = escape_controls(name + password) != name + password
    longest = max(len(each.encode("utf-8", "surrogatepass")) for each in (name, password))
    if not host or any(character <= " " for character in host) or parts.path.strip("/") or parts.query or odd:
        raise BadCurlCommand(problem=bad)
    if longest > _MOST_CREDENTIAL_BYTES:
        _refuse("代理的用户名或密码过长", "the proxy's user name or password is too long")
    return {
        "proxy_type": kind,
        "proxy_host": host,
        "proxy_port": port,
        "proxy_username": name,
        "proxy_password": password,
    }
