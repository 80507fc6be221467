"""What only the SQLite queue promises: its URL, its options, several owners and queues in one file."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from queues import _sqlite_thread, open_queue
from queues._sqlite_claim import Claim, Demand
from queues.base import Capability, MessageQueue
from queues.clock import ManualClock
from queues.errors import ConfigurationError, PushFailed, QueueClosed, QueueError, QueueFull
from queues.message import DeadLetter, Delivery, Message, Nack
from queues.sqlite import SQLiteQueue
from tests.sqlite_audit import audit

MakeQueue = Callable[..., SQLiteQueue]


def event(name: str, key: str | None = None, **fields: object) -> Message:
    """A small message whose id is `name`."""
    return Message(type="t", id=name, source="/s", key=key, **fields)  # type: ignore[arg-type]  # the test's own words


def events(count: int, key: str | None = None) -> list[Message]:
    """`count` of them: e0, e1, …"""
    return [event(f"e{number}", key) for number in range(count)]


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    """Of the events handed out, in order."""
    return [delivery.expect().id for delivery in deliveries]


async def soon(queue: MessageQueue, limit: int = 100) -> list[Delivery]:
    """What pop_many gives, within a time that is long enough for anything that works."""
    return await asyncio.wait_for(queue.pop_many(limit), 10)


@pytest.fixture
def make(tmp_path: Path) -> MakeQueue:
    """Makes owners of one file, by URL."""

    def make(**options: object) -> SQLiteQueue:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        queue = open_queue(f"sqlite:///{tmp_path}/q.db?{query}")
        assert isinstance(queue, SQLiteQueue)
        return queue

    return make


# -- the URL


async def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere else where SQLite has URLs."""
    monkeypatch.chdir(tmp_path)
    async with open_queue("sqlite:///relative.db"), open_queue(f"sqlite:///{tmp_path}/absolute%20name.db"):
        assert sorted(path.name for path in tmp_path.glob("*.db")) == ["absolute name.db", "relative.db"]


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("sqlite://events.db", "sqlite:///events.db"),
        ("sqlite://", "sqlite:///events.db"),
        ("sqlite:///", "sqlite:///events.db"),
        ("sqlite:///:memory:", "channel://"),
        ("sqlite:///e.db?group=a", "group"),
        ("sqlite:///e.db?leese=3", "lease"),
        ("sqlite:///e.db?lease=0", "lease"),
        ("sqlite:///e.db?capacity=0", "capacity"),
        ("sqlite:///e.db?synchronous=off", "full, normal"),
        ("sqlite:///e.db?dedup=often", "duration"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: str, hint: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigurationError, match=hint):
        open_queue(url)


def test_order_none_waives_keyed_and_nothing_else(make: MakeQueue) -> None:
    """Any other order keeps it."""
    rest = Capability.ACK | Capability.DELAY | Capability.DURABLE
    assert make().capabilities == make(order="process").capabilities == rest | Capability.KEYED
    assert make(order="none").capabilities == rest


async def test_order_none_hands_out_first_in_first_out(make: MakeQueue) -> None:
    """However many of one key there are, and although they were pushed with keys."""
    async with make() as keyed:
        await keyed.push_many([event(f"e{number}", "hot" if number % 10 else "cold") for number in range(100)])
    async with make(order="none") as plain:
        assert ids(await soon(plain, 100)) == [f"e{number}" for number in range(100)]


async def test_a_queue_says_why_it_can_not_be_used(make: MakeQueue) -> None:
    """Not open yet, or closed."""
    queue = make()

    async def check(reason: str) -> None:
        for call in (
            queue.pop, queue.size, queue.stats, lambda: queue.push(event("e")), lambda: queue.ack_many([]),
            lambda: queue.extend([]), lambda: queue.take(bool, 1), lambda: queue.move_many([], queue),
            lambda: anext(aiter(queue.browse())),
        ):  # fmt: skip
            with pytest.raises(QueueClosed, match=reason):
                await call()

    await check("not open yet")
    async with queue:
        await queue.open()
    await check("closed")
    with pytest.raises(QueueClosed, match="make a new queue"):
        await queue.open()


# -- keys


async def test_one_claim_takes_an_eighth_of_one_key_at_most(make: MakeQueue) -> None:
    """So that a hot key does not fill the buffer of one process; but at least one."""
    async with make() as queue:
        await queue.push_many([*events(100, "hot"), *(event(f"c{number}", f"k{number}") for number in range(100))])
        keys = [delivery.expect().key for delivery in await soon(queue, 80)]
        assert keys.count("hot") == 10
        assert ids(await soon(queue, 1)) == ["e10"], "one at least, and the next of the key goes to its holder"


async def test_a_hot_key_of_another_owner_costs_a_claim_nothing(make: MakeQueue) -> None:
    """20,000 of it at the head are passed over once; then claims are as fast as without them."""
    async with make() as holder, make() as other:
        quiet = await _claim_seconds(other, 0)
        await holder.push(event("held", "hot"))
        assert ids(await soon(holder, 1)) == ["held"]
        for number in range(20):
            await holder.push_many([event(f"h{number}-{i}", "hot") for i in range(1000)])
        await _claim_seconds(other, 1)
        beside_it = await _claim_seconds(other, 2)
        assert beside_it < 3 * quiet, f"{beside_it * 1e3:.2f} ms a claim, {quiet * 1e3:.2f} ms without a hot key"


async def _claim_seconds(queue: SQLiteQueue, round_: int) -> float:
    """The median time of a claim of 100 of 50 keys."""
    seconds = []
    for number in range(30):
        await queue.push_many([event(f"{round_}-{number}-{i}", f"k{i % 50}") for i in range(100)])
        begun = time.perf_counter()
        got = await soon(queue, 100)
        seconds.append(time.perf_counter() - begun)
        while len(got) < 100:
            got += await soon(queue, 100)
        await queue.ack_many(got)
    return statistics.median(seconds)


async def test_what_piled_up_behind_a_held_key_comes_in_order_once_it_is_free(make: MakeQueue) -> None:
    """Passed over by claims, and then handed out by them, and what was pushed since behind it."""
    async with make() as holder, make() as other:
        await holder.push_many(events(50, "k"))
        first = await soon(holder, 1)
        await holder.push(event("sentinel", "other"))
        assert ids(await soon(other, 10)) == ["sentinel"]
        await holder.push_many([event(f"later{number}", "k") for number in range(5)])
        await holder.ack_many(first)
        got: list[str] = []
        while len(got) < 54:
            batch = await soon(other, 40)
            got += ids(batch)
        assert got == [*(f"e{number}" for number in range(1, 50)), *(f"later{number}" for number in range(5))]


# -- settling


async def test_a_dead_letter_and_its_ack_are_one_transaction(
    make: MakeQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move to the sibling never goes through a push."""

    async def no_push(*_: object, **__: object) -> None:
        pytest.fail("a move inside one file is not a push")

    queue = make()
    async with queue:
        assert queue.url is not None
        async with open_queue(queue.url.sibling("dead")) as dead:
            await queue.push_many(events(4))
            got = await soon(queue)
            monkeypatch.setattr(dead, "push_many", no_push)
            letters = [attrs.evolve(delivery.expect(), dead=DeadLetter("fatal")) for delivery in got]
            assert await queue.move_many(list(zip(got[:3], letters, strict=False)), dead) == []
            assert (await queue.stats()).dead == 3
            assert [delivery.message for delivery in await soon(dead)] == letters[:3]
            stale = await queue.move_many([(got[0], letters[0])], dead)
            assert ids(stale) == ["e0"], "what was settled is no longer ours"
            assert (await queue.stats()).dead == 3, "and a stale move writes no second letter"
    audit(tmp_path / "q.db")


async def test_a_move_to_a_queue_of_another_file_writes_there_first(make: MakeQueue, tmp_path: Path) -> None:
    """Not one transaction, so the copy is there before the ack."""
    async with make() as queue, open_queue(f"sqlite:///{tmp_path}/other.db") as other:
        await queue.push(event("e"))
        got = await soon(queue)
        assert await queue.move_many([(got[0], got[0].expect())], other) == []
        assert ids(await soon(other)) == ["e"]
        assert await queue.size() == 0


async def test_nobody_but_its_owner_can_settle_a_delivery(make: MakeQueue) -> None:
    """Not even another owner of the same process that holds the very delivery."""
    async with make() as owner, make() as other:
        await owner.push(event("e"))
        got = await soon(owner)
        assert await other.ack_many(got) == got
        assert await other.nack_many([Nack(got[0])]) == got
        assert await owner.ack_many(got) == []


async def test_a_delivery_that_a_thread_still_runs_stays_leased_at_close(make: MakeQueue) -> None:
    """`running`: close() hands back everything else; this comes back after the lease, counted."""
    clock = ManualClock()
    leaving, heir = make(lease=10), make(lease=10)
    leaving.clock = heir.clock = clock
    async with heir:
        await leaving.open()
        await leaving.push_many(events(3))
        got = await soon(leaving)
        got[1].running = True
        await leaving.close()
        assert ids(await soon(heir)) == ["e0", "e2"]
        waiting = asyncio.ensure_future(soon(heir))
        await heir.size()
        assert not waiting.done()
        await clock.advance(10.1)
        [late] = await waiting
        assert (late.expect().id, late.times) == ("e1", 2)


async def test_settling_thousands_at_once_is_several_short_transactions(make: MakeQueue) -> None:
    """And gives the same as one."""
    async with make(order="none") as queue:
        await queue.push_many(events(2500))
        got: list[Delivery] = []
        while len(got) < 2500:
            got += await soon(queue, 5000)
        assert await queue.started(got) == await queue.extend(got) == []
        assert await queue.ack_many(got) == []
        assert await queue.ack_many(got) == got


async def test_a_lease_ends_when_it_ends(make: MakeQueue) -> None:
    """Not a moment before; a nack after the death forgets it."""
    clock = ManualClock()
    silent, heir = make(lease=10), make(lease=10)
    silent.clock = heir.clock = clock
    async with silent, heir:
        await silent.push(event("e"))
        await soon(silent)
        waiting = asyncio.ensure_future(soon(heir))
        await heir.size()
        await clock.advance(9.9)
        await heir.release([])
        await heir.size()
        assert not waiting.done()
        await clock.advance(0.2)
        [delivery] = await waiting
        assert delivery.times == 2
        await heir.nack_many([Nack(delivery)])
        assert [delivery.times for delivery in await soon(heir)] == [1], "a nack settles"


async def test_claims_are_bounded_in_bytes(make: MakeQueue) -> None:
    """About 1 MiB at a time, and a larger event alone."""
    async with make(max_event=4 << 20) as queue:
        await queue.push_many([event(f"e{number}", data="x" * 100_000) for number in range(30)])
        sizes: list[int] = []
        while sum(sizes) < 30:
            sizes.append(len(await soon(queue, 30)))
        assert max(sizes) <= 11
        await queue.push_many([event("large", data="x" * (2 << 20)), event("small")])
        assert ids(await soon(queue)) == ["large"]


async def test_three_hundred_cancelled_pops_lose_nothing(make: MakeQueue) -> None:
    """Cancelled at random moments while events arrive: all come, each once."""
    dice = random.Random(7)
    got: list[str] = []
    async with make() as queue:

        async def produce() -> None:
            for number in range(300):
                await queue.push(event(f"e{number}", f"k{number % 5}"))

        producer = asyncio.ensure_future(produce())
        for _ in range(300):
            pop = asyncio.ensure_future(queue.pop_many(dice.choice([1, 3])))
            await asyncio.sleep(dice.choice([0, 0, 0.0003, 0.001]))
            pop.cancel()
            await asyncio.wait([pop])
            batch = [] if pop.cancelled() else pop.result()
            got += ids(batch)
            await queue.ack_many(batch)
        await producer
        while len(got) < 300:
            batch = await soon(queue)
            got += ids(batch)
            await queue.ack_many(batch)
        assert sorted(got) == sorted(f"e{number}" for number in range(300))


async def test_what_waits_for_a_pop_too_long_goes_back_uncounted(make: MakeQueue) -> None:
    """Taken for a pop that was cancelled, and not popped before the lease is over: others may have it by then."""
    clock = ManualClock()
    async with make(lease=10) as queue:
        queue._owner.clock = clock
        await queue.push(event("e"))
        pop = asyncio.ensure_future(queue.pop())
        await asyncio.sleep(0)
        pop.cancel()
        await asyncio.wait([pop])
        await clock.advance(11)
        [delivery] = await soon(queue)
        assert (delivery.expect().id, delivery.times) == ("e", 1)
        assert await queue.ack_many([delivery]) == []


async def test_what_was_taken_out_of_turn_leaves_no_gap_to_look_into(make: MakeQueue) -> None:
    """After a take of everything in line, a waiting pop waits, and the thread with it."""
    async with make() as queue:
        await queue.push_many(events(10))
        await queue.ack_many(await queue.take(lambda _: True, 10))
        waiting = asyncio.ensure_future(soon(queue))
        await queue.size()
        await queue.size()
        assert not queue._thread._again
        await queue.push(event("next"))
        assert ids(await waiting) == ["next"]


async def test_a_claim_arrives_once(make: MakeQueue) -> None:
    """Although the thread may tell of it twice: that it waits for something due, and that it is done."""
    async with make() as queue:
        arrived: list[Claim] = []
        claim = Claim(queue._owner, Demand(), arrived.append)
        claim.result = None
        claim.deliver()
        claim.deliver()
        assert arrived == [claim]


# -- capacity and repeated ids


async def test_room_made_by_another_process_lets_a_waiting_push_in(make: MakeQueue, tmp_path: Path) -> None:
    """Here: by somebody who deletes by hand, and says so in the counter."""
    async with make(capacity=2) as queue:
        await queue.push_many(events(2))
        waiting = asyncio.ensure_future(queue.push(event("more")))
        await queue.size()
        assert not waiting.done()
        with closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM message WHERE seq = (SELECT min(seq) FROM message)")
            connection.execute("UPDATE queue SET waiting = waiting - 1")
            connection.execute("COMMIT")
        await asyncio.wait_for(waiting, 10)
        assert ids(await soon(queue)) == ["e1", "more"]


async def test_pushes_that_wait_for_room_get_it_in_their_order(make: MakeQueue) -> None:
    """First come, first served; more of them than one transaction holds."""
    async with make(capacity=10) as queue:
        pushes = [asyncio.ensure_future(queue.push(message)) for message in events(200)]
        got: list[str] = []
        while len(got) < 200:
            batch = await soon(queue, 7)
            got += ids(batch)
            await queue.ack_many(batch)
        await asyncio.gather(*pushes)
        assert got == [f"e{number}" for number in range(200)]


async def test_a_delayed_message_needs_no_room(make: MakeQueue) -> None:
    """Capacity counts what waits."""
    async with make(capacity=1) as queue:
        await queue.push(event("e"))
        await queue.push(event("late", not_before=queue.clock.now() + timedelta(hours=1)), timeout=0)
        with pytest.raises(QueueFull):
            await queue.push(event("more"), timeout=0)
        held = await soon(queue)
        await queue.push(event("more"))
        await queue.release(held)
        await queue.push(event("later", not_before=queue.clock.now() + timedelta(hours=1)), timeout=0)
        stats = await queue.stats()
        assert (stats.waiting, stats.delayed) == (2, 2), "nor when what came back is over the capacity"


async def test_a_repeated_id_is_not_stored_again_within_its_time(make: MakeQueue, tmp_path: Path) -> None:
    """?dedup=60: in one batch, later, from another owner; after a minute it is a new event."""
    clock = ManualClock()
    first, second = make(dedup=60, capacity=100), make(dedup=60)
    first.clock = second.clock = clock
    async with first, second:
        await first.push_many([event("a"), event("b"), event("a")])
        await second.push(event("b"))
        assert await first.size() == 2
        await first.ack_many(await soon(first))
        await clock.advance(59)
        await second.push_many([event("a"), event("c")])
        assert ids(await soon(second)) == ["c"], "an id is remembered although its event was handled"
        await clock.advance(2)
        await first.push(event("a"))
        assert ids(await soon(first)) == ["a"]
    audit(tmp_path / "q.db")


async def test_the_memory_of_ids_is_bounded_by_their_time(make: MakeQueue, tmp_path: Path) -> None:
    """Rows that are over go as new ones come."""
    clock = ManualClock()
    queue = make(dedup=1)
    queue.clock = clock
    async with queue:
        for number in range(50):
            await queue.push_many([event(f"{number}-{i}") for i in range(20)])
            await clock.advance(0.5)
    with closing(sqlite3.connect(tmp_path / "q.db")) as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone()[0] <= 60


async def test_a_sibling_remembers_no_ids(make: MakeQueue) -> None:
    """An event may die twice."""
    queue = make(dedup=60)
    async with queue:
        assert queue.url is not None
        async with open_queue(queue.url.sibling("dead")) as dead:
            await dead.push(event("a"))
            await dead.push(event("a"))
            assert await dead.size() == 2


async def test_a_message_without_a_json_form_fails_alone(make: MakeQueue) -> None:
    """PushFailed names it; the others are in."""
    async with make() as queue:
        with pytest.raises(PushFailed) as failed:
            await queue.push_many([event("a"), event("b", data=object()), event("c")])
        assert list(failed.value.errors) == [1]
        assert ids(await soon(queue)) == ["a", "c"]


# -- waking


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whatever waits for the next look at the file waits too long."""
    monkeypatch.setattr(_sqlite_thread, "POLL_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_polling")
async def test_owners_of_one_process_wake_each_other_at_once(make: MakeQueue) -> None:
    """By a push, an ack that frees a key, a release and a close; none waits for a look at the file."""
    async with make() as one, make() as other:
        waiting = asyncio.ensure_future(soon(other))
        await other.size()
        await one.push(event("a", "k"))
        held = await waiting
        await one.push(event("b", "k"))
        waiting = asyncio.ensure_future(soon(one))
        await one.size()
        await other.ack_many(held)
        held = await waiting
        for give_back in (one.release(held), one.close()):
            waiting = asyncio.ensure_future(soon(other))
            await other.size()
            await give_back
            [delivery] = await waiting
            assert delivery.expect().id == "b"
            await other.release([delivery])
            held = await soon(one) if one._state == "open" else []


@pytest.mark.usefixtures("no_polling")
async def test_a_pop_alone_makes_room_for_a_push(make: MakeQueue) -> None:
    """Nothing else has to happen."""
    async with make(capacity=1) as queue:
        await queue.push(event("a"))
        waiting = asyncio.ensure_future(queue.push(event("b")))
        await queue.size()
        assert ids(await soon(queue)) == ["a"]
        await asyncio.wait_for(waiting, 10)


@pytest.mark.usefixtures("no_polling")
async def test_more_requests_than_one_transaction_holds_are_all_done(make: MakeQueue) -> None:
    """One after the other, without another one to wake the thread."""
    async with make() as queue:
        await asyncio.wait_for(asyncio.gather(*map(queue.push, events(200))), 10)
        got = await soon(queue, 200)
        assert ids(got) == [f"e{number}" for number in range(200)]
        acks = [queue.ack_many([delivery]) for delivery in got]
        assert await asyncio.wait_for(asyncio.gather(*acks), 10) == [[]] * 200


@pytest.mark.usefixtures("no_polling")
async def test_event_loops_of_one_process_share_a_file(make: MakeQueue) -> None:
    """A thread with a loop of its own pushes; the pop in this one wakes."""

    async def push_from_there() -> None:
        async with make() as queue:
            await queue.push_many(events(10))

    async with make() as here:
        waiting = asyncio.ensure_future(soon(here))
        await here.size()
        thread = threading.Thread(target=lambda: asyncio.run(push_from_there()))
        thread.start()
        assert ids(await waiting) == [f"e{number}" for number in range(10)]
        await asyncio.to_thread(thread.join)


@pytest.mark.usefixtures("no_polling")
async def test_following_wakes_with_each_push(make: MakeQueue) -> None:
    """browse(follow=True), from a position."""
    async with make() as queue:
        await queue.push_many(events(3))
        seen: list[str] = []

        async def follow() -> None:
            async for message in queue.browse(since="1", follow=True):
                seen.append(message.id)
                if message.id == "last":
                    return

        following = asyncio.ensure_future(follow())
        await queue.size()
        await queue.push(event("last"))
        await asyncio.wait_for(following, 10)
        assert seen == ["e1", "e2", "last"]


@pytest.mark.parametrize("position", ["", "x", "-1", "1.5", "9" * 30])
async def test_a_position_that_is_none_says_so(make: MakeQueue, position: str) -> None:
    """A ConfigurationError, like every wrong word of a user."""
    async with make() as queue:
        with pytest.raises(ConfigurationError, match="position"):
            await anext(aiter(queue.browse(since=position)))


# -- life cycle


async def test_the_thread_ends_with_the_last_queue_of_its_file(make: MakeQueue, tmp_path: Path) -> None:
    """And the file is closed: its -wal file is gone; it may be opened again at once."""
    for _ in range(3):
        one, other = make(), make(queue="another")
        async with one, other:
            await one.push(event("e"))
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("sqlite q.db") == 1, "one thread a file"
        assert not (tmp_path / "q.db-wal").exists()
    async with make() as queue:
        assert await queue.size() == 3


async def test_the_file_shrinks_after_a_backlog(
    make: MakeQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once there is nothing to do, a few pages at a time; whether somebody waits or not."""
    monkeypatch.setattr(_sqlite_thread, "_QUIET_SECONDS", 0.02)
    monkeypatch.setattr(_sqlite_thread, "_FREE_PAGES", 100)
    for waits in (False, True):
        async with make(order="none") as queue:
            await queue.push_many([event(f"e{number}", data="x" * 2000) for number in range(2000)])
        grown = (tmp_path / "q.db").stat().st_size
        async with make(order="none") as queue:
            while await queue.size():
                await queue.ack_many(await soon(queue, 500))
            waiting = asyncio.ensure_future(queue.pop()) if waits else None
            async with asyncio.timeout(10):
                while (tmp_path / "q.db").stat().st_size > grown / 4:
                    await asyncio.sleep(0.02)
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait([waiting])


async def test_opening_twice_at_once_or_closing_meanwhile_leaves_nothing_open(make: MakeQueue, tmp_path: Path) -> None:
    """One user of the thread, or none."""
    queue = make()
    await asyncio.gather(queue.open(), queue.open())
    await queue.push(event("e"))
    await queue.close()
    assert not (tmp_path / "q.db-wal").exists()
    queue = make()
    opening = asyncio.ensure_future(queue.open())
    await asyncio.sleep(0)
    await queue.close()
    with pytest.raises(QueueClosed):
        await opening
    assert not (tmp_path / "q.db-wal").exists()
    queue = make()
    opening = asyncio.ensure_future(queue.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert not (tmp_path / "q.db-wal").exists()
    async with queue:
        assert await queue.size() == 1


async def test_queues_of_one_file_do_not_mix(make: MakeQueue, tmp_path: Path) -> None:
    """Each has its own events, keys, counters and sibling."""
    async with make(queue="a") as a, make(queue="b") as b:
        await a.push_many(events(3, "k"))
        await b.push_many([event("other", "k")])
        assert ids(await soon(a)) == ["e0", "e1", "e2"]
        assert ids(await soon(b)) == ["other"]
        assert (await a.stats()).in_flight == 3
        audit(tmp_path / "q.db")


async def test_after_a_reboot_leases_are_over_and_delays_go_by_the_wall_clock(
    make: MakeQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monotonic clock starts anew with each boot, so nothing in the file may be compared with it."""
    before = ManualClock(wall=1_750_000_000.0)
    await before.advance(50_000)
    killed = make(lease=1000, dedup=100)
    killed.clock = before
    async with killed:
        await killed.push_many([event("held", "k"), event("retry"), event("late", not_before=None)])
        held, retry, late = await soon(killed)
        await killed.nack_many([Nack(retry, 60.0), Nack(late, 3600.0)])
        with closing(sqlite3.connect(tmp_path / "q.db")) as live, closing(sqlite3.connect(tmp_path / "c.db")) as copy:
            live.backup(copy)
        assert await killed.ack_many([held]) == []
    (tmp_path / "c.db").chmod(0o600)
    monkeypatch.setattr("queues._sqlite_file.boot_id", lambda: "another boot")
    after = ManualClock(wall=before.wall() + 30)
    queue = SQLiteQueue(tmp_path / "c.db", dedup=100)
    queue.clock = after
    async with queue:
        assert ids(await soon(queue)) == ["held"], "whoever held it is gone with the machine"
        await queue.push(event("held"))
        waiting = asyncio.ensure_future(soon(queue))
        await queue.size()
        await after.advance(29)
        await queue.size()
        assert not waiting.done(), "30 of its 60 seconds went by while the machine was down; the id is still known"
        await after.advance(2)
        assert ids(await waiting) == ["retry"]
        assert (await queue.stats()).delayed == 1
    audit(tmp_path / "c.db")


async def test_corrupt_rows_come_out_between_good_ones(make: MakeQueue, tmp_path: Path) -> None:
    """Bytes that are no text, no JSON or nothing at all never fail their batch."""
    async with make() as queue:
        await queue.push_many(events(5))
        with closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as connection:
            bodies = [b"\xff\x00\xfe", "täxt", b"", 7]
            for number, body in enumerate(bodies, 1):
                connection.execute("UPDATE message SET body = ? WHERE seq & 0xffff = ?", (body, number))
        got = await soon(queue)
        assert [delivery.raw for delivery in got] == [b"", b"\xff\x00\xfe", "täxt".encode(), b"", b"7"]
        assert ids(got[:1]) == ["e0"]
        assert all(delivery.error is not None for delivery in got[1:])
        await queue.release(got)
        assert len([message async for message in queue.browse()]) == 5
        assert await queue.ack_many(await soon(queue)) == []


async def test_an_error_of_the_thread_itself_reaches_whoever_asked(
    make: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug must not leave its callers waiting for ever."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with make() as queue:
        with monkeypatch.context() as patched:
            patched.setattr(_sqlite_thread, "commit", broken)
            with pytest.raises(QueueError, match="ZeroDivisionError"):
                await queue.push(event("e"))
        await queue.push(event("next"))
        assert ids(await soon(queue)) == ["next"]
