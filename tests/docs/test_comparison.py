"""
The page that compares us with others: its recipe works, smaller and on other ports.
"""

import os
from pathlib import Path

from tests.docs.pages import ROOT, Shell
from tests.integration.conftest import require
from tests.integration.nginx_server import free_ports
from tests.needs import lacking

STARTED = (
    "nginx -c $PWD/nginx.conf -e $PWD/nginx.err &\n"
    "until curl -s --fail http://127.0.0.1:{port}/long/index.m3u8 > /dev/null; do sleep 0.1; done"
)
COUNT = "ffprobe -v error -select_streams v:0 -count_packets -show_entries stream=nb_read_packets -of csv=p=0"
ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")


def test_the_race_can_be_run(tmp_path: Path) -> None:
    """The stream is made and served, slowly, and we, ffmpeg and aria2c with ffmpeg make one MP4 of it each."""
    require("aria2c", "bash", "curl", "ffmpeg", "ffprobe", "nginx")
    if not ECHO.exists():
        lacking(f"{ECHO} (libnginx-mod-http-echo)")
    near, far = free_ports(2)
    changes = {
        "-t 24": "-t 4",
        "300000000 / ": "4000000 / ",
        "18081": str(near),
        "18082": str(far),
        "worker_processes 1;": "daemon off; worker_processes 1;" + ("user root;" if os.geteuid() == 0 else ""),
        "nginx -c $PWD/nginx.conf -e $PWD/nginx.err": STARTED.format(port=near),
    }
    with Shell(tmp_path) as shell:
        shell.follow(ROOT / "docs" / "comparison.md", changes)
        said = shell.type(f"for each in ours ffmpeg aria2c; do {COUNT} $each.mp4; done", {})
    assert ["120"] * 3 == said.split()
