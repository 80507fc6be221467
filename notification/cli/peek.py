"""`notification peek`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import datetime
from typing import Annotated

import orjson
import typer
from attrs import frozen

from queues.base import MessageQueue
from queues.errors import escape
from queues.message import Message
from queues.wire import encode

from ..handlers import fits
from .options import AppOption, Format, Formatted, Level, Queue, Since, Type, begin, logged, since
from .screen import complain, finish, fitted, say, short_moment
from .target import Target, opened


@logged(Level.warning)
def peek(
    *,
    queue: Queue = None,
    app: AppOption = None,
    type_: Type = None,
    since_: Since = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", envvar="NOTIFICATION_FROM", metavar="POSITION",
                     help="Begin there: an offset, the id of a stream's entry, or how many of the oldest to leave out; "
                          "or at a time, as with --since"),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(envvar="NOTIFICATION_PARTITION", min=0, help="Only of this one of its partitions")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", envvar="NOTIFICATION_FOLLOW", help="Go on with what arrives")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(envvar="NOTIFICATION_LIMIT", min=0,
                     help="The most to show; 0: all. Default: 20, with --follow all"),
    ] = None,
    format_: Formatted = Format.table,
) -> None:  # fmt: skip
    """Look at the events that wait in a queue, and take none.

    One line each: time, type, key, id, data; with --format json the whole event. Events that workers take at once may
    never be seen.

    \b
    Examples:
      notification peek --queue sqlite:///events.db
      notification peek --queue sqlite:///events.db --type 'order.*' --follow
      notification peek --queue sqlite:///events.db --format json --limit 0 > waiting.ndjson
      notification peek --queue redis+stream://localhost --from 1732180000000-0
      notification peek --queue kafka://localhost/orders --partition 3 --from 15000
      notification peek --queue kafka://localhost/orders --from 2h
    """
    most = (0 if follow else 20) if limit is None else limit
    if since_ is not None and from_ is not None:
        raise typer.BadParameter("--since and --from both say where to begin; leave one out")
    wanted = Wanted(type_, since(since_) or begin(from_), follow)
    raise typer.Exit(finish(_peek(opened(queue, app, partition=partition), wanted, most, format_)))


@frozen
class Wanted:
    """Which events to show."""

    pattern: str | None
    since: datetime | str | None
    follow: bool


async def _peek(place: AbstractAsyncContextManager[Target], wanted: Wanted, most: int, format_: Format) -> int:
    shown = 0
    async with place as target, aclosing(_matching(target.queue, wanted)) as found:
        async for message in found:
            if most and shown == most:
                complain(f"the first {most:,}; --limit 0 shows all")
                break
            say(encode(message).decode() if format_ is Format.json else fitted(_line(message)))
            shown += 1
        if not shown:
            complain(f"nothing waits in {target.name}{f' that fits {wanted.pattern!r}' if wanted.pattern else ''}")
    return 1 if wanted.pattern and not shown else 0


async def _matching(queue: MessageQueue, wanted: Wanted) -> AsyncGenerator[Message, None]:
    async for message in queue.browse(since=wanted.since, follow=wanted.follow):
        if wanted.pattern is None or fits(wanted.pattern, message.type):
            yield message


def _line(message: Message) -> str:
    return escape(
        "  ".join((short_moment(message.time), message.type, message.key or "-", message.id, shown(message.data))),
        1 << 30,
    )


def shown(data: object) -> str:
    """An event's data on one line."""
    if isinstance(data, bytes):
        return data.decode("utf-8", "backslashreplace")
    return orjson.dumps(data).decode(errors="backslashreplace")
