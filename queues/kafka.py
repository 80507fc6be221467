"""The Kafka queue: CloudEvents in a topic, shared by consumer groups, in order by key, with leases by partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import attrs

from . import _kafka_wire
from ._kafka_consumer import Consumer
from ._kafka_delay import DelayTopics
from ._kafka_errors import meaning
from ._kafka_figures import Figures
from ._kafka_groups import GroupReader
from ._kafka_look import Look
from ._kafka_options import GROUP, Brokers, KafkaOptions, located
from ._kafka_past import Past
from ._kafka_poll import Subscription
from ._kafka_producer import Producer
from ._kafka_retries import Retries
from ._kafka_take import take
from ._kafka_topics import readers_of
from .base import Capability, MessageQueue, QueueStats, name_of
from .errors import PushFailed, QueueClosed, QueueError
from .message import EPOCH, Delivery, Message, Nack
from .url import DEAD, QueueURL

log: Final = logging.getLogger("notification.queues")


class KafkaQueue(MessageQueue):
    """`kafka://host:port[,host:port]/topic?group=name`. The topics are made by `notification queue create`.

    At least once in each group; what a killed process had is handed out again once its session has timed out. An ack is
    remembered here at once and committed, with all that is finished out of order, within a tenth of a second. A key
    stays in one partition, and that with one process. A retry with a key waits in its place in this process; should
    that end, its attempts begin anew. Deliveries of a handler that a thread still runs at `close()` go to others.
    """

    def __init__(self, brokers: Brokers) -> None:
        options = brokers.options
        self.capabilities: Capability = (
            Capability.ACK | Capability.DELAY | Capability.DURABLE | Capability.GROUPS | Capability.KEYED
        )
        if options.partitioner != "key" or brokers.partitions is not None:
            self.capabilities &= ~Capability.KEYED
        self.lease: float | None = None if brokers.partitions is not None else options.session_timeout
        self._brokers, self._topic = brokers, brokers.topic
        self._holds_letters = brokers.topic.endswith(f".{DEAD}")
        self._group = readers_of(self._topic) if self._holds_letters else brokers.group
        self._state = "not open yet"

    @classmethod
    def from_url(cls, url: QueueURL) -> KafkaQueue:
        """See KafkaOptions. Raises ConfigurationError, MissingDependency."""
        return cls(Brokers(url, url.read(KafkaOptions)))

    @property
    def url(self) -> QueueURL | None:
        """With the topic as its name, and with the group, also where the URL that it was opened from names none."""
        return self._url

    @url.setter
    def url(self, url: QueueURL | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # an attribute there
        self._url = url and attrs.evolve(located(url), group=url.group or GROUP)

    _url: QueueURL | None = None

    # -- life

    async def open(self) -> None:
        if self._state == "open":
            return
        if self._state != "not open yet":
            raise QueueClosed(f"{self._brokers.name} is closed; make a new queue to use it again")
        producer = Producer(self._brokers, self._topic, self.clock)
        await producer.open()
        self._producer = producer
        self._look = Look(self._brokers, self.clock)
        options = self._brokers.options
        subscription = Subscription(
            settings=lambda: {**self._brokers.consumer(), "group_id": self._group},
            topics=[self._topic], partitions=self._brokers.partitions or (),
            most=options.unsettled, lease=options.session_timeout,
        )  # fmt: skip
        self._reader = GroupReader(self._group, self.limits, every=self._holds_letters)
        self._consumer = Consumer(
            subscription, self._reader, self.clock,
            keyed=Capability.KEYED in self.capabilities, meaning=partial(meaning, brokers=self._brokers, unknown=False),
        )  # fmt: skip
        self._delay = DelayTopics(self._brokers, producer, self._look, self.clock)
        self._past = Past(self._look, [self._topic] if self._holds_letters else [], self._group, self.clock)
        self._retries = Retries(
            self._consumer, self._delay, self.clock,
            group=self._group, keyed=Capability.KEYED in self.capabilities, stays=self._holds_letters,
        )  # fmt: skip
        self._figures = Figures(self._look, self._consumer, self._brokers, self._group, self.clock)
        self._state = "open"

    async def begin(self) -> None:
        """Raises ConfigurationError when a topic beside the queue's own is missing."""
        self._check_open()
        await self._look.check_siblings()
        self._begin()

    async def close(self) -> None:
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        try:
            await self._retries.keep()
        except QueueError as error:
            log.warning("retries begin anew, with their first attempt: %s", error, extra={"queue": name_of(self)})
        await asyncio.gather(self._delay.close(), self._consumer.close())
        await self._past.end()
        await self._producer.close()
        self._look.close()

    def _begin(self) -> None:
        self._consumer.begin()
        if not self._holds_letters:
            self._delay.begin()

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._brokers.name} is {self._state}")

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._store([message], timeout):
            raise errors[0]

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._store(messages, timeout):
            raise PushFailed(errors)

    async def _store(self, messages: Sequence[Message], timeout: float | None) -> dict[int, QueueError]:
        if self._holds_letters:
            return await self._producer.store(messages, timeout, beside=self._topic)
        later = [index for index, message in enumerate(messages) if self._delay.is_early(message)]
        if not later:
            return await self._producer.store(messages, timeout)
        delayed = await self._delay.store([messages[index] for index in later], timeout)
        now = [index for index in range(len(messages)) if index not in set(later)]
        at_once = await self._producer.store([messages[index] for index in now], timeout) if now else {}
        return {later[index]: error for index, error in delayed.items()} | {
            now[index]: error for index, error in at_once.items()
        }

    # -- out

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        self._begin()
        return await self._consumer.pop(limit)

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        """Of the partitions that are ours. What does not match is held meanwhile."""
        self._check_open()
        left = await self._look.left(self._topic, self._group)
        if not any(one.count for one in left.values()):
            return []
        return await take(self._consumer, left, match, limit)

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        self._past.grows()
        return await self._consumer.finish(deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """A retry with a key waits in its place, one without waits here for a while, or else in a topic."""
        self._check_open()
        return await self._retries.nack(nacks)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        await self._consumer.give_back([Nack(delivery) for delivery in deliveries], settled=False)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """Stored there, then settled here: a crash between the two leaves both."""
        self._check_open()
        lost = await self._consumer.lost_of([delivery for delivery, _ in pairs])
        ours = [pair for pair in pairs if pair[0] not in lost]
        return [*lost, *(await super().move_many(ours, to) if ours else [])]

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        return await self._consumer.started(deliveries)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        return await self._consumer.lost_of(deliveries)

    # -- looked at

    def position_of(self, delivery: Delivery) -> str:
        """`2:1044` is the offset 1044 of the partition 2."""
        return f"{delivery.receipt.ledger.partition}:{delivery.receipt.offset}"

    async def size(self) -> int:
        self._check_open()
        return await self._figures.size()

    async def stats(self) -> QueueStats:
        self._check_open()
        return await self._figures.stats()

    async def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What is left for this group, each partition in order. With `since`, a time or offsets (`1500` of every
        partition, `0:1500,2:80`), all that is in the topic from there on.
        """
        self._check_open()
        async for record in self._look.browse(self._topic, self._group, since, follow=follow):
            delivery = _kafka_wire.delivery_of(record, None, limits=self.limits)
            if delivery is None:
                continue
            message = delivery.expect()
            if self._reader.takes(message) and not _is_older(message, since):
                yield message


def _is_older(message: Message, since: datetime | str | None) -> bool:
    """What has no time of its own is as new as its topic says."""
    return isinstance(since, datetime) and message.time is not EPOCH and message.time < since
