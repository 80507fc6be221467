"""A queue as a plugin author would write it: four methods, and the wire form of the contract."""

from __future__ import annotations

import asyncio
from collections import deque

from notification import Delivery, Message, MessageQueue, QueueClosed, QueueFull, wire


class Shelf:
    """Where the encoded events lie; every FourMethods over one shelf is another owner."""

    def __init__(self) -> None:
        self.events: deque[bytes] = deque()
        self.changed = asyncio.Condition()


class FourMethods(MessageQueue):
    """push, pop, size, close. Everything else is the contract's default."""

    def __init__(self, shelf: Shelf, capacity: int | None = None) -> None:
        self._shelf, self.capacity, self._closed = shelf, capacity, False

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        async with self._shelf.changed:
            if not self._has_room():
                try:
                    await asyncio.wait_for(self._shelf.changed.wait_for(self._has_room), timeout)
                except TimeoutError:
                    raise QueueFull(f"{self.capacity} events wait already") from None
            self._check_open()
            self._shelf.events.append(wire.encode(message))
            self._shelf.changed.notify_all()

    async def pop(self) -> Delivery:
        async with self._shelf.changed:
            await self._shelf.changed.wait_for(lambda: self._closed or self._shelf.events)
            self._check_open()
            self._shelf.changed.notify_all()
            return wire.delivery_of(self._shelf.events.popleft(), None, limits=self.limits)

    async def size(self) -> int:
        return len(self._shelf.events)

    async def close(self) -> None:
        self._closed = True
        async with self._shelf.changed:
            self._shelf.changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or self.capacity is None or len(self._shelf.events) < self.capacity

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("this queue is closed")
