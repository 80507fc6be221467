"""Release: fetched, not started; back as if it had never been handed out."""

from __future__ import annotations

from ..base import Capability
from .suite import Owners, Suite
from .waiting import event, events, ids

#: The default of the contract is a push, which puts at the tail; a queue that promises more has to do better.
_TO_THE_HEAD = Capability.ACK | Capability.KEYED


class Releasing(Suite):
    """Group: releasing."""

    async def test_what_was_released_comes_back_in_order(self, owners: Owners) -> None:
        """Released together, handed out again in the order they had."""
        queue = await owners.open()
        await queue.push_many(events(3, key="k"))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        await queue.release(deliveries)
        again = await self.popped(queue, 3, "what was released comes back")
        assert ids(again) == ["e0", "e1", "e2"], "release keeps the order"

    async def test_what_was_released_goes_to_the_head(self, owners: Owners) -> None:
        """ACK or KEYED: before those that were never handed out."""
        queue = await owners.open()
        if not queue.capabilities & _TO_THE_HEAD:
            owners.skip("neither ACK nor KEYED")
        await queue.push_many(events(5, key="k"))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        await queue.ack_many(deliveries[:1])
        await queue.release(deliveries[1:])
        again = await self.popped(queue, 4, "what was released comes back")
        assert ids(again) == ["e1", "e2", "e3", "e4"], "release puts back to the head, in order"

    async def test_what_was_released_without_a_key_goes_to_the_head(self, owners: Owners) -> None:
        """ACK or KEYED: the same for messages without a key."""
        queue = await owners.open()
        if not queue.capabilities & _TO_THE_HEAD:
            owners.skip("neither ACK nor KEYED")
        await queue.push_many(events(4))
        deliveries = await self.popped(queue, 2, "pop hands out what was pushed")
        await queue.release(deliveries)
        again = await self.popped(queue, 2, "what was released comes back")
        assert ids(again) == ids(deliveries), "release puts back to the head, in order"

    async def test_a_release_changes_and_counts_nothing(self, owners: Owners) -> None:
        """However often."""
        queue = await owners.open()
        sent = event("e", data={"n": 1}, attempt=2, handlers=("mail",), headers={"tenant": "a"})
        await queue.push(sent)
        for _ in range(4):
            [delivery] = await self.popped(queue, 1, "what was released comes back")
            assert delivery.message == sent, "release changes nothing"
            assert delivery.times == 1, "a hand-out that was released does not count"
            await queue.release([delivery])
        await self.eventually(queue.size, lambda size: size == 1, "a released message waits again, once")

    async def test_a_release_restores_the_count_of_deaths(self, owners: Owners) -> None:
        """After a death the count is 2; a release leaves it so."""
        _, _, heir, fresh = await self.expired(owners, "e")
        for _ in range(3):
            await heir.release(fresh)
            fresh = await self.popped(heir, 1, "what was released comes back")
            if self.counts_exactly:
                assert fresh[0].times == 2, "a release counts no hand-out and forgets no death"

    async def test_what_was_released_goes_to_other_owners_too(self, owners: Owners) -> None:
        """A release is for everyone."""
        if not self.keys_move:
            owners.skip("keys stay with an owner")
        leaving, staying = await self.two_owners(owners)
        await leaving.push(event("e", key="k"))
        deliveries = await self.popped(leaving, 1, "pop hands out what was pushed")
        await leaving.release(deliveries)
        got = await self.popped(staying, 1, "what one owner released goes to any owner")
        assert ids(got) == ["e"], "what one owner released goes to any owner"
