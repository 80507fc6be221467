"""Partitions that are new to us: nothing of them is handed out until the broker knows that they are ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from ._kafka_books import Books
from ._kafka_client import NOT_OURS, TopicPartition, client
from ._kafka_ledger import Ledger
from ._kafka_mend import forget_old_answers
from ._kafka_metadata import decode

_TIMEOUT_MS = 500


class Admission:
    """Before anything of a partition is handed out, what the last owner left behind is read, and that it is ours is
    committed: else nobody would know of our death.
    """

    def __init__(self, books: Books) -> None:
        self.early: set[TopicPartition] = set()
        """Those that are not admitted yet: what comes of them is read again."""
        self._books = books

    def expect(self, ours: set[TopicPartition]) -> None:
        """Look at what has come and gone. ours: all that is assigned.

        What is new shows by its having no books. The client tells of it too late for that: while it waits for what it
        gives up it has the new ones already, and reads them.
        """
        self.early &= ours
        self.early |= self._books.without(ours)

    def read(self, consumer: Any) -> None:
        """Open the books of those that have none, unless they are taken from us meanwhile."""
        for partition in self._books.without(self.early):
            if (ledger := _ledger(consumer, partition)) is None:
                continue
            ledger.member = consumer.group_metadata().member_id
            with contextlib.suppress(*NOT_OURS):
                consumer.seek(partition, ledger.low)  # wherever the client thinks that it is
                self._books.open(partition, ledger)
            if partition not in consumer.assignment():
                self._books.drop([partition])

    def admitted(self, partitions: Iterable[TopicPartition]) -> None:
        """The broker knows of these."""
        self.early.difference_update(partitions)


def _ledger(consumer: Any, partition: TopicPartition) -> Ledger | None:
    """None: the coordinator takes its time, and is asked again."""
    forget_old_answers(consumer)
    try:
        committed = consumer.committed(partition, metadata=True, timeout_ms=_TIMEOUT_MS)
        if committed is not None:
            return Ledger.after(committed.offset, decode(committed.offset, committed.metadata))
        oldest = consumer.beginning_offsets([partition], timeout_ms=_TIMEOUT_MS)[partition]
    except client.KafkaTimeoutError:
        return None
    return Ledger(oldest, oldest)
