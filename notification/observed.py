"""What a dispatcher shows of itself: its queue, figures, health, and whether its work is done."""

from __future__ import annotations

from queues.base import MessageQueue, QueueStats
from queues.clock import SYSTEM_CLOCK

from .config import Config
from .handlers import Handlers
from .inspection import health_of, is_finished, stats_of
from .life import Life
from .report import Health

_LOOK_AGAIN = 0.02
"""Seconds between two looks of join()."""


class Observed:
    """The part of an `EventDispatcher` that only looks."""

    _config: Config | None
    _life: Life
    _handlers: Handlers

    @property
    def config(self) -> Config | None:
        """The settings that `from_config` made it from; None: it was made by code."""
        return self._config

    @property
    def queue(self) -> MessageQueue:
        """The queue it was given, or opens by URL."""
        return self._life.queue

    @property
    def handlers(self) -> list[str]:
        """The names of the registered handlers, in their order."""
        return [handler.name for handler in self._handlers.all]

    @property
    def started(self) -> bool:
        """Whether it was opened, for dispatch or for workers; still true after `stop()`."""
        return self._life.service is not None

    @property
    def capacity(self) -> int | None:
        """The most events that may wait in the queue; None: unbounded."""
        return self.queue.capacity

    @property
    def dead_letters(self) -> MessageQueue:
        """The queue of dead letters: the open one once workers have started, before that a new one to be opened."""
        return self._life.dead_letters()

    async def size(self) -> int:
        """Events that are due and not yet handed out. Raises QueueClosed, QueueUnavailable."""
        return await self._life.opened()[0].queue.size()

    async def stats(self) -> QueueStats:
        """The queue's figures, counted now, with the number of dead letters. Raises QueueClosed, QueueUnavailable."""
        return await stats_of(self._life.opened()[0])

    async def join(self) -> None:
        """Wait until the queue shows nothing waiting, in flight or delayed, and nothing is on its way to it.

        Somebody has to work on it, here or elsewhere. Cancel-safe. Raises QueueClosed, QueueUnavailable.
        """
        while not await is_finished(self._life.opened()[0]):
            await SYSTEM_CLOCK.sleep(_LOOK_AGAIN)  # other processes, which may do the work, are in real time

    async def health(self) -> Health:
        """For probes: asks the queue for its size. Never raises."""
        return await health_of(self._life.service)
