"""The way in: callers share trips to the queue, and each gets its own answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from notification import Message, PushFailed, QueueClosed, QueueError, QueueFull, QueueUnavailable
from notification.sender import BatchSender
from queues.clock import SYSTEM_CLOCK, ManualClock
from queues.wire import encode
from tests.four_methods import FourMethods, Shelf
from tests.stage import turns, until
from workers.pool import in_handler


class Gate(FourMethods):
    """Batches wait until it opens; then each is answered with the next of `answers`."""

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__(Shelf(), capacity)
        self.gate = asyncio.Event()
        self.batches: list[list[str]] = []
        self.timeouts: list[float | None] = []
        self.answers: list[Exception | None] = []

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self.batches.append([message.id for message in messages])
        self.timeouts.append(timeout)
        await self.gate.wait()
        if self.answers and (error := self.answers.pop(0)) is not None:
            raise error
        await super().push_many(messages, timeout=timeout)


def message(id_: str | int, **more: Any) -> Message:
    return Message(type="stage.note", id=str(id_), source="/tests", **more)


@contextlib.asynccontextmanager
async def sending(queue: FourMethods, clock: ManualClock | None = None) -> AsyncIterator[BatchSender]:
    sender = BatchSender(queue, clock or SYSTEM_CLOCK)
    task = asyncio.ensure_future(sender.run())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.wait([task])


def sent(sender: BatchSender, id_: str | int, timeout: float | None = 5.0) -> asyncio.Task[str]:
    async def send() -> str:
        return await sender.send(message(id_), timeout)

    return asyncio.ensure_future(send())


async def outcome(task: asyncio.Task[str]) -> QueueError | None:
    """What went wrong; None: the queue has it."""
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, str):
        assert result == "queue"
        return None
    assert isinstance(result, QueueError)
    return result


async def test_callers_that_wait_at_the_same_moment_share_one_trip() -> None:
    """The first goes at once and alone; whoever comes while it is under way makes the next batch."""
    queue = Gate()
    async with sending(queue) as sender:
        first = sent(sender, 0)
        await turns()
        others = [sent(sender, number) for number in range(1, 100)]
        await turns()
        assert queue.batches == [["0"]]
        queue.gate.set()
        await asyncio.gather(first, *others)
        assert [len(batch) for batch in queue.batches] == [1, 99]
        assert queue.batches[1] == [str(number) for number in range(1, 100)]


async def test_a_caller_that_is_cancelled_takes_nobody_with_it() -> None:
    """Waiting or under way: the batch goes on; what was not sent yet never is."""
    queue = Gate()
    async with sending(queue) as sender:
        under_way = sent(sender, "under way")
        await turns()
        waiting, other = sent(sender, "waiting"), sent(sender, "other")
        await turns()
        under_way.cancel()
        waiting.cancel()
        await turns()
        queue.gate.set()
        await other
        assert queue.batches == [["under way"], ["other"]]
        assert await queue.size() == 2


async def test_each_caller_of_a_batch_gets_its_own_answer() -> None:
    """PushFailed is split."""
    queue, bad = Gate(), QueueUnavailable("row 1 is bad")
    async with sending(queue) as sender:
        blocker = sent(sender, "x")
        await turns()
        tasks = [sent(sender, number) for number in range(3)]
        await turns()
        queue.answers = [None, PushFailed({1: bad})]
        queue.gate.set()
        assert await outcome(blocker) is None
        assert [await outcome(task) for task in tasks] == [None, bad, None]


async def test_an_error_of_the_whole_batch_is_everybodys() -> None:
    """Declared errors as they are; anything else as an unknown result."""
    queue = Gate()
    queue.gate.set()
    async with sending(queue) as sender:
        out = QueueUnavailable("the cable is out")
        queue.answers = [out, RuntimeError("a plugin's bug")]
        assert await outcome(sent(sender, 1)) is out
        error = await outcome(sent(sender, 2))
        assert isinstance(error, QueueUnavailable)
        assert error.may_have_been_stored
        assert "a plugin's bug" in str(error)
        assert await outcome(sent(sender, 3)) is None


async def test_an_expired_caller_learns_whether_its_event_may_have_been_stored() -> None:
    """Under way: unknown. Still waiting for its turn: no."""
    queue, clock = Gate(), ManualClock()
    async with sending(queue, clock) as sender:
        under_way = sent(sender, 0, timeout=5)
        await turns()
        waiting = sent(sender, 1, timeout=5)
        await turns()
        await clock.advance(4.9)
        assert not under_way.done()
        await clock.advance(1)
        first, second = await outcome(under_way), await outcome(waiting)
        assert isinstance(first, QueueUnavailable)
        assert isinstance(second, QueueUnavailable)
        assert (first.may_have_been_stored, second.may_have_been_stored) == (True, False)
        queue.gate.set()
        await turns()
        assert queue.batches == [["0"]]


async def test_a_short_timeout_is_kept_beside_a_long_one() -> None:
    """The alarm is set for whoever expires first, not for whoever came first."""
    queue, clock = Gate(), ManualClock()
    async with sending(queue, clock) as sender:
        long = sent(sender, 0, timeout=600)
        forever = sent(sender, 1, timeout=None)
        await turns()
        short = sent(sender, 2, timeout=1)
        await turns()
        await clock.advance(2)
        assert short.done()
        assert isinstance(await outcome(short), QueueUnavailable)
        assert not long.done()
        await clock.advance(600)
        assert long.done()
        await outcome(long)
        assert not forever.done()
        queue.gate.set()
        assert await outcome(forever) is None


async def test_dispatch_many_has_one_deadline_for_all_its_batches() -> None:
    """Not one for each."""
    queue, clock = Gate(), ManualClock()
    async with sending(queue, clock) as sender:
        task = asyncio.ensure_future(sender.send_all([message(number) for number in range(3500)], 5))
        await turns()
        await clock.advance(6)
        await until(task.done)
        assert [type(answer) for answer in await task] == [QueueUnavailable] * 3500


async def test_what_expired_is_forgotten() -> None:
    """A queue that stays silent does not collect the events of callers who have left."""
    queue, clock = Gate(), ManualClock()
    async with sending(queue, clock) as sender:
        sent(sender, 0, timeout=None)
        await turns()
        tasks = [sent(sender, number, timeout=1) for number in range(1, 50)]
        await turns()
        assert sender.waiting == 50
        await clock.advance(2)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sender.waiting == 1
        queue.gate.set()
        await until(lambda: sender.waiting == 0)


async def test_how_many_callers_may_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more gets QueueFull at once, from dispatch_many too."""
    monkeypatch.setattr("notification.sender.MAX_CALLERS", 20)
    queue = Gate()
    async with sending(queue) as sender:
        tasks = [sent(sender, number) for number in range(10)]
        await turns()
        many = asyncio.ensure_future(sender.send_all([message(f"m{n}") for n in range(20)], None))
        await turns()
        assert isinstance(await outcome(sent(sender, "one more")), QueueFull)
        [answer] = await sender.send_all([message("another")], None)
        assert isinstance(answer, QueueFull)
        queue.gate.set()
        await asyncio.gather(many, *tasks)


async def test_a_full_queue_is_waited_for_and_then_raises_queue_full() -> None:
    """The capacity timeout is the caller's; being full is no silence."""
    queue = FourMethods(Shelf(), capacity=2)
    async with sending(queue) as sender:
        await sender.send_all([message(0), message(1)], 5)
        assert isinstance(await outcome(sent(sender, 2, timeout=0.05)), QueueFull)
        waiting = sent(sender, 3, timeout=20)
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        await queue.pop()
        assert await outcome(waiting) is None


async def test_no_time_to_wait_still_leaves_time_for_the_trip() -> None:
    """timeout=0: not at all for room, a moment for the answer."""
    queue = Gate()
    async with sending(queue) as sender:
        task = sent(sender, 0, timeout=0)
        await turns(200)
        assert not task.done()
        queue.gate.set()
        assert await outcome(task) is None
        assert queue.timeouts == [0]


async def test_a_handlers_dispatch_learns_at_once_that_the_queue_is_full() -> None:
    """Even while somebody else waits for room for ever: waiting here would be waiting for oneself."""
    queue = FourMethods(Shelf(), capacity=1)
    async with sending(queue) as sender:
        await sender.send(message(0), 5)
        outside = sent(sender, 1, timeout=None)
        await asyncio.wait([outside], timeout=0.05)
        token = in_handler.set(True)
        inside = sent(sender, 2, timeout=None)
        in_handler.reset(token)
        await asyncio.wait([inside], timeout=20)
        assert isinstance(await outcome(inside), QueueFull)
        assert not outside.done()
        await queue.pop()
        assert await outcome(outside) is None


async def test_nobody_overtakes_while_the_queue_is_full() -> None:
    """What did not fit goes first when there is room."""

    class Counting(FourMethods):
        refused = 0

        async def push(self, message: Message, *, timeout: float | None = None) -> None:
            try:
                await super().push(message, timeout=timeout)
            except QueueFull:
                self.refused += 1
                raise

    queue = Counting(Shelf(), capacity=1)
    async with sending(queue) as sender:
        task = asyncio.ensure_future(sender.send_all([message(number) for number in range(4)], 60))
        await turns()
        later = [sent(sender, number, timeout=60) for number in (4, 5)]
        got: list[str] = []
        while len(got) < 6:
            refused = queue.refused
            await until(lambda refused=refused: queue.refused > refused or len(got) == 5)  # type: ignore[misc]  # a lambda
            got.append((await asyncio.wait_for(queue.pop(), 20)).expect().id)
        await asyncio.gather(task, *later)
        assert got == [str(number) for number in range(6)]


async def test_at_the_end_those_under_way_are_told_so_and_late_ones_are_refused() -> None:
    """Unknown for those whose batch was sent, QueueClosed for the others, and for whoever comes later."""
    queue = Gate()
    async with sending(queue) as sender:
        under_way = sent(sender, 0, timeout=None)
        await turns()
        waiting = sent(sender, 1, timeout=None)
        await turns()
    first, second = await outcome(under_way), await outcome(waiting)
    assert isinstance(first, QueueUnavailable)
    assert first.may_have_been_stored
    assert isinstance(second, QueueClosed)
    assert isinstance(await outcome(sent(sender, 2, timeout=None)), QueueClosed)
    with pytest.raises(QueueClosed):
        await sender.send_all([message(3)], None)


async def test_drained_waits_for_every_answer_and_for_nothing_else() -> None:
    """A batch whose callers have all left is not waited for."""
    queue, clock = Gate(), ManualClock()
    async with sending(queue, clock) as sender:
        task = sent(sender, 0, timeout=1)
        await turns()
        drained = asyncio.ensure_future(sender.drained())
        await turns()
        assert not drained.done()
        await clock.advance(2)
        await asyncio.wait_for(drained, 5)
        await outcome(task)
        assert sender.waiting == 1


async def test_large_events_travel_in_smaller_batches() -> None:
    """About a mebibyte at a time."""
    queue = Gate()
    async with sending(queue) as sender:
        first = sent(sender, "first")
        await turns()
        large = [message(number, data="x" * 200_000) for number in range(20)]
        for one in large:
            encode(one)
        rest = asyncio.ensure_future(sender.send_all(large, 5))
        await turns()
        queue.gate.set()
        await asyncio.gather(first, rest)
        assert all(len(batch) <= 6 for batch in queue.batches)
