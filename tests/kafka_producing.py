"""Producers as tests open them, and what is in a topic."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

from queues import wire
from queues._kafka_options import Brokers, KafkaOptions
from queues._kafka_producer import Producer
from queues.clock import SYSTEM_CLOCK
from queues.message import UNLIMITED, Message
from queues.url import QueueURL

from .kafka_client import KafkaConsumer, TopicPartition
from .kafka_server import Kafka

_ids = itertools.count()


def brokers_of(url: str) -> Brokers:
    """As a queue reads its URL."""
    parsed = QueueURL.parse(url)
    return Brokers(parsed, parsed.read(KafkaOptions))


@contextlib.asynccontextmanager
async def producing(url: str) -> AsyncIterator[Producer]:
    """An open producer for the topic of this URL."""
    brokers = brokers_of(url)
    producer = Producer(brokers, brokers.topic, SYSTEM_CLOCK)
    await producer.open()
    try:
        yield producer
    finally:
        await producer.close()


def event(key: str | None = None, **more: Any) -> Message:
    """One with an id that no other has."""
    return Message(**{"type": "test.sent", "id": f"id-{next(_ids)}", "source": "/tests", "key": key, **more})


def events(count: int, **more: Any) -> list[Message]:
    """So many, with keys."""
    return [event(f"key-{number % 50}", **more) for number in range(count)]


def records_in(kafka: Kafka, topic: str) -> list[Any]:
    """All that is in a topic, each partition in order."""
    return list(_read(kafka, topic))


def ids_in(kafka: Kafka, topic: str) -> list[str]:
    """The ids of all events in a topic, each partition in order."""
    return [wire.decode(record.value, UNLIMITED).id for record in _read(kafka, topic)]


def _read(kafka: Kafka, topic: str) -> Iterator[Any]:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        found: dict[Any, list[Any]] = {part: [] for part in parts}
        while any(consumer.position(part) < ends[part] for part in parts):
            for part, records in consumer.poll(timeout_ms=200).items():
                found[part] += records
        for part in parts:
            yield from found[part]
    finally:
        consumer.close()
