"""`notification send`."""

from __future__ import annotations

import asyncio
import os
import sys
from io import FileIO
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from attrs import frozen

from queues.base import name_of
from queues.errors import ConfigurationError, CorruptMessage

from ..composing import Ids, default_source
from ..dispatcher import EventDispatcher
from ..ndjson import LineReader
from ..report import Dispatched
from ..signals import stopped_by_signal
from .lines import LineSender, Sent, known
from .options import AppOption, Level, Queue, logged
from .progress import bar_over_bytes
from .screen import complain, count, say
from .target import dispatcher_for


@logged(Level.warning)
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
        _send_one(Single(event_type, data, key=key, id=id_, delay=delay), queue, app, timeout)
    elif event_type is not None or key is not None or id_ is not None or delay:
        raise typer.BadParameter("with --file, type, data, key and id come from its lines; leave the others out")
    else:
        _send_file(file, queue, app, timeout)


@frozen
class Single:
    """One event, as given on the command line."""

    type: str | None
    json: str | None
    key: str | None
    id: str | None
    delay: float


# -- one event


def _send_one(event: Single, queue: str | None, app: str | None, timeout: float) -> None:
    """Send it and print its id."""
    if event.type is None:
        raise typer.BadParameter("give TYPE and JSON of an event, or --file")
    dispatcher = dispatcher_for(queue, app)
    dispatched = asyncio.run(_dispatch(dispatcher, event, timeout))
    if sys.stdout.isatty():
        complain(f"sent {event.type} to {name_of(dispatcher.queue)} as")
    say(dispatched.id)


async def _dispatch(dispatcher: EventDispatcher, event: Single, timeout: float) -> Dispatched:
    async with dispatcher:
        attributes = {"type": event.type, "data": _json(event.json), "key": event.key, "id": event.id}
        [line] = _reader(dispatcher).feed(orjson.dumps(attributes) + b"\n")
        if line.message is None:
            raise CorruptMessage(line.error)
        return await dispatcher.dispatch(known(line.message), delay=event.delay, timeout=timeout)


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the data are not JSON: {error}; in a shell put them in single quotes") from None


# -- a file


def _send_file(path: Path, queue: str | None, app: str | None, timeout: float) -> None:
    """Send its lines, say how many, and exit with 1 when some were not sent."""
    name = "stdin" if str(path) == "-" else path.name
    dispatcher = dispatcher_for(queue, app)
    with _open(path) as stream:
        size = path.stat().st_size if path.is_file() else None
        sent = asyncio.run(_send_lines(dispatcher, stream, name, size, timeout))
    say(f"{count(sent.accepted, 'event')} sent" + (f", {count(sent.refused, 'line')} not" if sent.refused else ""))
    if sent.stopped:
        complain(f"{name}: {sent.stopped}")
    if sent.interrupted:
        complain(f"{name}: interrupted; line {sent.lines + 1} is the first that was not read")
        sys.stdout.flush()
        os._exit(128 + sent.interrupted)  # a thread may still wait for standard input
    raise typer.Exit(0 if sent.fine else 1)


def _open(path: Path) -> FileIO:
    """Its bytes as they come; `-` is standard input. Unbuffered: a buffer is locked while a thread waits in it."""
    if str(path) == "-":
        os.set_blocking(0, True)
        return open(0, "rb", buffering=0, closefd=False)
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} can't be read: {error.strerror}") from None


async def _send_lines(dispatcher: EventDispatcher, stream: FileIO, name: str, size: int | None, timeout: float) -> Sent:
    with bar_over_bytes(name, size) as bar:
        async with stopped_by_signal() as stopping, dispatcher:
            sender = LineSender(
                dispatcher,
                _reader(dispatcher),
                timeout,
                refuse=lambda number, why: complain(f"{name}:{number}: {why}"),
                progress=bar.sent,
            )
            return await sender.run(stream, stopping)


# -- both


def _reader(dispatcher: EventDispatcher) -> LineReader:
    ids = Ids()
    return LineReader(source=default_source(), next_id=lambda number, line: ids.next(), limits=dispatcher.queue.limits)
