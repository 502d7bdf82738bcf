"""
Plugins of nobody in particular, installed in a directory of their own: what a service must live with.
"""

import textwrap
from pathlib import Path

WAYS = {
    "blocks": "block('{hook}')",
    "hangs": "return Deferred()",
    "raises": "raise ValueError('no luck')",
    "exits": "sys.exit(3)",
    "nonsense": "return object()",
}
"""What a hook does instead of answering; one that blocks does so until `let_go`."""
ARGUMENTS = {"check_options": "options", "configure": "config, services"}


def distribute(site: Path, name: str, code: str, *, version: str = "1.0") -> None:
    """
    A distribution with the plugin `name`, as pip would leave it in `site`.
    """
    module = name.replace("-", "_") + "_of_the_test"
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: m3u8svc-{name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[m3u8svc]\n{name} = {module}:Plugin\n")
    (site / f"{module}.py").write_text(textwrap.dedent(code))


def misbehaving(site: Path, hook: str, way: str) -> str:
    """
    A plugin whose one hook does that; its name.
    """
    name = f"bad-{hook.replace('_', '-')}"
    code = f"""
    import sys, time
    from pathlib import Path
    from twisted.internet.defer import Deferred
    from m3u8svc.plugin import hookimpl

    def block(hook):
        Path(__file__).with_name("inside-" + hook).touch()
        while not Path(__file__).with_name("let-go").exists():
            time.sleep(0.01)

    class Plugin:
        @hookimpl
        def {hook}(self, {ARGUMENTS.get(hook, "")}):
            {WAYS[way].format(hook=hook)}
    """
    distribute(site, name, code)
    return name


def blocked(site: Path) -> set[str]:
    """
    The hooks that somebody is inside of.
    """
    if (site / "let-go").exists():
        return set()
    return {path.name.removeprefix("inside-") for path in site.glob("inside-*")}


def let_go(site: Path) -> None:
    """
    Whoever blocks goes on.
    """
    (site / "let-go").touch()
