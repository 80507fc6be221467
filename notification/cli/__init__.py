"""The command `notification`: run an app's workers, send events, look at a queue.

Every flag has an environment variable, NOTIFICATION_ and its name; the command line counts more than the environment,
and that more than the code. Exit codes: 0 all went well, 1 some of the work failed, 2 wrong usage or configuration,
128 + N after signal N.
"""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from queues.errors import ConfigurationError, NotificationError

from . import run as _run, send as _send, stats as _stats
from .loading import BrokenApp
from .screen import complain, say


class Format(StrEnum):
    """How figures are printed."""

    table = "table"
    json = "json"


class Level(StrEnum):
    """What is logged, on stderr."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


APP_HELP = "The app: package.module or path/to/file.py, then :attribute if its dispatcher has another name"
QUEUE_HELP = "Queue URL, such as sqlite:///events.db"

App = Annotated[str, typer.Argument(envvar="NOTIFICATION_APP", help=APP_HELP, metavar="APP[:DISPATCHER]")]
AppOption = Annotated[
    str | None,
    typer.Option("--app", envvar="NOTIFICATION_APP", help="An app whose event classes check the data and give keys; "
                 "without --queue its queue is taken", metavar="APP[:DISPATCHER]"),
]  # fmt: skip
Queue = Annotated[
    str | None,
    typer.Option(envvar="NOTIFICATION_QUEUE", help=QUEUE_HELP, metavar="URL"),
]

cli = typer.Typer(
    name="notification",
    help="Run an app's workers, send events, look at a queue.",
    epilog="Every flag has an environment variable, NOTIFICATION_ and its name. Exit codes: 0 all went well, "
    "1 some of the work failed, 2 wrong usage or configuration.",
    no_args_is_help=True,
    add_completion=False,
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


@cli.command()
def run(
    app: App,
    *,
    queue: Queue = None,
    workers: Annotated[
        int, typer.Option(envvar="NOTIFICATION_WORKERS", min=1, max=10_000, help="Events handled at a time")
    ] = 1,
    log_level: Annotated[
        Level, typer.Option(envvar="NOTIFICATION_LOG_LEVEL", help="What is logged, on stderr")
    ] = Level.info,
) -> None:
    """Handle events until Ctrl-C or SIGTERM.

    The first signal stops in order: handlers finish, what was not started goes back to the queue. A second one leaves
    at once.

    \b
    Examples:
      notification run shop.py --workers 8
      notification run shop.main:dispatcher --queue sqlite:///events.db
      NOTIFICATION_QUEUE=sqlite:////var/lib/shop/events.db notification run shop
    """
    _run.run(app, queue, workers, log_level.name.upper())


@cli.command()
def send(
    event_type: Annotated[str | None, typer.Argument(metavar="TYPE", help="Type of the event")] = None,
    data: Annotated[str | None, typer.Argument(metavar="JSON", help="Its data")] = None,
    *,
    queue: Queue = None,
    app: AppOption = None,
    file: Annotated[
        Path | None,
        typer.Option(envvar="NOTIFICATION_FILE",
                     help="Send the lines of this file, NDJSON; - is standard input"),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="NOTIFICATION_KEY", help="Events of one key are handled in order", metavar="TEXT"),
    ] = None,
    id_: Annotated[
        str | None,
        typer.Option("--id", envvar="NOTIFICATION_ID", help="Id of the event, instead of a new one", metavar="TEXT"),
    ] = None,
    delay: Annotated[
        float, typer.Option(envvar="NOTIFICATION_DELAY", min=0, help="Seconds before it may be handled")
    ] = 0,
    timeout: Annotated[
        float, typer.Option(envvar="NOTIFICATION_TIMEOUT", min=0, help="Seconds to wait for a full or silent queue")
    ] = 30,
) -> None:  # fmt: skip
    """Send one event, or every line of a file.

    Prints the id of the event, or how many lines were sent. A line is a CloudEvents event or
    {"type": …, "data": …} with, if you like, id, key, time and headers. Lines that are none are told on stderr with
    their number, the others are sent, and the exit code is 1.

    \b
    Examples:
      notification send order.shipped '{"order_id": "A-1"}' --key 7 --queue sqlite:///events.db
      notification send --file events.ndjson --app shop.py
      tail -f events.ndjson | notification send --file - --queue sqlite:///events.db
    """
    if file is None:
        _send.send_one(_send.Single(event_type, data, key=key, id=id_, delay=delay), queue, app, timeout)
    elif event_type is not None or key is not None or id_ is not None or delay:
        raise typer.BadParameter("with --file, type, data, key and id come from its lines; leave the others out")
    else:
        _send.send_file(file, queue, app, timeout)


@cli.command()
def stats(
    queue: Queue = None,
    format_: Annotated[
        Format, typer.Option("--format", envvar="NOTIFICATION_FORMAT", help="For people or for programs")
    ] = Format.table,
) -> None:
    """Show how a queue stands.

    Events waiting, in flight, delayed and dead, and the age of the oldest that waits.

    \b
    Examples:
      notification stats --queue sqlite:///events.db
      notification stats --queue sqlite:///events.db --format json | jq .waiting
    """
    _stats.show(queue, as_json=format_ is Format.json)


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
