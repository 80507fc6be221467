"""A stream through which a million events went is as small as when it was new."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from queues.message import Message
from queues.registry import open_queue
from tests.redis_server import Redis, Start

from .homes import Home

HELD = 50


@pytest.mark.timeout(900)
@pytest.mark.parametrize("events", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
async def test_acks_trim_a_stream_and_never_what_is_not_settled(
    events: int, tmp_path: Path, redis_server: Start
) -> None:
    """F20: memory at most 1.1 of that at the start; what is held all the time is still there, and comes back."""
    server = redis_server()
    url = Home("stream", server).url(tmp_path, lease=60)

    def batch(start: int, count: int) -> list[Message]:
        return [
            Message(type="faults.through", id=str(n), source="/t", data="x" * 200) for n in range(start, count + start)
        ]

    async with open_queue(url) as holder, open_queue(url) as queue:
        await queue.push_many(batch(0, 1_000))
        held = [delivery for _ in range(HELD) for delivery in await holder.pop_many(1)]
        done, memory = 1_000, used(server)
        while done < events:
            await queue.push_many(batch(done, 1_000))
            done += 1_000
            settled = 0
            while settled < 1_000:
                deliveries = await queue.pop_many(500)
                settled += len(deliveries)
                assert await queue.ack_many(deliveries) == []
        assert used(server) <= 1.1 * memory
        while (await queue.stats()).waiting:
            await queue.ack_many(await queue.pop_many(500))
        assert await holder.ack_many(held[1:]) == []
        await holder.release(held[:1])
        [back] = await asyncio.wait_for(queue.pop_many(10), 20)
        assert back.expect().id == held[0].expect().id
        await queue.ack_many([back])
        assert (await queue.stats()).in_flight == 0


def used(server: Redis) -> int:
    """Bytes that all keys take, each looked at whole: of the server's own figures none is without the buffers of its
    connections as they were some time ago.
    """
    keys: Any = server.admin.keys()
    return sum(int(server.admin.memory_usage(key, samples=0) or 0) for key in keys)
