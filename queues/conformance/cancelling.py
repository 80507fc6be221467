"""Cancelled pops: the message is handed to the next pop, or was never taken. None is lost, none comes twice."""

from __future__ import annotations

import asyncio
import itertools

from ..base import Capability, MessageQueue
from ..message import Delivery
from .suite import Owners, Suite, cancelled
from .waiting import event, events, ids


class Cancelling(Suite):
    """Group: cancelling."""

    async def test_a_cancelled_pop_takes_nothing_with_it(self, owners: Owners) -> None:
        """A pop that was cancelled while it waited leaves the next message to the next pop."""
        queue = await owners.open()
        waiting = asyncio.ensure_future(queue.pop())
        await asyncio.sleep(0)
        await cancelled(waiting)
        await queue.push(event("e"))
        got = await self.popped(queue, 1, "after a cancelled pop the message goes to the next pop")
        assert ids(got) == ["e"], "after a cancelled pop the message goes to the next pop"

    async def test_a_pop_cancelled_as_its_message_arrives_loses_nothing(self, owners: Owners) -> None:
        """Whatever the moment of the cancel, within the turns of the event loop around an arrival."""
        queue = await owners.open()
        got: list[str] = []
        for turns in range(24):
            waiting = asyncio.ensure_future(queue.pop())
            await asyncio.sleep(0)
            await queue.push(event(f"e{turns}"))
            for _ in range(turns % 8):
                await asyncio.sleep(0)
            got += await self._settle(queue, await cancelled(waiting))
        await self._all_came_once(queue, got, 24)

    async def test_pops_cancelled_at_scattered_moments_lose_nothing(self, owners: Owners) -> None:
        """A hundred messages, and cancels scattered over the time it takes to fetch one."""
        queue = await owners.open()
        got: list[str] = []
        moments = itertools.cycle([0.0002 * (step * 7 % 11) for step in range(11)])

        async def produce() -> None:
            for message in events(100):
                await queue.push(message)
                await asyncio.sleep(0.001)

        producer = asyncio.ensure_future(produce())
        while not producer.done():
            waiting = asyncio.ensure_future(queue.pop())
            await asyncio.sleep(next(moments))
            got += await self._settle(queue, await cancelled(waiting))
        await producer
        await self._all_came_once(queue, got, 100)

    async def test_a_cancelled_pop_many_loses_nothing(self, owners: Owners) -> None:
        """The same for batches."""
        queue = await owners.open()
        got: list[str] = []
        for turns in range(10):
            waiting = asyncio.ensure_future(queue.pop_many(5))
            await asyncio.sleep(0)
            await queue.push_many(events(3, prefix=f"b{turns}e"))
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            batch = await cancelled(waiting) or []
            await queue.ack_many(batch)
            got += ids(batch)
        rest = await self.popped(queue, 30 - len(got), "a cancelled pop_many leaves its batch to the next pop")
        assert len({*got, *ids(rest)}) == 30, "a cancelled pop_many loses nothing and hands out nothing twice"

    async def test_what_a_cancelled_pop_took_goes_back_at_close(self, owners: Owners) -> None:
        """ACK: an owner that closes after a cancelled pop keeps nothing."""
        leaving, staying = await self.two_owners(owners, Capability.ACK)
        waiting = asyncio.ensure_future(leaving.pop())
        await asyncio.sleep(0)
        await leaving.push(event("e"))
        delivery = await cancelled(waiting)
        await leaving.close()
        got = await self.popped(staying, 1, "close() hands back what a cancelled pop had taken")
        assert ids(got) == ["e"], "close() hands back what a cancelled pop had taken"
        assert got[0].times == 1, f"a hand-back at close() does not count, popped before the cancel: {delivery}"

    async def _settle(self, queue: MessageQueue, delivery: Delivery | None) -> list[str]:
        if delivery is None:
            return []
        await queue.ack_many([delivery])
        return ids([delivery])

    async def _all_came_once(self, queue: MessageQueue, got: list[str], count: int) -> None:
        rest = await self.popped(queue, count - len(got), "a message whose pop was cancelled goes to the next pop")
        every = [*got, *ids(rest)]
        assert len(set(every)) == len(every) == count, "a cancelled pop loses nothing and hands out nothing twice"
