"""A queue around a queue of this process: when it is full, its oldest event makes room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ._spill_file import letter_of
from ._spill_letters import Letterbox
from .around import QueueAround
from .base import MessageQueue, name_of
from .errors import PushFailed, QueueError, QueueFull
from .message import Delivery, Message

log: Final = logging.getLogger("notification.queues")

_TOLD_AGAIN = 60.0
"""Seconds between two log lines about events that were dropped."""


class DroppingQueue(QueueAround):
    """Never full: what waits longest becomes a dead letter, `dropped`. For queues whose pop is a call of a function.

    QueueFull is raised only when nothing can be taken out: all that waits is held back by its keys.
    """

    def __init__(self, inner: MessageQueue, letterbox: Letterbox) -> None:
        super().__init__(inner)
        self._letterbox = letterbox
        self._dropped = 0
        self._told_at = float("-inf")

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        while True:
            try:
                await self.inner.push(message, timeout=0)
            except QueueFull:
                if not await self._drop(1):
                    raise
            else:
                return

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        errors: dict[int, QueueError] = {}
        for index, message in enumerate(messages):
            try:
                await self.push(message)
            except QueueError as error:
                errors[index] = error
        if errors:
            raise PushFailed(errors)

    async def _drop(self, count: int) -> int:
        dropped = await self._popped(count)
        if dropped:
            mark, error = self._letterbox.mark, "the queue was full"
            letters = [mark(letter_of(one.expect(), "dropped", error, self.clock)) for one in dropped]
            pairs = list(zip(dropped, letters, strict=True))
            await self.inner.move_many(pairs, await self._letterbox.opened())
            self._tell(len(dropped))
        return len(dropped)

    async def _popped(self, count: int) -> list[Delivery]:
        """What can be had at once. A pop that would have to wait is cancelled, which loses nothing."""
        pop = asyncio.ensure_future(self.inner.pop_many(count))
        await asyncio.sleep(0)
        if not pop.done():
            pop.cancel()
            await asyncio.wait([pop])
        return [] if pop.cancelled() else pop.result()

    def _tell(self, dropped: int) -> None:
        self._dropped += dropped
        if self.clock.monotonic() - self._told_at >= _TOLD_AGAIN:
            log.error(
                "%s is full: its %d oldest events are dead letters (dropped)",
                name_of(self), self._dropped, extra={"queue": name_of(self), "dropped": self._dropped},
            )  # fmt: skip
            self._dropped, self._told_at = 0, self.clock.monotonic()
