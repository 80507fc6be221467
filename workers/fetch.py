"""Fetch: keeps a small buffer ahead of the workers, as much as they finish in about 50 ms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from queues.base import MessageQueue, name_of
from queues.clock import Clock

from .inbox import Inbox
from .lease import Held
from .settle import Settler
from .supervise import Trouble

AHEAD = 0.05
"""Seconds of work to keep fetched."""
WAITS = 1.0
"""Seconds after which a pop that has not failed is taken to wait for events."""
MAX_BYTES = 32 << 20
"""The most bytes held in this process, fetched and not settled."""


class Fetcher:
    """One task that pops. Never fewer than one delivery per worker, never more than `prefetch` ready."""

    def __init__(
        self,
        queue: MessageQueue,
        inbox: Inbox,
        held: Held,
        settler: Settler,
        clock: Clock,
        *,
        workers: int,
        prefetch: int,
    ) -> None:
        self.trouble: Trouble = Trouble("fetch", clock, queue=name_of(queue))
        self.last_pop: float | None = None
        self._queue, self._inbox, self._held, self._settler = queue, inbox, held, settler
        self._clock = clock
        self._workers = workers
        self._prefetch = max(prefetch, workers)
        self._rate = 0.0
        self._seen = (clock.monotonic(), 0)

    async def run(self) -> None:
        """Pop until cancelled, through outages."""
        while not self._inbox.closed:
            if self._inbox.lanes.returning or (room := self._room()) <= 0:
                await self._inbox.hungry()
                continue
            try:
                with self._works_if_it_waits():
                    await self._fetch(room)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; consuming has to go on
                self.trouble.failed(error)
                await self.trouble.pause()

    @contextmanager
    def _works_if_it_waits(self) -> Iterator[None]:
        """After an outage, a pop that waits for events instead of failing shows that the queue is back."""
        if not self.trouble.failures:
            yield
            return
        alarm = self._clock.call_at(self._clock.monotonic() + WAITS, self.trouble.worked)
        try:
            yield
            self.trouble.worked()
        finally:
            alarm.cancel()

    async def _fetch(self, room: int) -> None:
        self._inbox.lanes.fetching()
        deliveries = await self._queue.pop_many(room)
        self.last_pop = self._clock.monotonic()
        self._held.add(deliveries)
        if refused := self._inbox.put(deliveries):
            self._settler.refuse(refused)

    def _room(self) -> int:
        """How many to ask for now."""
        target = self._target()
        self._inbox.low = target // 2
        ready, held = len(self._inbox.ready), len(self._held.deliveries)
        if ready > self._inbox.low or self._held.size > MAX_BYTES:
            return 0
        most = 2 * self._prefetch + self._workers
        room = min(target - ready, most - held + min(most, self._settler.stuck))
        if room <= 0 and not ready:
            self._settler.make_room()
        return room

    def _target(self) -> int:
        now, done = self._clock.monotonic(), self._settler.counts.handled
        since, before = self._seen
        if now - since >= AHEAD / 5:
            self._rate += 0.5 * ((done - before) / (now - since) - self._rate)
            self._seen = (now, done)
        return min(self._prefetch, max(self._workers, int(self._rate * AHEAD)))
