"""Order by key: events of a key never run at once and keep their order, retries included."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from notification import Context, EventDispatcher, Message, RetryLater, RetryPolicy
from queues.clock import ManualClock
from queues.message import Delivery
from queues.registry import open_queue
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import (
    DURABLE_HOME,
    EVERY_HOME,
    Breakable,
    Note,
    Parcel,
    Stage,
    address,
    passing,
    stopped,
    turns,
    until,
)
from workers.lanes import Lanes

SOON = RetryPolicy(attempts=4, initial=1, jitter=False)


def delivery(key: str | None, id_: str = "") -> Delivery:
    return Delivery(Message(type="stage.parcel", id=id_ or f"{key}", source="/tests", key=key))


def lanes(clock: ManualClock | None = None) -> Lanes:
    return Lanes(clock or ManualClock(), lambda message: message.key, lambda: None)


# -- in the dispatcher


@EVERY_HOME
async def test_nothing_of_a_key_overtakes_whatever_fails(home: str, tmp_path: Path) -> None:
    """All runs of an event come before the first run of the next one of its key, and never two at once."""
    dice, running, runs = random.Random(4), set[int](), defaultdict[int, list[int]](list)
    async with Stage(address(home, tmp_path), retry=SOON) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            assert parcel.account not in running
            running.add(parcel.account)
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            running.remove(parcel.account)
            runs[parcel.account].append(parcel.number)
            if dice.random() < 0.3:
                raise OSError("the van is full")

        await stage.start(workers=5)
        await stage.dispatcher.dispatch_many([Parcel(number % 7, number) for number in range(140)])
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.dispatcher.dead_letters is not None
    assert sorted({number for numbers in runs.values() for number in numbers}) == list(range(140))
    for numbers in runs.values():
        assert [number for number, _ in itertools.groupby(numbers)] == sorted(set(numbers))


async def test_other_keys_and_events_without_one_go_on_while_a_key_waits() -> None:
    """One bad address holds up nobody else."""
    async with Stage(retry=SOON) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.account, parcel.number))
            if parcel.account == 1 and ctx.attempt == 1:
                raise OSError

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, 1), Parcel(1, 2), Parcel(2, 1), Note("a"), Parcel(2, 2)])
        assert await stage.ran_in_all(4) == [(1, 1), (2, 1), "a", (2, 2)]
        await turns()
        assert len(stage.ran) == 4
        await stage.clock.advance(1)
        assert (await stage.ran_in_all(6))[4:] == [(1, 1), (1, 2)]


@EVERY_HOME
async def test_a_retry_that_waits_longer_than_hold_waits_in_the_queue_and_keeps_its_place(
    home: str, tmp_path: Path
) -> None:
    """Its head goes back by a nack, those behind it after it, and what comes later of the key waits there too."""
    async with Stage(address(home, tmp_path), hold=10) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.number, ctx.attempt))
            if parcel.number == 0 and ctx.attempt == 1:
                raise RetryLater(30)

        await stage.start(workers=3)
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(5)])
        await stage.ran_in_all(1)
        await until(lambda: held_by(stage) == 0)
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(5, 8)])
        await turns()
        assert stage.ran == [(0, 1)]
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [(0, 1), (0, 2), *((number, 1) for number in range(1, 8))]


def held_by(stage: Stage) -> int:
    service = stage.dispatcher._life.service
    assert service is not None
    assert service.pool is not None
    return len(service.pool.held.deliveries)


async def test_a_retry_that_waits_no_longer_than_hold_keeps_its_lease() -> None:
    """It waits in its lane: no trip to the queue."""
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue, hold=10, dead_letter="reference://hold-dead") as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(ctx.attempt)
            if ctx.attempt == 1:
                raise RetryLater(10)

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await stage.ran_in_all(1)
        await turns()
        assert held_by(stage) == 1
        await stage.clock.advance(10)
        assert await stage.ran_in_all(2) == [1, 2]
        await stage.settled()
    assert not [what for name, what in queue.calls if name in {"nack", "release"} and what]


async def test_where_the_queue_keeps_no_order_a_retry_waits_in_its_lane_however_long() -> None:
    """A queue without KEYED could not put it back in its place."""
    queue = Breakable(FourMethods(Shelf()))
    async with Stage(queue, hold=10, dead_letter=FourMethods(Shelf())) as stage:

        @stage.dispatcher.on(Parcel, order="process")
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.number, ctx.attempt))
            if parcel.number == 0 and ctx.attempt == 1:
                raise RetryLater(3600)

        await stage.start(workers=3)
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(3)])
        await stage.ran_in_all(1)
        await stage.clock.advance(3599)
        assert stage.ran == [(0, 1)]
        await stage.clock.advance(1)
        assert await stage.ran_in_all(4) == [(0, 1), (0, 2), (1, 1), (2, 1)]
    assert not [what for name, what in queue.calls if name in {"nack", "release"} and what]


async def test_what_is_fetched_while_its_key_goes_back_follows_it() -> None:
    """Events that a fetch brings after the head went back are handed back too, and run after it."""
    queue = LateFetch(ReferenceQueue(Store()))
    async with Stage(queue, hold=10, dead_letter="reference://late-dead") as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(parcel.number)
            if len(stage.ran) == 1:
                raise RetryLater(11)

        await stage.start(workers=4)
        await stage.dispatcher.dispatch(Parcel(1, 0))
        await until(lambda: queue.brought)  # 0 is on its way to the workers
        queue.gate.clear()
        queue.brought = 0
        await stage.ran_in_all(1)
        await stage.dispatcher.dispatch_many([Parcel(1, 1), Parcel(1, 2)])
        await until(lambda: queue.count("nack"))
        queue.gate.set()  # what was popped meanwhile arrives
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [0, 0, 1, 2]


class LateFetch(Breakable):
    """What it popped stays on the way until the gate opens."""

    def __init__(self, inner: ReferenceQueue) -> None:
        super().__init__(inner)
        self.gate = asyncio.Event()
        self.gate.set()
        self.brought = 0

    async def pop_many(self, limit: int) -> list[Delivery]:
        batch = await super().pop_many(limit)
        self.brought += len(batch)
        await self.gate.wait()
        return batch


async def test_a_key_stays_shut_while_its_hand_back_fails() -> None:
    """Through an outage of the queue, nothing of the key runs before what has still to go back."""
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue, hold=10, dead_letter="reference://shut-dead") as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.number, ctx.attempt))
            if parcel.number == 0 and ctx.attempt == 1:
                queue.broken = {"nack"}
                raise RetryLater(11)

        await stage.start(workers=4)
        await stage.dispatcher.dispatch_many([Parcel(1, 0), Parcel(1, 1)])
        await stage.ran_in_all(1)
        await stage.dispatcher.dispatch_many([Parcel(1, 2), Parcel(1, 3), Parcel(2, 9)])
        await until(lambda: (9, 1) in stage.ran)
        await stage.clock.advance(60)
        assert len(stage.ran) == 2
        queue.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [(0, 1), (9, 1), (0, 2), (1, 1), (2, 1), (3, 1)]


@DURABLE_HOME
async def test_what_goes_back_is_not_fetched_and_handed_back_for_ever(home: str, tmp_path: Path) -> None:
    """A fetch that waits brings it at once; it follows, and with the next fetch its key is open."""
    queue = Eager(open_queue(address(home, tmp_path)))
    queue.broken = {"started"}
    async with Stage(queue) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)

        await stage.start(workers=4)
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(3)])
        await until(lambda: queue.count("release"))
        queue.broken.clear()
        assert await stage.ran_in_all(3) == [0, 1, 2]
        await stage.settled()
    assert queue.count("release") <= 4


class Eager(Breakable):
    """What it hands out has been handed out before, and comes at once; slow to take back."""

    async def pop_many(self, limit: int) -> list[Delivery]:
        batch = await super().pop_many(limit)
        for delivery in batch:
            delivery.times = 2
        return batch

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await super().release(deliveries)
        await turns(20)


async def test_one_key_that_fails_does_not_fill_the_process(tmp_path: Path) -> None:
    """When nothing more may be held, the retry with the most behind it waits in the queue, and the others go on."""
    async with Stage(address("reference", tmp_path), prefetch=10, retry=RetryPolicy(initial=50, jitter=False)) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            if parcel.account == 0 and ctx.attempt == 1:
                raise OSError
            stage.ran.append((parcel.account, parcel.number))

        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Parcel(0, number) for number in range(60)])
        await stage.dispatcher.dispatch_many([Parcel(number % 5 + 1, number) for number in range(60)])
        await stage.start(workers=2)
        await stage.ran_in_all(60)
        assert not [account for account, _ in stage.ran if account == 0]
        await passing(stage.clock, stage.dispatcher.join(), 10)
        assert [number for account, number in stage.ran if account == 0] == list(range(60))


async def test_two_dispatchers_of_one_queue_keep_the_order_of_its_keys(tmp_path: Path) -> None:
    """KEYED: whichever has a key, the other waits."""
    url, clock, runs = address("reference", tmp_path), ManualClock(), defaultdict[int, list[int]](list)
    dispatchers = [EventDispatcher(url, clock=clock, retry=SOON, hold=1.5) for _ in range(2)]

    async def carry(parcel: Parcel, ctx: Context) -> None:
        await asyncio.sleep(0)
        if parcel.number % 5 == 0 and ctx.attempt < 3:
            raise OSError
        runs[parcel.account].append(parcel.number)

    for dispatcher in dispatchers:
        dispatcher.on(Parcel)(carry)
        await dispatcher.start(workers=3)
    await dispatchers[0].dispatch_many([Parcel(number % 3, number) for number in range(60)])
    await passing(clock, dispatchers[0].join())
    for dispatcher in dispatchers:
        await stopped(dispatcher, clock, 2)
    assert {account: list(numbers) for account, numbers in runs.items()} == {
        account: list(range(account, 60, 3)) for account in range(3)
    }


async def test_order_none_lets_events_of_a_key_run_at_once() -> None:
    """A waiver in on() is meant."""
    together = asyncio.Event()
    async with Stage() as stage:

        @stage.dispatcher.on(Parcel, order="none")
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel)
            if len(stage.ran) == 2:
                together.set()
            await together.wait()

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Parcel(1, 1), Parcel(1, 2)])
        await stage.settled()


async def test_order_none_in_the_url_lets_events_of_a_key_run_at_once() -> None:
    """The operator's waiver goes for all handlers."""
    together = asyncio.Event()
    async with Stage("channel://?order=none") as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel)
            if len(stage.ran) == 2:
                together.set()
            await together.wait()

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Parcel(1, 1), Parcel(1, 2)])
        await stage.settled()


async def test_a_delayed_event_takes_its_place_when_it_falls_due() -> None:
    """Only a retrying event holds its key."""
    async with Stage() as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1, 1), delay=60)
        await stage.dispatcher.dispatch(Parcel(1, 2))
        assert await stage.ran_in_all(1) == [2]
        await stage.clock.advance(60)
        assert await stage.ran_in_all(2) == [2, 1]


async def test_events_of_a_type_nobody_declared_a_key_for_are_ordered_too_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """dispatch(key=) and patterns on a queue without KEYED: order within the process, with one warning a type."""
    async with Stage(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()), retry=SOON) as stage:

        @stage.dispatcher.on("github.*")
        async def look(message: Message, ctx: Context) -> None:
            stage.ran.append(message.id)
            if ctx.attempt == 1 and message.id == "1":
                raise OSError

        await stage.start(workers=3)
        for number in "123":
            await stage.dispatcher.dispatch(Message(type="github.push", id=number, source="/t", key="repo"))
        await stage.ran_in_all(1)
        await stage.clock.advance(1)
        assert await stage.ran_in_all(4) == ["1", "1", "2", "3"]
    said = [record.getMessage() for record in caplog.records if "keeps their order only" in record.getMessage()]
    assert len(said) == 1
    assert "github.push" in said[0]


# -- alone


def test_a_key_has_one_event_ready_at_a_time() -> None:
    """The next one is ready once the one before is over."""
    some = lanes()
    first, second, other, free = delivery("a"), delivery("a"), delivery("b"), delivery(None)
    assert all(some.add(one) for one in (first, second, other, free))
    assert list(some.ready) == [first, other, free]
    some.ready.clear()
    some.next(first)
    assert list(some.ready) == [second]
    some.next(second)
    assert len(some) == 1


def test_a_key_that_is_used_up_is_forgotten() -> None:
    """Keys come and go for ever; what is remembered of them does not grow."""
    some = lanes()
    for number in range(1000):
        one = delivery(f"key-{number}")
        some.add(one)
        some.ready.clear()
        some.next(one)
    assert not some._lanes


def test_a_shut_key_opens_with_the_fetch_that_begins_after_all_of_it_went_back() -> None:
    """What a fetch brings meanwhile follows, whether it arrives before or after the hand-back is done."""
    some = lanes()
    head, late, later = delivery("a", "1"), delivery("a", "2"), delivery("a", "3")
    some.add(head)
    some.ready.clear()
    assert some.clear(head) == []
    assert some.add(late), "it waits for the hand-back that is under way"
    assert some.late(head) == [late]
    assert some.late(head) == []
    some.reopen(head)
    assert not some.add(later), "a fetch that began before has brought it"
    assert some.refuse([later]) == [[later]]
    assert some.returning == {"a"}, "no other fetch begins"
    with some.giving_back(later):
        assert some.add(delivery("a", "4")), "still on its way back"
        assert not some.ready
        some.reopen(later)
    assert not some.returning
    some.fetching()
    assert some.add(delivery("a", "5"))
    assert len(some.ready) == 1


def test_those_behind_a_head_go_back_in_order() -> None:
    """A queue need not sort what is released."""
    some = lanes()
    head, *behind = [delivery("a", str(number)) for number in range(5)]
    for one in (head, *behind):
        some.add(one)
    assert some.clear(head) == behind


def test_what_was_refused_goes_back_by_key_and_in_order() -> None:
    """One hand-back a key."""
    some = lanes()
    batch = [delivery("a", "1"), delivery("b", "2"), delivery("a", "3")]
    assert [[one.expect().id for one in group] for group in some.refuse(batch)] == [["1", "3"], ["2"]]


async def test_at_the_end_a_waiting_retry_comes_before_those_behind_it() -> None:
    """Changed heads go back by nack, the rest unchanged, in order."""
    clock = ManualClock()
    some = lanes(clock)
    first, second, free = delivery("a", "1"), delivery("a", "2"), delivery(None, "3")
    for one in (first, second, free):
        some.add(one)
    some.ready.remove(first)
    some.hold(first, first.expect(), 5)
    await clock.advance(2)
    assert some.remaining(first) == 3
    changed, rest = some.drain()
    assert (changed, rest) == ([first], [free, second])
    assert len(some) == 0
