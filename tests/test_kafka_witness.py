"""Programs that share no code with us see in Kafka what we say is there: kcat, kafka.admin and the CloudEvents SDK."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from notification import Context, EventDispatcher, Message, QueueUnavailable, RetryPolicy, open_queue, wire

from .cloud_events import FOREIGN, SOME_TIME, WRITTEN, Seen
from .kafka_client import KafkaConsumer, KafkaProducer, TopicPartition
from .kafka_server import Kafka
from .kcat import consumed, kafka_admin, kcat, produce

REQUIRED = b'{"specversion":"1.0","type":"witness.seen","source":"/shell","id":"s-1"}'
STRUCTURED = {"content-type": "application/cloudevents+json"}
BINARY = {"ce_specversion": "1.0", "ce_type": "witness.seen", "ce_source": "/shell", "ce_id": "s-1"}
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
JSON = {"content-type": "application/json"}


class Service:
    """A dispatcher in a group of its own with a handler that keeps what it got."""

    def __init__(self, kafka: Kafka, topic: str, **settings: Any) -> None:
        self.group = f"{topic}-service"
        self.url = kafka.url(topic, group=self.group, session_timeout="1s")
        self.dispatcher = EventDispatcher(self.url, **settings)
        self.seen: list[Seen] = []
        self.ids: list[str] = []
        self.keys: list[str | None] = []
        self.messages: list[Message] = []
        self.dispatcher.on(Seen)(self._see)
        self.dispatcher.on("witness.*")(self._note)

    async def _see(self, seen: Seen, ctx: Context) -> None:
        if seen.number < 0:
            raise ValueError("negative")
        self.seen.append(seen)
        self.ids.append(ctx.id)
        self.keys.append(ctx.key)

    async def _note(self, message: Message) -> None:
        self.messages.append(message)

    async def work(self) -> None:
        """Until nothing waits."""
        async with self.dispatcher:
            await self.dispatcher.start()
            await self.dispatcher.join()


# -- kcat


@pytest.mark.parametrize("headers", [STRUCTURED, {}], ids=["with its content-type", "without"])
async def test_a_handler_gets_what_kcat_produced(kafka: Kafka, headers: dict[str, str]) -> None:
    """An event with the required attributes and no others is a dispatch."""
    topic = kafka.create()
    produce(kafka.bootstrap, topic, REQUIRED, headers=headers)
    service = Service(kafka, topic)
    await service.work()
    assert (service.seen, service.ids, service.keys) == ([Seen()], ["s-1"], [None])


@pytest.mark.parametrize("content", [JSON, {}], ids=["with a content-type", "without"])
async def test_a_handler_gets_what_kcat_produced_in_binary_mode(kafka: Kafka, content: dict[str, str]) -> None:
    """Attributes in the headers, data alone in the value, the key beside it."""
    topic = kafka.create()
    produce(kafka.bootstrap, topic, b'{"number": 3}', "-k", "a-7", headers=BINARY | content)
    service = Service(kafka, topic)
    await service.work()
    assert (service.seen, service.ids, service.keys) == ([Seen(3)], ["s-1"], ["a-7"])


async def test_kcat_wakes_a_worker_that_waits(kafka: Kafka) -> None:
    """It takes no look at intervals."""
    topic = kafka.create()
    async with open_queue(Service(kafka, topic).url) as queue:
        pop = asyncio.ensure_future(queue.pop())
        await asyncio.to_thread(produce, kafka.bootstrap, topic, REQUIRED)
        delivery = await asyncio.wait_for(pop, 20)
        assert delivery.expect().id == "s-1"
        await queue.ack_many([delivery])


async def test_kcat_reads_what_we_dispatch(kafka: Kafka) -> None:
    """CloudEvents JSON in structured mode, under the event's key, and nothing else in the topic."""
    topic = kafka.create(partitions=1)
    async with EventDispatcher(kafka.url(topic)) as dispatcher:
        sent = [await dispatcher.dispatch(Seen(number), key=f"k{number}") for number in range(3)]
    records = consumed(kafka.bootstrap, topic)
    assert [record["key"] for record in records] == ["k0", "k1", "k2"]
    assert all(
        record["headers"] == ["content-type", "application/cloudevents+json; charset=UTF-8"] for record in records
    )
    events = [json.loads(record["payload"]) for record in records]
    assert [one["id"] for one in events] == [one.id for one in sent]
    assert events[2] | {"source": "", "time": ""} == {
        "specversion": "1.0", "type": "witness.seen", "source": "", "id": sent[2].id, "time": "", "partitionkey": "k2",
        "data": {"number": 2},
    }  # fmt: skip


async def test_what_has_no_time_of_its_own_is_found_by_that_of_its_record(kafka: Kafka) -> None:
    """A look at the last hour shows what kcat wrote in it."""
    topic = kafka.create()
    produce(kafka.bootstrap, topic, REQUIRED)
    async with open_queue(kafka.url(topic)) as queue:
        assert [message.id async for message in queue.browse(since=datetime.now(UTC) - timedelta(hours=1))] == ["s-1"]


async def test_kcat_puts_a_key_where_we_do_only_when_it_is_told_to(kafka: Kafka) -> None:
    """librdkafka hashes with CRC32 unless it is told to do as Java does: a key that both write is in two partitions."""
    topic, keys = kafka.create(partitions=7), [f"key-{number}" for number in range(40)]
    async with open_queue(kafka.url(topic)) as queue:
        await queue.push_many([Message(type="a", id=key, source="/s", key=key) for key in keys])
    theirs = {kind: kafka.create(partitions=7, siblings=False) for kind in ("murmur2_random", "consistent_random")}
    lines = "".join(f"{key}:x\n" for key in keys).encode()
    for kind, name in theirs.items():
        chosen = ["-X", f"topic.partitioner={kind}"] if kind == "murmur2_random" else []
        kcat(kafka.bootstrap, "-P", "-t", name, "-K", ":", *chosen, given=lines)
    places = {
        name: {record["key"]: record["partition"] for record in consumed(kafka.bootstrap, name)}
        for name in (topic, *theirs.values())
    }
    assert places[theirs["murmur2_random"]] == places[topic]
    elsewhere = [key for key in keys if places[theirs["consistent_random"]][key] != places[topic][key]]
    assert len(elsewhere) > len(keys) / 2


async def test_kcat_reads_the_dead_letters_in_their_topic(kafka: Kafka) -> None:
    """They are in `<topic>.dead`, readable, with the reason, the errors and where they come from."""
    topic = kafka.create()
    produce(kafka.bootstrap, topic, REQUIRED[:-1] + b',"data":{"number":-1}}')
    await Service(kafka, topic, retry=RetryPolicy(attempts=1)).work()
    [record] = consumed(kafka.bootstrap, f"{topic}.dead")
    letter = json.loads(record["payload"])
    assert (letter["id"], letter["deadreason"], letter["deadlast"]) == ("s-1", "attempts", "ValueError: negative")


async def test_garbage_is_a_dead_letter_with_its_bytes_and_a_tombstone_is_nothing(kafka: Kafka) -> None:
    """It stops nobody, and what was beside it is settled for good."""
    topic = kafka.create(partitions=1)
    garbage = [b"garbage", b'{"specversion":"1.0"}', b"[1,2]", b"\xff\xfe"]
    for one in garbage:
        produce(kafka.bootstrap, topic, REQUIRED)
        produce(kafka.bootstrap, topic, one)
        kcat(kafka.bootstrap, "-P", "-t", topic, "-Z", "-K", ":", given=b"gone:\n")
    lengths = kcat(kafka.bootstrap, "-C", "-e", "-t", topic, "-f", "%S ")
    assert lengths.split().count("-1") == len(garbage)
    service = Service(kafka, topic)
    await service.work()
    assert len(service.seen) == len(garbage)
    async with open_queue(f"{service.url}&queue={topic}.dead".replace(f"/{topic}?", "?")) as dead:
        assert [message.data async for message in dead.browse()] == garbage


async def test_what_others_compressed_is_read_where_the_package_is_installed(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not, it waits, and the error names the package."""
    topic = kafka.create(partitions=1)
    value = REQUIRED[:-1] + b',"data":{"number":3},"text":"' + b"x" * 3000 + b'"}'
    produce(kafka.bootstrap, topic, value, "-z", "snappy")
    service = Service(kafka, topic)
    with monkeypatch.context() as without:
        without.setattr("kafka.record.default_records.codecs.has_snappy", lambda: False)
        async with open_queue(service.url) as queue:
            with pytest.raises(QueueUnavailable, match=r"'notification-dispatcher\[lz4,snappy,zstd\]'"):
                await queue.pop()
    pytest.importorskip("snappy")
    await service.work()
    assert service.seen == [Seen(3)]


async def test_events_of_a_transaction_are_handled_once_it_is_committed(kafka: Kafka) -> None:
    """Its marks in the topic are no events: nothing waits at the end."""
    topic = kafka.create(partitions=1)
    produce(kafka.bootstrap, topic, REQUIRED, "-X", f"transactional.id={topic}")
    service = Service(kafka, topic)
    await service.work()
    assert service.ids == ["s-1"]
    async with open_queue(service.url) as queue:
        assert await queue.size() == 0


# -- kafka-python's own command


async def test_the_lag_of_the_group_goes_to_zero(kafka: Kafka) -> None:
    """For Kafka everything behind an event that is not finished is lag, until that one is; then nothing is."""
    topic = kafka.create(partitions=1)
    service, held = Service(kafka, topic), asyncio.Event()

    @service.dispatcher.on("witness.held")
    async def hold(message: Message) -> None:
        await held.wait()

    async with service.dispatcher:
        await service.dispatcher.dispatch(Message(type="witness.held", id="first", source="/s"))
        await service.dispatcher.dispatch_many([Seen(number) for number in range(9)])
        await service.dispatcher.start(workers=2)
        while len(service.seen) < 9:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lag, kafka, service.group) == {topic: 10}
        held.set()
        await service.dispatcher.join()
        while (left := await asyncio.to_thread(lag, kafka, service.group)) != {topic: 0}:
            assert set(left) == {topic}


def lag(kafka: Kafka, group: str) -> dict[str, int]:
    """By topic, as it says."""
    said = kafka_admin(kafka.bootstrap, "groups", "list-offsets", "-g", group)
    return {topic: sum(one["lag"] for one in partitions.values()) for topic, partitions in said.items()}


# -- the CloudEvents SDK


def record_of(kafka: Kafka, topic: str) -> Any:
    """The only one in the first partition, by a client that is not ours."""
    consumer = KafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    try:
        record = next(consumer)
        assert consumer.end_offsets([TopicPartition(topic, 0)]) == {TopicPartition(topic, 0): 1}
        return record
    finally:
        consumer.close()


@pytest.mark.parametrize("message", WRITTEN.values(), ids=WRITTEN)
async def test_the_sdk_reads_what_we_write(kafka: Kafka, message: Message) -> None:
    """The same attributes and the same data, by its own reading of records."""
    topic = kafka.create(partitions=1)
    async with open_queue(kafka.url(topic)) as queue:
        await queue.push(message)
    record = record_of(kafka, topic)
    read = from_structured(KafkaMessage(dict(record.headers), record.key, record.value), JSONFormat())
    assert isinstance(read, CloudEvent)
    assert (read.get_type(), read.get_id(), read.get_source()) == (message.type, message.id, message.source)
    assert read.get_data() == message.data
    assert read.get_time() == message.time
    assert read.get_extension("partitionkey") == message.key
    assert {name: read.get_extension(name) for name in message.headers} == message.headers
    assert wire.decode(JSONFormat().write(read)) == message


@pytest.mark.parametrize("mode", [to_structured, to_binary])
async def test_we_read_what_the_sdk_writes(kafka: Kafka, mode: Any) -> None:
    """In both of its modes, with whatever attributes, it reaches the handler under its key."""
    topic = kafka.create(partitions=1)
    every = {"type": "witness.seen", "source": "/sdk", "specversion": "1.0"}
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    for number, attributes in enumerate(FOREIGN):
        written = mode(CloudEvent(every | attributes, {"number": number} if number else None), JSONFormat())
        key = written.key.encode() if written.key else None
        producer.send(topic, written.value, key, list(written.headers.items()))
    producer.close()
    service = Service(kafka, topic)
    await service.work()
    assert service.seen == [Seen(number) for number in range(len(FOREIGN))]
    assert service.ids == [attributes["id"] for attributes in FOREIGN]
    assert service.keys == [None, None, "k", None]


@pytest.mark.parametrize("mode", [to_structured, to_binary])
async def test_attributes_of_the_sdk_arrive(kafka: Kafka, mode: Any) -> None:
    """What we have no field for is in the headers, as text."""
    topic = kafka.create(partitions=1)
    attributes: dict[str, Any] = {
        "specversion": "1.0", "type": "witness.seen", "source": "/sdk", "id": "s-1", "subject": "s", "tries": 3,
        "partitionkey": "k", "time": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    }  # fmt: skip
    written = mode(CloudEvent(attributes, b"\x00\xff"), JSONFormat())
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(topic, written.value, written.key.encode(), list(written.headers.items()))
    producer.close()
    async with open_queue(Service(kafka, topic).url) as queue:
        delivery = await queue.pop()
        message = delivery.expect()
        await queue.ack_many([delivery])
    assert (message.key, message.time, message.data) == ("k", SOME_TIME, b"\x00\xff")
    assert message.headers == {"subject": "s", "tries": "3"}
