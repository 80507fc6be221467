"""Into topics: batches of records, each sent once, however often it is asked for while its fate is open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ._kafka_batch import Batch
from ._kafka_errors import trouble_with
from ._kafka_options import Brokers
from ._kafka_wire import Record, record_of
from ._kafka_writer import Writer
from .clock import Clock, patience
from .errors import CorruptMessage, QueueClosed, QueueError, QueueUnavailable, escape
from .message import Message

_MOST_BYTES = 64 << 20
"""Of records whose fate is open, while brokers are away: one more batch is refused."""
_CLOSE_SECONDS = 10.0
_Place = tuple[Batch, int]


class Producer:
    """Writes to topics, to `topic` mostly. An answer is waited for `?timeout=` seconds: then the wait ends, not the
    sending, and the records are *held*. The same records asked for again meanwhile wait for the same sending.

    Callers may be cancelled: their records go on, held too, and nobody else is touched.
    """

    def __init__(self, brokers: Brokers, topic: str, clock: Clock) -> None:
        self._brokers, self._topic = brokers, topic
        self._writer = Writer(brokers, topic, clock)
        self._held: dict[tuple[str, Record], _Place] = {}
        self._weight = 0
        self._state = "not open yet"

    async def open(self) -> None:
        """Look at the topic and connect. Raises ConfigurationError when it is missing, QueueUnavailable without a
        broker.
        """
        seconds = 2 * self._brokers.connect_timeout + 1
        try:
            async with patience(seconds):
                await self._writer.open()
        except TimeoutError:
            self._writer.abandon()
            raise QueueUnavailable(f"{self._brokers.name} gave no answer within {seconds:g} s") from None
        except BaseException:
            await self.close()
            raise
        self._state = "open"

    async def close(self) -> None:
        """Wait a moment for what is under way; the fate of what is left then stays unknown. Idempotent."""
        self._state = "closed"
        try:
            async with patience(_CLOSE_SECONDS):
                await self._writer.close()
        except TimeoutError:
            return  # its thread is stuck in the client, and ends with the process

    async def store(
        self, messages: Sequence[Message], timeout: float | None = None, *, beside: str | None = None
    ) -> dict[int, QueueError]:
        """Have messages stored in the topic. Returns why some were not, by index: {} when all are.

        timeout: as in `push`, for room; a topic has no end of it. beside: in this topic instead, where the partition
        that a message names means nothing.
        """
        errors: dict[int, QueueError] = {}
        records: list[Record] = []
        for index, message in enumerate(messages):
            try:
                record = record_of(message)
                records.append(record if beside is None else record._replace(partition=None))
            except CorruptMessage as error:
                errors[index] = error
        failed = await self.send(beside or self._topic, records, timeout)
        if not errors:
            return failed
        stored = [index for index in range(len(messages)) if index not in errors]
        return errors | {stored[at]: error for at, error in failed.items()}

    async def send(self, topic: str, records: Sequence[Record], timeout: float | None = None) -> dict[int, QueueError]:
        """The same with records, for any topic."""
        if self._state != "open":
            raise QueueClosed(f"{self._brokers.name} is {self._state}")
        if not records:
            return {}
        if self._held:
            return await self._send_rest(topic, records)
        if (batch := self._begin(topic, records)) is None:
            return dict.fromkeys(range(len(records)), self._crowded())
        await self._wait([batch])
        return batch.errors if batch.over.done() else self._so_far([(batch, index) for index in range(len(records))])

    async def _send_rest(self, topic: str, records: Sequence[Record]) -> dict[int, QueueError]:
        """Send those that are not held already, and wait for all."""
        places = [self._held.get((topic, record)) for record in records]
        rest = [index for index, place in enumerate(places) if place is None]
        batch = self._begin(topic, [records[index] for index in rest]) if rest else None
        for at, index in enumerate(rest):
            places[index] = (batch, at) if batch is not None else None
        known = {index: place for index, place in enumerate(places) if place is not None}
        await self._wait({place[0] for place in known.values()})
        found = self._so_far(list(known.values()))
        errors = {index: found[at] for at, index in enumerate(known) if at in found}
        return errors | {index: self._crowded() for index in rest if batch is None}

    def _begin(self, topic: str, records: Sequence[Record]) -> Batch | None:
        if self._weight >= _MOST_BYTES:
            return None
        batch = Batch(topic, records)
        self._weight += batch.weight
        batch.over.add_done_callback(lambda _: self._forget(batch))
        self._writer.write(batch)
        return batch

    async def _wait(self, batches: Iterable[Batch]) -> None:
        """Until all are over or time is."""
        try:
            async with patience(self._brokers.options.timeout):
                for batch in batches:
                    await asyncio.shield(batch.over)
        except TimeoutError:
            self._hold(batches)
        except BaseException:
            self._hold(batches)
            raise

    def _hold(self, batches: Iterable[Batch]) -> None:
        """Take back what was not sent yet; keep in mind what was."""
        for batch in batches:
            if batch.over.done():
                continue
            if batch.take():
                unsent = QueueUnavailable(f"{self._brokers.name} is busy or away; nothing was sent")
                batch.end(dict.fromkeys(range(len(batch.records)), unsent))
            else:
                self._held |= {
                    (batch.topic, record): (batch, index)
                    for index, record in enumerate(batch.records)
                    if not batch.is_stored(index)
                }

    def _forget(self, batch: Batch) -> None:
        self._weight -= batch.weight
        if self._held:
            for record in batch.records:
                if (place := self._held.get((batch.topic, record))) is not None and place[0] is batch:
                    del self._held[batch.topic, record]

    def _so_far(self, places: Sequence[_Place]) -> dict[int, QueueError]:
        errors: dict[int, QueueError] = {}
        for at, (batch, index) in enumerate(places):
            if batch.over.done():
                if index in batch.errors:
                    errors[at] = batch.errors[index]
            elif not batch.is_stored(index):
                errors[at] = self._unknown(batch.topic)
        return errors

    def _unknown(self, topic: str) -> QueueUnavailable:
        said = f"{self._brokers.name} gave no answer within {self._brokers.options.timeout:g} s"
        if reason := self._writer.reason:
            said += f" ({escape(str(reason), 300)})"
        if trouble := self._writer.trouble(topic):
            said += f": {trouble_with(topic, trouble, self._brokers)}"
        return QueueUnavailable(said, may_have_been_stored=True)

    def _crowded(self) -> QueueUnavailable:
        return QueueUnavailable(
            f"{self._brokers.name} is away, and {_MOST_BYTES >> 20} MiB of events wait for its answer; nothing was sent"
        )
