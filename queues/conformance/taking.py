"""Take: those that match, in order; the others stay as they were."""

from __future__ import annotations

from ..base import Capability
from .suite import Owners, Suite
from .waiting import event, events, ids

_KEEPS_ORDER = Capability.ACK | Capability.KEYED


class Taking(Suite):
    """Group: taking."""

    async def test_what_matches_is_taken_in_order_and_the_rest_stays(self, owners: Owners) -> None:
        """One pass over what waits."""
        queue = await owners.open()
        await queue.push_many(events(10, key="k"))
        await self.eventually(queue.size, lambda size: size == 10, "size() counts what waits")
        taken = await self.soon(queue.take(lambda message: int(message.id[1:]) % 3 == 0, 10), "take does not wait")
        assert ids(taken) == ["e0", "e3", "e6", "e9"], "take gives the waiting messages that match, in order"
        assert await queue.ack_many(taken) == [], "what was taken is ours to settle"
        rest = await self.popped(queue, 6, "take leaves the others in the queue")
        assert ids(rest) == ["e1", "e2", "e4", "e5", "e7", "e8"], "take leaves the others in their order"
        assert [delivery.times for delivery in rest] == [1] * 6, "being looked at by take counts as no hand-out"

    async def test_take_gives_no_more_than_its_limit(self, owners: Owners) -> None:
        """The first of those that match."""
        queue = await owners.open()
        await queue.push_many(events(6))
        await self.eventually(queue.size, lambda size: size == 6, "size() counts what waits")
        taken = await self.soon(queue.take(lambda message: True, 2), "take does not wait")
        assert len(taken) == 2, "take gives no more than its limit"
        await queue.ack_many(taken)
        rest = await self.popped(queue, 4, "take leaves the others in the queue")
        assert {*ids(taken), *ids(rest)} == {f"e{number}" for number in range(6)}, "take loses nothing"
        if queue.capabilities & _KEEPS_ORDER:
            assert [*ids(taken), *ids(rest)] == [f"e{number}" for number in range(6)], "take begins at the head"

    async def test_take_from_an_empty_queue_is_nothing(self, owners: Owners) -> None:
        """It does not wait."""
        queue = await owners.open()
        assert await self.soon(queue.take(lambda message: True, 5), "take does not wait") == []
        await queue.push(event("e"))
        await self.eventually(queue.size, lambda size: size == 1, "size() counts what waits")
        assert await self.soon(queue.take(lambda message: False, 5), "take does not wait") == []
        assert ids(await self.popped(queue, 1, "take leaves the others in the queue")) == ["e"]
