"""Fencing: whoever lost a delivery with his lease can do nothing to it any more, and is told so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ..base import Capability, MessageQueue
from ..message import Delivery, Nack
from .collector import Collector
from .suite import Owners, Suite
from .waiting import event, events, ids


class Fencing(Suite):
    """Group: fencing."""

    async def test_a_stale_ack_is_refused(self, owners: Owners) -> None:
        """ack_many returns what was no longer ours and leaves it with its new owner."""
        await self._refused(owners, lambda zombie, stale: zombie.ack_many(stale), "ack_many")

    async def test_a_stale_nack_is_refused(self, owners: Owners) -> None:
        """nack_many returns what was no longer ours and makes no second copy of it, now or after a delay."""

        async def nack(zombie: MessageQueue, stale: Sequence[Delivery]) -> list[Delivery]:
            return await zombie.nack_many([Nack(stale[0]), Nack(stale[1], 0.05, stale[1].expect())])

        await self._refused(owners, nack, "nack_many")

    async def test_a_stale_extend_is_refused(self, owners: Owners) -> None:
        """extend returns what was already lost and does not take it back."""
        await self._refused(owners, lambda zombie, stale: zombie.extend(stale), "extend")

    async def test_a_stale_move_is_refused(self, owners: Owners) -> None:
        """move_many returns what was no longer ours and leaves it where it is."""
        other = Collector()

        async def move(zombie: MessageQueue, stale: Sequence[Delivery]) -> list[Delivery]:
            return await zombie.move_many([(one, one.expect()) for one in stale], other)

        await self._refused(owners, move, "move_many")

    async def test_a_stale_release_changes_nothing(self, owners: Owners) -> None:
        """release of what is no longer ours takes it from nobody and makes no copy."""
        zombie, stale, heir, fresh = await self.expired(owners, "a", "b")
        await zombie.release(stale)
        await self._still_belongs_to(heir, fresh, "release")

    async def test_of_a_batch_only_the_stale_are_refused(self, owners: Owners) -> None:
        """What an owner was handed after it lost its lease is its own again."""
        zombie, stale, heir, fresh = await self.expired(owners, "old")
        await zombie.push(event("new"))
        renewed = await self.popped(zombie, 1, "an owner whose lease ran out may go on popping")
        lost = await zombie.ack_many([*stale, *renewed])
        assert ids(lost) == ["old"], "ack_many returns exactly those that were no longer ours"
        await self._still_belongs_to(heir, fresh, "ack_many")

    async def test_a_stopped_process_can_not_settle_what_it_lost(self, owners: Owners) -> None:
        """SIGSTOP for longer than the lease, then SIGCONT: every late ack is refused."""
        heir = await self.across_processes(owners, Capability.ACK, lease=self.lease)
        if heir.lease is None:
            owners.skip("no lease")
        process = await owners.process(heir, self.child_imports)
        await heir.push_many(events(3))
        await process.pop(3)
        process.stop()
        fresh = await self.popped(heir, 3, "ACK: what a stopped owner held goes to others after its lease")
        process.go_on()
        lost = await process.ack()
        assert sorted(lost) == ["e0", "e1", "e2"], "ack_many returns what a stopped owner had lost, all of it"
        await self._still_belongs_to(heir, fresh, "ack_many")

    async def _refused(
        self, owners: Owners, settle: Callable[[MessageQueue, Sequence[Delivery]], Awaitable[list[Delivery]]], name: str
    ) -> None:
        zombie, stale, heir, fresh = await self.expired(owners, "a", "b")
        lost = await settle(zombie, stale)
        assert {id(delivery) for delivery in lost} == {id(delivery) for delivery in stale}, (
            f"{name} returns the deliveries that were no longer ours"
        )
        await self._still_belongs_to(heir, fresh, name)

    async def _still_belongs_to(self, heir: MessageQueue, fresh: Sequence[Delivery], name: str) -> None:
        await heir.extend(fresh)
        await heir.push(event("sentinel"))
        got = await self.popped(heir, 1, "the queue goes on")
        assert ids(got) == ["sentinel"], f"a stale {name} makes no copy of what it lost"
        assert await heir.ack_many([*fresh, *got]) == [], f"a stale {name} takes nothing from the new owner"
