"""
``m3u8svc token``: make, list and revoke the tokens of a service. Works on its state directory, whether it runs or not;
a running service sees the change at once.
"""

import json
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar  # Any: click's own annotations

import click

from m3u8svc.access import tokens
from m3u8svc.access.roles import Role
from m3u8svc.access.tokens import TokenRecord
from m3u8svc.cli import words
from m3u8svc.cli.client import CommandFailed
from m3u8svc.cli.examples import taught
from m3u8svc.errors import M3u8svcError
from m3u8svc.redact import escape_controls

if TYPE_CHECKING:
    from m3u8svc.tokenfile import TokenFile

F = TypeVar("F", bound=Callable[..., Any])


def _home_options(command: F) -> F:
    """
    Where the state directory is, as ``serve`` has it.
    """
    command = click.option("--config", metavar="FILE", help=words.CONFIG_OPTION.said())(command)
    return click.option("--home", metavar="DIR", help=words.HOME_OPTION.said())(command)


@click.group("token", help=words.TOKEN_HELP.said(), epilog=taught("token", words.TOKEN_STATUSES))
def token() -> None:
    """
    The group.
    """


@token.command("create", help=words.TOKEN_CREATE_HELP.said(), epilog=taught("token create", words.TOKEN_STATUSES))
@click.option("--name", metavar="NAME", help=words.TOKEN_NAME_OPTION.said())
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.USER.value,
    show_default=True,
    help=words.ROLE_OPTION.said(),
)
@_home_options
def create(name: str | None, role: str, home: str | None, config: str | None) -> None:
    """
    Print a new token on standard output, and nothing else there: it is not kept, and never shown again.
    """
    secret = tokens.token_of(secrets.token_bytes(tokens.TOKEN_BYTES))
    made: list[TokenRecord] = []

    def add(records: Sequence[TokenRecord]) -> tuple[TokenRecord, ...]:
        chosen = tokens.free_name(records) if name is None else tokens.checked_name(name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made[:] = [TokenRecord(name=chosen, role=Role(role), digest=tokens.digest_of(secret), created_at=now)]
        return tokens.with_token(records, made[0])

    _change(_file(home, config), add)
    click.echo(words.TOKEN_MADE.said(name=made[0].name, role=role), err=True)
    click.echo(secret)


@token.command("list", help=words.TOKEN_LIST_HELP.said(), epilog=taught("token list", words.TOKEN_STATUSES))
@click.option("--json", "as_json", is_flag=True, help=words.PLAN_JSON_OPTION.said())
@_home_options
def list_tokens(as_json: bool, home: str | None, config: str | None) -> None:
    """
    Names, roles, when they were made; of the tokens themselves nothing is known.
    """
    try:
        records = _file(home, config).read()
    except M3u8svcError as error:
        raise _failed(error) from error
    if as_json:
        listed = [{"name": each.name, "role": each.role.value, "created_at": each.created_at} for each in records]
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
    elif not records:
        click.echo(words.NO_TOKENS.said(), err=True)
    for record in () if as_json else records:
        click.echo(f"{record.name}\t{record.role.value}\t{record.created_at}")


@token.command("revoke", help=words.TOKEN_REVOKE_HELP.said(), epilog=taught("token revoke", words.TOKEN_STATUSES))
@click.argument("name", metavar="NAME")
@_home_options
def revoke(name: str, home: str | None, config: str | None) -> None:
    """
    It is worth nothing from now on, and sessions made with it end.
    """
    _change(_file(home, config), lambda records: tokens.without_token(records, name))
    click.echo(words.TOKEN_REVOKED.said(name=escape_controls(name)))


@click.command("password", help=words.PASSWORD_HELP.said(), epilog=taught("password", words.TOKEN_STATUSES))
def password() -> None:
    """
    Ask for a password twice, or read one from standard input, and print what the configuration keeps of it.
    """
    from m3u8svc.access import passwords

    if sys.stdin.isatty():
        given = click.prompt(words.PASSWORD_PROMPT.said(), hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    try:
        checked = passwords.checked_password(given)
    except ValueError:
        raise CommandFailed(words.PASSWORD_LENGTH.said(least=passwords.MIN_LENGTH)) from None
    click.echo(str(passwords.hash_password(checked, secrets.token_bytes(passwords.SALT_BYTES))))


def _file(home: str | None, config: str | None) -> "TokenFile":
    """
    The file of the tokens that a service with these options reads.
    """
    from m3u8svc.home import find_home
    from m3u8svc.tap import Options, configuration_of
    from m3u8svc.tokenfile import TokenFile

    options = Options()
    options.update({"home": home, "config": config})
    try:
        return TokenFile(find_home(Path(configuration_of(options).home)).tokens)
    except M3u8svcError as error:
        raise _failed(error) from error


def _change(file: "TokenFile", change: Callable[[Sequence[TokenRecord]], tuple[TokenRecord, ...]]) -> None:
    try:
        file.change(change)
    except M3u8svcError as error:
        raise _failed(error) from error
    except tokens.NameRefused as error:
        raise CommandFailed(words.TOKEN_REFUSALS[error.why].said(name=escape_controls(error.name))) from None


def _failed(error: M3u8svcError) -> CommandFailed:
    failed = CommandFailed(f"{error.text(words.language())} [{error.code}]")
    failed.advice = error.advice(words.language())
    return failed
