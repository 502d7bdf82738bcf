"""
The name a result gets: what the user typed, or what the URL suggests, made safe.
"""

import hashlib
import re
import unicodedata
from urllib.parse import unquote, urlsplit

from pathvalidate import sanitize_filename

from m3u8svc.redact import escape_controls
from m3u8svc.tasks.task import TaskSpec
from m3u8svc.wording import Said

OUR_EXTENSIONS = (".mp4", ".ts", ".mkv", ".m4a", ".m3u8")
LONGEST_NAME_BYTES = 200
FALLBACK = "all"
HASH_DIGITS = 8
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[1-9¹²³]|LPT[1-9¹²³])\s*(\..*)?", re.IGNORECASE)
"""What Windows, and whoever shares files with it, takes for devices, whatever the extension."""


def name_problem(name: str, max_bytes: int = LONGEST_NAME_BYTES) -> Said:
    """
    What is wrong with a typed name; "" for nothing (R-PATH-1). It is used without the spaces around it,
    which may hide another beginning or end.
    """
    return _problem(name, max_bytes) or _problem(name.strip(), max_bytes)


def _problem(name: str, max_bytes: int = LONGEST_NAME_BYTES) -> Said:
    if any(character in "/\\:" for character in name):
        return Said("不能含有 / \\ :", "must not have / \\ : in it")
    if escape_controls(name) != name or any(unicodedata.category(each) in ("Cc", "Cs") for each in name):
        return Said("不能含有控制字符", "must not have control characters in it")
    if name.startswith(("-", ".")):
        return Said("不能以 - 或 . 开头", "must not begin with - or .")
    if name.endswith((".", " ")):
        return Said("不能以 . 或空格结尾", "must not end with . or a space")
    if _RESERVED.fullmatch(name):
        return Said("是系统保留名称", "is a name that systems reserve")
    if len(name.encode()) > max_bytes:
        return Said(f"超过 {max_bytes} 字节", f"has more than {max_bytes} bytes")
    return Said("", "")


def result_name(spec: TaskSpec) -> str:
    """
    The result's name without extension: the typed one (an extension of ours is not doubled), else the URL's last path
    element, else ``all``. Always one safe path component.
    """
    typed = spec.filename.strip()
    if typed:
        return _without_extension(typed).rstrip(". ")
    return derived_name(spec.url)


def derived_name(url: str) -> str:
    """
    A name from a URL that nobody vouches for: unquoted once, last element only, sanitised, at most 200 bytes. One that
    is not what the URL says ends in a hash of that, so that others which come to the same are told apart.
    """
    path = urlsplit(url).path
    last = unquote(path.rstrip("/").rpartition("/")[2], errors="replace")
    given = unicodedata.normalize("NFC", _without_extension(last))
    stem = given.replace("/", "_").replace("\\", "_")
    stem = "".join(character for character in stem if not _problem(f"x{character}x"))
    safe = str(sanitize_filename(stem, platform="universal")).strip().lstrip(".- ").rstrip(". ")
    if safe == given and not _problem(safe):
        return safe or FALLBACK
    digest = hashlib.sha256(last.encode("utf-8", "replace")).hexdigest()[:HASH_DIGITS] if last else ""
    kept = _cut(safe, LONGEST_NAME_BYTES - HASH_DIGITS - 1) or FALLBACK
    return f"{kept}-{digest}" if digest else kept


def numbered(name: str, number: int) -> str:
    """
    The name for the `number`-th file of this name: itself, then ``name_0001``, ``name_0002`` … (origin-semantics 2.4).
    """
    return name if number == 0 else f"{name}_{number:04d}"


def _without_extension(name: str) -> str:
    for extension in OUR_EXTENSIONS:
        if name.lower().endswith(extension) and len(name) > len(extension):
            return name[: -len(extension)]
    return name


def _cut(name: str, longest_bytes: int) -> str:
    while len(name.encode("utf-8", "replace")) > longest_bytes:
        name = name[:-1]
    return name.rstrip(". ")
