"""The Redis Streams queue: the conformance suite, and what is its own."""

from __future__ import annotations

import uuid

import pytest

from queues.base import MessageQueue
from queues.conformance import QueueConformance
from queues.conformance.suite import MakeQueue
from queues.redis_stream import RedisStreamQueue
from queues.registry import open_queue
from tests.redis_server import Redis


class TestRedisStreamQueue(QueueConformance):
    """Each test has a stream of its own on a server that all share."""

    user: str | None = None

    @pytest.fixture
    def make_queue(self, redis: Redis) -> MakeQueue:
        name = f"conformance-{uuid.uuid4().hex}"
        return lambda **options: open_queue(redis.queue(name, scheme="redis+stream", user=self.user, **options))

    async def inject(self, queue: MessageQueue, raw: bytes) -> None:
        assert isinstance(queue, RedisStreamQueue)
        await queue._pushes.call(("XADD", queue._keys.waiting, "*", "event", raw))

    async def ready(self, *owners: MessageQueue) -> None:
        for owner in owners:
            await begun(owner)


class TestRedisStreamQueueForALimitedUser(TestRedisStreamQueue):
    """The same for a user who may do what the documents say and nothing else."""

    user = "limited"


async def begun(queue: MessageQueue) -> None:
    """A group begins when it first takes something, or looks whether there is something to take."""
    assert await queue.take(lambda _: False, 1) == []
