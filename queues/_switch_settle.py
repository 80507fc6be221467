"""Settling what a switch handed out: each delivery where it came from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from ._switch_parts import only_source, tell
from ._switch_ready import Ready
from ._switch_route import Route
from .around import QueueAround
from .base import MessageQueue
from .message import Delivery, Message, Nack


class Settling(MessageQueue):
    """The half of a switch that has nothing to do with the flag."""

    @property
    @abstractmethod
    def _by_source(self) -> Mapping[str | None, Route]:
        """The routes by name."""

    @property
    @abstractmethod
    def _fetched(self) -> Ready:
        """What was fetched, and is not handed out."""

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        if (route := self._by_source.get(only_source(deliveries))) is not None:
            return await route.queue.ack_many(deliveries)
        return await tell(self._by_source, deliveries, _itself, _ack)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        async def nack(route: Route, part: Sequence[Nack]) -> list[Delivery]:
            await self._put_behind(route, [one.delivery for one in part])
            return await route.queue.nack_many(part)

        return await tell(self._by_source, nacks, _of_nack, nack)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        async def release(route: Route, part: Sequence[Delivery]) -> list[Delivery]:
            await self._put_behind(route, part)
            await route.queue.release(part)
            return []

        await tell(self._by_source, deliveries, _itself, release)

    async def _put_behind(self, route: Route, deliveries: Sequence[Delivery]) -> None:
        if behind := self._fetched.take_behind(route, deliveries):
            await route.queue.release(behind)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """As `MessageQueue.move_many`; to another switch: there to the route of the same name."""
        while isinstance(to, QueueAround):
            to = to.inner
        there = to._by_source if isinstance(to, Settling) else {}

        async def move(route: Route, part: Sequence[tuple[Delivery, Message]]) -> list[Delivery]:
            beside = there.get(route.name)
            return await route.queue.move_many(part, to if beside is None else _plain(beside.opened()))

        return await tell(self._by_source, pairs, _of_pair, move)

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await tell(self._by_source, deliveries, _itself, _started)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """As `MessageQueue.extend`. Raises only when no route answers: one that is down costs the others no lease."""
        return await self._fetched.extend_all(deliveries)

    def home_of(self, delivery: Delivery) -> MessageQueue:
        route = self._by_source.get(delivery.source)
        return self if route is None else route.queue

    def position_of(self, delivery: Delivery) -> str:
        home = self.home_of(delivery)
        return "" if home is self else home.position_of(delivery)


async def _ack(route: Route, part: Sequence[Delivery]) -> list[Delivery]:
    return await route.queue.ack_many(part)


async def _started(route: Route, part: Sequence[Delivery]) -> list[Delivery]:
    return await route.queue.started(part)


def _plain(queue: MessageQueue) -> MessageQueue:
    """A queue knows its sibling by its class, not by the queues around that."""
    while isinstance(queue, QueueAround):
        queue = queue.inner
    return queue


def _itself(delivery: Delivery) -> Delivery:
    return delivery


def _of_nack(nack: Nack) -> Delivery:
    return nack.delivery


def _of_pair(pair: tuple[Delivery, Message]) -> Delivery:
    return pair[0]
