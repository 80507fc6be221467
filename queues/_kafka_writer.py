"""The thread that sends: every call into a KafkaProducer is made here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from ._kafka_batch import Batch
from ._kafka_client import client
from ._kafka_errors import ERRORS, blames_events, meaning, queue_error
from ._kafka_options import Brokers
from ._kafka_outlet import Outlet
from ._kafka_spread import Spread
from ._kafka_wire import HEADERS, Record
from .clock import Clock
from .errors import CorruptMessage, QueueError

log: Final = logging.getLogger("notification.queues")

_ENVELOPE = 61 + 32 + sum(len(name) + len(value) + 4 for name, value in HEADERS)
"""Bytes around a value and its key: of a batch, a record and its headers."""
_GAVE_UP = (client.KafkaTimeoutError, client.IllegalStateError)
"""What `send` raises when the topic has gone or the client has ended: it would for every record, and take its time."""


class Writer:
    """Sends batches in order. Whatever becomes of one, it is finished."""

    def __init__(self, brokers: Brokers, topic: str, clock: Clock) -> None:
        self._brokers, self._topic = brokers, topic
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"kafka {topic}", daemon=True)
        self._outlet = Outlet(brokers, topic, clock)
        self._spread = Spread(brokers.options.partitioner)
        self._closed = False

    # -- called in an event loop

    @property
    def reason(self) -> BaseException | None:
        """Why there is no connection, if there is none."""
        return self._outlet.reason

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

    def abandon(self) -> None:
        """The same, as soon as the thread finds time for it; nobody waits."""
        self._inbox.put(self._close)

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
            try:
                job()
            except Exception:
                log.exception("%s: a batch was lost sight of", self._brokers.name, extra={"queue": self._topic})

    def _open(self) -> None:
        try:
            self._outlet.prepare(self._topic)
        except ERRORS as error:
            raise meaning(error, self._brokers, unknown=False, opening=True) from error

    def _close(self) -> None:
        self._closed = True
        self._outlet.leave()
        self._inbox.put(None)

    def _write(self, batch: Batch) -> None:
        if not batch.take():
            return
        outlet, topic = self._outlet, batch.topic
        try:
            outlet.prepare(topic)
            batch.places = self._spread.places(batch.records, outlet.count(topic), outlet.led(topic))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            found = queue_error(error, self._brokers, unknown=False)
            batch.finish(dict.fromkeys(range(len(batch.records)), found))
        else:
            with outlet.network.gathering():
                self._fill(batch, range(len(batch.records)))

    def _fill(self, batch: Batch, indexes: Iterable[int]) -> None:
        producer, records, futures, places = self._outlet.producer, batch.records, batch.futures, batch.places
        send, topic, most = producer.send, batch.topic, self._outlet.limit(batch.topic) - _ENVELOPE
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
                self._outlet.broken = True
            except Exception as error:  # noqa: BLE001 - of this record; the others go on
                batch.refused[index] = self._refusal(error, records[index], topic)
        batch.when_done(partial(self._answered, batch, producer))

    def _refusal(self, error: Exception, record: Record, topic: str) -> Exception:
        if isinstance(error, ValueError) and record.partition is not None:
            count = self._outlet.count(topic)
            return CorruptMessage(
                f"there is no partition {record.partition}: the topic {topic!r} has {count}, from 0 on"
            )
        return error

    # -- what became of it

    def _answered(self, batch: Batch, producer: Any) -> None:
        """In the client's thread, mostly."""
        if failed := batch.failed():
            self._outlet.broken = self._outlet.broken or producer is self._outlet.producer
            self._inbox.put(partial(self._judge, batch, failed))
        else:
            batch.finish(self._errors(batch, failed))

    def _judge(self, batch: Batch, failed: dict[int, BaseException]) -> None:
        """The client gave up. When it blames an event, it does that for all that it had; they are sent once more."""
        log.warning(
            "%s: the client gave up on %d events and is made anew: %s",
            self._brokers.name, len(failed), next(iter(failed.values())), extra={"queue": batch.topic},
        )  # fmt: skip
        if not batch.again and not self._closed and any(map(blames_events, failed.values())):
            batch.again = True
            try:
                self._outlet.prepare(batch.topic)
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


def _too_large(value: bytes, most: int) -> CorruptMessage:
    return CorruptMessage(f"event of {len(value)} bytes, its topic takes {most} (max.message.bytes)")


def _answer(answer: asyncio.Future[None], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
