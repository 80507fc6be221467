"""Fetch, handle, settle: what the pool does with outcomes, outages and suspects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from notification import Context, EventDispatcher, MessageQueue, PushFailed, QueueFull, QueueUnavailable, RetryPolicy
from queues.clock import ManualClock
from queues.message import Delivery, Message, Nack
from queues.registry import open_queue
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import DURABLE_HOME, EVERY_HOME, Breakable, Note, Parcel, Stage, address, passing, turns, until
from workers.pool import Pool

AT_ONCE = RetryPolicy(attempts=3, initial=0, jitter=False)


def pool_of(stage: Stage) -> Pool:
    service = stage.dispatcher._life.service
    assert service is not None
    assert service.pool is not None
    return service.pool


# -- handle and settle


@EVERY_HOME
async def test_a_handled_event_is_gone(home: str, tmp_path: Path) -> None:
    """Acked once its handler has returned, not before."""
    async with Stage(address(home, tmp_path)) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            await gate.wait()

        await stage.start()
        await stage.dispatcher.dispatch(Note("hello"))
        assert await stage.ran_in_all(1) == [Note("hello")]
        await turns()
        assert (await stage.dispatcher.stats()).in_flight == 1
        gate.set()
        await stage.settled()
        assert await stage.letters() == []


@EVERY_HOME
async def test_an_event_that_fails_for_good_is_a_dead_letter_that_says_why(home: str, tmp_path: Path) -> None:
    """Reason, error, handler, attempts, origin; the event itself as it was."""
    async with Stage(address(home, tmp_path), retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel)
            raise OSError(f"no road, try {len(stage.ran)}")

        await stage.start()
        sent = await stage.dispatcher.dispatch(Parcel(7, 1))
        await passing(stage.clock, stage.dispatcher.join())
        [letter] = await stage.letters()
        assert len(stage.ran) == 3
        assert (letter.id, letter.type, letter.key, letter.attempt) == (sent.id, "stage.parcel", "7", 3)
        assert letter.dead is not None
        assert (letter.dead.reason, letter.dead.handler, letter.dead.attempts) == ("attempts", "carry", 3)
        assert letter.dead.error == "OSError: no road, try 3"
        assert letter.first_error == "OSError: no road, try 1"
        assert letter.dead.origin == "events"
        assert stage.ran[0] == Parcel(7, 1)
        assert letter.time <= letter.dead.time <= stage.clock.now()


@EVERY_HOME
async def test_retries_wait_as_long_as_the_policy_says(home: str, tmp_path: Path) -> None:
    """With a key in the lane, without one in the queue: the same times."""
    async with Stage(address(home, tmp_path), retry=RetryPolicy(attempts=3, initial=10, jitter=False)) as stage:

        async def fail(event: Parcel | Note, ctx: Context) -> None:
            stage.ran.append((type(event).__name__, ctx.attempt))
            raise OSError

        stage.dispatcher.on(Parcel)(fail)
        stage.dispatcher.on(Note)(fail)
        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1), Note()])
        await stage.ran_in_all(2)
        for attempt, seconds in ((2, 10), (3, 20)):
            await settled(stage)
            await stage.clock.advance(seconds - 1)
            await turns()
            assert len(stage.ran) == 2 * (attempt - 1)
            await stage.clock.advance(1.01)
            await stage.ran_in_all(2 * attempt)
            assert sorted(stage.ran[-2:]) == [("Note", attempt), ("Parcel", attempt)]
        await stage.settled()


async def settled(stage: Stage) -> None:
    """Wait until everything decided is told: a nack's delay begins when the queue has it."""
    await until(lambda: not pool_of(stage).settler.pending and not any(w.desk.delivery for w in pool_of(stage).workers))


async def test_an_event_of_which_nothing_can_be_read_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    """With its bytes and the reason."""
    url = address("reference", tmp_path)
    async with Stage(url) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start()
        other = open_queue(url)
        assert isinstance(other, ReferenceQueue)
        other.store_raw(b"\x80 no event")
        await stage.dispatcher.dispatch(Note("fine"))
        await stage.ran_in_all(1)
        await stage.settled()
        [letter] = await stage.letters()
        assert (letter.type, letter.data) == ("notification.corrupt", b"\x80 no event")
        assert letter.dead is not None
        assert letter.dead.reason == "corrupt"
        assert "not JSON" in letter.dead.error


async def test_acks_of_one_moment_share_a_trip_and_an_idle_system_acks_at_once() -> None:
    """While one trip is under way the next batch gathers: no timers, no fixed batch size."""
    queue = Slow(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter="reference://trips-dead") as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.start(workers=1)
        await stage.dispatcher.dispatch(Note("first"))
        await until(lambda: queue.count("ack"))
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(40)])
        await stage.ran_in_all(41)
        queue.gate.set()
        await stage.settled()
        batches = [len(what) for name, what in queue.calls if name == "ack"]
        assert batches[0] == 1
        assert len(batches) < 10
        assert sum(batches) == 41


class Slow(Breakable):
    """Acks wait for the gate."""

    def __init__(self, inner: MessageQueue) -> None:
        super().__init__(inner)
        self.gate = asyncio.Event()

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        lost = await super().ack_many(deliveries)
        await self.gate.wait()
        return lost


def counting(stage: Stage) -> Any:
    async def count(note: Note) -> None:
        stage.ran.append(note)

    return count


# -- fetch


async def test_fetch_keeps_no_more_than_the_workers_need_ahead() -> None:
    """A slow handler must not make one process hoard what another could do."""
    queue = Breakable(open_queue("reference://ahead"))
    async with Stage(queue) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            await gate.wait()

        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(100)])
        await stage.start(workers=3)
        await stage.ran_in_all(3)
        await turns()
        assert len(pool_of(stage).held.deliveries) <= 6
        gate.set()
        await stage.settled()


async def test_what_is_held_is_bounded_while_nothing_can_be_settled() -> None:
    """Unsettled events stay bounded through an outage of the acks."""
    queue = Breakable(open_queue("reference://bounded"))
    async with Stage(queue, prefetch=10) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(100)])
        queue.broken = {"ack"}
        await stage.start(workers=2)
        await until(lambda: queue.count("ack") and len(stage.ran) >= 20)
        await turns()
        assert len(stage.ran) <= 22
        queue.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())
        assert len(stage.ran) == 100


async def test_what_is_held_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large events are fetched in smaller numbers, and the count of bytes goes down again."""
    monkeypatch.setattr("workers.fetch.MAX_BYTES", 40_000)
    queue = Breakable(open_queue("reference://bytes"))
    async with Stage(queue) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note("x" * 9_000) for _ in range(40)])
        queue.broken = {"ack"}
        await stage.start(workers=2)
        await until(lambda: len(stage.ran) >= 4)
        await turns()
        assert len(stage.ran) < 15
        queue.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())
        assert len(stage.ran) == 40
        assert pool_of(stage).held.size == 0


# -- outages


@pytest.mark.parametrize("broken", [QueueUnavailable("the cable is out"), RuntimeError("a plugin's bug")])
async def test_the_loops_go_on_through_an_outage(broken: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Fetch and settle try again for ever, say so once, and it shows in health; nothing is lost or run twice."""
    queue = Breakable(open_queue("reference://outage"), broken)
    async with Stage(queue) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.start(workers=2)
        await stage.dispatcher.dispatch(Note("before"))
        await stage.ran_in_all(1)
        await stage.settled()
        queue.broken = {"pop", "ack", "size"}
        await stage.dispatcher.dispatch(Note("during"))
        await passing(stage.clock, until(lambda: queue.count("pop") > 8), 1)
        health = await stage.dispatcher.health()
        assert (health.live, health.ready, health.degraded) == (True, False, True)
        assert str(broken) in health.last_error
        queue.broken.clear()
        await passing(stage.clock, stage.dispatcher.join(), 1)
        assert [note.text for note in stage.ran] == ["before", "during"]
        await stage.clock.advance(5)  # an idle queue that is back counts as one that works
        assert (await stage.dispatcher.health()).ready
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("fetch:")]
    assert len(said) == 2
    assert "works again after" in said[1]


async def test_pauses_between_tries_grow_to_five_seconds() -> None:
    """Full jitter between 0.1 and 5 s: an outage is not hammered, its end is noticed soon."""
    queue = Breakable(open_queue("reference://pauses"))
    async with Stage(queue) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        queue.broken = {"pop"}
        await stage.start()
        for _ in range(100):
            await stage.clock.advance(1)
        assert 100 / 5 <= queue.count("pop") <= 100


async def test_renewing_the_leases_goes_on_after_it_failed() -> None:
    """Each third of a lease, whatever the last try raised."""
    queue = Breakable(open_queue("reference://renew?lease=30"), RuntimeError("a plugin's bug"))
    async with Stage(queue) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            await gate.wait()

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(1)
        queue.broken = {"extend"}
        await stage.clock.advance(10)
        queue.broken.clear()
        for _ in range(30):
            await stage.clock.advance(10)
        assert queue.count("extend") == 31
        gate.set()
        await stage.settled()
        assert len(stage.ran) == 1
        assert (await stage.dispatcher.health()).lost_leases == 0


async def test_leases_cover_what_was_fetched_and_not_started() -> None:
    """The idle clock of a lease starts at fetch, so the buffer is renewed too."""
    queue = Breakable(open_queue("reference://buffer?lease=30"))
    async with Stage(queue) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)
            await gate.wait()

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(3)])
        await stage.ran_in_all(1)
        held = await until(lambda: len(pool_of(stage).held.deliveries) > 1 and pool_of(stage).held.deliveries)
        await stage.clock.advance(10)
        [renewed] = [what for name, what in queue.calls if name == "extend"]
        assert set(renewed) == set(held)
        gate.set()
        await stage.settled()


# -- dead letters that can't be written


@EVERY_HOME
async def test_nothing_is_acked_while_its_dead_letter_cannot_be_written(home: str, tmp_path: Path) -> None:
    """It stays in flight, visible in health, and is moved once the dead letters take it. F38."""
    queue, dead = Breakable(open_queue(address(home, tmp_path))), Breakable(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=dead, retry=RetryPolicy(attempts=1)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)
            if note.text == "bad":
                raise OSError

        dead.broken = {"push"}
        await stage.start()
        await stage.dispatcher.dispatch(Note("bad"))
        await passing(stage.clock, until(lambda: dead.count("push") > 3))
        assert queue.count("ack") == 0
        assert (await stage.dispatcher.stats()).in_flight == 1
        health = await stage.dispatcher.health()
        assert (health.ready, health.last_error.partition(":")[0]) == (False, "QueueUnavailable")
        dead.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())
        assert [letter.data["text"] for letter in await stage.letters()] == ["bad"]
        assert stage.ran == ["bad"]
        assert (await stage.dispatcher.health()).ready


async def test_a_dead_letter_queue_that_is_down_does_not_hold_up_acks() -> None:
    """Each kind of settling has its own loop and its own pauses."""
    queue, dead = Breakable(ReferenceQueue(Store())), Breakable(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=dead, retry=RetryPolicy(attempts=1)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)
            if note.text == "bad":
                raise OSError

        dead.broken = {"push"}
        await stage.start()
        await stage.dispatcher.dispatch(Note("bad"))
        await until(lambda: dead.count("push"))
        await turns()
        await stage.dispatcher.dispatch(Note("good"))
        await until(lambda: queue.count("ack"))  # the clock stands still: no pause is over
        dead.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())


async def test_a_retry_whose_letter_is_not_written_yet_waits_for_it() -> None:
    """One handler is dead, the other would run again: until the letter is written, its key stands still unacked."""
    queue, dead = Breakable(ReferenceQueue(Store())), Breakable(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=dead) as stage:

        @stage.dispatcher.on(Parcel, retry=RetryPolicy(attempts=1))
        async def weigh(parcel: Parcel) -> None:
            raise OSError("no scales")

        @stage.dispatcher.on(Parcel, retry=RetryPolicy(initial=1, jitter=False))
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(ctx.attempt)
            if ctx.attempt == 1:
                raise OSError("no van")

        dead.broken = {"push"}
        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await passing(stage.clock, until(lambda: dead.count("push") > 3))
        assert queue.count("ack") == queue.count("nack") == 0
        assert stage.ran == [1]
        dead.broken.clear()
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [1, 2]
        [letter] = await stage.letters()
        assert letter.handlers == ("weigh",)


async def test_a_letter_is_written_before_the_retry_of_the_other_handlers_goes_back() -> None:
    """Without a key: `dead` first, then the nack."""
    queue = Breakable(ReferenceQueue(Store()))
    dead = Breakable(ReferenceQueue(Store()))
    dead.calls = queue.calls
    async with Stage(queue, dead_letter=dead) as stage:

        @stage.dispatcher.on(Note, retry=RetryPolicy(attempts=1))
        async def first(note: Note) -> None:
            raise OSError

        @stage.dispatcher.on(Note, retry=AT_ONCE)
        async def second(note: Note, ctx: Context) -> None:
            stage.ran.append(ctx.attempt)
            if ctx.attempt == 1:
                raise OSError

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(2)
        await stage.settled()
        names = [name for name, _ in queue.calls if name in {"push", "nack", "ack"}]
        assert names == ["push", "push", "nack", "ack"]


async def test_only_the_letters_that_were_refused_are_written_again() -> None:
    """A batch that fails in part: each letter is there once, each event acked once."""
    queue, dead = Breakable(ReferenceQueue(Store())), Picky(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=dead, retry=RetryPolicy(attempts=1)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError

        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(10)])
        dead.refused = {"3", "7"}
        await stage.start(workers=10)
        await passing(stage.clock, until(lambda: dead.count("push") > 3))
        assert (await stage.dispatcher.stats()).in_flight == 2
        dead.refused = set()
        await passing(stage.clock, stage.dispatcher.join())
        texts = [letter.data["text"] for letter in await stage.letters()]
        assert sorted(texts) == [str(number) for number in range(10)]


class Picky(Breakable):
    """Refuses some notes of a batch."""

    refused: set[str] = set()  # noqa: RUF012

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._called("push", messages)
        fine = [message for message in messages if message.data["text"] not in self.refused]
        await self.inner.push_many(fine, timeout=timeout)
        if errors := {i: QueueFull("no") for i, message in enumerate(messages) if message not in fine}:
            raise PushFailed(errors)


# -- retries and hand-backs that fail in part


async def test_only_the_retries_that_were_refused_are_nacked_again() -> None:
    """A queue that takes a part of a batch back: what it took is not given to it twice."""
    queue = HalfNack(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=ReferenceQueue(Store()), retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append((note.text, ctx.attempt))
            if ctx.attempt == 1:
                raise OSError

        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(8)])
        await stage.start(workers=8)
        await passing(stage.clock, stage.dispatcher.join())
        assert sorted(stage.ran) == sorted((str(number), attempt) for number in range(8) for attempt in (1, 2))


class HalfNack(Breakable):
    """The first nack of a batch of several is taken, the others are refused."""

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        lost = await super().nack_many(nacks[:1])
        if len(nacks) > 1:
            raise PushFailed({index: QueueFull("no room") for index in range(1, len(nacks))})
        return lost


# -- suspects


@DURABLE_HOME
async def test_an_event_whose_process_died_in_three_runs_is_not_run_a_fourth_time(home: str, tmp_path: Path) -> None:
    """The crash cap looks at hand-outs without a settle; the letter says `crashed`."""
    url = address(home, tmp_path) + "?lease=3"
    clock = ManualClock()
    producer = EventDispatcher(url, clock=clock)
    await producer.start(workers=0)
    await producer.dispatch(Parcel(1))
    for _ in range(3):
        victim = open_queue(url)
        victim.clock = clock
        await victim.open()
        [delivery] = await until_popped(victim)
        await victim.started([delivery])
        await clock.advance(4)  # it is dead: nobody renews its lease
    async with Stage(url) as stage:
        stage.dispatcher._life._clock = stage.dispatcher.queue.clock = stage.clock = clock
        stage.dispatcher.on(Parcel)(stage.ran.append)
        await stage.start()
        await passing(clock, stage.dispatcher.join())
        [letter] = await stage.letters()
        assert stage.ran == []
        assert letter.dead is not None
        assert (letter.dead.reason, letter.attempt) == ("crashed", 1)
    await producer.stop(grace=0)


async def until_popped(queue: MessageQueue) -> list[Delivery]:
    while not (batch := await asyncio.wait_for(queue.pop_many(1), 20)):
        pass
    return batch


class Suspicious(Breakable):
    """Its deliveries have been handed out before."""

    times = 2

    async def pop_many(self, limit: int) -> list[Delivery]:
        batch = await super().pop_many(limit)
        for delivery in batch:
            delivery.times = self.times
        return batch


async def test_an_event_at_its_last_chance_runs_while_no_other_suspect_runs() -> None:
    """So that the right one is blamed when the process dies."""
    queue = Suspicious(ReferenceQueue(Store()))
    queue.times = 3
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:
        running = 0

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            nonlocal running
            running += 1
            stage.ran.append(running)
            await turns(5)
            running -= 1

        await stage.start(workers=4)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(8)])
        await stage.ran_in_all(8)
        await stage.settled()
        assert stage.ran == [1] * 8
        assert queue.count("started") == 8


async def test_events_on_their_first_hand_out_are_no_suspects() -> None:
    """They run together and cost no call of `started`."""
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:
        together = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            if len(stage.ran) == 4:
                together.set()
            await together.wait()

        await stage.start(workers=4)
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(4)])
        await stage.settled()
    assert queue.count("started") == 0


async def test_an_event_that_cannot_be_marked_as_started_goes_back_and_comes_again() -> None:
    """Running it uncounted would let it kill the process for ever."""
    queue = Suspicious(ReferenceQueue(Store()), RuntimeError("a plugin's bug"))
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        queue.broken = {"started"}
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await until(lambda: queue.count("release"))
        assert stage.ran == []
        queue.broken.clear()
        await passing(stage.clock, until(lambda: stage.ran))
        await stage.settled()


# -- lost leases


async def test_an_event_whose_lease_was_lost_before_it_began_is_not_run() -> None:
    """Another owner has it."""
    queue = Breakable(open_queue("reference://lost?lease=30"))
    async with Stage(queue) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.number, ctx.lost))
            await gate.wait()
            stage.ran.append((parcel.number, ctx.lost))

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, 0), Parcel(1, 1)])
        await stage.ran_in_all(1)
        await until(lambda: len(pool_of(stage).held.deliveries) == 2)
        queue.broken = {"extend", "pop"}
        await stage.clock.advance(31)
        queue.broken = {"pop"}
        thief = open_queue("reference://lost?lease=1000")
        thief.clock = stage.clock
        stolen = await thief.pop_many(2)
        assert len(stolen) == 2
        await stage.clock.advance(10)  # the next renewal finds out
        await until(lambda: pool_of(stage).held.lost == 2)
        gate.set()
        await stage.ran_in_all(2)
        await turns()
        assert stage.ran == [(0, False), (0, True)]
        assert await thief.ack_many(stolen) == []
        assert (await stage.dispatcher.health()).lost_leases == 2
        queue.broken = set()


# -- time slice


@pytest.mark.parametrize("home", ["channel", "reference"])
async def test_handlers_that_never_wait_do_not_starve_the_event_loop(home: str, tmp_path: Path) -> None:
    """However busy the workers, everybody else gets a turn each millisecond or so."""
    dispatcher = EventDispatcher(address(home, tmp_path))
    events, done, most = 3000, 0, 0

    @dispatcher.on(Note)
    async def spin(note: Note) -> None:
        nonlocal done
        until_when = time.perf_counter() + 0.0001
        while time.perf_counter() < until_when:
            pass
        done += 1

    async with dispatcher:
        await dispatcher.dispatch_many([Note() for _ in range(events)])
        await dispatcher.start(workers=20)
        while done < events:
            before = done
            await asyncio.sleep(0)
            most = max(most, done - before)
    assert 0 < most <= 64  # a millisecond of them, looked at every 16


async def test_the_end_of_the_pool_is_not_waited_for_by_a_fetch_that_hangs() -> None:
    """A plugin whose pop ignores everything but cancellation."""

    class Hanging(FourMethods):
        async def pop(self) -> Delivery:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    async with Stage(Hanging(Shelf()), dead_letter=FourMethods(Shelf())) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.start()
        await turns()
        report = await asyncio.wait_for(stage.dispatcher.stop(), 5)  # the clock stands still
        assert report.handled == 0
