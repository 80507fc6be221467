"""Emptying a queue into another one: in order, stored there before it is settled here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import evolve

from queues.base import Capability, MessageQueue, QueueStats, name_of
from queues.clock import SYSTEM_CLOCK, patience
from queues.errors import NotificationError
from queues.message import DeadLetter, Delivery, Message

_BATCH = 500
_LOOK_AGAIN = 0.2
_UNSEEN = 2.0
"""Seconds for which something waits and can't be popped, until it is somebody else's."""
_GRACE = 3.0
"""Seconds beyond its lease in which what a dead process had has come back."""


class Busy(NotificationError):
    """Somebody else works on the queue."""


async def left_in(queue: MessageQueue, dead: MessageQueue) -> QueueStats:
    """Its figures, with the number of its dead letters."""
    figures = await queue.stats()
    return figures if figures.dead is not None else evolve(figures, dead=await dead.size())


class Mover:
    """One batch after another from `source` to `target`. letters: where goes what can't be read. moved: so many."""

    def __init__(self, source: MessageQueue, target: MessageQueue, letters: MessageQueue) -> None:
        self.moved = 0
        self._source, self._target, self._letters = source, target, letters

    async def drain(self, progress: Callable[[int], None], *, wait: bool) -> None:
        """Until nothing waits, or, with `wait`, until nothing is delayed either. Cancelled, what it holds goes back.

        Raises Busy when others have what should be moved first, and QueueErrors.
        """
        await self._others_are_done()
        while True:
            while waiting := await self._source.size():
                await self._move(await self._pop(min(_BATCH, waiting)))
                progress(self.moved)
            if not wait or not (await self._source.stats()).delayed:
                return
            await SYSTEM_CLOCK.sleep(_LOOK_AGAIN)

    async def _others_are_done(self) -> None:
        """What is in flight comes before what waits: it comes back with the lease of a dead process, or is settled."""
        end = SYSTEM_CLOCK.monotonic() + (self._source.lease or 0.0) + _GRACE
        while left := (await self._source.stats()).in_flight:
            if SYSTEM_CLOCK.monotonic() >= end:
                raise Busy(f"{left:,} events of {name_of(self._source)} are in flight: stop its workers first")
            await self._nudge()

    async def _nudge(self) -> None:
        """Many queues take back what a dead process had only when somebody pops; what that brings is given back."""
        with suppress(TimeoutError):
            async with patience(_LOOK_AGAIN):
                batch = await self._source.pop_many(1)
            await self._source.release(batch)
        await SYSTEM_CLOCK.sleep(_LOOK_AGAIN)

    async def _pop(self, limit: int) -> list[Delivery]:
        try:
            async with patience(_UNSEEN + (self._source.lease or 0.0)):
                while not (batch := await self._source.pop_many(limit)):
                    pass
        except TimeoutError:
            raise Busy(f"{name_of(self._source)} does not hand out what waits: somebody else has it") from None
        return batch

    async def _move(self, batch: Sequence[Delivery]) -> None:
        readable = [(one, self._changed(one.message)) for one in batch if one.message is not None]
        corrupt = [(one, self._letter_of(one)) for one in batch if one.message is None]
        keeping = asyncio.ensure_future(self._keep(batch))
        try:
            for pairs, target in ((readable, self._target), (corrupt, self._letters)):
                if pairs:
                    self.moved += len(pairs) - len(await self._source.move_many(pairs, target))
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, batch: Sequence[Delivery]) -> None:
        """There may be no room for a while, and a lease does not wait for that."""
        while self._source.lease is not None:
            await SYSTEM_CLOCK.sleep(self._source.lease / 3)
            await self._source.extend(batch)

    def _changed(self, message: Message) -> Message:
        """What was for the group that is read here is for the group of the target, where there are groups."""
        here, there = _group(self._source), _group(self._target)
        if message.dead is not None:
            return message if message.dead.group != here else evolve(message, dead=evolve(message.dead, group=there))
        group = None if not there else there if here else message.group
        return message if group == message.group else evolve(message, group=group)

    def _letter_of(self, delivery: Delivery) -> Message:
        url = self._source.url
        death = DeadLetter("corrupt", str(delivery.error), time=SYSTEM_CLOCK.now(), origin=url.name if url else "")
        return evolve(delivery.expect(), dead=death)


def _group(queue: MessageQueue) -> str:
    """Of consumers; "" where there are none."""
    if Capability.GROUPS not in queue.capabilities or queue.url is None:
        return ""
    return queue.url.group or ""
