"""A KafkaProducer that is replaced when it has given up, and what there is to know of the topics it writes to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from ._kafka_client import KafkaProducer, TopicPartition, client
from ._kafka_connect import Network, connected
from ._kafka_errors import ERRORS
from ._kafka_mend import rest_while_nobody_answers, tell_why
from ._kafka_options import Brokers
from ._kafka_pack import Pack, keep_whole, pack
from ._kafka_target import limit_of
from ._kafka_wire import Record
from .clock import Clock

_LEAVE_SECONDS, _FORCE_SECONDS = 1.0, 2.5
_AGAIN_SECONDS = 1.0
"""After a client that could not be made, before the next is tried: no account is locked for many wrong logins."""


class Outlet:
    """Used by one thread. Its methods block, and raise what the client raises, or ConfigurationError.

    producer: the client, once `prepare` has returned. broken: set, from any thread, when it has given up; then the next
    `prepare` replaces it. troubles: by topic, why it last sent something again.
    """

    def __init__(self, brokers: Brokers, topic: str, clock: Clock) -> None:
        self.producer: Any = None
        self.broken = False
        self._brokers, self._topic, self._clock = brokers, topic, clock
        self._network: Network | None = None
        self._limits: dict[str, int] = {}
        self._failure: tuple[float, Exception] | None = None
        self.troubles: dict[str, Exception] = {}

    @property
    def network(self) -> Network:
        """That of the client."""
        assert self._network is not None
        return self._network

    @property
    def reason(self) -> BaseException | None:
        """Why there is no connection, if there is none. From any thread."""
        network = self._network
        return None if network is None else network.reason

    def prepare(self, topic: str) -> None:
        """A client that works, and what there is to know of the topic."""
        if self.broken:
            self.leave()
            self._limits.clear()
        if topic in self._limits and self.producer is not None:
            return
        now = self._clock.monotonic()
        if self._failure is not None and now - self._failure[0] < _AGAIN_SECONDS:
            raise self._failure[1]
        try:
            self._limits[topic] = limit_of(self._brokers, topic)
            if self.producer is None:
                self._connect()
        except ERRORS as error:
            self._failure = now, error
            raise
        self._failure = None

    def limit(self, topic: str) -> int:
        """The most bytes that a prepared topic takes in a batch."""
        return self._limits[topic]

    def count(self, topic: str) -> int:
        """Its partitions. Asked for each batch: some may be added, and a topic removed, which it says."""
        if known := self.network.cluster.partitions_for_topic(topic):
            return len(known)
        try:
            return len(self.producer.partitions_for(topic))
        except client.KafkaTimeoutError:
            del self._limits[topic]
            self.prepare(topic)
            raise

    def led(self, topic: str) -> Iterable[int]:
        """Those of its partitions that have a leader now."""
        found: set[int] | None = self.network.cluster.available_partitions_for_topic(topic)
        return found or ()

    def pack(self, topic: str, place: int, records: Sequence[Record], indexes: Sequence[int]) -> list[Pack]:
        """Give the client those of the records, for a partition that exists. Raises what the client raises."""
        now = int(self._clock.now().timestamp() * 1000)
        return pack(self.producer, TopicPartition(topic, place), records, indexes, now)

    def wake(self) -> None:
        """Have the client send what it was given."""
        self.network.wake()

    def leave(self) -> None:
        """Wait a moment for what is under way, break off the rest, let go of the client. Idempotent."""
        producer, self.producer = self.producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=_LEAVE_SECONDS)
        except ERRORS:  # it closes itself only when nothing is left to send
            force = getattr(getattr(producer, "_sender", None), "force_close", None)
            if force is not None:
                force()
                with contextlib.suppress(*ERRORS):
                    producer.close(timeout=_FORCE_SECONDS)

    def _connect(self) -> None:
        settings = self._brokers.producer(min(self._limits.values()))
        self.producer = connected(KafkaProducer, settings, topics={self._topic, *self._limits})
        keep_whole(self.producer)
        tell_why(self.producer, self.troubles.__setitem__)
        rest_while_nobody_answers(self.producer)
        self._network, self.broken = settings["kafka_client"], False
