"""Capacity and timeouts: push waits for room as long as it is told to, and nothing else is ever held up."""

from __future__ import annotations

import asyncio

import pytest

from ..errors import PushFailed, QueueFull
from ..message import Nack
from .suite import Owners, Suite
from .waiting import event, events, ids


class Capacity(Suite):
    """Group: capacity."""

    async def test_a_full_queue_refuses_at_once_when_told_not_to_wait(self, owners: Owners) -> None:
        """timeout=0 is QueueFull now, and nothing was stored."""
        queue = await owners.open(capacity=3)
        assert queue.capacity == 3, "MessageQueue.capacity says what the queue was opened with"
        await queue.push_many(events(3))
        with pytest.raises(QueueFull):
            await self.soon(queue.push(event("more"), timeout=0), "push(timeout=0) on a full queue never waits")
        got = await self.popped(queue, 3, "a full queue hands out what it holds")
        await queue.push(event("next"))
        got += await self.popped(queue, 1, "room comes back with a pop")
        assert ids(got) == ["e0", "e1", "e2", "next"], "QueueFull means that nothing was stored"

    async def test_push_waits_for_room_as_long_as_it_is_told(self, owners: Owners) -> None:
        """QueueFull comes after the timeout, not before it."""
        queue = await owners.open(capacity=1)
        await queue.push(event("first"))
        begun = queue.clock.monotonic()
        with pytest.raises(QueueFull):
            await self.soon(queue.push(event("second"), timeout=0.2), "push(timeout=0.2) gives up after 0.2 s")
        assert queue.clock.monotonic() - begun > 0.18, "push(timeout=0.2) waits 0.2 s for room before QueueFull"

    async def test_a_pop_makes_room_for_a_waiting_push(self, owners: Owners) -> None:
        """A push that waits goes on as soon as something is taken."""
        queue = await owners.open(capacity=1)
        await queue.push(event("first"))
        waiting = asyncio.ensure_future(queue.push(event("second"), timeout=self.patience))
        await asyncio.sleep(0)
        got = await self.popped(queue, 1, "a full queue hands out what it holds")
        await self.soon(waiting, "a pop makes room for a waiting push")
        got += await self.popped(queue, 1, "a waiting push stores its message once there is room")
        assert ids(got) == ["first", "second"], "a waiting push stores its message once there is room"

    async def test_a_push_that_gave_up_stores_nothing_later(self, owners: Owners) -> None:
        """QueueFull is final."""
        queue = await owners.open(capacity=1)
        await queue.push(event("first"))
        with pytest.raises(QueueFull):
            await queue.push(event("gave up"), timeout=0.05)
        got = await self.popped(queue, 1, "a full queue hands out what it holds")
        await queue.push(event("last"), timeout=self.patience)
        got += await self.popped(queue, 1, "room comes back with a pop")
        assert ids(got) == ["first", "last"], "a push that raised QueueFull stores nothing, not even later"

    async def test_a_batch_beyond_capacity_says_what_was_not_stored(self, owners: Owners) -> None:
        """PushFailed names those that are not in; all others are."""
        queue = await owners.open(capacity=3)
        with pytest.raises(PushFailed) as failed:
            await self.soon(queue.push_many(events(5), timeout=0), "push_many(timeout=0) never waits")
        errors = failed.value.errors
        assert {type(error) for error in errors.values()} == {QueueFull}, "what did not fit is refused with QueueFull"
        stored = [f"e{index}" for index in range(5) if index not in errors]
        assert len(stored) <= 3, "capacity bounds what push_many stores"
        await self.eventually(queue.size, lambda size: size == len(stored), "PushFailed names all that was not stored")
        got = await self.popped(queue, len(stored), "what PushFailed does not name is in the queue")
        assert ids(got) == stored, "what PushFailed does not name is in the queue, and nothing else"

    async def test_capacity_counts_only_what_waits(self, owners: Owners) -> None:
        """What was handed out and is not settled yet takes no room."""
        queue = await owners.open(capacity=3)
        await queue.push_many(events(3))
        await self.popped(queue, 3, "a full queue hands out what it holds")
        duty = "capacity counts waiting messages only, not those handed out"
        await self.soon(queue.push_many(events(3, prefix="more"), timeout=self.patience), duty)

    async def test_capacity_never_blocks_a_nack(self, owners: Owners) -> None:
        """A worker that hands back is not kept waiting by producers who filled its place."""
        queue = await owners.retrying(capacity=2)
        await queue.push(event("mine"))
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        await queue.push_many(events(2))
        await self.soon(queue.nack_many([Nack(delivery)]), "capacity never blocks nack")
        got = await self.popped(queue, 3, "a nack into a full queue loses nothing")
        assert sorted(ids(got)) == ["e0", "e1", "mine"], "a nack into a full queue loses nothing"

    async def test_capacity_never_blocks_a_release(self, owners: Owners) -> None:
        """Nor is a hand-back."""
        queue = await owners.retrying(capacity=2)
        await queue.push_many(events(2, prefix="mine"))
        deliveries = await self.popped(queue, 2, "pop hands out what was pushed")
        await queue.push_many(events(2))
        await self.soon(queue.release(deliveries), "capacity never blocks release")
        got = await self.popped(queue, 4, "a release into a full queue loses nothing")
        assert sorted(ids(got)) == ["e0", "e1", "mine0", "mine1"], "a release into a full queue loses nothing"

    async def test_an_unbounded_queue_never_waits(self, owners: Owners) -> None:
        """capacity None: push(timeout=0) always has room."""
        queue = await owners.open()
        if queue.capacity is not None:
            owners.skip("bounded by default")
        await self.soon(queue.push_many(events(500), timeout=0), "an unbounded queue has room")
        await self.eventually(queue.size, lambda size: size == 500, "an unbounded queue stores all of a batch")
