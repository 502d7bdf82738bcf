"""
docs/deploy/Dockerfile without a Docker engine: its steps are read and carried out in root directories of their own, as
an engine would, but on this machine's system in place of the image they begin with; then its command runs there, as its
user, with everything else read-only and no network but its own. That is as near as it gets here: layers, the base
image and the engine's own walls are not tried.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests import needs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MACHINE = r"""
set -eu
new_root() {
    mkdir -p "$1/usr" "$1/dev" "$1/proc" "$1/tmp" "$1/opt" "$1/var/lib" "$1/$prefix"
    chmod 1777 "$1/tmp"
    cp -a /etc "$1/etc"
    for link in bin sbin lib lib64; do if [ -L "/$link" ]; then cp -d "/$link" "$1/"; fi; done
    mount --bind /usr "$1/usr"
    mount -o remount,bind,ro "$1/usr"
    mount --rbind /dev "$1/dev"
    mount --rbind /proc "$1/proc"
    mount --bind "$prefix" "$1/$prefix"
    way="$1/$prefix"
    while [ "$way" != "$1" ]; do way=$(dirname "$way"); chmod a+x "$way"; done
}
copy() { mkdir -p "$(dirname "$2")"; cp -a "$1" "$2"; }
run() { root=$1; shift; chroot "$root" /usr/bin/env -i "$@"; }
mount --make-rprivate /
"""

_SERVICE = r"""
mount --rbind "$image" "$image"
mount -o remount,bind,ro "$image"
for place in $writable; do mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$image/$place"; done
ip link set lo up
"""


@attrs.frozen(kw_only=True)
class Dockerfile:
    """
    What it says: the instructions of each stage by its name, in order.
    """

    stages: dict[str, list[tuple[str, str]]]

    @property
    def last(self) -> list[tuple[str, str]]:
        """Those of the image."""
        return list(self.stages.values())[-1]

    def value(self, instruction: str) -> str:
        """What the image has of this, said once."""
        [found] = [rest for name, rest in self.last if name == instruction]
        return found


def read_dockerfile(text: str) -> Dockerfile:
    """
    The few forms that ours has; an instruction that is not known fails.
    """
    known = set("FROM COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split())
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        assert name in known and not rest.endswith("\\"), line
        if name == "FROM":
            stages[rest.partition(" AS ")[2] or "image"] = []
        list(stages.values())[-1].append((name, rest))
    return Dockerfile(stages=stages)


DOCKERFILE = read_dockerfile((DEPLOY / "Dockerfile").read_text(encoding="utf-8"))


def test_the_image_asks_for_little() -> None:
    """It runs as nobody's user, is asked how it is by /readyz, and the compose file takes the rest away."""
    assert "10001" == DOCKERFILE.value("USER")
    assert "/readyz" in DOCKERFILE.value("HEALTHCHECK")
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for line in ("read_only: true", "cap_drop: [ALL]", '"no-new-privileges:true"', 'user: "10001:10001"'):
        assert line in compose
    for volume in json.loads(DOCKERFILE.value("VOLUME")):
        assert f":{volume}" in compose


def steps(places: dict[str, Path], context: Path) -> str:
    """The build, as a shell's script."""
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    said = [f"{name}={value}" for name, value in pip.items()]
    lines = []
    for stage, instructions in DOCKERFILE.stages.items():
        lines.append(f"new_root {places[stage]}")
        for name, rest in instructions:
            if name == "RUN":
                lines.append(shlex.join(["run", str(places[stage]), f"PATH={PATH}", *said, "sh", "-euc", rest]))
            elif name == "COPY":
                *options, source, target = rest.split()
                above = places[options[0].removeprefix("--from=")] if options else context
                lines.append(f"copy {above}/{source.lstrip('/')} {places[stage]}{target}")
    return "\n".join(lines)


def test_the_steps_and_the_command(tmp_path: Path) -> None:
    """Installed as it says, the service starts as its user on a read-only system, is healthy, and ends in order."""
    needs.root("making root directories")
    needs.commands("unshare", "chroot", "ip", "git")
    if os.environ.get("CI") != "true":
        pytest.skip("installs everything anew (150 MB, a minute or two): with CI=true")
    context = tmp_path / "context"
    context.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    packed = subprocess.run(
        ["tar", "--null", "-T", "-", "-cf", "-"], cwd=ROOT, input=listed, check=True, capture_output=True
    )
    subprocess.run(["tar", "-xf", "-", "-C", str(context)], input=packed.stdout, check=True)
    places = {stage: tmp_path / stage for stage in DOCKERFILE.stages}
    image = places["image"]
    path = dict(part.split("=", 1) for part in DOCKERFILE.value("ENV").split())["PATH"]
    entry = json.loads(DOCKERFILE.value("ENTRYPOINT"))
    ask = json.loads(DOCKERFILE.value("HEALTHCHECK").partition(" CMD ")[2])
    writable = [*json.loads(DOCKERFILE.value("VOLUME")), "/tmp"]

    def as_user(*command: str) -> str:
        return shlex.join(
            ["chroot", "--userspec=10001:10001", str(image), "/usr/bin/env", "-i", f"PATH={path}", *command]
        )

    script = "\n".join(
        [
            f"prefix={sys.base_prefix} image={image} writable={shlex.quote(' '.join(writable))}",
            _MACHINE,
            steps(places, context),
            "unshare --net sh -euc " + shlex.quote(
                "\n".join(
                    [
                        f"image={image} writable={shlex.quote(' '.join(writable))}",
                        _SERVICE,
                        as_user(*entry, "token", "create", "--home", "/var/lib/m3u8svc", "--name", "me")
                        + " >/dev/null",
                        as_user(*entry, *json.loads(DOCKERFILE.value("CMD"))) + " & service=$!",
                        f"until {as_user(*ask)} 2>/dev/null; do kill -0 $service; sleep 0.5; done",
                        "echo HEALTHY",
                        f"! {as_user('sh', '-c', 'echo x > /etc/m3u8svc/x')} 2>/dev/null && echo READ-ONLY",
                        as_user("id", "-u"),
                        "kill -TERM $service; wait $service && echo ENDED",
                    ]
                )
            ),
        ]
    )  # fmt: skip
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert 0 == ran.returncode, ran.stdout[-4000:]
    said = [line for line in ran.stdout.splitlines() if line in ("HEALTHY", "READ-ONLY", "10001", "ENDED")]
    assert ["HEALTHY", "READ-ONLY", "10001", "ENDED"] == said, ran.stdout[-4000:]
