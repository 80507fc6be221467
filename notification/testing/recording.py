"""What a tester writes down: the queue's side, what was dispatched and what died; and every run of a handler."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import anyio
from attrs import frozen

from queues import wire
from queues.around import QueueAround
from queues.base import Capability, MessageQueue
from queues.clock import Clock
from queues.errors import CorruptMessage, PushFailed, UnknownEvent
from queues.message import Delivery, Message

from ..context import CallNext, Context
from ..event import spec_named
from ..handlers import read


@frozen
class Dispatch:
    """An event that the queue accepted.

    event: as a handler would get it: an instance of its class, or the message itself where no class is known.
    message: as it travelled.
    """

    event: Any
    message: Message


@frozen
class Run:
    """One run of one handler, written down when it is over.

    error: what it raised, a TimeoutError when it was cut off at its timeout, or None. at: when it began, by the
    tester's clock.
    """

    handler: str
    event: Any
    message: Message
    attempt: int
    error: BaseException | None
    at: datetime


class Record:
    """Everything that was written down, and the middleware that writes down runs. It goes around all others, so that
    it sees what the dispatcher sees.
    """

    def __init__(self, clock: Clock) -> None:
        self.dispatched: list[Dispatch] = []
        self.runs: list[Run] = []
        self.dead: list[Message] = []
        self.leaving = False
        """The tester is being left: what is cut off now is not cut off at its timeout."""
        self._clock = clock

    def note_dispatch(self, message: Message) -> None:
        """The queue accepted this."""
        self.dispatched.append(Dispatch(event_in(message), message))

    async def __call__(self, message: Message, ctx: Context, call_next: CallNext) -> None:
        """Run the handler and write down how it went."""
        at = self._clock.now()
        error: BaseException | None = None
        try:
            await call_next()
        except BaseException as raised:
            error = self._cut_off(raised)
            raise
        finally:
            self.runs.append(Run(ctx.handler, event_in(message), message, ctx.attempt, error, at))

    def _cut_off(self, error: BaseException) -> BaseException:
        """A timeout reaches a handler as a cancelled scope; one that has another reason stays what it is."""
        cut = isinstance(error, asyncio.CancelledError) and anyio.current_effective_deadline() == -math.inf
        return TimeoutError("it took longer than its timeout") if cut and not self.leaving else error


def event_in(message: Message) -> Any:
    """The event as an instance of its class; the message itself where there is none, or none that can read it."""
    try:
        return read(message, spec_named(message.type))
    except (UnknownEvent, CorruptMessage):
        return message


class RecordingQueue(QueueAround):
    """A queue of this process that behaves as one elsewhere: events travel as bytes of JSON. What it accepts is noted.

    It claims consumer groups, so that `unhandled="skip"` can be tested.
    """

    def __init__(self, inner: MessageQueue, note: Callable[[Message], None]) -> None:
        super().__init__(inner)
        self._note = note

    def _adopt(self) -> None:
        super()._adopt()
        self.capabilities: Capability = (self.inner.capabilities & ~Capability.LOCAL) | Capability.GROUPS

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        message = self._travelled(message)
        await self.inner.push(message, timeout=timeout)
        self._note(message)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        messages = [self._travelled(message) for message in messages]
        try:
            await self.inner.push_many(messages, timeout=timeout)
        except PushFailed as error:
            self._note_all([message for index, message in enumerate(messages) if index not in error.errors])
            raise
        self._note_all(messages)

    def _note_all(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._note(message)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """Through the other queue's own `push_many`, which takes its notes, and not past it."""
        return await MessageQueue.move_many(self, pairs, to)

    def _travelled(self, message: Message) -> Message:
        return wire.decode(wire.encode(message), self.limits)
