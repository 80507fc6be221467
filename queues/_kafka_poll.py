"""The one thread that speaks to the broker for a consumer: polls, commits what is finished, keeps the membership."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from ._kafka_admission import Admission
from ._kafka_assignor import Assignor
from ._kafka_books import Books, Owner, size_of
from ._kafka_client import NOT_OURS, KafkaConsumer, TopicPartition, client
from ._kafka_commits import Commits, accepted, is_final
from ._kafka_connect import connected
from ._kafka_errors import Unreadable
from ._kafka_ledger import Ledger, unfinished
from ._kafka_listener import Listener
from ._kafka_mend import (
    complete_joins,
    give_out_what_was_parked,
    pass_over_what_is_unreadable,
    rest_while_a_heartbeat_is_late,
)
from .clock import Clock

log: Final = logging.getLogger("notification.queues")

_POLL_MS, _BUSY_MS = 100, 10
"""Milliseconds that a poll waits for records; less where somebody waits for a commit, or will in a moment."""
_BUSY_SECONDS = 0.5
_LOOK_EACH = 1.0
"""Seconds between two looks for what is no event at the end of a partition."""
_UNREADABLE = 5.0
_AGAIN = 1.0
"""Seconds until a broker that refused us is asked again."""
_LEAVE_MS = 3000
_REBALANCE_SECONDS = 7.0
"""For the last commit, while a rebalance is under way: it waits for members that have gone without a word."""


@frozen(kw_only=True)
class Subscription:
    """What one consumer reads. settings: makes what the client is told, for each client anew. partitions: exactly
    these, without being a member of the group; empty: its share. most: deliveries of a topic that may be unfinished;
    beyond it stops reading that one. drain: the seconds that handlers get to finish when a partition goes to another
    owner. lease: the session's timeout, seconds. strict: stops reading a partition whose note has no room.
    """

    settings: Callable[[], Mapping[str, Any]]
    topics: Sequence[str]
    partitions: Sequence[int] = ()
    most: int = 10_000
    most_bytes: int = 64 << 20
    drain: float = 5.0
    lease: float = 6.0
    strict: bool = True


class Poller:
    """Runs a consumer in a thread of its own until `leave()`, through outages. It hands over what it reads."""

    def __init__(self, subscription: Subscription, owner: Owner, clock: Clock) -> None:
        self.books: Books = Books()
        self.most: int = subscription.most
        self._subscription, self._owner, self._clock = subscription, owner, clock
        self._listener = Listener(self.books, owner, clock, subscription.drain)
        self._admission = Admission(self.books)
        self._commits = Commits(self.books, owner, clock, subscription.lease)
        self._look_at = self._busy_until = 0.0
        self._stopping = self._rests = False
        self._turn, self._end_of_pause = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kafka-{subscription.topics[0]}", daemon=True)
        self._paused: set[TopicPartition] = set()
        self._unreadable: dict[TopicPartition, float] = {}

    @property
    def full(self) -> set[str]:
        """The topics of which it reads nothing at the moment, because enough is unfinished."""
        return {partition.topic for partition in self._paused - self._admission.early}

    def start(self) -> None:
        """Join the group, or read the partitions given."""
        self._thread.start()

    def prove(self) -> None:
        """Commit now, whether or not there is anything new. Where one is wanted, more are soon."""
        self._busy_until = self._clock.monotonic() + _BUSY_SECONDS
        self._commits.wanted = True
        self._turn.set()

    def go_on(self) -> None:
        """There may be room again."""
        if self._rests:
            self._turn.set()

    def leave(self) -> None:
        """Commit, leave the group and end, which `Owner.ended` tells."""
        self._stopping = self._listener.leaving = True
        self._end_of_pause.set()
        self._turn.set()

    # -- in the thread

    def _run(self) -> None:
        while not self._stopping:
            consumer = None
            try:
                consumer = self._connected()
                self._begin(consumer)
                while not self._stopping:
                    self._once(consumer)
            except Exception as error:  # noqa: BLE001 - what the client raises is not told by its types
                self._owner.failed(error)
                self._end_of_pause.wait(_AGAIN)
            finally:
                self._end(consumer)
        self._owner.ended()

    def _connected(self) -> Any:
        assignor = Assignor()
        settings = {**self._subscription.settings(), "partition_assignment_strategy": [assignor]}
        assignor.consumer = connected(KafkaConsumer, settings, topics=self._subscription.topics)
        return assignor.consumer

    def _begin(self, consumer: Any) -> None:
        topics, partitions = self._subscription.topics, self._subscription.partitions
        self._listener.consumer = consumer
        give_out_what_was_parked(consumer)
        pass_over_what_is_unreadable(consumer, self._is_unreadable)
        if not partitions:
            consumer.subscribe(list(topics), listener=self._listener)
            complete_joins(consumer)
            rest_while_a_heartbeat_is_late(consumer)
            return
        consumer.assign([TopicPartition(topics[0], number) for number in partitions])

    def _end(self, consumer: Any) -> None:
        """Leave in good order; where that fails, the broker ends the membership by itself."""
        for step in (self._leave, _close) if consumer is not None else ():
            try:
                step(consumer)
            except Exception as error:  # noqa: BLE001 - as above
                log.debug("leaving the group: %s", type(error).__name__, extra={"topic": self._subscription.topics[0]})
        self.books.drop(list(self.books.ledgers))
        self._commits.forget()
        self._paused.clear()
        self._owner.changed()

    def _leave(self, consumer: Any) -> None:
        """The last commit; while others come and go it is refused, and made again."""
        began = self._clock.monotonic()
        until = began + _LEAVE_MS / 1000
        while self.books.ledgers and self._clock.monotonic() < until:
            commit = consumer.commit_async(self.books.last_commits(list(self.books.ledgers)))
            while not commit.is_done and self._clock.monotonic() < until:
                _stay(consumer, _BUSY_MS)
            if not commit.is_done or accepted(commit) or is_final(commit):
                return
            if isinstance(commit.exception, client.RebalanceInProgressError):
                until = began + _REBALANCE_SECONDS
            _stay(consumer, 2 * _BUSY_MS)

    def _once(self, consumer: Any) -> None:
        self._turn.clear()
        self._pause(consumer)
        records = consumer.poll(timeout_ms=self._patience())
        if foreign := self.books.foreign_to(consumer.group_metadata().member_id):
            self._lost(foreign)
        self._admission.expect(consumer.assignment())
        self._hand(records)
        if self._admission.early:
            self._admission.read(consumer)
            self._commits.wanted = True
        if not records and self._clock.monotonic() >= self._look_at:
            self._look(consumer)
        self._admission.admitted(self._commits.step(consumer))
        if self._rests and not records:
            self._turn.wait(_POLL_MS / 1000)

    def _lost(self, partitions: Sequence[TopicPartition]) -> None:
        """The group has expelled us, which the client tells nobody when it gets the same partitions again."""
        self.books.drop(partitions)
        self._owner.changed()

    def _patience(self) -> int:
        if self._rests:
            return 0
        return _BUSY_MS if self._commits.hurried or self._clock.monotonic() < self._busy_until else _POLL_MS

    def _pause(self, consumer: Any) -> None:
        """Stop reading where enough is unfinished; keeps the membership, and what was fetched."""
        assigned, early = consumer.assignment(), self._admission.early
        with self.books.lock:
            full = {one for one in assigned if one in early or self._is_full(one)}
        self._rests = bool(full) and full >= assigned and not early
        self._paused = full
        paused = consumer.paused()  # what we paused and were assigned anew meanwhile is not
        _each(consumer.pause, full - paused)
        _each(consumer.resume, (paused - full) & assigned)

    def _is_full(self, partition: TopicPartition) -> bool:
        books, subscription = self.books, self._subscription
        if self._unreadable.get(partition, 0.0) > self._clock.monotonic():
            return True
        ledger = books.ledgers.get(partition)
        if ledger is not None and ledger.cut and subscription.strict:
            return True
        bound = self.most // 2 if partition in self._paused else self.most
        same = (one for where, one in books.ledgers.items() if where.topic == partition.topic)
        return books.bytes_waiting > subscription.most_bytes or unfinished(same) > bound

    def _is_unreadable(self, partition: TopicPartition, error: Exception) -> None:
        """It is tried again after a while: what is missing may be installed, or the events be gone."""
        self._unreadable[partition] = self._clock.monotonic() + _UNREADABLE
        log.error(
            "partition %d of %s can't be read on, which is tried again and again: %s: %s",
            partition.partition, partition.topic, type(error).__name__, error, extra={"topic": partition.topic},
        )  # fmt: skip
        found = Unreadable(f"partition {partition.partition}: {type(error).__name__}: {error}")
        found.__cause__ = error
        self._owner.failed(found)

    def _hand(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        now: dict[TopicPartition, tuple[Ledger, Sequence[Any]]] = {}
        with self.books.lock:
            for partition, batch in records.items():
                ledger = self.books.ledgers.get(partition)
                if ledger is None or partition in self._admission.early or not batch:
                    continue
                if new := ledger.deliver(batch):
                    now[partition] = ledger, new
                    self.books.bytes_waiting += sum(map(size_of, new))
        if now:
            self._owner.deliver(now)

    def _look(self, consumer: Any) -> None:
        """Pass by what is no event at the end of a partition: the marks of transactions."""
        self._look_at = self._clock.monotonic() + _LOOK_EACH
        known = consumer.assignment() - self._admission.early
        with self.books.lock:
            idle = [(one, ledger) for one, ledger in self.books.ledgers.items() if not ledger.window and one in known]
        for partition, ledger in idle:
            with suppress(*NOT_OURS):
                if (position := consumer.position(partition, timeout_ms=0)) is not None:
                    with self.books.lock:
                        ledger.reached(position)


def _each(call: Callable[[TopicPartition], None], partitions: Iterable[TopicPartition]) -> None:
    """Do it with those that are still ours."""
    for partition in partitions:
        with suppress(*NOT_OURS):
            call(partition)


def _stay(consumer: Any, milliseconds: int) -> None:
    """Read nothing, and keep the membership."""
    _each(consumer.pause, consumer.assignment())
    consumer.poll(timeout_ms=milliseconds)


def _close(consumer: Any) -> None:
    consumer.close(autocommit=False, timeout_ms=_LEAVE_MS)
