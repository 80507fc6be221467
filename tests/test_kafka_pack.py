"""What is packed into a client's batches comes out of them as Kafka reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from queues._kafka_pack import ENVELOPE, Pack, keep_whole, pack
from queues._kafka_wire import HEADERS, Record

from .kafka_client import KafkaError, MemoryRecords, RecordAccumulator, TopicPartition

PART = TopicPartition("events", 1)
NOW = 1_790_000_000_000
records_of = some.lists(
    some.builds(
        Record,
        some.binary(max_size=300) | some.integers(0, 20_000).map(bytes),
        some.none() | some.binary(max_size=200),
    ),
    max_size=150,
)


class Client:
    """Of a producer what is packed into: the accumulator of the real one, without its thread."""

    def __init__(self, batch_size: int = 1 << 16, compression: int = 0) -> None:
        self._accumulator = RecordAccumulator(batch_size=batch_size, compression_attrs=compression)

    def take(self, records: list[Record], indexes: Any = None, now: int = NOW) -> list[Pack]:
        return pack(self, PART, records, range(len(records)) if indexes is None else indexes, now)

    @property
    def batches(self) -> list[Any]:
        return list(self._accumulator._batches[PART])


def read(batches: list[Any]) -> list[list[Any]]:
    """As any reader of the format has them, batch by batch, checksums looked at."""
    found = []
    for batch in batches:
        batch.records.close()
        [whole] = list(MemoryRecords(bytes(batch.records.buffer())))
        assert whole.validate_crc()
        found.append(list(whole))
    return found


@given(records_of, some.integers(200, 70_000), some.sampled_from([0, 1]))
def test_what_was_packed_is_read_again_in_order(records: list[Record], size: int, compression: int) -> None:
    """Values, keys, headers, numbers and times, whatever their lengths."""
    client = Client(size, compression)
    packs = client.take(records)
    assert [index for one in packs for index in one.indexes] == [*range(len(records))]
    batches = read(client.batches)
    assert [(row.value, row.key) for rows in batches for row in rows] == [(one.value, one.key) for one in records]
    for rows in batches:
        assert [row.offset for row in rows] == [*range(len(rows))]
        assert all(row.headers == HEADERS and row.timestamp == NOW for row in rows)


@given(records_of, some.integers(200, 70_000))
def test_a_batch_is_no_larger_than_it_may_be(records: list[Record], size: int) -> None:
    """But for a record that has one for itself, and takes no more than its envelope beside its bytes."""
    client = Client(size)
    client.take(records)
    for batch, rows in zip(client.batches, read(client.batches), strict=True):
        length = len(batch.records.buffer())
        assert length <= size or (len(rows) == 1 and length <= ENVELOPE + len(rows[0].value) + len(rows[0].key or b""))


def test_who_comes_later_joins_the_batch_that_still_waits() -> None:
    """At its end, with a time of its own."""
    client = Client()
    client.take([Record(b"a"), Record(b"b")])
    client.take([Record(b"c")], now=NOW + 700)
    [rows] = read(client.batches)
    assert [(row.value, row.timestamp - NOW) for row in rows] == [(b"a", 0), (b"b", 0), (b"c", 700)]


def test_a_clock_that_goes_back_is_no_harm() -> None:
    """The times in a batch are told from its first."""
    client = Client()
    client.take([Record(b"a")])
    client.take([Record(b"b")], now=NOW - 5_000_000)
    [rows] = read(client.batches)
    assert [row.timestamp - NOW for row in rows] == [0, -5_000_000]


def test_nothing_is_added_to_a_batch_that_was_sent() -> None:
    """It waits for another attempt, and has to be what it was."""
    client = Client()
    client.take([Record(b"a")])
    client.batches[0].records.close()
    client.take([Record(b"b")])
    assert [[row.value for row in rows] for rows in read(client.batches)] == [[b"a"], [b"b"]]


def test_each_pack_hears_of_its_own_batch() -> None:
    """Who is to blame is told by the record."""
    client = Client(200)
    first, second = client.take([Record(bytes(100)), Record(bytes(100))], [0, 1])
    told: list[Pack] = []
    first.when_done(lambda _: told.append(first))
    assert not first.is_stored
    assert first.errors() == {}
    error = KafkaError("record 0")
    client.batches[0].complete_exceptionally(error, lambda index: KafkaError(f"record {index}"))
    client.batches[1].complete(7, -1)
    assert told == [first]
    assert {index: str(reason) for index, reason in first.errors().items()} == {0: str(KafkaError("record 0"))}
    assert not first.is_stored
    assert second.is_stored
    assert second.errors() == {}


def test_a_closed_client_takes_none() -> None:
    """It says so, and who breaks off everything does not wait for us."""
    client = Client()
    client._accumulator.close()
    with pytest.raises(KafkaError, match="closed"):
        client.take([Record(b"a")])
    assert client.batches == []
    assert client._accumulator._appends_in_progress.get() == 0


def test_a_batch_that_is_too_large_is_given_up_whole() -> None:
    """Taken apart by the client, its records would be lost sight of."""
    client = Client()
    keep_whole(client)
    [taken] = client.take([Record(b"a"), Record(b"b")])
    client._accumulator.split_and_reenqueue(client.batches[0])
    assert sorted(taken.errors()) == [0, 1]
