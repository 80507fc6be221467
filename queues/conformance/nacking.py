"""Nack: back to the queue, at once or after a delay, unchanged or as the message a policy made of it."""

from __future__ import annotations

import attrs

from ..base import MessageQueue
from ..message import Nack
from .suite import Owners, Suite
from .waiting import event, events, ids

#: Two clocks of one machine, and a store that rounds to milliseconds, may differ by this much.
_ROUNDING = 0.02


class Nacking(Suite):
    """Group: nacking."""

    async def test_a_nacked_message_comes_back_unchanged(self, owners: Owners) -> None:
        """Without a message of its own, a nack brings back the same one, once."""
        queue = await owners.retrying()
        sent = event("e", data={"n": 1}, headers={"tenant": "a"}, attempt=2)
        await queue.push(sent)
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        assert await queue.nack_many([Nack(delivery)]) == [], "nack_many returns only what was no longer ours"
        [again] = await self.popped(queue, 1, "a nacked message comes back")
        assert again.message == sent, "nack without a message changes nothing: attempt is raised by policies only"
        assert again is not delivery, "each hand-out is a Delivery of its own"
        assert again.times == 1, "times counts hand-outs since the last settle, and a nack settles"
        await self._nothing_else_comes(queue)

    async def test_a_nack_with_a_message_brings_that_one_back(self, owners: Owners) -> None:
        """What a policy decided (attempt, the handlers still to run) replaces what was there."""
        queue = await owners.retrying()
        await queue.push(event("e", data=[1]))
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        changed = attrs.evolve(delivery.expect(), attempt=2, handlers=("mail",), first_error="ValueError: no")
        await queue.nack_many([Nack(delivery, message=changed)])
        [again] = await self.popped(queue, 1, "a nacked message comes back")
        assert again.message == changed, "nack with a message brings back that message"
        await self._nothing_else_comes(queue)

    async def test_many_nacks_bring_back_each(self, owners: Owners) -> None:
        """nack_many is as good as one nack after the other."""
        queue = await owners.retrying()
        await queue.push_many(events(20))
        deliveries = await self.popped(queue, 20, "pop hands out what was pushed")
        await queue.nack_many([Nack(delivery, 0.02 * (index % 2)) for index, delivery in enumerate(deliveries[:15])])
        await queue.ack_many(deliveries[15:])
        got = await self.popped(queue, 15, "each nacked message comes back")
        assert sorted(ids(got)) == sorted(ids(deliveries[:15])), "exactly the nacked messages come back"

    async def test_a_retry_waits_its_delay(self, owners: Owners) -> None:
        """Not before it, although others pop all the time; and not long after it."""
        queue = await owners.retrying()
        await queue.push(event("retry"))
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        due = queue.clock.monotonic() + self.delay
        await queue.nack_many([Nack(delivery, delay=self.delay, message=attrs.evolve(delivery.expect(), attempt=2))])
        await queue.push(event("sentinel"))
        got = await self.popped(queue, 1, "a waiting retry holds up nobody")
        assert ids(got) == ["sentinel"], "nack with a delay: not handed out before it is due"
        [again] = await self.popped(queue, 1, "nack with a delay: handed out once it is due")
        assert queue.clock.monotonic() >= due - _ROUNDING, "nack with a delay: not handed out before it is due"
        assert again.expect().attempt == 2, "nack with a delay and a message brings back that message"

    async def test_retries_come_back_as_they_fall_due(self, owners: Owners) -> None:
        """A shorter delay asked for later is not held up by a longer one."""
        queue = await owners.retrying()
        await queue.push_many(events(3))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        for delivery, delay in zip(deliveries, (2 * self.delay, 3600.0, self.delay), strict=True):
            await queue.nack_many([Nack(delivery, delay)])
        first, second = ids([deliveries[2], deliveries[0]])
        got = await self.popped(queue, 2, "retries come back as they fall due")
        assert ids(got) == [first, second], "retries come back in the order they fall due"

    async def test_a_waiting_retry_is_not_counted_as_waiting_for_a_worker(self, owners: Owners) -> None:
        """size() leaves out what is not due; stats() shows it as delayed, where it can say."""
        queue = await owners.retrying()
        await queue.push(event("e"))
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        await queue.nack_many([Nack(delivery, delay=3600.0)])
        await self.eventually(queue.size, lambda size: size == 0, "size() counts only what is due")
        stats = await queue.stats()
        assert stats.delayed in {None, 1}, "stats().delayed counts what is not due yet"

    async def _nothing_else_comes(self, queue: MessageQueue) -> None:
        await queue.push(event("sentinel"))
        got = await self.popped(queue, 1, "the queue goes on")
        assert ids(got) == ["sentinel"], "a nack makes one message of one, not two"
