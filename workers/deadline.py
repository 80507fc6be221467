"""Handlers that take too long, and an event loop that stands still.

A deadline costs nothing per event: workers count what they begin, one watchdog looks now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import anyio

from queues.clock import Clock

from .desk import Desk

log: Final = logging.getLogger("notification.workers")

STALL = 1.0
"""Seconds without a turn of the event loop after which the handler that holds it is named."""


@contextlib.contextmanager
def until(clock: Clock, when: float) -> Iterator[anyio.CancelScope]:
    """A cancel scope that ends when the monotonic clock has reached `when`."""
    with anyio.CancelScope() as scope:
        alarm = clock.call_at(when, scope.cancel)
        try:
            yield scope
        finally:
            alarm.cancel()


class Watchdog:
    """Cancels the scope of a worker whose handler is overdue; warns of one in a thread, which it can't cancel."""

    def __init__(self, desks: Sequence[Desk], clock: Clock, timeout: float) -> None:
        self._desks = desks
        self._clock = clock
        self._tick = max(0.005, timeout / 20)
        self._seen: dict[Desk, tuple[int, float]] = {}

    async def run(self) -> None:
        """Look every twentieth of the shortest timeout, until cancelled."""
        while True:
            await self._clock.sleep(self._tick)
            self.look()

    def look(self) -> None:
        """Compare every desk with the last look."""
        now = self._clock.monotonic()
        for desk in self._desks:
            if desk.timeout is None:
                self._seen.pop(desk, None)
                continue
            serial, since = self._seen.get(desk, (-1, now))
            if serial != desk.serial:
                self._seen[desk] = (desk.serial, now)
            elif now - since >= desk.timeout:
                self._overdue(desk)

    def _overdue(self, desk: Desk) -> None:
        if not desk.threaded:
            desk.scope.cancel()
        elif not desk.overdue:
            desk.overdue = True
            log.warning(
                "handler %s has run in its thread for longer than its timeout of %g s; a thread can't be cancelled, "
                "so its worker and its event stay with it",
                desk.handler, desk.timeout, extra=desk.about(),
            )  # fmt: skip


class StallWatch:
    """A thread that notices when the event loop stands still, and names the handler that blocks it."""

    def __init__(self, name_of: Callable[[asyncio.Task[object]], str]) -> None:
        self._name_of = name_of
        self._loop = asyncio.get_running_loop()
        self._turn = threading.Event()
        self._ended = threading.Event()
        self.stalls: int = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        thread = threading.Thread(target=self._watch, name="notification-stall-watch", daemon=True)
        thread.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._ended.set()
            self._turn.set()

    def _watch(self) -> None:
        while not self._ended.wait(STALL):
            self._turn.clear()
            try:
                self._loop.call_soon_threadsafe(self._turn.set)
            except RuntimeError:
                return
            if not self._turn.wait(STALL):
                self._report()
                self._turn.wait()

    def _report(self) -> None:
        task = asyncio.current_task(self._loop)
        if task is None:
            return
        self.stalls += 1
        name = self._name_of(task)
        log.warning(
            "the event loop has stood still for %g s in %s; leases are renewed from the loop: "
            "await instead of blocking, or make the handler a plain def",
            STALL, name, extra={"blocked_by": name},
        )  # fmt: skip
