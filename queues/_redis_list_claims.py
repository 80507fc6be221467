"""Taking from a list: claimed in one step with a lease, or waited for."""

from __future__ import annotations

from collections.abc import Callable

from redis.exceptions import NoPermissionError

from ._redis_link import Link
from ._redis_list_owner import Owner
from ._redis_list_strays import Strays
from .base import MessageQueue
from .errors import QueueError, QueueFull
from .message import Delivery

BLOCK = 1.0
"""Seconds for which a fetch waits at the server."""
_FIRST_GUESS = 32 * 1024
"""Bytes that an event is taken to have before one was seen."""


class Claims:
    """heard: told the milliseconds to the next delayed event with each claim."""

    def __init__(self, link: Link, owner: Owner, heard: Callable[[int], None]) -> None:
        self._link, self._owner, self._heard = link, owner, heard
        self._number: int | None = None
        self.strays = Strays(link, owner)
        self._size = float(_FIRST_GUESS)

    async def fetch(self, limit: int) -> list[Delivery]:
        """Up to `limit` and about a mebibyte; waits for the first, for a second."""
        if found := await self.strays.found(self._number):
            return found
        number = self._number = self._number or self._owner.next_number()
        try:
            return await self._claim(number, limit) or await self._wait(number, limit)
        except QueueFull:  # no memory even for the blocking move; claims go on all the same
            await self._owner.clock.sleep(BLOCK / 5)
            return []
        except QueueError:
            # What the server was asked may still happen: the number is not used again, and looked at later.
            self._number = None
            self.strays.doubt(number)
            raise

    async def _claim(self, number: int, limit: int) -> list[Delivery]:
        owner, now = self._owner, self._owner.clock.monotonic()
        limit = max(1, min(limit, int(MessageQueue.BATCH_BYTES / max(1.0, self._size))))
        try:
            answer, events = await self._link.call(*owner.claim(number, limit))
        except QueueError as error:
            if owner.by_moves or not _sort_is_forbidden(error):
                raise
            owner.by_moves = True
            answer, events = await self._link.call(*owner.claim(number, limit))
        owner.renewed(now)
        due, deliveries = owner.claimed(number, answer, events)
        self._heard(due)
        return self._noted(deliveries)

    async def _wait(self, number: int, limit: int) -> list[Delivery]:
        # Not for long beside the lease, which began before the wait: what comes at its end must be ours for a while.
        deliveries = await self._owner.wait(self._link, number, min(BLOCK, self._owner.lease / 4))
        return await self._claim(number, limit) if deliveries is None else self._noted(deliveries)

    def _noted(self, deliveries: list[Delivery]) -> list[Delivery]:
        if deliveries:
            self._number = None
            mean = sum(delivery.size for delivery in deliveries) / len(deliveries)
            self._size += 0.2 * (mean - self._size)
        return deliveries


def _sort_is_forbidden(error: QueueError) -> bool:
    return isinstance(error.__cause__, NoPermissionError) and "sort" in str(error.__cause__).lower()
