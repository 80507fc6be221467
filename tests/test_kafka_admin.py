"""Administration of Kafka's topics, on a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from queues import open_admin, open_queue
from queues._kafka_client import ConfigResource, ConfigResourceType
from queues._kafka_plan import TopicOptions
from queues.admin import Change, Share
from queues.errors import ConfigurationError, QueueUnavailable
from queues.message import Message

from .admin_contract import AdminContract, events, eventually, lag_of, popped
from .kafka_client import KafkaConsumer
from .kafka_secure import NOBODY, SecureKafka
from .kafka_server import SIBLINGS, Kafka, unique
from .redis_server import PASSWORD

DELAYS = SIBLINGS[1:]


class TestKafka(AdminContract):
    @pytest.fixture
    def url(self, kafka: Kafka) -> str:
        return kafka.url()


def partitions(kafka: Kafka, *topics: str) -> list[int]:
    """How many each has; 0 where it does not exist."""
    found = {one["name"]: len(one["partitions"]) for one in kafka.admin.describe_topics(list(topics))}
    return [found[topic] for topic in topics]


def settings(kafka: Kafka, topic: str) -> dict[str, str]:
    found: dict[str, dict[str, Any]] = kafka.admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all"
    )["topic"][topic]
    return {name: setting["value"] for name, setting in found.items()}


async def create(url: str, **options: Any) -> dict[str, Change]:
    """What was done, by topic."""
    async with open_admin(url) as admin:
        return {change.name: change for change in await admin.create(TopicOptions(**options))}


# -- create


async def test_a_queue_is_made_with_the_topics_beside_it(kafka: Kafka) -> None:
    """Delayed events and dead letters are kept until they are dealt with, and are larger than what was dispatched."""
    topic = unique()
    done = await create(kafka.url(topic), partitions=8, retention="12h", segment="1h", min_isr=1, max_event=300_000)
    assert list(done) == [topic, *(topic + sibling for sibling in SIBLINGS)]
    assert {change.done for change in done.values()} == {"created"}
    assert done[topic].note == "8 partitions, 1 replica, kept 12 h"
    assert partitions(kafka, *done) == [8, 1, 6, 6, 6]
    own = settings(kafka, topic)
    assert (own["retention.ms"], own["segment.ms"]) == (str(12 * 3600 * 1000), str(3600 * 1000))
    assert own["min.insync.replicas"] == "1"
    for sibling in SIBLINGS:
        beside = settings(kafka, topic + sibling)
        assert beside["retention.ms"] == "-1"
        assert int(beside["max.message.bytes"]) > int(own["max.message.bytes"]) > 300_000


async def test_dead_letters_are_kept_as_long_as_was_said(kafka: Kafka) -> None:
    """For data that must not be kept for ever."""
    topic = unique()
    await create(kafka.url(topic), dead_retention="90d")
    assert settings(kafka, f"{topic}.dead")["retention.ms"] == str(90 * 86_400_000)


async def test_what_is_missing_is_made_and_what_is_there_is_told(kafka: Kafka) -> None:
    """As after an upgrade, or when somebody made the topic by hand; its settings stay, and a difference is said."""
    topic = kafka.create(partitions=2, siblings=False, retention_ms=3_600_000)
    kafka.create(f"{topic}.delay.1h", partitions=1, siblings=False)
    done = await create(kafka.url(topic), partitions=2, retention="2h")
    assert {name.removeprefix(topic): change.done for name, change in done.items()} == {
        "": "exists", ".dead": "created", ".delay.1m": "created", ".delay.1h": "exists", ".delay.1d": "created",
    }  # fmt: skip
    assert done[topic].note == "2 partitions; its retention.ms is 3600000, not 7200000"
    assert "its retention.ms is 604800000, not -1" in done[f"{topic}.delay.1h"].note


async def test_partitions_are_added_only_when_that_is_asked_for(kafka: Kafka) -> None:
    """With a warning about order by key; none are ever taken away."""
    topic = kafka.create(partitions=2)
    url = kafka.url(topic)
    assert (await create(url, partitions=4))[topic].note == "2 partitions, not 4; --grow adds them"
    assert partitions(kafka, topic) == [2]
    grown = (await create(url, partitions=4, grow=True))[topic]
    assert grown.done == "grown"
    assert "Keys go to other partitions from now on" in grown.note
    assert partitions(kafka, topic) == [4]
    assert "none can be taken away" in (await create(url, partitions=3, grow=True))[topic].note
    assert partitions(kafka, topic) == [4]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"replication": 3}, "can't be created: .*replication factor of 3"),
        ({"replication": 1, "min_isr": 2}, "nothing would be accepted"),
        ({"partitions": 0}, "--partitions 0"),
        ({"retention": "soon"}, "--retention soon is no duration"),
        ({"dead_retention": "-1"}, "--dead-retention -1 is no duration"),
    ],
)
async def test_what_can_not_be_is_refused_and_nothing_is_made(kafka: Kafka, options: dict[str, Any], text: str) -> None:
    """With the broker's reason, where it is the broker's."""
    topic = unique()
    with pytest.raises(ConfigurationError, match=text):
        await create(kafka.url(topic), **options)
    assert partitions(kafka, topic, f"{topic}.dead") == [0, 0]


# -- lag


async def test_what_is_finished_out_of_order_is_no_lag(kafka: Kafka) -> None:
    """The committed offset stays behind the one that is not finished; what is finished beyond it is counted."""
    topic = kafka.create(partitions=1)
    url = kafka.url(topic)
    async with open_queue(url) as queue, open_admin(url) as admin:
        await queue.push_many(events(5))
        first, *others = await popped(queue, 5)
        await queue.ack_many(others)
        await eventually(admin.lag, lambda shares: lag_of(shares) == 1)
        assert kafka.admin.list_group_offsets({topic: None})[topic]
        await queue.ack_many([first])
        await eventually(admin.lag, lambda shares: shares and lag_of(shares) == 0)


async def test_every_group_has_lag_of_its_own_partition_by_partition(kafka: Kafka) -> None:
    """Also one of a foreign client; own=True leaves the others out."""
    topic = kafka.create(partitions=2)
    url = kafka.url(topic, group="mail")
    async with open_queue(url) as queue, open_admin(url) as admin:
        placed = [Message(type="a", id=f"e-{n}", source="/test", partition=n % 2) for n in range(6)]
        await queue.push_many(placed)
        await queue.ack_many(await popped(queue, 6))
        await eventually(lambda: admin.lag(own=True), lambda shares: lag_of(shares) == 0)
        await asyncio.to_thread(consume, kafka, topic, "foreign", 2)
        shares = await admin.lag()
        assert [(one.group, one.partition) for one in shares] == [
            ("foreign", 0), ("foreign", 1), ("mail", 0), ("mail", 1),
        ]  # fmt: skip
        assert lag_of([one for one in shares if one.group == "foreign"]) == 4
        assert {one.owner is None for one in shares if one.group == "mail"} == {False}
        assert await admin.lag(own=True) == [one for one in shares if one.group == "mail"]
        tables = (await admin.describe()).tables
        assert [row["group"] for row in tables["groups"]] == ["foreign", "mail"]
        assert [row["partitions"] for row in tables["members"]] == ["0 1"]


async def test_a_group_that_never_consumed_has_everything_before_it(kafka: Kafka) -> None:
    """It would begin at the oldest event."""
    topic = kafka.create(partitions=1)
    url = kafka.url(topic, group="new")
    async with open_queue(url) as queue, open_admin(url) as admin:
        await queue.push_many(events(3))
        assert await admin.lag(own=True) == [Share(3, 0, None, "new")]
        assert await admin.lag() == []


def consume(kafka: Kafka, topic: str, group: str, number: int) -> None:
    """As another program does it: so many, committed, and gone."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, max_poll_records=number,
    )  # fmt: skip
    while not consumer.poll(200):
        pass
    consumer.commit()
    consumer.close(autocommit=False)


# -- list and describe


async def test_a_queue_is_listed_once_with_what_is_missing_beside_it(kafka: Kafka) -> None:
    """Delayed events and dead letters are figures of their queue; a topic on its own is a queue like any other."""
    whole, half = kafka.create(partitions=2), kafka.create(siblings=False)
    url = kafka.url(whole)
    async with open_queue(url) as queue, open_admin(url) as admin:
        late = Message(type="a", id="late", source="/test", not_before=queue.clock.now().replace(year=2100))
        await queue.push_many([*events(2), late])
        found = {info.name: info for info in await admin.list()}
    assert not any(name.startswith(f"{whole}.") for name in found)
    stats, facts = found[whole].stats, found[whole].facts
    assert (stats.waiting, stats.delayed, stats.dead) == (2, 1, 0)
    assert facts == {"partitions": 2, "replicas": 1, "missing": None}
    assert found[half].facts["missing"] == " ".join(half + sibling for sibling in SIBLINGS)


async def test_a_description_has_the_settings_that_matter(kafka: Kafka) -> None:
    """For people: how long, how large, how safe."""
    topic = kafka.create(partitions=1, retention_ms=-1)
    async with open_admin(kafka.url(topic)) as admin:
        info = await admin.describe()
    assert info.facts == {
        "replicas": 1, "copies to accept": 1, "largest batch": 1_048_588, "kept": "forever", "cleanup": "delete",
        "missing": None,
    }  # fmt: skip
    [partition] = info.tables["partitions"]
    assert (partition["partition"], partition["replicas"] == partition["in sync"], partition["end"]) == (0, True, 0)


# -- trouble


async def test_no_broker_is_told_and_the_event_loop_goes_on_meanwhile() -> None:
    """The client blocks; it has a thread of its own."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(turn())
    with pytest.raises(QueueUnavailable, match=r"kafka://127\.0\.0\.1:1 can't be reached"):
        async with open_admin("kafka://127.0.0.1:1/orders?connect_timeout=500ms"):
            pass
    ticking.cancel()
    assert turns > 20


async def test_whoever_may_not_is_told_and_no_password_is(kafka_secure: SecureKafka) -> None:
    """It is the right that is missing, not the topic; who may, can."""
    done = await create(kafka_secure.sasl("SCRAM-SHA-512"), partitions=1)
    assert {change.done for change in done.values()} == {"created"}
    url = kafka_secure.sasl("PLAIN", next(iter(done)), user=NOBODY)
    async with open_admin(url) as admin:
        for ask in (admin.describe, admin.lag, admin.delete, lambda: admin.create(TopicOptions())):
            with pytest.raises(ConfigurationError, match="does not allow this user the topic") as refused:
                await ask()
            assert PASSWORD not in str(refused.value)
        assert next(iter(done)) not in {info.name for info in await admin.list()}


async def test_a_group_whose_coordinator_is_elsewhere_now_is_found_again(kafka: Kafka) -> None:
    """The client would ask the old place for ever."""
    topic = kafka.create(partitions=1)
    async with open_admin(kafka.url(topic)) as admin:
        before = await admin.lag(own=True)
        places = admin._questions._admin._manager.cluster._coordinators  # type: ignore[attr-defined]  # what it remembers
        assert places
        places.update(dict.fromkeys(places, 99))
        assert await admin.lag(own=True) == before
