"""The Kafka queue: the conformance suite, and what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from queues._kafka_wire import Record
from queues.base import MessageQueue
from queues.conformance import MakeQueue, QueueConformance
from queues.conformance.waiting import event, popped
from queues.errors import PushFailed
from queues.kafka import KafkaQueue
from queues.message import Delivery
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


# -- what is its own


@pytest.fixture
async def queue(kafka: Kafka) -> AsyncIterator[KafkaQueue]:
    """Of a topic with six partitions."""
    async with open_queue(kafka.url(kafka.create(partitions=6), group="g", session_timeout="1s")) as opened:
        assert isinstance(opened, KafkaQueue)
        yield opened


def partition_of(queue: KafkaQueue, delivery: Delivery) -> int:
    """Where it came from."""
    [place] = [one for one, ledger in queue._consumer.books.ledgers.items() if ledger is delivery.receipt.ledger]
    return int(place.partition)


async def test_an_event_may_name_its_partition(queue: KafkaQueue) -> None:
    """Also after a delay; a number that the topic does not have is that event's own error."""
    late = queue.clock.now() + timedelta(seconds=0.2)
    await queue.push_many([event("now", partition=4), event("late", partition=5, not_before=late)])
    with pytest.raises(PushFailed) as failed:
        await queue.push_many([event("nowhere", partition=6), event("other")])
    assert list(failed.value.errors) == [0]
    got = await popped(queue, 3, "what was stored is handed out", 10)
    partitions = {one.expect().id: partition_of(queue, one) for one in got}
    assert (partitions["now"], partitions["late"]) == (4, 5)


async def test_a_dead_letter_of_an_event_with_a_partition_finds_its_place(queue: KafkaQueue) -> None:
    """There are fewer partitions beside a queue; the event keeps the number, for when it is tried again."""
    await queue.push(event("e", partition=5))
    [delivery] = await popped(queue, 1, "what was stored is handed out", 10)
    assert queue.url is not None
    async with open_queue(queue.url.sibling("dead")) as dead:
        assert await queue.move_many([(delivery, delivery.expect())], dead) == []
        [letter] = await popped(dead, 1, "a dead letter waits in the sibling", 10)
        assert letter.expect().partition == 5
        assert await dead.move_many([(letter, letter.expect())], queue) == []
    [again] = await popped(queue, 1, "it is tried again", 10)
    assert partition_of(queue, again) == 5
