"""Pushing to Kafka: what is stored, what is said of what is not, and that nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from queues import _kafka_options, _kafka_producer, wire
from queues._kafka_client import KafkaAdminClient
from queues._kafka_partition import partition_of
from queues._kafka_producer import Producer
from queues._kafka_wire import Record, record_of
from queues.errors import ConfigurationError, CorruptMessage, QueueClosed, QueueError, QueueUnavailable
from queues.message import Message
from queues.registry import open_queue

from .kafka_client import ConfigResource, NewPartitions
from .kafka_producing import event, events, ids_in, producing, records_in
from .kafka_server import Kafka, KafkaServer, Start, need_kafka, unique
from .redis_server import free_port


def ids(messages: list[Message]) -> list[str]:
    """In order."""
    return [message.id for message in messages]


async def unavailable(opened: Any) -> str:
    """What somebody is told who may try again later."""
    with pytest.raises(QueueUnavailable) as caught:
        async with opened:
            pass
    assert not caught.value.may_have_been_stored
    return str(caught.value)


async def settled(producer: Producer) -> None:
    """Until no batch is under way."""
    async with asyncio.timeout(20):
        while producer._weight:
            await asyncio.sleep(0.01)


async def no_thread_is_left(topic: str) -> None:
    """Neither ours nor one of the client that it had."""
    async with asyncio.timeout(20):
        while any(topic in thread.name or "network-thread" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """One to stop and to kill; each test leaves it running."""
    need_kafka()
    with KafkaServer() as server:
        yield server


@contextlib.contextmanager
def standing_still(broker: KafkaServer) -> Iterator[None]:
    """It keeps its connections and answers nothing."""
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


# -- what is stored


async def test_an_event_is_a_record_that_other_programs_read(kafka: Kafka) -> None:
    """CloudEvents in structured mode, under the key of the event."""
    topic = kafka.create(siblings=False)
    message = event("ada", data={"n": 1})
    async with producing(kafka.url(topic)) as producer:
        assert await producer.store([message]) == {}
    [record] = records_in(kafka, topic)
    assert (record.key, record.value) == (b"ada", wire.encode(message))
    assert record.headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]


async def test_the_events_of_a_key_are_in_one_partition_in_order(kafka: Kafka) -> None:
    """The partition where every client of Kafka's looks for that key."""
    topic = kafka.create(partitions=5, siblings=False)
    batches = [events(200), events(200)]
    async with producing(kafka.url(topic)) as producer:
        for batch in batches:
            assert await producer.store(batch) == {}
    records = records_in(kafka, topic)
    assert all(record.partition == partition_of(record.key, 5) for record in records)
    sent: dict[str, list[str]] = {}
    for message in [*batches[0], *batches[1]]:
        sent.setdefault(message.key or "", []).append(message.id)
    for key, expected in sent.items():
        assert [wire.decode(one.value).id for one in records if one.key == key.encode()] == expected


async def test_events_without_a_key_go_round_the_partitions_a_batch_at_a_time(kafka: Kafka) -> None:
    """A batch in one partition is one write."""
    topic = kafka.create(partitions=3, siblings=False)
    async with producing(kafka.url(topic)) as producer:
        for _ in range(6):
            assert await producer.store([event(), event()]) == {}
    assert Counter(record.partition for record in records_in(kafka, topic)) == {0: 4, 1: 4, 2: 4}


@pytest.mark.parametrize("how", ["round_robin", "random"])
async def test_a_partitioner_that_ignores_keys_spreads_each_batch(kafka: Kafka, how: str) -> None:
    """Where order does not matter and one key has most of the events."""
    topic = kafka.create(partitions=3, siblings=False)
    async with producing(kafka.url(topic, partitioner=how)) as producer:
        assert await producer.store([event("the same") for _ in range(60)]) == {}
    spread = Counter(record.partition for record in records_in(kafka, topic))
    assert set(spread) == {0, 1, 2}
    assert how == "random" or set(spread.values()) == {20}


@pytest.mark.parametrize("how", ["key", "round_robin"])
async def test_an_event_with_a_partition_of_its_own_goes_there(kafka: Kafka, how: str) -> None:
    """Before its key is looked at."""
    topic = kafka.create(partitions=4, siblings=False)
    async with producing(kafka.url(topic, partitioner=how)) as producer:
        assert await producer.store([event(f"key-{n}", partition=3) for n in range(8)]) == {}
    assert {record.partition for record in records_in(kafka, topic)} == {3}


async def test_partitions_that_are_added_are_used(kafka: Kafka) -> None:
    """With the next look at the cluster."""
    topic = kafka.create(partitions=1, siblings=False)
    async with producing(kafka.url(topic)) as producer:
        kafka.admin.create_partitions({topic: NewPartitions(2)})
        cluster = producer._writer._outlet.network.cluster
        async with asyncio.timeout(20):
            while len(cluster.partitions_for_topic(topic)) < 2:
                cluster.request_update()
                await asyncio.sleep(0.02)
        assert await producer.store([event(partition=1)]) == {}


@pytest.mark.parametrize("codec", ["none", "gzip", "lz4", "snappy", "zstd"])
async def test_events_arrive_however_they_are_compressed(kafka: Kafka, codec: str) -> None:
    """With every codec that is installed."""
    if codec != "none" and not _kafka_options._INSTALLED[codec]():
        pytest.skip(f"{codec} is not installed")
    topic = kafka.create(siblings=False)
    messages = [*events(50), event("large", data="x" * 200_000)]
    async with producing(kafka.url(topic, compression=codec)) as producer:
        assert await producer.store(messages) == {}
    assert sorted(ids_in(kafka, topic)) == sorted(ids(messages))


async def test_records_go_to_any_topic(kafka: Kafka) -> None:
    """Delayed events and dead letters have topics of their own."""
    topic, other = kafka.create(siblings=False), kafka.create(siblings=False)
    message = event("ada")
    async with producing(kafka.url(topic)) as producer:
        assert await producer.send(other, [record_of(message)], None) == {}
        assert await producer.send(other, [], None) == {}
    assert (ids_in(kafka, other), ids_in(kafka, topic)) == ([message.id], [])


# -- what is not


async def test_each_event_that_can_not_be_stored_has_its_own_reason(kafka: Kafka) -> None:
    """The others of its batch are stored."""
    topic = kafka.create(partitions=3, siblings=False)
    batch = [
        event("a"), event(partition=3), event("b", data=float("nan")), event("c", data="x" * 1_100_000), event("d"),
    ]  # fmt: skip
    async with producing(kafka.url(topic)) as producer:
        errors = await producer.store(batch)
        assert await producer.store([event("e")]) == {}
    assert {index: type(error) for index, error in errors.items()} == dict.fromkeys([1, 2, 3], CorruptMessage)
    assert f"no partition 3: the topic '{topic}' has 3" in str(errors[1])
    assert "nan has no JSON form" in str(errors[2])
    assert "max.message.bytes" in str(errors[3])
    assert len(ids_in(kafka, topic)) == 3


async def test_what_a_topic_takes_at_most_is_asked_for(kafka: Kafka) -> None:
    """An event beyond that is not sent: the client would give up on all that it has."""
    topic = kafka.create(siblings=False, max_message_bytes=3000)
    small = events(200, data="x" * 500)
    async with producing(kafka.url(topic, compression="none")) as producer:
        errors = await producer.store([*small, event("big", data="x" * 3000)])
        assert list(errors) == [200]
        assert "its topic takes 28" in str(errors[200])
    assert sorted(ids_in(kafka, topic)) == sorted(ids(small))


async def test_a_limit_that_is_lowered_later_costs_only_the_events_beyond_it(kafka: Kafka) -> None:
    """The broker refuses one event, and the client all others with it: those are sent once more by a new client."""
    topic = kafka.create(partitions=2, siblings=False)
    small = [*events(40), *events(40)]
    async with producing(kafka.url(topic, compression="none")) as producer:
        lower(kafka.admin, topic, 2000)
        errors = await producer.store([*small[:40], event("big", data="x" * 5000), *small[40:]])
        assert {index: type(error) for index, error in errors.items()} == {40: CorruptMessage}
        assert await producer.store([last := event("after")]) == {}
    assert sorted({*ids_in(kafka, topic)}) == sorted({*ids(small), last.id})


async def test_a_topic_that_takes_more_than_others_gets_more(kafka: Kafka) -> None:
    """The limit is the topic's, whatever that of others is."""
    topic, other = kafka.create(siblings=False, max_message_bytes=3_000_000), kafka.create(siblings=False)
    large = event("large", data="x" * 2_000_000)
    async with producing(kafka.url(topic, compression="none")) as producer:
        assert await producer.store([large]) == {}
        errors = await producer.send(other, [record_of(large), record_of(small := event("small"))], None)
        assert {index: type(error) for index, error in errors.items()} == {0: CorruptMessage}
    assert (ids_in(kafka, topic), ids_in(kafka, other)) == ([large.id], [small.id])


def lower(admin: KafkaAdminClient, topic: str, limit: int) -> None:
    """`max.message.bytes`, from now on."""
    admin.alter_configs([ConfigResource("TOPIC", topic, {"max.message.bytes": str(limit)})])
    wanted = ConfigResource("TOPIC", topic, configs={"max.message.bytes": ""})
    end = time.monotonic() + 20
    while admin.describe_configs([wanted])["topic"][topic].get("max.message.bytes", {}).get("value") != str(limit):
        assert time.monotonic() < end


# -- topics and brokers that are not there


async def test_a_missing_topic_is_told_with_the_command_that_makes_it(kafka: Kafka) -> None:
    """And is not made by asking for it."""
    topic = unique()
    with pytest.raises(ConfigurationError, match=f"`notification queue create kafka://.*/{topic}`"):
        async with producing(kafka.url(topic)):
            pass
    assert topic not in kafka.admin.list_topics()


async def test_a_topic_that_a_broker_hears_of_late_is_not_missing(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made a moment ago, it is known to some brokers, and the next that is asked says that it is not there; so are
    those beside it.
    """
    topic, answers = kafka.create(), [0, 3, 3]
    described = KafkaAdminClient.describe_topics

    def late(self: KafkaAdminClient, topics: list[str]) -> Any:
        code = answers.pop() if answers else 0
        return [one | {"error_code": code} for one in described(self, topics)]

    monkeypatch.setattr(KafkaAdminClient, "describe_topics", late)
    async with open_queue(kafka.url(topic)) as queue:
        assert answers == []
        answers += [0, 3, 3]
        await queue.begin()
        assert answers == []


async def test_no_topic_is_made_by_asking_for_it_where_brokers_make_what_is_asked_for(kafka_server: Start) -> None:
    """As they do unless told otherwise; what the client is told of it does not get through by itself."""
    server = kafka_server(auto_create_topics_enable=True)
    topic = server.create(siblings=False)
    async with producing(server.url(topic)) as producer:
        errors = await producer.send("nowhere", [Record(b"x")], None)
        assert "has no topic 'nowhere'" in str(errors[0])
        with pytest.raises(ConfigurationError):
            async with producing(server.url("nowhere-either")):
                pass
    assert server.admin.list_topics() == [topic]


async def test_a_compacted_topic_is_refused(kafka: Kafka) -> None:
    """It would lose events."""
    topic = kafka.create(siblings=False, cleanup_policy="compact")
    with pytest.raises(ConfigurationError, match=r"compacted.*cleanup\.policy=delete"):
        async with producing(kafka.url(topic)):
            pass


async def test_a_topic_that_is_removed_later_is_told(kafka: Kafka) -> None:
    """Within the time to connect, and then at once."""
    topic = kafka.create(siblings=False)
    async with producing(kafka.url(topic, connect_timeout="500ms", timeout="2s")) as producer:
        kafka.admin.delete_topics([topic])
        cluster = producer._writer._outlet.network.cluster
        async with asyncio.timeout(20):
            while cluster.partitions_for_topic(topic):
                cluster.request_update()
                await asyncio.sleep(0.02)
        for _ in range(2):
            errors = await producer.store([event()])
            assert f"has no topic '{topic}'" in str(errors[0])
            assert isinstance(errors[0], QueueUnavailable)
            assert not errors[0].may_have_been_stored


async def test_no_broker_is_told_with_the_addresses_that_were_tried() -> None:
    """After the time to connect."""
    one, two = free_port(), free_port()
    began = time.monotonic()
    text = await unavailable(producing(f"kafka://127.0.0.1:{one},127.0.0.1:{two}/x?connect_timeout=200ms"))
    assert f"kafka://127.0.0.1:{one},127.0.0.1:{two} can't be reached" in text
    assert "ECONNREFUSED" in text
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("tls", ["false", "true"])
async def test_a_host_that_does_not_answer_is_given_up_after_the_connect_timeout(tls: str) -> None:
    """It takes connections and says nothing, with TLS or without."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"kafka://127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=300ms&tls={tls}"
        began = time.monotonic()
        assert "gave no answer in time" in await unavailable(producing(url))
        assert time.monotonic() - began < 1.5


async def test_a_producer_that_could_not_be_opened_leaves_no_threads() -> None:
    """It may be tried for days."""
    for _ in range(3):
        await unavailable(producing(f"kafka://127.0.0.1:{free_port()}/x?connect_timeout=50ms"))
    await no_thread_is_left("x")


# -- answers that do not come


async def test_our_timeout_ends_the_wait_and_the_same_events_are_not_sent_twice(broker: KafkaServer) -> None:
    """Pushed again, they wait for the sending that is under way; so do parts of them, in any order."""
    topic = broker.create(siblings=False)
    batch, more = events(30), events(10)
    async with producing(broker.url(topic, timeout="300ms")) as producer:
        with standing_still(broker):
            for again in (batch, batch, batch[5:20][::-1]):
                errors = await producer.store(again)
                assert sorted(errors) == [*range(len(again))]
                assert all(is_unknown(error) for error in errors.values())
            waiting = asyncio.create_task(until_stored(producer, [*batch[:3], *more, *batch[3:]]))
            await asyncio.sleep(0.05)
        await waiting
        await settled(producer)
        assert producer._held == {}
    assert sorted(ids_in(broker, topic)) == sorted([*ids(batch), *ids(more)])


async def test_events_of_a_cancelled_caller_are_not_sent_again_while_they_are_under_way(broker: KafkaServer) -> None:
    """He gave up, they did not."""
    topic = broker.create(siblings=False)
    batch = events(5)
    async with producing(broker.url(topic)) as producer:
        with standing_still(broker):
            first = asyncio.create_task(producer.store(batch))
            await asyncio.sleep(0.05)
            first.cancel()
            await asyncio.wait([first])
            second = asyncio.create_task(producer.store(batch))
            await asyncio.sleep(0.05)
        assert await second == {}
    assert sorted(ids_in(broker, topic)) == sorted(ids(batch))


async def test_while_brokers_are_away_memory_is_bounded(broker: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond it is refused at once, unsent: it may go elsewhere."""
    monkeypatch.setattr(_kafka_producer, "_MOST_BYTES", 50_000)
    topic = broker.create(siblings=False)
    async with producing(broker.url(topic, timeout="50ms")) as producer:
        with standing_still(broker):
            answers = [await producer.store(events(10)) for _ in range(20)]
        refused = [error for errors in answers for error in errors.values() if not is_unknown(error)]
        assert 0 < 200 - len(refused) < 60
        assert all(isinstance(error, QueueUnavailable) for error in refused)
        await settled(producer)
        assert await producer.store([event()]) == {}
    assert len(ids_in(broker, topic)) == 201 - len(refused)


async def test_closing_while_a_broker_hangs_leaves_the_result_unknown(broker: KafkaServer) -> None:
    """Within seconds; the client by itself would stop half-way, with its thread alive."""
    topic = broker.create(siblings=False)
    async with producing(broker.url(topic, timeout="30s")) as producer:
        with standing_still(broker):
            pushing = [asyncio.create_task(producer.store(events(5))) for _ in range(2)]
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await producer.close()
            assert time.monotonic() - began < 6
            for errors in await asyncio.gather(*pushing):
                assert len(errors) == 5
                assert all(is_unknown(error) for error in errors.values())
        with pytest.raises(QueueClosed, match="is closed"):
            await producer.store([event()])
    await no_thread_is_left(topic)


async def test_a_broker_that_is_killed_and_started_again_has_each_event_once(broker: KafkaServer) -> None:
    """In order: the client repeats under the number that the broker refuses to take twice."""
    topic = broker.create(partitions=1, siblings=False)
    batches = [events(20) for _ in range(20)]
    async with producing(broker.url(topic)) as producer:
        pushing = asyncio.create_task(one_after_the_other(producer, batches))
        await asyncio.sleep(0.02)
        broker.kill()
        await asyncio.to_thread(broker.start)
        await pushing
    assert ids_in(broker, topic) == [one for batch in batches for one in ids(batch)]


async def test_a_topic_with_too_few_replicas_says_so(kafka_server: Start) -> None:
    """The client goes on for ever, so the wait ends, and the error says what it is waiting for."""
    server = kafka_server(brokers=2)
    topic = server.create(partitions=1, siblings=False, replication=2, min_insync_replicas=2)
    async with producing(server.url(topic, timeout="2s")) as producer:
        await until_stored(producer, [event()])
        await asyncio.to_thread(server.nodes[1].kill)
        said = ""
        while "has too few replicas in sync" not in said:
            if error := (await producer.store([event()])).get(0):
                assert isinstance(error, QueueUnavailable)
                said = str(error)


async def test_a_topic_that_was_deleted_is_told_with_the_command_that_makes_it(kafka: Kafka) -> None:
    """Also where it is not the queue's own."""
    topic = kafka.create(partitions=1)
    async with producing(kafka.url(topic, timeout="2s")) as producer:
        assert not await producer.store([event()], beside=f"{topic}.dead")
        await asyncio.to_thread(kafka.admin.delete_topics, [f"{topic}.dead"])
        errors = await producer.store([event()], beside=f"{topic}.dead")
    assert f"has no topic '{topic}.dead'; `notification queue create" in str(errors[0])


async def test_what_was_not_sent_yet_is_taken_back_when_time_is_up(kafka: Kafka) -> None:
    """The thread had no time for it: so nothing was stored, and nothing will be."""
    topic = kafka.create(siblings=False)
    free = threading.Event()

    def keep_it_busy() -> None:
        free.wait(20)

    async with producing(kafka.url(topic, timeout="50ms")) as producer:
        producer._writer._inbox.put(keep_it_busy)
        errors = await producer.store([event()])
        assert isinstance(errors[0], QueueUnavailable)
        assert not errors[0].may_have_been_stored
        free.set()
        await until_stored(producer, [last := event()])
    assert ids_in(kafka, topic) == [last.id]


async def test_callers_that_are_cancelled_cross_nothing(kafka: Kafka) -> None:
    """Each of the others hears of its own events, and what went on is not sent again."""
    topic = kafka.create(partitions=2, siblings=False)
    batches = [[event(f"key-{n}"), event(partition=7 if n % 2 else 0), event()] for n in range(200)]
    async with producing(kafka.url(topic)) as producer:
        tasks = [asyncio.create_task(producer.store(batch)) for batch in batches]
        for task in tasks[::3]:
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait(tasks)
        await settled(producer)
    stored = Counter(ids_in(kafka, topic))
    assert set(stored.values()) == {1}
    for number, task in enumerate(tasks):
        if not task.cancelled():
            assert list(task.result()) == ([1] if number % 2 else [])
            assert {batches[number][0].id, batches[number][2].id} <= stored.keys()


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_ten_thousand_cancelled_callers_cross_nothing(kafka_server: Start) -> None:
    """With a slow link between us and the broker, at whatever they wait for."""
    server = kafka_server(proxied=True)
    server.proxy.up.delay = server.proxy.down.delay = 0.005
    topic = server.create(siblings=False)
    dice = random.Random(7)
    told: list[str] = []

    async def push(producer: Producer) -> None:
        message = event(f"key-{dice.randrange(50)}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(dice.random() * 0.02):
                assert await producer.store([message]) == {}
                told.append(message.id)

    async with producing(server.proxied.url(topic)) as producer:
        for _ in range(100):
            await asyncio.gather(*(push(producer) for _ in range(100)))
        await settled(producer)
    stored = Counter(ids_in(server, topic))
    assert set(stored.values()) == {1}
    assert set(told) <= stored.keys()


def is_unknown(error: QueueError) -> bool:
    """Whether the event may be stored."""
    return isinstance(error, QueueUnavailable) and error.may_have_been_stored


async def until_stored(producer: Producer, messages: list[Message]) -> None:
    """Push these again and again until all are stored."""
    while messages:
        errors = await producer.store(messages)
        messages = [messages[index] for index in errors]


async def one_after_the_other(producer: Producer, batches: list[list[Message]]) -> None:
    """Each until it is stored."""
    for batch in batches:
        await until_stored(producer, batch)
