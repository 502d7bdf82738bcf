"""
Where results may be saved: any directory the process may write to except our own, the system's, and those where a
user's programs keep their configuration and keys (DESIGN 5.8).

A place is judged by what it really is, with links and ``..`` resolved. All blocking: callers run these in threads.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from platformdirs import user_config_path

from m3u8svc.errors import UnsafePath
from m3u8svc.tasks.directories import OPEN_DIRECTORIES, SYSTEM_DIRECTORIES, is_system_directory

_PRIVATE = (
    ".ssh .gnupg .config .aws .azure .kube .docker .pki .mozilla .thunderbird .password-store .local/bin"
    " .local/share/applications .local/share/keyrings .local/share/systemd"
).split()
_UNUSABLE = (errno.ELOOP, errno.ENAMETOOLONG)
"""What no later moment mends. Other errors may: a directory that is missing is made."""


def own_places(*paths: Path | str | None) -> tuple[Path, ...]:
    """
    Paths of ours under the names they were given and the real ones they have now; None and "" are left out.
    """
    given = [Path(path).expanduser().absolute() for path in paths if path]
    return tuple(dict.fromkeys([*given, *(path.resolve() for path in given)]))


def judged_place(field: str, location: str, ours: Iterable[Path], *, by_operator: bool = False) -> str:
    """
    The absolute directory a location means; "" for "".

    Args:
        field: what the request calls it.
        ours: directories of ours, in which nothing may be saved, and files of ours, beside which nothing may be.
        by_operator: it was not asked for by a request; whoever runs the service may choose among the system's.

    Raises:
        UnsafePath: nothing may be saved there, or nothing can be.
    """
    if not location:
        return ""
    try:
        path = Path(location).expanduser().absolute()
        real = _resolved(path)
    except RuntimeError:  # no home for ~, and Python before 3.13 says so of a loop of links
        raise UnsafePath(field=field, reason="无法解析该路径", value=location) from None
    except OSError as error:
        raise UnsafePath(field=field, reason=error.strerror or type(error).__name__, value=location) from error
    reason = _problem(real, ours, by_operator=by_operator)
    if reason:
        raise UnsafePath(field=field, reason=reason, value=location)
    return str(path)


def _resolved(path: Path) -> Path:
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise
    return path.resolve()


def _problem(real: Path, ours: Iterable[Path], *, by_operator: bool) -> str:
    for each in ours:
        if real == each.parent.resolve() if each.is_file() else real.is_relative_to(each.resolve()):
            return "这是本服务自己的目录"
    if by_operator:
        return ""
    if _is_systems(real):
        return "是系统目录"
    return "是用户的配置目录" if any(real.is_relative_to(each) for each in _private()) else ""


def _is_systems(real: Path) -> bool:
    """By its name, or by what the system's names lead to: ``/var/run`` is ``/run``, ``/etc`` may be elsewhere."""
    if is_system_directory(str(real)):
        return True
    leads_there = any(real.is_relative_to(each) for each in _elsewhere(SYSTEM_DIRECTORIES))
    return leads_there and not any(real.is_relative_to(each) for each in map(Path, OPEN_DIRECTORIES))


def _elsewhere(names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        real = Path(name).resolve()
        if real != Path("/"):
            yield real


def _private() -> Iterator[Path]:
    try:
        home = Path.home()
    except RuntimeError:
        return  # a user without a home keeps nothing there
    for each in (user_config_path(), *(home / name for name in _PRIVATE)):
        yield each
        yield each.resolve()
