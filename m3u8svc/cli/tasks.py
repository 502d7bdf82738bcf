"""
``m3u8svc list``, ``show``, ``pause``, ``resume``, ``move``, ``priority``, ``remove``: thin clients of /api/tasks.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar  # Any: click's own annotations

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import EXIT_REFUSED, Client, Refused, RemoteTask
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import (
    HELD,
    STATE_NAMES,
    PlaceType,
    StatusType,
    id_argument,
    ids_argument,
    json_option,
    server_option,
)
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.queue import PRIORITIES
from m3u8svc.tasks.search import Sort
from m3u8svc.tasks.task import Status

F = TypeVar("F", bound=Callable[..., Any])


@click.command("list", help=words.LIST.said(), epilog=taught("list", words.EXIT_STATUSES))
@click.option(
    "--status",
    type=StatusType(),
    metavar="STATE",
    help=words.STATUS_OPTION.said(names=", ".join(STATE_NAMES)),
)
@click.option("--search", metavar="TEXT", help=words.SEARCH_OPTION.said())
@click.option("--sort", type=click.Choice([sort.value for sort in Sort]), help=words.SORT_OPTION.said())
@click.option("--reverse", is_flag=True, help=words.REVERSE_OPTION.said())
@click.option("--limit", type=click.IntRange(1), metavar="N", help=words.LIMIT_OPTION.said())
@server_option
@json_option
def list_tasks(
    status: Status | str | None,
    search: str | None,
    sort: str | None,
    reverse: bool,
    limit: int | None,
    server: str,
    as_json: bool,
) -> None:
    """
    All tasks in a table, or as JSON.
    """
    client = Client(server)
    tasks = client.tasks(
        status if isinstance(status, Status) else Status.PAUSED if status == HELD else None,
        q=search or None,
        sort=sort,
        order="desc" if reverse else None,
        limit=limit,
    )
    if status == HELD:
        tasks = [task for task in tasks if task.held]
    for line in client.degraded():
        click.echo(escape_controls(line), err=True)
    if as_json:
        _print_json([dict(task.source) for task in tasks])
        return
    from m3u8svc.cli.tables import draws_plainly, task_table, terminal

    console = terminal()
    console.print(task_table(tasks, plain_bar=draws_plainly(console)))


@click.command("show", help=words.SHOW.said(), epilog=taught("show", words.ID_HELP, words.EXIT_STATUSES))
@id_argument
@server_option
@json_option
def show(task_id: str, server: str, as_json: bool) -> None:
    """
    Facts about one task, or its JSON.
    """
    task = Client(server).find(task_id)
    if as_json:
        _print_json(dict(task.source))
        return
    from m3u8svc.cli.tables import task_facts, terminal

    terminal().print(task_facts(task))


def action_json_option(command: F) -> F:
    """
    ``--json`` of what changes tasks.
    """
    return click.option("--json", "as_json", is_flag=True, help=words.ACTION_JSON_OPTION.said())(command)


@click.command("pause", help=words.PAUSE.said(), epilog=taught("pause", words.ID_HELP, words.EXIT_STATUSES))
@ids_argument
@server_option
@action_json_option
def pause(task_ids: tuple[str, ...], server: str, as_json: bool) -> None:
    """
    Pause each.
    """
    client = Client(server)
    _each(client, task_ids, lambda task: client.change(task.id, Status.PAUSED), words.PAUSED, as_json=as_json)


@click.command("resume", help=words.RESUME.said(), epilog=taught("resume", words.ID_HELP, words.EXIT_STATUSES))
@ids_argument
@click.option("--url", metavar="URL", help=words.NEW_URL_OPTION.said())
@server_option
@action_json_option
def resume(task_ids: tuple[str, ...], url: str | None, server: str, as_json: bool) -> None:
    """
    Let each wait for its turn again, one from another URL.
    """
    client = Client(server)
    if url is None:
        return _each(
            client, task_ids, lambda task: client.change(task.id, Status.WAITING), words.RESUMED, as_json=as_json
        )
    if len(task_ids) > 1:
        raise click.UsageError(words.ONE_ID_FOR_URL.said())
    warnings: list[str] = []
    _each(client, task_ids, lambda task: warnings.extend(client.relink(task.id, url)), words.RESUMED, as_json=as_json)
    for warning in warnings:
        click.echo(words.WARNING.said(text=escape_controls(warning)), err=True)


@click.command("move", help=words.MOVE_HELP.said(), epilog=taught("move", words.ID_HELP, words.EXIT_STATUSES))
@id_argument
@click.argument("place", metavar="first|last|N", type=PlaceType())
@server_option
@action_json_option
def move(task_id: str, place: str | int, server: str, as_json: bool) -> None:
    """
    Put it there.
    """
    client = Client(server)
    _each(client, (task_id,), lambda task: client.move(task.id, place), words.MOVED, as_json=as_json)


@click.command(
    "priority",
    help=words.PRIORITY_HELP.said(),
    epilog=taught("priority", words.ID_HELP, words.EXIT_STATUSES),
    context_settings={"ignore_unknown_options": True},  # -5 is a number here
)
@id_argument
@click.argument("number", metavar="N", type=click.IntRange(*PRIORITIES))
@server_option
@action_json_option
def priority(task_id: str, number: int, server: str, as_json: bool) -> None:
    """
    Set it.
    """
    client = Client(server)
    _each(client, (task_id,), lambda task: client.prioritise(task.id, number), words.PRIORITY_SET, as_json=as_json)


@click.command("remove", help=words.REMOVE_HELP.said(), epilog=taught("remove", words.ID_HELP, words.EXIT_STATUSES))
@ids_argument
@click.option("--files", is_flag=True, help=words.FILES_OPTION.said())
@server_option
@action_json_option
def remove(task_ids: tuple[str, ...], files: bool, server: str, as_json: bool) -> None:
    """
    Remove each.
    """
    client = Client(server)
    _each(client, task_ids, lambda task: client.remove(task.id, with_files=files), words.REMOVED, as_json=as_json)


def _each(
    client: Client, given: tuple[str, ...], act: Callable[[RemoteTask], None], done: words.Phrase, *, as_json: bool
) -> None:
    """
    Act on every task that was named. All names are looked up before the first is touched, so that a mistyped one
    changes nothing; a task that the service then refuses to change does not keep it from the others.
    """
    tasks = {task.id: task for task in [client.find(each) for each in given]}
    became: list[dict[str, object]] = []
    for task in tasks.values():
        try:
            act(task)
        except Refused as refusal:
            became.append({"id": task.id, "ok": False, "code": refusal.code, "error": refusal.message})
            if not as_json:
                refusal.show_as(f"{task.id}: {refusal.message}")
        else:
            became.append({"id": task.id, "ok": True})
            if not as_json:
                click.echo(done.said(id=escape_controls(task.id)))
    if as_json:
        _print_json(became)
    if not all(each["ok"] for each in became):
        raise SystemExit(EXIT_REFUSED)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
