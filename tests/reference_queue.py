"""The contract, as short as it can be kept: a queue over a list that outlives its owners. Slow, and right."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import attrs

from queues import wire
from queues.base import Capability, MessageQueue, QueueStats
from queues.errors import PushFailed, QueueClosed, QueueError, QueueFull
from queues.message import Delivery, Message, Nack

_LOOK_AGAIN = 0.005


@attrs.define(eq=False)
class Record:
    """One stored message. `due` is wall time; `holds`: it was nacked, and its key waits for it."""

    place: int
    raw: bytes
    key: str | None = None
    due: float = 0.0
    holds: bool = False
    owner: ReferenceQueue | None = None
    receipt: int = 0
    deaths: int = 0
    started: bool = False


class Store:
    """What is stored, and until when each owner lives. It stands for a disk, and for everything that shares it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lives_until: dict[ReferenceQueue, float] = {}
        self.open: set[ReferenceQueue] = set()
        self.numbers = itertools.count(1)

    def insert(self, record: Record) -> None:
        self.records.append(record)
        self.records.sort(key=lambda one: one.place)


class ReferenceQueue(MessageQueue):
    """Any number of owners over one `Store`."""

    capabilities = Capability.ACK | Capability.DELAY | Capability.KEYED | Capability.DURABLE

    def __init__(self, store: Store, *, capacity: int | None = None, lease: float = 30.0) -> None:
        self._store = store
        self.capacity = capacity
        self.lease = lease
        self._closed = False

    async def open(self) -> None:
        self._store.open.add(self)

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        self._check_open()
        while self.capacity is not None and self._waiting() >= self.capacity:
            if deadline is not None and self.clock.monotonic() >= deadline:
                raise QueueFull(f"at its capacity of {self.capacity}")
            await asyncio.sleep(_LOOK_AGAIN)
            self._check_open()
        due = message.not_before.timestamp() if message.not_before else 0.0
        self.store_raw(wire.encode(message), message.key, due)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        errors: dict[int, QueueError] = {}
        for index, message in enumerate(messages):
            try:
                await self.push(message, timeout=timeout)
            except QueueError as error:
                errors[index] = error
        if errors:
            raise PushFailed(errors)

    def store_raw(self, raw: bytes, key: str | None = None, due: float = 0.0, store: Store | None = None) -> None:
        store = store or self._store
        store.insert(Record(next(store.numbers), raw, key, due))

    # -- out

    async def pop(self) -> Delivery:
        return (await self.pop_many(1))[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        while True:
            self._check_open()
            if batch := self._claim(limit, lambda record: True):
                return batch
            await asyncio.sleep(_LOOK_AGAIN)

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        def wanted(record: Record) -> bool:
            message = wire.delivery_of(record.raw, None, limits=self.limits).message
            return message is not None and match(message)

        return self._claim(limit, wanted)

    def _claim(self, limit: int, wanted: Callable[[Record], bool]) -> list[Delivery]:
        self._bury_the_dead()
        self._live_on()
        claimed: list[Delivery] = []
        for record in self._free():
            if len(claimed) == limit:
                break
            if wanted(record):
                record.owner, record.receipt, record.holds = self, next(self._store.numbers), False
                claimed.append(self._delivery(record))
        return claimed

    def _free(self) -> list[Record]:
        """What this owner may have, in order."""
        taken = {record.key for record in self._store.records if record.owner not in {None, self}}
        now, free = self.clock.wall(), []
        for record in self._store.records:
            waits = record.owner is None and record.due > now
            if record.key is not None and (record.key in taken or (waits and record.holds)):
                taken.add(record.key)
            elif record.owner is None and not waits:
                free.append(record)
        return free

    def _delivery(self, record: Record) -> Delivery:
        return wire.delivery_of(record.raw, (record, record.receipt), 1 + record.deaths, self.limits)

    # -- settled

    def _ours(self, delivery: Delivery) -> Record | None:
        record, receipt = delivery.receipt
        assert isinstance(record, Record)
        return record if record.owner is self and record.receipt == receipt else None

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [delivery for delivery in deliveries if not self._ack(delivery)]

    def _ack(self, delivery: Delivery) -> bool:
        if (record := self._ours(delivery)) is None:
            return False
        self._store.records.remove(record)
        record.owner = None
        return True

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        return [nack.delivery for nack in nacks if not self._nack(nack)]

    def _nack(self, nack: Nack) -> bool:
        if (record := self._ours(nack.delivery)) is None:
            return False
        record.owner, record.holds = None, True
        record.deaths, record.started = 0, False
        record.due = self.clock.wall() + nack.delay
        if nack.message is not None:
            record.raw = wire.encode(nack.message)
        return True

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if (record := self._ours(delivery)) is not None:
                record.owner = None

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._live_on()
        return [delivery for delivery in deliveries if self._ours(delivery) is None]

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        for delivery in deliveries:
            if (record := self._ours(delivery)) is not None:
                record.started = True
        return [delivery for delivery in deliveries if self._ours(delivery) is None]

    # -- looked at

    async def size(self) -> int:
        return self._waiting()

    def _waiting(self) -> int:
        now = self.clock.wall()
        return sum(record.owner is None and record.due <= now for record in self._store.records)

    async def stats(self) -> QueueStats:
        in_flight = sum(record.owner is not None for record in self._store.records)
        delayed = len(self._store.records) - in_flight - self._waiting()
        return QueueStats(self._waiting(), in_flight, delayed)

    async def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        place = 0
        oldest = since if isinstance(since, datetime) else datetime.min.replace(tzinfo=UTC)
        while True:
            for record in [one for one in self._store.records if one.place > place]:
                place = record.place
                message = wire.delivery_of(record.raw, None, limits=self.limits).expect()
                if message.time >= oldest:
                    yield message
            if not follow:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    # -- lives and deaths

    def _live_on(self) -> None:
        assert self.lease is not None
        self._store.lives_until[self] = self.clock.monotonic() + self.lease

    def _bury_the_dead(self) -> None:
        now = self.clock.monotonic()
        for record in self._store.records:
            if record.owner is not None and self._store.lives_until[record.owner] <= now:
                record.deaths += record.deaths == 0 or record.started
                record.owner, record.started = None, False

    async def close(self) -> None:
        self._closed = True
        self._store.open.discard(self)
        for record in self._store.records:
            if record.owner is self:
                record.owner = None

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the reference queue is closed")
