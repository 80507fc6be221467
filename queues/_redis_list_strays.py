"""Batches under an owner's name of which he does not know: nobody else would look there while he lives."""

from __future__ import annotations

from ._redis_link import Link
from ._redis_list_owner import GRAVE_MS, Owner
from .errors import QueueError
from .message import Delivery

_EVERY = 2.0
"""Seconds between two looks."""


class Strays:
    """Finds what a claim, a blocking move or a `take` brought without an answer, and acks that the server forgot.

    A command may come to the server long after its connection broke, and a server that lost its last writes has batches
    again whose end we saw; so all that is registered is compared with what is known, for as long as the owner lives.
    """

    def __init__(self, link: Link, owner: Owner) -> None:
        self._link, self._owner = link, owner
        self._seen: dict[int, float] = {}
        self._next_look = 0.0

    @property
    def any(self) -> bool:
        """Whether something may still come into a batch that nobody knows."""
        return bool(self._seen)

    def doubt(self, number: int) -> None:
        """What became of this batch nobody knows; it is looked at next, or later events overtake what is in it."""
        self._next_look = self._owner.clock.monotonic()
        self._seen.setdefault(number, self._next_look)

    async def found(self, current: int | None) -> list[Delivery]:
        """What is in such batches, from time to time. current: the number for the next claim."""
        now = self._owner.clock.monotonic()
        if now < self._next_look:
            return []
        registered = await self._registered(current)
        deliveries: list[Delivery] = []
        # Not what is registered and was not seen before: its end may just have been on its way.
        for number in sorted(one for one in self._seen if one not in self._owner.batches):
            try:
                deliveries += await self._look(number)
            except QueueError:
                if deliveries:  # of batches that are known by now: nobody would look there again
                    return deliveries
                raise
        self._seen = {one: self._seen.get(one, now) for one in registered if one not in self._owner.batches}
        self._next_look = now + _EVERY
        return deliveries

    async def _registered(self, current: int | None) -> list[int]:
        owner = self._owner
        [fields] = await self._link.call(("HKEYS", owner.keys.own(owner.name)))
        known = {*owner.batches, *owner.taking, current}
        return sorted(number for field in fields if field.isdigit() and (number := int(field)) not in known)

    async def _look(self, number: int) -> list[Delivery]:
        owner = self._owner
        answer, events = await self._link.call(*owner.look(number))
        deliveries = owner.found(number, answer, events)
        if not deliveries and (events or self._is_old(number)):
            own, batch = owner.keys.own(owner.name), owner.keys.batch(owner.name, number)
            await self._link.call(("HDEL", own, number), ("DEL", batch))
        return deliveries

    def _is_old(self, number: int) -> bool:
        """Whether nothing can come into it any more."""
        return self._owner.clock.monotonic() - self._seen[number] > GRAVE_MS / 1000
