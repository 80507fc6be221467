"""What begins with the first pop of a stream: fetching, and the time of delayed events."""

from __future__ import annotations

from functools import partial

from ._redis_delay import BELL_WAIT, DelayTimer
from ._redis_fetch import Fetch
from ._redis_link import Link
from ._redis_server import Server
from ._redis_stream_owner import Owner, promote
from ._redis_stream_reads import BLOCK, Reads
from .message import Delivery


class Consumer:
    """Two connections of its own: one to fetch, one on which the bell is waited for. settles: does the rest."""

    def __init__(self, server: Server, owner: Owner, settles: Link) -> None:
        self._owner, self._settles = owner, settles
        self._fetches, self._bell = Link(server, block=BLOCK), Link(server, block=BELL_WAIT)
        self._timer = DelayTimer(
            looks=settles, bell=self._bell, key=owner.keys.bell, promote=partial(promote, owner.keys), clock=owner.clock
        )
        self._fetch = Fetch(Reads(self._fetches, owner, self._timer.heard).fetch, f"{server.name} is closed")
        self.began = False
        """Whether anything was ever popped."""

    async def pop(self, limit: int) -> list[Delivery]:
        """As `MessageQueue.pop_many`."""
        if not self.began:
            self.began = True
            self._timer.start()
        owner = self._owner
        if self._fetch.ready and owner.clock.monotonic() >= owner.until:
            await owner.renew(self._settles, ())  # nobody did, for what nobody popped
        deliveries = await self._fetch.pop(limit)
        if deliveries and deliveries[0].receipt.owner != owner.name:  # lost while they lay ready
            deliveries = [delivery for delivery in deliveries if delivery.receipt.owner == owner.name]
        return deliveries

    async def close(self) -> None:
        """Wake whoever waits, and end; what is ready stays there. Idempotent."""
        await self._timer.close()
        await self._fetch.close()
        for link in (self._fetches, self._bell):
            await link.close()
