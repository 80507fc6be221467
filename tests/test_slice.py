"""Turns of the event loop among tasks that never have to wait."""

from __future__ import annotations

import asyncio

from queues.clock import ManualClock
from workers.slice import TimeSlice


async def test_a_slice_is_over_when_its_time_is_and_begins_again_with_the_next_turn() -> None:
    """The clock is looked at now and then, not each time."""
    clock = ManualClock()
    turns = TimeSlice(clock)
    while not turns.over():
        pass
    assert turns.over()
    await asyncio.sleep(0)
    assert not any(turns.over() for _ in range(1000))
    await clock.advance(1)
    assert any(turns.over() for _ in range(1000))


async def test_those_that_wait_go_on_first_come_first_served_a_few_at_a_time() -> None:
    """However many there are, each gets its turn."""
    turns = TimeSlice(ManualClock())
    went: list[int] = []

    async def wait(number: int) -> None:
        await turns.next()
        went.append(number)

    waiting = [asyncio.ensure_future(wait(number)) for number in range(100)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert 0 < len(went) < 100
    await asyncio.gather(*waiting)
    assert went == list(range(100))


async def test_one_that_gave_up_keeps_nobody_waiting() -> None:
    """A cancelled dispatch has no turn to pass on."""
    turns = TimeSlice(ManualClock())
    gone = [asyncio.ensure_future(turns.next()) for _ in range(40)]
    last = asyncio.ensure_future(turns.next())
    await asyncio.sleep(0)
    for one in gone:
        one.cancel()
    await asyncio.wait_for(last, 5)
