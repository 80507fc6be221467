"""The way in: callers that dispatch at the same moment share one trip to the queue."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Collection, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

from attrs import define

from queues.base import MessageQueue
from queues.clock import Alarm, Clock
from queues.errors import ConfigurationError, PushFailed, QueueClosed, QueueError, QueueFull, QueueUnavailable
from queues.fallback import FallbackQueue, SpillFull
from queues.message import Message
from workers.outcome import describe
from workers.pool import in_handler
from workers.slice import TimeSlice

MAX_CALLERS = 10_000
"""How many callers may wait for a batch; one more gets QueueFull."""
_BATCH = 1000
_BATCH_BYTES = 1 << 20
_ANSWERS = 128
"""Callers that hear of it in one turn of the event loop: what each goes on with keeps all others waiting."""
_PATIENCE = 0.25
"""Seconds a batch waits for room before others have their turn: a handler's dispatch wants to know at once. And what
a queue has beyond a caller's timeout to answer, at least that it is full.
"""
_NEXT_STEP = 1.75
"""Seconds until a degradation has given up on the queue: who has less time is rather a little late than refused."""

Answer = str | Exception
"""What became of a message: the way it went, `queue`, `spill` or `inline`, or what went wrong."""


class Sender(Protocol):
    """How messages get into the queue."""

    def send(self, message: Message, timeout: float | None) -> Awaitable[str | None]:
        """To be awaited at once. Return once it was accepted: the way it went, None for `queue`. Raises QueueError."""
        ...

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> list[Answer]:
        """The same for many, in order: of each the way it went, or why it was not accepted."""
        ...

    async def run(self) -> None:
        """Work until cancelled."""

    async def drained(self) -> None:
        """Wait until nobody waits for an answer."""

    @property
    def waiting(self) -> int:
        """Callers whose message is not accepted yet."""
        ...


class DirectSender:
    """For a queue in this process: a push is a function call, there is no trip to share.

    waits: whether a dispatch waits for room in a full queue.
    """

    def __init__(self, queue: MessageQueue, clock: Clock, *, waits: bool = True) -> None:
        self._queue, self._waits = queue, waits
        self._slice = TimeSlice(clock)
        self._loop = asyncio.get_running_loop()
        self.waiting = 0

    def send(self, message: Message, timeout: float | None) -> Coroutine[Any, Any, None]:
        if asyncio.get_running_loop() is not self._loop:
            raise _elsewhere()
        if in_handler.get() or not self._waits:
            timeout = 0
        return self._send_later(message, timeout) if self._slice.over() else self._queue.push(message, timeout=timeout)

    async def _send_later(self, message: Message, timeout: float | None) -> None:
        await self._slice.next()
        await self._queue.push(message, timeout=timeout)

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> list[Answer]:
        if asyncio.get_running_loop() is not self._loop:
            raise _elsewhere()
        errors: dict[int, QueueError] = {}
        try:
            await self._queue.push_many(messages, timeout=0 if in_handler.get() or not self._waits else timeout)
        except PushFailed as failed:
            errors = failed.errors
        return [errors.get(index, "queue") for index in range(len(messages))]

    async def run(self) -> None:
        """Nothing to do in the background."""

    async def drained(self) -> None:
        """A caller waits in the queue itself, if at all."""


@define(eq=False)
class _Caller:
    """Until `full_at` it waits for room, until `expires` for any answer."""

    message: Message
    accepted: asyncio.Future[str]
    full_at: float
    expires: float
    sent: bool = False

    def answer(self) -> Answer:
        """What became of it; a caller that has no answer yet gives up."""
        if not self.accepted.done():
            self.accepted.cancel()
        if self.accepted.cancelled():
            return QueueUnavailable("nobody waits for an answer any more", may_have_been_stored=self.sent)
        error = self.accepted.exception()
        return error if isinstance(error, Exception) else self.accepted.result()


class BatchSender:
    """One task owns the batch under way; a caller that is cancelled takes nobody with it.

    fallback: the queue, if it tells where events went. waits: as in DirectSender. inline: who finds no room in the
    spill need not wait for any.
    """

    def __init__(
        self, queue: MessageQueue, clock: Clock, *,
        fallback: FallbackQueue | None = None, waits: bool = True, inline: bool = False,
    ) -> None:  # fmt: skip
        self._queue, self._fallback = queue, fallback
        self._waits, self._hopeless = waits, SpillFull if inline else ()
        self._least = _NEXT_STEP if fallback is not None or inline else 0.0
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._callers: deque[_Caller] = deque()
        self._under_way: list[_Caller] = []
        self._wake: asyncio.Future[None] | None = None
        self._alarm: Alarm | None = None
        self._alarm_at = math.inf
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._callers) + len(self._under_way)

    def send(self, message: Message, timeout: float | None) -> asyncio.Future[str]:
        if len(self._callers) >= MAX_CALLERS:
            raise _crowded()
        return self._join(message, self._clock.monotonic(), timeout).accepted

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> list[Answer]:
        answers: list[Answer] = []
        began = self._clock.monotonic()
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            if len(self._callers) >= MAX_CALLERS:
                answers += [_crowded() for _ in batch]
                continue
            callers = [self._join(message, began, timeout) for message in batch]
            try:
                await asyncio.wait([caller.accepted for caller in callers])
            finally:
                answers += [caller.answer() for caller in callers]
        return answers

    def _join(self, message: Message, began: float, timeout: float | None) -> _Caller:
        if self._closed:
            raise QueueClosed("the dispatcher was stopped")
        if asyncio.get_running_loop() is not self._loop:
            raise _elsewhere()
        full_at = math.inf if timeout is None else began + timeout
        expires = full_at + _PATIENCE if timeout is None or timeout >= self._least else began + _NEXT_STEP
        if in_handler.get() or not self._waits:
            full_at = began
        caller = _Caller(message, self._loop.create_future(), full_at, expires)
        self._callers.append(caller)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if expires < self._alarm_at:
            self._set_alarm(expires)
        return caller

    async def drained(self) -> None:
        while left := [c.accepted for c in (*self._under_way, *self._callers) if not c.accepted.done()]:
            await asyncio.wait(left)

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
        patience = min(caller.full_at for caller in batch) - self._clock.monotonic()
        timeout = min(max(0.0, patience), _PATIENCE)
        messages = [caller.message for caller in batch]
        errors: dict[int, QueueError] = {}
        spilled: Collection[int] = ()
        try:
            if self._fallback is None:
                await self._queue.push_many(messages, timeout=timeout)
            else:
                placed = await self._fallback.place(messages, timeout=timeout)
                errors, spilled = placed.errors, placed.spilled
        except PushFailed as error:
            errors = error.errors
        except QueueError as error:
            errors = dict.fromkeys(range(len(batch)), error)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; its callers get a declared error
            unknown = QueueUnavailable(f"push failed: {describe(error)}", may_have_been_stored=True)
            errors = dict.fromkeys(range(len(batch)), unknown)
        await self._answer(batch, errors, spilled)

    async def _answer(self, batch: list[_Caller], errors: dict[int, QueueError], spilled: Collection[int]) -> None:
        left, again = iter(enumerate(batch)), list[_Caller]()
        try:
            for _ in range(_ANSWERS, len(batch), _ANSWERS):
                self._tell(islice(left, _ANSWERS), errors, spilled, again)
                await asyncio.sleep(0)
        finally:
            self._tell(left, errors, spilled, again)
            self._under_way = []
            self._callers.extendleft(reversed(again))

    def _tell(
        self, callers: Iterable[tuple[int, _Caller]], errors: dict[int, QueueError], spilled: Collection[int],
        again: list[_Caller],
    ) -> None:  # fmt: skip
        """Those who may still wait for room come to `again`."""
        now = self._clock.monotonic()
        for index, caller in callers:
            error = errors.get(index) if errors else None
            if caller.accepted.done():
                continue
            if error is None:
                caller.accepted.set_result("queue" if not spilled or index not in spilled else "spill")
            elif isinstance(error, QueueFull) and caller.full_at > now and not isinstance(error, self._hopeless):
                caller.sent = False
                again.append(caller)
            else:
                caller.accepted.set_exception(error)

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._clock.call_at(when, self._expire) if when < math.inf else None

    def _expire(self) -> None:
        """Tell those whose time is up, forget them, and look again when the next one's is."""
        now = self._clock.monotonic()
        for caller in (*self._under_way, *self._callers):
            if caller.expires <= now and not caller.accepted.done():
                text = "the queue gave no answer in time" + ("" if caller.sent else "; nothing was sent")
                caller.accepted.set_exception(QueueUnavailable(text, may_have_been_stored=caller.sent))
        self._callers = deque(caller for caller in self._callers if not caller.accepted.done())
        left = (caller.expires for caller in (*self._under_way, *self._callers) if not caller.accepted.done())
        self._set_alarm(min(left, default=math.inf))

    def _give_up(self) -> None:
        self._closed = True
        self._set_alarm(math.inf)
        for caller in (*self._under_way, *self._callers):
            if not caller.accepted.done():
                closed = QueueUnavailable("stopped before the queue answered", may_have_been_stored=True)
                caller.accepted.set_exception(closed if caller.sent else QueueClosed("the dispatcher was stopped"))
        self._callers.clear()


def _elsewhere() -> ConfigurationError:
    return ConfigurationError(
        "the dispatcher was opened in another event loop than this one; from other threads and loops use "
        "dispatch_soon() or blocking()"
    )


def _crowded() -> QueueFull:
    return QueueFull(f"{MAX_CALLERS} callers are waiting to dispatch already")
