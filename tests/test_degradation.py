"""A dispatcher whose queue is down or full: the ladder of dispatch, and what it says of itself meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notification import (
    ConfigurationError,
    Context,
    Degradation,
    Dispatched,
    EventDispatcher,
    Message,
    MessageQueue,
    PushFailed,
    QueueFull,
    QueueUnavailable,
    Reject,
    RetryPolicy,
    SwitchQueue,
)
from notification.testing import EventTester
from queues.channel import ChannelQueue
from queues.errors import QueueError
from tests.reference_queue import ReferenceQueue, Store
from tests.scripted_queue import AWAY, LOST, Scripted
from tests.stage import Breakable, Note, Parcel, Stage, passing, stopped, until


def reference(capacity: int | None = None) -> Breakable:
    """A queue that can do everything, and be broken."""
    return Breakable(ReferenceQueue(Store(), capacity=capacity))


class Play(Stage):
    """A stage with a degradation; `changes` has what its on_change was told."""

    def __init__(self, queue: str | MessageQueue, spill: str | Path | None = None, **more: Any) -> None:
        self.changes: list[str] = []
        settings = {name: more.pop(name) for name in ("dead_letter", "middleware", "grace") if name in more}
        settings.setdefault("dead_letter", "channel://")
        super().__init__(queue, degradation=Degradation(spill=spill, on_change=self.changes.append, **more), **settings)

    async def dispatch(self, event: Any, **more: Any) -> Dispatched:
        sent: Dispatched = await passing(self.clock, self.dispatcher.dispatch(event, **more), step=0.02)
        return sent

    def handles(self, cls: type[Any] = Note, **more: Any) -> None:
        @self.dispatcher.on(cls, **more)
        async def handle(event: Any) -> None:
            self.ran.append(event)

    async def changes_to(self, state: str) -> None:
        async def there() -> None:
            await until(lambda: self.changes[-1:] == [state], f"{state}, it was {self.changes}")

        await passing(self.clock, there())


# -- the spill


async def test_an_event_goes_to_the_spill_while_the_queue_is_down_and_is_handled_after(tmp_path: Path) -> None:
    """Accepted, told as `spill`, and handled once, in order, when the queue is back."""
    queue = reference()
    async with Play(queue, tmp_path) as stage:
        stage.handles()
        await stage.start(2)
        assert (await stage.dispatch(Note("0"))).via == "queue"
        queue.broken = {"push"}
        sent = [await stage.dispatch(Note(str(number))) for number in range(1, 4)]
        assert [one.via for one in sent] == ["spill"] * 3
        queue.broken = set()
        await stage.changes_to("direct")
        assert [note.text for note in await stage.ran_in_all(4)] == ["0", "1", "2", "3"]
        assert stage.changes == ["spilling", "replaying", "direct"]


async def test_many_at_once_soon_and_blocking_go_the_same_way(tmp_path: Path) -> None:
    """Each is told how."""
    queue = reference()
    async with Play(queue, tmp_path) as stage:
        await stage.start(0)
        queue.broken = {"push"}
        assert {one.via for one in await stage.dispatcher.dispatch_many([Note("a"), Note("b")])} == {"spill"}
        told: list[Dispatched | Exception] = []
        stage.dispatcher.dispatch_soon(Note("c"), on_done=told.append)
        await until(lambda: told)
        assert isinstance(told[0], Dispatched)
        assert told[0].via == "spill"
        with stage.dispatcher.blocking() as blocking:
            sent = await asyncio.to_thread(blocking.dispatch, Note("d"))
        assert sent.via == "spill"
        queue.broken = set()


async def test_health_says_that_it_is_degraded_and_how_much_is_spilled(tmp_path: Path) -> None:
    """Ready all the same: dispatch works. The queue is not asked meanwhile, for it may be long in answering."""
    queue = reference()
    async with Play(queue, tmp_path) as stage:
        stage.handles()
        await stage.start(1)
        health = await stage.dispatcher.health()
        assert (health.ready, health.degraded, health.spilled, health.lag) == (True, False, 0, 0)
        queue.broken = {"push", "size", "pop"}
        await stage.dispatch(Note("a"))
        await stage.dispatch(Note("b"))
        asked = queue.count("size")
        health = await stage.dispatcher.health()
        assert (health.live, health.ready, health.degraded, health.spilled) == (True, True, True, 2)
        assert (health.lag, health.last_error) == (None, "the cable is out")
        assert queue.count("size") == asked
        queue.broken = set()
        await stage.changes_to("direct")
        await stage.ran_in_all(2)
        health = await stage.dispatcher.health()
        assert (health.degraded, health.spilled) == (False, 0)
        assert health.last_pop_age is not None


async def test_a_probe_does_not_wait_for_a_queue_that_gives_no_answer() -> None:
    """A second, and it is told so: who asks over HTTP waits for two."""

    class Deaf(ReferenceQueue):
        async def size(self) -> int:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    async with EventDispatcher(Deaf(Store())) as dispatcher:
        began = time.monotonic()
        health = await dispatcher.health()
        assert time.monotonic() - began < 1.8
        assert (health.live, health.ready, health.degraded) == (True, False, True)
        assert "no answer within 1 s" in health.last_error


async def test_what_is_left_at_the_end_is_reported_and_comes_first_the_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """StopReport.spilled, and a line in the log."""
    store = Store()
    queue = Breakable(ReferenceQueue(store))
    stage = Play(queue, tmp_path, grace=-1)
    await stage.start(0)
    queue.broken = {"push"}
    for number in range(5):
        await stage.dispatch(Note(str(number)))
    report = await stopped(stage.dispatcher, stage.clock)
    assert report.spilled == 5
    assert "5 events are left in the spill" in caplog.text
    async with Play(Breakable(ReferenceQueue(store)), tmp_path) as again:
        again.handles()
        await again.start(1)
        await again.dispatch(Note("new"))
        assert [note.text for note in await again.ran_in_all(6)] == ["0", "1", "2", "3", "4", "new"]


async def test_stop_waits_for_a_replay_that_is_under_way(tmp_path: Path) -> None:
    """Within its grace: nothing is left that could have gone."""
    queue = reference()
    stage = Play(queue, tmp_path, grace=-1)
    await stage.start(0)
    queue.broken = {"push"}
    await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(2_000)])
    queue.broken = set()
    await stage.changes_to("replaying")
    report = await stopped(stage.dispatcher, stage.clock)
    assert report.spilled == 0
    assert len(queue.inner._store.records) == 2_000  # type: ignore[attr-defined]  # a ReferenceQueue


async def test_joining_waits_for_the_spill(tmp_path: Path) -> None:
    """What was accepted here is settled when it was handled, not when it is on a disk."""
    queue = reference()
    async with Play(queue, tmp_path) as stage:
        stage.handles()
        await stage.start(1)
        queue.broken = {"push"}
        await stage.dispatch(Note("a"))
        joining = asyncio.ensure_future(stage.dispatcher.join())
        await asyncio.wait([joining], timeout=0.1)
        assert not joining.done()
        queue.broken = set()
        await stage.changes_to("direct")
        await asyncio.wait_for(joining, 20)
        assert len(stage.ran) == 1


async def test_a_full_spill_is_an_error_or_handled_inline(tmp_path: Path) -> None:
    """QueueFull without `inline`; with it the handlers run, and nothing is kept in memory."""
    for inline in (False, True):
        queue = reference()
        async with Play(queue, f"{tmp_path / str(inline)}?capacity=2", inline=inline) as stage:
            stage.handles()
            await stage.start(0)
            queue.broken = {"push"}
            assert [(await stage.dispatch(Note(str(n)), timeout=0)).via for n in range(2)] == ["spill", "spill"]
            if inline:
                assert (await stage.dispatch(Note("2"), timeout=5)).via == "inline"
                assert [note.text for note in stage.ran] == ["2"]
            else:
                with pytest.raises(QueueFull, match="spill"):
                    await stage.dispatch(Note("2"), timeout=0)


async def test_delayed_events_stay_delayed_over_an_outage(tmp_path: Path) -> None:
    """They are handled when they are due, not when the queue is back."""
    queue = reference()
    async with Play(queue, tmp_path) as stage:
        stage.handles()
        await stage.start(1)
        queue.broken = {"push"}
        await stage.dispatch(Note("later"), delay=3600)
        await stage.dispatch(Note("now"))
        queue.broken = set()
        await stage.changes_to("direct")
        assert [note.text for note in await stage.ran_in_all(1)] == ["now"]
        await stage.clock.advance(3700)
        assert [note.text for note in await stage.ran_in_all(2)] == ["now", "later"]


async def test_workers_begin_when_the_queue_is_there(tmp_path: Path) -> None:
    """With a spill, start() returns while the queue is down; what was dispatched meanwhile is handled then."""
    queue = reference()
    queue.broken = {"open", "push"}
    async with Play(queue, tmp_path) as stage:
        stage.handles()
        await passing(stage.clock, stage.start(2))
        with pytest.raises(ConfigurationError, match="begin when the queue is there"):
            await stage.start(2)
        assert (await stage.dispatch(Note("a"))).via == "spill"
        health = await stage.dispatcher.health()
        assert (health.live, health.ready, health.degraded, health.spilled) == (True, True, True, 1)
        queue.broken = set()
        await stage.changes_to("direct")
        assert [note.text for note in await stage.ran_in_all(1)] == ["a"]


async def test_without_a_spill_a_queue_that_is_down_is_an_error_at_the_start() -> None:
    """As ever."""
    for degradation in (None, Degradation(inline=True)):
        queue = reference()
        queue.broken = {"open"}
        dispatcher = EventDispatcher(queue, dead_letter="channel://", degradation=degradation)
        with pytest.raises(QueueUnavailable):
            await dispatcher.start(1)


async def test_workers_that_can_not_begin_are_told_at_the_start_all_the_same(tmp_path: Path) -> None:
    """What the handlers need is known before the queue is there."""
    stage = Play(Scripted(), tmp_path)
    async with stage:
        stage.handles(Parcel)
        with pytest.raises(ConfigurationError, match="keeps no order by key"):
            await passing(stage.clock, stage.start(1))


# -- full


async def test_a_full_queue_waits_unless_it_is_told_otherwise() -> None:
    """on_full="wait": QueueFull after the timeout, whatever else is allowed."""
    async with Play("channel://?capacity=1", inline=True) as stage:
        stage.handles()
        await stage.start(0)
        await stage.dispatch(Note("a"))
        with pytest.raises(QueueFull):
            await stage.dispatch(Note("b"), timeout=0.1)
        assert stage.ran == []


async def test_a_full_queue_may_spill(tmp_path: Path) -> None:
    """on_full="spill": at once, and it follows in order; in a channel too, where events are encoded then."""
    async with Play("channel://?capacity=2", tmp_path, on_full="spill") as stage:
        stage.handles()
        await stage.start(0)
        vias = [(await stage.dispatch(Note(str(number)))).via for number in range(6)]
        assert vias == ["queue", "queue", "spill", "spill", "spill", "spill"]
        await stage.dispatcher._life._consume(1, stage.dispatcher.dispatch)
        await stage.changes_to("direct")
        assert [note.text for note in await stage.ran_in_all(6)] == ["0", "1", "2", "3", "4", "5"]


async def test_a_full_queue_may_run_inline() -> None:
    """on_full="inline": at once, in the caller."""
    for queue in ("channel://?capacity=1", reference(capacity=1)):
        async with Play(queue, on_full="inline") as stage:
            stage.handles()
            await stage.start(0)
            assert (await stage.dispatch(Note("a"))).via == "queue"
            assert (await stage.dispatcher.dispatch(Note("b"), timeout=None)).via == "inline"
            assert [note.text for note in stage.ran] == ["b"]


async def test_a_full_channel_may_drop_its_oldest() -> None:
    """on_full="drop_oldest": it is a dead letter, `dropped`, with its data as JSON; one line tells of many."""
    async with Play(ChannelQueue(capacity=2), on_full="drop_oldest", dead_letter=ChannelQueue()) as stage:
        await stage.start(0)
        for number in range(5):
            assert (await stage.dispatch(Note(str(number)))).via == "queue"
        assert await stage.dispatcher.size() == 2
        letters = [letter async for letter in stage.dispatcher.dead_letters.browse()]
        assert [letter.data for letter in letters] == [{"text": "0"}, {"text": "1"}, {"text": "2"}]
        assert {letter.dead.reason for letter in letters if letter.dead} == {"dropped"}


async def test_events_of_a_private_channel_that_are_dropped_can_be_looked_at_before_workers_start() -> None:
    """`dead_letters` is the one channel that has them."""
    dispatcher = EventDispatcher("channel://?capacity=1", degradation=Degradation(on_full="drop_oldest"))
    async with dispatcher:
        await dispatcher.dispatch_many([Note("a"), Note("b")])
        assert [letter.data async for letter in dispatcher.dead_letters.browse()] == [{"text": "a"}]


async def test_what_waits_behind_its_key_is_not_dropped() -> None:
    """When nothing can be taken out, the queue is full."""
    channel = ChannelQueue(capacity=1)
    async with EventDispatcher(
        channel, dead_letter="channel://", degradation=Degradation(on_full="drop_oldest")
    ) as dispatcher:
        other = ChannelQueue()
        other._state = channel._state  # another owner of the same channel
        await dispatcher.dispatch(Parcel(1, 0))
        await other.pop_many(1)
        await dispatcher.dispatch(Parcel(1, 1))
        with pytest.raises(QueueFull):
            await dispatcher.dispatch(Parcel(1, 2), timeout=0)


async def test_with_a_spill_the_oldest_are_dropped_there(tmp_path: Path) -> None:
    """on_full="drop_oldest" on any queue: the newest are kept, the oldest are dead letters."""
    queue = reference()
    async with Play(queue, f"{tmp_path}/s?capacity=3", on_full="drop_oldest") as stage:
        stage.handles()
        await stage.start(1)
        queue.broken = {"push"}
        for number in range(7):
            assert (await stage.dispatch(Note(str(number)), timeout=0)).via == "spill"
        assert (await stage.dispatcher.health()).ready
        queue.broken = set()
        await stage.changes_to("direct")
        ran = [note.text for note in await stage.ran_in_all(3)]
        assert ran[-2:] == ["5", "6"]
        ran_and_dropped = set(ran)

        async def all_are_told() -> bool:
            ran_and_dropped.update(letter.data["text"] for letter in await stage.letters())
            return ran_and_dropped == set("0123456")

        await until(all_are_told)


# -- inline


async def test_an_event_runs_inline_when_the_queue_is_down_and_nothing_keeps_it() -> None:
    """Once, in the task that dispatches, with its context and middleware."""
    seen: list[Any] = []

    async def layer(message: Message, ctx: Context, call_next: Any) -> None:
        seen.append(("layer", message.type))
        await call_next()

    queue = reference()
    async with Play(queue, inline=True, middleware=[layer]) as stage:

        @stage.dispatcher.on(Note)
        async def handle(note: Note, ctx: Context) -> None:
            seen.append((note.text, ctx.attempt, ctx.id, asyncio.current_task()))

        await stage.start(1)
        queue.broken = {"push"}
        sent = await stage.dispatcher.dispatch(Note("a"))
        assert sent.via == "inline"
        assert seen == [("layer", "stage.note"), ("a", 1, sent.id, asyncio.current_task())]
        assert stage.changes == ["failing"]
        queue.broken = set()
        await stage.clock.advance(1.1)
        assert (await stage.dispatcher.dispatch(Note("b"))).via == "queue"
        assert stage.changes == ["failing", "direct"]


async def test_while_the_queue_is_down_inline_dispatches_do_not_wait_for_it() -> None:
    """It is asked once a second; the others run at once."""
    queue = Scripted()
    async with Play(queue, inline=True) as stage:
        stage.handles()
        await stage.start(0)
        queue.silent = True
        assert (await stage.dispatch(Note("first"))).via == "inline"
        for number in range(20):
            assert (await stage.dispatcher.dispatch(Note(str(number)))).via == "inline"
        assert len(queue.tries) == 1
        assert len(stage.ran) == 21
        queue.silent = False


async def test_what_a_handler_raises_inline_is_raised_to_the_caller() -> None:
    """As it is: no retry, no dead letter."""
    queue = reference()
    async with Play(queue, inline=True) as stage:

        @stage.dispatcher.on(Note, retry=RetryPolicy(attempts=5))
        async def handle(note: Note) -> None:
            stage.ran.append(note)
            raise Reject("no") if note.text == "reject" else ValueError("as it should")

        await stage.start(0)
        queue.broken = {"push"}
        with pytest.raises(ValueError, match="as it should") as raised:
            await stage.dispatcher.dispatch(Note("a"))
        assert "run inline for event" in raised.value.__notes__[0]
        with pytest.raises(Reject):
            await stage.dispatcher.dispatch(Note("reject"))
        assert len(stage.ran) == 2


async def test_several_handlers_all_run_inline_and_their_failures_are_raised_together() -> None:
    """One failure as it is, several as an ExceptionGroup."""
    queue = reference()
    async with Play(queue, inline=True) as stage:
        for name in ("first", "second", "third"):

            def add(name: str = name) -> None:
                @stage.dispatcher.on(Note, name=name)
                async def handle(note: Note) -> None:
                    stage.ran.append(name)
                    if name in note.text:
                        raise ValueError(name)

            add()
        await stage.start(0)
        queue.broken = {"push"}
        with pytest.raises(ValueError, match="first"):
            await stage.dispatcher.dispatch(Note("first"))
        assert stage.ran == ["first", "second", "third"]
        with pytest.raises(ExceptionGroup, match="2 handlers failed") as raised:
            await stage.dispatcher.dispatch(Note("first third"))
        assert [str(error) for error in raised.value.exceptions] == ["first", "third"]


async def test_in_a_batch_each_is_told_what_became_of_it_inline() -> None:
    """PushFailed names those that failed, with what they raised as the cause; the others were handled."""
    queue = reference()
    async with Play(queue, inline=True) as stage:

        @stage.dispatcher.on(Note)
        async def handle(note: Note) -> None:
            if note.text == "bad":
                raise ValueError("bad")
            stage.ran.append(note.text)

        await stage.start(0)
        queue.broken = {"push"}
        with pytest.raises(PushFailed) as failed:
            await stage.dispatcher.dispatch_many([Note("a"), Note("bad"), Note("b")])
        assert stage.ran == ["a", "b"]
        assert [*failed.value.errors] == [1]
        assert isinstance(failed.value.errors[1].__cause__, ValueError)
        assert {one.via for one in await stage.dispatcher.dispatch_many([Note("c"), Note("d")])} == {"inline"}
        told: list[Any] = []
        stage.dispatcher.dispatch_soon(Note("bad"), on_done=told.append)
        stage.dispatcher.dispatch_soon(Note("e"), on_done=told.append)
        await until(lambda: len(told) == 2)
        assert isinstance(told[0], ValueError)
        assert told[1].via == "inline"


async def test_a_handler_that_takes_too_long_inline_is_cut_off_at_its_timeout() -> None:
    """TimeoutError to the caller; a plain function can't be cut off, and is waited for."""
    queue = reference()
    async with Play(queue, inline=True) as stage:
        ended = threading.Event()

        @stage.dispatcher.on(Note, timeout=3)
        async def hangs(note: Note) -> None:
            await asyncio.get_running_loop().create_future()

        @stage.dispatcher.on(Parcel, timeout=3, order="none")
        def blocks(parcel: Parcel) -> None:
            ended.wait(20)

        await stage.start(0)
        queue.broken = {"push"}
        with pytest.raises(TimeoutError, match="longer than 3 s"):
            await passing(stage.clock, stage.dispatcher.dispatch(Note("a")))
        blocked = asyncio.ensure_future(stage.dispatcher.dispatch(Parcel(1)))
        await asyncio.wait([blocked], timeout=0.05)
        await stage.clock.advance(10)
        assert not blocked.done()
        ended.set()
        with pytest.raises(TimeoutError):
            await blocked


async def test_inline_runs_take_their_turn_in_the_lane_of_their_key() -> None:
    """Not beside a worker's run of that key, nor beside each other; the worker goes on after them."""
    queue = reference()
    async with Play(queue, inline=True) as stage:
        going: dict[int, asyncio.Event] = {number: asyncio.Event() for number in range(4)}

        @stage.dispatcher.on(Parcel)
        async def handle(parcel: Parcel) -> None:
            stage.ran.append(("began", parcel.number))
            await going[parcel.number].wait()
            stage.ran.append(("ended", parcel.number))

        await stage.start(2)
        await stage.dispatch(Parcel(1, 0))
        await stage.ran_in_all(1)
        queue.broken = {"push"}
        inline = [asyncio.ensure_future(stage.dispatcher.dispatch(Parcel(1, n), timeout=None)) for n in (1, 2)]
        await stage.clock.advance(0.5)
        assert stage.ran == [("began", 0)]
        queue.broken = set()
        for number in range(3):
            going[number].set()
            await stage.ran_in_all(2 * number + 2)
        assert stage.ran == [(what, number) for number in range(3) for what in ("began", "ended")]
        assert [one.via for one in await asyncio.gather(*inline)] == ["inline", "inline"]
        going[3].set()
        await stage.clock.advance(1.1)
        assert (await stage.dispatch(Parcel(1, 3))).via == "queue"
        await stage.ran_in_all(8)


async def test_a_turn_that_does_not_come_in_time_raises_what_the_queue_said() -> None:
    """Nothing ran; who gave up leaves no trace in the lane."""
    queue = reference()
    async with Play(queue, inline=True) as stage:
        going = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def handle(parcel: Parcel) -> None:
            stage.ran.append(parcel.number)
            await going.wait()

        await stage.start(1)
        await stage.dispatch(Parcel(1, 0))
        await stage.ran_in_all(1)
        queue.broken = {"push"}
        with pytest.raises(QueueUnavailable, match="the cable is out"):
            await stage.dispatch(Parcel(1, 1), timeout=2)
        given_up = asyncio.ensure_future(stage.dispatcher.dispatch(Parcel(1, 2), timeout=None))
        await asyncio.wait([given_up], timeout=0.02)
        given_up.cancel()
        await asyncio.wait([given_up])
        going.set()
        sent = await stage.dispatch(Parcel(1, 3), timeout=2)
        assert (sent.via, stage.ran) == ("inline", [0, 3])


async def test_inside_a_handler_an_inline_run_does_not_wait_for_a_lane() -> None:
    """Its own handler may be the one that it would wait for: the dispatch raises."""
    queue = reference()
    async with Play(queue, inline=True) as stage:

        @stage.dispatcher.on(Parcel)
        async def handle(parcel: Parcel, ctx: Context) -> None:
            if parcel.number == 0:
                for next_one in (Parcel(1, 1), Parcel(2, 1)):
                    try:
                        stage.ran.append((await ctx.dispatch(next_one)).via)
                    except QueueError as error:
                        stage.ran.append(type(error))

        await stage.start(0)
        queue.broken = {"push"}
        await stage.dispatch(Parcel(1, 0))
        assert stage.ran == [QueueUnavailable, "inline"]


async def test_what_nobody_handles_here_or_is_not_due_is_not_run_inline() -> None:
    """The dispatch raises what the queue said."""
    queue = reference()
    async with Play(queue, inline=True) as stage:
        stage.handles(Note)
        await stage.start(0)
        queue.broken = {"push"}
        with pytest.raises(QueueUnavailable):
            await stage.dispatcher.dispatch(Parcel(1))
        with pytest.raises(QueueUnavailable):
            await stage.dispatcher.dispatch(Note("later"), delay=60)
        with pytest.raises(QueueUnavailable):
            await stage.dispatcher.dispatch(Note("later"), delay=stage.clock.now() + timedelta(days=1))
        assert stage.ran == []


async def test_stop_waits_for_inline_runs() -> None:
    """Within its grace."""
    queue = reference()
    stage = Play(queue, inline=True, grace=-1)
    going = asyncio.Event()

    @stage.dispatcher.on(Note)
    async def handle(note: Note) -> None:
        await going.wait()
        stage.ran.append(note.text)

    await stage.start(0)
    queue.broken = {"push"}
    running = asyncio.ensure_future(stage.dispatcher.dispatch(Note("a")))
    await asyncio.wait([running], timeout=0.05)
    stopping = asyncio.ensure_future(stage.dispatcher.stop(grace=30))
    await asyncio.wait([stopping], timeout=0.05)
    assert not stopping.done()
    going.set()
    await stopping
    assert (await running).via == "inline"


# -- what makes no sense


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"spill": 3}, "no directory"),
        ({"spill": "/x?size=1"}, "no directory"),
        ({"inline": "yes"}, "neither True nor False"),
        ({"on_full": "explode"}, "none of wait, spill, inline, drop_oldest"),
        ({"on_full": "spill"}, "needs a directory"),
        ({"on_change": 3}, "no plain function"),
    ],
)
def test_a_degradation_that_makes_no_sense_is_refused(settings: dict[str, Any], why: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigurationError, match=why):
        Degradation(**settings)


def test_an_alert_that_would_have_to_be_awaited_is_refused() -> None:
    """Nobody would await it."""

    async def alert(state: str) -> None: ...

    with pytest.raises(ConfigurationError, match="no plain function"):
        Degradation(on_change=alert)


def test_a_degradation_is_a_degradation() -> None:
    """A mapping is for configuration files."""
    with pytest.raises(ConfigurationError, match="is no Degradation"):
        EventDispatcher(degradation={"inline": True})  # type: ignore[arg-type]  # what a user might try


async def test_dropping_where_others_read_is_refused(tmp_path: Path) -> None:
    """drop_oldest without a spill is for channels."""
    dispatcher = EventDispatcher(f"sqlite:///{tmp_path}/e.db", degradation=Degradation(on_full="drop_oldest"))
    with pytest.raises(ConfigurationError, match="needs a spill"):
        await dispatcher.start(0)
    assert not dispatcher.started


async def test_a_strict_switch_without_a_spill_is_refused() -> None:
    """It refuses events while it changes routes, and something has to keep them."""
    switch = SwitchQueue({"a": "channel://", "b": "channel://"}, lambda: "a", strict=True)
    with pytest.raises(ConfigurationError, match="needs a spill"):
        await EventDispatcher(switch).start(0)


async def test_a_test_with_the_kit_touches_no_spill(tmp_path: Path) -> None:
    """Its queue is never down."""
    dispatcher = EventDispatcher("sqlite:///never.db", degradation=Degradation(spill=tmp_path / "spill"))
    async with EventTester(dispatcher):
        assert (await dispatcher.dispatch(Note("a"))).via == "queue"
    assert not (tmp_path / "spill").exists()


async def test_an_event_whose_fate_is_unknown_runs_inline_too() -> None:
    """It may be handled twice, then, with the same id."""
    queue = Scripted()
    async with Play(queue, inline=True) as stage:
        stage.handles()
        await stage.start(0)
        queue.answer = LOST
        assert (await stage.dispatcher.dispatch(Note("a"))).via == "inline"
        queue.answer = AWAY


async def test_who_has_little_time_is_told_of_the_spill_all_the_same(tmp_path: Path) -> None:
    """A queue that falls silent is given up after a second; a caller with less time is told a little late."""
    queue = Scripted()
    async with Play(queue, tmp_path) as stage:
        await stage.start(0)
        queue.silent = True
        assert (await stage.dispatch(Note("a"), timeout=0.1)).via == "spill"
        queue.silent = False


async def test_behind_a_strict_switch_the_spill_keeps_order_over_a_flip(tmp_path: Path) -> None:
    """While the old route is not empty, and while the flag says `hold`, events are spilled; then they follow in order
    on the new route, before anything else. Nothing is lost, doubled or out of order.
    """
    flag = ["a"]
    routes = {name: ReferenceQueue(Store()) for name in "ab"}
    switch = SwitchQueue(routes, lambda: flag[0], strict=True)
    async with Play(switch, tmp_path, dead_letter=ChannelQueue()) as stage:
        gate = asyncio.Event()

        @stage.dispatcher.on(Parcel)
        async def handle(parcel: Parcel) -> None:
            await gate.wait()
            stage.ran.append(parcel.number)

        await stage.start(2)
        numbers = iter(range(100))
        for flip, vias in (("a", {"queue"}), ("b", {"spill"}), ("hold", {"spill"}), ("b", {"spill"})):
            flag[0] = flip
            sent = [await stage.dispatch(Parcel(1, next(numbers))) for _ in range(10)]
            assert {one.via for one in sent} == vias
        gate.set()
        await stage.changes_to("direct")
        assert (await stage.dispatch(Parcel(1, next(numbers)))).via == "queue"
        assert await stage.ran_in_all(41) == list(range(41))
        assert (await stage.dispatcher.health()).degraded is False


async def test_a_queue_with_nothing_to_hand_out_is_not_taken_for_one_that_gives_no_answer(tmp_path: Path) -> None:
    """last_pop_age grows while events wait and none comes, not while there are none, nor while all workers are busy."""
    store = Store()
    queue = Breakable(ReferenceQueue(store))
    async with Play(queue, tmp_path) as stage:
        going = asyncio.Event()

        @stage.dispatcher.on(Note)
        async def handle(note: Note) -> None:
            stage.ran.append(note)
            await going.wait()

        await stage.start(1)
        await stage.dispatch(Note("a"))
        await stage.ran_in_all(1)
        await stage.clock.advance(100)
        assert (await stage.dispatcher.health()).last_pop_age == 0
        for number in range(3):
            await stage.dispatch(Note(str(number)))
        service, _ = stage.dispatcher._life.opened()
        await until(lambda: service.pool is not None and service.pool.inbox.full)
        await stage.clock.advance(100)
        health = await stage.dispatcher.health()
        assert (health.lag, health.last_pop_age) == (2, 0)
        queue.broken = {"pop", "push"}
        await stage.dispatch(Note("away"))
        going.set()
        await stage.ran_in_all(2)
        await stage.clock.advance(100)
        age = (await stage.dispatcher.health()).last_pop_age
        assert age is not None
        assert age >= 100
        queue.broken = set()
