"""
``m3u8svc plugins``: which plugins a running service has, and how each fares.
"""

import json

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import Client
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import json_option, server_option


@click.command("plugins", help=words.PLUGINS.said(), epilog=taught("plugins", words.EXIT_STATUSES))
@server_option
@json_option
def plugins(server: str, as_json: bool) -> None:
    """
    A table, or the JSON.
    """
    found = Client(server).plugins()
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    from m3u8svc.cli.tables import plugin_table, terminal

    terminal().print(plugin_table(found))
