"""Time as a value that is passed in, so that tests can move it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Alarm(Protocol):
    """A call that was arranged for later."""

    def cancel(self) -> None:
        """Forget the call. Idempotent; without effect once it was made."""


class Clock(ABC):
    """Where queues, retries, lanes, leases and deadlines get their time. Seconds everywhere."""

    @abstractmethod
    def wall(self) -> float:
        """Seconds since the Unix epoch; may jump."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some moment; never goes back. The same for every process of a machine on the system clock."""

    @abstractmethod
    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` in the running event loop once `monotonic()` has reached `when`."""

    def now(self) -> datetime:
        """The wall clock as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.wall(), UTC)

    async def sleep_until(self, when: float) -> None:
        """Wait until `monotonic()` has reached `when`. Cancel-safe."""
        reached = asyncio.get_running_loop().create_future()
        alarm = self.call_at(when, lambda: None if reached.done() else reached.set_result(None))
        try:
            await reached
        finally:
            alarm.cancel()

    async def sleep(self, seconds: float) -> None:
        """Wait that long. Cancel-safe."""
        await self.sleep_until(self.monotonic() + seconds)


class SystemClock(Clock):
    """The machine's own clocks and the event loop's timers."""

    def wall(self) -> float:
        return time.time()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)


def patience(seconds: float) -> asyncio.Timeout:
    """`async with patience(3):` raises TimeoutError after so many real seconds, whatever a test's clock says.

    For what is outside of the process and moves with no clock of ours: a server that does not answer.
    """
    return asyncio.timeout(seconds)


class ManualClock(Clock):
    """A clock that stands still until a test advances it."""

    def __init__(self, wall: float = 1_750_000_000.0) -> None:
        self._wall = wall
        self._monotonic = 1000.0
        self._alarms: list[tuple[float, int, _ManualAlarm]] = []
        self._order = itertools.count()

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        alarm = _ManualAlarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    async def advance(self, seconds: float, /) -> None:
        """Move both clocks on, making every call that falls due on the way, in order, each at its own time.

        After each call the event loop gets the turns it needs to act on it.
        """
        end = self._monotonic + seconds
        await _settle()
        while self.ring_next(end):
            await _settle()
        self.move_to(end)
        await _settle()

    def ring_next(self, end: float) -> bool:
        """Move on to the first call that is due by `end`, and make it. False: there is none, and no time has passed."""
        while self._alarms and self._alarms[0][0] <= end:
            when, _, alarm = heapq.heappop(self._alarms)
            if alarm.callback is not None:
                self.move_to(max(when, self._monotonic))
                alarm.callback()
                return True
        return False

    def move_to(self, when: float) -> None:
        """Let `monotonic()` be `when` from now on, and move the wall clock by as much. Makes no calls."""
        self._wall += when - self._monotonic
        self._monotonic = when


class _ManualAlarm:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


async def _settle(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


SYSTEM_CLOCK = SystemClock()
