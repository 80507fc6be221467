"""A pop that is cancelled at any moment loses nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from queues.message import Message
from queues.registry import open_queue

from .homes import Home, homes


@homes("channel", "reference", "sqlite", "list", "stream", "keyed", "kafka")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cancels", [300, pytest.param(2_000, marks=pytest.mark.soak)])
async def test_pops_cancelled_at_random_lose_nothing(home: Home, cancels: int, tmp_path: Path) -> None:
    """F08: each event is handed out once, whatever was cancelled, by this owner or by the next."""
    dice, got = random.Random(cancels), list[str]()
    events = [Message(type="faults.popped", id=str(n), source="/t", key=str(n % 7)) for n in range(cancels)]
    queue = open_queue(home.url(tmp_path))
    async with queue:
        pushed = 0
        for _ in range(cancels):
            if dice.random() < 0.7 and pushed < len(events):
                await queue.push(events[pushed])
                pushed += 1
            popping = asyncio.ensure_future(queue.pop_many(dice.randrange(1, 4)))
            if dice.random() < 0.5:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait([popping], timeout=dice.random() * 0.002)
            popping.cancel()
            await asyncio.wait([popping])
            if not popping.cancelled():
                batch = popping.result()
                got += [delivery.expect().id for delivery in batch]
                assert await queue.ack_many(batch) == []
        await queue.push_many(events[pushed:])
        while len(got) < len(events):
            batch = await asyncio.wait_for(queue.pop_many(100), 20)
            got += [delivery.expect().id for delivery in batch]
            await queue.ack_many(batch)
        assert await queue.size() == 0
        assert (await queue.stats()).in_flight == 0
    assert sorted(got) == sorted(event.id for event in events)
