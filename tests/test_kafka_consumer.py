"""Members of a group: what they are handed, what is theirs, and what is left behind when they come, go or fail."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pytest

from queues import _kafka_wire, wire
from queues._kafka_buffers import Place
from queues._kafka_consumer import Consumer
from queues._kafka_errors import meaning
from queues._kafka_poll import Subscription
from queues.clock import SYSTEM_CLOCK
from queues.errors import QueueClosed, QueueUnavailable
from queues.kafka import KafkaQueue
from queues.message import Delivery, Message, Nack
from queues.registry import open_queue

from .kafka_client import (
    CooperativeStickyAssignor,
    KafkaConsumer,
    KafkaError,
    KafkaProducer,
    KafkaTimeoutError,
    MemberToRemove,
    TopicPartition,
)
from .kafka_producing import brokers_of, event
from .kafka_server import Kafka
from .redis_server import until as wait_until

PATIENCE = 20.0


def consumer(url: str, **more: Any) -> Consumer:
    """As a queue makes it of this URL. more: of the Subscription."""
    brokers = brokers_of(url)
    subscription = Subscription(
        settings=lambda: {**brokers.consumer(), "group_id": brokers.group},
        topics=[brokers.topic], partitions=brokers.partitions or (), lease=brokers.options.session_timeout, **more,
    )  # fmt: skip
    return Consumer(
        subscription, _read, SYSTEM_CLOCK, keyed=True, meaning=partial(meaning, brokers=brokers, unknown=False)
    )


def _read(record: Any, place: Place, times: int) -> Delivery | None:
    return _kafka_wire.delivery_of(record, place, times)


@contextlib.asynccontextmanager
async def consuming(url: str, **more: Any) -> AsyncIterator[Consumer]:
    member = consumer(url, **more)
    try:
        yield member
    finally:
        await member.close()


async def popped(member: Consumer, count: int) -> list[Delivery]:
    """So many, and no more come with them."""
    got: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(got) < count:
            got += await member.pop(count - len(got))
    return got


async def in_spite_of_errors(member: Consumer, count: int) -> tuple[list[Delivery], list[str]]:
    """So many, and what whoever popped was told meanwhile."""
    got, errors = list[Delivery](), list[str]()
    async with asyncio.timeout(PATIENCE):
        while len(got) < count:
            try:
                got += await member.pop(count - len(got))
            except QueueUnavailable as error:
                errors.append(str(error))
    return got, errors


async def told(member: Consumer, words: str) -> None:
    """Whoever pops is told this, and gets nothing before."""
    with pytest.raises(QueueUnavailable, match=words):
        await popped(member, 1)


async def until(state: Callable[[], object]) -> None:
    """Wait for a state that must come."""
    async with asyncio.timeout(PATIENCE):
        while not state():
            await asyncio.sleep(0.005)


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.expect().id for delivery in deliveries]


def written(
    kafka: Kafka, topic: str, messages: Sequence[Message], *, partition: int | None = 0, **settings: Any
) -> list[str]:
    """Into this partition of three, or into each in turn; their ids."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap.split(","), acks="all", linger_ms=5, **settings)
    try:
        for number, message in enumerate(messages):
            where = number % 3 if partition is None else partition
            producer.send(topic, wire.encode(message), partition=where)
        producer.flush()
    finally:
        producer.close()
    return [message.id for message in messages]


def events(count: int, **more: Any) -> list[Message]:
    return [event(**more) for _ in range(count)]


def committed(kafka: Kafka, topic: str, group: str | None = None) -> dict[int, int]:
    group = group or topic
    found = kafka.admin.list_group_offsets({group: None}).get(group, {})
    return {place.partition: one.offset for place, one in found.items() if place.topic == topic}


def members(kafka: Kafka, group: str) -> int:
    return len(kafka.admin.describe_groups([group])[group]["members"])


def member_of(one: Consumer) -> Any:
    """The client's consumer that it runs now."""
    return one._poller._listener.consumer


def generation(one: Consumer) -> int | None:
    """Of the group that it is a settled member of."""
    if member_of(one) is None:
        return None
    known = member_of(one).group_metadata()
    return known.generation_id if known.state == "<stable>" else None


async def expelled(kafka: Kafka, group: str, one: Consumer) -> None:
    """The broker lets it hold nothing any more, as after a silence that was too long."""
    mine = MemberToRemove(member_of(one).group_metadata().member_id)
    await asyncio.to_thread(kafka.admin.remove_group_members, group, [mine])


# -- who is handed what


async def test_what_is_only_handed_out_is_not_committed(kafka: Kafka) -> None:
    """A new group has nothing behind it before something is finished: whoever stops or dies has skipped nothing."""
    topic = kafka.create(partitions=3, siblings=False)
    sent = written(kafka, topic, events(300), partition=None)
    async with consuming(kafka.url(topic)) as first:
        await popped(first, 300)
        await until(lambda: len(committed(kafka, topic)) == 3)
        assert set(committed(kafka, topic).values()) == {0}
    async with consuming(kafka.url(topic)) as second:
        got = await popped(second, 300)
    assert sorted(ids(got)) == sorted(sent)
    assert {delivery.times for delivery in got} == {1}


async def test_members_that_leave_at_any_moment_skip_and_blame_nothing(kafka: Kafka) -> None:
    """In the middle of joining, of being admitted, of reading; and none of them leaves a thread behind."""
    topic, dice = kafka.create(partitions=3, siblings=False), random.Random(6)
    sent = written(kafka, topic, events(30), partition=None)
    threads = threading.active_count()
    for _ in range(15):
        member = consumer(kafka.url(topic))
        member.begin()
        await asyncio.sleep(dice.uniform(0, 0.3))
        await member.close()
    await until(lambda: threading.active_count() == threads)
    async with consuming(kafka.url(topic)) as last:
        got = await popped(last, 30)
    assert sorted(ids(got)) == sorted(sent)
    assert {delivery.times for delivery in got} == {1}


def announced(kafka: Kafka, topic: str, seconds: float) -> None:
    """Somebody is about to join, and never does: whoever joins meanwhile waits until his session is over."""
    ghost: Any = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap.split(","), group_id=topic, session_timeout_ms=int(1000 * seconds),
        partition_assignment_strategy=[CooperativeStickyAssignor],
    )  # fmt: skip
    answer = ghost._coordinator._process_join_group_response

    def only_the_first(*arguments: Any) -> Any:
        try:
            return answer(*arguments)
        except KafkaError as error:
            raise KafkaError("that is enough") from error

    ghost._coordinator._process_join_group_response = only_the_first
    with pytest.raises(KafkaError, match="that is enough"):
        ghost.poll(10_000)
    ghost._coordinator.maybe_leave_group = lambda **_: None
    ghost.close(autocommit=False)


async def test_who_leaves_in_a_rebalance_that_takes_its_time_commits_all_the_same(kafka: Kafka) -> None:
    """What was finished meanwhile is not run again, and what was not is blamed on nobody."""
    topic = kafka.create(partitions=1, siblings=False)
    sent = written(kafka, topic, events(10))
    member = consumer(kafka.url(topic))
    got = await popped(member, 10)
    await asyncio.to_thread(announced, kafka, topic, 4.5)
    member_of(member)._coordinator.request_rejoin()
    await until(lambda: generation(member) is None)
    assert await member.finish(got[:4]) == []
    assert generation(member) is None
    await member.close()
    async with consuming(kafka.url(topic)) as heir:
        rest = await popped(heir, 6)
    assert ids(rest) == sent[4:]
    assert {delivery.times for delivery in rest} == {1}


async def test_members_that_come_and_go_run_each_event_once(kafka: Kafka) -> None:
    """Partitions change hands in good order: what runs is finished and committed first."""
    topic, dice = kafka.create(partitions=4, siblings=False), random.Random(7)
    sent = written(kafka, topic, events(1200), partition=None)
    runs, lost = Counter[str](), list[Delivery]()

    async def work(member: Consumer) -> None:
        with contextlib.suppress(QueueClosed):
            while True:
                for delivery in await member.pop(10):
                    await asyncio.sleep(dice.uniform(0, 0.008))
                    lost.extend(await member.finish([delivery]))
                    runs[delivery.expect().id] += 1

    async def come_and_go() -> None:
        while len(runs) < len(sent):
            async with consuming(kafka.url(topic)) as member:
                task = asyncio.create_task(work(member))
                await asyncio.sleep(dice.uniform(0.3, 1.2))
                member.stop()
                await task

    async with asyncio.timeout(60):
        await asyncio.gather(come_and_go(), come_and_go(), come_and_go())
    assert runs == Counter(sent)
    assert not lost


@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_is_handed_what_another_member_still_runs(kafka: Kafka, seed: int) -> None:
    """However many join in one moment: a partition is drained before another member has it."""
    topic, dice = kafka.create(partitions=6, siblings=False), random.Random(seed)
    written(kafka, topic, events(18), partition=None)
    url = kafka.url(topic)
    async with contextlib.AsyncExitStack() as group:
        first = await group.enter_async_context(consuming(url))
        held = await popped(first, 18)
        others = [await group.enter_async_context(consuming(url)) for _ in range(3)]
        for other in others:
            other.begin()
            await asyncio.sleep(dice.uniform(0, 0.4))
        await until(lambda: any(one.receipt.ledger.leaving for one in held))
        pops = [asyncio.create_task(other.pop(10)) for other in others]
        assert [await pop for pop in pops] == [[], [], []]
        assert await first.finish(held) == []


async def test_pops_that_are_cancelled_lose_nothing(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a cancelled pop would have got is left to the next one."""
    monkeypatch.setattr("queues._kafka_consumer._WAIT", 0.05)
    topic, dice = kafka.create(partitions=1, siblings=False), random.Random(8)
    got = list[Delivery]()
    async with consuming(kafka.url(topic)) as member:

        async def pop() -> None:
            got.extend(await member.pop(1))

        sent = list[str]()
        for _ in range(10):
            sent += await asyncio.to_thread(written, kafka, topic, events(5))
            pops = [asyncio.create_task(pop()) for _ in range(20)]
            for task in dice.sample(pops, 15):
                await asyncio.sleep(dice.choice([0, 0, 0.001, 0.01]))
                task.cancel()
            await asyncio.wait(pops)
        got += await popped(member, len(sent) - len(got))
    assert sorted(ids(got)) == sorted(sent)


async def test_a_pop_that_finds_nothing_leaves_nothing_behind(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is idle for a year is as small as it was."""
    monkeypatch.setattr("queues._kafka_consumer._WAIT", 0.01)
    topic = kafka.create(partitions=1, siblings=False)
    async with consuming(kafka.url(topic)) as member:
        for _ in range(5):
            assert await member.pop(1) == []
        pop = asyncio.create_task(member.pop(1))
        await asyncio.sleep(0)
        pop.cancel()
        await asyncio.wait([pop])
        assert not member._pops


async def test_an_old_hand_out_can_not_settle_a_new_one(kafka: Kafka) -> None:
    """An event that came back is another delivery: who still has the first one is told that it is not his."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(1))
    async with consuming(kafka.url(topic)) as member:
        [old] = await popped(member, 1)
        assert await member.give_back([Nack(old)], settled=True) == []
        [new] = await popped(member, 1)
        assert await member.finish([old]) == [old]
        assert await member.give_back([Nack(old)], settled=True) == [old]
        assert await member.finish([new]) == []


async def test_memory_is_bounded_while_the_event_loop_is_busy(kafka: Kafka) -> None:
    """What is read and not popped counts from the moment when it is read."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(200, data="x" * 100_000))
    async with consuming(kafka.url(topic), most_bytes=1 << 20) as member:
        member.begin()
        await until(member.books.standing)
        time.sleep(2)  # as a handler does that blocks the event loop
        assert member.books.standing()[0].next < 60
        assert len(await popped(member, 200)) == 200


async def test_letters_are_free_again_when_a_look_at_them_is_cut_short(kafka: Kafka) -> None:
    """A command that is interrupted holds nothing back."""
    topic = kafka.create(partitions=1)
    letters = open_queue(kafka.url(f"{topic}.dead"))
    await letters.open()
    try:
        await letters.push_many(events(20))
        look = asyncio.create_task(letters.take(lambda message: False, 10))
        assert isinstance(letters, KafkaQueue)
        await until(lambda: [one.popped for one in letters._consumer.books.standing().values()] == [20])
        look.cancel()
        await asyncio.wait([look])
        got = list[Delivery]()
        async with asyncio.timeout(5):
            while len(got) < 20:
                got += await letters.pop_many(20)
    finally:
        await letters.close()


# -- what is ours


async def test_starts_one_after_another_wait_for_one_commit_each(kafka: Kafka) -> None:
    """Events at their last chance run one at a time: each waits until the broker knows, and no longer."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(30))
    async with consuming(kafka.url(topic)) as member:
        longest = 0.0
        for delivery in await popped(member, 30):
            began = time.monotonic()
            assert await member.started([delivery]) == []
            longest = max(longest, time.monotonic() - began)
            assert await member.finish([delivery]) == []
    assert longest < 2


async def test_what_was_held_by_a_member_that_was_expelled_is_refused(kafka: Kafka) -> None:
    """Its stale acks and nacks are told as lost, and take nothing from the new owner."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(4))
    url = kafka.url(topic, session_timeout=2)
    async with consuming(url) as first, consuming(url) as heir:
        stale = await popped(first, 4)
        heir.begin()
        await until(lambda: members(kafka, topic) == 2)
        await until(lambda: generation(first) == generation(heir) is not None)
        await expelled(kafka, topic, first)
        await until(lambda: stale[0].receipt.ledger.over)
        assert await first.finish(stale[:2]) == stale[:2]
        assert await first.give_back([Nack(one) for one in stale[2:]], settled=True) == stale[2:]


async def test_a_drain_that_is_longer_than_the_session_settles_what_ends_in_it(kafka: Kafka) -> None:
    """While a partition waits for its handlers, its commits prove that all is ours still."""
    topic = kafka.create(partitions=2, siblings=False)
    sent = [written(kafka, topic, events(3), partition=number) for number in (0, 1)]
    url = kafka.url(topic, session_timeout=1)
    async with consuming(url) as first, consuming(url) as second:
        held = await popped(first, 6)
        second.begin()
        await until(lambda: any(one.receipt.ledger.leaving for one in held))
        began = time.monotonic()
        await until(lambda: time.monotonic() > began + 1.5)
        for delivery in held:
            assert await first.started([delivery]) == []
            assert await first.finish([delivery]) == []
        assert time.monotonic() - began < 4
        await until(second.books.standing)
        more = written(kafka, topic, events(1), partition=0) + written(kafka, topic, events(1), partition=1)
        got = await popped(first, 1) + await popped(second, 1)
    assert sorted(ids(got)) == sorted(more)
    assert sum(map(len, sent)) == 6


async def test_who_is_let_in_again_begins_where_he_was(kafka: Kafka) -> None:
    """The client may still have an answer about offsets that it asked for long ago: it is not where it goes on."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(10))
    async with consuming(kafka.url(topic)) as member:
        held = await popped(member, 10)
        with pytest.raises(KafkaTimeoutError):
            member_of(member).committed(TopicPartition(topic, 0), timeout_ms=0)
        assert await member.finish(held) == []
        await until(lambda: committed(kafka, topic, topic) == {0: 10})
        await expelled(kafka, topic, member)
        await until(lambda: held[0].receipt.ledger.over)
        sent = await asyncio.to_thread(written, kafka, topic, events(1))
        assert ids(await popped(member, 1)) == sent
        assert committed(kafka, topic, topic)[0] >= 10


def test_who_forgets_to_close_leaves_the_group_with_his_event_loop(kafka: Kafka) -> None:
    """The thread finds nobody to hand over to, and ends; what was held goes to others."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(3))
    threads = threading.active_count()

    async def main() -> None:
        member = consumer(kafka.url(topic))
        await popped(member, 3)
        assert members(kafka, topic) == 1

    asyncio.run(main())
    wait_until(lambda: threading.active_count() == threads)
    wait_until(lambda: members(kafka, topic) == 0)


# -- who is refused


async def test_a_group_that_shares_out_in_another_way_is_told_and_waited_for(kafka: Kafka) -> None:
    """A foreign consumer has the group: whoever pops learns it at once, the broker is asked once a second, and when the
    other one has gone, work begins.
    """
    topic = kafka.create(partitions=1, siblings=False)
    foreign = KafkaConsumer(topic, bootstrap_servers=kafka.bootstrap.split(","), group_id=topic)
    try:
        await asyncio.to_thread(wait_until, lambda: foreign.poll(2000) or foreign.assignment())
        async with consuming(kafka.url(topic)) as member:
            await told(member, r"another way; choose another \?group=")
            began = time.monotonic()
            await told(member, r"another way; choose another \?group=")
            assert time.monotonic() - began > 0.5
            await asyncio.to_thread(foreign.close)
            sent = await asyncio.to_thread(written, kafka, topic, events(1))
            assert ids((await in_spite_of_errors(member, 1))[0]) == sent
    finally:
        foreign.close()


async def test_partitions_of_a_group_that_has_members_are_refused_with_words(kafka: Kafka) -> None:
    """Who reads fixed partitions commits for the group, which the broker leaves to members while there are some."""
    topic = kafka.create(partitions=1, siblings=False)
    written(kafka, topic, events(1))
    async with consuming(kafka.url(topic)) as member:
        await popped(member, 1)
        async with consuming(kafka.url(topic, partitions="0")) as other:
            await told(other, "has members")


async def test_a_batch_that_can_not_be_read_holds_up_its_partition_only(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codec is not installed: the others go on, what is missing is told, and no event is lost."""
    topic = kafka.create(partitions=2, siblings=False)
    sent = written(kafka, topic, events(1, data="x" * 2000), partition=0, compression_type="gzip")
    others = written(kafka, topic, events(3), partition=1)
    installed = False
    monkeypatch.setattr("kafka.codec.has_gzip", lambda: installed)
    async with consuming(kafka.url(topic)) as member:
        try:
            got, before = await in_spite_of_errors(member, 3)
            assert await member.finish(got) == []
            more = written(kafka, topic, events(3), partition=1)
            again, still = await in_spite_of_errors(member, 3)
            assert ids(got + again) == others + more
            assert {delivery.times for delivery in got + again} == {1}
            assert any("gzip" in word for word in before + still)
            installed = True
            last, _ = await in_spite_of_errors(member, 1)
            assert ids(last) == sent
        finally:
            with contextlib.suppress(Exception):  # else its thread would never come out of the client
                member_of(member).pause(TopicPartition(topic, 0))
