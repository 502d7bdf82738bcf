"""
``m3u8svc completion``: the script that lets a shell complete our lines, as click makes it.
"""

import click

from m3u8svc.cli import words
from m3u8svc.cli.examples import taught

VARIABLE = "_M3U8SVC_COMPLETE"
"""By which click knows that a shell asks; made of the program's name."""


@click.command("completion", help=words.COMPLETION_HELP.said(), epilog=taught("completion", words.PLAIN_STATUSES))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print it.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    if found is None:  # of no shell that is a choice
        raise click.UsageError(shell)
    root = context.find_root()
    # Bash's own `source` starts a bash to see its version, which may be another one than the user's.
    click.echo(ShellComplete.source(found(root.command, {}, "m3u8svc", VARIABLE)))
