"""Clocks: the machine's, and one that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC

from queues.clock import SYSTEM_CLOCK, ManualClock


async def test_the_system_clock_is_the_machines() -> None:
    """Unix time, monotonic time, and timers that fire once it is time."""
    assert abs(SYSTEM_CLOCK.wall() - time.time()) < 5
    assert SYSTEM_CLOCK.now().tzinfo is UTC
    begun = SYSTEM_CLOCK.monotonic()
    await SYSTEM_CLOCK.sleep(0.02)
    assert SYSTEM_CLOCK.monotonic() - begun >= 0.02


async def test_a_time_that_has_passed_is_at_once() -> None:
    """On both clocks."""
    for clock in (SYSTEM_CLOCK, ManualClock()):
        called = asyncio.Event()
        clock.call_at(clock.monotonic() - 10, called.set)
        if isinstance(clock, ManualClock):
            await clock.advance(0)
        await asyncio.wait_for(called.wait(), 5)


async def test_a_manual_clock_stands_still() -> None:
    """However long the test takes."""
    clock = ManualClock()
    before = (clock.wall(), clock.monotonic())
    await asyncio.sleep(0.01)
    assert (clock.wall(), clock.monotonic()) == before


async def test_advancing_moves_both_clocks() -> None:
    """By the same seconds."""
    clock = ManualClock(wall=100.0)
    begun = clock.monotonic()
    await clock.advance(2.5)
    assert (clock.wall(), clock.monotonic() - begun) == (102.5, 2.5)


async def test_alarms_ring_in_order_each_at_its_own_time() -> None:
    """Those set on the way, too."""
    clock = ManualClock()
    start = clock.monotonic()
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> None:
        rung.append((name, clock.monotonic() - start))

    def ring_and_set_another() -> None:
        ring("first")
        clock.call_at(clock.monotonic() + 1, lambda: ring("second"))

    clock.call_at(start + 3, lambda: ring("third"))
    clock.call_at(start + 1, ring_and_set_another)
    clock.call_at(start + 9, lambda: ring("not yet"))
    await clock.advance(5)
    assert rung == [("first", 1), ("second", 2), ("third", 3)]


async def test_alarms_of_one_moment_ring_in_the_order_they_were_set() -> None:
    """First set, first rung."""
    clock = ManualClock()
    rung: list[int] = []
    for number in range(5):
        clock.call_at(clock.monotonic() + 1, lambda number=number: rung.append(number))  # type: ignore[misc]  # bound now
    await clock.advance(1)
    assert rung == [0, 1, 2, 3, 4]


async def test_a_cancelled_alarm_does_not_ring() -> None:
    """Cancelling again, or after it rang, does nothing."""
    for clock in (SYSTEM_CLOCK, ManualClock()):
        rung: list[str] = []
        alarm = clock.call_at(clock.monotonic() + 0.01, lambda rung=rung: rung.append("no"))  # type: ignore[misc]  # bound now
        alarm.cancel()
        alarm.cancel()
        if isinstance(clock, ManualClock):
            await clock.advance(1)
        else:
            await clock.sleep(0.02)
        assert rung == []


async def test_a_sleeper_wakes_when_the_clock_gets_there() -> None:
    """And acts on it before advance() returns."""
    clock = ManualClock()
    woken: list[float] = []

    async def sleep_twice() -> None:
        await clock.sleep(10)
        woken.append(clock.monotonic())
        await clock.sleep(5)
        woken.append(clock.monotonic())

    begun = clock.monotonic()
    sleeper = asyncio.ensure_future(sleep_twice())
    await clock.advance(9)
    assert woken == []
    await clock.advance(20)
    assert woken == [begun + 10, begun + 15]
    await sleeper


async def test_a_cancelled_sleeper_leaves_no_alarm() -> None:
    """Its time may come, and nothing happens."""
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await asyncio.sleep(0)
    sleeper.cancel()
    await asyncio.wait([sleeper])
    assert sleeper.cancelled()
    await clock.advance(20)
