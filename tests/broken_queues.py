"""Eight ways to get a queue wrong. Each is the reference queue with one mistake that real backends have made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import orjson
import pytest

from queues.base import MessageQueue
from queues.conformance import MakeQueue, QueueConformance
from queues.errors import CorruptMessage, QueueClosed
from queues.message import Delivery, Nack
from tests.reference_queue import Record, ReferenceQueue, Store


class UnfencedAck(ReferenceQueue):
    """An ack goes by the message, not by who holds it now."""

    def _ack(self, delivery: Delivery) -> bool:
        record, _ = delivery.receipt
        if record in self._store.records:
            self._store.records.remove(record)
        return True


class LostOnACancelledPop(ReferenceQueue):
    """What was claimed is on its way to the caller when the caller gives up."""

    async def pop_many(self, limit: int) -> list[Delivery]:
        batch = await super().pop_many(limit)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return batch


class TailInsteadOfHeadOnRelease(ReferenceQueue):
    """A hand-back is a push; only a key keeps its place."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if (record := self._ours(delivery)) is not None:
                record.owner = None
                if record.key is None:
                    record.place = next(self._store.numbers)
        self._store.records.sort(key=lambda record: record.place)


class CountedHandBack(ReferenceQueue):
    """A hand-back counts as a hand-out that failed."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if (record := self._ours(delivery)) is not None:
                record.owner, record.deaths = None, record.deaths + 1


class AKeyAtTwoOwners(ReferenceQueue):
    """KEYED is declared, and every owner gets whatever comes next."""

    def _free(self) -> list[Record]:
        now = self.clock.wall()
        return [record for record in self._store.records if record.owner is None and record.due <= now]


class DelayForgottenOnReopening(ReferenceQueue):
    """Due times live in memory; whoever opens the store hands out everything."""

    async def open(self) -> None:
        if not self._store.open:
            for record in self._store.records:
                record.due = 0.0
        await super().open()


class OneBadRecordFailsItsBatch(ReferenceQueue):
    """Decoding looks at the whole batch, and raises."""

    def _delivery(self, record: Record) -> Delivery:
        try:
            orjson.loads(record.raw)
        except orjson.JSONDecodeError as error:
            raise CorruptMessage("a record of the batch is not JSON") from error
        return super()._delivery(record)


class CapacityBlocksNack(ReferenceQueue):
    """A nack is a push, and waits for room like one."""

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        while self.capacity is not None and self._waiting() >= self.capacity:
            if self._closed:
                raise QueueClosed("closed")
            await asyncio.sleep(0.01)
        return await super().nack_many(nacks)


class Broken(QueueConformance):
    """Short leases and little patience: what does not come at once never comes."""

    lease = 0.3
    delay = 0.1
    patience = 2.0
    queue: ClassVar[type[ReferenceQueue]] = ReferenceQueue

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        store = Store()
        return lambda **options: self.queue(store, **options)

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        assert isinstance(queue, ReferenceQueue)
        queue.store_raw(raw)
        return None


class TestSound(Broken):
    """The reference itself, under the same conditions."""


class TestUnfencedAck(Broken):
    queue = UnfencedAck


class TestLostOnACancelledPop(Broken):
    queue = LostOnACancelledPop


class TestTailInsteadOfHeadOnRelease(Broken):
    queue = TailInsteadOfHeadOnRelease


class TestCountedHandBack(Broken):
    queue = CountedHandBack


class TestAKeyAtTwoOwners(Broken):
    queue = AKeyAtTwoOwners


class TestDelayForgottenOnReopening(Broken):
    queue = DelayForgottenOnReopening


class TestOneBadRecordFailsItsBatch(Broken):
    queue = OneBadRecordFailsItsBatch


class TestCapacityBlocksNack(Broken):
    queue = CapacityBlocksNack
