"""Callers that dispatch while something is wrong with the network or the server, in the test's own process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from attrs import define, field

from notification import EventDispatcher
from queues.errors import QueueFull, QueueUnavailable

from .job import Job


@define
class Traffic:
    """Callers that dispatch one event after another, and what became of each."""

    dispatcher: EventDispatcher
    accepted: set[str] = field(factory=set)
    slowest: float = 0.0
    errors: Counter[str] = field(factory=Counter)
    numbers: int = 0
    going: bool = True

    async def caller(self, patience: float) -> None:
        while self.going:
            self.numbers += 1
            number, began = self.numbers, time.monotonic()
            try:
                await self.dispatcher.dispatch(Job(number % 100, number), id=str(number), timeout=patience)
                self.accepted.add(str(number))
            except (QueueFull, QueueUnavailable) as error:
                self.errors[type(error).__name__] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.02)


async def at_rest(dispatcher: EventDispatcher) -> bool:
    """Whether nothing waits and nothing is in flight."""
    stats = await dispatcher.stats()
    return (stats.waiting, stats.in_flight) == (0, 0)


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
