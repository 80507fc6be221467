"""The Kafka queue: the conformance suite, and what is its own."""

from __future__ import annotations

import pytest

from queues._kafka_wire import Record
from queues.base import MessageQueue
from queues.conformance import MakeQueue, QueueConformance
from queues.kafka import KafkaQueue
from queues.registry import open_queue
from tests.kafka_server import Kafka


class TestKafkaQueue(QueueConformance):
    """Each test has a topic of its own, with one partition, on a broker that all share."""

    lease = None
    keys_move = False
    counts_exactly = False
    acks_within = 0.3

    @pytest.fixture
    def make_queue(self, kafka: Kafka) -> MakeQueue:
        topic = kafka.create(partitions=1)

        def make(group: str = "g", **options: object) -> MessageQueue:
            return open_queue(kafka.url(topic, group=f"{topic}-{group}", session_timeout="1s", **options))

        return make

    async def inject(self, queue: MessageQueue, raw: bytes) -> None:
        assert isinstance(queue, KafkaQueue)
        assert await queue._producer.send(queue._topic, [Record(raw)], None) == {}
