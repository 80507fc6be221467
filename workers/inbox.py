"""The hand-over from fetch to the workers: a deque, and futures that are awaited only when it is empty."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from queues.clock import Clock
from queues.message import Delivery

from .lanes import KeyOf, Lanes
from .slice import TimeSlice


class Inbox:
    """What was fetched, and who waits for it. One worker is woken at a time; it wakes the next if more is ready."""

    def __init__(self, clock: Clock, key_of: KeyOf) -> None:
        self.lanes: Lanes = Lanes(clock, key_of, self.wake)
        self.ready: deque[Delivery] = self.lanes.ready
        self.closed: bool = False
        self.low: int = 0
        """How few may be ready before fetch wants to know."""
        self._loop = asyncio.get_running_loop()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waking = False
        self._hungry: asyncio.Future[None] | None = None
        self.slice: TimeSlice = TimeSlice(clock)

    def put(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Take in what was fetched. Returns those whose key is shut: they have to go back."""
        refused = [delivery for delivery in deliveries if not self.lanes.add(delivery)]
        self.wake()
        return refused

    def take(self) -> Delivery | None:
        """The next delivery to run, or None."""
        ready = self.ready
        if not ready:
            return None
        delivery = ready.popleft()
        if ready and self._idle:
            self.wake()
        if self._hungry is not None and len(ready) <= self.low:
            self.feed()
        return delivery

    def wake(self) -> None:
        """Something is ready: wake one idle worker, unless one is on its way already."""
        if self._waking:
            return
        while self._idle and self.ready:
            worker = self._idle.popleft()
            if not worker.done():
                self._waking = True
                worker.set_result(None)
                return

    async def idle(self) -> None:
        """A worker waits until something may be ready. Cancel-safe: the wake-up goes to another."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._idle.append(turn)
        try:
            await turn
        finally:
            if turn.done() and not turn.cancelled():
                self._waking = False
                if self.ready and asyncio.current_task().cancelling():  # type: ignore[union-attr]  # we are in a task
                    self.wake()

    def close(self) -> None:
        """No more work: idle workers go home, fetch too."""
        self.closed = True
        while self._idle:
            worker = self._idle.popleft()
            if not worker.done():
                worker.set_result(None)
        self.feed()

    @property
    def full(self) -> bool:
        """Whether fetch waits until the workers have made room."""
        return self._hungry is not None

    async def hungry(self) -> None:
        """Fetch waits until few enough are ready, or something was settled."""
        self._hungry = self._loop.create_future()
        try:
            await self._hungry
        finally:
            self._hungry = None

    def feed(self) -> None:
        """Let fetch look again."""
        if self._hungry is not None and not self._hungry.done():
            self._hungry.set_result(None)
