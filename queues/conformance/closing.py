"""Closing: whoever waits is woken, and what was not settled goes back."""

from __future__ import annotations

import asyncio

import pytest

from ..base import Capability
from ..errors import QueueClosed
from .suite import Owners, Suite
from .waiting import event, events, ids, some


class Closing(Suite):
    """Group: closing."""

    async def test_close_wakes_whoever_waits_in_pop(self, owners: Owners) -> None:
        """A waiting pop ends with QueueClosed."""
        queue = await owners.open()
        waiting = [asyncio.ensure_future(queue.pop()) for _ in range(3)]
        await asyncio.sleep(0)
        await self.soon(queue.close(), "close() does not wait for waiting pops to succeed")
        ended = await self.soon(asyncio.gather(*waiting, return_exceptions=True), "close() wakes every waiting pop")
        assert [type(end) for end in ended] == [QueueClosed] * 3, f"a waiting pop ends with QueueClosed, not {ended}"

    async def test_close_wakes_whoever_waits_in_pop_many(self, owners: Owners) -> None:
        """A waiting pop_many ends with QueueClosed; an empty list only postpones it to the next call."""
        queue = await owners.open()

        async def consume() -> None:
            while True:
                assert await some(queue, 10) == [], "an empty queue hands out nothing"

        waiting = asyncio.ensure_future(consume())
        await asyncio.sleep(0)
        await self.soon(queue.close(), "close() does not wait for waiting pops to succeed")
        with pytest.raises(QueueClosed):
            await self.soon(waiting, "close() wakes a waiting pop_many with QueueClosed")

    async def test_a_closed_queue_says_so(self, owners: Owners) -> None:
        """Push and pop after close raise QueueClosed."""
        queue = await owners.open()
        await queue.close()
        for call in (queue.pop(), queue.pop_many(5), queue.push(event("late"))):
            with pytest.raises(QueueClosed):
                await self.soon(call, "push and pop on a closed queue raise QueueClosed at once")

    async def test_close_is_idempotent(self, owners: Owners) -> None:
        """Closing again, or twice at the same time, does nothing."""
        queue = await owners.open()
        await self.soon(asyncio.gather(queue.close(), queue.close()), "close() twice at once is one close")
        await self.soon(queue.close(), "close() on a closed queue does nothing")

    async def test_close_wakes_whoever_waits_for_room(self, owners: Owners) -> None:
        """A push that waits at capacity ends with QueueClosed."""
        queue = await owners.open(capacity=1)
        await queue.push(event("first"))
        waiting = asyncio.ensure_future(queue.push(event("second")))
        await asyncio.sleep(0)
        await self.soon(queue.close(), "close() does not wait for room")
        with pytest.raises(QueueClosed):
            await self.soon(waiting, "close() wakes a push that waits for room, with QueueClosed")

    async def test_what_was_not_settled_goes_back_at_close_uncounted(self, owners: Owners) -> None:
        """ACK: a closing owner hands back what it held, in order, without waiting for its lease."""
        leaving, staying = await self.two_owners(owners, Capability.ACK)
        await leaving.push_many(events(4, key="k"))
        got = await self.popped(leaving, 3, "pop hands out what was pushed")
        await leaving.ack_many(got[:1])
        await leaving.close()
        back = await self.popped(staying, 3, "ACK: close() hands back what was not settled, at once")
        assert ids(back) == ["e1", "e2", "e3"], "ACK: close() hands back in order what was not settled, and no more"
        assert [delivery.times for delivery in back] == [1] * 3, "a hand-back at close() does not count"

    async def test_one_owner_closing_leaves_the_others_alone(self, owners: Owners) -> None:
        """close() is about one owner."""
        leaving, staying = await self.two_owners(owners)
        waiting = asyncio.ensure_future(self.popped(staying, 1, "an owner goes on when another closes"))
        await asyncio.sleep(0)
        await leaving.close()
        await staying.push(event("e"))
        assert ids(await waiting) == ["e"], "an owner goes on when another closes"
