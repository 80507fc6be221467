"""The thread that owns a KafkaProducer: every call into it is made here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from ._kafka_batch import Batch
from ._kafka_client import KafkaProducer, client
from ._kafka_connect import connected
from ._kafka_errors import ERRORS, blames_events, meaning, queue_error
from ._kafka_options import Brokers
from ._kafka_spread import Spread
from ._kafka_target import limit_of
from ._kafka_wire import HEADERS, Record
from .clock import Clock
from .errors import CorruptMessage, QueueError

log: Final = logging.getLogger("notification.queues")

_ENVELOPE = 61 + 32 + sum(len(name) + len(value) + 4 for name, value in HEADERS)
"""Bytes around a value and its key: of a batch, a record and its headers."""
_LEAVE_SECONDS, _FORCE_SECONDS = 1.0, 2.5
_AGAIN_SECONDS = 1.0
"""After a client that could not be made, before the next is tried: no account is locked for many wrong logins."""
_GAVE_UP = (client.KafkaTimeoutError, client.IllegalStateError)
"""What `send` raises when the topic has gone or the client has ended: it would for every record, and take its time."""


class Writer:
    """Fills batches in order. A client that has given up is replaced before the next batch is sent.

    Whatever becomes of a batch, it is finished.
    """

    def __init__(self, brokers: Brokers, topic: str, clock: Clock) -> None:
        self._brokers, self._topic, self._clock = brokers, topic, clock
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kafka {topic}", daemon=True)
        self._producer: Any = None
        self._cluster: Any = None
        self._broken = self._closed = False
        self._limits: dict[str, int] = {}
        self._spread = Spread(brokers.options.partitioner)
        self._failure: tuple[float, Exception] | None = None

    # -- called in an event loop

    async def open(self) -> None:
        """Start, look at the topic, connect. Raises ConfigurationError, QueueUnavailable."""
        self._thread.start()
        await self._ask(self._open)

    def write(self, batch: Batch) -> None:
        """Have it sent, unless it is taken back before."""
        self._inbox.put(partial(self._write, batch))

    async def close(self) -> None:
        """Wait a moment for what is under way, break off the rest, and end. Idempotent."""
        if self._thread.is_alive():
            await self._ask(self._close)

    async def _ask(self, function: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()

        def call() -> None:
            error: BaseException | None = None
            try:
                function()
            except Exception as raised:  # noqa: BLE001 - told to whoever asked
                error = raised
            with contextlib.suppress(RuntimeError):  # its event loop is closed; nobody is left to tell
                loop.call_soon_threadsafe(_answer, answer, error)

        self._inbox.put(call)
        await answer

    # -- the thread

    def _run(self) -> None:
        while (job := self._inbox.get()) is not None:
            job()

    def _open(self) -> None:
        try:
            self._prepare(self._topic)
        except ERRORS as error:
            raise meaning(error, self._brokers, unknown=False, opening=True) from error

    def _close(self) -> None:
        self._closed = True
        self._leave()
        self._inbox.put(None)

    def _write(self, batch: Batch) -> None:
        if not batch.take():
            return
        try:
            self._prepare(batch.topic)
            batch.places = self._places(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            found = queue_error(error, self._brokers, unknown=False)
            batch.finish(dict.fromkeys(range(len(batch.records)), found))
        else:
            with self._network.gathering():
                self._fill(batch, range(len(batch.records)))

    def _fill(self, batch: Batch, indexes: Iterable[int]) -> None:
        producer, records, futures, places = self._producer, batch.records, batch.futures, batch.places
        send, topic, most = producer.send, batch.topic, self._limits[batch.topic] - _ENVELOPE
        gone: BaseException | None = None
        for index in indexes:
            value, key, _ = records[index]
            if gone is not None or len(value) + (len(key) if key else 0) > most:
                batch.refused[index] = gone or _too_large(value, most)
                continue
            try:
                futures[index] = send(topic, value, key, HEADERS, places[index])
            except _GAVE_UP as error:
                batch.refused[index] = gone = error
                self._broken = True
            except Exception as error:  # noqa: BLE001 - of this record; the others go on
                batch.refused[index] = self._refusal(error, records[index], topic)
        batch.when_done(partial(self._answered, batch, producer))

    def _answered(self, batch: Batch, producer: Any) -> None:
        """In the client's thread, mostly."""
        if failed := batch.failed():
            self._broken = self._broken or producer is self._producer
            self._inbox.put(partial(self._judge, batch, failed))
        else:
            batch.finish(self._errors(batch, failed))

    def _judge(self, batch: Batch, failed: dict[int, BaseException]) -> None:
        """The client gave up. When it blames an event, it does that for all that it had; they are sent once more."""
        error = next(iter(failed.values()))
        log.warning(
            "%s: the client gave up on %d events and is made anew: %s",
            self._brokers.name, len(failed), error, extra={"queue": batch.topic},
        )  # fmt: skip
        if not batch.again and not self._closed and any(map(blames_events, failed.values())):
            batch.again = True
            try:
                self._prepare(batch.topic)
            except Exception as reason:  # noqa: BLE001 - there is no other client; it stays with what is known
                log.warning("%s: %s", self._brokers.name, reason, extra={"queue": batch.topic})
            else:
                batch.futures = [None if index in failed else future for index, future in enumerate(batch.futures)]
                self._fill(batch, failed)
                return
        batch.finish(self._errors(batch, failed))

    def _errors(self, batch: Batch, failed: dict[int, BaseException]) -> dict[int, QueueError]:
        refused = {index: queue_error(error, self._brokers, unknown=False) for index, error in batch.refused.items()}
        return refused | {index: queue_error(error, self._brokers, unknown=True) for index, error in failed.items()}

    def _refusal(self, error: Exception, record: Record, topic: str) -> Exception:
        if isinstance(error, ValueError) and record.partition is not None:
            count = len(self._cluster.partitions_for_topic(topic) or ())
            return CorruptMessage(
                f"there is no partition {record.partition}: the topic {topic!r} has {count}, from 0 on"
            )
        return error

    # -- where to

    def _places(self, batch: Batch) -> Sequence[int]:
        count = self._count(batch.topic)
        return self._spread.places(
            batch.records, count, self._cluster.available_partitions_for_topic(batch.topic) or ()
        )

    def _count(self, topic: str) -> int:
        """Asked for each batch: partitions may be added, and a topic removed."""
        if known := self._cluster.partitions_for_topic(topic):
            return len(known)
        try:
            return len(self._producer.partitions_for(topic))
        except client.KafkaTimeoutError:
            del self._limits[topic]
            self._prepare(topic)  # says so if it has gone
            raise

    # -- the client

    def _prepare(self, topic: str) -> None:
        """A client that works, and what there is to know of the topic."""
        if self._broken:
            self._leave()
            self._limits.clear()
        if topic in self._limits and self._producer is not None:
            return
        now = self._clock.monotonic()
        if self._failure is not None and now - self._failure[0] < _AGAIN_SECONDS:
            raise self._failure[1]
        try:
            self._limits[topic] = limit = limit_of(self._brokers, topic)
            if self._producer is None:
                self._connect(limit)
        except ERRORS as error:
            self._failure = now, error
            raise
        self._failure = None

    def _connect(self, limit: int) -> None:
        settings = self._brokers.producer(limit)
        self._producer = connected(KafkaProducer, settings, topics={self._topic, *self._limits})
        self._network = settings["kafka_client"]
        self._cluster = self._network.cluster
        self._broken = False

    def _leave(self) -> None:
        """Let go of the client, which closes itself only when nothing is left to send."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=_LEAVE_SECONDS)
        except ERRORS:
            force = getattr(getattr(producer, "_sender", None), "force_close", None)
            if force is not None:  # the public way ends before it comes to this
                force()
                with contextlib.suppress(*ERRORS):
                    producer.close(timeout=_FORCE_SECONDS)


def _too_large(value: bytes, most: int) -> CorruptMessage:
    return CorruptMessage(f"event of {len(value)} bytes, its topic takes {most} (max.message.bytes)")


def _answer(answer: asyncio.Future[None], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
