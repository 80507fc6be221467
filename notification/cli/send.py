"""`notification send`."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from attrs import evolve, frozen

from queues.base import name_of
from queues.clock import SYSTEM_CLOCK
from queues.errors import ConfigurationError, CorruptMessage, PushFailed
from queues.message import Message

from ..composing import Ids, default_source
from ..config import read_settings
from ..dispatcher import EventDispatcher
from ..ndjson import LineReader
from ..report import Dispatched
from ..signals import stopped_by_signal
from .lines import LineSender, Sent, known
from .options import AppOption, Level, Queue, logged
from .progress import bar_over_bytes, bar_over_events
from .screen import complain, count, finish, say
from .target import dispatcher_for

_BATCH = 1000


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
    partition: Annotated[
        int | None,
        typer.Option(envvar="NOTIFICATION_PARTITION", min=0, help="Put it there, in a queue that has partitions"),
    ] = None,
    number: Annotated[
        int, typer.Option("--count", envvar="NOTIFICATION_COUNT", min=1, help="So many of them, each with its own id")
    ] = 1,
    timeout: Annotated[
        float, typer.Option(envvar="NOTIFICATION_TIMEOUT", min=0, help="Seconds to wait for a full or silent queue")
    ] = 30,
) -> None:  # fmt: skip
    """Send one event, many of a kind, or every line of a file.

    Prints the id of the event, or how many were sent. A line is a CloudEvents event or
    {"type": …, "data": …} with, if you like, id, key, time and headers. Lines that are none are told on stderr with
    their number, the others are sent, and the exit code is 1.

    \b
    Examples:
      notification send order.shipped '{"order_id": "A-1"}' --key 7 --queue sqlite:///events.db
      notification send order.shipped '{"order_id": "A-1"}' --count 10000 --queue kafka://localhost/orders
      notification send --file events.ndjson --app shop.py
      tail -f events.ndjson | notification send --file - --queue sqlite:///events.db
    """
    one = Single(event_type, data, key, id_, delay, partition)
    if file is not None:
        if one != Single() or number > 1:
            raise typer.BadParameter("with --file, type, data, key and id come from its lines; leave the others out")
        _send_file(file, queue, app, timeout)
    elif number > 1:
        _send_many(one, number, queue, app, timeout)
    else:
        _send_one(one, queue, app, timeout)


@frozen
class Single:
    """One event, as given on the command line."""

    type: str | None = None
    json: str | None = None
    key: str | None = None
    id: str | None = None
    delay: float = 0
    partition: int | None = None

    def message(self, dispatcher: EventDispatcher) -> Message:
        """Checked, and keyed by its class if that is known. Raises CorruptMessage, ConfigurationError."""
        attributes = {"type": self.type, "data": _json(self.json), "key": self.key, "id": self.id}
        [line] = _reader(dispatcher).feed(orjson.dumps(attributes) + b"\n")
        if line.message is None:
            raise CorruptMessage(line.error)
        return evolve(known(line.message), partition=self.partition)


# -- one event, or many of a kind


def _send_one(event: Single, queue: str | None, app: str | None, timeout: float) -> None:
    """Send it and print its id."""
    dispatcher = _dispatcher(event, queue, app)
    dispatched = asyncio.run(_dispatch(dispatcher, event, timeout))
    if sys.stdout.isatty():
        complain(f"sent {event.type} to {name_of(dispatcher.queue)} as")
    say(dispatched.id)
    if dispatched.via == "spill":
        complain("it waits in the spill, until a process of the service moves it on")


def _send_many(event: Single, number: int, queue: str | None, app: str | None, timeout: float) -> None:
    """Send so many of its kind, and say how many there were and how fast."""
    if event.id is not None:
        raise typer.BadParameter("--id names one event, and --count wants many; leave one out")
    dispatcher, sent, began = _dispatcher(event, queue, app), Sent(), SYSTEM_CLOCK.monotonic()
    try:
        finish(_dispatch_many(dispatcher, event, number, timeout, sent))
    finally:
        seconds = SYSTEM_CLOCK.monotonic() - began
        say(f"{count(sent.accepted, 'event')} sent in {seconds:.1f} s, {sent.accepted / max(seconds, 1e-3):,.0f}/s")


def _dispatcher(event: Single, queue: str | None, app: str | None) -> EventDispatcher:
    if event.type is None:
        raise typer.BadParameter("give TYPE and JSON of an event, or --file")
    return dispatcher_for(queue, app)


async def _dispatch(dispatcher: EventDispatcher, event: Single, timeout: float) -> Dispatched:
    async with dispatcher:
        return await dispatcher.dispatch(event.message(dispatcher), delay=event.delay, timeout=timeout)


async def _dispatch_many(dispatcher: EventDispatcher, event: Single, number: int, timeout: float, sent: Sent) -> None:
    """Some at a time. sent: counts as they are accepted."""
    async with dispatcher:
        message, ids = event.message(dispatcher), Ids()
        due = SYSTEM_CLOCK.now() + timedelta(seconds=event.delay) if event.delay else None
        with bar_over_events("sending", number) as bar:
            for start in range(0, number, _BATCH):
                message = evolve(message, time=SYSTEM_CLOCK.now(), not_before=due)
                batch = [evolve(message, id=ids.next()) for _ in range(min(_BATCH, number - start))]
                try:
                    await dispatcher.dispatch_many(batch, timeout=timeout)
                except PushFailed as failed:
                    sent.accepted += len(batch) - len(failed.errors)
                    raise
                sent.accepted += len(batch)
                bar.done(sent.accepted)


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
    ids, settings = Ids(), dispatcher.config or read_settings()
    return LineReader(
        source=settings.get("source") or default_source(),
        next_id=lambda number, line: ids.next(),
        limits=dispatcher.queue.limits,
    )
