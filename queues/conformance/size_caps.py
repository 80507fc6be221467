"""Size caps: an event over the limit is refused or handed out as corrupt, one at the limit is whole."""

from __future__ import annotations

import attrs

from .. import wire
from ..base import Capability, MessageQueue
from ..errors import CorruptMessage
from ..message import DEFAULT_LIMITS, UNLIMITED, Limits, Message
from .suite import Owners, Suite
from .waiting import event, ids


class SizeCaps(Suite):
    """Group: size caps."""

    async def test_an_event_of_the_largest_size_is_whole(self, owners: Owners) -> None:
        """One byte less, and exactly the limit."""
        queue = await self._encoding(owners)
        for size in (DEFAULT_LIMITS.event - 1, DEFAULT_LIMITS.event):
            message = of_size(size)
            await queue.push(message)
            [delivery] = await self.popped(queue, 1, "an event within the limit is handed out")
            assert delivery.message == message, f"an event of {size} bytes, within the limit, is handed out whole"
            await queue.ack_many([delivery])

    async def test_an_event_over_the_limit_harms_nobody(self, owners: Owners) -> None:
        """One byte more: refused by push, or handed out as corrupt; its neighbours are well."""
        queue = await self._encoding(owners)
        await queue.push(event("before", key="k"))
        refused = await self._refuses(queue, of_size(DEFAULT_LIMITS.event + 1))
        await queue.push(event("after", key="k"))
        got = await self.popped(queue, 2 if refused else 3, "an event over the limit never fails its batch")
        whole = [delivery for delivery in got if delivery.message is not None]
        assert ids(whole) == ["before", "after"], (
            "an event over MessageQueue.limits is not handed out as a message (queues.wire.delivery_of sees to that)"
        )
        for delivery in got:
            assert delivery.message is not None or isinstance(delivery.error, CorruptMessage), "the reason is given"

    async def test_retries_do_not_count_against_the_limit(self, owners: Owners) -> None:
        """What we add on an event's way must not make it too large to handle."""
        queue = await self._encoding(owners)
        marked = attrs.evolve(
            of_size(DEFAULT_LIMITS.event), attempt=12, handlers=("mail", "audit"), first_error="E" * 2000
        )
        await queue.push(marked)
        [delivery] = await self.popped(queue, 1, "an event within the limit is handed out")
        assert delivery.message == marked, "the limit is on the event as dispatched, not on marks of retries"

    async def test_dead_letters_have_no_limit(self, owners: Owners) -> None:
        """A sibling must take whatever failed elsewhere."""
        queue = await self._encoding(owners, UNLIMITED)
        message = of_size(2 * DEFAULT_LIMITS.event)
        await queue.push(message)
        [delivery] = await self.popped(queue, 1, "without a limit, every event is handed out")
        assert delivery.message == message, "without a limit, every event is handed out whole"

    async def _encoding(self, owners: Owners, limits: Limits = DEFAULT_LIMITS) -> MessageQueue:
        queue = await owners.open(limits=limits)
        if Capability.LOCAL in queue.capabilities:
            owners.skip("LOCAL: nothing is encoded")
        return queue

    async def _refuses(self, queue: MessageQueue, message: Message) -> bool:
        try:
            await queue.push(message)
        except CorruptMessage:
            return True
        return False


def of_size(size: int) -> Message:
    """A message that is exactly so many bytes on the wire."""
    bare = len(wire.encode(event("big", key="k", data="")))
    return event("big", key="k", data="x" * (size - bare))
