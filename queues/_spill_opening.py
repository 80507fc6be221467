"""Opening a queue that may be out of reach, until it is there."""

from __future__ import annotations

import asyncio

from .base import MessageQueue
from .clock import Clock
from .errors import QueueError, QueueUnavailable

_AT_FIRST, _LATER = 5.0, 1.0
"""Seconds to wait for an answer: at the start, while somebody waits for us, and then each time."""


class Opening:
    """One `open()` at a time; one that gives no answer goes on. error: why it is not open yet."""

    def __init__(self, queue: MessageQueue, clock: Clock) -> None:
        self.error: QueueError = QueueUnavailable("the queue was not asked yet")
        self._queue, self._clock = queue, clock
        self._task: asyncio.Task[None] | None = None
        self._patience = _AT_FIRST

    async def reached(self) -> bool:
        """Whether it is open now. Raises what waiting does not heal, such as ConfigurationError."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._queue.open())
        patience, self._patience = self._patience, _LATER
        await self._wait(self._task, patience)
        if not self._task.done():
            self.error = QueueUnavailable("the queue gave no answer while it was opened")
            return False
        task, self._task = self._task, None
        try:
            task.result()
        except QueueUnavailable as error:
            self.error = error
            return False
        return True

    async def _wait(self, task: asyncio.Task[None], seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task.add_done_callback(end)
        alarm = self._clock.call_at(self._clock.monotonic() + seconds, end)
        try:
            await over
        finally:
            alarm.cancel()

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
