"""
``m3u8svc serve``: the service in the foreground, with the same options as ``twistd m3u8svc``.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from m3u8svc.cli import words
from m3u8svc.cli.examples import taught

if TYPE_CHECKING:
    from m3u8svc.errors import M3u8svcError


@click.command("serve", help=words.SERVE_HELP.said(), epilog=taught("serve", words.SERVE_STATUSES))
@click.option("--listen", multiple=True, metavar="ENDPOINT", help=words.LISTEN_OPTION.said())
@click.option("--home", metavar="DIR", help=words.HOME_OPTION.said())
@click.option("--save-dir", metavar="DIR", help=words.SERVE_SAVE_DIR_OPTION.said())
@click.option("--max-active", metavar="N", help=words.MAX_ACTIVE_OPTION.said())
@click.option("--max-connections", metavar="N", help=words.MAX_CONNECTIONS_OPTION.said())
@click.option("--max-connections-per-host", metavar="N", help=words.MAX_PER_HOST_OPTION.said())
@click.option("--database", metavar="URL", help=words.DATABASE_OPTION.said())
@click.option("--network-mode", metavar="MODE", help=words.NETWORK_MODE_OPTION.said())
@click.option("--allow", multiple=True, metavar="ADDRESS", help=words.ALLOW_OPTION.said())
@click.option("--config", metavar="FILE", help=words.CONFIG_OPTION.said())
@click.option("--trusted-proxy", multiple=True, metavar="ADDRESS", help=words.TRUSTED_PROXY_OPTION.said())
@click.option("--base-path", metavar="PATH", help=words.BASE_PATH_OPTION.said())
@click.option("--log-file", metavar="FILE", help=words.LOG_FILE_OPTION.said())
@click.option("--no-plugins", is_flag=True, help=words.NO_PLUGINS_OPTION.said())
@click.option("--trace-hooks", is_flag=True, help=words.TRACE_HOOKS_OPTION.said())
def serve(log_file: str | None, **given: object) -> None:
    """
    Wire everything, run the reactor until a signal.
    """
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from m3u8svc.errors import ConfigError, M3u8svcError
    from m3u8svc.logfile import open_log
    from m3u8svc.tap import Options, configuration_of, exit_status, whole_service

    options = Options()
    options.update({name.replace("_", "-"): value for name, value in given.items()})
    try:
        options["configuration"] = configuration_of(options)
    except ConfigError as error:
        raise click.UsageError("\n".join(_lines(error))) from error
    try:
        log: Any = sys.stdout if log_file is None else open_log(Path(log_file))  # Any: all that is wanted is write()
    except OSError as error:
        raise click.UsageError(f"--log-file: {log_file}: {error.strerror}") from error
    try:
        service = whole_service(options)
    except M3u8svcError as error:
        _tell(error)
        raise SystemExit(exit_status(error)) from error
    globalLogBeginner.beginLoggingTo([textFileLogObserver(log)], redirectStandardIO=False)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    if service.failure is not None:
        _tell(service.failure)


def _lines(error: "M3u8svcError") -> tuple[str, str]:
    """
    What is wrong in the user's language, and what to do; the log has the former in English.
    """
    language = words.language()
    return error.text(language), f"{words.ADVICE.said(text=error.advice(language))} [{error.code}]"


def _tell(error: "M3u8svcError") -> None:
    said, advice = _lines(error)
    click.echo(f"m3u8svc: {said}\n{advice}", err=True)
