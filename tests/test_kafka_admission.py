"""Partitions that are new: until their books are open, what the client brings of them is read again."""

from __future__ import annotations

from queues._kafka_admission import Admission
from queues._kafka_books import Books
from queues._kafka_client import TopicPartition
from queues._kafka_ledger import Ledger

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Stage:
    """An admission and its books."""

    def __init__(self) -> None:
        self.books = Books()
        self.admission = Admission(self.books)

    def early(self, *ours: TopicPartition) -> set[TopicPartition]:
        self.admission.expect(set(ours))
        return self.admission.early


def test_a_partition_without_books_is_early_whoever_told_of_it() -> None:
    """A client that was expelled may have it again without a word; what it brings of it would be passed over."""
    stage = Stage()
    assert stage.early(A, B) == {A, B}
    stage.books.open(A, Ledger(0, 0))
    stage.admission.admitted([A])
    assert stage.early(A, B) == {B}
    stage.books.drop([A])
    assert stage.early(A, B) == {A, B}


def test_a_partition_that_is_gone_is_not_early() -> None:
    """Nobody waits for it."""
    stage = Stage()
    assert stage.early(A, B) == {A, B}
    assert stage.early(B) == {B}


def test_a_partition_with_books_stays_early_until_the_broker_knows() -> None:
    """Opening them is not enough."""
    stage = Stage()
    assert stage.early(A) == {A}
    stage.books.open(A, Ledger(0, 0))
    assert stage.early(A) == {A}
    stage.admission.admitted([A])
    assert stage.early(A) == set()
