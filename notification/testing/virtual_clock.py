"""Time that stands still until a test advances it, and lets handlers finish at every stop on the way."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from queues.clock import SYSTEM_CLOCK, Alarm, Clock, ManualClock
from queues.errors import ConfigurationError
from queues.url import seconds_of

from .rest import Rest, Running

_GRAIN = 0.001
"""Seconds that a call may lie beyond the end of an advance and still be made: "2h" after "2h" is rounded on its way."""
_LATE = 1e-6
"""Seconds by which a deadline is looked at late, so that rounding does not make it early."""


class VirtualClock(ManualClock):
    """The time of a tester's dispatcher. Only that: `asyncio.sleep` and `datetime.now` in a handler stay real.

    now: where it begins, an aware datetime; None: the machine's time. patience, hang: see `EventTester`.
    """

    def __init__(self, now: datetime | None = None, *, patience: float = 5.0, hang: float = 0.5) -> None:
        if now is not None and now.tzinfo is None:
            raise ConfigurationError(f"now={now!r} has no time zone; write datetime(2026, 1, 1, tzinfo=UTC)")
        super().__init__(SYSTEM_CLOCK.wall() if now is None else now.timestamp())
        self.rest: Rest = Rest(patience, hang)
        """What has to come to rest before time moves on."""
        self.onlookers: Onlookers = Onlookers(self)
        """The same clock, for the dispatcher."""
        self._hanging: set[Running] = set()
        self._deadlines: set[Running] = set()

    async def advance(self, by: float | str | timedelta, /) -> None:
        """Move on by seconds, a text like `"90s"`, `"5m"`, `"2h"` or `"1d"`, or a timedelta.

        What falls due on the way (retries, delayed events, deadlines of handlers) happens in order, each at its own
        time, and handlers finish before time moves on. A handler that makes no progress for `hang` real seconds is
        taken to wait for this very clock: time moves on without it, and at its timeout it is cut off.

        A retry policy with jitter waits for any time up to its delay; an advance by its `max` always brings the next
        run about.
        Raises AssertionError, naming what still runs, when the handlers of one moment take longer than `patience`
        real seconds; ConfigurationError for no duration.
        """
        end = self.monotonic() + _seconds(by)
        self._hanging.clear()
        await self._come_to_rest()
        while self.ring_next(end + _GRAIN):
            await self._come_to_rest()
        self.move_to(max(end, self.monotonic()))
        await self._come_to_rest()

    async def finish(self, task: asyncio.Future[Any], within: float) -> None:
        """Wait for something that takes at most `within` seconds on this clock; it moves on whenever all hangs, or
        there is still no rest after `patience`.
        """
        end = self.monotonic() + within
        while not task.done():
            with contextlib.suppress(AssertionError):
                await self._come_to_rest()
            if not task.done():
                self.ring_next(end)

    async def _come_to_rest(self) -> None:
        self.onlookers.look(self.monotonic())
        if await self.rest.reached_or_hanging(self._hanging):
            return
        for run in self.rest.running():
            self._hanging.add(run)
            if run not in self._deadlines and (timeout := run[0].timeout) is not None:
                self._deadlines.add(run)
                self.call_at(self.monotonic() + timeout + _LATE, partial(self._hanging.discard, run))
        self.onlookers.look()  # the watchdog has to know since when they run
        await self.rest.reached_or_hanging(self._hanging)


class Onlookers(Clock):
    """A virtual clock as the dispatcher's own tasks see it: those that look at intervals whether something is wrong.

    While nothing runs there is nothing for them to see, and time need not stop for them a million times a day: they
    look when it has moved, when a handler hangs, and at its deadline.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._asleep: list[tuple[float, asyncio.Future[None]]] = []

    def wall(self) -> float:
        return self._clock.wall()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        return self._clock.call_at(when, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait that long, or longer, or until there is something to see."""
        woken = asyncio.get_running_loop().create_future()
        self._asleep.append((self.monotonic() + seconds, woken))
        await woken

    def look(self, due: float = math.inf) -> None:
        """Wake those whose time it is by `due`."""
        asleep, self._asleep = self._asleep, []
        for when, woken in asleep:
            if woken.done():
                continue
            if when <= due:
                woken.set_result(None)
            else:
                self._asleep.append((when, woken))


def _seconds(by: float | str | timedelta) -> float:
    if isinstance(by, str):
        seconds = seconds_of(by, f"advance({by!r})")
    else:
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ConfigurationError(f"advance({by!r}): time goes forward, by seconds, a text like '2h', or a timedelta")
    return seconds
