"""
``m3u8svc serve`` as a child of the harness, with what only a test may say:
``python service_entry.py OPTIONS -- serve …``.

`--boot ID` is the boot of the machine it believes to be in, since a cut of a loop device's power boots nothing.
`--package DIR` is where it, and its muxing child, find the package: a copy that somebody has broken on purpose.
"""

import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """
    Arrange that, then be the service.
    """
    options, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    given = dict(zip(options[::2], options[1::2], strict=True))
    if package := given.get("--package"):
        sys.path.insert(0, package)
    from m3u8svc import merge, tap

    if boot := given.get("--boot"):
        tap.boot_id = lambda: boot
    if package:
        merge.sys = _Interpreter(_python_of(Path(package)))  # type: ignore[assignment]
    from m3u8svc.cli import main as service

    sys.argv = ["m3u8svc", *command]
    service()


class _Interpreter:
    """
    What the merger needs of `sys`: the interpreter of its child.
    """

    def __init__(self, executable: str) -> None:
        self.executable = executable


def _python_of(package: Path) -> str:
    """
    A program that takes the interpreter's arguments, ``-I -u -m MODULE PID``, and finds the module in `package`.
    """
    program = package / "python"
    if not program.exists():
        start = f"import runpy, sys; sys.path.insert(0, {str(package)!r}); sys.argv[1:2] = []; "
        start += "runpy.run_module('m3u8svc.mux', run_name='__main__', alter_sys=True)"
        fresh = program.with_name(f"python.{os.getpid()}")
        fresh.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -u -c "{start}" "$4" "$5"\n', encoding="utf-8")
        fresh.chmod(0o755)
        fresh.rename(program)
    return str(program)


if __name__ == "__main__":
    del sys.path[0]  # this directory, whose modules are nobody's to import
    main(sys.argv[1:])
