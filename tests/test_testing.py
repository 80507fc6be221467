"""The users' test kit: the same dispatcher on a queue of this process and a clock that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import anyio
import pytest
from attrs import evolve

from notification import (
    CallNext,
    ConfigurationError,
    Context,
    CorruptMessage,
    EventDispatcher,
    Message,
    MessageQueue,
    QueueClosed,
    Reject,
    RetryLater,
    RetryPolicy,
    UnknownEvent,
    event,
)
from notification.testing import EventTester, VirtualClock, context
from tests.stage import Breakable, until

HANG = 0.05
"""Real seconds that the tests with a handler that hangs wait for it."""
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@event("kit.order_shipped", key="account_id")
class OrderShipped:
    """An event with a key."""

    account_id: int
    order_id: str


@event("kit.reminder")
class Reminder:
    """An event without one."""

    text: str
    at: datetime | None = None


@event("kit.cancelled")
class OrderCancelled:
    """An event with a field that an assertion has as a parameter."""

    reason: str


STEADY = RetryPolicy(attempts=3, initial=60, factor=2, jitter=False, max=3600)


class Failing:
    """A handler's body that fails so many times, or always."""

    def __init__(self, times: float = float("inf")) -> None:
        self.left = times

    def __call__(self) -> None:
        if self.left > 0:
            self.left -= 1
            raise ValueError("no such address")


NOWHERE = "sqlite:////nowhere/to/be/found.db?queue=orders"


def shop(
    failing: Callable[[], None] = lambda: None, *,
    queue: str | MessageQueue = NOWHERE, retry: RetryPolicy = STEADY, **settings: Any,
) -> EventDispatcher:  # fmt: skip
    """A dispatcher as an application has it: on a queue that a test can't open."""
    dispatcher = EventDispatcher(queue, retry=retry, **settings)

    @dispatcher.on(OrderShipped)
    async def tell_the_customer(shipped: OrderShipped) -> None:
        failing()

    return dispatcher


def minutes(tester: EventTester) -> list[float]:
    """When the runs began, in minutes after the first one."""
    return [round((run.at - tester.runs[0].at).total_seconds() / 60, 4) for run in tester.runs]


# -- settle


async def test_what_is_due_has_been_handled_once_it_has_settled() -> None:
    """By the application's own handlers, whatever its queue."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        for number in range(100):
            await dispatcher.dispatch(OrderShipped(number % 7, f"A-{number}"))
        await tester.settle()
        assert [run.event.order_id for run in tester.runs if run.event.account_id == 3] == [
            f"A-{number}" for number in range(3, 100, 7)
        ]
        tester.assert_handled(OrderShipped, times=100)
        assert tester.dead == []


async def test_settling_leaves_the_future_alone() -> None:
    """Delays and retries wait for the clock, however often one settles."""
    dispatcher = shop(Failing(1))
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(1, "now"))
        await dispatcher.dispatch(OrderShipped(2, "later"), delay=60)
        await tester.settle()
        await tester.settle()
        assert [run.event.order_id for run in tester.runs] == ["now"]


async def test_what_a_handler_sets_off_is_settled_too() -> None:
    """Handlers that dispatch to handlers, ten deep."""
    dispatcher = EventDispatcher()

    @dispatcher.on(Reminder)
    async def pass_it_on(reminder: Reminder, ctx: Context) -> None:
        if len(reminder.text) < 10:
            await ctx.dispatch(Reminder(reminder.text + "."))

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder(""))
        await tester.settle()
        tester.assert_dispatched(Reminder, times=11)
        tester.assert_handled(Reminder, text="." * 10)


async def test_only_an_entered_tester_settles() -> None:
    """Rest before and after it would mean nothing."""
    tester = EventTester(shop())
    with pytest.raises(QueueClosed, match="not entered"):
        await tester.settle()
    async with tester:
        await tester.settle()
    with pytest.raises(QueueClosed, match="has stopped"):
        await tester.settle()


async def test_settling_names_the_handler_that_still_runs() -> None:
    """After `patience` real seconds."""
    dispatcher = EventDispatcher()

    @dispatcher.on(Reminder)
    async def sleepyhead(reminder: Reminder) -> None:
        await asyncio.Event().wait()

    async with EventTester(dispatcher, patience=0.1, hang=HANG) as tester:
        sent = await dispatcher.dispatch(Reminder("wake up"))
        with pytest.raises(AssertionError) as failure:
            await tester.settle()
        assert str(failure.value) == (
            f"after 0.1 s of real time handler 'sleepyhead' (event kit.reminder, id {sent.id}, run 1) still runs"
        )


async def test_an_event_that_goes_round_for_ever_does_not_settle() -> None:
    """There is progress all the time, and no end; advancing says so, too."""
    dispatcher = EventDispatcher()

    @dispatcher.on(Reminder)
    async def again(reminder: Reminder) -> None:
        raise RetryLater(0)

    async with EventTester(dispatcher, patience=0.1) as tester:
        await dispatcher.dispatch(Reminder("and again"))
        with pytest.raises(AssertionError, match=r"after 0\.1 s of real time"):
            await tester.settle()
        with pytest.raises(AssertionError, match=r"after 0\.1 s of real time"):
            await tester.clock.advance(1)


# -- the clock


async def test_retries_run_at_their_own_times() -> None:
    """A minute later, and two minutes after that, then it is dead; each run sees the clock where it should be."""
    dispatcher = shop(Failing())
    async with EventTester(dispatcher, now=NOON) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.clock.advance("1h")
        assert [(run.attempt, run.at) for run in tester.runs] == [
            (1, NOON), (2, NOON + timedelta(minutes=1)), (3, NOON + timedelta(minutes=3)),
        ]  # fmt: skip
        assert all(isinstance(run.error, ValueError) for run in tester.runs)
        letter = tester.assert_dead(OrderShipped, reason="attempts", order_id="A-1")
        assert letter.dead is not None
        assert (letter.dead.time, letter.dead.origin) == (NOON + timedelta(minutes=3), "orders")
        assert tester.clock.now() == NOON + timedelta(hours=1)


@pytest.mark.parametrize("by", ["90s", "1.5m", 90, 90.0, timedelta(seconds=90)])
async def test_time_is_given_as_text_seconds_or_a_timedelta(by: float | str | timedelta) -> None:
    """All of these are a minute and a half."""
    clock = VirtualClock(NOON)
    await clock.advance(by)
    assert clock.now() == NOON + timedelta(seconds=90)


@pytest.mark.parametrize("by", ["soon", "-1s", -1, float("inf"), float("nan"), timedelta(days=-1), None])
async def test_what_is_no_way_forward_is_refused(by: Any) -> None:
    """With the ways to write it."""
    with pytest.raises(ConfigurationError, match="advance"):
        await VirtualClock().advance(by)


async def test_the_clock_begins_now_or_when_it_is_told() -> None:
    """Code that computes a time from the machine's clock finds the tester's where it expects it."""
    assert abs((VirtualClock().now() - datetime.now(UTC)).total_seconds()) < 5
    assert VirtualClock(NOON).now() == NOON
    with pytest.raises(ConfigurationError, match="time zone"):
        VirtualClock(NOON.replace(tzinfo=None))


async def test_delayed_events_come_in_the_order_in_which_they_are_due() -> None:
    """Each at its own time; an absolute time is as good as a delay, and the last millisecond is no matter."""
    dispatcher = EventDispatcher()
    seen: list[tuple[str, datetime]] = []

    async with EventTester(dispatcher, now=NOON, workers=0):
        pass  # a dispatcher can be tested again, and its handlers may come in between

    @dispatcher.on(Reminder)
    async def remind(reminder: Reminder) -> None:
        seen.append((reminder.text, tester.clock.now()))

    async with EventTester(dispatcher, now=NOON) as tester:
        await dispatcher.dispatch(Reminder("third"), delay=7200)
        await dispatcher.dispatch(Reminder("first"), delay=0.1)
        await dispatcher.dispatch(Reminder("second"), delay=NOON + timedelta(hours=1))
        await tester.clock.advance("2h")
        assert [text for text, _ in seen] == ["first", "second", "third"]
        due = [NOON + timedelta(seconds=seconds) for seconds in (0.1, 3600, 7200)]
        assert all(abs(at - when) < timedelta(milliseconds=1) for (_, at), when in zip(seen, due, strict=True))


async def test_small_advances_add_up() -> None:
    """Rounding does not lose the retry that is due at the end of ten of them."""
    dispatcher = shop(Failing(1), retry=RetryPolicy(initial=1, jitter=False))
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        for _ in range(9):
            await tester.clock.advance(0.1)
        assert len(tester.runs) == 1
        await tester.clock.advance(0.1)
        tester.assert_handled(OrderShipped, times=1)


async def test_an_advance_by_the_longest_wait_is_enough_despite_jitter() -> None:
    """Whatever the dice say, the next run has been."""
    dispatcher = shop(Failing(), retry=RetryPolicy(attempts=20, initial=30, max=60))
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        for number in range(1, 21):
            await tester.settle()
            assert len(tester.runs) >= number
            await tester.clock.advance("60s")
        tester.assert_dead(OrderShipped, reason="attempts", times=1)


async def test_a_thousand_retries_over_a_week_take_about_a_second() -> None:
    """Time does not stop where nothing happens, not even for a handler with a timeout of a second."""
    dispatcher = shop(Failing(), retry=RetryPolicy(attempts=1001, initial=600, factor=1, max=600, jitter=False))
    dispatcher.on(Reminder, timeout=1)(lambda reminder: None)
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        begun = time.perf_counter()
        await tester.clock.advance("7d")
        assert time.perf_counter() - begun < 10
        assert len(tester.runs) == 1001
        assert minutes(tester) == [10.0 * number for number in range(1001)]


# -- handlers that hang


async def test_a_handler_that_hangs_is_cut_off_at_its_timeout() -> None:
    """To the second; before it, it still runs. And again, when it is retried."""
    dispatcher = EventDispatcher(retry=RetryPolicy(attempts=2, initial=10, jitter=False))

    @dispatcher.on(Reminder, timeout=300)
    async def sleepyhead(reminder: Reminder) -> None:
        await asyncio.Event().wait()

    async with EventTester(dispatcher, now=NOON, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await tester.clock.advance("299s")
        assert tester.runs == []
        await tester.clock.advance("1s")
        assert isinstance(tester.runs[0].error, TimeoutError)
        await tester.clock.advance("5m")
        assert minutes(tester) == [0]
        await tester.clock.advance("10s")
        assert minutes(tester) == [0, 5.1667]
        letter = tester.assert_dead(Reminder, reason="attempts", handler="sleepyhead")
        assert letter.dead is not None
        assert "took longer than 300 s" in letter.dead.error


async def test_a_deadline_is_not_missed_by_a_rounding() -> None:
    """Whatever fraction of a second it is, from whatever moment."""
    dispatcher = EventDispatcher(retry=RetryPolicy(attempts=1))

    @dispatcher.on(Reminder, timeout=0.3)
    async def sleepyhead(reminder: Reminder) -> None:
        await asyncio.Event().wait()

    async with EventTester(dispatcher, hang=0.005) as tester:
        for number in range(1, 21):
            await dispatcher.dispatch(Reminder("wake up"))
            await tester.clock.advance(0.3)
            assert len(tester.dead) == number
            await tester.clock.advance(0.1)


async def test_time_stands_still_while_a_handler_that_was_cut_off_cleans_up() -> None:
    """So its retry is due when it should be."""
    dispatcher = EventDispatcher(retry=RetryPolicy(attempts=2, initial=10, jitter=False))

    @dispatcher.on(Reminder, timeout=60)
    async def tidy(reminder: Reminder, ctx: Context) -> None:
        if ctx.attempt == 2:
            return
        try:
            await asyncio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(HANG / 2)

    async with EventTester(dispatcher, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await tester.clock.advance("1h")
        assert minutes(tester) == [0, 1.1667]
        tester.assert_handled(Reminder)


async def test_what_waits_behind_one_that_hangs_is_waited_for_once() -> None:
    """And not at each of the moments at which more comes."""
    dispatcher = EventDispatcher()

    @dispatcher.on(Reminder)
    async def sleepyhead(reminder: Reminder) -> None:
        await asyncio.Event().wait()

    async with EventTester(dispatcher, hang=HANG) as tester:
        for second in range(250):
            await dispatcher.dispatch(Reminder("wake up"), delay=second)
        begun = time.perf_counter()
        await tester.clock.advance("299s")
        assert time.perf_counter() - begun < 5
        assert tester.runs == []


async def test_others_are_handled_while_one_hangs() -> None:
    """By the other workers, their retries included."""
    dispatcher = shop(Failing(1))

    @dispatcher.on(Reminder)
    async def sleepyhead(reminder: Reminder) -> None:
        await asyncio.Event().wait()

    async with EventTester(dispatcher, workers=2, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.clock.advance("61s")
        assert tester.assert_handled(OrderShipped).attempt == 2
        tester.assert_not_dispatched(Reminder, text="")
        await tester.clock.advance("5m")
        assert isinstance(tester.runs[-1].error, TimeoutError)


async def test_a_handler_that_ends_in_time_is_no_timeout() -> None:
    """It was given what it waited for while the clock stood before its deadline."""
    dispatcher, gate = EventDispatcher(), asyncio.Event()

    @dispatcher.on(Reminder, timeout=60)
    async def patient(reminder: Reminder) -> None:
        await gate.wait()

    async with EventTester(dispatcher, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await tester.clock.advance("59s")
        gate.set()
        await tester.settle()
        await tester.clock.advance("1h")
        tester.assert_handled(Reminder, times=1)


async def test_a_plain_function_that_hangs_counts_as_too_late_once_it_ends() -> None:
    """As in production: its thread can't be stopped. It is waited for once, not at every deadline."""
    dispatcher, gate = EventDispatcher(retry=RetryPolicy(attempts=1)), threading.Event()

    @dispatcher.on(Reminder, timeout=1)
    def slow(reminder: Reminder) -> None:
        gate.wait(30)

    async with EventTester(dispatcher, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        begun = time.perf_counter()
        await tester.clock.advance("1h")
        assert time.perf_counter() - begun < 5
        assert tester.runs == []
        gate.set()
        await tester.settle()
        tester.assert_dead(Reminder, reason="attempts")


@pytest.mark.parametrize("stubborn", [False, True])
async def test_leaving_does_not_wait_for_a_handler_that_hangs(stubborn: bool) -> None:
    """Nor for its grace or its timeout: they are on a clock that stands still. What it ran is written down."""
    dispatcher, ended = EventDispatcher(grace=3600), asyncio.Event()

    @dispatcher.on(Reminder)
    async def sleepyhead(reminder: Reminder) -> None:
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    begun = time.perf_counter()
    async with EventTester(dispatcher, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await until(tester.clock.rest.running)
    assert time.perf_counter() - begun < 5
    ended.set()
    if not stubborn:
        assert [type(run.error) for run in tester.runs] == [asyncio.CancelledError]


async def test_leaving_lets_a_handler_finish_that_does_not_hang() -> None:
    """Its grace is real as long as that takes less than `hang`."""
    dispatcher, begun = EventDispatcher(), asyncio.Event()

    @dispatcher.on(Reminder)
    async def remind(reminder: Reminder) -> None:
        begun.set()
        await asyncio.sleep(0.02)

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await begun.wait()
    tester.assert_handled(Reminder)


async def test_a_thread_that_was_left_behind_holds_up_no_other_tester() -> None:
    """Not even one on the same clock."""
    dispatcher, other, gate = EventDispatcher(), shop(), threading.Event()

    @dispatcher.on(Reminder)
    def sleepyhead(reminder: Reminder) -> None:
        gate.wait(30)

    async with EventTester(other, hang=HANG) as tester:
        async with EventTester(dispatcher, clock=tester.clock):
            await dispatcher.dispatch(Reminder("wake up"))
            await until(tester.clock.rest.running)
        await tester.settle()
    gate.set()


async def test_leaving_does_not_wait_for_a_thread() -> None:
    """It is left to itself, and said so in the log."""
    dispatcher, gate = EventDispatcher(), threading.Event()

    @dispatcher.on(Reminder)
    def sleepyhead(reminder: Reminder) -> None:
        gate.wait(30)

    begun = time.perf_counter()
    async with EventTester(dispatcher, hang=HANG) as tester:
        await dispatcher.dispatch(Reminder("wake up"))
        await until(tester.clock.rest.running)
    assert time.perf_counter() - begun < 5
    gate.set()


async def test_leaving_with_much_in_the_future_is_immediate(caplog: pytest.LogCaptureFixture) -> None:
    """Retries, delayed events, held keys: nothing of it happens any more, and nobody complains of its loss."""
    dispatcher = shop(Failing())
    async with EventTester(dispatcher) as tester:
        for number in range(50):
            await dispatcher.dispatch(OrderShipped(number % 5, f"A-{number}"))
            await dispatcher.dispatch(OrderShipped(number, "later"), delay=3600)
        await tester.settle()
        runs, begun = len(tester.runs), time.perf_counter()
    assert time.perf_counter() - begun < 5
    assert len(tester.runs) == runs == 5
    assert "lost" not in caplog.text


async def test_what_raises_inside_comes_out_unchanged() -> None:
    """And the dispatcher is what it was."""
    dispatcher = shop()
    with pytest.raises(ZeroDivisionError):
        async with EventTester(dispatcher):
            raise ZeroDivisionError
    assert not dispatcher.started


# -- like production


async def test_plain_functions_run_in_threads_and_are_waited_for() -> None:
    """Their retries too."""
    dispatcher, threads = EventDispatcher(retry=STEADY), set[str]()

    @dispatcher.on(Reminder)
    def remind(reminder: Reminder, ctx: Context) -> None:
        time.sleep(0.01)
        threads.add(threading.current_thread().name)
        if ctx.attempt < 3:
            raise ValueError("not yet")

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("a"))
        await tester.clock.advance("3m")
        assert tester.assert_handled(Reminder).attempt == 3
        assert threads == {"notification-worker-1"}


async def test_several_workers_keep_the_order_of_each_key() -> None:
    """A failed event holds up those of its key, and nobody else."""
    dispatcher, seen = EventDispatcher(retry=STEADY), list[tuple[int, str]]()
    fails = Failing(1)

    @dispatcher.on(OrderShipped)
    async def tell(shipped: OrderShipped) -> None:
        await asyncio.sleep(0.001)
        if shipped.account_id == 0:
            fails()
        seen.append((shipped.account_id, shipped.order_id))

    async with EventTester(dispatcher, workers=4) as tester:
        for number in range(12):
            await dispatcher.dispatch(OrderShipped(number % 3, f"{number:02}"))
        await tester.settle()
        assert {account for account, _ in seen} == {1, 2}
        await tester.clock.advance("1m")
        for account in range(3):
            mine = [order for key, order in seen if key == account]
            assert mine == [f"{number:02}" for number in range(account, 12, 3)]


async def test_an_order_that_was_waived_on_the_url_is_waived_here() -> None:
    """A failed event does not hold up the next one of its key."""
    dispatcher = shop(Failing(1), queue="sqlite:////nowhere/at/all.db?order=none")
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await dispatcher.dispatch(OrderShipped(7, "A-2"))
        await tester.settle()
        tester.assert_handled(OrderShipped, order_id="A-2")


async def test_events_travel_as_json() -> None:
    """A handler gets an event of its own, and what has no JSON form is refused at dispatch."""
    dispatcher, seen = EventDispatcher("channel://"), list[Reminder]()
    dispatcher.on(Reminder)(seen.append)
    async with EventTester(dispatcher) as tester:
        sent = Reminder("a", at=NOON)
        await dispatcher.dispatch(sent)
        await tester.settle()
        assert seen == [sent]
        assert seen[0] is not sent
        with pytest.raises(CorruptMessage):
            await dispatcher.dispatch(Reminder("\ud800"))
        assert len(tester.dispatched) == 1


async def test_what_middleware_puts_into_an_event_travels_as_json_too() -> None:
    """A tuple comes out as the list that it is on every real queue, in the first run and after a retry."""

    class Tagging:
        def on_dispatch(self, message: Message) -> Message:
            return evolve(message, data=message.data | {"tags": ("a", "b")})

        async def __call__(self, message: Message, ctx: Context, call_next: CallNext, /) -> None:
            await call_next()

    dispatcher, seen = EventDispatcher(middleware=[Tagging()], retry=STEADY), list[object]()

    @dispatcher.on("kit.*")
    async def archive(message: Message, ctx: Context) -> None:
        seen.append(message.data["tags"])
        if ctx.attempt == 1:
            raise ValueError("again")

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("a"))
        await tester.clock.advance("1m")
        assert seen == [["a", "b"], ["a", "b"]]


async def test_the_size_limit_is_that_of_the_applications_queue() -> None:
    """`?max_event=` of its URL."""
    dispatcher = shop(queue="sqlite:////nowhere/at/all.db?max_event=1000")
    async with EventTester(dispatcher):
        with pytest.raises(CorruptMessage, match="the limit is 1000"):
            await dispatcher.dispatch(OrderShipped(7, "A" * 1000))


async def test_the_applications_middleware_is_around_its_handlers() -> None:
    """Its `on_dispatch` too; what it makes of a failure is what is written down."""

    class Forgiving:
        def on_dispatch(self, message: Message) -> Message:
            return message if message.headers else Message(
                type=message.type, id=message.id, source=message.source, data=message.data, headers={"tenant": "acme"}
            )  # fmt: skip

        async def __call__(self, message: Message, ctx: Context, call_next: CallNext, /) -> None:
            with contextlib.suppress(ValueError):
                await call_next()

    dispatcher = shop(Failing(), middleware=[Forgiving()])
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.settle()
        assert tester.assert_handled(OrderShipped).message.headers == {"tenant": "acme"}


async def test_dead_letters_stay_in_the_test() -> None:
    """Whatever queue the application keeps them in; they can be looked at as in production."""
    dispatcher = shop(Failing(), dead_letter="sqlite:////nowhere/to/be/found/either.db")
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.clock.advance("1h")
        assert [letter async for letter in dispatcher.dead_letters.browse()] == tester.dead
        assert (await dispatcher.stats()).dead == 1


async def test_skipping_the_unhandled_can_be_tested() -> None:
    """Though no queue of this process has consumer groups."""
    dispatcher = EventDispatcher(unhandled="skip")
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("a"))
        await tester.settle()
        tester.assert_dispatched(Reminder)
        assert (tester.runs, tester.dead) == ([], [])


async def test_an_event_that_nobody_handles_dies_unknown() -> None:
    """By the default policy, as in production."""
    dispatcher = EventDispatcher(retry=STEADY)
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("a"))
        await tester.clock.advance("1h")
        tester.assert_dead(Reminder, reason="unknown")


async def test_without_workers_it_only_dispatches() -> None:
    """For tests of what is dispatched."""
    dispatcher = shop(Failing())
    async with EventTester(dispatcher, workers=0) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.settle()
        await tester.clock.advance("1d")
        tester.assert_dispatched(OrderShipped, order_id="A-1")
        assert tester.runs == []


async def test_dispatch_soon_works_from_threads() -> None:
    """Settling waits for what is on its way."""
    dispatcher = shop()

    @dispatcher.on(Reminder)
    def remind(reminder: Reminder) -> None:
        dispatcher.dispatch_soon(OrderShipped(7, reminder.text))

    async with EventTester(dispatcher) as tester:
        dispatcher.dispatch_soon(OrderShipped(7, "here"))
        await dispatcher.dispatch(Reminder("in the handler's thread"))
        await asyncio.to_thread(dispatcher.dispatch_soon, OrderShipped(7, "in another thread"))
        await tester.settle()
        assert {run.event.order_id for run in tester.runs if run.handler == "tell_the_customer"} == {
            "here", "in the handler's thread", "in another thread",
        }  # fmt: skip


async def test_blocking_works_from_threads_and_says_where_it_does_not() -> None:
    """In the test's own thread it would wait for itself."""
    dispatcher = shop()

    def view() -> str:
        with dispatcher.blocking() as blocking:
            return blocking.dispatch(OrderShipped(7, "A-1")).id

    async with EventTester(dispatcher) as tester:
        id_ = await asyncio.to_thread(view)
        await tester.settle()
        assert tester.assert_handled(OrderShipped).message.id == id_
        with pytest.raises(ConfigurationError, match="await dispatch"):
            view()


async def test_a_dispatch_in_another_event_loop_is_refused_with_the_way_out() -> None:
    """A synchronous test client runs the application in a loop of its own, and would wait for ever."""
    dispatcher = shop()
    app = lambda: asyncio.run(dispatch_as_the_application(dispatcher))  # noqa: E731 - what runs in the other thread
    async with EventTester(dispatcher) as tester:
        with pytest.raises(ConfigurationError, match=r"httpx\.ASGITransport"):
            await asyncio.to_thread(app)
        await dispatch_as_the_application(dispatcher)
        await tester.settle()
        tester.assert_handled(OrderShipped, times=2)


async def dispatch_as_the_application(dispatcher: EventDispatcher) -> None:
    """As a request does."""
    await dispatcher.dispatch(OrderShipped(7, "A-1"))
    await dispatcher.dispatch_many([OrderShipped(7, "A-2")])


# -- the application's own dispatcher


async def test_the_application_may_start_and_stop_it_as_always() -> None:
    """In a web framework's lifespan, say: the tester has started it, and stops it."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        async with dispatcher:
            dispatcher.use("redis://production")
            await dispatcher.start(workers=5)
            await dispatcher.dispatch(OrderShipped(7, "A-1"))
            await tester.settle()
        assert (await dispatcher.stop()).handled == 0
        assert (await dispatcher.health()).ready
        await dispatcher.dispatch(OrderShipped(7, "A-2"))
        await tester.settle()
        tester.assert_handled(OrderShipped, times=2)


async def test_afterwards_it_is_what_it_was() -> None:
    """Not open, on its own queue, and it can be tested again, or used."""
    dispatcher = shop(queue="channel://?queue=own")
    queue = dispatcher.queue
    for _ in range(2):
        async with EventTester(dispatcher) as tester:
            assert dispatcher.queue is not queue
            await dispatcher.dispatch(OrderShipped(7, "A-1"))
            await tester.settle()
        tester.assert_dispatched(OrderShipped, times=1)  # what was recorded stays
    with pytest.raises(QueueClosed, match="not open"):
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
    assert dispatcher.queue is queue
    async with dispatcher:
        await dispatcher.start()
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await dispatcher.join()


async def test_one_that_is_open_is_refused() -> None:
    """On its own queue, or in another test; a tester is entered once."""
    dispatcher = shop(queue="channel://")
    async with dispatcher:
        with pytest.raises(ConfigurationError, match="stop it before it is tested"):
            await EventTester(dispatcher).__aenter__()
    tester = EventTester(dispatcher)  # one that has stopped may be tested
    async with tester:
        with pytest.raises(ConfigurationError, match="being tested already"):
            await EventTester(dispatcher).__aenter__()
    with pytest.raises(ConfigurationError, match="entered once"):
        await tester.__aenter__()


async def test_what_start_refuses_is_refused_here() -> None:
    """And the dispatcher stays as it was."""
    dispatcher = shop()
    with pytest.raises(ConfigurationError, match="workers=-1"):
        await EventTester(dispatcher, workers=-1).__aenter__()
    async with EventTester(dispatcher) as tester:
        await tester.settle()


async def test_a_queue_that_was_given_as_an_instance_is_left_alone() -> None:
    """It is not opened, and its limits hold."""
    own = Breakable(EventDispatcher().queue)
    async with EventTester(shop(queue=own)) as tester:
        await tester.settle()
    assert own.calls == []


async def test_two_dispatchers_are_tested_at_once() -> None:
    """Each on its own clock."""
    mine, yours = shop(Failing(1)), shop(Failing(1))
    async with EventTester(mine) as my_tester, EventTester(yours) as your_tester:
        await mine.dispatch(OrderShipped(1, "mine"))
        await yours.dispatch(OrderShipped(2, "yours"))
        await my_tester.clock.advance("1m")
        await your_tester.settle()
        my_tester.assert_handled(OrderShipped, order_id="mine")
        my_tester.assert_not_dispatched(OrderShipped, order_id="yours")
        assert len(your_tester.runs) == 1


async def test_two_dispatchers_may_share_a_clock() -> None:
    """What goes from one to the other and back is handled at its own time, and settling waits for both."""
    mine, yours = EventDispatcher(retry=STEADY), shop(Failing(1))

    @mine.on(Reminder)
    async def pass_it_on(reminder: Reminder) -> None:
        await yours.dispatch(OrderShipped(7, reminder.text), delay=60)

    async with EventTester(mine, now=NOON) as tester, EventTester(yours, clock=tester.clock) as other:
        await mine.dispatch(Reminder("A-1"), delay=60)
        await tester.clock.advance("2m")
        assert [run.at for run in other.runs] == [NOON + timedelta(minutes=2)]
        await tester.clock.advance("1m")
        other.assert_handled(OrderShipped, order_id="A-1")


# -- what was written down


async def test_dispatches_are_written_down_with_event_and_message() -> None:
    """Whichever way they went; an event without a class is its message."""
    dispatcher = EventDispatcher(source="/shop", unhandled="dead_letter")
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(Reminder("one"), headers={"tenant": "acme"})
        await dispatcher.dispatch_many([Reminder("two"), Reminder("three")])
        await dispatcher.dispatch(Message(type="github.push", id="g-1", source="/github", data={"ref": "main"}))
        await tester.settle()
        assert [each.event for each in tester.dispatched[:3]] == [Reminder("one"), Reminder("two"), Reminder("three")]
        assert dict(tester.dispatched[0].message.headers) == {"tenant": "acme"}
        assert tester.dispatched[3].event is tester.dispatched[3].message
        assert tester.assert_dispatched("github.push", ref="main").id == "g-1"
        assert tester.assert_dispatched("kit.reminder", text="two").source == "/shop"
        tester.assert_not_dispatched("github.push", ref="next")
        assert [letter.type for letter in tester.dead] == ["kit.reminder"] * 3 + ["github.push"]


async def test_a_retry_is_no_dispatch() -> None:
    """It is the same event once more."""
    dispatcher = shop(Failing())
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.clock.advance("1h")
        tester.assert_dispatched(OrderShipped, times=1)
        assert [run.attempt for run in tester.runs] == [1, 2, 3]


async def test_each_handler_has_its_own_runs() -> None:
    """Only the one that failed runs again, and why it failed is kept."""
    dispatcher = shop(Failing(1))

    @dispatcher.on(OrderShipped)
    async def bill(shipped: OrderShipped) -> None:
        raise Reject("already paid")

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(7, "A-1"))
        await tester.clock.advance("1h")
        assert [(run.handler, run.attempt, type(run.error).__name__) for run in tester.runs] == [
            ("tell_the_customer", 1, "ValueError"), ("bill", 1, "Reject"), ("tell_the_customer", 2, "NoneType"),
        ]  # fmt: skip
        tester.assert_dead(OrderShipped, reason="rejected", handler="bill", account_id=7)
        tester.assert_handled(OrderShipped, handler="tell_the_customer")


# -- assertions


async def failures_of(tester: EventTester, *asserting: Callable[[], object]) -> list[str]:
    """What these say."""
    said = []
    for each in asserting:
        with pytest.raises(AssertionError) as failure:
            each()
        said.append(str(failure.value))
    return said


async def test_an_assertion_returns_the_last_match() -> None:
    """As an instance of the class: its other fields can be looked at."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        for number in (1, 2, 3):
            await dispatcher.dispatch(OrderShipped(number % 2, f"A-{number}"))
        assert tester.assert_dispatched(OrderShipped, account_id=1) == OrderShipped(1, "A-3")
        assert_type(tester.assert_dispatched(OrderShipped), OrderShipped)
        assert_type(tester.assert_dispatched("kit.order_shipped"), Message)
        assert tester.assert_dispatched(OrderShipped, account_id=1, times=2).order_id == "A-3"


async def test_a_failure_shows_what_was_dispatched() -> None:
    """Events of the type, else types, else that there was nothing."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        wanted = lambda: tester.assert_dispatched(OrderShipped, order_id="A-1")  # noqa: E731 - asked three times
        assert await failures_of(tester, wanted) == [
            "OrderShipped(order_id='A-1') was not dispatched; nothing was"
        ]  # fmt: skip
        await dispatcher.dispatch_many([Reminder("a"), Reminder("b")])
        assert await failures_of(tester, wanted) == [
            "OrderShipped(order_id='A-1') was not dispatched; dispatched were: 2 of type kit.reminder"
        ]
        await dispatcher.dispatch(OrderShipped(7, "B-2"))
        assert await failures_of(tester, wanted, lambda: tester.assert_not_dispatched(OrderShipped, account_id=7)) == [
            "OrderShipped(order_id='A-1') was not dispatched; dispatched were: "
            "OrderShipped(account_id=7, order_id='B-2')",
            "OrderShipped(account_id=7) was dispatched: OrderShipped(account_id=7, order_id='B-2')",
        ]


async def test_a_failure_counts() -> None:
    """How often it was, and should have been."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch_many([OrderShipped(7, "A-1"), OrderShipped(7, "A-2")])
        await tester.settle()
        assert await failures_of(
            tester,
            lambda: tester.assert_dispatched(OrderShipped, account_id=7, times=1),
            lambda: tester.assert_handled(OrderShipped, handler="tell_the_customer", order_id="A-1", times=3),
        ) == [
            "OrderShipped(account_id=7) was dispatched 2 times, not once:\n"
            "  OrderShipped(account_id=7, order_id='A-1')\n"
            "  OrderShipped(account_id=7, order_id='A-2')",
            "OrderShipped(order_id='A-1') was handled by 'tell_the_customer' once, not 3 times: "
            "run 1 of tell_the_customer for OrderShipped(account_id=7, order_id='A-1') ended well",
        ]
        with pytest.raises(ConfigurationError, match="times=0"):
            tester.assert_dispatched(OrderShipped, times=0)


async def test_a_failure_lists_ten_things_and_shortens_them() -> None:
    """A test's output stays readable."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch_many([OrderShipped(number, "A" * 300) for number in range(15)])
        [said] = await failures_of(tester, lambda: tester.assert_dispatched(OrderShipped, account_id=99))
        assert said.splitlines()[1:3] == ["  OrderShipped(account_id=0, …)", "  OrderShipped(account_id=1, …)"]
        assert said.splitlines()[-1] == "  … and 5 more"
        [said] = await failures_of(tester, lambda: tester.assert_dispatched(OrderShipped, times=1))
        assert max(map(len, said.splitlines())) < 200


async def test_a_failure_says_why_it_was_not_handled() -> None:
    """It failed, or has not run, or was not dispatched."""
    dispatcher = shop(Failing())
    async with EventTester(dispatcher) as tester:
        handled = lambda: tester.assert_handled(OrderShipped, order_id="A-1")  # noqa: E731 - asked four times
        [before] = await failures_of(tester, handled)
        await dispatcher.dispatch(OrderShipped(7, "A-1"), delay=60)
        [waiting] = await failures_of(tester, handled)
        await tester.clock.advance("1m")
        [failed] = await failures_of(tester, handled)
        assert (before, waiting, failed) == (
            "OrderShipped(order_id='A-1') was not handled; nothing was",
            "OrderShipped(order_id='A-1') was not handled; it was dispatched, and no run of it is over: "
            "await settle(), or advance the clock",
            "OrderShipped(order_id='A-1') was not handled; its runs were: run 1 of tell_the_customer for "
            "OrderShipped(account_id=7, order_id='A-1') failed: ValueError: no such address",
        )


async def test_a_failure_says_what_is_dead() -> None:
    """With the reason, so that the wrong one is seen."""
    dispatcher = EventDispatcher()

    @dispatcher.on(OrderCancelled)
    async def refund(cancelled: OrderCancelled) -> None:
        raise Reject("too late")

    async with EventTester(dispatcher) as tester:
        dead = lambda: tester.assert_dead(OrderCancelled, reason="changed my mind")  # noqa: E731 - asked twice
        [before] = await failures_of(tester, dead)
        await dispatcher.dispatch(OrderCancelled("changed my mind"))
        await tester.settle()
        [after] = await failures_of(tester, dead)
        assert (before, after) == (
            "OrderCancelled is not dead of 'changed my mind'; nothing is",
            "OrderCancelled is not dead of 'changed my mind'; dead are: "
            "OrderCancelled(reason='changed my mind') (rejected in refund: Reject: too late)",
        )
        tester.assert_not_dispatched(OrderCancelled, reason="other")


async def test_what_can_never_match_is_an_error() -> None:
    """A field, a handler or a class that there is not, also where none is expected: else a misspelt test passes."""
    dispatcher = shop()
    async with EventTester(dispatcher) as tester:
        for asserting in (tester.assert_dispatched, tester.assert_not_dispatched, tester.assert_dead):
            with pytest.raises(
                ConfigurationError, match="OrderShipped has no field 'ordr_id'; did you mean 'order_id'"
            ):
                asserting(OrderShipped, ordr_id="A-1")
        with pytest.raises(ConfigurationError, match="no handler is named 'tell_customer'; did you mean"):
            tester.assert_handled(OrderShipped, handler="tell_customer")
        with pytest.raises(UnknownEvent):
            tester.assert_dispatched(int)


# -- handlers called directly


async def test_handlers_are_functions() -> None:
    """`on` returns them unchanged: async, plain, and with a context."""
    dispatcher = EventDispatcher()

    @dispatcher.on(Reminder, name="one")
    async def plain(reminder: Reminder) -> None:
        raise ValueError(reminder.text)

    @dispatcher.on(Reminder, name="two")
    def threaded(reminder: Reminder) -> None:
        raise KeyError(reminder.text)

    @dispatcher.on(Reminder, name="three")
    async def with_context(reminder: Reminder, ctx: Context) -> None:
        if ctx.attempt > 1:
            await ctx.dispatch(OrderShipped(7, reminder.text), delay=60, headers={"tenant": "acme"})

    with pytest.raises(ValueError, match="hello"):
        await plain(Reminder("hello"))
    with pytest.raises(KeyError):
        threaded(Reminder("hello"))
    ctx = context(attempt=2)
    await with_context(Reminder("hello"), ctx)
    assert ctx.dispatched == [OrderShipped(7, "hello")]
    [message] = ctx.messages
    assert (message.type, message.key, dict(message.headers)) == ("kit.order_shipped", "7", {"tenant": "acme"})
    assert message.not_before is not None


async def test_a_context_shows_what_it_was_given() -> None:
    """The event's own, or what is given instead."""
    ctx = context(OrderShipped(7, "A-1"), id="me-1", headers={"tenant": "acme"}, attempt=3, handler="tell", lost=True)
    assert (ctx.id, ctx.type, ctx.key, ctx.attempt) == ("me-1", "kit.order_shipped", "7", 3)
    assert (dict(ctx.headers), ctx.handler, ctx.lost) == ({"tenant": "acme"}, "tell", True)
    assert isinstance(ctx, Context)
    assert context(OrderShipped(7, "A-1"), key="8").key == "8"
    message = Message(type="github.push", id="g-1", source="/github", data={}, key="main")
    assert (context(message).id, context(message).key, context().attempt) == ("g-1", "main", 1)


async def test_a_context_refuses_what_dispatch_would_refuse() -> None:
    """And gives the ids that a real one gives: the same in each run, by handler."""
    with pytest.raises(UnknownEvent):
        await context().dispatch("no event")
    first, again, other = (context(id="me", handler=handler) for handler in ("tell", "tell", "bill"))
    ids = [(await ctx.dispatch(Reminder("a"))).id for ctx in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
