"""One route of a switch: a queue with what it lacks around it, and whether it is open."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from .base import Capability, MessageQueue, QueueStats, name_of
from .clock import Clock
from .delayed import DelayedQueue
from .errors import NotificationError, QueueUnavailable
from .message import Delivery


class Route:
    """name: of the route. queue: where it leads, opened and closed by the switch, with retry waits added if need be.

    ready: fetched, and not handed out yet; renewed: when the lease on these was last renewed; fetch: what fetches more.
    shut: keys that were handed back while that is under way. pushing: pushes that are under way.
    """

    def __init__(self, name: str, queue: MessageQueue) -> None:
        self.name = name
        self.queue: MessageQueue = queue
        self.is_open = self.has_begun = False
        self.trouble: NotificationError | None = None
        """Why it is not open."""
        self.ready: deque[Delivery] = deque()
        self.renewed = 0.0
        self.fetch: asyncio.Task[None] | None = None
        self.failing = False
        self.shut: set[str] = set()
        self.pushing = 0

    def __str__(self) -> str:
        return f"route {self.name!r} ({name_of(self.queue)})"

    async def get_ready(self, clock: Clock, *, begin: bool) -> None:
        """Open it, and begin to consume if that is wanted. May be tried again.

        Raises ConfigurationError, QueueUnavailable.
        """
        if not self.is_open:
            self.queue.clock = clock
            await self.queue.open()
            if Capability.DELAY not in self.queue.capabilities and not isinstance(self.queue, DelayedQueue):
                self.queue = DelayedQueue(self.queue)
            self.is_open = True
        if begin and not self.has_begun:
            await self.queue.begin()
            self.has_begun = True

    def opened(self) -> MessageQueue:
        """The queue. Raises QueueUnavailable while it is not open."""
        if not self.is_open:
            raise QueueUnavailable(f"{self} is not open yet: {self.trouble or 'it has not answered'}")
        return self.queue

    @contextmanager
    def taking(self) -> Iterator[MessageQueue]:
        """The queue, to push into: it is not empty meanwhile. Raises QueueUnavailable while it is not open."""
        queue = self.opened()
        self.pushing += 1
        try:
            yield queue
        finally:
            self.pushing -= 1

    async def is_empty(self) -> bool:
        """Whether nothing of our group waits in it, is in flight or delayed, or is on its way to it from here.

        Raises QueueUnavailable when it can't be asked, or can't tell.
        """
        stats = await self.opened().stats()
        if _is_vague(stats):
            raise QueueUnavailable(f"{self} can't tell what is in flight or delayed")
        return not (stats.waiting or stats.in_flight or stats.delayed or self.pushing)

    async def can_tell(self) -> bool:
        """Whether it says all that `is_empty` has to know. Raises QueueUnavailable."""
        return not _is_vague(await self.opened().stats())


def _is_vague(stats: QueueStats) -> bool:
    return stats.in_flight is None or stats.delayed is None
