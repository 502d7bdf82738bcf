"""
``m3u8svc serve``: the service in the foreground, with the same options as ``twistd m3u8svc``.
"""

import sys

import click


@click.command("serve")
@click.option(
    "--listen", multiple=True, metavar="ENDPOINT", help="Endpoint; repeatable. [default: tcp:8080:interface=127.0.0.1]"
)
@click.option("--home", metavar="DIR", help="Directory for state (database, lock).")
@click.option("--save-dir", metavar="DIR", help="Where finished files go by default. [default: ~/Downloads/m3u8svc]")
@click.option("--max-active", metavar="N", help="How many tasks download at once. [default: 3]")
@click.option("--database", metavar="URL", help="Database URL. [default: SQLite in --home]")
@click.option("--config", metavar="FILE", help="Configuration file (TOML); options win over it.")
def serve(**given: object) -> None:
    """
    Run the service in the foreground; Ctrl-C stops it, and the next start goes on where it was.
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
