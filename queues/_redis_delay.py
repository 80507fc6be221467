"""Keeps the time of delayed events: sleeps here until the next one is due, and has it promoted then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from ._redis_link import Link, finished
from ._redis_scripts import Command
from .clock import Alarm, Clock
from .errors import QueueClosed, QueueError

log: Final = logging.getLogger("notification.queues")

_LOOK = 1.0
"""Seconds between two looks when nothing is known to be due: somebody else may have heard the bell and died."""
BELL_WAIT = 1
"""Seconds for which the bell's link waits at the server."""


class DelayTimer:
    """Sleeps until the next delayed event is due, then runs the script that promotes it.

    The time-outs of the server's own blocking commands are late by up to 100 ms, so they never serve as a clock: the
    bell, which is rung for a new earliest event, only cuts the sleep short. Every process that consumes has a timer;
    promoting is atomic, so it does not matter who is first.

    looks: runs `promote`. bell: a link of its own (block=1) that waits at the list `key`. promote: makes the command
    whose reply is the milliseconds to the next delayed event, -1 when there is none.
    """

    def __init__(self, *, looks: Link, bell: Link, key: str, promote: Callable[[], Command], clock: Clock) -> None:
        self._looks, self._bell, self._key = looks, bell, key
        self._promote, self._clock = promote, clock
        self._tasks: list[asyncio.Task[None]] = []
        self._awake = asyncio.Event()
        self._wake_at = 0.0
        self._alarm: Alarm | None = None
        self._listening: asyncio.Task[list[Any]] | None = None

    def start(self) -> None:
        """Keep the time from now on. Idempotent."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_time()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        """Stop; the links stay open. Idempotent."""
        for task in (*self._tasks, self._listening):
            if task is not None:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._disarm()

    def heard(self, ms_to_next: int) -> None:
        """Somebody has seen the next event due in so many milliseconds; -1: there is none."""
        if ms_to_next >= 0 and (when := self._clock.monotonic() + ms_to_next / 1000) < self._wake_at:
            self._arm(when)

    async def _keep_time(self) -> None:
        while True:
            self._awake.clear()
            pause = _LOOK
            try:
                [ms_to_next] = await self._looks.call(self._promote())
                if ms_to_next >= 0:
                    pause = min(_LOOK, ms_to_next / 1000)
            except QueueClosed:
                return
            except QueueError as error:
                log.debug("delayed events: looking again in %g s: %s", pause, error, extra={"queue": self._key})
            self._arm(self._clock.monotonic() + pause)
            await self._awake.wait()

    async def _listen(self) -> None:
        while True:
            self._listening = self._bell.begin(("BLPOP", self._key, BELL_WAIT))
            try:
                [rung] = await finished(self._listening)
            except QueueClosed:
                return
            except QueueError:
                await self._clock.sleep(_LOOK)
                continue
            if rung is not None:
                self._awake.set()

    def _arm(self, when: float) -> None:
        self._disarm()
        self._wake_at = when
        self._alarm = self._clock.call_at(when, self._awake.set)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
