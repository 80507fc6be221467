"""The end, in order: fetch no more, finish handlers, settle, hand back, close; one deadline for all of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from notification import (
    Context,
    EventDispatcher,
    MessageQueue,
    QueueClosed,
    QueueUnavailable,
    RetryLater,
    RetryPolicy,
    StopReport,
)
from queues.clock import ManualClock
from queues.message import Delivery, Message
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
    turns,
    until,
)

ROOT = Path(__file__).resolve().parents[1]


async def left(url: str, clock: ManualClock, count: int) -> list[Message]:
    """The so many events that another process is handed at once, in order; each for the first time."""
    queue = open_queue(url)
    queue.clock = clock
    found: list[Message] = []
    async with queue:

        async def take() -> None:
            while True:
                for delivery in await queue.pop_many(100):
                    assert delivery.times == 1
                    found.append(delivery.expect())

        taking = asyncio.ensure_future(take())
        await until(lambda: len(found) >= count or taking.done())
        await asyncio.wait([taking], timeout=0.1)  # no more than these
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
    assert len(found) == count
    return found


# -- what is finished, what is handed back


@DURABLE_HOME
async def test_what_was_fetched_and_not_started_goes_back_unchanged_uncounted_and_at_once(
    home: str, tmp_path: Path
) -> None:
    """In order, and without waiting for anything: the clock stands still."""
    url = address(home, tmp_path)
    async with Stage(url, prefetch=50) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)
            await gate.wait()

        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(10)])
        await stage.start()
        await stage.ran_in_all(1)
        pool = stage.dispatcher._life.service.pool  # type: ignore[union-attr]  # it is open
        assert pool is not None
        await until(lambda: len(pool.held.deliveries) > 1)
        stopping = asyncio.ensure_future(stage.dispatcher.stop())
        await turns()
        gate.set()
        report = await asyncio.wait_for(stopping, 20)
        assert report.handled == 1
        assert report.released >= 1
        assert [message.data["number"] for message in await left(url, stage.clock, 9)] == list(range(1, 10))


@EVERY_HOME
async def test_stopping_an_idle_dispatcher_takes_no_time(home: str, tmp_path: Path) -> None:
    """Nothing to finish, nothing to wait for."""
    async with Stage(address(home, tmp_path)) as stage:
        stage.dispatcher.on(Note)(print)
        await stage.start(workers=3)
        await turns()
        assert await asyncio.wait_for(stage.dispatcher.stop(), 20) == StopReport()


@DURABLE_HOME
async def test_handlers_finish_within_the_grace(home: str, tmp_path: Path) -> None:
    """They are handled, and acked."""
    url = address(home, tmp_path)
    async with Stage(url) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append("began")
            await stage.clock.sleep(20)
            stage.ran.append("ended")

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Note(), Note()])
        await stage.ran_in_all(2)
        report = await stage.stop(30)
        assert stage.ran == ["began", "began", "ended", "ended"]
        assert (report.handled, report.released, report.abandoned) == (2, 0, 0)
        await left(url, stage.clock, 0)


@DURABLE_HOME
async def test_handlers_that_do_not_finish_are_cut_off_and_handed_back_uncounted(home: str, tmp_path: Path) -> None:
    """Shortly before the grace is over, so that there is time to hand back; with those behind them."""
    url = address(home, tmp_path)
    async with Stage(url, prefetch=50) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append("began")
            try:
                await stage.clock.sleep(3600)
            except asyncio.CancelledError:
                stage.ran.append(stage.clock.monotonic() - began)
                raise

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(3)])
        await stage.ran_in_all(1)
        began = stage.clock.monotonic()
        report = await stage.stop(30)
        assert 27 <= stage.ran[1] <= 28
        assert (report.handled, report.retried, report.dead) == (0, 0, 0)
        assert report.released >= 1
        found = await left(url, stage.clock, 3)
        assert [(message.data["number"], message.attempt) for message in found] == [(0, 1), (1, 1), (2, 1)]


@DURABLE_HOME
async def test_a_retry_that_waits_in_its_lane_goes_back_with_what_it_has_become(home: str, tmp_path: Path) -> None:
    """Its attempt counts, its remaining delay holds, and those behind it stay behind it."""
    url = address(home, tmp_path)
    async with Stage(url) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)
            raise RetryLater(50)

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, number) for number in range(3)])
        await stage.ran_in_all(1)
        due = stage.clock.monotonic() + 50
        await stage.clock.advance(10)
        report = await stage.stop(30)
        assert report.retried == 1
        await left(url, stage.clock, 0)
        await stage.clock.advance(due - stage.clock.monotonic() - 1)
        await left(url, stage.clock, 0)
        await stage.clock.advance(2)
        found = await left(url, stage.clock, 3)
        assert [(message.data["number"], message.attempt) for message in found] == [(0, 2), (1, 1), (2, 1)]


@DURABLE_HOME
async def test_of_several_handlers_that_were_cut_off_only_the_rest_runs_again(home: str, tmp_path: Path) -> None:
    """What is through is through; a letter for what is dead; and no attempt more."""
    url = address(home, tmp_path)
    async with Stage(url, retry=RetryPolicy(attempts=1)) as stage:

        @stage.dispatcher.on(Parcel)
        async def done(parcel: Parcel) -> None: ...

        @stage.dispatcher.on(Parcel)
        async def dead(parcel: Parcel) -> None:
            raise OSError

        @stage.dispatcher.on(Parcel)
        async def cut(parcel: Parcel) -> None:
            stage.ran.append("cut")
            await stage.clock.sleep(3600)

        @stage.dispatcher.on(Parcel)
        async def never(parcel: Parcel) -> None: ...

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await stage.ran_in_all(1)
        report = await stage.stop(5)
        assert (report.handled, report.retried, report.released, report.dead) == (0, 0, 1, 1)
        [message] = await left(url, stage.clock, 1)
        assert (message.handlers, message.attempt) == (("cut", "never"), 1)


@DURABLE_HOME
async def test_leases_are_renewed_while_handlers_finish(home: str, tmp_path: Path) -> None:
    """A drain may be longer than a lease."""
    url = address(home, tmp_path) + "?lease=10"
    async with Stage(url) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append("began")
            await stage.clock.sleep(25)
            stage.ran.append(ctx.lost)

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(1)
        thief = open_queue(url)
        thief.clock = stage.clock
        await thief.open()
        stealing = asyncio.ensure_future(thief.pop_many(1))
        report = await stage.stop(40, quarter=0.01)  # a slow disk has a quarter of a second for each renewal
        assert stage.ran == ["began", False]
        assert report.handled == 1
        stealing.cancel()
        await asyncio.wait([stealing])
        await thief.close()


async def test_what_is_settled_during_an_outage_is_tried_until_the_deadline() -> None:
    """Then stop returns all the same, and the lease gives the event back."""
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.start()
        queue.broken = {"ack"}
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(1)
        began = stage.clock.monotonic()
        await stage.stop(10)
        assert queue.count("ack") > 2
        assert 10 <= stage.clock.monotonic() - began <= 20


def counting(stage: Stage) -> Any:
    async def count(note: Note) -> None:
        stage.ran.append(note)

    return count


# -- what nothing can stop


@pytest.mark.parametrize("how", ["shielded", "swallowing"])
async def test_a_handler_that_refuses_to_end_does_not_hold_up_the_end(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left to itself, and its event to its lease: handed out, it would run twice at once."""
    url = address("sqlite", tmp_path) + "?lease=30"
    async with Stage(url) as stage:
        release = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            stage.ran.append(how)
            with anyio.CancelScope(shield=how == "shielded"):
                while not release.is_set():
                    with contextlib.suppress(asyncio.CancelledError):
                        await release.wait()

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Parcel(1, 0), Parcel(1, 1)])
        await stage.ran_in_all(1)
        began = stage.clock.monotonic()
        report = await stage.stop(10)
        assert stage.clock.monotonic() - began <= 20
        assert (report.abandoned, report.handled) == (1, 0)
        assert "handler carry still runs and can't be stopped" in caplog.text
        await left(url, stage.clock, 0)
        release.set()
        await turns()


async def test_a_plain_function_that_still_runs_is_left_to_itself(tmp_path: Path) -> None:
    """Its event is not released, or it would run twice at once: the lease returns it."""
    url = address("sqlite", tmp_path) + "?lease=30"
    async with Stage(url) as stage:
        gate, ended = threading.Event(), threading.Event()

        @stage.dispatcher.on(Parcel)
        def carry(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)
            assert gate.wait(20)
            ended.set()

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(1, 0), Parcel(1, 1)])
        await stage.ran_in_all(1)
        report = await stage.stop(5)
        assert (report.abandoned, report.handled) == (1, 0)
        await left(url, stage.clock, 0)
        gate.set()
        assert await asyncio.to_thread(ended.wait, 20)
        await stage.clock.advance(31)
        queue = open_queue(url)
        queue.clock = stage.clock
        async with queue:
            found = [*await popped(queue), *await popped(queue)]
            assert [(one.expect().data["number"], one.times) for one in found[:2]] == [(0, 2), (1, 1)]


async def popped(queue: MessageQueue) -> list[Delivery]:
    while not (batch := await asyncio.wait_for(queue.pop_many(1), 20)):
        pass
    return batch


def test_the_end_of_the_process_waits_for_no_thread(tmp_path: Path) -> None:
    """run() returns, the program ends, and the event is there for another process."""
    script = start_worker(tmp_path, "0.5", kind="plain", seconds=60)
    assert script.stdout is not None
    assert script.stdout.readline() == "began\n"
    script.send_signal(signal.SIGTERM)
    assert script.wait(20) == 0
    assert "abandoned=1" in script.stdout.read()
    script.stdout.close()


# -- a LOCAL queue


async def test_a_local_queue_is_drained_first() -> None:
    """What stays in it is gone with the process: waiting, delayed and retrying events are handled."""
    async with Stage() as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            if ctx.attempt == 1 and note.text == "retry":
                raise RetryLater(5)
            stage.ran.append(note.text)

        await stage.start()
        await stage.dispatcher.dispatch(Note("delayed"), delay=10)
        await stage.dispatcher.dispatch(Note("retry"))
        await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(50)])
        report = await stage.stop(30)
        assert sorted(stage.ran) == sorted(["delayed", "retry", *(str(number) for number in range(50))])
        assert (report.handled, report.abandoned) == (52, 0)


async def test_draining_takes_time_by_the_event_and_not_by_its_square() -> None:
    """What is expensive to ask of a queue is asked once there is little left."""
    queue = Breakable(open_queue("channel://"))
    async with Stage(queue) as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch_many([Note() for _ in range(2000)])
        await stage.start(workers=20)
        report = await stage.stop(30)
        assert report.handled == 2000
        assert queue.count("stats") <= 5


async def test_what_a_local_queue_still_holds_at_the_end_is_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    """In the report and in the log."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(print)
        await stage.start()
        await stage.dispatcher.dispatch(Note("much later"), delay=3600)
        report = await stage.stop(10)
        assert report.abandoned == 1
    assert [record.levelno for record in caplog.records if "are lost" in record.getMessage()] == [logging.ERROR]


async def test_handlers_of_a_local_queue_may_dispatch_while_it_is_drained() -> None:
    """What follows from an event is handled too."""
    async with Stage() as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            if parcel.number:
                await ctx.dispatch(Parcel(1, parcel.number - 1))
            stage.ran.append(parcel.number)

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1, 20))
        report = await stage.stop(30)
        assert stage.ran == list(range(20, -1, -1))
        assert report.handled == 21


# -- who stops, and when


async def test_it_can_be_stopped_in_another_task_than_it_was_started_in() -> None:
    """Web servers and test fixtures do just that."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await asyncio.create_task(stage.dispatcher.start(2))
        await asyncio.create_task(dispatch(stage))
        await stage.ran_in_all(1)
        report = await asyncio.create_task(stage.dispatcher.stop())
        assert report.handled == 1


async def dispatch(stage: Stage) -> None:
    await stage.dispatcher.dispatch(Note())


async def test_stop_is_idempotent_and_all_callers_get_the_same_report() -> None:
    """Also at the same time, and when one of them is cancelled."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(counting(stage))
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        impatient = asyncio.ensure_future(stage.dispatcher.stop())
        await asyncio.sleep(0)
        impatient.cancel()
        first, second = await asyncio.gather(stage.dispatcher.stop(), stage.dispatcher.stop())
        assert first == second == await stage.dispatcher.stop()
        assert first.handled == 1
        assert impatient.cancelled()


async def test_stopping_what_was_never_started_is_nothing() -> None:
    """An empty report."""
    assert await EventDispatcher().stop() == StopReport()


async def test_no_grace_is_no_time_for_handlers_and_still_an_orderly_end() -> None:
    """stop(grace=0)."""
    store = Store()
    async with Stage(ReferenceQueue(store), dead_letter=ReferenceQueue(Store())) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            await stage.clock.sleep(60)

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(1)
        await stage.stop(0)
        assert [(record.owner, record.deaths) for record in store.records] == [(None, 0)]


async def test_leaving_the_block_stops() -> None:
    """`async with`, with what was dispatched in it drained within the grace."""
    dispatcher = EventDispatcher()
    ran: list[Note] = []

    @dispatcher.on(Note)
    async def read(note: Note) -> None:
        ran.append(note)

    async with dispatcher:
        await dispatcher.start()
        await dispatcher.dispatch_many([Note(str(number)) for number in range(100)])
    assert len(ran) == 100
    with pytest.raises(QueueClosed):
        await dispatcher.dispatch(Note())


async def test_whoever_waits_to_dispatch_when_it_stops_is_told() -> None:
    """Nobody waits for ever."""
    queue = FourMethods(Shelf(), capacity=1)
    async with Stage(queue) as stage:
        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch(Note())
        waiting = [asyncio.ensure_future(stage.dispatcher.dispatch(Note(), timeout=None)) for _ in range(3)]
        await turns()
        await stage.stop(1)
        for task in waiting:
            with pytest.raises((QueueClosed, QueueUnavailable)):
                await asyncio.wait_for(task, 20)


async def test_a_cancelled_run_stops_in_order(tmp_path: Path) -> None:
    """As a signal would have it."""
    url = address("reference", tmp_path)
    stage = Stage(url)

    @stage.dispatcher.on(Note)
    async def read(note: Note) -> None:
        stage.ran.append("began")
        await stage.clock.sleep(5)
        stage.ran.append("ended")

    running = asyncio.ensure_future(stage.dispatcher.run(workers=1))
    await until(lambda: stage.dispatcher._life.service is not None and stage.dispatcher._life.service.pool)
    await stage.dispatcher.dispatch(Note())
    await stage.ran_in_all(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await passing(stage.clock, running)
    assert stage.ran == ["began", "ended"]
    await left(url, stage.clock, 0)


# -- signals, on real processes

WORKER = """
import asyncio, sys, time
from notification import *

@event("stop.note")
class Note:
    text: str

url, grace, kind, seconds = sys.argv[1], float(sys.argv[2]), sys.argv[3], float(sys.argv[4])
dispatcher = EventDispatcher(url, grace=grace)

async def polite(note):
    print("began", flush=True)
    await asyncio.sleep(seconds)
    print("ended", flush=True)

def plain(note):
    print("began", flush=True)
    time.sleep(seconds)

dispatcher.on(Note, name="read")(polite if kind == "polite" else plain)
with EventDispatcher(url).blocking() as blocking:
    blocking.dispatch(Note("x"))
print(asyncio.run(dispatcher.run(workers=1)))
"""


def start_worker(tmp_path: Path, grace: str, *, kind: str, seconds: float) -> subprocess.Popen[str]:
    """A worker that says when its handler has begun, and prints its report at the end."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, grace, kind, str(seconds)],
        text=True, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_in_order(number: signal.Signals, tmp_path: Path) -> None:
    """A handler that ends in time is handled."""
    script = start_worker(tmp_path, "20", kind="polite", seconds=0.3)
    assert script.stdout is not None
    assert script.stdout.readline() == "began\n"
    script.send_signal(number)
    assert script.wait(20) == 0
    output = script.stdout.read()
    script.stdout.close()
    assert output.startswith("ended\nStopReport(handled=1,")


def test_the_second_signal_leaves_at_once(tmp_path: Path) -> None:
    """With 128 and its number; the event is still there."""
    script = start_worker(tmp_path, "60", kind="polite", seconds=60)
    assert script.stdout is not None
    assert script.stdout.readline() == "began\n"
    script.send_signal(signal.SIGTERM)
    # the handler of the first one has run once the process stops fetching: nothing tells, so the second is repeated
    for _ in range(200):
        script.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            script.wait(0.1)
            break
    assert script.returncode == 128 + signal.SIGTERM
    script.stdout.close()
