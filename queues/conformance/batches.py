"""The batch methods: as good as one at a time, with nothing waiting for a batch to fill."""

from __future__ import annotations

import asyncio

from ..base import MessageQueue
from .suite import Owners, Suite
from .waiting import event, events, ids, some


class Batches(Suite):
    """Group: batches."""

    async def test_a_batch_is_stored_whole_and_in_order(self, owners: Owners) -> None:
        """push_many stores every message, in order."""
        queue = await owners.open()
        await queue.push_many(events(300, key="k"))
        got = await self.popped(queue, 300, "push_many stores every message of the batch")
        assert ids(got) == [f"e{i}" for i in range(300)], "push_many keeps the order of the batch"

    async def test_batches_and_single_pushes_keep_one_order(self, owners: Owners) -> None:
        """push and push_many feed the same queue."""
        queue = await owners.open()
        await queue.push(event("a", key="k"))
        await queue.push_many([event("b", key="k"), event("c", key="k")])
        await queue.push(event("d", key="k"))
        got = await self.popped(queue, 4, "pop hands out every message that push accepted")
        assert ids(got) == ["a", "b", "c", "d"], "push and push_many together keep the order they were called in"

    async def test_pop_many_never_gives_more_than_its_limit(self, owners: Owners) -> None:
        """Between one and `limit`."""
        queue = await owners.open()
        await queue.push_many(events(10))
        seen: list[str] = []

        async def collect() -> None:
            while len(seen) < 10:
                batch = await some(queue, 3)
                assert len(batch) <= 3, "pop_many(3) gives three at most"
                seen.extend(ids(batch))

        await self.soon(collect(), "pop_many gives what waits")
        assert sorted(seen) == sorted(f"e{i}" for i in range(10)), "pop_many hands out each message once"

    async def test_pop_many_does_not_wait_to_fill(self, owners: Owners) -> None:
        """Two that wait are two that come, whatever the limit."""
        queue = await owners.open()
        await queue.push_many(events(2))
        got = await self.popped_with_room(queue, 2)
        assert sorted(got) == ["e0", "e1"], "pop_many gives what waits and never waits to fill its limit"

    async def test_a_waiting_pop_many_gets_the_next_message(self, owners: Owners) -> None:
        """pop_many waits for the first; an empty list after about a second is the only other answer."""
        queue = await owners.open()
        waiting = asyncio.ensure_future(self.popped_with_room(queue, 1))
        await asyncio.sleep(0)
        await queue.push(event("e"))
        assert await waiting == ["e"], "a waiting pop_many gets the message that arrives"

    async def test_empty_batches_are_no_work(self, owners: Owners) -> None:
        """Nothing in, nothing done, nothing lost."""
        queue = await owners.open()
        await self.soon(queue.push_many([]), "push_many([]) returns at once")
        assert await queue.ack_many([]) == [], "ack_many([]) returns []: nothing was lost"
        assert await queue.nack_many([]) == [], "nack_many([]) returns []: nothing was lost"
        assert await queue.extend([]) == [], "extend([]) returns []: nothing was lost"
        assert await queue.started([]) == [], "started([]) returns []: nothing was lost"
        assert await queue.move_many([], queue) == [], "move_many([]) returns []: nothing was lost"
        await queue.release([])
        await self.eventually(queue.size, lambda size: size == 0, "empty batches leave the queue empty")

    async def test_settling_many_at_once_settles_each(self, owners: Owners) -> None:
        """ack_many returns those that were no longer ours, here none, and a second ack harms nobody."""
        queue = await owners.open()
        await queue.push_many(events(50))
        got = await self.popped(queue, 50, "pop hands out every message that push accepted")
        assert await queue.ack_many(got) == [], "ack_many returns only those that were no longer ours"
        await queue.ack_many(got)
        await queue.push(event("next"))
        assert ids(await self.popped(queue, 1, "the queue goes on after an ack")) == ["next"], "ack_many is idempotent"

    async def popped_with_room(self, queue: MessageQueue, count: int) -> list[str]:
        """Ids from pop_many calls whose limit is far above what waits."""
        return ids(await self.popped(queue, count, "pop_many gives what waits and never waits to fill", limit=100))
