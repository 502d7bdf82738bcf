"""
docs/writing-plugins.md, followed line by line by somebody who has only that page.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import require
from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import running

PAGE = (Path(__file__).parents[2] / "docs" / "writing-plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The distribution of the page, its files as they stand there."""
    blocks = re.compile(r"^`(m3u8svc-leave-out/[\w./-]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for name, content in blocks.findall(PAGE):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tmp_path / "m3u8svc-leave-out"


def run(*command: str, cwd: Path, **environment: str) -> str:
    """What a command prints; it must end well."""
    ran = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def installed(distribution: Path, site: Path) -> Path:
    """The wheel of a distribution, built and installed with pip in a directory of its own."""
    wheels = distribution.parent / "wheels"
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(distribution)]
    run(*build, cwd=distribution.parent, HOME=str(distribution.parent))
    [wheel] = wheels.glob("*.whl")
    quiet = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--root-user-action=ignore"]
    run(sys.executable, "-m", "pip", "install", *quiet, "--target", str(site), str(wheel), cwd=distribution.parent)
    return site


def test_the_page_as_a_new_author_follows_it(
    written: Path, tmp_path: Path, nginx: Nginx, streams: dict[str, Stream]
) -> None:
    """Its tests are green; built and installed with pip it is in the list, and its option changes a task."""
    require("curl")
    assert ["__init__.py", "pyproject.toml", "test_leave_out.py"] == sorted(
        each.name for each in written.rglob("*") if each.is_file()
    )
    site = installed(written, tmp_path / "site")
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(written / "tests")]
    assert "2 passed" in run(sys.executable, *tests, cwd=tmp_path, PYTHONPATH=str(site))

    (body,) = re.findall(r"-d '(\{.*?\})' \\\n", PAGE)
    asked = json.loads(body)
    with running(tmp_path / "service", before=("env", f"PYTHONPATH={site}")) as service:
        [plugin] = service.ask("GET", "/api/plugins").value["plugins"]
        assert ("leave-out", "0.1.0", "active") == (plugin["name"], plugin["version"], plugin["state"])
        shown = run(
            sys.executable, "-m", "m3u8svc", "plugins", "--server", service.base, cwd=tmp_path, LC_ALL="C.UTF-8"
        )
        row = re.search(r"^leave-out +0\.1\.0 +active", PAGE, re.MULTILINE)
        assert row is not None
        assert row[0].split() in [line.split()[:3] for line in shown.splitlines()]
        word = {"leave-out": {"word": "1.ts"}}
        whole = service.finish(nginx.base + streams["plain"].path, "whole")
        task = service.finish(nginx.base + streams["plain"].path, asked["filename"], plugins=word)
        assert whole["segments_total"] - 1 == task["segments_total"]
        assert any("插件 leave-out 跳过了 1 个分片" in warning for warning in task["warnings"]), task["warnings"]
        refused = service.ask("POST", "/api/tasks", {**asked, "plugins": {"leave-out": {"word": 5}}})
        assert (400, True) == (refused.status, "plugins.leave-out.word" in refused.text)
