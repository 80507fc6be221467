"""Bytes that are no event: handed out with their reason, and no harm to their neighbours."""

from __future__ import annotations

from ..base import MessageQueue
from ..errors import CorruptMessage
from ..message import CORRUPT_TYPE
from .collector import Collector
from .suite import Owners, Suite
from .waiting import event, ids

_GARBAGE = {
    "not JSON": b"\x80\x04garbage",
    "not an object": b"[1, 2]",
    "no id": b'{"specversion":"1.0","type":"t","source":"/s"}',
    "another version": b'{"specversion":"0.3","type":"t","source":"/s","id":"x"}',
    "empty": b"",
}
_FOREIGN = b'{"specversion":"1.0","type":"foreign","source":"/other","id":"f"}'


class Corrupt(Suite):
    """Group: corrupt."""

    async def test_bytes_that_are_no_event_come_out_with_their_reason(self, owners: Owners) -> None:
        """message None, the bytes in raw, the reason in error; between neighbours that are well."""
        queue = await self._injectable(owners)
        await queue.push(event("before"))
        for raw in _GARBAGE.values():
            await self.inject(queue, raw)
        await queue.push(event("after"))
        got = await self.popped(queue, 2 + len(_GARBAGE), "one bad record never fails its batch")
        well = [delivery for delivery in got if delivery.message is not None]
        bad = [delivery for delivery in got if delivery.message is None]
        assert ids(well) == ["before", "after"], "one bad record never fails its batch"
        assert [delivery.raw for delivery in bad] == list(_GARBAGE.values()), "Delivery.raw holds the very bytes"
        for delivery in bad:
            assert isinstance(delivery.error, CorruptMessage), "Delivery.error says why there is no message"
        assert await queue.ack_many(got) == [], "a corrupt delivery can be settled like any other"

    async def test_corrupt_bytes_can_be_moved_away(self, owners: Owners) -> None:
        """As a dead letter of type notification.corrupt that carries the bytes."""
        queue, dead = await self._injectable(owners), Collector()
        await self.inject(queue, _GARBAGE["not JSON"])
        got = await self.popped(queue, 1, "bytes that are no event are handed out")
        assert await queue.move_many([(delivery, delivery.expect()) for delivery in got], dead) == []
        assert [(letter.type, letter.data) for letter in dead.messages] == [(CORRUPT_TYPE, _GARBAGE["not JSON"])]
        await queue.push(event("next"))
        assert ids(await self.popped(queue, 1, "the queue goes on")) == ["next"], "a corrupt record moves away for good"

    async def test_corrupt_bytes_can_be_handed_back(self, owners: Owners) -> None:
        """Released, they are the same bytes again."""
        queue = await self._injectable(owners)
        await self.inject(queue, _GARBAGE["not JSON"])
        got = await self.popped(queue, 1, "bytes that are no event are handed out")
        await queue.release(got)
        [again] = await self.popped(queue, 1, "corrupt bytes that were released come back")
        came = again.raw if again.message is None else again.message.data
        assert came == _GARBAGE["not JSON"], "release keeps the very bytes"

    async def test_an_event_of_a_foreign_producer_is_welcome(self, owners: Owners) -> None:
        """Only the attributes that CloudEvents requires."""
        queue = await self._injectable(owners)
        await self.inject(queue, _FOREIGN)
        [delivery] = await self.popped(queue, 1, "a CloudEvent with only the required attributes is handed out")
        message = delivery.expect()
        assert (message.type, message.source, message.id) == ("foreign", "/other", "f"), "a foreign CloudEvent is read"

    async def _injectable(self, owners: Owners) -> MessageQueue:
        probe = await owners.open()
        if await self.inject(probe, _FOREIGN) is NotImplemented:
            owners.skip("no inject()")
        await probe.ack_many(await self.popped(probe, 1, "injected bytes are handed out"))
        return probe
