"""The documents say what is so: tables are compared with the code, examples are run."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from m3u8svc.config import load_configuration
from m3u8svc.errors import Fault, catalogue
from m3u8svc.tap import Options
from m3u8svc.tasks.task import SETTING_NAMES, Extensions
from m3u8svc.web.schema import parse_change, parse_curl_request, parse_settings, parse_task

ROOT = Path(__file__).parent.parent
API = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

EXTENSION_NAMES = [field.name for field in attrs.fields(Extensions)]
WHOSE = {
    Fault.CALLER: "the request",
    Fault.ORIGIN: "the stream or its server",
    Fault.PROXY: "the proxy",
    Fault.PLUGIN: "a plugin",
    Fault.OPERATOR: "this machine or its configuration",
    Fault.SERVICE: "us",
}


def error_table() -> str:
    """The table of error codes, from the catalogue."""
    rows = ["| code | about | text |", "|---|---|---|"]
    for each in sorted(catalogue(), key=lambda each: each.code):
        text = re.sub(r"\{(\w+)(![rs])?\}", r"‹\1›", each.zh)
        rows.append(f"| `{each.code}` | {WHOSE[each.fault]} | {text} |")
    return "\n".join(rows)


def test_error_codes_are_documented() -> None:
    """docs/http-api.md has every code of the catalogue, and no other."""
    found = re.search(r"<!-- error codes: begin -->\n(.*)\n<!-- error codes: end -->", API, re.DOTALL)
    assert found is not None
    assert error_table() == found.group(1)


def test_the_page_of_errors_is_that_of_the_catalogue() -> None:
    """Made anew it is the same: ``python docs/errors_page.py > docs/errors.md``."""
    assert errors_page().page() + "\n" == (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def errors_page() -> Any:
    """docs/errors_page.py as a module."""
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs" / "errors_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [*SETTING_NAMES, *EXTENSION_NAMES, "playlist", "use_http_headers"])
def test_every_field_is_documented(name: str) -> None:
    """No field of a request is missing from the page."""
    assert f"`{name}`" in API


@pytest.mark.parametrize(
    "text", ["任务ID不能为空", "任务不存在", "更新任务失败", "删除任务失败", "保存任务失败", "方法不支持"]
)
def test_every_documented_message_stands_there(text: str) -> None:
    """The contract's messages are quoted."""
    assert f'"{text}"' in API


def test_request_examples_are_valid() -> None:
    """What the curl lines send is what we take."""
    bodies = re.findall(r"-d '(\{.*?\})'", API + README)
    assert 10 == len(bodies)
    for body in bodies:
        if "filename" in json.loads(body):
            parse_task(body.encode(), mergers=("mp4",), storages=("disk",))
        elif "command" in json.loads(body):
            assert set(json.loads(body)) == {"command"} and parse_curl_request(body.encode())
        elif "limit_schedule" in json.loads(body):
            parse_settings(body.encode())
        else:
            parse_change(body.encode())


def test_configuration_example_is_valid() -> None:
    """The TOML of the page can be read as it stands."""
    whole, limits = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    environ = {"M3U8SVC_PROXY_PASSWORD": "x"}
    read = load_configuration(whole, environ=environ, read_file=lambda path: "sqlite:////tmp/x.sqlite")
    assert 3 == read.max_active
    limited = load_configuration(limits, environ={}, read_file=str)
    assert limited.system.limit_schedule


@pytest.mark.parametrize("name", ["listen", *(option[0] for option in Options.optParameters)])
def test_every_option_is_documented(name: str) -> None:
    """No option of the service is missing from the page."""
    assert f"`--{name}" in CONFIGURATION


def test_links_lead_somewhere() -> None:
    """Relative links in the documents name files that exist."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_two_lines_are_there() -> None:
    """One line runs the main job, one runs the tests; the Chinese page has the same two."""
    lines = [line for line in README.splitlines() if line.startswith("python3 ")]
    assert ["m3u8svc demo", "python -m pytest"] == [line.rpartition(".venv/bin/")[2] for line in lines]
    chinese = (ROOT / "docs" / "zh" / "README.md").read_text(encoding="utf-8")
    assert lines == [line for line in chinese.splitlines() if line.startswith("python3 ")]
