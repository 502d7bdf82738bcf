"""The box of the children with libav (H9, R-DEM-2): what they cannot take, reach, start."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3u8svc import doctor, merge
from m3u8svc.mux import protocol
from m3u8svc.mux.box import ADDRESS_SPACE_BYTES
from m3u8svc.sandbox import landlock
from tests import needs

PROBE = f"""
import os, resource, sys
from m3u8svc.mux.box import enter_box
enter_box(int(sys.argv[1]))
try:
    bytearray({ADDRESS_SPACE_BYTES})
except MemoryError:
    print("memory", end=" ")
print(*resource.getrlimit(resource.RLIMIT_CORE), os.getsid(0) == os.getpid(), os.nice(0))
"""


def test_what_it_cannot_take() -> None:
    """No more memory than its own, no core dump, no place in our session, no more processor time than anybody else."""
    own = os.nice(0)
    ran = subprocess.run([sys.executable, "-c", PROBE, str(os.getpid())], capture_output=True, text=True, check=True)
    assert ["memory", "0", "0", "True", str(min(own + 5, 19))] == ran.stdout.split()


def test_where_it_is(tmp_path: Path) -> None:
    """In no directory of ours: the disk of the one it was started in can be unmounted."""
    line = [sys.executable, "-I", "-u", "-m", "m3u8svc.mux", str(os.getpid())]
    with subprocess.Popen(line, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        assert "/" == os.readlink(f"/proc/{child.pid}/cwd")
        child.kill()


def test_a_narrower_box_stays_narrow() -> None:
    """What the service itself may not have is not given to its child."""
    narrow = 256 << 20
    code = PROBE + "print(*resource.getrlimit(resource.RLIMIT_AS))"
    command = ["prlimit", f"--as={narrow}", sys.executable, "-c", code, str(os.getpid())]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [str(narrow)] * 2 == ran.stdout.split()[-2:]


def test_without_its_parent_it_ends() -> None:
    """A child whose parent died before it could ask to be told."""
    ran = subprocess.run([sys.executable, "-c", PROBE, "1"], capture_output=True, text=True, check=False)
    assert (3, "") == (ran.returncode, ran.stdout)


def test_the_parent_knows_what_the_child_wants() -> None:
    """Nobody imports the muxer, so these stand twice."""
    assert (ADDRESS_SPACE_BYTES, protocol.HANDING_FD) == (doctor.ADDRESS_SPACE_BYTES, merge.HANDING_FD)


# -- A closed box ----------------------------------------------------------------------------------------------------


@pytest.fixture
def landlocked() -> None:
    """The kernel has Landlock."""
    needs.walls(filtered=False)


@pytest.fixture
def filtered() -> None:
    """The kernel filters calls."""
    needs.walls(landlocked=False)


ATTEMPTS = """
import ctypes, errno, json, os, resource, socket, sys, threading
from m3u8svc.mux import box
given = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
for wall in given["without"]:
    def refuse(*anything):
        raise OSError(wall)
    setattr(getattr(box, wall), "restrict", refuse)
missing = box.enter_box(given["parent"])
held = open(given["held"], "rb")
report = box.close_box(missing, **given["walls"])

def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result

def connect(family, kind, address):
    with socket.socket(family, kind) as one:
        one.connect(address)

def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"hello", address)

def many():
    opened = []
    while True:
        opened.append(os.dup(0))

def fork():
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)

def execute():
    os.execv("/bin/true", ["true"])

def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()

def write(path, flags):
    os.close(os.open(path, flags, 0o600))

limits = (ctypes.c_uint64 * 2)(10, 10)
arm = os.uname().machine == "aarch64"
attempts = {
    "read a file": lambda: open(given["canary"], "rb").read(),
    "read /etc/passwd": lambda: open("/etc/passwd").read(),
    "list the root": lambda: os.listdir("/"),
    "read its own": lambda: open(given["own"], "rb").read(),
    "read what is open": lambda: held.read(),
    "read a library": lambda: open(os.__file__).read(),
    "write over a file": lambda: write(given["canary"], os.O_WRONLY),
    "write over its own": lambda: write(given["own"], os.O_WRONLY),
    "cut a file off": lambda: write(given["own"], os.O_RDONLY | os.O_TRUNC),
    "make a file": lambda: write(given["canary"] + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "remove a file": lambda: os.unlink(given["canary"]),
    "rename a file": lambda: os.rename(given["own"], given["own"] + "2"),
    "link a file": lambda: os.symlink("/etc/passwd", given["own"] + "3"),
    "change a mode": lambda: os.chmod(given["own"], 0o777),
    "tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, tuple(given["tcp"])),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "udp": lambda: send(tuple(given["udp"])),
    "unix": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, given["unix"]),
    "abstract": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + given["abstract"]),
    "fork": fork,
    "kill": lambda: os.kill(given["parent"], 0),
    "ptrace": lambda: call(117 if arm else 101, 16, given["parent"], 0, 0),
    "mount": lambda: call(40 if arm else 165, 0, 0, 0, 0, 0),
    "io_uring": lambda: call(425, 1, 0),
    "bpf": lambda: call(280 if arm else 321, 0, 0, 0),
    "keyctl": lambda: call(219 if arm else 250, 0, -3, 0),
    "userfaultfd": lambda: call(282 if arm else 323, 1),
    "unshare": lambda: call(97 if arm else 272, 0x10000000),
    "raise a limit": lambda: call(261 if arm else 302, 0, resource.RLIMIT_CPU, ctypes.addressof(limits), 0),
    "many files": many,
    "thread": thread,
    "execute": execute,
}
for name in given["attempts"] or attempts:
    try:
        attempts[name]()
        said = "done"
    except OSError as error:
        said = errno.errorcode.get(error.errno, str(error.errno))
    report[name] = said
    print(json.dumps(report), flush=True)
"""


class Outside:
    """What there is to reach outside: files with content, sockets that would be heard of."""

    def __init__(self, folder: Path) -> None:
        self.own, self.canary, self.held = folder / "own" / "file", folder / "canary", folder / "held"
        self.own.parent.mkdir()
        for path in (self.own, self.canary, self.held):
            path.write_text("canary")
        self.sockets = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "unix": socket.socket(socket.AF_UNIX),
            "abstract": socket.socket(socket.AF_UNIX),
        }
        self.abstract = f"m3u8svc-test-{os.getpid()}-{id(self)}"
        self.sockets["udp"].bind(("127.0.0.1", 0))
        self.sockets["unix"].bind(str(folder / "s"))
        self.sockets["abstract"].bind("\0" + self.abstract)
        for name, listening in self.sockets.items():
            listening.setblocking(False)
            if name != "udp":
                listening.listen()

    def attempt(self, *names: str, without: tuple[str, ...] = (), **walls: object) -> dict[str, object]:
        """What a child in a box can do; `walls` as `close_box` takes them."""
        given = {
            "parent": os.getpid(),
            "without": without,
            "walls": {"read": [str(self.own.parent)], **walls},
            "own": str(self.own),
            "canary": str(self.canary),
            "held": str(self.held),
            "tcp": self.sockets["tcp"].getsockname(),
            "udp": self.sockets["udp"].getsockname(),
            "unix": self.sockets["unix"].getsockname(),
            "abstract": self.abstract,
            "attempts": names,
        }
        ran = subprocess.run([sys.executable, "-I", "-c", ATTEMPTS, json.dumps(given)], capture_output=True, text=True)
        assert "" == ran.stderr
        report: dict[str, object] = json.loads(ran.stdout.splitlines()[-1])
        return report

    def heard(self) -> list[str]:
        """Which sockets somebody came to."""
        came = []
        for name, listening in self.sockets.items():
            try:
                if name == "udp":
                    listening.recvfrom(100)
                else:
                    listening.accept()[0].close()
                came.append(name)
            except BlockingIOError:
                continue
        return came

    def close(self) -> None:
        """Let go of the sockets."""
        for listening in self.sockets.values():
            listening.close()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """The world around the box."""
    found = Outside(tmp_path)
    yield found
    found.close()


NETWORK = ("tcp", "listen", "udp", "unix", "abstract")
REFUSED = ("EPERM", "EACCES", "ENOSYS")


@pytest.mark.usefixtures("landlocked", "filtered")
def test_a_closed_box(outside: Outside) -> None:
    """Nothing outside is read, changed, reached, started or ended; what it was given can be read, and threads run."""
    report = outside.attempt()
    allowed = {"read its own", "read what is open", "read a library", "thread"}
    box = {"landlock", "seccomp", "missing"}
    assert allowed == {name for name, said in report.items() if said == "done"} - box
    refused = {name: said for name, said in report.items() if name not in allowed | box}
    assert {"many files": "EMFILE"} == {name: said for name, said in refused.items() if said not in REFUSED}
    assert (landlock.abi(), True, []) == (report["landlock"], report["seccomp"], report["missing"])
    assert ([], "canary", "canary") == (outside.heard(), outside.canary.read_text(), outside.own.read_text())
    assert ["canary", "held", "own", "s"] == sorted(os.listdir(outside.canary.parent))


@pytest.mark.usefixtures("filtered")
def test_the_filter_alone(outside: Outside) -> None:
    """Where there is no Landlock: no network, no process, no program; files are open, and the child says so."""
    report = outside.attempt(without=("landlock",))
    for name in (*NETWORK, "fork", "execute", "kill", "ptrace", "mount", "bpf", "keyctl", "unshare", "raise a limit"):
        assert "EPERM" == report[name], name
    assert ("ENOSYS", "EPERM") == (report["io_uring"], report["rename a file"])
    assert ("done", 0, True, ["landlock"]) == (
        report["read a file"],
        report["landlock"],
        report["seccomp"],
        report["missing"],
    )
    assert [] == outside.heard()


@pytest.mark.usefixtures("landlocked")
def test_landlock_alone(outside: Outside) -> None:
    """Where there is no filter: no file but its own, no program, no TCP from ABI 4 on, no signal from ABI 6 on."""
    report = outside.attempt(without=("seccomp",))
    files = ("read a file", "read /etc/passwd", "list the root", "write over a file", "write over its own")
    for name in (*files, "make a file", "remove a file", "rename a file", "link a file", "execute"):
        assert "EACCES" == report[name], name
    assert ("done", ["seccomp"]) == (report["read its own"], report["missing"])
    if landlock.abi() >= 4:
        assert ("EACCES", "EACCES") == (report["tcp"], report["listen"])
    if landlock.abi() >= 6:
        assert ("EPERM", "EPERM") == (report["kill"], report["abstract"])


def test_no_wall_at_all(outside: Outside) -> None:
    """A machine that has neither: it is said, and nothing fails."""
    report = outside.attempt("read a file", "tcp", "many files", without=("landlock", "seccomp"))
    assert {"landlock": 0, "seccomp": False, "missing": ["landlock", "seccomp"]} == {
        name: report[name] for name in ("landlock", "seccomp", "missing")
    }
    assert ("done", "EMFILE") == (report["read a file"], report["many files"])
    assert ["tcp"] == outside.heard()


@pytest.mark.usefixtures("landlocked")
def test_a_directory_that_nobody_named(outside: Outside) -> None:
    """Where the parent does not say what will be read, everything can be, nothing can be changed, and it is said."""
    report = outside.attempt("read a file", "write over a file", "remove a file", read=None)
    assert ("done", "EACCES", "EACCES") == tuple(
        report[name] for name in ("read a file", "write over a file", "remove a file")
    )
    assert ["paths"] == report["missing"]


@pytest.mark.usefixtures("landlocked")
def test_a_directory_to_write_to(outside: Outside) -> None:
    """The journal's: files are made, written and removed there, and nowhere else."""
    folder = str(outside.canary.parent / "journal")
    os.mkdir(folder)
    outside.canary = Path(folder) / "old"
    outside.canary.write_text("old")
    report = outside.attempt("make a file", "write over a file", "read a file", "remove a file", write=[folder])
    assert {"done"} == {report[name] for name in ("make a file", "write over a file", "read a file", "remove a file")}
    assert ("EACCES", []) == (outside.attempt("write over its own")["write over its own"], report["missing"])
