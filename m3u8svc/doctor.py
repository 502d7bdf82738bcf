"""
What may be wrong with this machine, this installation and this configuration before anything fails: one finding after
the other, each with what it means and what to do. Nothing is changed, taken or locked; a running service goes on.

Every check is a function of the configuration that looks at one thing; what it thinks of that is beside the look, since
neither is longer than a few lines.
"""

import importlib.metadata
import ipaddress
import json
import os
import resource
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal  # Any: JSON values
from urllib.parse import quote

import attrs

from m3u8svc import __version__
from m3u8svc.access.openness import way_in
from m3u8svc.config import Configuration
from m3u8svc.descriptors import COMFORTABLE, LEAST, WANTED
from m3u8svc.diskwatch import look_at
from m3u8svc.errors import UnsafePath
from m3u8svc.home import Home
from m3u8svc.redact import escape_controls, redact_text
from m3u8svc.roots import doubtful_place
from m3u8svc.sandbox.level import Box, kernel, offered
from m3u8svc.store.backups import judge
from m3u8svc.store.database import VERSION_TABLE, parse_database_url
from m3u8svc.store.tables import REVISION
from m3u8svc.tasks.reserve import trouble_with

Status = Literal["ok", "warning", "problem"]
ADDRESS_SPACE_BYTES = 3 << 29
"""What a muxing child wants (see `mux.box`)."""
CHILD_S = 60.0
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})
"""File systems on which SQLite's locks and its shared memory cannot be relied on."""
SQLITE_FIXED = (3, 51, 3)
"""Before it two connections that write at once can damage a database in WAL mode; we write from one."""
LIBAV_FLOOR = (62, 12)
"""libavformat: what came before lacks a year of repairs in its demuxers."""
PACKAGES = ("av", "twisted", "treq", "klein", "m3u8", "cryptography", "sqlalchemy", "pydantic", "attrs", "pluggy")
_SOURCE = """
import json, av
print(json.dumps({"av": av.__version__, "libraries": {name: list(v) for name, v in av.library_versions.items()}}))
"""


@attrs.frozen(kw_only=True)
class Finding:
    """
    One thing that was looked at, in both languages; `advice` is empty where nothing is to be done.
    """

    about: str
    status: Status
    zh: str
    en: str
    advice_zh: str = ""
    advice_en: str = ""

    def as_fields(self) -> dict[str, str]:
        """As JSON, named as everywhere in the API."""
        return {
            "about": self.about,
            "status": self.status,
            "text": self.zh,
            "text_en": self.en,
            "advice": self.advice_zh,
            "advice_en": self.advice_en,
        }


Check = Callable[[Configuration], Iterable[Finding]]


def examine(configuration: Configuration) -> list[Finding]:
    """
    Everything there is to find, in the order of `CHECKS`. A check that fails is a finding.
    """
    found: list[Finding] = []
    for about, check in CHECKS.items():
        try:
            found += check(configuration)
        except Exception as error:  # one look that fails must not hide the others
            reason = redact_text(f"{type(error).__name__}: {error}")
            found.append(
                Finding(
                    about=about,
                    status="warning",
                    zh=f"无法检查：{reason}",
                    en=f"cannot be looked at: {reason}",
                )
            )
    return found


def worst(findings: Iterable[Finding]) -> Status:
    """
    The verdict on all of them. Pure.
    """
    states = {finding.status for finding in findings}
    return "problem" if "problem" in states else "warning" if "warning" in states else "ok"


def versions() -> dict[str, str]:
    """
    What runs here.
    """
    found = {"m3u8svc": __version__, "python": sys.version.split()[0], "system": kernel()}
    found["sqlite"] = sqlite3.sqlite_version
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


# -- The box (R-DEM) -------------------------------------------------------------------------------------------------


def _box(configuration: Configuration) -> Iterator[Finding]:
    yield judged_box(offered())


def judged_box(box: Box) -> Finding:
    """
    What a box is worth. Pure.
    """
    match box.level:
        case "full":
            return Finding(
                about="sandbox",
                status="ok",
                zh=f"媒体进程的隔离完整：Landlock（ABI {box.landlock}）和 seccomp 都可用",
                en=f"the box of the muxing child is complete: Landlock (ABI {box.landlock}) and seccomp",
            )
        case level:
            missing = ", ".join(box.missing)
            return Finding(
                about="sandbox",
                status="warning",
                zh=f"媒体进程的隔离不完整（{level}）：缺少 {missing}（{kernel()}）",
                en=f"the box of the muxing child is {level}: {missing} missing ({kernel()})",
                advice_zh="使用 Linux 5.13 或更新的内核；在容器中允许 landlock 和 seccomp 调用。见 docs/security.md。",
                advice_en="use Linux 5.13 or newer; in a container allow the system calls of landlock and seccomp. "
                "See docs/security.md.",
            )


def _libav(configuration: Configuration) -> Iterator[Finding]:
    """Asked in a process of its own, as always."""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", _SOURCE],
        capture_output=True,
        timeout=CHILD_S,
        env={"LC_ALL": "C.UTF-8"},
        cwd="/",
        stdin=subprocess.DEVNULL,
    )
    if ran.returncode:
        reason = redact_text(ran.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:500])
        yield Finding(
            about="libav",
            status="problem",
            zh=f"PyAV 不能加载：{reason}",
            en=f"PyAV cannot be loaded: {reason}",
            advice_zh="重新安装：pip install --force-reinstall av",
            advice_en="install it again: pip install --force-reinstall av",
        )
        return
    found: dict[str, Any] = json.loads(ran.stdout)
    yield judged_libav(str(found["av"]), tuple(found["libraries"].get("libavformat", (0, 0))))


def judged_libav(av: str, libavformat: tuple[int, ...]) -> Finding:
    """
    Whether libav is young enough (R-DEM-4). Pure.
    """
    shown = ".".join(map(str, libavformat))
    old = libavformat[:2] < LIBAV_FLOOR
    return Finding(
        about="libav",
        status="warning" if old else "ok",
        zh=f"PyAV {av}，libavformat {shown}" + ("，缺少近年的安全修复" if old else ""),
        en=f"PyAV {av}, libavformat {shown}" + (", which lacks recent security repairs" if old else ""),
        advice_zh="升级：pip install --upgrade av" if old else "",
        advice_en="upgrade it: pip install --upgrade av" if old else "",
    )


# -- Files (R-FILE) --------------------------------------------------------------------------------------------------


def _home(configuration: Configuration) -> Iterator[Finding]:
    home = Home(Path(configuration.home).expanduser().absolute())
    try:
        found = home.path.lstat()
    except FileNotFoundError:
        yield Finding(
            about="home",
            status="ok",
            zh=f"状态目录 {home.path} 还不存在，第一次启动时创建",
            en=f"the state directory {home.path} is not there yet; the first start makes it",
        )
        return
    problems = judged_home(home.path, found, os.geteuid())
    pid = holder(home.lock)
    running = (f"，进程 {pid} 正在使用", f", process {pid} has it") if pid else ("", "")
    yield from problems or [
        Finding(
            about="home",
            status="ok",
            zh=f"状态目录 {home.path} 只有自己能进入{running[0]}",
            en=f"nobody else may enter the state directory {home.path}{running[1]}",
        )
    ]


def judged_home(path: Path, found: os.stat_result, user: int) -> list[Finding]:
    """
    What is wrong with the state directory: the service does not start in one that is not its own. Pure.
    """
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        return [
            _problem("home", f"{path} 不是目录", f"{path} is not a directory", "用 --home 指定一个目录", "name one")
        ]
    if found.st_uid != user:
        said = (
            f"{path} 属于用户 {found.st_uid}，服务以用户 {user} 运行",
            (f"{path} belongs to user {found.st_uid}, not to {user}"),
        )
        return [_problem("home", *said, f"chown {user} {path}", f"chown {user} {path}")]
    if mode & 0o022:
        said = f"别人可以写入 {path}（{mode:o}），服务不会启动", f"others may write to {path} ({mode:o}): no start"
        return [_problem("home", *said, f"chmod 700 {path}", f"chmod 700 {path}")]
    if mode & 0o077:
        return [
            Finding(
                about="home",
                status="warning",
                zh=f"别人可以查看 {path}（{mode:o}）",
                en=f"others may look into {path} ({mode:o})",
                advice_zh=f"chmod 700 {path}",
                advice_en=f"chmod 700 {path}",
            )
        ]
    return []


def _secret_files(configuration: Configuration) -> Iterator[Finding]:
    """The configuration, and what is in the state directory."""
    paths = [Path(configuration.file).expanduser()] if configuration.file else []
    home = Path(configuration.home).expanduser().absolute()
    for folder in (home, home / "backups"):
        try:
            paths += sorted(path for path in folder.iterdir() if path.is_file())
        except OSError:
            continue
    open_ones = []
    for path in paths:
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                open_ones.append(str(path))
        except OSError:
            continue
    if open_ones:
        names = " ".join(map(escape_controls, open_ones))
        yield Finding(
            about="files",
            status="warning",
            zh=f"别人可以读取：{names}",
            en=f"others may read: {names}",
            advice_zh=f"chmod 600 {names}",
            advice_en=f"chmod 600 {names}",
        )
    else:
        yield Finding(
            about="files",
            status="ok",
            zh=f"配置和状态目录中的 {len(paths)} 个文件只有自己能读",
            en=f"nobody else may read the {len(paths)} files of configuration and state",
        )


def _save_dir(configuration: Configuration) -> Iterator[Finding]:
    path = Path(configuration.save_dir).expanduser().absolute()
    if doubt := doubtful_place(path):
        yield Finding(
            about="save_dir",
            status="warning",
            zh=f"保存目录 {path} {doubt}",
            en=f"the save directory is {path}: {UnsafePath.WHY[doubt]}",
            advice_zh="用 --save-dir 指定存放影片的目录：其他程序会读取或运行那里的文件",
            advice_en="name a directory for films with --save-dir: other programs read or run what they find there",
        )
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield _problem(
            "save_dir",
            f"不能写入保存目录 {path}",
            f"the save directory {path} cannot be written to",
            "用 --save-dir 指定另一个目录，或改变它的权限",
            "name another with --save-dir, or change its permissions",
        )
        return
    disk = look_at(str(path))
    trouble = trouble_with(str(path), disk, configuration.reserve)
    free = f"{disk.free_bytes / (1 << 30):.1f} GiB"
    if trouble is not None:
        yield _problem("save_dir", trouble.text("zh"), trouble.text("en"), trouble.advice("zh"), trouble.advice("en"))
        return
    yield Finding(
        about="save_dir",
        status="ok",
        zh=f"保存目录 {path} 可写，空闲 {free}",
        en=f"the save directory {path} can be written to, {free} free",
    )


# -- The database ----------------------------------------------------------------------------------------------------


def _database(configuration: Configuration) -> Iterator[Finding]:
    home = Home(Path(configuration.home).expanduser().absolute())
    url = parse_database_url(configuration.database or home.database_url)
    if url.drivername != "sqlite":
        yield from _postgres(url)
        return
    path = Path(url.database or "")
    if not path.exists():
        yield Finding(
            about="database",
            status="ok",
            zh=f"数据库 {path} 还不存在",
            en=f"the database {path} is not there yet",
        )
        return
    yield from _sqlite(path, is_open=bool(holder(home.lock)))
    kind = file_system(path)
    if kind in REMOTE:
        yield Finding(
            about="database",
            status="warning",
            zh=f"数据库 {path} 在网络文件系统（{kind}）上，SQLite 的锁在那里不可靠",
            en=f"the database {path} is on a network file system ({kind}), where SQLite's locks cannot be relied on",
            advice_zh="用 --home 把状态目录放到本机磁盘，或使用 PostgreSQL",
            advice_en="put the state directory on a local disk with --home, or use PostgreSQL",
        )


def _sqlite(path: Path, *, is_open: bool) -> Iterator[Finding]:
    """A file that is open is read as others read it; one that is not, without making anything beside it."""
    log = Path(f"{path}-wal")
    was_killed = not is_open and log.exists() and log.stat().st_size > 0
    try:
        if is_open:
            revisions = _revisions(path, "mode=ro", check=True)
        elif was_killed:
            with _put_together(path, log) as whole:
                revisions = _revisions_at_rest(whole)
        else:
            revisions = _revisions_at_rest(path)
    except sqlite3.Error as error:
        said = escape_controls(str(error))
        yield _problem(
            "database",
            f"数据库 {path} 损坏：{said}",
            f"the database {path} is damaged: {said}",
            "停止服务后再启动：损坏的数据库会由备份恢复，见 docs/configuration.md",
            "stop and start the service: a damaged database is restored from its backups, see docs/configuration.md",
        )
        return
    except OSError as error:
        yield Finding(
            about="database",
            status="warning",
            zh=f"无法检查数据库 {path}：{error.strerror}",
            en=f"the database {path} cannot be checked: {error.strerror}",
            advice_zh="检查它的权限和临时目录的空间",
            advice_en="look at its permissions, and at the room where temporary files go",
        )
        return
    yield judged_schema(path, revisions)
    if was_killed:
        yield Finding(
            about="database",
            status="ok",
            zh="上次没有正常停止，下次启动时检查并并入日志",
            en="the last stop was not clean; the next start checks it and takes in its log",
        )


@contextmanager
def _put_together(path: Path, log: Path) -> Iterator[Path]:
    """
    A copy of a database with what a killed service left in its log: without that the file may be half of anything.
    """
    with tempfile.TemporaryDirectory(prefix="m3u8svc-doctor-") as place:
        whole = Path(place) / path.name
        shutil.copyfile(path, whole)
        shutil.copyfile(log, f"{whole}-wal")
        with closing(sqlite3.connect(whole)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        yield whole


def _revisions_at_rest(path: Path) -> list[str]:
    if wrong := judge(path):
        raise sqlite3.DatabaseError(wrong)
    return _revisions(path, "mode=ro&immutable=1", check=False)


def _revisions(path: Path, options: str, *, check: bool) -> list[str]:
    with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?{options}", uri=True, timeout=5.0)) as connection:
        if check:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
        return [row[0] for row in connection.execute(f"SELECT version_num FROM {VERSION_TABLE}")]


def judged_schema(path: Path, revisions: list[str]) -> Finding:
    """
    Whether we can use a database of this schema. Pure.
    """
    shown = ", ".join(revisions) or "-"
    if revisions == [REVISION]:
        return Finding(
            about="database",
            status="ok",
            zh=f"数据库 {path} 完好，结构 {shown}",
            en=f"the database {path} is sound, schema {shown}",
        )
    return Finding(
        about="database",
        status="warning",
        zh=f"数据库 {path} 的结构是 {shown}，本版本使用 {REVISION}",
        en=f"the schema of the database {path} is {shown}, this version uses {REVISION}",
        advice_zh="较旧的结构会在下次启动时更新；较新的需要较新的 m3u8svc",
        advice_en="the next start brings an older one up to date; a newer one needs a newer m3u8svc",
    )


def _postgres(url: Any) -> Iterator[Finding]:  # Any: SQLAlchemy's URL
    from sqlalchemy import create_engine, text

    shown = f"{url.host or 'localhost'}/{url.database}"
    try:
        engine = create_engine(url, connect_args={"connect_timeout": 5})
        with engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            revisions = [str(row[0]) for row in connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))]
        engine.dispose()
    except Exception as error:  # whatever a driver that may not even be installed makes of it
        reason = redact_text(str(error).splitlines()[0][:300])
        yield _problem(
            "database",
            f"PostgreSQL {shown} 不可用：{reason}",
            f"PostgreSQL {shown} cannot be used: {reason}",
            "检查 --database 和数据库服务器",
            "look at --database and at the server",
        )
        return
    yield judged_schema(Path(shown), revisions)


def _sqlite_version(configuration: Configuration) -> Iterator[Finding]:
    old = sqlite3.sqlite_version_info < SQLITE_FIXED
    yield Finding(
        about="sqlite",
        status="ok",
        zh=f"SQLite {sqlite3.sqlite_version}" + ("；本服务只用一个写连接，不受其 WAL 缺陷影响" if old else ""),
        en=f"SQLite {sqlite3.sqlite_version}"
        + ("; its flaw in WAL mode takes two writers, we have one" if old else ""),
    )


# -- Limits ----------------------------------------------------------------------------------------------------------


def _descriptors(configuration: Configuration) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    yield judged_descriptors(most if soft == resource.RLIM_INFINITY else max(soft, most))


def judged_descriptors(limit: int) -> Finding:
    """
    Whether so many open files will do. Pure.
    """
    status: Status = "problem" if limit < LEAST else "warning" if limit < COMFORTABLE else "ok"
    return Finding(
        about="descriptors",
        status=status,
        zh=f"最多可以打开 {limit} 个文件",
        en=f"{limit} files may be open",
        advice_zh="" if status == "ok" else f"提高 ulimit -n（至少 {COMFORTABLE}）",
        advice_en="" if status == "ok" else f"raise ulimit -n to at least {COMFORTABLE}",
    )


def _memory(configuration: Configuration) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    narrow = hard != resource.RLIM_INFINITY and hard < ADDRESS_SPACE_BYTES
    shown = "" if hard == resource.RLIM_INFINITY else f" {hard >> 20} MiB"
    yield Finding(
        about="memory",
        status="warning" if narrow else "ok",
        zh=f"地址空间限制为{shown}，合并大文件时可能不够" if narrow else "地址空间足够合并使用",
        en=f"address space is limited to{shown}: large files may fail to merge" if narrow else "enough address space",
        advice_zh="提高 ulimit -v" if narrow else "",
        advice_en="raise ulimit -v" if narrow else "",
    )


def _clock(configuration: Configuration) -> Iterator[Finding]:
    year = time.gmtime().tm_year
    wrong = not 2025 <= year < 2100
    yield Finding(
        about="clock",
        status="warning" if wrong else "ok",
        zh=f"系统时间是 {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC",
        en=f"the clock says {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC",
        advice_zh="校正系统时间：证书会显得无效" if wrong else "",
        advice_en="set it right: certificates look invalid" if wrong else "",
    )


def _names(configuration: Configuration) -> Iterator[Finding]:
    encoding = sys.getfilesystemencoding()
    good = encoding.lower().replace("-", "") == "utf8"
    yield Finding(
        about="locale",
        status="ok" if good else "warning",
        zh=f"文件名编码是 {encoding}",
        en=f"file names are encoded in {encoding}",
        advice_zh="" if good else "设置 LC_ALL=C.UTF-8，否则不能保存中文文件名",
        advice_en="" if good else "set LC_ALL=C.UTF-8, or names beyond ASCII cannot be saved",
    )


# -- The network -----------------------------------------------------------------------------------------------------


def _listeners(configuration: Configuration) -> Iterator[Finding]:
    home = Home(Path(configuration.home).expanduser().absolute())
    running = holder(home.lock)
    planned = []
    for endpoint in configuration.listen:
        shown = escape_controls(endpoint)
        address = tcp_address(endpoint)
        if address is None:
            yield Finding(about="listen", status="ok", zh=f"监听 {shown}（未检查）", en=f"{shown} (not looked at)")
            continue
        taken = address[1] != 0 and is_taken(*address)
        if taken and not running:
            yield _problem(
                "listen",
                f"{shown}：端口已被别的程序占用",
                f"{shown}: another program has that port",
                "用 --listen 换一个端口，或停止那个程序",
                "name another port with --listen, or stop that program",
            )
        else:
            state = ("服务正在监听", "the service listens there") if taken else ("可以监听", "free to listen on")
            yield Finding(about="listen", status="ok", zh=f"{shown}：{state[0]}", en=f"{shown}: {state[1]}")
        planned.append(Planned(endpoint=endpoint, host=address[0]))
    way = way_in(planned, configuration.front.trusted, listen_named=configuration.listen_named)
    if way is not None and not (home.tokens.exists() or configuration.users):
        yield _problem("listen", way.text("zh"), way.text("en"), way.todo_zh, way.todo_en)
    for each in planned:
        if each.host == "0.0.0.0" and configuration.front.trusted and not configuration.hosts:
            shown = escape_controls(each.endpoint)
            yield Finding(
                about="listen",
                status="warning",
                zh=f"{shown}：没有设置 [web] hosts，只响应本机的请求",
                en=f"{shown}: without [web] hosts it answers this machine only",
                advice_zh="把反向代理所用的主机名写入 [web] hosts，如 films.example",
                advice_en="put the names that the reverse proxy serves into [web] hosts, such as films.example",
            )


@attrs.frozen(kw_only=True)
class Planned:
    """
    A place where the service would listen, by what its endpoint says.
    """

    endpoint: str
    host: str

    @property
    def stays_here(self) -> bool:
        """Whether only this machine can reach it. What a name means is judged when the service listens."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def tcp_address(endpoint: str) -> tuple[str, int] | None:
    """
    Where a plain TCP endpoint listens; None for any other kind. Pure.
    """
    kind, *rest = endpoint.replace(r"\:", "\0").split(":")
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    plain = [part for part in rest if "=" not in part]
    port = named.get("port", plain[0] if plain else "")
    if kind not in ("tcp", "tcp4") or not port.isascii() or not port.isdigit() or int(port) > 65535:
        return None
    return named.get("interface", "").replace("\0", ":") or "0.0.0.0", int(port)


def is_taken(host: str, port: int) -> bool:
    """
    Whether something listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.settimeout(2.0)
        return trial.connect_ex((host, port)) == 0


# -- What checks look at ---------------------------------------------------------------------------------------------


def holder(lock: Path) -> int:
    """
    The process that has the state directory, as its lock file says; 0 for none. The lock is not touched.
    """
    try:
        pid = int(lock.read_text(encoding="ascii").strip() or "0")
    except (OSError, ValueError):
        return 0
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return pid
    except OSError:
        return 0
    return pid


def file_system(path: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """
    The kind of file system a path is on; "" where the system does not say.
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    real = os.path.realpath(path)
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4].replace("\\040", " ")
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, rest.split(" ")[0]
    return kind


def _problem(about: str, zh: str, en: str, advice_zh: str, advice_en: str) -> Finding:
    return Finding(about=about, status="problem", zh=zh, en=en, advice_zh=advice_zh, advice_en=advice_en)


CHECKS: Mapping[str, Check] = {
    "sandbox": _box,
    "libav": _libav,
    "home": _home,
    "files": _secret_files,
    "save_dir": _save_dir,
    "database": _database,
    "sqlite": _sqlite_version,
    "descriptors": _descriptors,
    "memory": _memory,
    "clock": _clock,
    "locale": _names,
    "listen": _listeners,
}
