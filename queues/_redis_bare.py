"""The list at most once: LPUSH and RPOP, nothing remembered. What a process had when it died is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from attrs import evolve

from . import _redis_list_look as look
from . import wire
from ._redis_delay import DelayTimer
from ._redis_fetch import Fetch
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_list_intake import Intake
from ._redis_list_owner import Owner
from ._redis_server import Server
from .base import Capability, MessageQueue, QueueStats
from .errors import PushFailed, QueueClosed
from .message import Delivery, Message, Nack
from .url import DEAD

_BLOCK = 1.0


class RedisBareQueue(MessageQueue):
    """`redis://…?delivery=at-most-once`. No ACK: acks tell the server nothing, so nothing is fenced or counted."""

    capabilities: Capability = Capability.DELAY | Capability.DURABLE

    def __init__(self, server: Server, name: str, *, capacity: int | None, dedup: float) -> None:
        self.capacity: int | None = capacity
        self._server, self._dedup = server, dedup
        self._keys, self._dead = Keys.of(name), Keys.of(f"{name}.{DEAD}")
        self._state = "not open yet"

    async def open(self) -> None:
        if self._state == "open":
            return
        self._calls, self._fetches = Link(self._server), Link(self._server, block=_BLOCK)
        self._bell = Link(self._server, block=_BLOCK)
        try:
            await self._calls.open(("LLEN", self._keys.waiting))
        except BaseException:
            await self._calls.close()
            raise
        self._intake = Intake(self._calls, self._keys, self.clock, capacity=self.capacity, dedup=self._dedup)
        self._nacks = Intake(self._calls, self._keys, self.clock, capacity=None, dedup=0.0)
        self._fetch = Fetch(self._bring, f"{self._server.name} is closed")
        promote = Owner(self._keys, 0.0, self.limits, self.clock).promote
        self._timer = DelayTimer(
            looks=self._calls, bell=self._bell, key=self._keys.bell, promote=promote, clock=self.clock
        )
        self._state = "open"

    async def close(self) -> None:
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        self._intake.closed = True
        await self._timer.close()
        await self._fetch.close()
        await self._back(list(self._fetch.ready))
        for link in (self._calls, self._fetches, self._bell):
            await link.close()

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._server.name} is {self._state}")

    # -- in and out

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store([message], timeout):
            raise errors[0]

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store(messages, timeout):
            raise PushFailed(errors)

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        self._timer.start()
        return await self._fetch.pop(limit)

    async def _bring(self, limit: int) -> list[Delivery]:
        [events] = await self._fetches.call(("RPOP", self._keys.waiting, limit))
        if not events:
            [popped] = await self._fetches.call(("BRPOP", self._keys.waiting, _BLOCK))
            events = [] if popped is None else [popped[1]]
        return [wire.delivery_of(event, event, limits=self.limits) for event in events]

    # -- given back

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        self._check_open()
        messages = [nack.message or nack.delivery.expect() for nack in nacks]
        later = [
            evolve(message, not_before=self.clock.now() + timedelta(seconds=nack.delay)) if nack.delay > 0 else message
            for nack, message in zip(nacks, messages, strict=True)
        ]
        if errors := await self._nacks.store(later, None):
            raise PushFailed(errors)
        return []

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        await self._back(deliveries)

    async def _back(self, deliveries: Sequence[Delivery]) -> None:
        """As they lay, to the tail, so that the first of them is taken next."""
        if deliveries:
            await self._calls.call(("RPUSH", self._keys.waiting, *(one.receipt for one in reversed(deliveries))))

    # -- looked at

    async def size(self) -> int:
        self._check_open()
        return (await look.size(self._calls, self._keys))[0]

    async def stats(self) -> QueueStats:
        self._check_open()
        return evolve(
            await look.stats(self._calls, self._keys, self._dead, self.clock, self.limits), in_flight=None, settled=None
        )

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What waits, the oldest first. `since` as text: how many of the oldest to leave out."""
        self._check_open()
        return look.browse(self._calls, self._keys, self.clock, self.limits, since, follow=follow)
