"""
Where results may be saved: any directory the process may write to except our own, the system's, and those where a
user's programs keep their configuration and keys (DESIGN 5.8).

A place is judged by what it really is, with links and ``..`` resolved, and that is what a task keeps: links that were
there when it was created are the user's, and any that comes later is refused (`nofollow`). Where strangers may ask,
results lie in the operator's roots only (R-PATH-2). All blocking: callers run these in threads.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
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


@attrs.frozen(kw_only=True)
class Rules:
    """
    Where nothing may be saved, and where alone it may. `ours` are directories of ours, in which nothing may be saved,
    and files of ours, beside which nothing may be. `roots` None: anywhere else.
    """

    ours: tuple[Path, ...] = ()
    roots: tuple[Path, ...] | None = None


def judged_place(field: str, location: str, rules: Rules, *, by_operator: bool = False) -> str:
    """
    The directory a location means, absolute and without links; "" for "".

    Args:
        field: what the request calls it.
        by_operator: it was not asked for by a request; whoever runs the service may choose among the system's.

    Raises:
        UnsafePath: nothing may be saved there, or nothing can be.
    """
    if not location:
        return ""
    try:
        real = _resolved(Path(location).expanduser().absolute())
    except RuntimeError:  # no home for ~, and Python before 3.13 says so of a loop of links
        raise UnsafePath(field=field, reason="无法解析该路径", value=location) from None
    except OSError as error:
        raise UnsafePath(field=field, reason=error.strerror or type(error).__name__, value=location) from error
    reason = _problem(real, rules, by_operator=by_operator)
    if reason:
        raise UnsafePath(field=field, reason=reason, value=location)
    return str(real)


def insist_on_place(field: str, place: str, rules: Rules) -> None:
    """
    See that a place that was judged is still where it was, and allowed: once more when it is opened.

    Raises:
        UnsafePath: it is not.
    """
    if place and judged_place(field, place, rules, by_operator=True) != place:
        raise UnsafePath(field=field, reason="创建任务后，路径中出现了符号链接", value=place)


def judged_roots(locations: Iterable[str], ours: Iterable[Path]) -> tuple[Path, ...]:
    """
    The operator's roots, without links.

    Raises:
        UnsafePath: one holds what is ours or the system's, or lies in it: then strangers could save there.
    """
    roots = []
    for location in dict.fromkeys(filter(None, locations)):
        root = Path(judged_place("save_roots", location, Rules(ours=tuple(ours)), by_operator=True))
        if any(each.resolve().is_relative_to(root) for each in ours):
            raise UnsafePath(field="save_roots", reason="其中有本服务自己的文件", value=location)
        roots.append(root)
    return tuple(roots)


def doubtful_place(path: Path) -> str:
    """
    Why an operator who lets results be saved in this directory may not have meant it, as `UnsafePath.WHY` has it; ""
    for no reason. Blocking.
    """
    try:
        return _problem(_resolved(path), Rules(ours=(), roots=None), by_operator=False)
    except OSError:
        return ""  # whoever tries to save there says why not


def _resolved(path: Path) -> Path:
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise
    return path.resolve()


def _problem(real: Path, rules: Rules, *, by_operator: bool) -> str:
    for each in rules.ours:
        if real == each.parent.resolve() if each.is_file() else real.is_relative_to(each.resolve()):
            return "这是本服务自己的目录"
    if rules.roots is not None and not any(real.is_relative_to(root) for root in rules.roots):
        return "不在允许的保存目录中，见 docs/configuration.md 的 save_roots"
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
