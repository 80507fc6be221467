"""Stats: how the queue stands. What a queue can't say is None, what it says is true."""

from __future__ import annotations

from datetime import timedelta

from ..base import Capability
from ..message import Nack
from .suite import Owners, Suite
from .waiting import event, events


class Stats(Suite):
    """Group: stats."""

    async def test_an_empty_queue_says_so(self, owners: Owners) -> None:
        """Zero, or None where it can't say."""
        queue = await owners.open()
        stats = await queue.stats()
        assert stats.waiting == 0, "stats().waiting is 0 for an empty queue"
        assert stats.in_flight in {None, 0}, "stats().in_flight is 0 for an empty queue, or None"
        assert stats.delayed in {None, 0}, "stats().delayed is 0 for an empty queue, or None"
        assert stats.oldest_age is None, "stats().oldest_age is None while nothing waits"

    async def test_stats_tell_what_waits_from_what_is_in_flight(self, owners: Owners) -> None:
        """Handed out is not waiting; settled is neither."""
        queue = await owners.open()
        await queue.push_many(events(5))
        deliveries = await self.popped(queue, 2, "pop hands out what was pushed")
        stats = await self.eventually(
            queue.stats, lambda stats: stats.waiting == 3, "stats().waiting counts what waits"
        )
        assert stats.in_flight in {None, 2}, "stats().in_flight counts what is handed out and not settled, or is None"
        await queue.ack_many(deliveries)
        await self.eventually(
            queue.stats, lambda stats: stats.in_flight in {None, 0}, "stats().in_flight leaves out what is settled"
        )

    async def test_settled_counts_what_has_left_for_good(self, owners: Owners) -> None:
        """Not what was handed back, nacked or is held; it only grows."""
        queue = await owners.open(Capability.ACK)
        before = (await queue.stats()).settled
        if before is None:
            owners.skip("no count of what was settled")
        await queue.push_many(events(5))
        first, second, third, *rest = await self.popped(queue, 5, "pop hands out what was pushed")
        await queue.ack_many([first, second])
        await queue.nack_many([Nack(third)])
        await queue.release(rest)
        await self.eventually(
            queue.stats, lambda stats: stats.settled == before + 2, "stats().settled grows by what was acknowledged"
        )

    async def test_the_oldest_age_is_that_of_the_oldest_waiting_event(self, owners: Owners) -> None:
        """In seconds since its time."""
        queue = await owners.open()
        now = queue.clock.now()
        await queue.push_many([event("old", time=now - timedelta(seconds=100)), event("new", time=now)])
        await self.eventually(queue.size, lambda size: size == 2, "size() counts what waits")
        age = (await queue.stats()).oldest_age
        assert age is None or 99 <= age <= 100 + self.patience, "stats().oldest_age is the age of the oldest that waits"
