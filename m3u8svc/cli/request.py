"""
The body of POST /api/tasks out of a command line.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # Any: JSON values

from m3u8svc.cli.options import Source


def task_body(
    source: Source,
    *,
    name: str = "",
    headers: Iterable[tuple[str, str]] = (),
    settings: Mapping[str, Any],
    extensions: Mapping[str, Any],
) -> dict[str, Any]:
    """
    What was given, and only that: the rest comes from the service's settings. None is a setting that was not given.
    """
    body: dict[str, Any] = {"url": source.url, "filename": name or source.name}
    if source.playlist:
        body["playlist"] = source.playlist
    if grouped := _grouped(headers):
        body |= {"use_http_headers": True, "http_headers": grouped}
    if given := {setting: value for setting, value in settings.items() if value is not None}:
        body |= {"advanced": True, **given}
    return body | {extension: value for extension, value in extensions.items() if value is not None}


def _grouped(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """
    Header values by name; a name given twice has two values.
    """
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return grouped
