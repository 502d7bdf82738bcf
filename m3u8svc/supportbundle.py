"""
What people may send to somebody who helps them: a zip of what `doctor` found, versions, the configuration and the end
of the log, all through the one redaction (DESIGN 5.7).
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: TOML and JSON values

from m3u8svc.redact import MASK, is_secret_header, redact_text

LOG_BYTES = 512 << 10


def redacted(document: Mapping[str, Any]) -> dict[str, Any]:
    """
    A configuration without its secrets: nothing under a name that looks like a credential, no userinfo and no query in
    a URL, and of plugins, whose options we do not know, no text at all. Pure.
    """
    plugins = document.get("plugins")
    shown = {name: _shown(name, value) for name, value in document.items() if name != "plugins"}
    if isinstance(plugins, Mapping):
        shown["plugins"] = {
            name: _masked(value) if isinstance(value, Mapping) else _shown(name, value)
            for name, value in plugins.items()
        }
    return shown


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) in ({"$env"}, {"$file"}):
            return dict(value)  # where a secret is, not the secret
        return {each: MASK if is_secret_header(name) else _shown(each, inner) for each, inner in value.items()}
    if is_secret_header(name):
        return MASK
    if isinstance(value, list):
        return [_shown(name, each) for each in value]
    return redact_text(value) if isinstance(value, str) else value


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return MASK if isinstance(value, str) else value


def redacted_log(content: bytes) -> str:
    """
    The lines of a log; the first one may have been cut. Pure.
    """
    return "\n".join(redact_text(line) for line in content.decode("utf-8", "replace").splitlines())


def end_of(path: Path, size: int = LOG_BYTES) -> bytes:
    """
    The last bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - size, 0))
        return file.read(size)


def write_bundle(target: Path, *, found: Mapping[str, Any], configuration: Mapping[str, Any], log: bytes) -> None:
    """
    Write the zip, mode 0600, under a name that nothing has yet.

    Raises:
        OSError: it cannot be written, or is there.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("doctor.json", _json(found))
        bundle.writestr("configuration.json", _json(redacted(configuration)))
        if log:
            bundle.writestr("log.txt", redacted_log(log))
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(packed.getvalue())


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"
