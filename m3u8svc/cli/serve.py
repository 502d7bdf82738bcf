"""
``m3u8svc serve``: the service in the foreground, with the same options as ``twistd m3u8svc``.
"""

import sys

import click

from m3u8svc.cli import words


@click.command("serve", help=words.SERVE_HELP.said())
@click.option("--listen", multiple=True, metavar="ENDPOINT", help=words.LISTEN_OPTION.said())
@click.option("--home", metavar="DIR", help=words.HOME_OPTION.said())
@click.option("--save-dir", metavar="DIR", help=words.SERVE_SAVE_DIR_OPTION.said())
@click.option("--max-active", metavar="N", help=words.MAX_ACTIVE_OPTION.said())
@click.option("--database", metavar="URL", help=words.DATABASE_OPTION.said())
@click.option("--config", metavar="FILE", help=words.CONFIG_OPTION.said())
@click.option("--no-plugins", is_flag=True, help=words.NO_PLUGINS_OPTION.said())
@click.option("--trace-hooks", is_flag=True, help=words.TRACE_HOOKS_OPTION.said())
def serve(**given: object) -> None:
    """
    Wire everything, run the reactor until a signal.
    """
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from m3u8svc.errors import ConfigError
    from m3u8svc.tap import Options, configuration_of, makeService

    options = Options()
    options.update({name.replace("_", "-"): value for name, value in given.items()})
    try:
        options["configuration"] = configuration_of(options)
    except ConfigError as error:
        raise click.UsageError(error.text("en")) from error
    service = makeService(options)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
