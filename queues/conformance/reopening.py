"""DURABLE: what push accepted is there after everything was closed, or killed, and opened again."""

from __future__ import annotations

from datetime import timedelta

import attrs

from ..base import Capability
from ..message import Nack
from .suite import Owners, Suite
from .waiting import event, events, ids

_ROUNDING = 0.02


class Reopening(Suite):
    """Group: reopening."""

    async def test_what_was_pushed_is_there_after_reopening(self, owners: Owners) -> None:
        """All of it, in order."""
        queue = await owners.open(Capability.DURABLE)
        await queue.push_many(events(20, key="k"))
        await queue.close()
        queue = await owners.open()
        await self.eventually(queue.size, lambda size: size == 20, "DURABLE: size() survives reopening")
        got = await self.popped(queue, 20, "DURABLE: what push accepted survives reopening")
        assert ids(got) == [f"e{number}" for number in range(20)], "DURABLE: order survives reopening"

    async def test_what_was_settled_stays_settled_after_reopening(self, owners: Owners) -> None:
        """And what was not is handed out again."""
        queue = await owners.open(Capability.DURABLE)
        await queue.push_many(events(3, key="k"))
        deliveries = await self.popped(queue, 2, "pop hands out what was pushed")
        await queue.ack_many(deliveries)
        await queue.close()
        queue = await owners.open()
        await queue.push(event("sentinel", key="k"))
        got = await self.popped(queue, 2, "DURABLE: what push accepted survives reopening")
        assert ids(got) == ["e2", "sentinel"], "DURABLE: an ack survives reopening"

    async def test_a_delayed_message_waits_on_after_reopening(self, owners: Owners) -> None:
        """Its time survives."""
        queue = await owners.open(Capability.DURABLE | Capability.DELAY)
        due = queue.clock.now() + timedelta(seconds=2 * self.delay)
        await queue.push(event("late", not_before=due))
        await queue.close()
        queue = await owners.open()
        await queue.push(event("sentinel"))
        got = await self.popped(queue, 2, "DURABLE: a delayed message survives reopening")
        assert ids(got) == ["sentinel", "late"], "DURABLE: not_before survives reopening"
        assert queue.clock.wall() >= due.timestamp() - _ROUNDING, "DURABLE: not_before survives reopening"

    async def test_a_retry_waits_on_after_reopening(self, owners: Owners) -> None:
        """Its delay survives, and the message the policy made."""
        queue = await owners.open(Capability.DURABLE | Capability.DELAY)
        await queue.push(event("retry"))
        [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
        due = queue.clock.monotonic() + 2 * self.delay
        await queue.nack_many([Nack(delivery, 2 * self.delay, attrs.evolve(delivery.expect(), attempt=2))])
        await queue.close()
        queue = await owners.open()
        await queue.push(event("sentinel"))
        got = await self.popped(queue, 2, "DURABLE: a waiting retry survives reopening")
        assert ids(got) == ["sentinel", "retry"], "DURABLE: the delay of a retry survives reopening"
        assert queue.clock.monotonic() >= due - _ROUNDING, "DURABLE: the delay of a retry survives reopening"
        assert got[1].expect().attempt == 2, "DURABLE: the message of a retry survives reopening"

    async def test_what_a_killed_process_pushed_is_there(self, owners: Owners) -> None:
        """push returned, the process is killed in the same moment: all of it is stored."""
        queue = await self.across_processes(owners, Capability.DURABLE)
        process = await owners.process(queue, self.child_imports)
        names = [f"p{number}" for number in range(50)]
        await process.push(names)
        await process.kill()
        got = await self.popped(queue, 50, "DURABLE: what push accepted survives its producer's death")
        assert sorted(ids(got)) == sorted(names), "DURABLE: what push accepted survives its producer's death"
