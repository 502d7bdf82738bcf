"""Curl commands, as browsers and people write them, to what a task can have."""

import json
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.errors import BadCurlCommand, Fault, M3u8svcError
from m3u8svc.tasks.curlline import MAX_COMMAND, parse_curl, read_words, task_fields
from m3u8svc.web.schema import parse_curl_request
from tests import needs

URL = "https://a.example/i.m3u8?t=1&u=%20"


def refusal(command):
    """Why a command is refused, in English."""
    with pytest.raises(BadCurlCommand) as caught:
        parse_curl(command)
    assert caught.value.text("zh") != caught.value.text("en")
    return str(caught.value).removeprefix("this curl command cannot be used: ")


# -- Quoting ---------------------------------------------------------------------------------------------------------

CHROME_BASH = r"""curl 'https://a.example/i.m3u8?t=1&u=%20' \
  -H 'accept: */*' \
  -H $'x-name: it\'s \u0021 \u7247' \
  -H 'sec-ch-ua: "Chromium";v="128"' \
  --compressed"""
CHROME_CMD = """curl ^"https://a.example/i.m3u8?t=1^&u=^%^20^" ^
  -H ^"accept: */*^" ^
  -H ^"x-name: it's ^! 片^" ^
  -H ^"sec-ch-ua: ^\\^"Chromium^\\^";v=^\\^"128^\\^"^" ^
  --compressed"""
FIREFOX_BASH = CHROME_BASH.replace(" \\\n ", "")
OLD_CHROME_CMD = """curl "https://a.example/i.m3u8?t=1&u=%20" ^
  -H "accept: */*" ^
  -H "x-name: it's ! 片" ^
  -H "sec-ch-ua: \\"Chromium\\";v=\\"128\\"" ^
  --compressed"""


@pytest.mark.parametrize(
    "command",
    [CHROME_BASH, CHROME_CMD, FIREFOX_BASH, OLD_CHROME_CMD]
    + [each.replace("\n", "\r\n") for each in (CHROME_BASH, CHROME_CMD, OLD_CHROME_CMD)]
    + [f"  $ {CHROME_BASH} ;\n\n", CHROME_CMD.replace("curl", "C:\\tools\\curl.exe", 1) + "\n"],
)
def test_what_browsers_copy(command):
    """The same request for either shell, with either line end, over lines or on one."""
    line = parse_curl(command)
    assert URL == line.url
    assert {"accept": ("*/*",), "x-name": ("it's ! 片",), "sec-ch-ua": ('"Chromium";v="128"',)} == dict(line.headers)
    assert () == line.warnings


QUOTINGS = [
    ("'a b'", "a b"),
    ('"a b"', "a b"),
    (r'"a \" \\ \$ \` \n"', 'a " \\ $ ` \\n'),
    ('"a\\\nb"', "ab"),
    ("a\\\nb", "ab"),
    ("a\\ b\\'", "a b'"),
    ("'a'\"b\"c$'d'", "abcd"),
    ('"a$"', "a$"),
    ('"a $ b"', "a $ b"),
    ("''a", "a"),
    (r"$'\t\x41\101\u00e9\U0001F600\e\cA\?\"\q'", '\tAAé😀\x1b\x01?"\\q'),
    (r"$'\xe7\x89\x87'", "片"),
    ("a^b", "a^b"),
    ("x$", "x$"),
    ("a#b", "a#b"),
]


@pytest.mark.parametrize(("quoted", "word"), QUOTINGS)
def test_quoting_of_bash(quoted, word):
    """Each way that bash has to write a word."""
    assert {"Referer": (word,)} == dict(parse_curl(f"curl https://a/ -e {quoted}").headers)


@pytest.mark.parametrize(("quoted", "word"), QUOTINGS)
def test_quoting_is_that_of_bash(quoted, word):
    """What the table says is what bash itself makes of it."""
    needs.commands("bash")
    said = subprocess.run(
        ["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, timeout=60
    )
    assert word == said.stdout.decode()


@pytest.mark.parametrize(
    ("quoted", "word"),
    [
        ('"a b"', "a b"),
        ('^"a b^"', "a b"),
        ("a^&b", "a&b"),
        ('"a&b"', "a&b"),
        ('"a^b"', "a^b"),
        ("a^^b", "a^b"),
        (r'"a\"b"', 'a"b'),
        ('"a""b"', 'a"b'),
        (r'"a\\"', "a\\"),
        (r"a\b\\c", r"a\b\\c"),
        (r'^"a^\^"b^"', 'a"b'),
        ("^%^20", "%20"),
        ('"a"%"20"', "a%20"),
        ("it's", "it's"),
        ('^"a^\n\nb^"', "a\nb"),
    ],
)
def test_quoting_of_the_command_prompt(quoted, word):
    """Carets first, then the quotes of a program's start."""
    line = f'curl ^"https://a/^" ^\n -e {quoted}'
    if "\n" in word:
        assert "line end" in refusal(line)
    else:
        assert {"Referer": (word,)} == dict(parse_curl(line).headers)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("", "it does not begin with curl"),
        ("curlx https://a/", "it does not begin with curl"),
        ("Invoke-WebRequest 'https://a/'", "it does not begin with curl"),
        ("curl 'https://a/", "a quote does not end"),
        ('curl "https://a/', "a quote does not end"),
        ("curl $'https://a/", "a quote does not end"),
        ('curl ^"https://a/', "a quote does not end"),
        ("curl https://a/ \\", "it ends in a backslash: perhaps not all of it was copied"),
        ('curl "https://a/$X"', 'there is a variable or a command in its "…", which is not run here'),
        ('curl "`id`"', 'there is a variable or a command in its "…", which is not run here'),
        ("curl $URL", "there is a variable or a command in it, which is not run here"),
        ("curl $(id)", "there is a variable or a command in it, which is not run here"),
        ("curl `id`", "there is a variable or a command in it, which is not run here"),
        (
            "curl https://a/?a=1&b=2",
            "there is a & outside of quotes: quote the link, and leave one command only",
        ),
        ("curl https://a/ > x", "there is a > outside of quotes: quote the link, and leave one command only"),
        ("curl https://a/ ; curl https://b/", "there must be one command only"),
        ("curl https://a/ -e https://r/;auto", "there must be one command only"),
        ("curl https://a/\ncurl https://b/", "there must be one command only"),
        ('curl ^"https://a/^" &\r\ncurl ^"https://b/^"', "there must be one command only"),
        ('curl ^"https://a/^" > x', "there is a > outside of quotes"),
        ("curl $'\\ud800'", "there is no such character as one in its $'…'"),
        ("curl $'\\x80'", "bytes in its $'…' are not UTF-8"),
        ("curl https://a/\x00", "there are characters in it that no text has"),
        ("curl https://a/\udc80", "there are characters in it that no text has"),
        ("curl " + "x" * MAX_COMMAND, f"it has more than {MAX_COMMAND} characters"),
        ("curl " + "x " * 1200, "it has more than 1000 words"),
    ],
)
def test_commands_that_are_none(command, why):
    """Said so that the next paste is right."""
    assert why == refusal(command)


# -- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-H 'A: b' -HC:d --header E:f --header=G:h", {"A": ("b",), "C": ("d",), "E": ("f",), "G": ("h",)}),
        ("-H 'A: b' -H 'a: c'", {"A": ("b", "c")}),
        ("-H 'A;' -H 'Accept:'", {"A": ("",)}),
        ("-b a=b -b c=d", {"Cookie": ("a=b; c=d",)}),
        ("-b a=b -H 'cookie: c=d'", {"cookie": ("c=d",)}),
        ("-b ''", {}),
        ("-A x -e 'https://r/;auto'", {"User-Agent": ("x",), "Referer": ("https://r/",)}),
        ("-A x -H 'user-agent: y'", {"user-agent": ("y",)}),
        ("-A ''", {}),
        ("-u me:pä:x", {"Authorization": ("Basic bWU6cMOkOng=",)}),
        ("-u me:pw -H 'authorization: Bearer x'", {"authorization": ("Bearer x",)}),
        ("--oauth2-bearer x", {"Authorization": ("Bearer x",)}),
        ("-H 'Host: b' -H 'Range: bytes=0-' -H 'Accept-Encoding: gzip' -H ':path: /' -H 'authority: a'", {}),
    ],
)
def test_headers(options, expected):
    """Those of -H and those that have an option of their own, as curl would send them."""
    assert expected == dict(parse_curl(f"curl https://a/ {options}").headers)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ()),
        ("-x h", ("http", "h", 1080, "", "")),
        ("-x http://h:3128", ("http", "h", 3128, "", "")),
        ("-x https://h", ("https", "h", 443, "", "")),
        ("-x https://u:p%40@h:1", ("https", "h", 1, "u", "p@")),
        ("--proxy socks5h://h:1 -U u:p:q%40", ("socks5", "h", 1, "u", "p:q%40")),
        ("--socks5 h:1", ("socks5", "h", 1, "", "")),
        ("--socks5-hostname h", ("socks5", "h", 1080, "", "")),
        ("-x '[::1]:80'", ("http", "::1", 80, "", "")),
        ("-x ''", ()),
    ],
)
def test_proxies(options, expected):
    """The five fields of a proxy, or none of them."""
    assert expected == tuple(parse_curl(f"curl https://a/ {options}").proxy.values())


@pytest.mark.parametrize(
    ("options", "filename", "insecure", "rate"),
    [
        ("-sSLkfg --compressed -O", "", True, 0),
        ("--insecure --no-compressed", "", True, 0),
        ("-o film.mp4", "film.mp4", False, 0),
        ("-ofilm", "film", False, 0),
        ("--output=d/film.ts", "film.ts", False, 0),
        ("-o -", "", False, 0),
        ("-o .hidden", "", False, 0),
        ("--limit-rate 500K", "", False, 512000),
        ("--limit-rate 1.5m", "", False, 1572864),
        ("--limit-rate 4096B", "", False, 4096),
        ("--limit-rate 0", "", False, 0),
        ("-X GET --get", "", False, 0),
        ("-kXget", "", True, 0),
    ],
)
def test_other_options(options, filename, insecure, rate):
    """Name, certificate checks, rate."""
    line = parse_curl(f"curl https://a/ {options}")
    assert (filename, insecure, rate) == (line.filename, line.insecure, line.limit_rate)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://a/", "https://a/"),
        ("--url https://a/", "https://a/"),
        ("-- https://a/", "https://a/"),
        ("a.example/i.m3u8", "http://a.example/i.m3u8"),
        ("localhost/i.m3u8", "http://localhost/i.m3u8"),
        ("box:8000", "http://box:8000"),
        ("'a.example/i?u=http://b/'", "http://a.example/i?u=http://b/"),
        ("'https://u:p@a/'", "https://u:p@a/"),
        (r"'https://a/\[1\]\{x,y\}'", "https://a/[1]{x,y}"),
        ("-g 'https://a/[1-3]{x,y}'", "https://a/[1-3]{x,y}"),
        ("--globoff 'https://a/{x,y}'", "https://a/{x,y}"),
        (r"-g 'https://a/[1-3]\['", r"https://a/[1-3]\["),
        ("'https://[::1]/[x]{y}'", "https://[::1]/[x]{y}"),
    ],
)
def test_urls(typed, url):
    """The one link there is, as curl would ask for it."""
    if "\\" in url:
        assert "backslash" in refusal(f"curl {typed}")
    else:
        assert url == parse_curl(f"curl {typed}").url


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("", "there is no URL in it"),
        ("https://a/ https://b/", "there are 2 URLs in it, and only one can be used"),
        ("'https://a/{x,y}'", "a {…} or […] in its URL stands for several"),
        ("'https://a/[1-3:2]'", "a {…} or […] in its URL stands for several"),
        ("ftp://a/", "unsupported URL scheme 'ftp': ftp://a/"),
        ("https://a/ -X POST", "-X POST: only a GET can be downloaded"),
        ("https://a/ --request=secret", "--request: only a GET can be downloaded"),
        ("https://a/ -d secret", "-d sends something, and only a GET can be downloaded"),
        ("https://a/ -dsecret", "-d sends something, and only a GET can be downloaded"),
        ("https://a/ --data-raw=secret", "--data-raw sends something, and only a GET can be downloaded"),
        ("https://a/ --json {}", "--json sends something, and only a GET can be downloaded"),
        ("https://a/ -I", "-I cannot be had, and without it this is another request"),
        ("https://a/ -kE c.pem", "-E cannot be had, and without it this is another request"),
        ("https://a/ --resolve a:1:b", "--resolve cannot be had, and without it this is another request"),
        ("https://a/ -: https://b/", "-: cannot be had, and without it this is another request"),
        ("https://a/ --socks4 h", "--socks4 cannot be had, and without it this is another request"),
        ("https://a/ --frobnicate=secret", "the option --frobnicate is unknown"),
        ("https://a/ -kW", "the option -W is unknown"),
        ("https://a/ -o", "-o has no value"),
        ("https://a/ -kb", "-b has no value"),
        ("https://a/ -b cookies.txt", "-b FILE: files cannot be read here"),
        ("https://a/ -H @file", "-H @file: files cannot be read here"),
        ("https://a/ -H secret", "-H is written 'Name: value'"),
        ("https://a/ -H 'a b: secret'", "the name “a b” is not valid"),
        ("https://a/ -H $'A: secret\\nx'", "the value of “A” has a line end or NUL in it"),
        ("https://a/ -u secret", "-u is written user:password"),
        ("https://a/ -x socks4://h:1", "the proxy of -x must be one of http, https or socks5"),
        ("https://a/ -x h:secret", "-x needs a host and a port, behind user:password@ if need be"),
        ("https://a/ -x http://h/secret", "-x needs a host and a port, behind user:password@ if need be"),
        (f"https://a/ -x h -U u:{'p' * 256}", "the proxy's user name or password is too long"),
        ("nonsense", "unsupported URL scheme '': nonsense"),
        (f"https://a/{'x' * 8192}", "its URL has more than 8192 bytes"),
        ("https://a/" + " -H x:1" * 201, "it has more than 200 -H"),
        ("https://a/" + " --header=:x" * 201, "it has more than 200 --header"),
        ("https://a/ --limit-rate 1X", "--limit-rate is written 500K or 2M, and is at least 1024 bytes per second"),
        ("https://a/ --limit-rate 10", "--limit-rate is written 500K or 2M, and is at least 1024 bytes per second"),
    ],
)
def test_what_is_refused(options, why):
    """What cannot be downloaded as it is asked for; the option is named, and no value that may be secret."""
    assert why == refusal(f"curl {options}")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-v --retry 3 --http2 -m5 -v", ["ignored: -v, --retry, --http2, -m"]),
        ("-H 'Accept:'", ["ignored: -H 'Accept:'"]),
        ("--no-location", ["ignored: --no-location"]),
        ("-o d/film", ["the directory of -o is ignored"]),
        ("-o .x", ["the name of -o cannot be one, ignored"]),
        ("-H 'Host: b' -H 'Range: bytes=0-'", ["headers that are ours to say, ignored: Host, Range"]),
        ("-H 'Accept-Encoding: gzip' -sSLg --compressed", []),
    ],
)
def test_warnings(options, expected):
    """What is left out is named, once; what makes no difference is not."""
    assert expected == [each.en for each in parse_curl(f"curl https://a/ {options}").warnings]


def test_words_without_a_shell():
    """The command line hands on words that a shell has made already."""
    assert URL == read_words([URL, "-H", "A: b c"]).url


def test_secrets_are_not_shown():
    """Neither URL nor headers nor proxy are in what a log would print."""
    line = parse_curl("curl 'https://a/?secret' -H 'A: secret' -x http://secret:secret@h:1")
    assert "secret" not in repr(line)


# -- For whatever is pasted ------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "curl ",
        "https://a/",
        " ",
        "'",
        '"',
        "\\",
        "^",
        "\n",
        "\r\n",
        "$'",
        "$",
        "`",
        "&",
        ";",
        "-H ",
        "'A: b'",
        "-x ",
        "%",
    ]
    + ["-b ", "a=b", "-o ", "-u ", "u:p", "--limit-rate ", "1M", "-k", "--compressed ", "[1-2]", "{a,b}", ":", "@", "é"]
    + ["socks5://h:1 ", "--url=", "-", "--", "\\u00e9", "\\x80", "\\0", "\x1b", "\x00", "\u202e", "\ud800", "[::1]"]
)
COMMANDS = st.one_of(
    st.text(max_size=60),
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(PIECES, max_size=25).map(lambda pieces: "curl https://a/ " + "".join(pieces)),
    st.lists(PIECES, max_size=25).map(lambda pieces: 'curl ^"https://a/^" ' + "".join(pieces)),
)


@given(COMMANDS)
def test_whatever_is_pasted_is_read_or_refused(command):
    """No text makes it fail in another way; what it reads is a task that JSON can carry."""
    try:
        line = parse_curl(command)
    except BadCurlCommand as error:
        assert error.text("zh").isprintable() and error.text("en").isprintable()
    else:
        json.dumps(task_fields(line), ensure_ascii=False).encode()


@given(st.lists(PIECES | st.text(max_size=10), max_size=12))
def test_whatever_words_there_are_is_read_or_refused(words):
    """The same of words from a command line."""
    try:
        read_words(words)
    except BadCurlCommand:
        return


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\\\"'^%$` "), max_size=30))
def test_a_quoted_word_is_that_word(text):
    """Quoted for either shell as browsers do, a value comes back as it was."""
    bash = "'" + text.replace("'", "'\\''") + "'"
    argument = re.sub(r"(\\*)$", r"\1\1", re.sub(r'(\\*)"', r'\1\1\\"', text), count=1)
    cmd = '^"' + "".join(f"^{each}" for each in argument) + '^"'
    for line in (f"curl 'https://a/' -U u:{bash} -x h", f'curl ^"https://a/^" -x h -U u:{cmd}'):
        try:
            assert text == parse_curl(line).proxy["proxy_password"]
        except BadCurlCommand as error:
            assert "-x needs" in str(error) and not text.isprintable()


@given(COMMANDS)
def test_the_api_takes_what_is_read(command):
    """The answer of POST /api/curl is a valid body for a task, or the command is refused with an error of ours."""
    try:
        parse_curl_request(json.dumps({"command": command}).encode())
    except M3u8svcError as error:
        assert Fault.CALLER is error.fault
