"""The page of hooks is the docstrings; each hook has a heading, its signature, an example that runs, and a test."""

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import m3u8svc.plugin
from m3u8svc import hookspecs
from m3u8svc.hookspecs import KINDS
from m3u8svc.testing.harness import Harness

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")


def made() -> Any:
    """docs/hooks_page.py as a module."""
    spec = importlib.util.spec_from_file_location("hooks_page", ROOT / "docs" / "hooks_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_code() -> None:
    """Made anew it is the same."""
    assert made().page() == PAGE


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_hook_is_documented(name: str) -> None:
    """Heading, exact signature, kind."""
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert f"def {name}{inspect.signature(getattr(hookspecs, name))}" in section.group(1)
    assert f"*{KINDS[name]}*" in section.group(1)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_example_is_a_plugin(name: str, tmp_path: Path) -> None:
    """It imports the public module only, is loaded, implements the hook it explains, and a download goes through it."""
    code = made().example_of(name)
    assert {"m3u8svc.plugin"} == set(re.findall(r"(?:from|import) (m3u8svc[\w.]*)", code))
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)
    plugin = names["Plugin"]()
    implemented = getattr(type(plugin), name)
    assert hasattr(implemented, f"{hookspecs.PROJECT}_impl")
    harness = Harness(plugin, tmp_path, config={"token": "x"} if name == "configure" else None)
    assert [] == list(harness.status.warnings)
    harness.serve_stream("/list.m3u8", segments=2)
    fields: dict[str, Any] = {"register_mergers": {"merger": "first-only"}, "register_storage": {"storage": "shelf"}}
    options = {"plugins": {"plugin": {"quality": "worst"}}} if name == "check_options" else {}
    if name == "provide_agent":  # it would go through a proxy that is not there
        return
    run = harness.download("/list.m3u8", **fields.get(name, {}), **options)
    assert run.error is None and run.output
    assert {} == {hook: tally for hook, tally in harness.plugins.tallies("plugin").items() if tally.failures}
    harness.close()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_hook_has_a_plugin_that_proves_it(name: str) -> None:
    """A distribution in plugins/ or a built-in implements it."""
    sources = [*(ROOT / "plugins").glob("*/src/**/*.py"), *(ROOT / "m3u8svc" / "builtin").glob("*.py")]
    assert any(re.search(rf"@hookimpl[^\n]*\n +(async )?def {name}\(", each.read_text("utf-8")) for each in sources)


PUBLIC = """
ByteRange Companion ConfigError ContentSteering DateRange DiskError DiskFull Extensions FailureDecision Fetch Gap
GiveUp InitSection Key M3u8svcError MasterPlaylist MediaFile MediaPlaylist MergeError MergeJob MergeProgress
MergeResult Merger NotConfigured Note OptionError Part Progress PublishError Published Purpose Rendition Request Retry
Said Segment SegmentGroup SegmentOutcome Services Settings Signature Skip SkipSegment Status Storage Task TaskSpec
TrackInfo Variant hookimpl settled
""".split()


def test_the_public_surface_is_pinned() -> None:
    """A name that goes away breaks plugins; one that comes is promised from then on (docs/stability.md)."""
    assert PUBLIC == m3u8svc.plugin.__all__
    assert all(hasattr(m3u8svc.plugin, name) for name in PUBLIC)
