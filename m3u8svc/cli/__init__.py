"""
The command line. A command's module is imported when that command is used and not before: ``m3u8svc --help`` loads
neither the reactor nor the web room, and a thin client of the REST API never does.
"""

import sys

import click

from m3u8svc import __version__
from m3u8svc.cli import words
from m3u8svc.cli.lazy import LazyCommand, LazyGroup

program = LazyGroup(
    name="m3u8svc",
    help=words.PROGRAM.said(),
    epilog=words.EXIT_STATUSES.said(),
    table={
        "serve": LazyCommand(module="m3u8svc.cli.serve", short_help=words.SERVE),
        "get": LazyCommand(module="m3u8svc.cli.get", short_help=words.GET),
        "plan": LazyCommand(module="m3u8svc.cli.plan", short_help=words.PLAN),
        "curl": LazyCommand(module="m3u8svc.cli.curl", short_help=words.CURL),
        "demo": LazyCommand(module="m3u8svc.cli.demo", short_help=words.DEMO),
        "add": LazyCommand(module="m3u8svc.cli.add", short_help=words.ADD),
        "list": LazyCommand(module="m3u8svc.cli.tasks", attribute="list_tasks", short_help=words.LIST),
        "show": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.SHOW),
        "pause": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.PAUSE),
        "resume": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.RESUME),
        "move": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.MOVE),
        "priority": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.PRIORITY),
        "remove": LazyCommand(module="m3u8svc.cli.tasks", short_help=words.REMOVE),
        "verify": LazyCommand(module="m3u8svc.cli.verify", short_help=words.VERIFY),
        "repair": LazyCommand(module="m3u8svc.cli.verify", short_help=words.REPAIR),
        "watch": LazyCommand(module="m3u8svc.cli.watch", short_help=words.WATCH),
        "explain": LazyCommand(module="m3u8svc.cli.explain", short_help=words.EXPLAIN),
        "doctor": LazyCommand(module="m3u8svc.cli.doctor", short_help=words.DOCTOR),
        "plugins": LazyCommand(module="m3u8svc.cli.plugins", short_help=words.PLUGINS),
        "token": LazyCommand(module="m3u8svc.cli.token", short_help=words.TOKEN),
        "password": LazyCommand(module="m3u8svc.cli.token", short_help=words.PASSWORD),
        "completion": LazyCommand(module="m3u8svc.cli.completion", short_help=words.COMPLETION),
    },
)
click.version_option(__version__, prog_name="m3u8svc", message="%(prog)s %(version)s")(program)


def main() -> None:
    """
    The console script.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character shows its escape; a name must never end the program.
            stream.reconfigure(errors="backslashreplace")
    program.main(prog_name="m3u8svc")
