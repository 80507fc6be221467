"""The command `notification`: run an app's workers, send events, look at queues and make them, deal with dead letters.

Every flag has an environment variable, NOTIFICATION_ and its name; the command line counts more than the environment,
that more than a file of settings, and that more than the code. Exit codes: 0 all went well, 1 some of the work failed
or nothing was found, 2 wrong usage or configuration, 128 + N after signal N.
"""

from __future__ import annotations

import io
import sys
from importlib.metadata import version as version_of
from typing import Annotated, NoReturn

import typer

from queues.errors import ConfigurationError, NotificationError

from .config import config
from .dead import cli as dead
from .loading import BrokenApp
from .move import move
from .peek import peek
from .queue import cli as queue
from .run import run
from .screen import complain, say
from .send import send
from .stats import stats
from .switch import cli as switch

cli = typer.Typer(
    name="notification",
    help="Run an app's workers, send events, look at queues and make them, deal with dead letters.",
    epilog="Every flag has an environment variable, NOTIFICATION_ and its name. Exit codes: 0 all went well, "
    "1 some of the work failed or nothing was found, 2 wrong usage or configuration.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"notification {version_of('notification-dispatcher')}")
        raise typer.Exit


@cli.callback()
def _notification(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for command in (run, send, peek, stats, move, config):
    cli.command()(command)
cli.add_typer(dead)
cli.add_typer(queue)
cli.add_typer(switch)


def main() -> NoReturn:
    """The command. Errors of ours are one line; broken pipes are quiet; everything else keeps its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = 1
    try:
        cli()
    except BrokenApp as error:
        complain(str(error))
    except ConfigurationError as error:
        complain(f"notification: {error}")
        code = 2
    except NotificationError as error:
        complain(f"notification: {error}")
    sys.exit(code)
