"""`notification send`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import orjson
import typer
from attrs import frozen

from queues.errors import ConfigurationError, CorruptMessage

from .loading import load, queue_of
from .lines import LineSender, Sent, known
from .screen import complain, count, say, sending_bar
from .stats import chosen, refuse_local
from ..assembly import name_of
from ..composing import Ids, default_source
from ..dispatcher import EventDispatcher
from ..ndjson import LineReader
from ..report import Dispatched
from ..signals import stopped_by_signal


@frozen
class Single:
    """One event, as given on the command line."""

    type: str | None
    json: str | None
    key: str | None
    id: str | None
    delay: float


# -- one event


def send_one(event: Single, queue: str | None, app: str | None, timeout: float) -> None:
    """Send it and print its id."""
    if event.type is None:
        raise typer.BadParameter("give TYPE and JSON of an event, or --file")
    dispatcher = _dispatcher(queue, app)
    dispatched = asyncio.run(_dispatch(dispatcher, event, timeout))
    if sys.stdout.isatty():
        complain(f"sent {event.type} to {name_of(queue_of(dispatcher))} as")
    say(dispatched.id)


async def _dispatch(dispatcher: EventDispatcher, event: Single, timeout: float) -> Dispatched:
    async with _opened(dispatcher):
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


def send_file(path: Path, queue: str | None, app: str | None, timeout: float) -> None:
    """Send its lines, say how many, and exit with 1 when some were not sent."""
    name = "stdin" if str(path) == "-" else path.name
    dispatcher = _dispatcher(queue, app)
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
    with sending_bar(name, size) as bar:
        async with stopped_by_signal() as stopping, _opened(dispatcher):
            sender = LineSender(
                dispatcher,
                _reader(dispatcher),
                timeout,
                refuse=lambda number, why: complain(f"{name}:{number}: {why}"),
                progress=bar.show,
            )
            return await sender.run(stream, stopping)


# -- both


def _dispatcher(queue: str | None, app: str | None) -> EventDispatcher:
    """The app's, on the queue given if one is; without an app, one of our own."""
    if app is None:
        return EventDispatcher(chosen(queue))
    dispatcher = load(app)
    if queue is not None:
        dispatcher.use(queue)
    return dispatcher


@asynccontextmanager
async def _opened(dispatcher: EventDispatcher) -> AsyncIterator[None]:
    refuse_local(queue_of(dispatcher))
    async with dispatcher:
        yield


def _reader(dispatcher: EventDispatcher) -> LineReader:
    ids = Ids()
    return LineReader(
        source=default_source(), next_id=lambda number, line: ids.next(), limits=queue_of(dispatcher).limits
    )
