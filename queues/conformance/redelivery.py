"""ACK: what an owner did not settle comes back after its death, and only that."""

from __future__ import annotations

from ..base import Capability
from .suite import Owners, Suite
from .waiting import event, events, ids


class Redelivery(Suite):
    """Group: redelivery."""

    async def test_an_unacknowledged_message_returns_after_its_owner_died(self, owners: Owners) -> None:
        """A process killed with SIGKILL: the rest comes back in order, counted; what it acknowledged does not."""
        heir = await self.across_processes(owners, Capability.ACK, lease=self.lease)
        process = await owners.process(heir, self.child_imports)
        await heir.push_many(events(5, key="k"))
        assert await process.pop(5) == [f"e{i}" for i in range(5)], "one owner may hold several of a key, in order"
        assert await process.ack(2) == [], "ack_many settles what the owner holds"
        await heir.clock.sleep(self.acks_within)
        await process.kill()
        got = await self.popped(heir, 3, "ACK: what a killed owner did not settle comes back")
        assert ids(got) == ["e2", "e3", "e4"], "ACK: what was acknowledged stays away, the rest comes back in order"
        assert all(1 <= delivery.times <= 2 for delivery in got), "a death counts once"
        if self.counts_exactly:
            assert [delivery.times for delivery in got] == [2] * 3, "the hand-out that ended in a death is counted"

    async def test_a_living_process_keeps_what_it_holds(self, owners: Owners) -> None:
        """An owner that renews its lease in time loses nothing, although others wait."""
        other = await self.across_processes(owners, Capability.ACK, lease=self.lease)
        if other.lease is None or not self.keys_move:
            owners.skip("no lease" if other.lease is None else "keys stay with an owner")
        process = await owners.process(other, self.child_imports)
        await other.push(event("held"))
        await process.pop(1)
        clock = other.clock
        until, number = clock.monotonic() + 1.5 * other.lease, 0
        while clock.monotonic() < until:
            await other.push(event(f"sentinel{number}"))
            got = await self.popped(other, 1, "other messages go to other owners")
            assert ids(got) == [f"sentinel{number}"], "extend keeps a delivery with its owner, however long"
            await other.ack_many(got)
            await clock.sleep(other.lease / 8)
            number += 1
        assert await process.ack() == [], "extend keeps a delivery ours to acknowledge"

    async def test_what_a_silent_owner_held_goes_to_others_after_its_lease(self, owners: Owners) -> None:
        """The same inside one process: an owner that does not renew is as good as dead."""
        _, _, heir, fresh = await self.expired(owners, "a", "b", key="k")
        assert ids(fresh) == ["a", "b"], "ACK: what comes back comes back in order"
        if self.counts_exactly:
            assert [delivery.times for delivery in fresh] == [2, 2], "the hand-out that ended in a death is counted"
        assert await heir.ack_many(fresh) == [], "what came back is the new owner's"

    async def test_what_was_acknowledged_stays_away(self, owners: Owners) -> None:
        """Of what a silent owner held, only the unsettled comes back."""
        if self.lease is None:
            owners.skip("no lease")
        silent, heir = await self.two_owners(owners, Capability.ACK, lease=self.lease)
        await silent.push_many(events(3))
        held = await self.popped(silent, 3, "pop hands out what was pushed")
        await silent.ack_many([delivery for delivery in held if delivery.expect().id != "e1"])
        assert ids(await self.popped(heir, 1, "ACK: the unsettled comes back")) == ["e1"], "ACK: only the unsettled"
        await heir.push(event("sentinel"))
        got = await self.popped(heir, 1, "the queue goes on")
        assert ids(got) == ["sentinel"], "an acknowledged message never comes back"

    async def test_extend_keeps_a_delivery_beyond_its_lease(self, owners: Owners) -> None:
        """Inside one process: renewed in time, it stays with its owner."""
        if self.lease is None:
            owners.skip("no lease")
        keeping, other = await self.two_owners(owners, Capability.ACK, lease=self.lease)
        await keeping.push(event("held"))
        held = await self.popped(keeping, 1, "pop hands out what was pushed")
        until = keeping.clock.monotonic() + 1.5 * self.lease
        while keeping.clock.monotonic() < until:
            assert await keeping.extend(held) == [], "extend keeps a delivery with its owner"
            await keeping.clock.sleep(self.lease / 8)
        await other.push(event("sentinel"))
        got = await self.popped(other, 1, "other messages go to other owners")
        assert ids(got) == ["sentinel"], "extend keeps a delivery with its owner, however long"
        assert await keeping.ack_many(held) == [], "extend keeps a delivery ours to acknowledge"

    async def test_a_second_death_counts_only_what_had_started(self, owners: Owners) -> None:
        """Those in flight beside the one that kills don't share the blame: after the first, only `started` counts."""
        if self.lease is None or not self.counts_exactly:
            owners.skip("no lease" if self.lease is None else "counts are a lower bound")
        _, _, heir, fresh = await self.expired(owners, "calm", "guilty", key="k")
        assert await heir.started(fresh[1:]) == [], "started reports nothing lost while the lease runs"
        last = await owners.open(lease=self.lease)
        again = await self.popped(last, 2, "ACK: what a silent owner held goes to others after its lease")
        assert ids(again) == ["calm", "guilty"], "ACK: what comes back comes back in order"
        times = [delivery.times for delivery in again]
        assert times == [2, 3], "a death counts first hand-outs and those reported by started, no others"
