"""Handlers that take too long: cut off at their timeout and never before, whatever else happens at that moment."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import Any

import anyio
import pytest

from notification import Context, EventDispatcher, Message, RetryPolicy
from tests.stage import Note, Parcel, Stage, passing, turns, until

ONCE = RetryPolicy(attempts=1)


async def test_a_handler_is_cut_off_at_its_timeout() -> None:
    """It counts as a TimeoutError for its policy."""
    async with Stage(handler_timeout=10, retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(stage.clock.monotonic())
            try:
                await stage.clock.sleep(60)
            finally:
                stage.ran.append(stage.clock.monotonic())

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.ran_in_all(1)
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        began, ended = stage.ran
        assert 10 <= ended - began <= 11.5
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.error == "TimeoutError: handler took longer than 10 s"


async def test_a_handler_that_ends_in_time_is_left_alone() -> None:
    """However near to its limit."""
    async with Stage(handler_timeout=10) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            await stage.clock.sleep(9.99)
            stage.ran.append(note.text)

        await stage.start()
        await stage.dispatcher.dispatch_many([Note("a"), Note("b"), Note("c")])
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert stage.ran == ["a", "b", "c"]


async def test_each_handler_has_its_own_timeout() -> None:
    """on(timeout=) overrules the dispatcher's, in both directions."""
    async with Stage(handler_timeout=10, retry=ONCE) as stage:

        @stage.dispatcher.on(Note, timeout=2)
        async def short(note: Note) -> None:
            await stage.clock.sleep(5)
            stage.ran.append("short")

        @stage.dispatcher.on(Note, timeout=100)
        async def long(note: Note) -> None:
            await stage.clock.sleep(50)
            stage.ran.append("long")

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert stage.ran == ["long"]
        [letter] = await stage.letters()
        assert letter.handlers == ("short",)


async def test_of_several_handlers_only_the_one_that_was_cut_off_runs_again() -> None:
    """Those before and after it run once."""
    async with Stage(handler_timeout=10, retry=RetryPolicy(initial=1, jitter=False)) as stage:

        @stage.dispatcher.on(Note)
        async def first(note: Note) -> None:
            stage.ran.append("first")

        @stage.dispatcher.on(Note)
        async def second(note: Note, ctx: Context) -> None:
            stage.ran.append(f"second {ctx.attempt}")
            if ctx.attempt == 1:
                await stage.clock.sleep(60)

        @stage.dispatcher.on(Note)
        async def third(note: Note) -> None:
            stage.ran.append("third")

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert stage.ran == ["first", "second 1", "third", "second 2"]


async def test_the_next_event_of_a_worker_does_not_pay_for_the_last_one() -> None:
    """A cancellation that comes when its handler has just ended hits nobody."""
    async with Stage(handler_timeout=10, retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            if note.text == "late":
                # wakes in the turn of the loop in which the watchdog cancels, and ends without waiting again
                await gate.wait()
            else:
                await turns(3)
            stage.ran.append(note.text)

        gate = asyncio.Event()
        await stage.start()
        for text in ("late", "next", "after"):
            await stage.dispatcher.dispatch(Note(text))
        await turns()
        pool = stage.dispatcher._life.service.pool  # type: ignore[union-attr]  # it is open
        assert pool is not None
        [desk] = pool._desks
        gate.set()
        desk.scope.cancel()
        await stage.ran_in_all(2)
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran[-2:] == ["next", "after"]


async def test_the_next_handler_of_an_event_does_not_pay_for_the_last_one() -> None:
    """Nor does it miss its turn."""
    async with Stage(handler_timeout=10, retry=ONCE) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def first(note: Note) -> None:
            await gate.wait()
            stage.ran.append("first")

        @stage.dispatcher.on(Note)
        async def second(note: Note) -> None:
            await turns(3)
            stage.ran.append("second")

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await turns()
        pool = stage.dispatcher._life.service.pool  # type: ignore[union-attr]  # it is open
        assert pool is not None
        gate.set()
        pool._desks[0].scope.cancel()
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran[-1] == "second"
        assert [letter.handlers for letter in await stage.letters()] in ([], [("first",)])


async def test_no_handler_near_its_limit_is_cancelled_before_it() -> None:
    """Of thousands that end just before or after their timeout, none is cut off early or in another's place."""
    limit, wrongly, cut, dice = 0.1, 0, 0, random.Random(1)
    dispatcher = EventDispatcher(handler_timeout=limit, retry=ONCE)
    count = 6000

    @dispatcher.on(Note)
    async def read(note: Note) -> None:
        nonlocal wrongly, cut
        began = time.monotonic()
        try:
            await asyncio.sleep(limit * dice.uniform(0.9, 1.15))
        except asyncio.CancelledError:
            cut += 1
            wrongly += time.monotonic() - began < limit
            raise

    async with dispatcher:
        await dispatcher.start(workers=200)
        await dispatcher.dispatch_many([Note() for _ in range(count)], timeout=None)
        await dispatcher.join()
        report = await dispatcher.stop()
    assert wrongly == 0
    assert report.dead == cut
    assert report.handled == count - cut


async def test_a_handler_that_swallows_its_cancellation_and_ends_is_done() -> None:
    """It is cancelled at each wait until it ends; what it returns counts, and its worker goes on."""
    async with Stage(handler_timeout=10, retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            for _ in range(5 if note.text == "stubborn" else 0):
                with contextlib.suppress(asyncio.CancelledError):
                    await stage.clock.sleep(3600)
            stage.ran.append(note.text)

        await stage.start()
        await stage.dispatcher.dispatch(Note("stubborn"))
        await stage.dispatcher.dispatch(Note("next"))
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert stage.ran == ["stubborn", "next"]
        assert await stage.letters() == []
        assert stage.clock.monotonic() < 1020


async def test_middleware_is_part_of_a_run() -> None:
    """Its waits count."""

    async def slow(message: Message, ctx: Context, call_next: Any) -> None:
        await stage.clock.sleep(60)
        await call_next()

    async with Stage(handler_timeout=10, retry=ONCE, middleware=[slow]) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert stage.ran == []
        assert len(await stage.letters()) == 1


# -- plain functions


async def test_a_plain_function_runs_in_a_thread_of_its_worker() -> None:
    """It may block: the event loop goes on."""
    async with Stage() as stage:
        gate = threading.Event()

        @stage.dispatcher.on(Note)
        def read(note: Note) -> None:
            stage.ran.append(threading.current_thread().name)
            assert gate.wait(20)

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Note("a"), Note("b"), Note("c"), Note("d")])
        assert sorted(await stage.ran_in_all(2)) == ["notification-worker-1", "notification-worker-2"]
        await turns()
        assert len(stage.ran) == 2
        gate.set()
        await stage.settled()
        assert len(stage.ran) == 4
        assert len(set(stage.ran)) == 2


async def test_a_plain_function_beyond_its_timeout_stays_and_is_then_settled_as_a_timeout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A thread can't be cancelled: one warning names it, health counts it, its event stays with it until it ends."""
    async with Stage(handler_timeout=10, retry=RetryPolicy(initial=1, jitter=False)) as stage:
        gate = threading.Event()

        @stage.dispatcher.on(Parcel)
        def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append((parcel.number, ctx.attempt))
            if parcel.number == 0 and ctx.attempt == 1:
                assert gate.wait(20)

        await stage.start(workers=2)
        await stage.dispatcher.dispatch_many([Parcel(1, 0), Parcel(1, 1), Parcel(2, 2)])
        await until(lambda: len(stage.ran) == 2)
        for _ in range(100):
            await stage.clock.advance(1)
        assert (await stage.dispatcher.health()).in_threads == 1
        said = [record.getMessage() for record in caplog.records if "in its thread" in record.getMessage()]
        assert len(said) == 1
        assert "handler carry" in said[0]
        assert sorted(stage.ran) == [(0, 1), (2, 1)]
        gate.set()
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran[2:] == [(0, 2), (1, 1)]
        assert (await stage.dispatcher.health()).in_threads == 0
        assert "TimeoutError" in caplog.text


async def test_whatever_a_plain_function_raises_is_a_failed_run() -> None:
    """StopIteration too, which no future can carry."""
    errors: list[BaseException] = [StopIteration("over"), SystemExit(3), ValueError("no"), asyncio.CancelledError()]
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Parcel)
        def carry(parcel: Parcel) -> None:
            raise errors[parcel.number]

        await stage.start()
        await stage.dispatcher.dispatch_many([Parcel(n, n) for n in range(len(errors))])
        await stage.settled()
        reasons = [letter.dead.error for letter in await stage.letters() if letter.dead is not None]
        assert [reason.partition("(")[0].partition(":")[0] for reason in reasons] == [
            "RuntimeError", "SystemExit", "ValueError", "CancelledError",
        ]  # fmt: skip


async def test_a_plain_function_that_returns_a_coroutine_has_it_awaited() -> None:
    """A decorator that hides the async function below it would lose events otherwise."""

    async def really(note: Note) -> None:
        await turns(2)
        stage.ran.append(note.text)

    async with Stage() as stage:
        stage.dispatcher.on(Note, name="first")(lambda note: really(note))  # noqa: PLW0108 - that is the point
        stage.dispatcher.on(Note, name="second")(lambda note: asyncio.wait_for(really(note), None))
        await stage.start()
        await stage.dispatcher.dispatch(Note("hello"))
        await stage.settled()
        assert stage.ran == ["hello", "hello"]


# -- an event loop that stands still


async def test_a_handler_that_blocks_the_event_loop_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a stall, while it lasts; leases are renewed from the loop."""
    monkeypatch.setattr("workers.deadline.STALL", 0.05)
    dispatcher = EventDispatcher()

    @dispatcher.on(Note)
    async def blocks_everything(note: Note) -> None:
        until_when = time.monotonic() + 20
        while "handler blocks_everything" not in caplog.text and time.monotonic() < until_when:
            time.sleep(0.01)

    async with dispatcher:
        await dispatcher.start()
        await dispatcher.dispatch(Note())
        await dispatcher.join()
    said = [record.getMessage() for record in caplog.records if "blocks_everything" in record.getMessage()]
    assert len(said) == 1
    assert "stood still" in said[0]


async def test_the_watch_over_the_loop_ends_with_the_pool() -> None:
    """No thread is left."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start(workers=3)
        await stage.dispatcher.dispatch_many([Note() for _ in range(6)])
        await stage.ran_in_all(6)
        assert [thread for thread in threading.enumerate() if thread.name.startswith("notification-")]
    await until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith(("notification-w", "notification-st"))]
    )


async def test_a_worker_whose_task_a_handler_cancels_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """A handler may end with a cancellation of its own making; the pool does not shrink."""
    async with Stage(retry=RetryPolicy(attempts=2, initial=0)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append((note.text, ctx.attempt))
            task = asyncio.current_task()
            assert task is not None
            if note.text == "at once" and ctx.attempt == 1:
                task.cancel()
                await anyio.sleep(0)
            if note.text == "afterwards" and ctx.attempt == 1:
                task.cancel()

        await stage.start(workers=1)
        for text in ("at once", "afterwards", "next"):
            await stage.dispatcher.dispatch(Note(text))
            await passing(stage.clock, stage.dispatcher.join())
        assert ("next", 1) in stage.ran or ("next", 2) in stage.ran
        assert ("at once", 2) in stage.ran
        assert await stage.letters() == []
