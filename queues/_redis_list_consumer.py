"""What begins with the first pop of a list: fetching, the time of delayed events, and the leases of other owners."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from ._redis_delay import DelayTimer
from ._redis_fetch import Fetch
from ._redis_link import Link
from ._redis_list_claims import BLOCK, Claims
from ._redis_list_owner import Owner
from ._redis_server import Server
from .errors import QueueError
from .message import Delivery

_REAP_EVERY = 1.0
"""Seconds between two looks for owners whose lease is over."""


class Consumer:
    """Its connections: one to fetch, one on which the bell is waited for, one for what has to be done now and then."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self._owner = owner
        self._fetches, self._bell, self._looks = Link(server, block=BLOCK), Link(server, block=BLOCK), Link(server)
        self._timer = DelayTimer(
            looks=self._looks, bell=self._bell, key=owner.keys.bell, promote=owner.promote, clock=owner.clock
        )
        self._claims = Claims(self._fetches, owner, self._timer.heard)
        self._fetch = Fetch(self._claims.fetch, f"{server.name} is closed")
        self._reaper: asyncio.Task[None] | None = None

    @property
    def began(self) -> bool:
        """Whether anything was ever popped."""
        return self._reaper is not None

    @property
    def in_doubt(self) -> bool:
        """Whether something that was asked may still come."""
        return self._claims.strays.any

    @property
    def ready(self) -> deque[Delivery]:
        """What was fetched and not popped yet."""
        return self._fetch.ready

    async def pop(self, limit: int) -> list[Delivery]:
        """As `MessageQueue.pop_many`."""
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap())
            self._timer.start()
        return await self._fetch.pop(limit)

    def drop_lost(self) -> None:
        """Forget what was fetched and is another owner's by now."""
        self._fetch.drop([delivery for delivery in self.ready if delivery.receipt.batch.gone])

    async def close(self) -> None:
        """Wake whoever waits, and end; what is ready stays there. Idempotent."""
        if self._reaper is not None:
            self._reaper.cancel()
        await self._timer.close()
        await self._fetch.close()
        for link in (self._fetches, self._bell, self._looks):
            await link.close()

    async def _reap(self) -> None:
        while True:
            with contextlib.suppress(QueueError):  # an outage is told by fetching
                await self._owner.reap(self._looks)
            await self._owner.clock.sleep(min(_REAP_EVERY, self._owner.lease / 2))
