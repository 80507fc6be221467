"""The one thread that speaks to the broker for a consumer: polls, commits what is finished, keeps the membership."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from attrs import define, field, frozen

from ._kafka_client import KafkaConsumer, OffsetAndMetadata, TopicPartition, client
from ._kafka_connect import connected
from ._kafka_ledger import Ledger, unfinished
from ._kafka_listener import Listener
from ._kafka_mend import complete_joins
from ._kafka_metadata import decode
from .clock import Clock

log: Final = logging.getLogger("notification.queues")

Records = Mapping[TopicPartition, Sequence[Any]]
_POLL, _POLL_BUSY = 100, 10
"""Milliseconds that a poll waits for records; less where somebody waits for a commit."""
_COMMIT_EACH = 0.05
"""Seconds between two commits."""
_LOOK_EACH = 1.0
"""Seconds between two looks for what is no event at the end of a partition."""
_AGAIN = 1.0
"""Seconds until a broker that refused us is asked again."""
_LEAVE_MS = 3000


@frozen(kw_only=True)
class Subscription:
    """What one consumer reads. partitions: exactly these, without being a member of the group; empty: its share.

    most: deliveries of a topic that may be unfinished; beyond it stops reading that one. drain: the seconds that
    handlers get to finish when a partition goes to another owner. lease: the session's timeout, seconds. strict: stops
    reading a partition whose note has no room.
    """

    settings: Mapping[str, Any]
    topics: Sequence[str]
    partitions: Sequence[int] = ()
    most: int = 10_000
    most_bytes: int = 64 << 20
    drain: float = 5.0
    lease: float = 10.0
    strict: bool = True


class Owner(Protocol):
    """The side of the event loop; each of these is called in the thread and returns at once."""

    def deliver(self, records: Mapping[TopicPartition, tuple[Ledger, Sequence[Any]]]) -> None:
        """These came."""

    def changed(self) -> None:
        """Partitions were taken from us."""

    def proved(self, began: float) -> None:
        """A commit that was sent at this time of the clock was accepted: the membership held then."""

    def failed(self, error: Exception) -> None:
        """The broker refuses us; it is asked again."""

    def ended(self) -> None:
        """The thread is at its end."""


@define(eq=False)
class Books:
    """The ledgers of what is assigned, for all threads under one lock."""

    lock: threading.Lock = field(factory=threading.Lock)
    ledgers: dict[TopicPartition, Ledger] = field(factory=dict)
    bytes_waiting: int = 0

    def drop(self, partitions: Sequence[TopicPartition]) -> None:
        """They are no longer ours."""
        with self.lock:
            for partition in partitions:
                if (ledger := self.ledgers.pop(partition, None)) is not None:
                    ledger.over = True

    def commits(self, *, all_of_them: bool = False) -> dict[TopicPartition, OffsetAndMetadata]:
        """What there is to commit."""
        with self.lock:
            return {
                partition: OffsetAndMetadata(*ledger.commit(), -1)
                for partition, ledger in self.ledgers.items()
                if ledger.dirty or all_of_them
            }

    def leave(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """The last commit for these."""
        with self.lock:
            return {
                one: OffsetAndMetadata(*self.ledgers[one].commit(leaving=True), -1)
                for one in partitions
                if one in self.ledgers
            }

    def failed(self, partitions: Sequence[TopicPartition]) -> None:
        """What was to be committed for these was not."""
        with self.lock:
            for partition in partitions:
                if partition in self.ledgers:
                    self.ledgers[partition].dirty = True


class _Commit(NamedTuple):
    future: Any
    partitions: Sequence[TopicPartition]
    began: float


class Poller:
    """Runs a consumer in a thread of its own until `leave()`, through outages. It hands over what it reads."""

    def __init__(self, subscription: Subscription, owner: Owner, clock: Clock) -> None:
        self.books: Books = Books()
        self.most: int = subscription.most
        self._subscription, self._owner, self._clock = subscription, owner, clock
        self._listener = Listener(self.books, owner, clock, subscription.drain)
        self._commit: _Commit | None = None
        self._commit_at = self._look_at = self._proved_at = 0.0
        self._wanted = self._again = self._stopping = self._rests = False
        self._turn = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kafka-{subscription.topics[0]}", daemon=True)
        self._early: dict[TopicPartition, list[Any]] = {}
        self._paused: set[TopicPartition] = set()

    @property
    def full(self) -> set[str]:
        """The topics of which it reads nothing at the moment, because enough is unfinished."""
        return {partition.topic for partition in self._paused}

    def start(self) -> None:
        """Join the group, or read the partitions given."""
        self._thread.start()

    def prove(self) -> None:
        """Commit now, whether or not there is anything new."""
        self._wanted = True
        self._turn.set()

    def go_on(self) -> None:
        """There is room again."""
        self._turn.set()

    def leave(self) -> None:
        """Commit, leave the group and end, which `Owner.ended` tells."""
        self._stopping = self._listener.leaving = True
        self._turn.set()

    # -- in the thread

    def _run(self) -> None:
        while not self._stopping:
            consumer = None
            try:
                consumer = connected(KafkaConsumer, self._subscription.settings, topics=self._subscription.topics)
                self._begin(consumer)
                while not self._stopping:
                    self._once(consumer)
            except Exception as error:  # noqa: BLE001 - what the client raises is not told by its types
                self._owner.failed(error)
                self._turn.wait(_AGAIN)
            finally:
                self._end(consumer)
        self._owner.ended()

    def _begin(self, consumer: Any) -> None:
        topics, partitions = self._subscription.topics, self._subscription.partitions
        self._listener.consumer = consumer
        if not partitions:
            consumer.subscribe(list(topics), listener=self._listener)
            complete_joins(consumer)
            return
        ours = [TopicPartition(topics[0], number) for number in partitions]
        consumer.assign(ours)
        self._listener.assigned.extend(ours)

    def _end(self, consumer: Any) -> None:
        """Leave in good order; where that fails, the broker ends the membership by itself."""
        if consumer is not None:
            try:
                self._leave(consumer)
                consumer.close(autocommit=False, timeout_ms=_LEAVE_MS)
            except Exception as error:  # noqa: BLE001 - as above
                log.debug("leaving the group: %s", type(error).__name__, extra={"topic": self._subscription.topics[0]})
        self.books.drop(list(self.books.ledgers))
        self._listener.assigned.clear()
        self._listener.gone.clear()
        self._early.clear()
        self._paused.clear()
        self._commit = None
        self._owner.changed()

    def _leave(self, consumer: Any) -> None:
        """The last commit; while others come and go it is refused, and made again."""
        until = self._clock.monotonic() + _LEAVE_MS / 1000
        while self.books.ledgers and self._clock.monotonic() < until:
            commit = consumer.commit_async(self.books.leave(list(self.books.ledgers)))
            while not commit.is_done and self._clock.monotonic() < until:
                consumer.pause(*consumer.assignment())
                consumer.poll(timeout_ms=_POLL_BUSY)
            if commit.is_done and commit.exception is None:
                return

    def _once(self, consumer: Any) -> None:
        self._turn.clear()
        self._pause(consumer)
        records = consumer.poll(timeout_ms=self._patience())
        if self._listener.assigned or self._early:
            self._expect(consumer)
        if records:
            self._hand(records)
        if self._early:
            self._admit(consumer)
        if not records and self._clock.monotonic() >= self._look_at:
            self._look(consumer)
        self._keep_committed(consumer)
        if self._rests and not records:
            self._turn.wait(_POLL / 1000)

    def _patience(self) -> int:
        if self._rests:
            return 0
        return _POLL_BUSY if self._wanted or self._early else _POLL

    def _pause(self, consumer: Any) -> None:
        """Stop reading where enough is unfinished; keeps the membership, and what was fetched."""
        with self.books.lock:
            full = {one for one in consumer.assignment() if one in self._early or self._is_full(one)}
        self._rests = bool(full) and full >= consumer.assignment()
        if full != self._paused:
            if begin := full - self._paused:
                consumer.pause(*begin)
            if end := (self._paused - full) & consumer.assignment():
                consumer.resume(*end)
            self._paused = full

    def _is_full(self, partition: TopicPartition) -> bool:
        books, subscription = self.books, self._subscription
        ledger = books.ledgers.get(partition)
        if ledger is not None and ledger.cut and subscription.strict:
            return True
        bound = self.most // 2 if partition in self._paused else self.most
        same = (one for where, one in books.ledgers.items() if where.topic == partition.topic)
        return books.bytes_waiting > subscription.most_bytes or unfinished(same) > bound

    def _hand(self, records: Records) -> None:
        now: dict[TopicPartition, tuple[Ledger, Sequence[Any]]] = {}
        with self.books.lock:
            for partition, batch in records.items():
                ledger = self.books.ledgers.get(partition)
                if partition in self._early:
                    self._early[partition] += batch
                elif ledger is not None and batch and (new := ledger.deliver(batch)):
                    now[partition] = ledger, new
        if now:
            self._owner.deliver(now)

    # -- what is new to us

    def _expect(self, consumer: Any) -> None:
        """What comes of partitions that are new to us is kept until they are admitted."""
        while self._listener.gone:
            self._early.pop(self._listener.gone.popleft(), None)
        while self._listener.assigned:
            self._early.setdefault(self._listener.assigned.popleft(), [])
        self._early = {one: early for one, early in self._early.items() if one in consumer.assignment()}

    def _admit(self, consumer: Any) -> None:
        """Read what the last owner left behind, and say that we have it, before anything of it is handed out."""
        for partition in self._early:
            if partition not in self.books.ledgers and (ledger := self._read(consumer, partition)) is not None:
                with self.books.lock:
                    self.books.ledgers[partition] = ledger
        self._wanted = True

    def _read(self, consumer: Any, partition: TopicPartition) -> Ledger | None:
        committed = consumer.committed(partition, metadata=True, timeout_ms=_LEAVE_MS)
        if committed is None:
            begin = self._begin_of(consumer, partition)
            return None if begin is None else Ledger(begin, begin)
        note = decode(committed.offset, committed.metadata)
        return Ledger.after(committed.offset, note, self._subscription.most)

    def _begin_of(self, consumer: Any, partition: TopicPartition) -> int | None:
        """Where a group begins that never committed. What came already is behind the client's position."""
        if early := self._early[partition]:
            return int(early[0].offset)
        position: int | None = consumer.position(partition, timeout_ms=_LEAVE_MS)
        return position

    def _admitted(self, partitions: Sequence[TopicPartition]) -> None:
        early = {one: self._early.pop(one) for one in partitions if one in self._early}
        if any(early.values()):
            self._hand(early)

    # -- what is finished

    def _keep_committed(self, consumer: Any) -> None:
        now = self._clock.monotonic()
        if self._commit is not None:
            if not self._commit.future.is_done:
                return
            self._committed(self._commit)
        held = bool(self.books.ledgers)
        stale = held and now - self._proved_at > self._subscription.lease / 3
        if not (self._wanted or stale or now >= self._commit_at):
            return
        wanted, self._wanted, self._again = self._wanted or self._again, False, False
        commits = self.books.commits(all_of_them=wanted or stale)
        if commits:
            self._commit = _Commit(consumer.commit_async(commits), list(commits), now)
        elif wanted:
            self._owner.proved(now)  # nothing is ours: nothing to be in doubt of
        self._commit_at = now + _COMMIT_EACH

    def _committed(self, commit: _Commit) -> None:
        self._commit = None
        if commit.future.exception is None:
            self._proved_at = commit.began
            self._owner.proved(commit.began)
            if self._early:
                self._admitted(commit.partitions)
            return
        self.books.failed(commit.partitions)
        self._again = True
        if not isinstance(commit.future.exception, client.KafkaError):
            raise commit.future.exception

    def _look(self, consumer: Any) -> None:
        """Pass by what is no event at the end of a partition: the marks of transactions."""
        self._look_at = self._clock.monotonic() + _LOOK_EACH
        known = consumer.assignment() - self._early.keys()  # what came of those was not entered yet
        idle = [one for one, ledger in self.books.ledgers.items() if not ledger.window and one in known]
        for partition in idle:
            position = consumer.position(partition, timeout_ms=0)
            if position is not None:
                with self.books.lock:
                    self.books.ledgers[partition].reached(position)
