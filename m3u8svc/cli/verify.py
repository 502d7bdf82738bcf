"""
``m3u8svc verify FILE|ID`` and ``m3u8svc repair ID``: is a result what it should be, and make it so.
"""

import json
import os
from pathlib import Path
from typing import Any  # Any: JSON values

import click

from m3u8svc.checking import Checks, packets_said, parts_beside
from m3u8svc.cli import words
from m3u8svc.cli.client import EXIT_REFUSED, Client, CommandFailed, warnings_of
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import id_argument, json_option, server_option
from m3u8svc.errors import CannotVerify
from m3u8svc.redact import escape_controls

LONGEST_S = 3600.0
MOST_REPORT_BYTES = 512 << 20


@click.command("verify", help=words.VERIFY_HELP.said(), epilog=taught("verify", words.ID_HELP, words.EXIT_STATUSES))
@click.argument("target", metavar="FILE|ID")
@click.option("--quick", is_flag=True, help=words.QUICK_OPTION.said())
@server_option
@json_option
def verify(target: str, quick: bool, server: str, as_json: bool) -> None:
    """
    Look at a file here, or ask a service to look at a task's.
    """
    is_file = os.path.exists(target) or os.sep in target or target.lower().endswith(".mp4")
    found = _look(Path(target), decode=not quick) if is_file else _ask(target, server, decode=not quick)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        from m3u8svc.cli.tables import terminal
        from m3u8svc.cli.verdict import verdict

        terminal().print(verdict(found))
    if not found["ok"]:
        raise SystemExit(EXIT_REFUSED)


@click.command("repair", help=words.REPAIR_HELP.said(), epilog=taught("repair", words.ID_HELP, words.EXIT_STATUSES))
@id_argument
@server_option
@json_option
def repair(task_id: str, server: str, as_json: bool) -> None:
    """
    Let a service fetch what a result lacks, and merge again.
    """
    client = Client(server)
    task = client.find(task_id)
    answer = client.repair(task.id)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for warning in warnings_of(answer):
        click.echo(words.WARNING.said(text=escape_controls(warning)), err=True)
    click.echo(words.REPAIRING.said(id=escape_controls(task.id)))


def _ask(target: str, server: str, *, decode: bool) -> dict[str, Any]:
    client = Client(server)
    task = client.find(target)
    return dict(Client(server, timeout_s=LONGEST_S).verify(task.id, decode=decode))


def _look(path: Path, *, decode: bool) -> dict[str, Any]:
    try:
        found = Checks().check(path, _report_beside(path), decode=decode, parts=parts_beside(path))
    except CannotVerify as error:
        raise CommandFailed(error.text(words.language())) from None
    return {"file": str(path), **found}


def _report_beside(path: Path) -> dict[str, Any] | None:
    """
    The report that lies beside a file, if one does.
    """
    report = path.with_suffix(".report.json")
    try:
        if report.stat().st_size > MOST_REPORT_BYTES:
            raise CommandFailed(words.BAD_REPORT.said(path=report))
        found = json.loads(report.read_bytes())
        # What is compared must be there; the rest is for people.
        if not isinstance(found["result"]["size"], int) or not isinstance(found["summary"]["text"], str):
            raise TypeError
        packets_said(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CommandFailed(words.BAD_REPORT.said(path=report)) from None
    else:
        known: dict[str, Any] = found
        return known
