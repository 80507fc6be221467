"""Partitions that are new to us: what comes of them is kept until the broker knows that they are ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ._kafka_books import Books
from ._kafka_client import TopicPartition
from ._kafka_ledger import Ledger
from ._kafka_listener import Listener
from ._kafka_metadata import decode

_TIMEOUT_MS = 3000


class Admission:
    """Before anything of a partition is handed out, what the last owner left behind is read, and that it is ours is
    committed: else nobody would know of our death.
    """

    def __init__(self, books: Books, listener: Listener) -> None:
        self.early: dict[TopicPartition, list[Any]] = {}
        """What came of those that are not admitted yet."""
        self._books, self._listener = books, listener
        self._rewinds: set[TopicPartition] = set()

    def expect(self, ours: set[TopicPartition]) -> None:
        """Look at what has come and gone. ours: all that is assigned."""
        listener = self._listener
        while listener.gone:
            self.early.pop(listener.gone.popleft(), None)
        while listener.assigned:
            self.early.setdefault(listener.assigned.popleft(), [])
        if self.early:
            self.early = {one: records for one, records in self.early.items() if one in ours}

    def begin_anew(self, partitions: Iterable[TopicPartition]) -> None:
        """They are ours, and were another's meanwhile: what came of them is not what comes next."""
        for partition in partitions:
            self.early[partition] = []
            self._rewinds.add(partition)

    def read(self, consumer: Any) -> None:
        """Open the books of those that have none."""
        for partition in self.early:
            if partition not in self._books.ledgers and (ledger := self._ledger(consumer, partition)) is not None:
                ledger.member = consumer.group_metadata().member_id
                self._books.open(partition, ledger)

    def admitted(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Sequence[Any]]:
        """The broker knows; returns what came of them."""
        return {one: self.early.pop(one) for one in partitions if one in self.early}

    def forget(self) -> None:
        """The consumer is gone."""
        self._rewinds.clear()
        for memory in (self.early, self._listener.assigned, self._listener.gone):
            memory.clear()

    def _ledger(self, consumer: Any, partition: TopicPartition) -> Ledger | None:
        committed = consumer.committed(partition, metadata=True, timeout_ms=_TIMEOUT_MS)
        if partition in self._rewinds:
            self._rewinds.remove(partition)
            oldest = None if committed else consumer.beginning_offsets([partition], timeout_ms=_TIMEOUT_MS)
            consumer.seek(partition, oldest[partition] if oldest else committed.offset)
            self.early[partition].clear()
        if committed is None:
            begin = self._begin_of(consumer, partition)
            return None if begin is None else Ledger(begin, begin)
        return Ledger.after(committed.offset, decode(committed.offset, committed.metadata))

    def _begin_of(self, consumer: Any, partition: TopicPartition) -> int | None:
        """Where a group begins that never committed. What came already is behind the client's position."""
        if early := self.early[partition]:
            return int(early[0].offset)
        position: int | None = consumer.position(partition, timeout_ms=_TIMEOUT_MS)
        return position
