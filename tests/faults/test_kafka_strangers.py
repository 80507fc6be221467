"""What other programs put into a topic: records that are no events of ours, and bombs."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from notification import Context, EventDispatcher, Message
from queues import wire
from queues._kafka_client import OffsetSpec
from queues.registry import open_queue
from queues.url import QueueURL
from tests.kafka_client import KafkaProducer, TopicPartition
from tests.kafka_server import Kafka
from tests.stage import until

from .homes import Home, topic_of_its_own
from .programs import theatre, wait_until

GARBAGE = [b"garbage", b"[]", b'{"type":1}', os.urandom(1000), b"[" * 100_000, os.urandom(800_000)]
LARGE = b"x" * 3_000_000
"""More than any topic takes, unless it is compressed."""


async def test_what_is_no_event_is_a_dead_letter_and_holds_up_nobody(kafka: Kafka) -> None:
    """With its bytes, however they came; tombstones are passed over, records without a key are handled."""
    url = topic_of_its_own(kafka, partitions=2)
    topic, handled = topic_of(url), Counter[str]()
    dispatcher = EventDispatcher(url)

    @dispatcher.on("faults.*")
    async def handle(message: Message, ctx: Context) -> None:
        handled[ctx.id] += 1

    with KafkaProducer(bootstrap_servers=kafka.bootstrap.split(",")) as plain:
        for number, garbage in enumerate(GARBAGE):
            plain.send(topic, wire.encode(foreign(f"keyless-{number}")), partition=0)
            plain.send(topic, garbage, key=b"k" if number % 2 else None, partition=0)
            plain.send(topic, None, key=b"k", partition=0)
            plain.send(topic, b"1", headers=binary(f"binary-{number}"), partition=0)
    with KafkaProducer(bootstrap_servers=kafka.bootstrap.split(","), **ANY_SIZE) as compressing:
        compressing.send(topic, LARGE, partition=0)
        compressing.send(topic, wire.encode(foreign("last")), partition=0)
    async with dispatcher:
        await dispatcher.start(workers=4)
        await until(lambda: len(handled) == 2 * len(GARBAGE) + 1)
        await asyncio.wait_for(dispatcher.join(), 20)
        letters = [letter async for letter in dispatcher.dead_letters.browse()]
        assert await dispatcher.size() == 0
    assert set(handled.values()) == {1}
    assert {letter.dead.reason for letter in letters if letter.dead} == {"corrupt"}
    assert {letter.dead.origin for letter in letters if letter.dead} == {topic}
    at = [int(letter.dead.position.removeprefix("0:")) for letter in letters if letter.dead]
    assert at == sorted(at)
    assert {offset % 4 for offset in at} == {1, 0}  # each garbage is the second of four, the large one the last but one
    assert sorted(letter.data for letter in letters) == sorted([*GARBAGE[:5], GARBAGE[5][: 1 << 19], LARGE[: 1 << 19]])


ANY_SIZE: dict[str, Any] = {"compression_type": "gzip", "max_request_size": 1 << 30, "batch_size": 1 << 29}


def topic_of(url: str) -> str:
    return QueueURL.parse(url).path.strip("/")


def foreign(id_: str) -> Message:
    return Message(type="faults.foreign", id=id_, source="/elsewhere")


def binary(id_: str) -> list[tuple[str, bytes]]:
    """The headers of an event in binary mode."""
    attributes = {"specversion": "1.0", "type": "faults.foreign", "source": "/elsewhere", "id": id_}
    return [(f"ce_{name}", value.encode()) for name, value in attributes.items()]


@pytest.mark.timeout(300)
def test_a_bomb_kills_nobody_and_holds_up_its_own_partition_only(tmp_path: Path, kafka: Kafka) -> None:
    """S5: 256 KB that are 256 MB where there is no such memory. Its partition is tried again and again, which is told,
    until the bomb is removed; the others go on, and the process lives.
    """
    with theatre(tmp_path, Home("kafka", kafka), partitions=2) as stage:
        topic, worker = topic_of(stage.url), stage.worker().ready()
        stage.producer(count=50, keys=50, act={"49": "limit:100"}).finished()
        wait_until(lambda: stage.count("ended") == 50)
        before = end_of(kafka, TopicPartition(topic, 0))
        with KafkaProducer(bootstrap_servers=kafka.bootstrap.split(","), **ANY_SIZE) as producer:
            producer.send(topic, bytes(256 << 20), partition=0)
        stage.producer(count=200, keys=100).finished()
        wait_until(lambda: stage.count("ended") >= 130, what="the other partition is handled")
        wait_until(lambda: f"partition 0 of {topic} can't be read on" in worker.errors, what="it is told")
        wait_until(lambda: "has something that can't be read (partition 0: " in worker.errors, what="by the queue, too")
        assert worker.alive
        kafka.admin.delete_records({TopicPartition(topic, 0): before + 1})
        wait_until(lambda: stage.count("ended") == 250, what="it goes on")
        wait_until(lambda: asyncio.run(size(stage.url)) == 0, what="all is committed")
        worker.stop()


def end_of(kafka: Kafka, place: TopicPartition) -> int:
    """The offset of the next event of a partition."""
    found: int = kafka.admin.list_partition_offsets({place: OffsetSpec.LATEST})[place].offset
    return found


async def size(url: str) -> int:
    async with open_queue(url) as queue:
        return await queue.size()
