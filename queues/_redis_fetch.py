"""What pops wait for: one fetch at a time, which no cancelling stops, and what it brought for whoever comes next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from .errors import NotificationError, QueueClosed
from .message import Delivery

Fetching = Callable[[int], Awaitable[list[Delivery]]]
"""Brings up to so many deliveries, waiting for about a second when there are none."""


class Fetch:
    """`fetch` runs in a task of its own, always to its end; a pop that is cancelled leaves what it brings to the next.

    `fetch` is never begun before the last one has ended.
    """

    def __init__(self, fetch: Fetching, closed: str) -> None:
        self.ready: deque[Delivery] = deque()
        self._fetch, self._closed_text = fetch, closed
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def pop(self, limit: int) -> list[Delivery]:
        """Between one and `limit`, or none after about a second. Cancel-safe. Raises what `fetch` raised."""
        self._check_open()
        if not self.ready:
            task = self._task
            if task is None or task.done():
                task = self._task = asyncio.ensure_future(self._bring(limit))
                task.add_done_callback(_seen)
            await asyncio.wait([task, self._closing], return_when=asyncio.FIRST_COMPLETED)
            self._check_open()
            if not self.ready and task.done():
                task.result()
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]

    def drop(self, lost: Iterable[Delivery]) -> None:
        """Forget some of what nobody popped yet."""
        gone = set(lost)
        self.ready = deque(delivery for delivery in self.ready if delivery not in gone)

    async def close(self) -> None:
        """Wake whoever waits, with QueueClosed, and wait for the fetch under way. Idempotent."""
        if not self._closing.done():
            self._closing.set_result(None)
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _bring(self, limit: int) -> None:
        brought = await self._fetch(limit)
        self.ready.extend(brought)  # `ready` may be another one by now

    def _check_open(self) -> None:
        if self._closing.done():
            raise QueueClosed(self._closed_text)


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and not isinstance(task.exception(), NotificationError | None):
        task.get_loop().call_exception_handler({"message": "a fetch failed", "exception": task.exception()})
