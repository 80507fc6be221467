"""Topics that change under a running worker: deleted, grown, shortened, forgotten by the group."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from notification import Context, EventDispatcher, RetryPolicy
from queues._kafka_client import OffsetSpec
from queues._kafka_options import Brokers
from queues._kafka_topics import all_of
from queues.errors import QueueUnavailable
from queues.url import QueueURL
from tests.kafka_client import NewPartitions, TopicPartition
from tests.kafka_server import Kafka
from tests.stage import until

from .homes import topic_of_its_own
from .job import Job


def topic_of(url: str) -> str:
    return QueueURL.parse(url).path.strip("/")


class Desk:
    """A dispatcher of a topic, and what its handler did."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.handled = Counter[str]()
        self.dispatcher = EventDispatcher(url, retry=RetryPolicy(attempts=1), **settings)
        self.dispatcher.on(Job)(self._work)

    async def _work(self, job: Job, ctx: Context) -> None:
        self.handled[ctx.id] += 1
        if job.act:
            raise ValueError("as it should")

    async def send(self, names: Iterable[str], act: str = "") -> None:
        """One a key, all at once."""
        await asyncio.gather(
            *(self.dispatcher.dispatch(Job(n, n, act=act), id=name, key=name) for n, name in enumerate(names))
        )

    async def takes(self, name: str) -> bool:
        """Whether it is accepted."""
        try:
            await self.dispatcher.dispatch(Job(0, 0), id=name)
        except QueueUnavailable:
            return False
        return True

    async def refuses(self, name: str) -> bool:
        return not await self.takes(name)

    async def is_told(self, words: str) -> bool:
        """Whether health says that something is wrong, with these words."""
        health = await self.dispatcher.health()
        return health.live and not health.ready and words in health.last_error

    async def letters(self) -> list[str]:
        return sorted([letter.id async for letter in self.dispatcher.dead_letters.browse()])


def names(what: str, count: int = 20) -> list[str]:
    return [f"{what}-{number}" for number in range(count)]


@pytest.mark.timeout(120)
async def test_a_topic_that_is_deleted_under_us_is_told_and_used_again_when_it_is_back(kafka: Kafka) -> None:
    """Dispatches are refused, health names it, the worker stays; all that is dispatched to the new one is handled."""
    url = topic_of_its_own(kafka, partitions=3, lease=2)
    topic, desk = topic_of(url), Desk(url)
    async with desk.dispatcher:
        await desk.dispatcher.start(workers=4)
        await desk.send(names("before"))
        await until(lambda: len(desk.handled) == 20)
        await asyncio.to_thread(kafka.admin.delete_topics, all_of(topic))
        await until(lambda: desk.refuses("in vain"), "dispatches are refused")
        await until(lambda: desk.is_told(topic), "health names it")
        await asyncio.to_thread(kafka.create, topic)
        await until(lambda: desk.takes("first"), "dispatches are accepted")
        await desk.send(names("after"))
        await until(lambda: {"first", *names("after")} <= desk.handled.keys(), "what is in the new topic is handled")
        await until(lambda: is_healthy(desk.dispatcher))
    assert {desk.handled[name] for name in names("after")} == {1}


async def is_healthy(dispatcher: EventDispatcher) -> bool:
    health = await dispatcher.health()
    return health.ready and not health.degraded


@pytest.mark.timeout(120)
async def test_dead_letters_that_cannot_be_written_are_not_acked_and_are_made_good(kafka: Kafka) -> None:
    """F38: their topic is gone: health tells; when it is back they are written; others go on meanwhile."""
    url = topic_of_its_own(kafka, partitions=3, timeout="500ms", connect_timeout="500ms")
    letters, desk = f"{topic_of(url)}.dead", Desk(url)
    async with desk.dispatcher:
        await desk.dispatcher.start(workers=4)
        await asyncio.to_thread(kafka.admin.delete_topics, [letters])
        await desk.send(names("bad", 5), act="fails")
        await desk.send(names("good"))
        await until(lambda: len(desk.handled) == 25)
        await until(lambda: desk.is_told("not stored"), "health tells")
        assert (await desk.dispatcher.stats()).in_flight == 5
        await asyncio.to_thread(kafka.create, letters, siblings=False, partitions=1)
        await asyncio.wait_for(desk.dispatcher.join(), 30)
        assert sorted(set(await desk.letters())) == names("bad", 5)  # one whose answer was lost may be there twice
    assert set(desk.handled.values()) == {1}


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients see within half a second that a topic has more partitions, instead of within 30 s."""
    told = Brokers.admin
    monkeypatch.setattr(Brokers, "admin", lambda brokers: {**told(brokers), "metadata_max_age_ms": 500})


@pytest.mark.usefixtures("looks_often")
@pytest.mark.timeout(120)
async def test_partitions_that_are_added_lose_nothing(kafka: Kafka) -> None:
    """F25: 3 to 6 while two members consume and events go in: all are handled once, those of the new partitions too."""
    url = topic_of_its_own(kafka, partitions=3)
    desks = [Desk(url), Desk(url)]
    sent, grown = list[str](), asyncio.Event()

    async def dispatch() -> None:
        while not grown.is_set() or len(sent) < 5_000:
            batch = [f"e{len(sent) + n}" for n in range(50)]
            await desks[0].send(batch)
            sent.extend(batch)
            await asyncio.sleep(0.05)

    async with desks[0].dispatcher, desks[1].dispatcher:
        for desk in desks:
            await desk.dispatcher.start(workers=4)
        dispatching = asyncio.ensure_future(dispatch())
        await until(lambda: all(desk.handled for desk in desks), "both consume")
        await asyncio.to_thread(kafka.admin.create_partitions, {topic_of(url): NewPartitions(6)})
        await until(lambda: all(offset > 50 for offset in ends(kafka, topic_of(url), 6)), "the new ones are used")
        grown.set()
        await dispatching
        await until(lambda: handled(desks).keys() == set(sent), "all are handled")
    assert set(handled(desks).values()) == {1}


def handled(desks: Iterable[Desk]) -> Counter[str]:
    return sum((desk.handled for desk in desks), Counter[str]())


def ends(kafka: Kafka, topic: str, partitions: int) -> list[int]:
    """How many events each has had."""
    places = [TopicPartition(topic, number) for number in range(partitions)]
    found = kafka.admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    return [found[place].offset for place in places]


@pytest.mark.timeout(120)
async def test_a_group_whose_offsets_have_expired_begins_with_the_oldest(kafka: Kafka) -> None:
    """F25: all that is in the topic is handled, much of it again; nothing that came meanwhile is passed over."""
    url = topic_of_its_own(kafka, partitions=3)
    topic = topic_of(url)
    before = Desk(url)
    async with before.dispatcher:
        await before.dispatcher.start(workers=4)
        await before.send(names("old"))
        await until(lambda: len(before.handled) == 20)
    await asyncio.to_thread(kafka.admin.delete_groups, [topic])
    after = Desk(url)
    async with after.dispatcher:
        await after.send(names("new"))
        await after.dispatcher.start(workers=4)
        await until(lambda: len(after.handled) == 40)
        assert after.handled.keys() == {*names("old"), *names("new")}
        assert set(after.handled.values()) == {1}


@pytest.mark.timeout(120)
async def test_a_topic_whose_beginning_is_gone_is_read_from_what_is_left(kafka: Kafka) -> None:
    """F25: its retention was shorter than our absence: what it still has is handled, and the group's lag goes to 0."""
    url = topic_of_its_own(kafka, partitions=1)
    topic = topic_of(url)
    before = Desk(url)
    async with before.dispatcher:
        await before.dispatcher.start(workers=4)
        await before.send(names("old"))
        await until(lambda: len(before.handled) == 20)
    after = Desk(url)
    async with after.dispatcher:
        await after.send(names("gone"))
        place = TopicPartition(topic, 0)
        await asyncio.to_thread(kafka.admin.delete_records, {place: 40})
        await after.send(names("left"))
        await after.dispatcher.start(workers=4)
        await until(lambda: len(after.handled) == 20)
        await asyncio.wait_for(after.dispatcher.join(), 20)
    assert after.handled == Counter(names("left"))
