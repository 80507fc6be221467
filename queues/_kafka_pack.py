"""Records into a client's batches, many at once: its own way of adding one takes longer than all the rest of a push.

Source of the format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ._kafka_client import MemoryRecordsBuilder, ProducerBatch, client
from ._kafka_wire import HEADERS, Record

_HEAD = 61
"""Bytes of a batch before its first record."""
_ROOM = 5 + 10 + 5 + 1 + 5 + 5
"""Bytes of a record around its key, its value and its headers, at most."""


def _varint(number: int) -> bytes:
    rest = number << 1 ^ number >> 63
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


_VARINTS = [_varint(number) for number in range(4096)]
_NO_KEY = _varint(-1)


def _number(number: int) -> bytes:
    return _VARINTS[number] if 0 <= number < len(_VARINTS) else _varint(number)


_TAIL = _number(len(HEADERS)) + b"".join(
    _number(len(name)) + name.encode() + _number(len(value)) + value for name, value in HEADERS
)
ENVELOPE = _HEAD + _ROOM + len(_TAIL)
"""Bytes around a key and a value, when they have a batch for themselves; at most."""


class Pack:
    """Records of one batch of the client: they are stored together or not at all. From any thread."""

    def __init__(self, batch: Any, first: int, indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self._batch, self._first = batch, first

    @property
    def is_stored(self) -> bool:
        """False while nobody knows."""
        fate = self._batch.produce_future
        return bool(fate.is_done) and fate.value[2] is None

    def errors(self) -> dict[int, BaseException]:
        """Why the client gave up, by the indexes given; {} when it did not, or not yet."""
        fate = self._batch.produce_future
        if not fate.is_done or (reason_of := fate.value[2]) is None:
            return {}
        return {index: reason_of(self._first + at) for at, index in enumerate(self.indexes)}

    def when_done(self, call: Callable[[object], object]) -> None:
        """Have `call` made with something, in some thread, once it is stored or given up."""
        self._batch.produce_future.add_both(call)


def pack(producer: Any, part: Any, records: Sequence[Record], indexes: Sequence[int], now: int) -> list[Pack]:
    """Give a KafkaProducer those of the records, for a TopicPartition that exists. It has to be woken to send them.

    now: milliseconds since 1970. A record has to fit into a batch: see ENVELOPE. Raises the client's IllegalStateError
    when that was closed, and took none.
    """
    accumulator = producer._accumulator
    accumulator._appends_in_progress.increment()  # who breaks off everything waits for those
    try:
        with accumulator._tp_lock(part):
            if accumulator._closed:
                raise client.IllegalStateError("the producer was closed")
            return [*_packed(accumulator, part, records, indexes, now)]
    finally:
        accumulator._appends_in_progress.decrement()


def keep_whole(producer: Any) -> None:
    """Have a batch that is too large for its topic given up, not taken apart: somebody else knows its records."""

    def give_up(batch: Any) -> None:
        error = client.MessageSizeTooLargeError("its topic takes less than it did")
        batch.complete_exceptionally(error, lambda _: error)

    producer._accumulator.split_and_reenqueue = give_up


def _packed(accumulator: Any, part: Any, records: Sequence[Record], indexes: Sequence[int], now: int) -> Iterator[Pack]:
    waiting, left = accumulator._batches[part], iter(indexes)
    index = next(left, None)
    batch = waiting[-1] if waiting and not waiting[-1].records._closed else None
    while index is not None:
        if batch is None:
            batch = _new(accumulator, part)
            waiting.append(batch)
            accumulator._incomplete.add(batch)
        builder = batch.records._builder
        if builder._first_timestamp is None:
            builder._first_timestamp = builder._max_timestamp = now
        builder._max_timestamp = max(now, builder._max_timestamp)
        first = batch.records._next_offset
        start = b"\0" + _number(now - builder._first_timestamp)
        most = builder._batch_size - len(builder._buffer)
        if not first:
            most = max(most, ENVELOPE - _HEAD + len(records[index].value) + len(records[index].key or b""))
        rows: list[bytes] = []
        taken: list[int] = []
        while index is not None:
            value, key, _ = records[index]
            named = _NO_KEY if key is None else _number(len(key)) + key
            body = b"".join((start, _number(first + len(taken)), named, _number(len(value)), value, _TAIL))
            if (most := most - len(body) - 5) < 0:
                break
            rows += _number(len(body)), body
            taken.append(index)
            index = next(left, None)
        if taken:
            builder._buffer += b"".join(rows)
            builder._num_records += len(taken)
            builder._last_offset = first + len(taken) - 1
            batch.records._next_offset += len(taken)
            yield Pack(batch, first, taken)
        batch = None


def _new(accumulator: Any, part: Any) -> Any:
    settings = accumulator.config
    return ProducerBatch(
        part, MemoryRecordsBuilder(settings["message_version"], settings["compression_attrs"], settings["batch_size"])
    )
