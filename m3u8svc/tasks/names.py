"""
The name a result gets: what the user typed, or what the URL suggests, made safe.
"""

from urllib.parse import unquote, urlsplit

from pathvalidate import sanitize_filename

from m3u8svc.redact import escape_controls
from m3u8svc.tasks.task import TaskSpec

OUR_EXTENSIONS = (".mp4", ".ts", ".mkv", ".m4a", ".m3u8")
LONGEST_NAME_BYTES = 200
FALLBACK = "all"


def result_name(spec: TaskSpec) -> str:
    """
    The result's name without extension: the typed one (an extension of ours is not doubled), else the URL's last path
    element, else ``all``. Always one safe path component.
    """
    typed = spec.filename.strip()
    if typed:
        return _without_extension(typed)
    return derived_name(spec.url)


def derived_name(url: str) -> str:
    """
    A name from a URL that nobody vouches for: unquoted once, last element only, sanitised, at most 200 bytes.
    """
    path = urlsplit(url).path
    last = unquote(path.rstrip("/").rpartition("/")[2], errors="replace")
    stem = _without_extension(last.replace("/", "_").replace("\\", "_"))
    stem = "".join(character for character in stem if escape_controls(character) == character)
    safe = str(sanitize_filename(stem, platform="universal")).lstrip(".- ").rstrip(". ")
    return _cut(safe, LONGEST_NAME_BYTES) or FALLBACK


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
