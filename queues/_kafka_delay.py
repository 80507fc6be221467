"""Delayed events: they wait in topics by how long they have to, and whoever consumes the queue moves them on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from . import _kafka_wire
from ._kafka_buffers import Place
from ._kafka_consumer import Consumer
from ._kafka_errors import meaning
from ._kafka_look import Look
from ._kafka_options import Brokers
from ._kafka_past import Past
from ._kafka_poll import Subscription
from ._kafka_producer import Producer
from ._kafka_topics import HORIZONS, movers_of
from ._kafka_wire import Record
from .clock import Clock, patience
from .errors import QueueClosed, QueueError
from .message import UNLIMITED, Delivery, Message, Nack

log: Final = logging.getLogger("notification.queues")

_PAGE = 500
_MOST = 50_000
"""Delayed events of one topic that a process has in sight."""
_ROTATE_EACH, _ROTATIONS = 1.0, 600
"""Seconds between two rotations of a topic, at least; and how many there are in its longest wait, at most."""
_END = 5.0
_AGAIN = 1.0
"""Seconds after which what could not be moved is tried again."""


class DelayTopics:
    """Where the delayed events of a queue wait. Moving begins with `begin`; the ordinary consumer is the timer, since
    it hands out nothing before its time. There is one group of movers a queue, so that each event is moved once.
    """

    def __init__(self, brokers: Brokers, producer: Producer, look: Look, clock: Clock) -> None:
        self._brokers, self._producer, self._clock = brokers, producer, clock
        self._topics = [f"{brokers.topic}.{suffix}" for suffix in HORIZONS]
        self._past = Past(look, self._topics, movers_of(brokers.topic), clock)
        self._consumer: Consumer | None = None
        self._moving: asyncio.Task[None] | None = None
        self._rotate_at: dict[str, float] = {}

    def is_early(self, message: Message) -> bool:
        """Whether it has to wait."""
        return message.not_before is not None and message.not_before.timestamp() > self._clock.wall()

    async def store(self, messages: Sequence[Message], timeout: float | None) -> dict[int, QueueError]:
        """Have them wait; the errors of those that were not stored."""
        by_topic: dict[str, list[int]] = {}
        for index, message in enumerate(messages):
            by_topic.setdefault(self._topic_of(message), []).append(index)
        errors: dict[int, QueueError] = {}
        for topic, indexes in by_topic.items():
            failed = await self._producer.store([messages[index] for index in indexes], timeout, beside=topic)
            errors |= {indexes[at]: error for at, error in failed.items()}
        return errors

    def begin(self) -> None:
        """Move on what falls due. Idempotent."""
        if self._moving is None:
            self._consumer = self._new_consumer()
            self._moving = asyncio.create_task(self._move(self._consumer), name="notification-delays")

    async def close(self) -> None:
        """What is under way is settled first: it would be moved twice. Idempotent."""
        if self._moving is not None and self._consumer is not None:
            self._consumer.stop()
            with contextlib.suppress(TimeoutError):
                async with patience(_END):
                    await asyncio.wait([self._moving])
            self._moving.cancel()
            await self._consumer.close()
            await self._past.end()

    def _topic_of(self, message: Message) -> str:
        assert message.not_before is not None
        left = message.not_before.timestamp() - self._clock.wall()
        suffix = next((suffix for suffix, most in HORIZONS.items() if left <= most), list(HORIZONS)[-1])
        return f"{self._brokers.topic}.{suffix}"

    def _new_consumer(self) -> Consumer:
        brokers = self._brokers
        subscription = Subscription(
            settings=lambda: {**brokers.consumer(), "group_id": movers_of(brokers.topic)},
            topics=self._topics, most=_MOST, lease=brokers.options.session_timeout, strict=False, drain=0.0,
        )  # fmt: skip
        return Consumer(
            subscription, _read, self._clock, keyed=False, meaning=partial(meaning, brokers=brokers, unknown=False)
        )

    async def _move(self, consumer: Consumer) -> None:
        while True:
            try:
                due = await consumer.pop(_PAGE)
                await self._move_on(consumer, due, self._brokers.topic)
                for topic in consumer.crowded():
                    await self._rotate(consumer, topic)
                await self._past.shorten()
            except QueueClosed:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, moving has to go on
                log.warning(
                    "delayed events can't be moved on yet, which is tried until it works: %s",
                    error, extra={"queue": self._brokers.topic},
                )  # fmt: skip
                await self._clock.sleep(_AGAIN)

    async def _rotate(self, consumer: Consumer, topic: str) -> None:
        """What is due last goes to the end of its topic, so that what is behind it comes into sight.

        The longer the waits in a topic, the less often.
        """
        now = self._clock.monotonic()
        if now < self._rotate_at.get(topic, 0.0):
            return
        horizon = HORIZONS[topic.removeprefix(f"{self._brokers.topic}.")]
        self._rotate_at[topic] = now + max(_ROTATE_EACH, horizon / _ROTATIONS)
        await self._move_on(consumer, consumer.take_farthest(topic), topic)

    async def _move_on(self, consumer: Consumer, deliveries: Sequence[Delivery], topic: str) -> None:
        """Stored there, then settled here: a crash between the two leaves both."""
        if not deliveries:
            return
        lost = set(await consumer.lost_of(deliveries))
        ours = [delivery for delivery in deliveries if delivery not in lost]
        records = [_record_of(delivery) for delivery in ours]
        if topic != self._brokers.topic:
            records = [record._replace(partition=None) for record in records]
        errors = await self._producer.send(topic, records, None)
        await consumer.finish([one for index, one in enumerate(ours) if index not in errors])
        self._past.grows()
        if errors:
            await consumer.give_back([Nack(ours[index], _AGAIN) for index in errors], settled=True)
            raise next(iter(errors.values()))


def _record_of(delivery: Delivery) -> Record:
    """What is no event goes on too: the queue's own consumers say what is wrong with it."""
    return Record(delivery.raw) if delivery.message is None else _kafka_wire.record_of(delivery.message)


def _read(record: Any, place: Place, times: int) -> Delivery | None:
    return _kafka_wire.delivery_of(record, place, times, UNLIMITED)
