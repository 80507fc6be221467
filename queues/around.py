"""A queue around a queue: passes everything through, so that what adds a guarantee writes only that guarantee."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

from .base import Capability, MessageQueue, QueueStats
from .clock import Clock
from .message import Delivery, Limits, Message, Nack
from .url import QueueURL


class QueueAround(MessageQueue):
    """Does what its inner queue does, and shows what that shows. Override what you add."""

    def __init__(self, inner: MessageQueue) -> None:
        self.inner: MessageQueue = inner
        self.clock: Clock = inner.clock
        self.limits: Limits = inner.limits
        self._adopt()

    def _adopt(self) -> None:
        self.capabilities: Capability = self.inner.capabilities
        self.capacity: int | None = self.inner.capacity
        self.lease: float | None = self.inner.lease
        self.url: QueueURL | None = self.inner.url

    async def open(self) -> None:
        self.inner.clock = self.clock
        self.inner.limits = self.limits
        await self.inner.open()
        self._adopt()

    async def begin(self) -> None:
        await self.inner.begin()

    async def close(self) -> None:
        await self.inner.close()

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        await self.inner.push(message, timeout=timeout)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        await self.inner.push_many(messages, timeout=timeout)

    async def pop(self) -> Delivery:
        return await self.inner.pop()

    async def pop_many(self, limit: int) -> list[Delivery]:
        return await self.inner.pop_many(limit)

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        return await self.inner.take(match, limit)

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self.inner.ack_many(deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        return await self.inner.nack_many(nacks)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self.inner.release(deliveries)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """The inner queue knows a sibling by its own class, so it gets to see that, not the queues around it."""
        while isinstance(to, QueueAround):
            to = to.inner
        return await self.inner.move_many(pairs, to)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self.inner.extend(deliveries)

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self.inner.started(deliveries)

    async def size(self) -> int:
        return await self.inner.size()

    def sibling(self, suffix: str) -> MessageQueue:
        return self.inner.sibling(suffix)

    def home_of(self, delivery: Delivery) -> MessageQueue:
        home = self.inner.home_of(delivery)
        return self if home is self.inner else home

    def volatile(self) -> list[MessageQueue]:
        inner = self.inner.volatile()
        return super().volatile() if inner == [self.inner] else inner

    def position_of(self, delivery: Delivery) -> str:
        return self.inner.position_of(delivery)

    async def stats(self) -> QueueStats:
        return await self.inner.stats()

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        return self.inner.browse(since=since, follow=follow)
