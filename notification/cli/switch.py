"""`notification switch`: how the routes of a switch stand, and which of them can be retired."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from queues.base import name_of
from queues.clock import SYSTEM_CLOCK
from queues.errors import ConfigurationError
from queues.switch import SwitchQueue

from ..config.given import Given
from ..config.naming import chooser
from .inventory import show_rows
from .options import AppOption, Format, Formatted, Interval, Level, Queue, Watch, logged
from .screen import complain, finish, say
from .standing import Standing, View
from .target import dispatcher_for

cli = typer.Typer(
    name="switch",
    help="See how the routes of a switch stand, and which of them can be retired.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@cli.callback()
def _switch() -> None:
    """A group of its own, of one command."""


@cli.command()
@logged(Level.warning)
def status(
    *,
    route: Annotated[
        list[str] | None,
        typer.Option(
            "--routes",
            "--route",
            envvar="NOTIFICATION_ROUTES",
            metavar="NAME=URL",
            help="A route of the switch, in place of those of an app or a file of settings",
        ),
    ] = None,
    choose: Annotated[
        str, typer.Option(envvar="NOTIFICATION_CHOOSE", metavar="FLAG", help="With --route: what says which is written")
    ] = "env:NOTIFICATION_ROUTE",
    queue: Queue = None,
    app: AppOption = None,
    watch: Watch = False,
    interval: Interval = 1.0,
    format_: Formatted = Format.table,
) -> None:
    """Show what is left in each route of a switch.

    Events waiting, in flight, delayed and dead, the age of the oldest that waits, which route is written now as the
    flag is read here, and whether a route can be retired: it is not written, and nothing is left in it. Exit code 0
    when every route but the one that is written can be retired, else 1.

    \b
    Examples:
      notification switch status --app shop.py
      notification switch status --route old=sqlite:///events.db --route new=redis://localhost:6379/0 --watch
      until notification switch status --app shop.py; do sleep 5; done
      notification switch status --app shop.py --format json | jq -r 'select(.retire == "yes").route'
    """
    switch = _switch_of(route or [], choose, queue, app)
    raise typer.Exit(finish(_watch(switch, interval, format_) if watch else _show(switch, format_)))


def _switch_of(routes: Sequence[str], choose: str, queue: str | None, app: str | None) -> SwitchQueue:
    """The one that the line names, or that of an app or a file of settings."""
    if routes:
        return SwitchQueue(dict(_route(text) for text in routes), chooser(Given(choose, "--choose")))
    found = dispatcher_for(queue, app).queue
    if not isinstance(found, SwitchQueue):
        raise ConfigurationError(f"{name_of(found)} is no switch; give its routes, --route NAME=URL, one each")
    return found


def _route(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or "://" in name:
        raise ConfigurationError(
            f"--route {text.partition('://')[0]}…: write NAME=URL, such as old=sqlite:///events.db"
        )
    return name, url


# -- shown


async def _looks(switch: SwitchQueue, interval: float | None) -> AsyncGenerator[list[Standing], None]:
    """One after another; only one without an interval."""
    views = [View(name, queue) for name, queue in switch.routes.items()]
    async with AsyncExitStack() as stack:
        for view in views:
            stack.push_async_callback(view.close)
        while True:
            said = switch.chosen
            yield [await view.look(None if switch.flag_trouble else said) for view in views]
            if interval is None:
                return
            await SYSTEM_CLOCK.sleep(interval)


async def _show(switch: SwitchQueue, format_: Format) -> int:
    async with aclosing(_looks(switch, None)) as looks:
        standings = await anext(looks)
    _say(standings, format_)
    _complain(standings)
    return 0 if all(one.is_done for one in standings) else 1


def _say(standings: Sequence[Standing], format_: Format) -> None:
    if format_ is Format.json:
        for one in standings:
            say(json.dumps(one.facts()))
    else:
        show_rows(one.row() for one in standings)


def _complain(standings: Sequence[Standing]) -> None:
    """Of the routes; why the flag can't be read is in the log."""
    for one in standings:
        if one.trouble:
            complain(f"route {one.name}: {one.trouble}")


async def _watch(switch: SwitchQueue, interval: float, format_: Format) -> int:
    console = Console(highlight=False)
    if format_ is Format.table and console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            async for standings in _looks(switch, interval):
                live.update(_screen(standings), refresh=True)
    async for standings in _looks(switch, interval):
        if format_ is Format.json:
            _say(standings, format_)
        else:
            say("; ".join(one.line() for one in standings))
    return 0


def _screen(standings: Sequence[Standing]) -> Table:
    rows = [one.row() for one in standings]
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " ").upper(), no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(str(value if value is not None else "-")) for value in row.values()))
    return table
