"""
Runs a command of this environment with one redaction taken out, before anything has asked for it:
``leaking.py NAME twistd …``; with "" nothing is, and "umask" is a user's mistake.
"""

import runpy
import sys
from typing import Any

import m3u8svc.redact as redact


def _as_it_is(text: str) -> str:
    return text


broken = sys.argv[1]
if broken in ("redact_url", "redact_text"):
    setattr(redact, broken, _as_it_is)
    if broken == "redact_text":
        redact.redact_url = _as_it_is
elif broken in ("mask", "key"):
    import attrs

    import m3u8svc.web.render as render

    def _unmasked(value: Any) -> Any:
        return attrs.asdict(value)

    setattr(render, "settings_object" if broken == "mask" else "extensions_object", _unmasked)
elif broken == "umask":
    import os

    os.umask(0)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
