"""The time slice: tasks that never have to wait still let the event loop have its turn."""

from __future__ import annotations

import asyncio

from queues.clock import Clock

SLICE = 0.001
"""Seconds for all tasks that share a slice, in one turn of the loop."""
_TURNS = 16


class TimeSlice:
    """Asked after every event; looks at the clock each 16th time, and costs next to nothing else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._turns = _TURNS
        self._ends = 0.0
        self._over = False

    def over(self) -> bool:
        """True when the caller has to yield, with `await asyncio.sleep(0)`."""
        self._turns -= 1
        return self._turns < 0 and self._look()

    def _look(self) -> bool:
        if not self._over:
            if self._clock.monotonic() < self._ends:
                self._turns = _TURNS
                return False
            self._over = True
            self._loop.call_soon(self._begin)
        return True

    def _begin(self) -> None:
        """The loop's next turn."""
        self._over = False
        self._turns = _TURNS
        self._ends = self._clock.monotonic() + SLICE
