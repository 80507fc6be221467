"""Handlers that take long or end in any order: the membership is kept, and no more is committed than is finished."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from notification import Context, EventDispatcher
from queues._kafka_options import Brokers
from queues.url import QueueURL
from tests.kafka_client import KafkaAdminClient, KafkaConsumer, TopicPartition
from tests.kafka_server import Kafka

from .checker import check
from .homes import Home, topic_of_its_own
from .job import Job
from .programs import Theatre, theatre

soak = pytest.mark.soak
PARTITIONS = 3


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("longest", "work"), [(2.0, 6.0), pytest.param(10.0, 60.0, marks=soak)])
async def test_a_handler_may_run_for_far_longer_than_its_client_wants_polls(
    longest: float, work: float, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F23: 0 evictions and 0 duplicates, also while nothing more is read because enough is unfinished."""
    told = Brokers.consumer
    monkeypatch.setattr(
        Brokers, "consumer", lambda brokers: {**told(brokers), "max_poll_interval_ms": int(longest * 1000)}
    )
    url = topic_of_its_own(kafka, partitions=PARTITIONS, lease=1, unsettled=20)
    group, handled = QueueURL.parse(url).path.strip("/"), Counter[str]()
    dispatcher = EventDispatcher(url, prefetch=4)

    @dispatcher.on(Job)
    async def handle(job: Job, ctx: Context) -> None:
        await asyncio.sleep(job.work)
        handled[ctx.id] += 1

    async with dispatcher:
        await dispatcher.start(workers=4)
        for number in range(100):
            await dispatcher.dispatch(Job(number, number, work=work if number < 4 else 0.0), id=str(number))
        before = await asyncio.to_thread(members, kafka, group)
        await asyncio.sleep(work - 1)
        assert handled.keys().isdisjoint("0123")
        assert await asyncio.to_thread(members, kafka, group) == before
        assert ((await dispatcher.stats()).in_flight or 0) >= 4
        await asyncio.wait_for(dispatcher.join(), 30)
        assert await asyncio.to_thread(members, kafka, group) == before
        assert (await dispatcher.health()).lost_leases == 0
    assert len(before) == 1
    assert handled == {str(number): 1 for number in range(100)}


def members(kafka: Kafka, group: str) -> list[str]:
    """Whoever is expelled comes again under another name."""
    return [member["member_id"] for member in kafka.admin.describe_groups([group])[group]["members"]]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kills", "events"), [(5, 5_000), pytest.param(20, 20_000, marks=soak)])
def test_what_is_committed_is_finished_and_what_is_finished_is_not_run_again(
    kills: int, events: int, tmp_path: Path, kafka: Kafka
) -> None:
    """F24: 64 handlers end in any order and die; the committed offset is never above the lowest unfinished, and what
    was finished 200 ms before a death is not run again.
    """
    with theatre(tmp_path, Home("kafka", kafka), partitions=PARTITIONS, lease=1) as stage:
        workers = [stage.worker(workers=64, prefetch=64) for _ in range(2)]
        for worker in workers:
            worker.ready()
        enough = tmp_path / "enough"
        producer = stage.producer(count=events, keys=500, rate=400, least=0.01, work=0.2, until=str(enough))
        deaths: list[tuple[float, str]] = []
        with watch(kafka, topic_of(stage)) as seen:
            for _ in range(kills):
                stage.handles(events // kills - 100)
                victim = workers.pop(0)
                deaths.append((victim.kill(), victim.name))
                workers.append(stage.worker(workers=64, prefetch=64).ready())
            enough.touch()
            producer.finished(300)
            stage.handles_all(lambda: stage.ids("sent") - stage.ids("ended"))
        stage.finish()
        verdict = check(tmp_path)
        assert verdict.sent >= events
        assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.inversions) == ([], [], [], [])
        assert list(run_again(stage.lines("began", "ended"), deaths)) == []
        assert len(seen) > 50
        assert early_commits(stage, seen, events_in(kafka, topic_of(stage))) == []


def topic_of(stage: Theatre) -> str:
    return QueueURL.parse(stage.url).path.strip("/")


Commits = list[tuple[float, dict[int, int]]]
"""When offsets were read, and the one of each partition."""


@contextmanager
def watch(kafka: Kafka, group: str) -> Iterator[Commits]:
    """What a group has committed, again and again; each with the moment when it was known."""
    seen, over = Commits(), threading.Event()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap.split(","))

    def look() -> None:
        while not over.wait(0.02):
            found = admin.list_group_offsets({group: None}).get(group, {})
            seen.append((time.monotonic(), {place.partition: one.offset for place, one in found.items()}))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        admin.close()


def events_in(kafka: Kafka, topic: str) -> dict[int, list[str]]:
    """The ids of each partition in order."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), auto_offset_reset="earliest")
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    found: dict[int, list[str]] = {number: [] for number in range(PARTITIONS)}
    try:
        consumer.assign(places)
        count = sum(consumer.end_offsets(places).values())
        while sum(map(len, found.values())) < count:
            for place, records in consumer.poll(1000).items():
                found[place.partition] += [id_of(record.value) for record in records]
    finally:
        consumer.close()
    return found


def id_of(value: bytes) -> str:
    id_: str = json.loads(value)["id"]
    return id_


def early_commits(stage: Theatre, seen: Commits, events: dict[int, list[str]]) -> list[str]:
    """Those that were below a committed offset before they had ended."""
    ended = {line["id"]: line["at"] for line in reversed(stage.lines("ended"))}
    wrong = set[str]()
    low = dict.fromkeys(events, 0)
    for moment, offsets in seen:
        for partition, offset in offsets.items():
            wrong.update(id_ for id_ in events[partition][low[partition] : offset] if ended[id_] > moment)
            low[partition] = max(low[partition], offset)
    return sorted(wrong)


def run_again(lines: list[dict[str, Any]], deaths: list[tuple[float, str]]) -> Iterator[str]:
    """Those that a process had ended 200 ms before it died, and that began after its death."""
    for death, who in deaths:
        its = [
            line["id"] for line in lines if (line["stage"], line["who"]) == ("ended", who) and line["at"] < death - 0.2
        ]
        later = {line["id"] for line in lines if line["stage"] == "began" and line["at"] > death}
        yield from later.intersection(its)
