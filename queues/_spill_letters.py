"""Where dead letters go that arise before a queue has taken the event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .base import MessageQueue
from .message import Message


class Letterbox:
    """A queue of dead letters that is opened at first use, once, whoever uses it, and closed by `close`.

    mark: adds to a letter where it died.
    """

    def __init__(self, queue: MessageQueue, mark: Callable[[Message], Message] = lambda letter: letter) -> None:
        self.queue: MessageQueue = queue
        self.mark: Callable[[Message], Message] = mark
        self._opening = asyncio.Lock()
        self._open = False

    async def opened(self) -> MessageQueue:
        """The queue, open. Raises what opening raises; the next call tries again."""
        async with self._opening:
            if not self._open:
                await self.queue.open()
                self._open = True
        return self.queue

    async def put(self, letters: Sequence[Message]) -> None:
        """Write these. Raises as `push_many`."""
        queue = await self.opened()
        await queue.push_many([self.mark(letter) for letter in letters])

    async def close(self) -> None:
        """Close it, if it was opened. Idempotent."""
        if self._open:
            self._open = False
            await self.queue.close()
