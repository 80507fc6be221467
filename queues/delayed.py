"""A queue around a queue without DELAY: retries wait here, in this process, until they are due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import attrs

from ._parking import Parking
from .around import QueueAround
from .base import Capability, MessageQueue, QueueStats, name_of
from .clock import Alarm
from .errors import PushFailed, QueueClosed, QueueError, Unsupported
from .message import Delivery, Message, Nack, about

log: Final = logging.getLogger("notification.queues")
_AGAIN = 0.25
"""Seconds until what the inner queue did not take back is offered to it again."""
_BATCH = 500


class DelayedQueue(QueueAround):
    """Adds retry waits to a queue that has no DELAY, and nothing else.

    A nack with a delay is remembered here until due on the clock, then it goes back to the inner queue. It lives as
    long as this process: with ACK the inner queue still has it, leased to us, and gets it back when we die; without,
    it dies with us, like everything else we were handed. So DELAY is not declared, and a dispatch with a delay is
    refused. At `close()` everything that waits goes back at once.
    """

    def __init__(self, inner: MessageQueue) -> None:
        super().__init__(inner)
        self._waiting = Parking()
        self._alarm: Alarm | None = None
        self._handing_back: asyncio.Task[None] | None = None
        self._on_their_way = 0
        self._renew_at = 0.0
        self._failing = self._closed = False

    async def close(self) -> None:
        """Everything that waits for its delay goes back at once, then the inner queue closes."""
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._handing_back is not None:
            await asyncio.wait([self._handing_back])
        try:
            await self._hand_back_all()
        finally:
            await self.inner.close()

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        if (refused := self._refusal(message)) is not None:
            raise refused
        await self.inner.push(message, timeout=timeout)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        errors: dict[int, QueueError] = {
            index: refused for index, message in enumerate(messages) if (refused := self._refusal(message)) is not None
        }
        places = [index for index in range(len(messages)) if index not in errors]
        try:
            await self.inner.push_many([messages[index] for index in places], timeout=timeout)
        except PushFailed as failed:
            errors |= {places[index]: error for index, error in failed.errors.items()}
        if errors:
            raise PushFailed(errors)

    def _refusal(self, message: Message) -> Unsupported | None:
        if message.not_before is None or message.not_before <= self.clock.now():
            return None
        return _no_delay(self.inner, message.not_before)

    # -- out

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        while batch := await self.inner.pop_many(limit):
            if batch := self._waiting.let_pass(batch):
                return batch
        return []

    # -- settled

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        if self._closed:
            raise QueueClosed("the queue is closed")
        now = self.clock.monotonic()
        later = [nack for nack in nacks if nack.delay > 0]
        # Told by the lease, not by the nack: that comes only when they are due.
        lost = await self.extend([nack.delivery for nack in later]) if later else []
        if at_once := [nack for nack in nacks if nack.delay <= 0]:
            lost += await self._offer(at_once)
        keyed = Capability.KEYED in self.capabilities
        for nack in later:
            if nack.delivery not in lost:
                self._waiting.add(now + nack.delay, nack, keyed=keyed)
        self._set_alarm()
        return lost

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await self.inner.release(deliveries)
        except PushFailed as failed:
            self._again([Nack(deliveries[index]) for index in failed.errors])

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renews what waits here, too."""
        if self.lease is not None:
            self._renew_at = self.clock.monotonic() + self.lease / 3
        held = self._waiting.deliveries()
        lost = await self.inner.extend([*deliveries, *held])
        await self._unpark(self._waiting.drop(lost))
        return [delivery for delivery in lost if delivery in deliveries]

    # -- looked at

    async def stats(self) -> QueueStats:
        """What waits here is delayed, and no longer in flight."""
        stats, held = await self.inner.stats(), len(self._waiting) + self._on_their_way
        in_flight = None if stats.in_flight is None else max(0, stats.in_flight - held)
        return attrs.evolve(stats, in_flight=in_flight, delayed=(stats.delayed or 0) + held)

    # -- later

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._closed or self._handing_back is not None or (due := self._waiting.earliest()) is None:
            return
        when = due if self.lease is None else min(due, self._renew_at)
        self._alarm = self.clock.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._handing_back = asyncio.ensure_future(self._hand_back_due())

    async def _hand_back_due(self) -> None:
        now = self.clock.monotonic()
        left = due = self._waiting.due(now, _BATCH)
        self._on_their_way = len(due)
        try:
            if self.lease is not None and now >= self._renew_at:
                await self.extend([])
            await self._offer(due)
            left = []
            self._works()
            await self._unpark(self._waiting.free_keys(due))
        except QueueError as error:
            self._fails(len(left), error)
        finally:
            self._on_their_way, self._handing_back = 0, None
            self._again(left)

    def _fails(self, retries: int, error: QueueError) -> None:
        if not self._failing:
            log.warning(
                "%d retries can't go back to their queue yet, which is tried until it works: %s",
                retries, error, extra={"queue": name_of(self)},
            )  # fmt: skip
        self._failing = True

    def _works(self) -> None:
        if self._failing:
            log.warning("retries go back to their queue again", extra={"queue": name_of(self)})
        self._failing = False

    async def _unpark(self, free: Sequence[Delivery]) -> None:
        try:
            await self.release(free)
        except QueueError:
            self._again([Nack(delivery) for delivery in free])

    async def _offer(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """To the inner queue, now; what does not fit waits for a moment and is offered again."""
        try:
            return await self.inner.nack_many([attrs.evolve(nack, delay=0.0) for nack in nacks])
        except PushFailed as failed:
            self._again([nacks[index] for index in failed.errors])
            return []

    def _again(self, nacks: Iterable[Nack]) -> None:
        due = self.clock.monotonic() + _AGAIN
        for nack in nacks:
            self._waiting.add(due, nack, keyed=Capability.KEYED in self.capabilities)
        self._set_alarm()

    async def _hand_back_all(self) -> None:
        left = every = self._waiting.due(float("inf"), len(self._waiting))
        try:
            await self._offer(every)
            await self._unpark(self._waiting.free_keys(every))
            left = self._waiting.due(float("inf"), len(self._waiting))
        except QueueError as error:
            log.warning("closing: retries could not go back to their queue: %s", error, extra={"queue": name_of(self)})
        if left and Capability.ACK not in self.capabilities:
            _report_lost(left)


def _report_lost(nacks: Sequence[Nack]) -> None:
    for message in (nack.message or nack.delivery.expect() for nack in nacks):
        log.error(
            "event %s (%s) waited for a retry, found no room in its queue at its end, and is lost",
            message.id, message.type, extra=about(message),
        )  # fmt: skip


def _no_delay(queue: MessageQueue, until: datetime) -> Unsupported:
    return Unsupported(
        f"{type(queue).__name__} can't keep an event until {until.isoformat()}: dispatch it without a delay, "
        "or use a queue with DELAY: channel://, sqlite:///, redis://, redis+stream:// or kafka://"
    )
