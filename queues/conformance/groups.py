"""GROUPS: each consumer group sees every event, and what one group does again is its own affair."""

from __future__ import annotations

from datetime import timedelta

import attrs

from ..base import Capability, MessageQueue
from ..message import DeadLetter, Nack
from ..registry import open_queue
from .suite import Owners, Suite
from .waiting import event, events, ids


class Groups(Suite):
    """Group: groups."""

    async def test_each_group_sees_every_event(self, owners: Owners) -> None:
        """Once each, in order."""
        ours, theirs = await self._two_groups(owners)
        await ours.push_many(events(10, key="k"))
        for queue in (ours, theirs):
            got = await self.popped(queue, 10, "GROUPS: each group sees every event")
            assert ids(got) == [f"e{number}" for number in range(10)], "GROUPS: each group sees every event, in order"
            await queue.ack_many(got)

    async def test_what_one_group_settles_is_open_in_the_other(self, owners: Owners) -> None:
        """An ack, and the size, are a group's own."""
        ours, theirs = await self._two_groups(owners)
        await ours.push(event("e"))
        await ours.ack_many(await self.popped(ours, 1, "GROUPS: each group sees every event"))
        await self.eventually(theirs.size, lambda size: size == 1, "GROUPS: size() is that of the own group")
        assert ids(await self.popped(theirs, 1, "GROUPS: an ack settles for the own group only")) == ["e"]

    async def test_a_retry_comes_back_to_its_own_group_only(self, owners: Owners) -> None:
        """A: failed once, handled on the second run. B: handled exactly once."""
        ours, theirs = await self._two_groups(owners)
        await ours.push(event("e"))
        await theirs.ack_many(await self.popped(theirs, 1, "GROUPS: each group sees every event"))
        [delivery] = await self.popped(ours, 1, "GROUPS: each group sees every event")
        await ours.nack_many([Nack(delivery, self.delay, attrs.evolve(delivery.expect(), attempt=2))])
        again = await self.popped(ours, 1, "a retry comes back to its group")
        assert again[0].expect().attempt == 2, "a retry comes back to its group"
        await ours.ack_many(again)
        await self._nothing_came(theirs, "a retry of one group is settled unseen in every other")

    async def test_a_delayed_event_comes_to_each_group_once(self, owners: Owners) -> None:
        """There is one mover a queue, not one a group."""
        ours, theirs = await self._two_groups(owners, Capability.DELAY)
        await ours.push(event("late", not_before=ours.clock.now() + timedelta(seconds=self.delay)))
        for queue in (ours, theirs):
            got = await self.popped(queue, 1, "a delayed event comes to each group")
            assert ids(got) == ["late"], "a delayed event comes to each group"
            await queue.ack_many(got)
        for queue in (ours, theirs):
            await self._nothing_came(queue, "a delayed event comes to each group once")

    async def test_a_dead_letter_tried_again_comes_to_its_own_group_only(self, owners: Owners) -> None:
        """It died in A, so only A gets it again."""
        ours, theirs = await self._two_groups(owners)
        if ours.url is None:
            owners.skip("no URL to derive a sibling from")
        group = ours.url.group or "a"
        await ours.push(event("e"))
        await theirs.ack_many(await self.popped(theirs, 1, "GROUPS: each group sees every event"))
        [delivery] = await self.popped(ours, 1, "GROUPS: each group sees every event")
        letter = attrs.evolve(delivery.expect(), dead=DeadLetter("fatal", group=group))
        async with open_queue(ours.url.sibling("dead")) as dead:
            await ours.move_many([(delivery, letter)], dead)
            [dead_letter] = await self.popped(dead, 1, "a dead letter waits in the sibling")
            retry = attrs.evolve(dead_letter.expect().pristine(), group=group)
            await dead.move_many([(dead_letter, retry)], ours)
        got = await self.popped(ours, 1, "a dead letter tried again comes to its group")
        assert ids(got) == ["e"], "a dead letter tried again comes to its group"
        await self._nothing_came(theirs, "a dead letter tried again in one group is settled unseen in every other")

    async def _two_groups(
        self, owners: Owners, needs: Capability = Capability.GROUPS
    ) -> tuple[MessageQueue, MessageQueue]:
        ours = await owners.open(needs | Capability.GROUPS, group="a")
        theirs = await owners.open(group="b")
        await self.ready(ours)
        await self.ready(theirs)
        return ours, theirs

    async def _nothing_came(self, queue: MessageQueue, duty: str) -> None:
        await queue.push(event("sentinel"))
        assert ids(await self.popped(queue, 1, "the queue goes on")) == ["sentinel"], duty
