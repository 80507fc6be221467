"""The fallback around a queue: three states, one order, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queues.clock import ManualClock
from queues.errors import (
    ConfigurationError,
    PushFailed,
    QueueClosed,
    QueueError,
    QueueFull,
    QueueUnavailable,
    Unsupported,
)
from queues.fallback import FallbackQueue, Letterbox, Placed, SpillFull, SpillSettings, State
from queues.message import Message
from queues.registry import open_queue
from tests.four_methods import FourMethods, Shelf
from tests.scripted_queue import AWAY, LOST, Scripted
from tests.stage import passing, until


class Scene:
    """A fallback on a clock that stands still, around a queue that does what it is told."""

    def __init__(self, fallback: FallbackQueue, inner: Scripted, clock: ManualClock, states: list[str]) -> None:
        self.fallback, self.inner, self.clock, self.states = fallback, inner, clock, states

    async def push(self, *names: str, timeout: float | None = 0) -> Placed:
        placed: Placed = await passing(
            self.clock, self.fallback.place([event(name) for name in names], timeout=timeout), step=0.01
        )
        return placed

    async def reaches(self, state: State) -> None:
        """Let time pass until it is there."""

        async def there() -> None:
            await until(lambda: self.fallback.state is state, f"{state}, it is {self.fallback.state}")

        await passing(self.clock, there())

    async def stores(self, count: int) -> list[str]:
        """Let time pass until the queue has so many."""

        async def there() -> None:
            await until(lambda: len(self.inner.stored) >= count, f"{count} stored, it is {len(self.inner.stored)}")

        await passing(self.clock, there())
        return self.inner.stored


def event(name: str, **more: Any) -> Message:
    return Message(type="stage.note", id=name, source="/tests", **more)


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@contextlib.asynccontextmanager
async def scene(directory: Path, inner: Scripted | None = None, **options: Any) -> AsyncIterator[Scene]:
    states: list[str] = []
    inner = inner or Scripted()
    capacity = options.pop("spill_capacity", 100_000)
    fallback = FallbackQueue(inner, SpillSettings(directory, capacity), on_change=states.append, **options)
    clock = fallback.clock = ManualClock()
    await passing(clock, fallback.open())
    try:
        yield Scene(fallback, inner, clock, states)
    finally:
        await passing(clock, fallback.close())


# -- direct


async def test_while_the_queue_takes_events_nothing_is_spilled(tmp_path: Path) -> None:
    """DIRECT: one push a batch, and an empty file that is gone after a clean end."""
    async with scene(tmp_path) as stage:
        placed = await stage.push("a", "b")
        assert placed == Placed()
        assert stage.inner.tries == [["a", "b"]]
        assert (stage.fallback.state, stage.fallback.spilled, stage.states) == (State.DIRECT, 0, [])
    assert list(tmp_path.iterdir()) == []


async def test_what_is_wrong_with_an_event_itself_is_no_outage(tmp_path: Path) -> None:
    """It is raised, and the others of its batch are in."""
    async with scene(tmp_path) as stage:
        stage.inner.refused = {"b"}
        placed = await stage.push("a", "b", "c")
        assert [type(placed.errors[1]), *placed.errors] == [Unsupported, 1]
        assert stage.inner.stored == ["a", "c"]
        assert stage.fallback.state is State.DIRECT


async def test_a_full_queue_is_no_outage(tmp_path: Path) -> None:
    """Full is not unavailable: what becomes of it is for others to decide."""
    async with scene(tmp_path, Scripted(capacity=1)) as stage:
        placed = await stage.push("a", "b")
        assert isinstance(placed.errors[1], QueueFull)
        assert stage.fallback.state is State.DIRECT


# -- an outage


@pytest.mark.parametrize("error", [AWAY, LOST])
async def test_a_batch_that_ends_badly_goes_to_the_spill_with_the_same_ids(tmp_path: Path, error: QueueError) -> None:
    """Unavailable or unknown: accepted all the same, and told as spilled."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = error
        placed = await stage.push("a", "b")
        assert placed == Placed(spilled=frozenset({0, 1}))
        assert (stage.fallback.state, stage.fallback.spilled) == (State.SPILLING, 2)
        assert stage.fallback.error == str(error)
        stage.inner.answer = None
        assert await stage.stores(2) == ["a", "b"]


async def test_what_a_plugin_raises_is_an_outage_too(tmp_path: Path) -> None:
    """Whatever its class: the events are kept."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = OSError("no route to host")  # type: ignore[assignment]  # a plugin may raise anything
        assert (await stage.push("a")).spilled == {0}
        assert "no route to host" in stage.fallback.error


async def test_a_queue_that_gives_no_answer_is_waited_for_a_second(tmp_path: Path) -> None:
    """Then its batch is spilled. A try that gives no answer is not made again beside itself; it counts once it ends."""
    async with scene(tmp_path) as stage:
        stage.inner.silent = True
        pushing = asyncio.ensure_future(stage.fallback.place([event("a")], timeout=0))
        await stage.clock.advance(0.9)
        assert not pushing.done()
        await stage.clock.advance(0.2)
        assert (await pushing).spilled == {0}
        await stage.push("b")
        await stage.clock.advance(1.2)
        await until(lambda: len(stage.inner.tries) == 2)
        await stage.clock.advance(10)
        assert stage.inner.tries == [["a"], ["a", "b"]], "no other try while the fate of this one is open"
        stage.inner.silent = False
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["a", "b"]


async def test_a_try_that_never_ends_is_given_up_after_half_a_minute(tmp_path: Path) -> None:
    """Its events are pushed again."""
    async with scene(tmp_path) as stage:
        stage.inner.silent = True
        await stage.push("a")

        async def tried_again() -> None:
            await until(lambda: len(stage.inner.tries) == 3)

        began = stage.clock.monotonic()
        await passing(stage.clock, tried_again())
        assert 30 <= stage.clock.monotonic() - began <= 40
        stage.inner.silent = False
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["a"]


async def test_while_spilling_the_queue_is_asked_once_a_second(tmp_path: Path) -> None:
    """With the head of the spill; dispatches don't touch it."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push("a")
        for number in range(20):
            await stage.push(f"b{number}")
        tried = len(stage.inner.tries)
        assert tried == 1
        await stage.clock.advance(10)
        await until(lambda: len(stage.inner.tries) >= 2)
        assert len(stage.inner.tries) - tried <= 11
        assert stage.inner.tries[-1] == ["a", *names("b", 20)]


async def test_the_order_of_one_producer_survives(tmp_path: Path) -> None:
    """The queue is written only while the spill is empty: what comes during the replay follows what was spilled."""
    async with scene(tmp_path) as stage:
        await stage.push("first")
        stage.inner.answer = AWAY
        spilled = names("spilled", 1200)
        await stage.push(*spilled[:800])
        await stage.push(*spilled[800:])
        late: list[asyncio.Task[Placed]] = []

        def dispatched_meanwhile() -> None:
            if len(late) < 20:
                late.append(asyncio.ensure_future(stage.fallback.place([event(f"late{len(late)}")], timeout=0)))

        stage.inner.answer = None
        stage.inner.on_push = dispatched_meanwhile
        await stage.reaches(State.DIRECT)
        stage.inner.on_push = lambda: None
        await asyncio.gather(*late)
        await stage.push("last")
        expected = ["first", *spilled, *names("late", len(late)), "last"]
        assert [name for name in stage.inner.stored if name in expected[:1201]] == ["first", *spilled]
        assert sorted(stage.inner.stored) == sorted(expected)
        assert [name for name in stage.inner.stored if name.startswith("late")] == names("late", len(late))
        assert all(len(batch) <= 500 for batch in stage.inner.tries[3:])
        assert stage.states == ["spilling", "replaying", "direct"]


async def test_an_outage_during_the_replay_goes_back_to_spilling(tmp_path: Path) -> None:
    """And nothing is out of order."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        spilled = names("e", 1600)
        await stage.push(*spilled[:800])
        await stage.push(*spilled[800:])

        def third_batch_fails() -> None:
            stage.inner.answer = AWAY if len(stage.inner.stored) == 1000 else None

        stage.inner.on_push = third_batch_fails
        await stage.stores(1000)
        await stage.reaches(State.SPILLING)
        stage.inner.on_push = lambda: None
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == spilled
        assert stage.states == ["spilling", "replaying", "spilling", "replaying", "direct"]


async def test_one_line_a_change_and_none_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However long the outage and however many events."""
    caplog.set_level(logging.INFO, "notification")
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        for number in range(30):
            await stage.push(f"e{number}")
            await stage.clock.advance(1)
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert [record.__dict__["state"] for record in caplog.records] == ["spilling", "replaying", "direct"]
        assert "the cable is out" in caplog.records[0].getMessage()


async def test_an_alert_that_fails_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""

    def alert(state: str) -> None:
        raise ValueError(state)

    fallback = FallbackQueue(inner := Scripted(), tmp_path, on_change=alert)
    async with fallback:
        inner.answer = AWAY
        await fallback.push(event("a"))
        assert fallback.state is State.SPILLING
    assert "on_change" in caplog.text


async def test_delayed_events_keep_their_place_and_their_time(tmp_path: Path) -> None:
    """They don't wait in the spill until they are due: the queue sees to that."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        due = stage.clock.now() + timedelta(days=3)
        await stage.fallback.place([event("now"), event("later", not_before=due), event("then")], timeout=0)
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert [(one.id, one.not_before) for one in stage.inner.messages] == [
            ("now", None), ("later", due), ("then", None)
        ]  # fmt: skip


async def test_every_part_of_an_event_comes_out_of_the_spill_as_it_went_in(tmp_path: Path) -> None:
    """Bytes, headers, keys and what retries have added."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        sent = event("a", key="k", data=b"\0\xff", headers={"traceparent": "00-1-2-01"}, attempt=3, handlers=("h",),
                     version=2, partition=5, group="g", first_error="E", time=stage.clock.now())  # fmt: skip
        await stage.fallback.push(sent)
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert stage.inner.messages == [sent]


# -- no room


async def test_a_full_spill_refuses_with_an_error_of_its_own(tmp_path: Path) -> None:
    """Never silently to memory: those that are in stay in, in order, and the others are told."""
    async with scene(tmp_path, spill_capacity=3) as stage:
        stage.inner.answer = AWAY
        placed = await stage.push(*names("e", 5))
        assert placed.spilled == {0, 1, 2}
        assert [type(error) for error in placed.errors.values()] == [SpillFull, SpillFull]
        assert not stage.fallback.has_room
        with pytest.raises(PushFailed):
            await stage.fallback.push_many([event("x"), event("y")], timeout=0)
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == names("e", 3)


async def test_a_push_waits_for_room_in_the_spill(tmp_path: Path) -> None:
    """As it does for room in a queue: until its time is over, or the replay has made some."""
    async with scene(tmp_path, spill_capacity=3) as stage:
        stage.inner.answer = AWAY
        await stage.push(*names("e", 3))
        waiting = asyncio.ensure_future(stage.fallback.place([event("late")], timeout=30))
        await stage.clock.advance(3)
        assert not waiting.done()
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert not (await waiting).errors
        assert stage.inner.stored == [*names("e", 3), "late"]


async def test_of_an_unknown_fate_a_full_spill_does_not_make_a_refusal(tmp_path: Path) -> None:
    """QueueFull says that nothing was stored, and nobody knows."""
    async with scene(tmp_path, spill_capacity=1) as stage:
        stage.inner.answer = LOST
        placed = await stage.push("a", "b")
        error = placed.errors[1]
        assert isinstance(error, QueueUnavailable)
        assert error.may_have_been_stored


async def test_a_full_queue_may_be_relieved_by_the_spill(tmp_path: Path) -> None:
    """when_full="spill": what finds no room waits there, and follows in order as room is made."""
    async with scene(tmp_path, Scripted(capacity=2), when_full="spill") as stage:
        placed = await stage.push(*names("e", 5))
        assert placed == Placed(spilled=frozenset({2, 3, 4}))
        assert stage.fallback.state is State.REPLAYING
        stage.inner.messages.clear()
        await stage.stores(4)
        stage.inner.messages.clear()
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == names("e", 5)


async def test_the_oldest_of_a_full_spill_make_room_as_dead_letters(tmp_path: Path) -> None:
    """when_full="drop_oldest": reason `dropped`; they are written once the queue is back."""
    letters = Scripted()
    letterbox = Letterbox(letters)
    async with scene(tmp_path, when_full="drop_oldest", spill_capacity=4, letterbox=letterbox) as stage:
        stage.inner.answer = AWAY
        await stage.push(*names("e", 4))
        assert (await stage.push(*names("f", 3))).errors == {}
        assert stage.fallback.spilled == 4
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["e3", *names("f", 3)]
        await until(lambda: len(letters.messages) == 3)
        dead = [letter.dead for letter in letters.messages]
        assert letters.stored == names("e", 3)
        assert {one.reason for one in dead if one is not None} == {"dropped"}
    assert list(tmp_path.iterdir()) == []


async def test_what_the_queue_never_takes_does_not_stop_the_others(tmp_path: Path) -> None:
    """It is a dead letter, `refused`."""
    letters = Scripted()
    async with scene(tmp_path, letterbox=Letterbox(letters)) as stage:
        stage.inner.answer = AWAY
        await stage.push("a", "bad", "b")
        stage.inner.answer, stage.inner.refused = None, {"bad"}
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["a", "b"]
        await until(lambda: letters.stored == ["bad"])
        assert letters.messages[0].dead is not None
        assert letters.messages[0].dead.reason == "refused"


# -- life


async def test_a_spill_that_is_not_empty_is_replayed_before_anything_else(tmp_path: Path) -> None:
    """Beginning in REPLAYING: what is dispatched now comes behind it, from the directory of a process that is gone."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push(*names("old", 700))
    assert len(list(tmp_path.glob("*.db"))) == 1
    async with scene(tmp_path) as stage:
        assert (stage.fallback.state, stage.fallback.spilled) == (State.REPLAYING, 700)
        await stage.push("new")
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == [*names("old", 700), "new"]
    assert list(tmp_path.iterdir()) == []


async def test_a_queue_that_is_down_at_the_start_is_opened_in_the_background(tmp_path: Path) -> None:
    """SPILLING from the first moment; it is opened once it is there."""
    inner = Scripted()
    inner.open_answer = AWAY
    async with scene(tmp_path, inner) as stage:
        assert stage.fallback.state is State.SPILLING
        assert not stage.fallback.reached
        assert (await stage.push("a")).spilled == {0}
        await stage.clock.advance(3)
        inner.open_answer = None
        await stage.reaches(State.DIRECT)
        assert stage.fallback.reached
        assert inner.stored == ["a"]


async def test_a_queue_that_is_silent_at_the_start_is_waited_for_five_seconds(tmp_path: Path) -> None:
    """Then dispatching works; opening goes on, and is not begun a second time."""
    inner = Scripted()
    inner.silent = True
    async with scene(tmp_path, inner) as stage:
        assert stage.fallback.state is State.SPILLING
        await stage.clock.advance(10)
        assert inner.opened == 1
        inner.silent = False
        await stage.push("a")
        await stage.reaches(State.DIRECT)


async def test_a_queue_that_is_set_up_wrong_is_told_at_the_start(tmp_path: Path) -> None:
    """Waiting would not heal it."""
    inner = Scripted()
    inner.open_answer = ConfigurationError("no such topic")  # type: ignore[assignment]  # open() may raise it
    with pytest.raises(ConfigurationError, match="no such topic"):
        await FallbackQueue(inner, tmp_path).open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spill", ["", "/tmp/x?size=3", "/tmp/x?capacity=many", "/tmp/x?capacity=0", "a\0b"])
def test_a_spill_that_makes_no_sense_is_refused(spill: str) -> None:
    """A path, and perhaps a bound."""
    with pytest.raises(ConfigurationError, match="spill="):
        SpillSettings.read(spill)


def test_a_spill_is_a_path_with_a_bound() -> None:
    """The bound is written behind it as on a URL."""
    assert SpillSettings.read("/var/spool/x") == SpillSettings(Path("/var/spool/x"), 100_000)
    assert SpillSettings.read("/var/spool/x?capacity=500") == SpillSettings(Path("/var/spool/x"), 500)
    assert SpillSettings.read(Path("/a?b")) == SpillSettings(Path("/a?b"))


async def test_a_spill_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A file in its place, or no way there."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        inner = Scripted()
        with pytest.raises(ConfigurationError, match="can't be written"):
            await FallbackQueue(inner, path).open()
        assert inner.opened == 0


async def test_two_owners_of_one_directory_each_have_a_file(tmp_path: Path) -> None:
    """Neither touches what is the other's; what one leaves, the other finds within half a minute."""
    async with scene(tmp_path) as first:
        async with scene(tmp_path) as second:
            second.inner.answer = AWAY
            await second.push("theirs")
            first.inner.answer = AWAY
            await first.push("ours")
            assert len(list(tmp_path.glob("*.db"))) == 2
            first.inner.answer = None
            await first.reaches(State.DIRECT)
            await first.clock.advance(60)
            assert first.inner.stored == ["ours"]
        await first.clock.advance(31)
        assert await first.stores(2) == ["ours", "theirs"]
        assert first.states == ["spilling", "replaying", "direct"], "another's events are no outage of ours"
        await until(lambda: len(list(tmp_path.glob("*.db"))) == 1)


async def test_what_was_for_another_queue_is_left_alone_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The address of a queue is part of the name of its files."""

    def around(path: Path, url: str) -> FallbackQueue:
        return FallbackQueue(open_queue(url), path)

    gone = Scripted()
    gone.url = open_queue("redis://127.0.0.1:1/0").url
    gone.answer = AWAY
    async with FallbackQueue(gone, tmp_path / "spill") as before:
        await before.push(event("a"))
    async with around(tmp_path / "spill", f"sqlite:///{tmp_path}/events.db") as after:
        assert after.spilled == 0
        assert "notification move --from" in caplog.text
    [left] = (tmp_path / "spill").glob("*.db")
    async with open_queue(f"sqlite:///{left}?order=none") as queue:
        assert [message.id async for message in queue.browse()] == ["a"]


async def test_a_damaged_file_is_told_of_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It harms nobody else."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push("a")
    [path] = tmp_path.glob("*.db")
    path.write_bytes(b"not a database" * 1000)
    async with scene(tmp_path) as stage:
        assert stage.fallback.state is State.DIRECT
        await stage.clock.advance(100)
    assert caplog.text.count("can't be read and stays as it is") == 1
    assert path.exists()


async def test_a_lock_without_a_file_is_cleared_away(tmp_path: Path) -> None:
    """Its process died before it made the file."""
    async with scene(tmp_path):
        [path] = tmp_path.glob("*.lock")
        (tmp_path / path.name.replace(path.stem[-12:], "0" * 12)).touch()
    async with scene(tmp_path):
        assert len(list(tmp_path.glob("*.lock"))) == 1


async def test_what_was_moved_and_not_yet_forgotten_at_the_end_is_not_moved_again(tmp_path: Path) -> None:
    """close() lets the step under way end."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push("a")
        stage.inner.answer = None
        stage.inner.silent = True
        await stage.clock.advance(1.2)
        await until(lambda: len(stage.inner.tries) == 2)
        closing = asyncio.ensure_future(stage.fallback.close())
        stage.inner.silent = False
        await passing(stage.clock, closing)
        assert stage.inner.stored == ["a"]
    assert list(tmp_path.glob("*.db")) == []


async def test_a_plugin_of_four_methods_is_enough(tmp_path: Path) -> None:
    """Nothing but push is asked of it."""
    shelf = Shelf()
    async with FallbackQueue(FourMethods(shelf), tmp_path) as queue:
        await queue.push_many([event("a"), event("b")])
        assert [(await queue.pop()).expect().id for _ in range(2)] == ["a", "b"]


async def test_before_it_is_open_and_after_it_was_closed_nothing_is_accepted(tmp_path: Path) -> None:
    """QueueClosed, which says which."""
    queue = FallbackQueue(Scripted(), tmp_path)
    with pytest.raises(QueueClosed, match="not open yet"):
        await queue.push(event("a"))
    await queue.open()
    await queue.close()
    await queue.close()
    with pytest.raises(QueueClosed, match="closed"):
        await queue.push(event("a"))
    with pytest.raises(QueueClosed, match="closed"):
        await queue.open()


async def test_a_spill_that_fails_too_is_an_error_that_says_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, say: nothing is accepted that is not kept, and dispatching goes on when there is room again."""
    full = QueueUnavailable("the disk is full")
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY

        async def fails(_: object, messages: list[Message]) -> dict[int, QueueError]:
            return dict.fromkeys(range(len(messages)), full)

        with monkeypatch.context() as patch:
            patch.setattr("queues._spill_file.SpillFile.store", fails)
            placed = await stage.push("a", "b")
        assert [str(error) for error in placed.errors.values()] == ["the cable is out; the spill: the disk is full"] * 2
        assert stage.fallback.spilled == 0
        assert not (await stage.push("c")).errors
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["c"]


async def test_what_is_found_wrong_only_when_the_queue_is_there_is_told_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic that is missing: events stay in the spill, and the error is in the log, once, and in `error`."""
    inner = Scripted()
    inner.open_answer = AWAY
    async with scene(tmp_path, inner) as stage:
        await stage.push("a")
        inner.open_answer = ConfigurationError("no such topic")  # type: ignore[assignment]  # open() may raise it
        opened = inner.opened
        await stage.clock.advance(10)
        await until(lambda: inner.opened >= opened + 3)
        assert stage.fallback.error == "no such topic"
        assert caplog.text.count("can't be moved to its queue") == 1
        inner.open_answer = None
        await stage.reaches(State.DIRECT)
        assert inner.stored == ["a"]


async def test_what_was_moved_is_not_moved_again_when_the_disk_fails_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It can't be forgotten, and nothing more is moved until it can."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push(*names("e", 700))
        with monkeypatch.context() as patch:
            tried: list[int] = []

            async def fails(_: object, deliveries: list[object]) -> None:
                tried.append(len(deliveries))
                raise QueueUnavailable("the disk is full")

            patch.setattr("queues.sqlite.SQLiteQueue.ack_many", fails)
            stage.inner.answer = None
            await stage.clock.advance(1.2)

            async def tried_again() -> None:
                await until(lambda: len(tried) >= 4)

            await passing(stage.clock, tried_again())
            assert stage.inner.stored == names("e", 500)
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == names("e", 700)
        assert stage.fallback.spilled == 0


async def test_a_push_that_is_cancelled_leaves_nothing_behind_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of it was written on its way follows to the queue."""
    async with scene(tmp_path) as stage:
        stage.inner.answer = AWAY
        await stage.push("a")
        pushing = asyncio.ensure_future(stage.fallback.place([event("b")], timeout=0))
        await asyncio.sleep(0)
        pushing.cancel()
        await asyncio.wait([pushing])
        stage.inner.answer = None
        await stage.reaches(State.DIRECT)
        await stage.clock.advance(31)
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored in (["a"], ["a", "b"])
        assert stage.fallback.spilled == 0


async def test_what_is_refused_with_others_is_offered_alone_before_it_is_given_up(tmp_path: Path) -> None:
    """A client that has lost its way blames all that it had: nothing of it is a dead letter for that."""
    letters = Scripted()
    async with scene(tmp_path, letterbox=Letterbox(letters)) as stage:
        stage.inner.answer = AWAY
        await stage.push("a", "bad", "b", "c")
        stage.inner.refused = {"a", "bad", "b", "c"}
        stage.inner.answer = None
        tried = len(stage.inner.tries)

        def only_one_was_bad() -> None:
            if len(stage.inner.tries) > tried + 1:
                stage.inner.refused = {"bad"}

        stage.inner.on_push = only_one_was_bad
        await stage.reaches(State.DIRECT)
        assert stage.inner.stored == ["a", "b", "c"]
        await until(lambda: letters.stored == ["bad"])
