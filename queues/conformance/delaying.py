"""DELAY: not handed out before its time, however long, and holding up nobody until then."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ..base import Capability, MessageQueue
from ..message import Message
from .suite import Owners, Suite, first_of
from .waiting import event, ids, some

_ROUNDING = 0.02


class Delaying(Suite):
    """Group: delaying."""

    async def test_a_delayed_message_waits_for_its_time(self, owners: Owners) -> None:
        """Not before, although others pop all the time; and not long after."""
        queue = await owners.open(Capability.DELAY)
        message = later("late", queue, self.delay)
        await queue.push(message)
        await queue.push(event("sentinel"))
        got = await self.popped(queue, 1, "a delayed message holds up nobody")
        assert ids(got) == ["sentinel"], "DELAY: not handed out before not_before"
        got = await self.popped(queue, 1, "DELAY: handed out once not_before has come")
        assert ids(got) == ["late"], "DELAY: handed out once not_before has come"
        assert message.not_before is not None
        late = queue.clock.wall() - message.not_before.timestamp()
        assert late >= -_ROUNDING, "DELAY: not handed out before not_before"

    async def test_delayed_messages_come_as_they_fall_due(self, owners: Owners) -> None:
        """A sooner one, pushed later, wakes the pop that waited for the later one."""
        queue = await owners.open(Capability.DELAY)
        await queue.push_many([later("never", queue, 30 * 86_400), later("second", queue, 2 * self.delay)])
        waiting = asyncio.ensure_future(self.popped(queue, 2, "DELAY: handed out once not_before has come"))
        await asyncio.sleep(0)
        await queue.push(later("first", queue, self.delay))
        assert ids(await waiting) == ["first", "second"], "delayed messages come in the order they fall due"

    async def test_a_time_that_has_passed_delays_nothing(self, owners: Owners) -> None:
        """not_before in the past: at once."""
        queue = await owners.open(Capability.DELAY)
        await queue.push(later("e", queue, -60))
        assert ids(await self.popped(queue, 1, "not_before in the past: at once")) == ["e"]

    async def test_what_is_not_due_is_not_counted_as_waiting(self, owners: Owners) -> None:
        """size() leaves it out; stats() shows it, where it can say."""
        queue = await owners.open(Capability.DELAY)
        await queue.push_many([later("e0", queue, 3600), later("e1", queue, 7200), event("now")])
        await self.eventually(queue.size, lambda size: size == 1, "size() counts only what is due")
        stats = await queue.stats()
        assert stats.delayed in {None, 2}, "stats().delayed counts what is not due yet"
        assert stats.waiting == 1, "stats().waiting counts only what is due"

    async def test_a_delayed_message_survives_its_producer(self, owners: Owners) -> None:
        """It lives in the queue, not in the memory of who pushed it."""
        producer, consumer = await self.two_owners(owners, Capability.DELAY)
        await producer.push(later("late", producer, self.delay))
        await producer.close()
        got = await self.popped(consumer, 1, "DELAY: any owner is handed what falls due")
        assert ids(got) == ["late"], "DELAY: any owner is handed what falls due"

    async def test_each_delayed_message_comes_once(self, owners: Owners) -> None:
        """Many that fall due together, and two owners who both see it."""
        first, second = await self.two_owners(owners, Capability.DELAY)
        await first.push_many([later(f"e{number}", first, self.delay) for number in range(20)])
        got: list[str] = []

        async def consume(queue: MessageQueue) -> None:
            while len(got) < 20:
                batch = await some(queue, 3)
                got.extend(ids(batch))
                await queue.ack_many(batch)

        await self.soon(first_of(consume(first), consume(second)), "DELAY: what falls due is handed out")
        assert sorted(got) == sorted(f"e{number}" for number in range(20)), "what falls due is handed out once"


def later(name: str, queue: MessageQueue, seconds: float) -> Message:
    """A message that is due so many seconds from now, by the queue's clock."""
    return event(name, not_before=queue.clock.now() + timedelta(seconds=seconds))
