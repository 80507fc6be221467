"""Move: stored there, then settled here; what could not be stored there is not settled here."""

from __future__ import annotations

import attrs
import pytest

from ..base import Capability
from ..errors import ConfigurationError, PushFailed, QueueError
from ..message import DeadLetter
from ..registry import open_queue
from .collector import Collector
from .suite import Owners, Suite
from .waiting import event, events, ids


class Moving(Suite):
    """Group: moving."""

    async def test_what_is_moved_arrives_there_and_is_settled_here(self, owners: Owners) -> None:
        """To a queue of another kind."""
        queue, other = await owners.open(), Collector()
        await queue.push_many(events(3))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        pairs = [(delivery, attrs.evolve(delivery.expect(), dead=DeadLetter("fatal"))) for delivery in deliveries]
        assert await queue.move_many(pairs, other) == [], "move_many returns only what was no longer ours"
        assert other.messages == [message for _, message in pairs], "move_many pushes each message there, in order"
        await queue.close()
        if Capability.ACK in queue.capabilities and self.shared:
            heir = await owners.open()
            await heir.push(event("sentinel"))
            got = await self.popped(heir, 1, "the queue goes on")
            assert ids(got) == ["sentinel"], "what was moved is settled here"

    async def test_what_could_not_be_stored_there_is_not_settled_here(self, owners: Owners) -> None:
        """A dead letter that can't be written costs no event."""
        queue, other = await owners.open(), Collector(refuses={"e1"})
        await queue.push_many(events(3))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        with pytest.raises(PushFailed) as failed:
            await queue.move_many([(delivery, delivery.expect()) for delivery in deliveries], other)
        refused = [delivery for delivery in deliveries if delivery.expect().id == "e1"]
        assert set(failed.value.errors) == {deliveries.index(refused[0])}, "PushFailed names what was not stored there"
        assert sorted(message.id for message in other.messages) == ["e0", "e2"], "the others are moved all the same"
        await queue.release(refused)
        got = await self.popped(queue, 1, "what could not be moved is still ours, to release or to try again")
        assert ids(got) == ["e1"], "what could not be moved is still ours, and nothing else is"

    async def test_what_is_moved_to_the_sibling_is_found_there(self, owners: Owners) -> None:
        """Its dead letters: same store, other name. Of a queue made of several, each in the one it came from."""
        queue = await owners.open()
        if Capability.LOCAL in queue.capabilities and not self.shared:
            owners.skip("a sibling of its own")
        try:
            sibling = queue.sibling("dead")
        except ConfigurationError:
            owners.skip("no URL to derive a sibling from")
        await queue.push_many(events(3))
        deliveries = await self.popped(queue, 3, "pop hands out what was pushed")
        letters = [attrs.evolve(delivery.expect(), dead=DeadLetter("fatal", "boom")) for delivery in deliveries]
        async with sibling as dead:
            assert await queue.move_many(list(zip(deliveries, letters, strict=True)), dead) == []
            got = await self.popped(dead, 3, "what was moved waits in the sibling")
            assert [delivery.message for delivery in got] == letters, "the sibling holds the letters as they were made"
            await dead.ack_many(got)
        await self.eventually(queue.size, lambda size: size == 0, "what was moved is settled here")

    async def test_a_move_into_a_broken_queue_raises_and_settles_nothing(self, owners: Owners) -> None:
        """All refused: all still ours."""
        queue, other = await owners.open(), Collector(refuses={"e0", "e1"})
        await queue.push_many(events(2))
        deliveries = await self.popped(queue, 2, "pop hands out what was pushed")
        with pytest.raises(QueueError):
            await queue.move_many([(delivery, delivery.expect()) for delivery in deliveries], other)
        await queue.release(deliveries)
        got = await self.popped(queue, 2, "what could not be moved is still ours")
        assert sorted(ids(got)) == ["e0", "e1"], "what could not be moved is still ours"

    async def test_a_dead_letter_that_comes_home_is_no_repetition(self, owners: Owners) -> None:
        """`dedup` refuses a second dispatch of an id; a letter that is moved back is the first, come home."""
        queue = await owners.open(Capability.ACK, dedup=3600)
        if queue.url is None or Capability.LOCAL in queue.capabilities:
            owners.skip("no URL to derive a sibling from")
        await queue.push(event("e"))
        async with open_queue(queue.url.sibling("dead")) as dead:
            [delivery] = await self.popped(queue, 1, "pop hands out what was pushed")
            letter = attrs.evolve(delivery.expect(), dead=DeadLetter("fatal", "boom"))
            assert await queue.move_many([(delivery, letter)], dead) == []
            [died] = await self.popped(dead, 1, "what was moved waits in the sibling")
            assert await dead.move_many([(died, delivery.expect())], queue) == []
            got = await self.popped(queue, 1, "what was moved back is there, although its id was dispatched before")
            assert ids(got) == ["e"]
