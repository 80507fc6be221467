"""The one facade: what it accepts, what it refuses, and what it says when."""

from __future__ import annotations

import asyncio
import gc
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from notification import (
    ConfigurationError,
    Context,
    CorruptMessage,
    EventDispatcher,
    Message,
    MessageQueue,
    NotificationError,
    PushFailed,
    QueueClosed,
    QueueFull,
    QueueUnavailable,
    UnknownEvent,
    UnknownQueue,
    Unsupported,
    event,
)
from queues.base import Capability
from queues.channel import ChannelQueue
from queues.registry import open_queue
from queues.wire import encode
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import EVERY_HOME, Breakable, Note, Parcel, Stage, address, passing, turns, until


async def popped(queue: MessageQueue) -> Message:
    while not (batch := await asyncio.wait_for(queue.pop_many(1), 20)):
        pass
    return batch[0].expect()


# -- dispatch


@EVERY_HOME
async def test_a_dispatch_returns_once_the_queue_has_the_event(home: str, tmp_path: Path) -> None:
    """With its id and the way it went."""
    async with Stage(address(home, tmp_path)) as stage, stage.dispatcher as dispatcher:
        sent = await dispatcher.dispatch(Parcel(7, 1))
        assert await dispatcher.size() == 1
        assert sent.via == "queue"
        message = await popped(dispatcher.queue)
        assert (message.id, message.type, message.key) == (sent.id, "stage.parcel", "7")
        assert message.time == stage.clock.now()
        assert message.source.startswith("/")


async def test_ids_are_unique_and_share_a_prefix_within_a_process() -> None:
    """A random prefix and a counter."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        ids = [sent.id for sent in await dispatcher.dispatch_many([Note() for _ in range(100)])]
        assert len(set(ids)) == 100
        assert len({id_.partition("-")[0] for id_ in ids}) == 1


async def test_id_key_headers_and_delay_can_be_given() -> None:
    """The delay as seconds or as a moment."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        await dispatcher.dispatch(Parcel(7), id="p-1", key="other", headers={"traceparent": "00-a"})
        message = await popped(dispatcher.queue)
        assert (message.id, message.key, dict(message.headers)) == ("p-1", "other", {"traceparent": "00-a"})
        await dispatcher.dispatch(Note("seconds"), delay=60)
        await dispatcher.dispatch(Note("moment"), delay=stage.clock.now() + timedelta(seconds=30))
        await dispatcher.dispatch(Note("past"), delay=datetime(2001, 1, 1, tzinfo=UTC))
        got = []
        for seconds in (0, 30, 30):
            await stage.clock.advance(seconds)
            got.append((await popped(dispatcher.queue)).data.text)
        assert got == ["past", "moment", "seconds"]


async def test_a_message_can_be_dispatched_for_a_type_without_a_class() -> None:
    """Its key and id as those of an event."""
    async with Stage("reference://raw-messages") as stage, stage.dispatcher as dispatcher:
        raw = Message(type="github.push", id="1", source="/github", data={"ref": ["main", 1, None, True, 0.5]})
        await dispatcher.dispatch(raw, key="repo", id="2")
        message = await popped(dispatcher.queue)
        assert (message.type, message.id, message.key, message.data) == ("github.push", "2", "repo", raw.data)
        await dispatcher.dispatch(attrs.evolve(raw, data=b"\x00\xff"))
        assert (await popped(dispatcher.queue)).data == b"\x00\xff"


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    value: list[Any] = []
    value += [value, value]
    return value


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"a": object()}, r"\['a'\]: object object is not JSON"),
        (float("nan"), "no JSON form"),
        ("\ud800", "surrogates"),
        ({1: 2}, "is not a string"),
        (10**30, "64 bits"),
        (nested(65), "nested deeper than 64"),
        (nested(5000), "nested too deeply"),
        (cyclic(), "holds itself"),
    ],
)
async def test_data_that_is_no_json_is_refused_at_once(data: Any, complaint: str) -> None:
    """With a declared error that says where; nothing is stored."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        with pytest.raises(CorruptMessage, match=complaint):
            await dispatcher.dispatch(Message(type="t", id="1", source="/s", data=data))
        assert await dispatcher.size() == 0


async def test_data_is_copied_at_dispatch() -> None:
    """What the caller changes afterwards changes no event."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        data = {"list": [1]}
        await dispatcher.dispatch(Message(type="t", id="1", source="/s", data=data))
        data["list"].append(2)
        assert (await popped(dispatcher.queue)).data == {"list": [1]}


class NoEvent:
    """Nobody made it one."""


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((NoEvent(), {}), UnknownEvent),
        ((Note, {}), UnknownEvent),
        (("text", {}), UnknownEvent),
        ((Note(), {"id": ""}), CorruptMessage),
        ((Note(), {"id": "a\nb"}), CorruptMessage),
        ((Note(), {"id": "x" * 257}), CorruptMessage),
        ((Note(), {"headers": {"Trace-Parent": "x"}}), CorruptMessage),
        ((Note(), {"headers": {"attempt": "2"}}), CorruptMessage),
        ((Note(), {"headers": {"a": 1}}), CorruptMessage),
        ((Note(), {"delay": datetime(2030, 1, 1)}), CorruptMessage),
        ((Note(), {"delay": float("nan")}), CorruptMessage),
        ((Note(), {"delay": "soon"}), CorruptMessage),
        ((Note(), {"key": 3}), CorruptMessage),
        ((Note(3), {}), CorruptMessage),  # type: ignore[arg-type]  # as a slip would have it
    ],
)
async def test_what_is_wrong_with_an_event_is_raised_before_it_joins_a_batch(
    wrong: Any, error: type[Exception]
) -> None:
    """Only the caller hears of it; nothing is stored."""
    (thing, options) = wrong
    async with Stage("reference://wrong-events") as stage, stage.dispatcher as dispatcher:
        with pytest.raises(error):
            await dispatcher.dispatch(thing, **options)
        assert await dispatcher.size() == 0


@EVERY_HOME
async def test_size_caps_hold_at_the_limit_and_not_beyond(home: str, tmp_path: Path) -> None:
    """limit - 1, limit, limit + 1: event, key, headers, at dispatch. S3."""
    async with Stage(address(home, tmp_path)) as stage, stage.dispatcher as dispatcher:
        limits = dispatcher.queue.limits

        async def fits(thing: Any = None, **options: Any) -> bool:
            try:
                await dispatcher.dispatch(Note() if thing is None else thing, **options)
            except CorruptMessage:
                return False
            return True

        def headers(total: int) -> dict[str, str]:
            return {"a": "x" * (total - 1)}

        assert [await fits(key="k" * (limits.key + more)) for more in (-1, 0, 1)] == [True, True, False]
        assert [await fits(headers={f"h{n}": "" for n in range(limits.headers + more)}) for more in (-1, 0, 1)] == [
            True, True, False,
        ]  # fmt: skip
        assert [await fits(headers=headers(limits.header_bytes + more)) for more in (-1, 0, 1)] == [True, True, False]
        if home != "channel":  # nothing is encoded there
            empty = await encoded_size(dispatcher, "")
            room = limits.event - empty
            assert [await fits(Note("x" * (room + more)), id="0" * 18) for more in (-1, 0, 1)] == [True, True, False]


async def encoded_size(dispatcher: EventDispatcher, text: str) -> int:
    await dispatcher.dispatch(Note(text), id="0" * 18)
    while (message := await popped(dispatcher.queue)).id != "0" * 18:
        pass
    return len(encode(message))


async def test_a_larger_cap_can_be_had_by_the_url() -> None:
    """?max_event=; without it the error says so."""
    async with Stage("reference://small-events") as stage, stage.dispatcher as dispatcher:
        with pytest.raises(CorruptMessage, match=re.escape("?max_event=")):
            await dispatcher.dispatch(Note("x" * 300_000))
    async with Stage("reference://large-events?max_event=400000") as stage, stage.dispatcher as dispatcher:
        await dispatcher.dispatch(Note("x" * 300_000))


@EVERY_HOME
async def test_a_full_queue_is_waited_for_as_long_as_asked(home: str, tmp_path: Path) -> None:
    """Then QueueFull, and nothing was stored; room that comes in time is taken."""
    dispatcher = EventDispatcher(f"{address(home, tmp_path)}?capacity=2")
    async with dispatcher:
        await dispatcher.dispatch_many([Note("1"), Note("2")])
        assert dispatcher.capacity == 2
        with pytest.raises(QueueFull):
            await dispatcher.dispatch(Note("3"), timeout=0.05)
        with pytest.raises(PushFailed) as failed:
            await dispatcher.dispatch_many([Note("4"), Note("5")], timeout=0.05)
        assert set(failed.value.errors) == {0, 1}
        assert await dispatcher.size() == 2
        waiting = asyncio.ensure_future(dispatcher.dispatch(Note("6"), timeout=20))
        await turns()
        assert not waiting.done()
        await popped(dispatcher.queue)
        await asyncio.wait_for(waiting, 20)


@EVERY_HOME
async def test_a_dispatch_inside_a_handler_gets_queue_full_at_once(home: str, tmp_path: Path) -> None:
    """Waiting for room would be waiting for oneself."""
    async with Stage(f"{address(home, tmp_path)}?capacity=1") as stage:
        dispatcher = stage.dispatcher

        @dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            for number in range(10):  # the first ones find room, as fetch takes some ahead
                try:
                    await (ctx if number % 2 else dispatcher).dispatch(Note())
                except QueueFull as full:
                    stage.ran.append(full)
            done.set()

        done = asyncio.Event()
        stage.dispatcher.on(Note)(print)
        await stage.start()
        await dispatcher.dispatch(Parcel(1))
        await asyncio.wait_for(done.wait(), 20)  # the clock stands still: nothing waited
        assert len(stage.ran) > 5


async def test_a_delay_is_refused_where_the_queue_can_keep_none() -> None:
    """A swap never changes the meaning silently. Retries wait in the process."""
    async with Stage(FourMethods(Shelf()), dead_letter=FourMethods(Shelf())) as stage, stage.dispatcher as dispatcher:
        with pytest.raises(Unsupported, match="DELAY"):
            await dispatcher.dispatch(Note(), delay=60)
        assert await dispatcher.size() == 0


@EVERY_HOME
async def test_dispatch_many_keeps_the_order_and_gives_an_id_each(home: str, tmp_path: Path) -> None:
    """Many at once, in order."""
    async with Stage(address(home, tmp_path)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(int(note.text))

        await stage.start()
        sent = await stage.dispatcher.dispatch_many([Note(str(number)) for number in range(2500)])
        await stage.settled()
        assert stage.ran == list(range(2500))
        assert len({one.id for one in sent}) == 2500


async def test_one_bad_event_of_many_stores_none() -> None:
    """Encoding comes before joining."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        with pytest.raises(UnknownEvent):
            await dispatcher.dispatch_many([Note(), NoEvent()])
        assert await dispatcher.size() == 0


# -- open, started, stopped


async def test_dispatch_before_open_and_after_stop_say_which() -> None:
    """QueueClosed, with what to do."""
    dispatcher = EventDispatcher()
    questions: list[Any] = [
        lambda: dispatcher.dispatch(Note()),
        lambda: dispatcher.dispatch_many([Note()]),
        dispatcher.size,
    ]
    for ask in questions:
        with pytest.raises(QueueClosed, match="not open"):
            await ask()
    with pytest.raises(QueueClosed, match="not open"):
        dispatcher.dispatch_soon(Note())
    async with dispatcher:
        await dispatcher.dispatch(Note())
    for ask in [*questions, dispatcher.join, dispatcher.stats]:
        with pytest.raises(QueueClosed, match=re.escape("stop() was called")):
            await ask()
    with pytest.raises(QueueClosed, match=re.escape("stop() was called")):
        await dispatcher.start(2)


async def test_it_starts_once() -> None:
    """A second start with workers is a mistake; start(workers=0) never is."""
    async with Stage() as stage:
        await stage.start(2)
        await stage.dispatcher.start(workers=0)
        with pytest.raises(ConfigurationError, match="started already, with 2 workers"):
            await stage.start(2)


@pytest.mark.parametrize("workers", [-1, 1.5, True, "3", None, 10_001])
async def test_a_number_of_workers_that_makes_no_sense_is_refused(workers: Any) -> None:
    """Nothing is opened."""
    dispatcher = EventDispatcher()
    with pytest.raises(ConfigurationError, match="workers"):
        await dispatcher.start(workers)
    with pytest.raises(QueueClosed):
        await dispatcher.size()


async def test_without_workers_nothing_is_consumed() -> None:
    """start(workers=0) only dispatches, and needs no dead letters."""
    async with Stage(FourMethods(Shelf())) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.dispatcher.start(workers=0)
        await stage.dispatcher.dispatch(Note())
        await turns()
        assert stage.ran == []
        health = await stage.dispatcher.health()
        assert (health.live, health.ready, health.lag, health.last_pop_age) == (True, True, 1, None)


async def test_two_tasks_may_open_it_at_the_same_moment() -> None:
    """One opens, the other waits for it."""

    class SlowToOpen(FourMethods):
        opened = 0

        async def open(self) -> None:
            self.opened += 1
            await turns(10)

    queue = SlowToOpen(Shelf())
    dispatcher = EventDispatcher(queue, dead_letter=FourMethods(Shelf()))
    await asyncio.gather(dispatcher.start(workers=0), dispatcher.start(workers=1), dispatcher.start(workers=0))
    await dispatcher.dispatch(Note())
    assert queue.opened == 1
    await dispatcher.stop(grace=0)


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    """No task goes on opening."""

    class NeverOpen(FourMethods):
        async def open(self) -> None:
            await asyncio.get_running_loop().create_future()

    before = asyncio.all_tasks()
    dispatcher = EventDispatcher(NeverOpen(Shelf()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(dispatcher.start(), 0.01)
    await turns()
    assert asyncio.all_tasks() == before
    assert await dispatcher.stop() == await EventDispatcher().stop()


async def test_a_start_that_fails_closes_what_it_opened() -> None:
    """And can be followed by another, with another queue."""

    class WatchedQueue(FourMethods):
        closed = 0

        async def close(self) -> None:
            self.closed += 1
            await super().close()

    before, queue = asyncio.all_tasks(), WatchedQueue(Shelf())
    dispatcher = EventDispatcher(queue)
    dispatcher.on(Note)(print)
    with pytest.raises(ConfigurationError, match="dead_letter="):
        await dispatcher.start()
    await turns()
    assert asyncio.all_tasks() == before
    assert queue.closed
    dispatcher.use("channel://")
    await dispatcher.start()
    await dispatcher.stop()


async def test_an_open_dispatcher_stays_open_when_start_fails() -> None:
    """What others opened is not closed."""
    async with EventDispatcher(FourMethods(Shelf())) as dispatcher:
        with pytest.raises(ConfigurationError, match="dead_letter="):
            await dispatcher.start()
        await dispatcher.dispatch(Note())
        assert await dispatcher.size() == 1


async def test_a_queue_that_cannot_be_opened_is_told_by_start() -> None:
    """As what it is; a later try may work."""
    queue = Breakable(ReferenceQueue(Store()))
    queue.broken = {"open"}
    dispatcher = EventDispatcher(queue, dead_letter="reference://open-dead")
    with pytest.raises(QueueUnavailable, match="the cable is out"):
        await dispatcher.start()
    queue.broken.clear()
    async with dispatcher:
        await dispatcher.dispatch(Note())


async def test_another_queue_can_be_used_until_it_is_open() -> None:
    """The command line over the code."""
    dispatcher = EventDispatcher("channel://")
    dispatcher.use("reference://used-instead")
    assert isinstance(dispatcher.queue, ReferenceQueue)
    async with dispatcher:
        with pytest.raises(ConfigurationError, match="too late"):
            dispatcher.use("channel://")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"handler_timeout": 0}, "handler_timeout"),
        ({"handler_timeout": -1}, "handler_timeout"),
        ({"grace": -1}, "grace"),
        ({"hold": float("nan")}, "hold"),
        ({"prefetch": 0}, "prefetch"),
        ({"source": ""}, "source"),
        ({"source": "a\nb"}, "source"),
        ({"unhandled": "drop"}, "retry, dead_letter, skip"),
        ({"queue": 3}, "neither a queue URL nor a MessageQueue"),
        ({"queue": "chanel://"}, "did you mean 'channel'"),
        ({"queue": "no url"}, "no queue URL"),
        ({"queue": "channel://?capasity=3"}, "did you mean 'capacity'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_at_once(settings: dict[str, Any], complaint: str) -> None:
    """The text names it, or the nearest that is known."""
    with pytest.raises(ConfigurationError, match=re.escape(complaint)):
        EventDispatcher(**settings)
    assert issubclass(UnknownQueue, ConfigurationError)


# -- what handlers need of a queue


async def test_an_event_with_a_key_needs_a_queue_that_keeps_its_order() -> None:
    """start() names the queue, the handler and the ways out."""
    dispatcher = EventDispatcher(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()))

    @dispatcher.on(Parcel)
    async def carry(parcel: Parcel) -> None: ...

    with pytest.raises(ConfigurationError) as refused:
        await dispatcher.start()
    for word in ("FourMethods", "'carry'", "stage.parcel", "order='process'", "order='none'", "?order=process"):
        assert word in str(refused.value)


@pytest.mark.parametrize("order", ["process", "none"])
async def test_a_waiver_in_code_or_in_the_url_lets_it_start(order: Any) -> None:
    """on(order=) for one handler, ?order= for all."""
    by_code = EventDispatcher(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()))
    by_code.on(Parcel, order=order)(print)
    await by_code.start()
    await by_code.stop()
    store = Store()

    class Unkeyed(ReferenceQueue):
        capabilities = Capability.ACK | Capability.DELAY

    queue = Unkeyed(store)
    queue.url = open_queue(f"reference://waived?order={order}").url
    by_url = EventDispatcher(queue)
    by_url.on(Parcel)(print)
    await by_url.start()
    await by_url.stop()


async def test_an_event_without_a_key_needs_nothing() -> None:
    """Nor does a pattern."""
    dispatcher = EventDispatcher(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()))
    dispatcher.on(Note)(print)
    dispatcher.on("stage.*", name="watch")(print)
    await dispatcher.start()
    await dispatcher.stop()


async def test_an_instance_without_a_url_needs_dead_letters_given() -> None:
    """It has no sibling; the text says what to pass."""
    dispatcher = EventDispatcher(ChannelQueue())
    with pytest.raises(ConfigurationError, match=r"ChannelQueue was not opened by URL.*dead_letter="):
        await dispatcher.start()


def test_dead_letters_that_would_refuse_a_second_one_of_an_event_are_refused() -> None:
    """Two handlers of one event may each leave a letter, with the same id."""
    dispatcher = EventDispatcher("sqlite:///a.db", dead_letter="sqlite:///graves.db?dedup=60")
    with pytest.raises(ConfigurationError, match=r"leave dedup= out"):
        assert dispatcher.dead_letters


async def test_dead_letters_are_open_once_workers_have_started() -> None:
    """Before, there is a new queue for whoever wants to look, to be opened by him."""
    async with Stage() as stage:
        async with stage.dispatcher.dead_letters as early:
            assert await early.size() == 0
        await stage.start()
        assert stage.dispatcher.dead_letters is stage.dispatcher.dead_letters


@EVERY_HOME
async def test_a_dispatch_from_another_event_loop_is_refused(home: str, tmp_path: Path) -> None:
    """It would wait for an answer that wakes up the wrong loop; the text names what works from there."""
    async with Stage(address(home, tmp_path)) as stage:
        await stage.start(workers=0)

        async def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match=r"another event loop.*dispatch_soon"):
                await stage.dispatcher.dispatch(Note("a"))
            with pytest.raises(ConfigurationError, match=r"another event loop.*dispatch_soon"):
                await stage.dispatcher.dispatch_many([Note("a")])

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        assert await stage.dispatcher.size() == 0


# -- looked at


@EVERY_HOME
async def test_join_waits_until_nothing_is_left_to_do(home: str, tmp_path: Path) -> None:
    """Waiting, in flight, delayed, retrying: all of it."""
    async with Stage(address(home, tmp_path)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append(note.text)
            if ctx.attempt == 1:
                raise OSError

        await stage.start()
        await stage.dispatcher.dispatch(Note("now"))
        await stage.dispatcher.dispatch(Note("later"), delay=30)
        joined = asyncio.ensure_future(stage.dispatcher.join())
        await stage.ran_in_all(1)
        await passing(stage.clock, joined)
        assert sorted(stage.ran) == ["later", "later", "now", "now"]
        assert (await stage.dispatcher.stats()).waiting == 0


async def test_stats_count_the_dead_letters() -> None:
    """Also where the queue itself does not."""
    async with Stage(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()), unhandled="dead_letter") as stage:
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await until(lambda: len(stage.dispatcher._life.service.pool.held.deliveries) == 0)  # type: ignore[union-attr]
        await stage.settled()
        assert (await stage.dispatcher.stats()).dead == 1


async def test_health_never_raises() -> None:
    """Before, during an outage whatever it raises, and after."""
    queue = Breakable(ReferenceQueue(Store()), RuntimeError("a plugin's bug"))
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:
        before = await stage.dispatcher.health()
        assert (before.live, before.ready) == (True, False)
        await stage.start()
        await turns()
        assert (await stage.dispatcher.health()).ready
        queue.broken = {"size"}
        broken = await stage.dispatcher.health()
        assert (broken.live, broken.ready, broken.degraded, broken.lag) == (True, False, True, None)
        assert "a plugin's bug" in broken.last_error
        queue.broken.clear()
        await stage.stop(1)
        after = await stage.dispatcher.health()
        assert (after.live, after.ready, after.last_error) == (True, False, "")


async def test_a_dispatcher_that_broke_down_says_so_everywhere() -> None:
    """Its failure is raised by stop and by later dispatches, and health is not live."""
    async with Stage(grace=-1) as stage:
        await stage.dispatcher.start()
        service = stage.dispatcher._life.service
        assert service is not None
        assert service.pool is not None
        broken = RuntimeError("the watchdog slipped")

        def slip() -> None:
            raise broken

        service.pool._watchdog.look = slip  # type: ignore[method-assign]  # a bug of ours, planted
        await stage.clock.advance(60)
        await until(lambda: service.over)
        assert not (await stage.dispatcher.health()).live
        with pytest.raises(QueueClosed, match="has stopped"):
            await stage.dispatcher.dispatch(Note())
        with pytest.raises(BaseExceptionGroup) as failure:
            await stage.dispatcher.stop()
        assert failure.group_contains(RuntimeError, match="the watchdog slipped")


async def test_errors_are_one_tree() -> None:
    """Whoever catches NotificationError catches everything of ours."""
    for error in (
        ConfigurationError,
        UnknownEvent,
        QueueFull,
        QueueClosed,
        QueueUnavailable,
        CorruptMessage,
        PushFailed,
    ):
        assert issubclass(error, NotificationError)


@event("stage.stamped")
class Stamped:
    """A datetime needs encoding everywhere but by reference."""

    when: datetime


@EVERY_HOME
async def test_events_arrive_as_they_were_sent(home: str, tmp_path: Path) -> None:
    """Same meaning on every queue."""
    async with Stage(address(home, tmp_path)) as stage:

        @stage.dispatcher.on(Stamped)
        async def note(stamped: Stamped) -> None:
            stage.ran.append(stamped)

        await stage.start()
        sent = Stamped(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
        await stage.dispatcher.dispatch(sent)
        await stage.settled()
        assert stage.ran == [sent]


async def test_nothing_of_a_stopped_dispatcher_is_left() -> None:
    """No task, no reference cycle that keeps its queue alive for ever."""
    before = asyncio.all_tasks()
    async with Stage() as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start(workers=3)
        await stage.dispatcher.dispatch(Note())
        await stage.settled()
    await turns()
    gc.collect()
    assert asyncio.all_tasks() == before
