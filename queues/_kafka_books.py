"""The ledgers of the partitions that are ours, shared by three threads: ours, the client's, the event loop's."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from attrs import define, field

from ._kafka_client import OffsetAndMetadata, TopicPartition
from ._kafka_ledger import Ledger

Offsets = dict[TopicPartition, OffsetAndMetadata]
"""What is committed."""
Promises = Mapping[TopicPartition, tuple[Ledger, int]]
"""How far commits reach, and whose they are."""
Records = Mapping[TopicPartition, tuple[Ledger, Sequence[Any]]]
"""What was read, with the books of its partition: records of the client."""


class Owner(Protocol):
    """The side of the event loop; each of these is called in another thread and returns at once."""

    def deliver(self, records: Records) -> None:
        """These came."""

    def changed(self) -> None:
        """Partitions were taken from us."""

    def proved(self, began: float) -> None:
        """A commit that was sent at this time of the clock was accepted: what we hold was ours then."""

    def failed(self, error: Exception) -> None:
        """The broker refuses us; it is asked again."""

    def ended(self) -> None:
        """Nothing more comes."""


def size_of(record: Any) -> int:
    """The bytes of a record of the client."""
    return len(record.value or b"")


class Standing(NamedTuple):
    """Of one partition: the next offset to come, how many are here and unfinished, how many of these are handed out."""

    next: int
    unfinished: int
    popped: int


@define(eq=False)
class Books:
    """Whoever reads or writes a ledger has the lock, for microseconds. bytes_waiting: read, and not popped."""

    lock: threading.Lock = field(factory=threading.Lock)
    ledgers: dict[TopicPartition, Ledger] = field(factory=dict)
    bytes_waiting: int = 0

    def count(self, size: int) -> None:
        """So many bytes more are waiting."""
        with self.lock:
            self.bytes_waiting += size

    def open(self, partition: TopicPartition, ledger: Ledger) -> None:
        """It is ours."""
        with self.lock:
            self.ledgers[partition] = ledger
            ledger.partition = partition.partition

    def without(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those that have no books: what the client brings of them would be passed over."""
        with self.lock:
            return {partition for partition in partitions if partition not in self.ledgers}

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """They are no longer ours."""
        with self.lock:
            for partition in partitions:
                if (ledger := self.ledgers.pop(partition, None)) is not None:
                    ledger.over = True

    def standing(self) -> dict[int, Standing]:
        """By number, the partitions of a topic that are ours."""
        with self.lock:
            return {
                partition.partition: Standing(ledger.high, ledger.unfinished, len(ledger.popped))
                for partition, ledger in self.ledgers.items()
            }

    def foreign_to(self, member: str) -> list[TopicPartition]:
        """Those that were ours as somebody else: the group has expelled us meanwhile, and let us in again."""
        with self.lock:
            return [partition for partition, ledger in self.ledgers.items() if ledger.member != member]

    def drain(self, partitions: Iterable[TopicPartition]) -> None:
        """Nothing more of these is handed out."""
        with self.lock:
            for partition in partitions:
                if (ledger := self.ledgers.get(partition)) is not None:
                    ledger.leaving = True

    def is_busy(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether something of these is handed out."""
        with self.lock:
            return any(self.ledgers[one].popped for one in partitions if one in self.ledgers)

    def commits(self, *, all_of_them: bool = False) -> Offsets:
        """What there is to commit."""
        with self.lock:
            return {
                partition: OffsetAndMetadata(*ledger.commit(), -1)
                for partition, ledger in self.ledgers.items()
                if ledger.dirty or all_of_them
            }

    def last_commits(self, partitions: Iterable[TopicPartition]) -> Offsets:
        """For these: from now on nothing of them is settled any more, since it would be in no commit."""
        offsets: Offsets = {}
        with self.lock:
            for one in partitions:
                if (ledger := self.ledgers.get(one)) is not None:
                    ledger.over = True
                    offsets[one] = OffsetAndMetadata(*ledger.commit(leaving=True), -1)
        return offsets

    def promises(self, partitions: Iterable[TopicPartition]) -> Promises:
        """How far the last commits for these reach."""
        with self.lock:
            return {
                one: (ledger, ledger.promised) for one in partitions if (ledger := self.ledgers.get(one)) is not None
            }

    def committed(self, promises: Promises) -> list[TopicPartition]:
        """The broker has accepted these. Returns those of which we have the same books still."""
        with self.lock:
            same = [one for one, (ledger, _) in promises.items() if self.ledgers.get(one) is ledger]
            for one in same:
                ledger, promise = promises[one]
                ledger.allowed = max(ledger.allowed, promise)
        return same

    def not_committed(self, partitions: Iterable[TopicPartition]) -> None:
        """What was to be committed for these was not."""
        with self.lock:
            for partition in partitions:
                if partition in self.ledgers:
                    self.ledgers[partition].dirty = True
