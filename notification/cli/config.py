"""`notification config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from queues.base import name_of

from ..config import Setting, listed, unread
from .loading import load
from .options import AppOption, Format, Formatted, Level, Queue, logged
from .screen import complain, say, show_table
from .target import config_for


@logged(Level.warning)
def config(
    context: typer.Context,
    *,
    queue: Queue = None,
    app: AppOption = None,
    format_: Formatted = Format.table,
) -> None:
    """Show the settings that count, and where each comes from.

    The command line counts more than the environment, that more than a file, and that more than the code. Secrets are
    not shown. What is wrong is told as it would be when a program starts.

    \b
    Examples:
      notification config
      notification config --config shop.toml --queue audit
      notification config --app shop.py --format json | jq 'select(.source != "default")'
    """
    dispatcher = None if app is None else load(app)
    found = config_for(dispatcher, queue)
    settings = listed(found)
    if dispatcher is not None and dispatcher.config is None:
        if settings[0].value is None:
            settings[0] = Setting("queue", name_of(dispatcher.queue), name_of(dispatcher.queue), str(app))
        complain(f"{app} makes its dispatcher by code: of these it takes the queue, workers and log_level, no more")
    for line in unread(found, _flags(context)):
        complain(line)
    if format_ is Format.json:
        for one in settings:
            say(json.dumps({"setting": one.name, "value": one.value, "source": one.source}))
        return
    show_table(("SETTING", "VALUE", "FROM"), [(one.name, one.text or "-", one.source) for one in settings])


def _flags(context: typer.Context) -> Iterator[str]:
    """The environment variables of all flags of all commands."""
    commands: list[Any] = [context.find_root().command]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        yield from (str(one.envvar) for one in command.params if getattr(one, "envvar", None))
