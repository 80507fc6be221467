"""What was dealt with leaves the topics of dead letters and of delayed events, so that it never comes again."""

from __future__ import annotations

import asyncio
import logging

import pytest
from attrs import evolve

from notification import DeadLetter, EventDispatcher, Message, QueueUnavailable, open_queue
from queues._kafka_past import Past
from queues.base import MessageQueue
from queues.clock import ManualClock

from .kafka_client import TopicPartition
from .kafka_server import Kafka

LETTERS = [
    Message(type="a", id=str(number), source="/s", dead=DeadLetter(reason="rejected")) for number in range(3)
]  # fmt: skip


def kept(kafka: Kafka, topic: str) -> int:
    """How many records there are in a topic with one partition."""
    admin, place = kafka.admin, TopicPartition(topic, 0)
    oldest, end = (admin.list_partition_offsets({place: spec})[place].offset for spec in (-2, -1))
    return int(end - oldest)


async def left(queue: MessageQueue) -> list[str]:
    return [message.id async for message in queue.browse()]


async def test_dead_letters_that_were_dealt_with_stay_so_when_their_group_is_forgotten(kafka: Kafka) -> None:
    """As brokers do after a week without a member, which a group of people at a command mostly is."""
    topic = kafka.create(partitions=1)
    url = kafka.url(f"{topic}.dead")
    async with open_queue(url) as letters:
        await letters.push_many(LETTERS)
        await letters.ack_many(await letters.take(lambda message: message.id != "1", 9))
    async with open_queue(url) as letters:
        assert await left(letters) == ["1"]
        [again] = await letters.take(lambda message: True, 9)
        await letters.ack_many([again])
        await letters.push(LETTERS[2])
    assert await asyncio.to_thread(kept, kafka, f"{topic}.dead") == 1
    await asyncio.to_thread(kafka.admin.delete_groups, [f"{topic}.dead"])
    async with open_queue(url) as letters:
        assert await left(letters) == ["2"]


async def test_delayed_events_that_were_moved_are_gone_and_the_others_wait(kafka: Kafka) -> None:
    """Also for a group that is forgotten: no event is delayed for ever."""
    topic = kafka.create(partitions=1)
    dispatcher, seen = EventDispatcher(kafka.url(topic)), list[str]()

    @dispatcher.on("a")
    async def note(message: Message) -> None:
        seen.append(message.id)

    async with dispatcher:
        for number in range(3):
            await dispatcher.dispatch(evolve(LETTERS[number], dead=None), delay=0.2)
        await dispatcher.dispatch(Message(type="a", id="later", source="/s"), delay=50)
        await dispatcher.start()
        while len(seen) < 3:
            await asyncio.sleep(0.01)
    assert sorted(seen) == ["0", "1", "2"]
    assert await asyncio.to_thread(kept, kafka, f"{topic}.delay.1m") == 1


async def test_events_that_wait_behind_one_that_is_left_stay(kafka: Kafka) -> None:
    """Only what lies before the first one that is left can be removed."""
    topic = kafka.create(partitions=1)
    url = kafka.url(f"{topic}.dead")
    async with open_queue(url) as letters:
        await letters.push_many(LETTERS)
        await letters.ack_many(await letters.take(lambda message: message.id == "1", 9))
    assert await asyncio.to_thread(kept, kafka, f"{topic}.dead") == 3
    async with open_queue(url) as letters:
        assert await left(letters) == ["0", "2"]


class Refuses:
    """A look that may not remove anything."""

    def __init__(self, *, may: bool = False) -> None:
        self.asked: list[str] = []
        self._may = may

    async def remove_past(self, topic: str, group: str) -> None:
        self.asked.append(topic)
        if not self._may:
            raise QueueUnavailable("does not allow this user the topic")


async def test_what_can_not_be_removed_is_told_once_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else depends on it."""
    caplog.set_level(logging.WARNING)
    clock, look = ManualClock(), Refuses()
    past = Past(look, ["t.delay.1m", "t.delay.1h"], "t.delay", clock)  # type: ignore[arg-type]  # the one method it asks
    past.grows()
    await past.end()
    past.grows()
    await past.end()
    assert len(look.asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "what was dealt with stays in its topic, and comes again when the group t.delay is forgotten: "
        "does not allow this user the topic"
    ]


async def test_a_topic_is_shortened_now_and_then_where_something_was_moved() -> None:
    """One at a time, so that nothing that is due waits for it."""
    clock, look = ManualClock(), Refuses(may=True)
    past = Past(look, ["t.delay.1m", "t.delay.1h"], "t.delay", clock)  # type: ignore[arg-type]  # the one method it asks
    await clock.advance(100)
    await past.shorten()
    assert look.asked == []
    past.grows()
    await past.shorten()
    await past.shorten()
    assert look.asked == ["t.delay.1h"]
    await clock.advance(20)
    await past.shorten()
    assert look.asked == ["t.delay.1h", "t.delay.1m"]
    await past.end()
    assert len(look.asked) == 2
