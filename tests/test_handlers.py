"""Who handles what, what a handler is given, and what becomes of what it raises."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from notification import (
    ConfigurationError,
    Context,
    EventDispatcher,
    Message,
    Middleware,
    Reject,
    RetryLater,
    RetryPolicy,
    event,
)
from queues.base import Capability
from queues.registry import open_queue
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import EVERY_HOME, Breakable, Note, Parcel, Stage, address, passing, turns

AT_ONCE = RetryPolicy(attempts=3, initial=0, jitter=False)
ONCE = RetryPolicy(attempts=1)


# -- several handlers of one event


@EVERY_HOME
async def test_one_handler_that_fails_runs_again_alone(home: str, tmp_path: Path) -> None:
    """Those that went well are not repeated; the message carries the names of the others."""
    async with Stage(address(home, tmp_path), retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Parcel)
        async def weigh(parcel: Parcel) -> None:
            stage.ran.append("weigh")

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(f"carry {ctx.attempt}")
            if ctx.attempt < 3:
                raise OSError

        @stage.dispatcher.on("stage.*")
        async def watch(message: Message) -> None:
            stage.ran.append("watch")

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == ["weigh", "carry 1", "watch", "carry 2", "carry 3"]
        assert await stage.letters() == []


@EVERY_HOME
async def test_one_handler_that_dies_leaves_a_letter_of_its_own(home: str, tmp_path: Path) -> None:
    """The others go on with their retries; each letter is for one handler."""
    async with Stage(address(home, tmp_path), retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Parcel)
        async def weigh(parcel: Parcel) -> None:
            stage.ran.append("weigh")
            raise Reject("too heavy")

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(f"carry {ctx.attempt}")
            if ctx.attempt == 1:
                raise OSError

        @stage.dispatcher.on(Parcel)
        async def bill(parcel: Parcel) -> None:
            stage.ran.append("bill")
            raise OSError

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == ["weigh", "carry 1", "bill", "carry 2", "bill", "bill"]
        letters = {letter.handlers: letter.dead for letter in await stage.letters()}
        assert set(letters) == {("weigh",), ("bill",)}
        rejected, failed = letters["weigh",], letters["bill",]
        assert rejected is not None
        assert failed is not None
        assert (rejected.reason, rejected.error, rejected.attempts) == ("rejected", "Reject: too heavy", 1)
        assert (failed.reason, failed.attempts) == ("attempts", 3)


async def test_the_longest_wait_that_one_of_them_asks_for_is_the_wait_of_all() -> None:
    """One message, one due time."""
    async with Stage() as stage:
        began = stage.clock.monotonic()

        def handler(name: str, delay: float) -> None:
            async def run(note: Note, ctx: Context) -> None:
                if ctx.attempt == 1:
                    raise RetryLater(delay)
                stage.ran.append((name, stage.clock.monotonic() - began))

            stage.dispatcher.on(Note, name=name)(run)

        handler("soon", 1)
        handler("late", 50)
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        assert [name for name, _ in stage.ran] == ["soon", "late"]
        assert all(50 <= when < 52 for _, when in stage.ran)


async def test_a_name_that_no_longer_exists_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A retry from before a deploy: the handlers that are left run."""
    async with Stage() as stage:
        stage.dispatcher.on(Note, name="kept")(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw(handlers=("gone", "kept")))
        await stage.settled()
        assert len(stage.ran) == 1
        assert await stage.letters() == []
    assert "is for handler gone, which is not registered here" in caplog.text


async def test_if_none_of_its_handlers_is_left_an_event_is_a_dead_letter() -> None:
    """It is not handed to others instead."""
    async with Stage() as stage:
        stage.dispatcher.on(Note, name="kept")(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw(handlers=("gone", "lost")))
        await stage.settled()
        assert stage.ran == []
        [letter] = await stage.letters()
        assert letter.handlers == ("gone", "lost")
        assert letter.dead is not None
        assert (letter.dead.reason, letter.dead.error) == ("unknown", "none of its handlers is registered: gone, lost")


def raw(type_: str = "stage.note", data: Any = None, **more: Any) -> Message:
    return Message(type=type_, id="raw-1", source="/tests", data={"text": "raw"} if data is None else data, **more)


def ran(stage: Stage) -> Any:
    async def run(event: Any) -> None:
        stage.ran.append(event)

    return run


# -- what a handler raises


class OwnError(BaseException):
    """Not even an Exception."""


ESCAPES = [
    asyncio.CancelledError("mine"),
    SystemExit(1),
    MemoryError("no room"),
    ExceptionGroup("two", [OSError(), ValueError()]),
    BaseExceptionGroup("worse", [SystemExit(), asyncio.CancelledError()]),
    OwnError("own"),
    TimeoutError("its own"),
    RetryLater("tomorrow", "later"),  # type: ignore[arg-type]  # as a slip would have it
]


@EVERY_HOME
@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
async def test_whatever_leaves_a_handler_is_never_an_ack(home: str, error: BaseException, tmp_path: Path) -> None:
    """F42: it is a failed run, the policy decides, and the worker goes on to the next event."""
    async with Stage(address(home, tmp_path), retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)
            if note.text == "bad":
                raise error

        await stage.start()
        await stage.dispatcher.dispatch(Note("bad"))
        await stage.dispatcher.dispatch(Note("good"))
        await passing(stage.clock, stage.dispatcher.join())
        assert sorted(stage.ran) == ["bad", "bad", "bad", "good"]
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.error.startswith(type(error).__name__)


async def test_a_handler_whose_inner_task_was_cancelled_has_failed() -> None:
    """The cancellation is not the worker's own."""
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            task = asyncio.ensure_future(asyncio.get_running_loop().create_future())
            await turns(2)
            task.cancel()
            await task

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.settled()
        assert len(await stage.letters()) == 1


async def test_a_handlers_own_timeouts_and_task_groups_work_as_anywhere() -> None:
    """They cancel the worker's task inside and leave nothing behind."""
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            with anyio.move_on_after(0.001):
                await anyio.sleep_forever()
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                stage.ran.append(note.text)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))

        await stage.start()
        await stage.dispatcher.dispatch_many([Note("a"), Note("b")])
        await stage.settled()
        assert stage.ran == ["a", "b"]


# -- events that nobody handles here


async def test_an_unhandled_event_is_tried_again_in_the_hope_of_a_newer_process() -> None:
    """unhandled='retry', the default: the default policy, then a dead letter."""
    async with Stage(retry=AT_ONCE) as stage:
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw("stage.future"))
        await passing(stage.clock, stage.dispatcher.join())
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert (letter.dead.reason, letter.dead.attempts, letter.handlers) == ("unknown", 3, ())
        assert "no handler is registered for events of type 'stage.future'" in letter.dead.error


async def test_an_unhandled_event_can_be_a_dead_letter_at_once() -> None:
    """unhandled='dead_letter'."""
    async with Stage(unhandled="dead_letter") as stage:
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw("stage.future"))
        await stage.settled()
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert (letter.dead.reason, letter.attempt) == ("unknown", 1)


async def test_unhandled_events_can_be_skipped_where_other_groups_see_them() -> None:
    """unhandled='skip' needs a queue with consumer groups."""
    queue = Breakable(ReferenceQueue(Store()))
    queue.capabilities |= Capability.GROUPS
    queue.inner.capabilities = queue.capabilities
    async with Stage(queue, unhandled="skip", dead_letter=ReferenceQueue(Store())) as stage:
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw("stage.future"))
        await stage.settled()
        assert await stage.letters() == []


async def test_skipping_without_groups_is_refused() -> None:
    """Nobody else would see the events."""
    dispatcher = EventDispatcher("channel://", unhandled="skip")
    with pytest.raises(ConfigurationError, match="no consumer groups"):
        await dispatcher.start()


# -- patterns


@EVERY_HOME
async def test_a_patterns_handler_gets_the_message_with_json_data(home: str, tmp_path: Path) -> None:
    """On a LOCAL queue too, where the event itself travels."""
    async with Stage(address(home, tmp_path)) as stage:

        @stage.dispatcher.on("stage.*")
        async def watch(message: Message) -> None:
            stage.ran.append((message.type, message.key, message.data))

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(7, 1))
        await stage.dispatcher.dispatch(raw("stage.future", {"any": ["json", 1, None]}))
        await stage.dispatcher.dispatch(raw("other.future"))
        assert sorted(await stage.ran_in_all(2)) == [
            ("stage.future", None, {"any": ["json", 1, None]}),
            ("stage.parcel", "7", {"account": 7, "number": 1}),
        ]


@pytest.mark.parametrize(
    ("pattern", "type_name", "matches"),
    [
        ("github.*", "github.push", True),
        ("github.*", "github", False),
        ("github.*", "gitlab.push", False),
        ("*", "anything at all", True),
        ("*.created", "a.b.created", True),
        ("github.push", "github.push", True),
        ("github.pus?", "github.push", False),
        ("github.[p]ush", "github.push", False),
        ("GitHub.*", "github.push", False),
        ("git[h]ub.*", "github.push", False),
        ("gith?b.*", "github.push", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("ab*bc", "abc", False),
        ("a**c", "ac", True),
        ("*" * 100 + "x", "y" * 256, False),
    ],
)
async def test_a_star_stands_for_any_text_and_nothing_else_is_special(
    pattern: str, type_name: str, matches: bool
) -> None:
    """Types are compared as they are."""
    async with Stage(unhandled="dead_letter") as stage:
        stage.dispatcher.on(pattern)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw(type_name))
        await stage.settled()
        assert bool(stage.ran) is matches


@pytest.mark.parametrize("pattern", ["", "x" * 257, "a\nb", "a\x1b[0m"])
def test_a_pattern_that_no_type_can_have_is_refused(pattern: str) -> None:
    """Where it is written."""
    with pytest.raises(ConfigurationError, match="pattern"):
        EventDispatcher().on(pattern)


# -- what is registered


def bare() -> None: ...


def more(note: Note, ctx: Context, third: int) -> None: ...


def keyword(note: Note, *, third: int) -> None: ...


def other_event(parcel: Parcel) -> None: ...


def other_second(note: Note, second: int) -> None: ...


def generator(note: Note) -> Iterator[int]:
    yield 1


async def async_generator(note: Note) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (bare, "takes no event"),
        (more, "'third'"),
        (keyword, "'third'"),
        (other_event, "takes Parcel and is registered for Note"),
        (other_second, "must be a Context"),
        (generator, "generator"),
        (async_generator, "generator"),
        (functools.partial(generator), "generator"),
        (3, "is no function"),
    ],
)
def test_a_handler_that_could_not_be_called_is_refused_at_import(function: Any, complaint: str) -> None:
    """The text names the handler or the parameter."""
    with pytest.raises(ConfigurationError, match=complaint):
        EventDispatcher().on(Note)(function)


async def plain_async(note: Note) -> None:
    RAN.append(("plain_async", note.text))


def plain(note: Note) -> None:
    RAN.append(("plain", note.text))


async def with_context(note: Note, ctx: Context) -> None:
    RAN.append((ctx.handler, ctx.type))


def plain_with_context(note: Note, ctx: Context) -> None:
    RAN.append((ctx.handler, ctx.type))


async def any_second(note, context) -> None:  # type: ignore[no-untyped-def]  # as an untyped project has it
    RAN.append((context.handler, context.type))


async def bound(prefix: str, note: Note) -> None:
    RAN.append((prefix, note.text))


async def defaulted(note: Note, ctx: Context | None = None) -> None:
    RAN.append(("defaulted", ctx))


class Called:
    """An instance as a handler."""

    async def __call__(self, note: Note) -> None:
        RAN.append(("Called", note.text))

    async def method(self, note: Note, ctx: Context) -> None:
        RAN.append((ctx.handler, ctx.type))


RAN: list[Any] = []


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain_async, ("plain_async", "hi")),
        (plain, ("plain", "hi")),
        (with_context, ("with_context", "stage.note")),
        (plain_with_context, ("plain_with_context", "stage.note")),
        (any_second, ("any_second", "stage.note")),
        (functools.partial(bound, "partly"), ("partly", "hi")),
        (defaulted, ("defaulted", None)),
        (Called(), ("Called", "hi")),
        (Called().method, ("method", "stage.note")),
    ],
)
async def test_a_handler_is_any_callable_that_takes_the_event_and_perhaps_the_context(
    function: Any, expected: object
) -> None:
    """Sync, async, bound, an instance."""
    RAN.clear()
    async with Stage(retry=ONCE) as stage:
        assert stage.dispatcher.on(Note)(function) is function
        await stage.start()
        await stage.dispatcher.dispatch(Note("hi"))
        await stage.settled()
        assert await stage.letters() == []
    [done] = RAN
    assert done == expected


def test_two_handlers_that_meet_in_one_event_need_two_names() -> None:
    """Their names are what a retry carries."""
    dispatcher = EventDispatcher()
    dispatcher.on(Note)(plain)
    dispatcher.on(Parcel, name="plain")(lambda parcel: None)
    with pytest.raises(ConfigurationError, match="are named 'plain'; give one of them name="):
        dispatcher.on("stage.*", name="plain")(lambda message: None)
    dispatcher.on("stage.*", name="plain-too")(lambda message: None)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "a\nb", "ä", "a,b"])
def test_a_handlers_name_is_plain(name: str) -> None:
    """It travels in the message, comma-separated."""
    with pytest.raises(ConfigurationError, match="handler name"):
        EventDispatcher().on(Note, name=name)(plain)


@pytest.mark.parametrize("settings", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"order": "maybe"}])
def test_settings_of_a_handler_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """The text names the setting."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        EventDispatcher().on(Note, **settings)(plain)


async def test_a_handler_cannot_be_added_once_the_workers_have_started() -> None:
    """Routes are worked out once."""
    async with Stage() as stage:
        await stage.dispatcher.start(workers=0)
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        with pytest.raises(ConfigurationError, match="too late"):
            stage.dispatcher.on(Parcel)


# -- what a handler is given


@event("stage.changing")
@attrs.define
class Changing:
    """Not frozen: it must not be shared."""

    text: str
    more: list[str]


async def test_only_what_cannot_change_is_handed_over_by_reference() -> None:
    """On a LOCAL queue a frozen event is the same object; one that is not is a copy."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(ran(stage))
        stage.dispatcher.on(Changing)(ran(stage))
        await stage.start()
        frozen, changing = Note("a"), Changing("b", ["c"])
        await stage.dispatcher.dispatch(frozen)
        await stage.dispatcher.dispatch(changing)
        changing.more.append("later")
        first, second = await stage.ran_in_all(2)
        assert first is frozen
        assert second == Changing("b", ["c"])


async def test_an_event_newer_than_its_class_is_a_dead_letter() -> None:
    """An older version is read, with the defaults of new fields."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw(version=2))
        await stage.dispatcher.dispatch(raw(data={}))
        await stage.settled()
        assert stage.ran == [Note("")]
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.reason == "corrupt"
        assert "version 2 is newer than the 1 known here" in letter.dead.error


async def test_data_that_does_not_fit_the_class_is_a_dead_letter_and_other_handlers_run() -> None:
    """A pattern's handler takes it as it is."""
    async with Stage() as stage:
        stage.dispatcher.on(Note)(ran(stage))
        stage.dispatcher.on("stage.*", name="watch")(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(raw(data={"text": 3}))
        await stage.settled()
        assert [message.data for message in stage.ran] == [{"text": 3}]
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert (letter.dead.reason, letter.dead.handler) == ("corrupt", "run")


@EVERY_HOME
async def test_the_context_says_what_is_known_of_the_event(home: str, tmp_path: Path) -> None:
    """All its fields."""
    async with Stage(address(home, tmp_path), retry=AT_ONCE) as stage:
        began = stage.clock.now()

        @stage.dispatcher.on(Parcel, name="seen")
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append(
                (ctx.id, ctx.type, ctx.attempt, dict(ctx.headers), ctx.key, ctx.time, ctx.lost, ctx.handler)
            )
            if ctx.attempt == 1:
                raise OSError

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(7), id="p-1", headers={"traceparent": "00-a"}, key="other")
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [
            ("p-1", "stage.parcel", attempt, {"traceparent": "00-a"}, "other", began, False, "seen")
            for attempt in (1, 2)
        ]


async def test_what_a_handler_dispatches_has_the_same_id_in_every_run() -> None:
    """From the parent's id, the handler's name and the count of calls: a repeat can be told from a new event."""
    async with Stage(retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append([(await ctx.dispatch(Note(str(n)))).id for n in range(3)])
            if ctx.attempt == 1:
                raise OSError

        @stage.dispatcher.on(Parcel)
        async def weigh(parcel: Parcel, ctx: Context) -> None:
            stage.ran.append([(await ctx.dispatch(Note("w"))).id])

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None: ...

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1), id="p-1")
        await passing(stage.clock, stage.dispatcher.join())
        first, weighed, second = stage.ran
        assert first == second
        assert len({*first, *weighed}) == 4
        await stage.dispatcher.dispatch(Parcel(1), id="p-2")
        await passing(stage.clock, stage.dispatcher.join())
        assert not {*stage.ran[3]} & {*first}


async def test_what_a_handler_dispatches_takes_key_delay_and_headers() -> None:
    """As dispatch() does."""
    async with Stage() as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel, ctx: Context) -> None:
            await ctx.dispatch(Note("child"), key="k", delay=60, headers={"a": "b"})

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append((ctx.key, dict(ctx.headers), stage.clock.monotonic()))

        began = stage.clock.monotonic()
        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await passing(stage.clock, stage.dispatcher.join(), 0.5)
        [(key, headers, when)] = stage.ran
        assert (key, headers) == ("k", {"a": "b"})
        assert 60 <= when - began < 62


# -- middleware


class Spy:
    """Writes down what passes."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    async def __call__(self, message: Message, ctx: Context, call_next: Any) -> None:
        self.log.append(f"{self.name} before {ctx.handler}")
        await call_next()
        self.log.append(f"{self.name} after")

    def on_dispatch(self, message: Message) -> Message:
        self.log.append(f"{self.name} dispatch")
        return attrs.evolve(message, headers={**message.headers, self.name: str(len(message.headers))})


@EVERY_HOME
async def test_middleware_is_wrapped_around_every_run_the_first_one_outermost(home: str, tmp_path: Path) -> None:
    """And asked at dispatch, in the order given."""
    log: list[Any] = []
    async with Stage(address(home, tmp_path), middleware=[Spy("a", log), Spy("b", log)], retry=AT_ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            log.append(f"read {ctx.attempt} {dict(ctx.headers)}")
            if ctx.attempt == 1:
                raise OSError

        assert isinstance(Spy("c", []), Middleware)
        await stage.start()
        await stage.dispatcher.dispatch(Note("hi"))
        await passing(stage.clock, stage.dispatcher.join())
    headers = "{'a': '0', 'b': '1'}"
    assert log == [
        "a dispatch", "b dispatch",
        "a before read", "b before read", f"read 1 {headers}",
        "a before read", "b before read", f"read 2 {headers}", "b after", "a after",
    ]  # fmt: skip


async def test_middleware_sees_the_message_with_json_data_and_the_handler_gets_the_event() -> None:
    """On a LOCAL queue too; plain functions are wrapped as well."""

    async def look(message: Message, ctx: Context, call_next: Any) -> None:
        stage.ran.append(message.data)
        await call_next()

    async with Stage(middleware=[look]) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start()
        await stage.dispatcher.dispatch(Note("hi"))
        await stage.settled()
        assert stage.ran == [{"text": "hi"}, Note("hi")]


async def test_middleware_may_swallow_an_error_and_may_leave_the_handler_out() -> None:
    """Then the event is done."""

    async def swallow(message: Message, ctx: Context, call_next: Any) -> None:
        if message.data["text"] == "skip":
            return
        try:
            await call_next()
        except OSError as error:
            stage.ran.append(repr(error))

    async with Stage(middleware=[swallow]) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)
            raise OSError

        await stage.start()
        await stage.dispatcher.dispatch_many([Note("bad"), Note("skip")])
        await stage.settled()
        assert stage.ran == ["bad", "OSError()"]
        assert await stage.letters() == []


async def test_middleware_that_fails_is_a_failed_run() -> None:
    """Its errors go to the handler's policy."""

    async def broken(message: Message, ctx: Context, call_next: Any) -> None:
        raise LookupError("no tenant")

    async with Stage(middleware=[broken], retry=ONCE) as stage:
        stage.dispatcher.on(Note)(ran(stage))
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.settled()
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.error == "LookupError: no tenant"


async def test_a_failure_is_logged_with_id_type_and_run_and_the_last_one_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning while it will run again, an error when it will not."""
    async with Stage(retry=RetryPolicy(attempts=2, initial=0)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError("no road")

        await stage.start()
        await stage.dispatcher.dispatch(Note(), id="n-1")
        await passing(stage.clock, stage.dispatcher.join())
    first, last = [record for record in caplog.records if record.name == "notification.handlers"]
    assert (first.levelno, first.exc_info) == (logging.WARNING, None)
    assert "read failed on event n-1 (stage.note), run 1: OSError: no road; again in 0.00 s" in first.getMessage()
    assert last.levelno == logging.ERROR
    assert last.exc_info is not None


async def test_a_dispatcher_without_handlers_buries_everything() -> None:
    """It starts, since workers elsewhere may be meant; what it takes goes to the dead letters in time."""
    async with Stage(unhandled="dead_letter", dead_letter=open_queue("reference://nobody-dead")) as stage:
        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.settled()
        assert len(await stage.letters()) == 1


async def test_a_four_method_queue_runs_handlers_like_any_other() -> None:
    """Retries too, which wait in the process."""
    async with Stage(FourMethods(Shelf()), dead_letter=FourMethods(Shelf()), retry=RetryPolicy(initial=5)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            stage.ran.append(ctx.attempt)
            if ctx.attempt == 1:
                raise OSError

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.dispatcher.join())
        assert stage.ran == [1, 2]
