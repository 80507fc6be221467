"""The list at most once: LPUSH and RPOP, nothing remembered. What a process had when it died is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from attrs import evolve

from . import _redis_list_look as look
from . import wire
from ._redis_delay import DelayTimer
from ._redis_fetch import Fetch
from ._redis_link import Link
from ._redis_list_claims import BLOCK
from ._redis_list_intake import Intake
from ._redis_list_owner import promote
from ._redis_queue import RedisOptions, RedisQueue
from ._redis_server import Server
from .base import Capability, QueueStats
from .errors import PushFailed
from .message import Delivery, Message, Nack


class RedisBareQueue(RedisQueue):
    """`redis://…?delivery=at-most-once`. No ACK: acks tell the server nothing, so nothing is fenced or counted."""

    capabilities: Capability = Capability.DELAY | Capability.DURABLE
    _left = "what was fetched and not handed out yet is lost"

    def __init__(self, server: Server, name: str, options: RedisOptions) -> None:
        super().__init__(server, name, options)
        self.lease = None

    async def _begin(self) -> None:
        self._fetches, self._bell = Link(self._server, block=BLOCK), Link(self._server, block=BLOCK)
        self._nacks = Intake(self._settles, self._keys, self.clock, capacity=None, dedup=0.0)
        self._fetch = Fetch(self._bring, f"{self._server.name} is closed")
        self._timer = DelayTimer(
            looks=self._settles,
            bell=self._bell,
            key=self._keys.bell,
            promote=partial(promote, self._keys),
            clock=self.clock,
        )

    async def _end(self) -> None:
        await self._timer.close()
        await self._fetch.close()
        for link in (self._fetches, self._bell):
            await link.close()
        await self._back(list(self._fetch.ready))

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        self._timer.start()
        return await self._fetch.pop(limit)

    async def _bring(self, limit: int) -> list[Delivery]:
        [events] = await self._fetches.call(("RPOP", self._keys.waiting, limit))
        if not events:
            [popped] = await self._fetches.call(("BRPOP", self._keys.waiting, BLOCK))
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
            await self._settles.call(("RPUSH", self._keys.waiting, *(one.receipt for one in reversed(deliveries))))

    # -- looked at

    async def size(self) -> int:
        self._check_open()
        return (await look.size(self._settles, self._keys))[0]

    async def stats(self) -> QueueStats:
        self._check_open()
        return evolve(
            await look.stats(self._settles, self._keys, self._dead, self.clock, self.limits),
            in_flight=None,
            settled=None,
        )

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What waits, the oldest first. `since` as text: how many of the oldest to leave out."""
        self._check_open()
        return look.browse(self._settles, self._keys, self.clock, self.limits, since, follow=follow)
