"""Sending lines: read as they come, checked, dispatched in batches that form by themselves."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Sequence
from functools import lru_cache
from io import FileIO
from signal import Signals

import anyio
import anyio.to_thread
from attrs import define, evolve, field, frozen

from queues.errors import CorruptMessage, NotificationError, PushFailed, QueueError, UnknownEvent
from queues.message import Message

from ..dispatcher import EventDispatcher
from ..event import EventSpec, spec_named
from ..ndjson import Line, LineReader

_CHUNK = 256 * 1024


@define
class Sent:
    """What became of the first `lines` lines, `bytes_read` bytes. stopped: why it did not go on."""

    accepted: int = 0
    refused: int = 0
    lines: int = 0
    bytes_read: int = 0
    stopped: str = ""
    interrupted: Signals | None = None

    @property
    def fine(self) -> bool:
        """Every line is in the queue."""
        return not (self.refused or self.stopped or self.interrupted)


@frozen
class LineSender:
    """Reads a stream to its end. refuse: told each line that was not sent, and why. progress: told after each batch."""

    dispatcher: EventDispatcher
    reader: LineReader
    timeout: float
    refuse: Callable[[int, str], None]
    progress: Callable[[Sent], None]
    sent: Sent = field(factory=Sent, init=False)

    async def run(self, stream: FileIO, stopping: Future[Signals]) -> Sent:
        """Send all lines. Ends early when the queue takes no more, or once `stopping` is done."""
        while not self.sent.stopped:
            chunk = await _read(stream, stopping)
            if chunk is None:
                self.sent.interrupted = stopping.result()
                break
            await self._send(self.reader.feed(chunk) if chunk else self.reader.finish())
            self.sent.lines = self.reader.number
            self.sent.bytes_read += len(chunk)
            self.progress(self.sent)
            if not chunk:
                break
        return self.sent

    async def _send(self, lines: Sequence[Line]) -> None:
        batch: list[tuple[int, Message]] = []
        for line in lines:
            try:
                if line.message is None:
                    self._refuse(line.number, line.error)
                else:
                    batch.append((line.number, known(line.message)))
            except CorruptMessage as error:
                self._refuse(line.number, str(error))
        if batch:
            await self._dispatch(batch)

    async def _dispatch(self, batch: Sequence[tuple[int, Message]]) -> None:
        errors: dict[int, QueueError] = {}
        try:
            await self.dispatcher.dispatch_many([message for _, message in batch], timeout=self.timeout)
        except PushFailed as failed:
            errors = failed.errors
        except NotificationError:  # one of them can't be composed: find out which
            errors = await self._one_by_one(batch)
        self.sent.accepted += len(batch) - len(errors)
        trouble = {index: error for index, error in errors.items() if not isinstance(error, CorruptMessage)}
        for index, error in errors.items():
            if index not in trouble:
                self._refuse(batch[index][0], str(error))
        if trouble:
            first = min(trouble)
            unknown = any(getattr(error, "may_have_been_stored", False) for error in trouble.values())
            self.sent.refused += len(trouble)
            self.sent.stopped = f"stopped at line {batch[first][0]}: {trouble[first]}" + (
                f"; {len(trouble)} of the lines from there on may be in the queue all the same" if unknown else ""
            )

    async def _one_by_one(self, batch: Sequence[tuple[int, Message]]) -> dict[int, QueueError]:
        errors: dict[int, QueueError] = {}
        for index, (_, message) in enumerate(batch):
            try:
                await self.dispatcher.dispatch(message, timeout=self.timeout)
            except QueueError as error:
                errors[index] = error
        return errors

    def _refuse(self, number: int, why: str) -> None:
        self.sent.refused += 1
        self.refuse(number, why)


def known(message: Message) -> Message:
    """Checked against its class and keyed by it, where one is known; its data stay as they are.

    Raises CorruptMessage for data that do not fit.
    """
    spec = class_of(message.type)
    if spec is None or message.version > spec.version:
        return message
    event = spec.codec.decode(message.data)
    return message if message.key is not None else evolve(message, key=spec.key_of(event))


@lru_cache(4096)
def class_of(type_name: str) -> EventSpec | None:
    """The class of this type. Remembered: to find no class takes longer than all the rest of a line."""
    try:
        return spec_named(type_name)
    except UnknownEvent:
        return None


async def _read(stream: FileIO, stopping: Future[Signals]) -> bytes | None:
    """What is there, at most a chunk; b"" at the end; None once `stopping` is done, though the stream is silent.

    The thread that waits for a silent stream can't be stopped: it is left behind.
    """
    if stopping.done():
        return None
    chunk: bytes | None = None
    with anyio.CancelScope() as scope:

        def stop(_: Future[Signals]) -> None:
            scope.cancel()

        stopping.add_done_callback(stop)
        try:
            chunk = await anyio.to_thread.run_sync(stream.read, _CHUNK, abandon_on_cancel=True)
        finally:
            stopping.remove_done_callback(stop)
    return chunk
