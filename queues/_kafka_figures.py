"""How a queue stands for its group: what the broker says, and what of it is in this process."""

from __future__ import annotations

from collections.abc import Mapping

from ._kafka_consumer import Consumer
from ._kafka_left import Left
from ._kafka_look import Look
from ._kafka_options import Brokers
from ._kafka_topics import HORIZONS, movers_of, readers_of
from ._kafka_wire import delivery_of
from .base import QueueStats
from .clock import Clock
from .message import EPOCH, UNLIMITED
from .url import DEAD


class Figures:
    """What other processes were handed counts as waiting: nobody but them knows."""

    def __init__(self, look: Look, consumer: Consumer, brokers: Brokers, group: str, clock: Clock) -> None:
        self._look, self._consumer, self._brokers, self._group = look, consumer, brokers, group
        self._clock = clock
        self._letters: tuple[Mapping[int, Left], int] = ({}, 0)

    async def size(self) -> int:
        """How many wait and are due."""
        return self._waiting(await self._look.left(self._brokers.topic, self._group))

    async def stats(self) -> QueueStats:
        """In full."""
        topic = self._brokers.topic
        left = await self._look.left(topic, self._group)
        standing = self._consumer.books.standing()
        waiting = self._waiting(left)
        return QueueStats(
            waiting,
            in_flight=sum(one.popped for one in standing.values()),
            delayed=len(self._consumer.waits) + await self._delayed(),
            dead=await self._dead(),
            oldest_age=await self._age(left) if waiting else None,
            settled=self._settled(left),
        )

    def _waiting(self, left: Mapping[int, Left]) -> int:
        standing = self._consumer.books.standing()
        count = -len(self._consumer.waits)
        for number, one in left.items():
            ours = standing.get(number)
            if ours is None:
                count += one.count
            else:
                count += Left(ours.next, max(ours.next, one.end), one.behind(ours.next)).count
                count += ours.unfinished - ours.popped
        return max(0, count)

    def _settled(self, left: Mapping[int, Left]) -> int:
        standing = self._consumer.books.standing()
        return sum(
            standing[number].next - standing[number].unfinished if number in standing else one.low + one.ahead
            for number, one in left.items()
        )

    async def _delayed(self) -> int:
        topic, count = self._brokers.topic, 0
        if topic.endswith(f".{DEAD}"):
            return 0
        for suffix in HORIZONS:
            left = await self._look.left_beside(f"{topic}.{suffix}", movers_of(topic))
            count += sum(one.count for one in left.values())
        return count

    async def _dead(self) -> int | None:
        """Of this group: they are counted one by one, when there are new ones."""
        topic = f"{self._brokers.topic}.{DEAD}"
        if self._brokers.topic.endswith(f".{DEAD}"):
            return None
        left = await self._look.left_beside(topic, readers_of(topic))
        known, count = self._letters
        if left != known:
            count = 0
            if any(one.count for one in left.values()):
                async for record in self._look.browse(topic, readers_of(topic), None, follow=False):
                    delivery = delivery_of(record, None, limits=UNLIMITED)
                    message = None if delivery is None else delivery.message
                    theirs = message is not None and message.dead is not None and message.dead.group
                    count += not theirs or theirs == self._group
            self._letters = left, count
        return count

    async def _age(self, left: Mapping[int, Left]) -> float | None:
        oldest: float | None = None
        for record in await self._look.first_of(self._brokers.topic, left):
            delivery = delivery_of(record, None, limits=UNLIMITED)
            if delivery is not None and delivery.message is not None and delivery.message.time is not EPOCH:
                age = max(0.0, self._clock.wall() - delivery.message.time.timestamp())
                oldest = age if oldest is None else max(oldest, age)
        return oldest
