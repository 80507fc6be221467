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
from ._kafka_errors import ERRORS, blames_events, meaning, queue_error
from ._kafka_options import Brokers
from ._kafka_outlet import Outlet
from ._kafka_pack import ENVELOPE
from ._kafka_spread import Spread
from .clock import Clock
from .errors import CorruptMessage, QueueError

log: Final = logging.getLogger("notification.queues")


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

    def trouble(self, topic: str) -> BaseException | None:
        """Why events for a topic are sent again and again, if they are."""
        return self._outlet.troubles.get(topic)

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
            count = outlet.count(topic)
            batch.places = self._spread.places(batch.records, count, outlet.led(topic))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            found = queue_error(error, self._brokers, unknown=False)
            batch.finish(dict.fromkeys(range(len(batch.records)), found))
        else:
            self._fill(batch, range(len(batch.records)), count)

    def _fill(self, batch: Batch, indexes: Iterable[int], count: int) -> None:
        """Give the client those of its records, for a topic of `count` partitions."""
        producer, records, places = self._outlet.producer, batch.records, batch.places
        most = self._outlet.limit(batch.topic) - ENVELOPE
        chosen: dict[int, list[int]] = {}
        for index in indexes:
            value, key, _ = records[index]
            if len(value) + (len(key) if key else 0) > most:
                batch.refused[index] = _too_large(value, most)
            elif not 0 <= (place := places[index]) < count:
                batch.refused[index] = _nowhere(place, batch.topic, count)
            else:
                chosen.setdefault(place, []).append(index)
        for place, those in chosen.items():
            try:
                batch.packs += self._outlet.pack(batch.topic, place, records, those)
            except Exception as error:  # noqa: BLE001 - the client has ended, or lost its way
                batch.refused |= dict.fromkeys(those, error)
                self._outlet.broken = True
        self._outlet.wake()
        batch.when_done(partial(self._answered, batch, producer))

    # -- what became of it

    def _answered(self, batch: Batch, producer: Any) -> None:
        """In the client's thread, mostly."""
        if failed := batch.failed():
            self._outlet.broken = self._outlet.broken or producer is self._outlet.producer
            self._inbox.put(partial(self._judge, batch, failed))
        else:
            self._outlet.troubles.pop(batch.topic, None)
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
                count = self._outlet.count(batch.topic)
            except Exception as reason:  # noqa: BLE001 - there is no other client; it stays with what is known
                log.warning("%s: %s", self._brokers.name, reason, extra={"queue": batch.topic})
            else:
                batch.packs = [one for one in batch.packs if one.is_stored]
                self._fill(batch, failed, count)
                return
        batch.finish(self._errors(batch, failed))

    def _errors(self, batch: Batch, failed: dict[int, BaseException]) -> dict[int, QueueError]:
        refused = {index: queue_error(error, self._brokers, unknown=False) for index, error in batch.refused.items()}
        return refused | {index: queue_error(error, self._brokers, unknown=True) for index, error in failed.items()}


def _too_large(value: bytes, most: int) -> CorruptMessage:
    return CorruptMessage(f"event of {len(value)} bytes, its topic takes {most} (max.message.bytes)")


def _nowhere(place: int, topic: str, count: int) -> CorruptMessage:
    return CorruptMessage(f"there is no partition {place}: the topic {topic!r} has {count}, from 0 on")


def _answer(answer: asyncio.Future[None], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
