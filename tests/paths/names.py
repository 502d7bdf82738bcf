"""
Names that somebody may ask for, to get out of a directory, into what another file is, or just for fun.
"""

import itertools

OUT = ["../x", "..", ".", "../../etc/passwd", "/etc/passwd", "a/../../x", "a/b", "./x", "x/", "/", "//x", "....//x"]
OUT += ["..\\x", "..\\..\\windows\\system32", "\\\\server\\share", "C:\\x", "C:x", "c:/x", "x:y", "x::$DATA", "a\\b"]
OUT += [
    "..%2fx",
    "%2e%2e%2fx",
    "..%252fx",
    "%2fetc%2fpasswd",
    "..%c0%afx",
    "..;/x",
    "~/x",
    "~root/x",
    "file:///x",
    "../",
]
OUT += [f"{'../' * deep}outside/precious" for deep in range(1, 12)]
HIDDEN = [".x", "..x", "...", ".ssh", ".bashrc", ".m3u8svc", ".task1.part", ".part", "-x", "-rf", "--help", "-", " .x"]
HIDDEN += [
    "\u3000.x",
    "\xa0-x",
    "x.",
    "x..",
    "x ",
    "x\u3000",
    "x.\xa0",
    " ",
    "\u3000",
    "",
    "\ufeffx",
    "\u200bx",
    "\u200e.x",
]
CONTROLS = [f"a{chr(code)}b" for code in (*range(32), *range(0x7F, 0xA0))]
DIRECTIONS = [f"film{chr(code)}4pm" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)]
SURROGATES = ["\ud800", "a\udfffb", "\udcff", "\ud83d", "x\udc80.mp4"]
DEVICES = [
    "CON",
    "con",
    "PRN",
    "AUX",
    "NUL",
    "Nul.mp4",
    "CON.tar.gz",
    "con .x",
    "CONIN$",
    "conout$.mp4",
    "COM¹",
    "LPT³.x",
]
DEVICES += [f"{kind}{number}{end}" for kind in ("COM", "lpt") for number in range(1, 10) for end in ("", ".mp4")]
LONG = ["x" * length for length in (199, 200, 201, 250, 255, 256, 4096)]
LONG += ["é" * length for length in (100, 101, 127, 128)] + ["😀" * length for length in (50, 51, 63, 64)]
LONG += ["电" * 66, "电" * 67]
ODD = ["film", "film.mp4", "a.b.c", "$(id)", "`id`", ";id", "|id", "&id", "a'b", 'a"b', "a*b", "a?b", "a<b>c", "%s%n"]
ODD += [
    "{0}",
    "#x",
    "a b",
    "é",
    "e\u0301",
    "电影",
    "😀",
    "\u0130",
    "ﬁlm",
    "A\u030a",
    "\u212b",
    "index.m3u8",
    "00001.ts",
    "film_0001",
]
ODD += [
    "film.debug.log",
    "film.report.json",
    "passwd",
    "x.sh",
    "x.desktop",
    "x.html",
    "CONSOLE",
    "nul1",
    "com10",
    "x\ufffe",
]

NAMES = list(dict.fromkeys(itertools.chain(OUT, HIDDEN, CONTROLS, DIRECTIONS, SURROGATES, DEVICES, LONG, ODD)))
assert len(NAMES) >= 200
