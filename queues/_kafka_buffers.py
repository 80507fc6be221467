"""What was read and waits to be popped, partition by partition. Decides; does no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from attrs import define

from ._kafka_books import Books, Records, size_of
from ._kafka_client import TopicPartition
from ._kafka_ledger import Ledger
from .base import MessageQueue
from .message import Delivery

_OFFSET = attrgetter("offset")


class Place(NamedTuple):
    """The receipt: which partition's books, where in them, and which hand-out of that."""

    ledger: Ledger
    offset: int
    serial: int


Read = Callable[[Any, Place, int], Delivery | None]
"""Makes a delivery of one of the client's records, the receipt and the hand-outs so far; None: it is not for us."""


@define(eq=False)
class Again:
    """Something that was handed out, or read, before. Has an offset, like the client's own records."""

    offset: int
    delivery: Delivery


@define(eq=False)
class Buffer:
    """What was read of one partition, in the order of offsets."""

    partition: TopicPartition
    ledger: Ledger
    entries: deque[Any]

    @property
    def gone(self) -> bool:
        """Whether it is another owner's, or about to be."""
        return self.ledger.over or self.ledger.leaving

    def cut(self, offset: int) -> list[Any]:
        """Forget what waits from this offset on, and comes once more; see `Ledger`."""
        gone: list[Any] = []
        while self.entries and self.entries[-1].offset >= offset:
            gone.append(self.entries.pop())
        return gone

    def put_back(self, again: Iterable[Again]) -> None:
        """Each into its place; mostly that is the head."""
        entries = sorted(again, key=_OFFSET)
        if not self.entries or entries[-1].offset < self.entries[0].offset:
            self.entries.extendleft(reversed(entries))
        else:
            self.entries = deque(sorted([*entries, *self.entries], key=_OFFSET))


class Buffers:
    """In turn: a partition with much to do holds up no other. may_pass: whether a delivery may be handed out now; else
    it was put aside.
    """

    def __init__(self, books: Books, read: Read, may_pass: Callable[[Delivery], bool]) -> None:
        self._books, self._read, self._may_pass = books, read, may_pass
        self._buffers: dict[Ledger, Buffer] = {}
        self._turns: deque[Buffer] = deque()
        self._held_up: list[Buffer] = []

    @property
    def held_up(self) -> bool:
        """Whether something may be handed out only after the next commit."""
        return bool(self._held_up)

    def go_on(self) -> None:
        """There was a commit."""
        held_up, self._held_up = self._held_up, []
        self._turns.extend(buffer for buffer in held_up if buffer.entries and not buffer.gone)

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, records: Records) -> None:
        """These were read."""
        for partition, (ledger, new) in records.items():
            buffer = self._buffers.get(ledger)
            if buffer is None:
                buffer = self._buffers[ledger] = Buffer(partition, ledger, deque())
            self._extend(buffer, new)

    def topics(self) -> dict[Ledger, str]:
        """Whose books these are."""
        return {ledger: buffer.partition.topic for ledger, buffer in self._buffers.items()}

    def take(self, limit: int) -> list[Delivery]:
        """Up to so many, and about a mebibyte."""
        taken: list[Delivery] = []
        size = 0
        while self._turns and len(taken) < limit and size < MessageQueue.BATCH_BYTES:
            share = max(1, (limit - len(taken)) // len(self._turns))
            buffer = self._turns.popleft()
            found = self._take_of(buffer, share)
            taken += found
            size += sum(delivery.size for delivery in found)
            if buffer.entries and not buffer.gone:
                may_go_on = buffer.entries[0].offset < buffer.ledger.allowed
                (self._turns if may_go_on else self._held_up).append(buffer)
        return taken

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """They wait again, each in its place."""
        by_ledger: dict[Ledger, list[Again]] = {}
        for delivery in deliveries:
            ledger, offset, _ = delivery.receipt
            by_ledger.setdefault(ledger, []).append(Again(offset, delivery))
        for ledger, again in by_ledger.items():
            buffer = self._buffers.get(ledger)
            if buffer is not None and not buffer.gone:
                if not buffer.entries:
                    self._turns.append(buffer)
                buffer.put_back(again)
                self._books.count(sum(one.delivery.size for one in again))

    def drop_lost(self) -> None:
        """Forget what is another owner's."""
        for ledger, buffer in list(self._buffers.items()):
            if buffer.gone:
                self._books.count(-sum(map(_size, buffer.entries)))
                buffer.entries.clear()
                del self._buffers[ledger]
        self._turns = deque(buffer for buffer in self._turns if not buffer.gone)
        self._held_up = [buffer for buffer in self._held_up if not buffer.gone]

    def _extend(self, buffer: Buffer, records: Sequence[Any]) -> None:
        if buffer.gone:
            self._books.count(-sum(map(_size, records)))
            return
        if not buffer.entries:
            self._turns.append(buffer)
        self._books.count(-sum(map(_size, buffer.cut(records[0].offset))))
        buffer.entries.extend(records)

    def _take_of(self, buffer: Buffer, share: int) -> list[Delivery]:
        ledger, entries, books = buffer.ledger, buffer.entries, self._books
        found: list[Delivery] = []
        room = MessageQueue.BATCH_BYTES // 2
        with books.lock:
            while entries and len(found) < share and room > 0 and not buffer.gone:
                if not ledger.may_take(entries[0].offset):
                    break
                entry = entries.popleft()
                size = _size(entry)
                books.bytes_waiting -= size
                room -= size
                delivery = self._delivery(entry, ledger)
                if delivery is None:
                    ledger.pass_over(entry.offset)
                elif self._may_pass(delivery):
                    ledger.take(entry.offset)
                    found.append(delivery)
        return found

    def _delivery(self, entry: Any, ledger: Ledger) -> Delivery | None:
        place = Place(ledger, entry.offset, ledger.serial + 1)
        if type(entry) is not Again:
            return self._read(entry, place, ledger.times(entry.offset))
        old = entry.delivery
        return Delivery(old.message, place, ledger.times(entry.offset), old.raw, old.error, old.size)


def _size(entry: Any) -> int:
    return entry.delivery.size if type(entry) is Again else size_of(entry)
