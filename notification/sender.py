"""The way in: callers that dispatch at the same moment share one trip to the queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from attrs import define

from queues.base import MessageQueue
from queues.clock import Alarm, Clock
from queues.errors import PushFailed, QueueClosed, QueueError, QueueFull, QueueUnavailable
from queues.message import Message
from workers.pool import in_handler
from workers.slice import TimeSlice

MAX_CALLERS = 10_000
"""How many callers may wait for a batch; one more gets QueueFull."""
_BATCH = 1000
_BATCH_BYTES = 1 << 20


class Sender(Protocol):
    """How messages get into the queue."""

    async def send(self, message: Message, timeout: float | None) -> None:
        """Return once the queue has accepted it. Raises QueueFull, QueueUnavailable, QueueClosed."""

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> None:
        """The same for many, in order. Raises PushFailed naming those that were not accepted."""

    async def run(self) -> None:
        """Work until cancelled."""

    async def drained(self) -> None:
        """Wait until nobody waits for an answer."""

    @property
    def waiting(self) -> int:
        """Callers whose message is not accepted yet."""
        ...


class DirectSender:
    """For a queue in this process: a push is a function call, there is no trip to share."""

    def __init__(self, queue: MessageQueue, clock: Clock) -> None:
        self._queue = queue
        self._slice = TimeSlice(clock)
        self.waiting = 0

    async def send(self, message: Message, timeout: float | None) -> None:
        if self._slice.over():
            await asyncio.sleep(0)
        await self._queue.push(message, timeout=0 if in_handler.get() else timeout)

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> None:
        await self._queue.push_many(messages, timeout=0 if in_handler.get() else timeout)

    async def run(self) -> None:
        """Nothing to do in the background."""

    async def drained(self) -> None:
        """A caller waits in the queue itself, if at all."""


@define(eq=False)
class _Caller:
    message: Message
    accepted: asyncio.Future[None]
    full_at: float
    expires: float
    sent: bool = False

    def outcome(self) -> QueueError | None:
        """What went wrong, if anything; a caller that has no answer yet gives up."""
        if not self.accepted.done():
            self.accepted.cancel()
        if self.accepted.cancelled():
            return None
        error = self.accepted.exception()
        return error if isinstance(error, QueueError) else None


class BatchSender:
    """One task owns the batch under way; a caller that is cancelled takes nobody with it."""

    def __init__(self, queue: MessageQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._callers: deque[_Caller] = deque()
        self._under_way: list[_Caller] = []
        self._wake: asyncio.Future[None] | None = None
        self._alarm: Alarm | None = None

    @property
    def waiting(self) -> int:
        return len(self._callers) + len(self._under_way)

    async def send(self, message: Message, timeout: float | None) -> None:
        if len(self._callers) >= MAX_CALLERS:
            raise QueueFull(f"{MAX_CALLERS} callers are waiting to dispatch already")
        await self._join(message, timeout).accepted

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> None:
        errors: dict[int, QueueError] = {}
        for start in range(0, len(messages), _BATCH):
            callers = [self._join(message, timeout) for message in messages[start : start + _BATCH]]
            try:
                await asyncio.wait([caller.accepted for caller in callers])
            finally:
                errors |= {start + i: error for i, caller in enumerate(callers) if (error := caller.outcome())}
        if errors:
            raise PushFailed(errors)

    def _join(self, message: Message, timeout: float | None) -> _Caller:
        loop = asyncio.get_running_loop()
        now = self._clock.monotonic()
        expires = float("inf") if timeout is None else now + timeout
        caller = _Caller(message, loop.create_future(), now if in_handler.get() else expires, expires)
        self._callers.append(caller)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if self._alarm is None and timeout is not None:
            self._alarm = self._clock.call_at(expires, self._expire)
        return caller

    async def drained(self) -> None:
        while callers := (*self._under_way, *self._callers):
            await asyncio.wait([caller.accepted for caller in callers])

    async def run(self) -> None:
        """Push batch after batch until cancelled; whoever is left then learns that nothing was stored."""
        try:
            while True:
                if not self._callers:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                if batch := self._next_batch():
                    await self._push(batch)
        finally:
            self._give_up()

    def _next_batch(self) -> list[_Caller]:
        batch: list[_Caller] = []
        size = 0
        while self._callers and len(batch) < _BATCH and size < _BATCH_BYTES:
            caller = self._callers.popleft()
            if not caller.accepted.done():
                caller.sent = True
                batch.append(caller)
                size += len(caller.message.wire or b"")
        return batch

    async def _push(self, batch: list[_Caller]) -> None:
        self._under_way = batch
        patience = min((caller.full_at for caller in batch), default=0.0) - self._clock.monotonic()
        timeout = None if patience == float("inf") else max(0.0, patience)
        errors: dict[int, QueueError] = {}
        try:
            await self._queue.push_many([caller.message for caller in batch], timeout=timeout)
        except PushFailed as error:
            errors = error.errors
        except QueueError as error:
            errors = dict.fromkeys(range(len(batch)), error)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; its callers get a declared error
            unknown = QueueUnavailable(f"push failed: {error!r}", may_have_been_stored=True)
            errors = dict.fromkeys(range(len(batch)), unknown)
        self._under_way = []
        self._answer(batch, errors)

    def _answer(self, batch: list[_Caller], errors: dict[int, QueueError]) -> None:
        again: list[_Caller] = []
        now = self._clock.monotonic()
        for index, caller in enumerate(batch):
            error = errors.get(index) if errors else None
            if caller.accepted.done():
                continue
            if error is None:
                caller.accepted.set_result(None)
            elif isinstance(error, QueueFull) and caller.full_at > now:
                caller.sent = False
                again.append(caller)
            else:
                caller.accepted.set_exception(error)
        self._callers.extendleft(reversed(again))

    def _expire(self) -> None:
        """Tell those whose time is up, and look again when the next one's is."""
        self._alarm = None
        now = self._clock.monotonic()
        soonest = float("inf")
        for caller in (*self._under_way, *self._callers):
            if caller.accepted.done():
                continue
            if caller.expires <= now:
                text = "the queue gave no answer in time" + ("" if caller.sent else "; nothing was sent")
                caller.accepted.set_exception(QueueUnavailable(text, may_have_been_stored=caller.sent))
            else:
                soonest = min(soonest, caller.expires)
        if soonest < float("inf"):
            self._alarm = self._clock.call_at(soonest, self._expire)

    def _give_up(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for caller in (*self._under_way, *self._callers):
            if not caller.accepted.done():
                closed = QueueUnavailable("stopped before the queue answered", may_have_been_stored=True)
                caller.accepted.set_exception(closed if caller.sent else QueueClosed("the dispatcher was stopped"))
        self._callers.clear()
