"""The Redis Streams queue: the conformance suite, and what is its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from queues._redis_stream_owner import copy_of
from queues.base import MessageQueue
from queues.conformance import QueueConformance
from queues.conformance.suite import MakeQueue, cancelled
from queues.conformance.waiting import event, events, eventually, ids, popped
from queues.errors import ConfigurationError, PushFailed, QueueFull, QueueUnavailable
from queues.message import DeadLetter, Delivery, Nack
from queues.redis_stream import RedisStreamQueue
from queues.registry import open_queue
from tests.redis_server import Redis, Start

PATIENCE = 10.0


class TestRedisStreamQueue(QueueConformance):
    """Each test has a stream of its own on a server that all share, and a user who may do what the documents say and
    nothing else.
    """

    @pytest.fixture
    def make_queue(self, redis: Redis) -> MakeQueue:
        name = f"conformance-{uuid.uuid4().hex}"
        return lambda **options: open_queue(redis.queue(name, scheme="redis+stream", user="limited", **options))

    async def inject(self, queue: MessageQueue, raw: bytes) -> None:
        assert isinstance(queue, RedisStreamQueue)
        await queue._pushes.call(("XADD", queue._keys.waiting, "*", "event", raw))

    async def ready(self, *owners: MessageQueue) -> None:
        for owner in owners:
            await begun(owner)


async def begun(queue: MessageQueue) -> None:
    """A group begins when it first takes something, or looks whether there is something to take."""
    assert await queue.take(lambda _: False, 1) == []


class Streams:
    """Opens owners of one stream, and looks at it from outside."""

    def __init__(self, redis: Redis, stack: contextlib.AsyncExitStack, scheme: str = "redis+stream") -> None:
        self.redis, self.name = redis, f"q-{uuid.uuid4().hex[:12]}"
        self._stack, self._scheme = stack, scheme
        self.admin: Any = redis.admin

    async def open(self, group: str = "a", *, name: str | None = None, **options: Any) -> RedisStreamQueue:
        """Another owner, whose group has begun."""
        queue = open_queue(self.redis.queue(name or self.name, scheme=self._scheme, group=group, **options))
        assert isinstance(queue, RedisStreamQueue)
        await self._stack.enter_async_context(queue)
        await begun(queue)
        return queue

    def length(self) -> int:
        return int(self.admin.xlen(self.name))

    def consumers(self, group: str = "a") -> dict[str, int]:
        """Their names, each with how many deliveries are pending."""
        return {one["name"].decode(): one["pending"] for one in self.admin.xinfo_consumers(self.name, group)}

    def key(self, suffix: str) -> str:
        return f"{{{self.name}}}:{suffix}"


@pytest.fixture
async def streams(redis: Redis) -> AsyncIterator[Streams]:
    async with contextlib.AsyncExitStack() as stack:
        yield Streams(redis, stack)


async def taken(queue: MessageQueue, count: int) -> list[Delivery]:
    return await popped(queue, count, "what was pushed is handed out", PATIENCE)


async def until(look: Callable[[], Any], wanted: Callable[[Any], bool] = bool) -> Any:
    async def looked() -> Any:
        return look()

    return await eventually(looked, wanted, "the state comes", PATIENCE)


# -- owners


async def test_an_owner_that_lost_its_lease_goes_on_under_a_new_name(streams: Streams) -> None:
    """All that the old name held is lost at once; the new one is handed events like any other."""
    zombie, heir = await streams.open(lease=0.3), await streams.open(lease=30)
    await zombie.push_many(events(3))
    stale = await taken(zombie, 3)
    await taken(heir, 3)
    assert await zombie.ack_many(stale[:1]) == stale[:1], "a stale ack is refused"
    assert await zombie.extend(stale) == stale, "and so is everything else that the old name held"
    await zombie.push(event("next"))
    got = await taken(zombie, 1)
    assert ids(got) == ["next"]
    assert await zombie.ack_many(got) == []


async def test_a_consumer_is_named_as_its_url_says(streams: Streams) -> None:
    """A name that operators know stands before ours, also after a lease that was lost."""
    named = await streams.open(lease=0.3, consumer="shop-1")
    await named.push(event("a"))
    first = await taken(named, 1)
    assert [name for name in streams.consumers() if name.startswith("shop-1-")] == [named._owner.name]
    heir = await streams.open(lease=30)
    await taken(heir, 1)
    assert await named.extend(first) == first, "its lease was lost"
    await named.push(event("b"))
    await taken(named, 1)
    assert named._owner.name.startswith("shop-1-")
    with pytest.raises(ConfigurationError, match="the consumer name"):
        open_queue("redis+stream://localhost?consumer=shop 1")


async def test_no_more_is_taken_over_at_a_time_than_the_url_says(streams: Streams) -> None:
    """Of what was handed back; all of it comes, a few at a time, and what is new is not held up."""
    leaving = await streams.open()
    await leaving.push_many(events(5))
    await leaving.release(await taken(leaving, 5))
    heir = await streams.open(claim=2)
    await heir.push(event("new"))
    sizes: list[int] = []
    got: list[str] = []
    while len(got) < 6:
        batch = await heir.pop_many(100)
        sizes.append(len(batch))
        got += ids(batch)
    assert max(sizes) <= 3
    assert sorted(got) == ["e0", "e1", "e2", "e3", "e4", "new"]
    with pytest.raises(ConfigurationError, match=r"\?claim=0 must be more than 0"):
        open_queue("redis+stream://localhost?claim=0")


async def test_a_dead_owner_is_forgotten_with_all_it_left(streams: Streams) -> None:
    """No consumer, no lease and no mark of a started event stays behind."""
    dead, heir = await streams.open(lease=0.3), await streams.open(lease=30)
    await dead.push_many(events(5))
    held = await taken(dead, 5)
    assert await dead.started(held[:2]) == []
    assert streams.admin.scard(streams.key("started:a")) == 2
    await heir.ack_many(await taken(heir, 5))
    assert set(streams.consumers()) <= {heir._owner.name, "released"}
    assert streams.admin.zrange(streams.key("leases:a"), 0, -1) == [heir._owner.name.encode()]
    assert not streams.admin.exists(streams.key("started:a"))


async def test_an_owner_with_more_than_a_page_of_events_loses_all_of_them(streams: Streams) -> None:
    """It can't settle those that were not taken from it yet."""
    dead, heir = await streams.open(lease=0.4), await streams.open(lease=30)
    await dead.push_many(events(2500))
    held = await taken(dead, 2500)
    first = await taken(heir, 1)
    assert await dead.ack_many(held[-1:]) == held[-1:]
    rest = await taken(heir, 2499)
    assert sorted(ids([*first, *rest])) == sorted(ids(held))
    assert {one.times for one in [*first, *rest]} == {2}


async def test_what_a_consumer_without_a_lease_read_goes_to_others(streams: Streams) -> None:
    """A zombie that reads once more, or a foreign program that died: idle for longer than a lease."""
    queue = await streams.open(lease=0.3)
    await queue.push_many(events(2))
    assert streams.admin.xreadgroup("a", "somebody", {streams.name: ">"})
    assert ids(await taken(queue, 2)) == ["e0", "e1"]
    assert "somebody" not in streams.consumers()


async def test_dead_letters_come_back_when_whoever_took_them_died(streams: Streams) -> None:
    """Nobody consumes dead letters: once the lease is over, whoever opens their queue finds all of them, in order."""
    letters = f"{streams.name}.dead"
    killed = [await streams.open(name=letters) for _ in range(6)]
    await killed[0].push_many(events(2600))
    for one in killed[:5]:
        assert len(await one.take(lambda _: True, 500)) == 500
    await killed[5].pop_many(50)
    looker = open_queue(streams.redis.queue(letters, scheme="redis+stream"))
    async with looker:
        left = [f"e{number}" for number in range(2550, 2600)]
        assert await browsed(looker) == left, "before that they are with whoever took them"
    for one in killed:
        streams.admin.zadd(f"{{{streams.name}}}.dead:leases:notification", {one._owner.name: 1})
    finder = open_queue(streams.redis.queue(letters, scheme="redis+stream"))
    async with finder:
        assert await browsed(finder) == [f"e{number}" for number in range(2600)]
        assert await finder.size() == 2600
        assert len(await finder.take(lambda _: True, 5000)) == 2600
    assert await killed[0].extend([]) == []


async def test_a_closing_owner_leaves_no_trace(streams: Streams) -> None:
    """Neither its name nor its lease."""
    queue = await streams.open()
    await queue.push_many(events(3))
    await taken(queue, 2)
    await queue.close()
    assert streams.consumers() == {"released": 2}
    assert not streams.admin.exists(streams.key("leases:a"))


async def test_a_delivery_that_a_thread_still_runs_stays_leased_at_close(streams: Streams) -> None:
    """The others go back at once."""
    queue, other = await streams.open(lease=1), await streams.open()
    await queue.push_many(events(3))
    held = await taken(queue, 3)
    held[1].running = True
    await queue.close()
    assert ids(await taken(other, 2)) == ["e0", "e2"]
    [last] = await taken(other, 1)
    assert (last.expect().id, last.times) == ("e1", 2), "it comes back with its lease, counted"


# -- lost answers


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "while it waits"])
async def test_events_whose_reply_was_lost_come_with_the_next_pop(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """After a broken read, what the server takes to be ours is compared with what we hold. It is no hand-out."""
    queue, other = await streams.open(), await streams.open()
    await other.push_many(events(4))
    held = await taken(queue, 4 if waits else 1)
    call = queue._consumer._fetches.call

    async def cut(*commands: Any) -> Any:
        blocks = any("BLOCK" in command for command in commands)
        if blocks:
            await other.push_many(events(3, prefix="late"))
        answer = await call(*commands)
        if blocks == waits:
            monkeypatch.undo()
            raise QueueUnavailable("cut", may_have_been_stored=True)
        return answer

    monkeypatch.setattr(queue._consumer._fetches, "call", cut)
    with pytest.raises(QueueUnavailable):
        await queue.pop_many(2)
    held += await taken(queue, 3)
    names = ["late0", "late1", "late2"] if waits else ["e1", "e2", "e3"]
    assert ids(held)[-3:] == names
    assert {one.times for one in held} == {1}
    assert await queue.ack_many(held) == []
    assert streams.consumers()[queue._owner.name] == 0


async def test_cancelled_pops_lose_nothing(streams: Streams) -> None:
    """2,000 of them, at random moments around the arrival of the events."""
    queue, producer = await streams.open(), await streams.open()
    moments = random.Random(7)
    got: list[str] = []

    async def produce() -> None:
        for number in range(500):
            await producer.push(event(f"e{number}"))
            await asyncio.sleep(0.001)

    pushing = asyncio.ensure_future(produce())
    for _ in range(2000):
        waiting = asyncio.ensure_future(queue.pop_many(3))
        await asyncio.sleep(moments.uniform(0, 0.0015))
        if batch := await cancelled(waiting):
            got += ids(batch)
            await queue.ack_many(batch)
    await pushing
    got += ids(await taken(queue, 500 - len(got)))
    assert sorted(got) == sorted(f"e{number}" for number in range(500)), "none is lost, none comes twice"


async def test_a_release_whose_answer_was_lost_takes_nothing_from_the_next_owner(streams: Streams) -> None:
    """Asked again, it finds that they are another's by now."""
    queue, other = await streams.open(), await streams.open()
    await queue.push_many(events(2))
    held = await taken(queue, 2)
    again = queue._owner.release([one.receipt.id for one in held])
    await queue.release(held)
    theirs = await taken(other, 2)
    await queue._settles.call(again)
    assert await other.ack_many(theirs) == []
    assert await other.size() == 0


async def test_what_is_handed_out_again_before_its_release_is_answered_can_be_settled(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same owner: the answer is about the hand-out before."""
    queue = await streams.open()
    await queue.push(event("e"))
    held = await taken(queue, 1)
    call = queue._settles.call

    async def slow(*commands: Any) -> Any:
        answer = await call(*commands)
        monkeypatch.undo()
        again.extend(await taken(queue, 1))
        return answer

    again: list[Delivery] = []
    monkeypatch.setattr(queue._settles, "call", slow)
    await queue.release(held)
    assert await queue.ack_many(again) == []
    assert streams.length() == 0


async def test_a_nack_whose_answer_was_lost_makes_one_copy(streams: Streams) -> None:
    """Asked again, it finds that it was done."""
    queue = await streams.open()
    await queue.push(event("e"))
    held = await taken(queue, 1)
    again = queue._owner.move([copy_of(Nack(held[0]), queue._owner)], queue._keys, leaving=False)
    await queue._settles.call(again)
    assert await queue.nack_many([Nack(held[0])]) == []
    assert streams.length() == 1


# -- groups and what is removed


async def test_two_groups_of_which_one_is_far_behind_lose_nothing(streams: Streams) -> None:
    """What the quick one has settled is there for the slow one, and goes when both are past it."""
    quick, slow = await streams.open("quick"), await streams.open("slow")
    await quick.push_many(events(10_000))
    for queue in (quick, slow):
        got: list[str] = []
        while len(got) < 10_000:
            batch = await queue.pop_many(1000)
            got += ids(batch)
            assert await queue.ack_many(batch) == []
        assert got == [f"e{number}" for number in range(10_000)]
        assert await quick.size() == 0
        assert await slow.size() == (10_000 if queue is quick else 0)
        assert streams.length() >= await slow.size()
    await slow.close()
    assert streams.length() == 0


async def test_nothing_is_removed_that_a_group_has_not_settled(streams: Streams) -> None:
    """Whatever is acknowledged in whatever order, with removing after each step."""
    queues = {name: await streams.open(name) for name in ("x", "y", "z")}
    chance = random.Random(3)
    open_ones: dict[str, set[bytes]] = {name: set() for name in queues}
    for step in range(30):
        await queues["x"].push_many(events(chance.randrange(5), prefix=f"s{step}e"))
        for name, queue in queues.items():
            held = list(queue._owner.held.values())
            await queue.ack_many(chance.sample(held, len(held) // 2))
            if await queue.size() and chance.random() < 0.6:
                await queue.pop_many(3)
            await queue._settles.call(queue._owner.look(1, sweep=True))
            open_ones[name] = set(queue._owner.held)
        there = {one for one, _ in streams.admin.xrange(streams.name)}
        assert set().union(*open_ones.values()) <= there
    for queue in queues.values():
        await queue.ack_many(list(queue._owner.held.values()))
        while await queue.size():
            await queue.ack_many(await queue.pop_many(100))
        await queue.close()
    assert streams.length() == 0


async def test_a_group_that_comes_later_sees_what_is_still_there(streams: Streams) -> None:
    """The unsettled of the first group, from the oldest on."""
    first = await streams.open("first")
    await first.push_many(events(5))
    held = await taken(first, 3)
    await first.ack_many(held[:1])
    late = await streams.open("late")
    assert await late.size() == 4
    assert ids(await taken(late, 4)) == ["e1", "e2", "e3", "e4"]


async def test_the_memory_of_a_stream_does_not_grow_with_what_went_through(streams: Streams) -> None:
    """20,000 events, acknowledged in batches, leave an empty stream of the size it had."""
    queue = await streams.open()
    await queue.push_many(events(100))
    before = streams.admin.memory_usage(streams.name)
    for number in range(20):
        await queue.push_many(events(1000, prefix=f"b{number}e"))
        done = 0
        while done < 1000:
            batch = await queue.pop_many(min(300, 1000 - done))
            done += len(batch)
            await queue.ack_many(batch)
    assert streams.length() == 100
    node = 4096  # bytes; the first and the last one may be half empty
    assert streams.admin.memory_usage(streams.name) <= 1.1 * before + 2 * node


@pytest.mark.parametrize("how", ["the group", "the stream"])
async def test_what_was_removed_by_hand_is_made_again(streams: Streams, how: str) -> None:
    """The group begins anew, at the oldest event that is there; an owner that waits goes on by itself."""
    queue = await streams.open(lease=4)
    await queue.push(event("before"))
    await queue.ack_many(await taken(queue, 1))
    waiting = asyncio.ensure_future(taken(queue, 1))
    await until(lambda: any("xreadgroup" in one["cmd"] for one in streams.admin.client_list()))
    if how == "the group":
        streams.admin.xgroup_destroy(streams.name, "a")
    else:
        streams.admin.delete(streams.name)
    await queue.push(event("after"))
    got = await waiting
    assert ids(got) == ["after"]
    assert await queue.ack_many(got) == []


async def test_an_ack_of_a_group_that_was_removed_takes_nothing_from_the_others(streams: Streams) -> None:
    """Its deliveries are another group's events as well, who may not have seen them."""
    ours, theirs = await streams.open("ours"), await streams.open("theirs")
    await ours.push_many(events(3))
    held = await taken(ours, 3)
    streams.admin.xgroup_destroy(streams.name, "ours")
    await ours.ack_many(held[:1])
    await ours.nack_many([Nack(held[1])])
    assert ids(await taken(theirs, 3)) == ["e0", "e1", "e2"]


async def test_a_group_that_was_removed_is_gone_from_all_figures_at_the_next_look(streams: Streams) -> None:
    """What was kept back for it is removed as far as the others are past it, and so is what was noted about it."""
    ours, theirs = await streams.open("ours"), await streams.open("theirs")
    await ours.push_many(events(3010))
    held, started = await taken(ours, 3010), await taken(theirs, 5)
    assert await theirs.started(started) == []
    assert await ours.ack_many(held[1:]) == []
    streams.admin.xgroup_destroy(streams.name, "theirs")
    parts = 0
    while (stats := await ours.stats()).waiting:
        parts += 1
        assert parts < 4, "some thousands at a time, so that others get their turn"
    assert (stats.in_flight, stats.settled) == (1, 3009)
    assert [one for one, _ in streams.admin.xrange(streams.name)] == [held[0].receipt.id]
    assert streams.admin.hkeys(streams.key("groups")) == [b"ours"]
    assert not streams.admin.exists(streams.key("leases:theirs"), streams.key("started:theirs"))
    assert await ours.ack_many(held[:1]) == []


async def test_figures_of_a_group_that_begins_again_are_new(streams: Streams) -> None:
    """It was removed by hand: what it had settled was another group's of the same name."""
    queue = await streams.open()
    await queue.push_many(events(2))
    await queue.ack_many(await taken(queue, 1))
    streams.admin.xgroup_destroy(streams.name, "a")
    stats = await queue.stats()
    assert (stats.waiting, stats.in_flight, stats.settled) == (1, 0, 0)


async def test_retries_of_one_group_are_not_seen_in_the_figures_of_another(streams: Streams) -> None:
    """Delayed copies are its own, and so is what it has settled."""
    ours, theirs = await streams.open("ours"), await streams.open("theirs")
    await ours.push(event("e"))
    await ours.push(event("later", not_before=ours.clock.now() + timedelta(hours=1)))
    held = await taken(ours, 1)
    await ours.nack_many([Nack(held[0], delay=3600)])
    await theirs.ack_many(await taken(theirs, 1))
    our, their = await ours.stats(), await theirs.stats()
    assert (our.delayed, our.settled, our.in_flight, our.waiting) == (2, 0, 0, 0)
    assert (their.delayed, their.settled, their.in_flight, their.waiting) == (1, 1, 0, 0)


async def test_dead_letters_are_counted_for_the_group_they_died_in(streams: Streams) -> None:
    """They are in one stream, whose readers are one group."""
    ours, theirs = await streams.open("ours"), await streams.open("theirs")
    await ours.push_many(events(2))
    dead = await streams.open("ours", name=f"{streams.name}.dead")
    for queue, count in ((ours, 2), (theirs, 1)):
        letters = [
            (one, attrs.evolve(one.expect(), dead=DeadLetter("fatal", group=queue._group)))
            for one in await taken(queue, count)
        ]
        assert await queue.move_many(letters, dead) == []
    assert ((await ours.stats()).dead, (await theirs.stats()).dead) == (2, 1)
    assert {one.expect().group for one in await taken(dead, 3)} == {None}
    groups = streams.admin.xinfo_groups(f"{{{streams.name}}}.dead")
    assert [group["name"] for group in groups] == [b"notification"]


async def test_a_url_without_a_group_is_of_the_group_notification(redis: Redis) -> None:
    """Dead letters carry it, so that a retry is for that group only."""
    queue = open_queue(redis.queue(scheme="redis+stream"))
    assert queue.url is not None
    assert queue.url.group == "notification"


# -- in


async def test_an_id_is_not_stored_twice_within_the_time_of_dedup(streams: Streams) -> None:
    """After it, it is. A retry or a move is no second dispatch."""
    queue = await streams.open(dedup=0.3)
    for _ in range(3):
        await queue.push_many([event("e"), event("f")])
    held = await taken(queue, 2)
    assert ids(held) == ["e", "f"]
    await queue.nack_many([Nack(one) for one in held])
    assert await queue.size() == 2
    await asyncio.sleep(0.35)
    await queue.push(event("e"))
    assert await queue.size() == 3
    assert streams.admin.zcard(streams.key("seen")) == 1


@pytest.mark.parametrize("size", [10, 20_000])
async def test_events_of_any_size_are_stored_in_order(streams: Streams, size: int) -> None:
    """Small ones by a script, big ones in a transaction."""
    queue = await streams.open()
    await queue.push_many([event(f"e{number}", data="x" * size) for number in range(130)])
    assert ids(await taken(queue, 130)) == [f"e{number}" for number in range(130)]


async def test_a_server_without_memory_refuses_events_and_takes_acks(redis_server: Start) -> None:
    """QueueFull, nothing stored; acks, retries, releases and dead letters go on."""
    async with contextlib.AsyncExitStack() as stack:
        streams = Streams(redis_server(maxmemory="4mb"), stack)
        queue = await streams.open()
        dead = await streams.open(name=f"{streams.name}.dead")
        stored = await filled(queue)
        with pytest.raises(PushFailed) as failed:
            await queue.push_many([event(f"m{number}", data="x" * 20_000) for number in range(3)])
        assert len(failed.value.errors) == 3
        held = await taken(queue, 4)
        assert await queue.nack_many([Nack(held[0])]) == []
        assert await queue.move_many([(held[1], held[1].expect())], dead) == []
        await queue.release(held[2:3])
        assert await queue.ack_many(held[3:]) == []
        rest = await taken(queue, stored - 2)
        assert await queue.ack_many(rest) == []
        await queue.push(event("again"))


async def test_another_thing_under_the_name_of_the_queue_is_an_error_at_open(streams: Streams) -> None:
    """A list, as of a queue that was redis:// before."""
    streams.admin.lpush(streams.name, "{}")
    with pytest.raises(ConfigurationError, match="WRONGTYPE"):
        await streams.open()


async def test_entries_of_foreign_programs_are_read(streams: Streams) -> None:
    """The field `event`, or the only one there is; of an entry that has neither all of it, for a dead letter."""
    queue = await streams.open()
    well = '{"specversion":"1.0","type":"t","source":"/s","id":"%s"}'
    streams.admin.xadd(streams.name, {"event": well % 1, "by": "x"})
    streams.admin.xadd(streams.name, {"by": "x", "event": well % 2})
    streams.admin.xadd(streams.name, {"data": well % 3})
    streams.admin.xadd(streams.name, {"a": "1", "b": "2"})
    got = await taken(queue, 4)
    assert ids(got[:3]) == ["1", "2", "3"]
    assert got[3].raw == b"a 1 b 2"
    assert await queue.ack_many(got) == []


# -- time


async def test_delayed_events_come_when_they_are_due(streams: Streams) -> None:
    """To the millisecond or ten, although the server's own time-outs are later than that."""
    queue = await streams.open()
    lateness: list[float] = []
    for _ in range(12):
        due = queue.clock.now() + timedelta(seconds=0.03)
        await queue.push(event("e", not_before=due))
        await queue.ack_many(await taken(queue, 1))
        lateness.append((queue.clock.now() - due).total_seconds())
    assert min(lateness) >= -0.002
    assert sorted(lateness)[6] < 0.01


# -- looked at


async def test_browsing_from_an_id_shows_what_this_group_has_handled(streams: Streams) -> None:
    """As long as another group has not; without `since`, only what waits."""
    ours, theirs = await streams.open("ours"), await streams.open("theirs")
    await ours.push_many(events(6))
    held = await taken(ours, 4)
    await ours.ack_many(held[:3])
    await ours.release(held[3:])
    assert await browsed(ours) == ["e3", "e4", "e5"]
    assert await browsed(theirs) == [f"e{number}" for number in range(6)]
    assert await browsed(ours, since=held[1].receipt.id.decode()) == ["e1", "e2", "e3", "e4", "e5"]
    assert (await ours.stats()).waiting == 3
    with pytest.raises(ConfigurationError, match="1700000000000-0"):
        await browsed(ours, since="yesterday")


async def test_the_age_is_that_of_the_oldest_that_waits(streams: Streams) -> None:
    """Also of one that was handed back."""
    queue = await streams.open()
    now = queue.clock.now()
    await queue.push_many([event("old", time=now - timedelta(hours=2)), event("new", time=now - timedelta(hours=1))])
    held = await taken(queue, 1)
    assert (await queue.stats()).oldest_age == pytest.approx(3600, abs=60)
    await queue.release(held)
    assert (await queue.stats()).oldest_age == pytest.approx(7200, abs=60)


async def test_taking_from_many_holds_only_what_matches(streams: Streams) -> None:
    """The others keep their order and their counts, also when taking again."""
    queue = await streams.open()
    await queue.push_many(events(1200))
    first = await queue.take(lambda message: message.id.endswith("9"), 30)
    assert ids(first) == [f"e{number}9" if number else "e9" for number in range(30)]
    second = await queue.take(lambda message: message.id.endswith("9"), 1000)
    assert len(second) == 90
    assert len(queue._owner.held) == 120
    assert await queue.ack_many([*first, *second]) == []
    rest = await taken(queue, 1080)
    assert ids(rest) == [f"e{number}" for number in range(1200) if number % 10 != 9]
    assert {one.times for one in rest} == {1}


async def test_settled_events_are_counted_once(streams: Streams) -> None:
    """An ack and a dead letter are; a retry, a release and a second ack are not."""
    queue, dead = await streams.open(), await streams.open(name=f"{streams.name}.dead")
    await queue.push_many(events(5))
    held = await taken(queue, 5)
    await queue.ack_many(held[:2])
    await queue.ack_many(held[:2])
    await queue.move_many([(held[2], held[2].expect())], dead)
    await queue.nack_many([Nack(held[3])])
    await queue.release(held[4:])
    assert (await queue.stats()).settled == 3


# -- a cluster


async def test_a_stream_on_a_cluster(redis_node: Redis) -> None:
    """All its keys share a slot, those of its dead letters too."""
    async with contextlib.AsyncExitStack() as stack:
        streams = Streams(redis_node, stack)
        url = redis_node.url.replace("redis+cluster", "redis+cluster+stream") + f"?queue={streams.name}"
        queue = await stack.enter_async_context(open_queue(url))
        dead = await stack.enter_async_context(open_queue(f"{url}.dead"))
        await queue.push_many([*events(3), event("late", not_before=queue.clock.now() + timedelta(seconds=0.05))])
        held = await taken(queue, 4)
        assert ids(held)[3] == "late"
        assert await queue.move_many([(held[0], held[0].expect())], dead) == []
        await queue.nack_many([Nack(held[1], delay=0.01)])
        await queue.release(held[2:3])
        assert sorted(ids(await taken(queue, 2))) == ["e1", "e2"]
        assert ids(await taken(dead, 1)) == ["e0"]


async def filled(queue: MessageQueue) -> int:
    """Push until there is no room; how many there was room for."""
    for number in range(10_000):
        try:
            await queue.push(event(f"e{number}", data="x" * 20_000))
        except QueueFull:
            return number
    pytest.fail("there is room for everything")


async def browsed(queue: MessageQueue, **options: Any) -> list[str]:
    return [message.id async for message in queue.browse(**options)]
