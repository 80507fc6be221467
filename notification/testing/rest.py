"""Whether there is anything to do now, and waiting, in real time, until there is not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection

from queues.clock import SYSTEM_CLOCK
from queues.errors import escape
from workers.desk import Desk

from ..service import Service

_TURNS = 10
"""Turns of the event loop in which nothing is to be done, after which nothing will be: each hand-over, from the sender
to the queue, to fetch, to a worker, to settle, takes fewer.
"""
_QUICK_LOOKS = 50
_PAUSE, _LONG_PAUSE = 0.001, 0.005
"""Seconds between two looks, once what runs has shown that it does not end at once; and that it takes longer still."""

Running = tuple[Desk, int]
"""One run of a handler: the desk, and its serial during that run."""


class Activity:
    """What one dispatcher is doing, seen from outside."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def running(self) -> list[Running]:
        """What the workers are on."""
        return [(desk, desk.serial) for desk in self._desks() if desk.delivery is not None]

    def busy(self, apart: Collection[Running]) -> bool:
        """Whether anything is on its way, ready or running. `apart`: runs that do not count."""
        service, pool = self._service, self._service.pool
        if service.sender.waiting or service.soon.waiting:
            return True
        if pool is None:
            return False
        running = self.running()
        if pool.settler.pending or any(run not in apart for run in running):
            return True
        return bool(pool.inbox.ready) and len(running) < len(pool.workers)

    def progress(self) -> tuple[int, ...]:
        """Changes whenever something happens."""
        service, pool = self._service, self._service.pool
        if pool is None:
            return service.sender.waiting, service.soon.waiting
        counts = pool.settler.counts
        settled = counts.handled + counts.retried + counts.dead + counts.released
        begun = sum(desk.serial for desk in self._desks())
        return service.sender.waiting, service.soon.waiting, settled, begun, len(pool.held.deliveries)

    def _desks(self) -> list[Desk]:
        pool = self._service.pool
        return [worker.desk for worker in pool.workers] if pool is not None else []


class Rest:
    """Waits for all the dispatchers that share a clock: one may dispatch through another.

    patience: real seconds in which they must come to rest. hang: real seconds without progress after which they are
    taken to hang.
    """

    def __init__(self, patience: float, hang: float) -> None:
        self.activities: list[Activity] = []
        self._patience, self._hang = patience, hang

    def running(self) -> list[Running]:
        """What all workers are on."""
        return [run for activity in self.activities for run in activity.running()]

    async def reached(self) -> None:
        """Wait until nothing is to be done now. Raises AssertionError, naming what still runs, when that takes longer
        than `patience`.
        """
        await self._reached((), math.inf)

    async def reached_or_hanging(self, apart: Collection[Running]) -> bool:
        """The same, for runs other than those `apart`. False: nothing has moved for `hang` seconds."""
        return await self._reached(apart, self._hang)

    async def _reached(self, apart: Collection[Running], hang: float) -> bool:
        end = SYSTEM_CLOCK.monotonic() + self._patience
        seen, since, looks = self._progress(), 0.0, 0
        while not await self._is_reached(apart):
            if (now := self._progress()) != seen:
                seen, since = now, 0.0
            if since >= hang:
                return False
            if SYSTEM_CLOCK.monotonic() > end:
                raise AssertionError(self._still_busy())
            looks += 1
            if looks < _QUICK_LOOKS:
                await asyncio.sleep(0)
            else:  # counted as it was asked for: on a machine that stands still, what runs gets longer, too
                pause = _PAUSE if looks < 2 * _QUICK_LOOKS else _LONG_PAUSE
                await SYSTEM_CLOCK.sleep(pause)
                since += pause
        return True

    async def _is_reached(self, apart: Collection[Running]) -> bool:
        for _ in range(_TURNS):
            if any(activity.busy(apart) for activity in self.activities):
                return False
            await asyncio.sleep(0)
        return True

    def _progress(self) -> list[tuple[int, ...]]:
        return [activity.progress() for activity in self.activities]

    def _still_busy(self) -> str:
        after = f"after {self._patience:g} s of real time"
        runs = [_named(desk) for desk, _ in self.running()]
        if not runs:
            return f"{after} there is still something to do, and no handler runs"
        return f"{after} {', '.join(runs)} still run{'s' if len(runs) == 1 else ''}"


def _named(desk: Desk) -> str:
    assert desk.delivery is not None
    message = desk.delivery.expect()
    where = " in its thread" if desk.threaded else ""
    event = f"event {escape(message.type)}, id {escape(message.id)}, run {message.attempt}"
    return f"handler {desk.handler!r}{where} ({event})"
