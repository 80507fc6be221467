"""Looking at topics, and at those beside them, before anything is read."""

from __future__ import annotations

import pytest

from notification import ConfigurationError, EventDispatcher, Message, open_queue

from .kafka_server import Kafka


async def test_a_partition_that_is_not_there_is_an_error_and_not_an_empty_one(kafka: Kafka) -> None:
    """Whoever reads it would wait for ever, and whoever looks would see nothing."""
    url = kafka.url(kafka.create(partitions=2), group="few", partitions="0,2")
    dispatcher = EventDispatcher(url)
    dispatcher.on("a")(print)
    async with dispatcher:
        with pytest.raises(ConfigurationError, match=r"there is no partition 2: the topic .* has 2, from 0 on"):
            await dispatcher.start()
    async with open_queue(url) as queue:
        with pytest.raises(ConfigurationError, match="there is no partition 2"):
            [message async for message in queue.browse()]


async def test_only_the_partitions_of_the_url_are_shown(kafka: Kafka) -> None:
    """The others may be looked at by those who name them."""
    topic = kafka.create(partitions=2)
    async with open_queue(kafka.url(topic)) as queue:
        await queue.push_many([Message(type="a", id=f"{number}", source="/s", partition=number) for number in range(2)])
        assert [message.id async for message in queue.browse()] == ["0", "1"]
    async with open_queue(kafka.url(topic, partitions="1")) as queue:
        assert [message.id async for message in queue.browse()] == ["1"]
