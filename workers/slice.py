"""The time slice: tasks that never have to wait still let the event loop have its turn."""

from __future__ import annotations

import asyncio
from collections import deque

from queues.clock import Clock

SLICE = 0.001
"""Seconds for all tasks that share a slice, in one turn of the loop."""
_TURNS = 16
_AT_A_TIME = 16
"""How many of those that wait begin with a turn. Were it all of them, waking them would take most of the slice."""


class TimeSlice:
    """Asked after every event; looks at the clock each 16th time, and costs next to nothing else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._turns = _TURNS
        self._ends = 0.0
        self._over = self._beginning = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def over(self) -> bool:
        """True when the caller has to yield: with `asyncio.sleep(0)`, or with `next()` where there may be many."""
        self._turns -= 1
        return self._turns < 0 and self._look()

    def _look(self) -> bool:
        if not self._over:
            if self._clock.monotonic() < self._ends:
                self._turns = _TURNS
                return False
            self._over = True
            self._begin_soon()
        return True

    async def next(self) -> None:
        """Wait for a slice of one's own, first come first served: a few begin with each turn of the loop."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        self._begin_soon()
        await waiter

    def _begin_soon(self) -> None:
        if not self._beginning:
            self._beginning = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        """The loop's next turn."""
        for _ in range(min(_AT_A_TIME, len(self._waiting))):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        self._over = self._beginning = False
        if self._waiting:
            self._begin_soon()
        self._turns = _TURNS
        self._ends = self._clock.monotonic() + SLICE
