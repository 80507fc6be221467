"""An out-tray: what the queue has to be told of one kind, in batches that form while the last one is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from queues.errors import PushFailed
from queues.message import Delivery

from .lease import Held
from .supervise import Trouble

T = TypeVar("T")
Told = tuple[Sequence[T], Exception | None]
"""What was not told and has to be tried again, and why."""

_BATCH = 1000


class Tray(Generic[T]):
    """Items in order, and a loop that tells them through outages. Each kind has its own, so that a dead-letter queue
    that is down does not hold up acks.
    """

    def __init__(
        self, trouble: Trouble, tell: Callable[[list[T]], Awaitable[Told[T]]], progress: Callable[[], None]
    ) -> None:
        self.items: list[T] = []
        self.trouble: Trouble = trouble
        self._tell = tell
        self._progress = progress
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Tell this too."""
        self.items.append(item)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result(None)

    async def run(self) -> None:
        """Tell until cancelled. What fails stays in its place and is tried again."""
        while True:
            if not self.items:
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
            batch = self.items[:_BATCH]
            left, error = await self._tell(batch)
            self.items[: len(batch)] = left
            self._progress()
            if error is None:
                self.trouble.worked()
            else:
                self.trouble.failed(error)
                await self.trouble.pause()


def in_batches(
    call: Callable[[list[T]], Awaitable[list[Delivery] | None]], deliveries_of: Callable[[list[T]], list[Delivery]],
    held: Held,
) -> Callable[[list[T]], Awaitable[Told[T]]]:  # fmt: skip
    """Tell by one call a batch; what it told is held no more. Of one that failed in part, only that part is left."""

    async def tell(batch: list[T]) -> Told[T]:
        try:
            lost = await call(batch)
        except PushFailed as error:
            held.settled(deliveries_of([item for index, item in enumerate(batch) if index not in error.errors]))
            return [item for index, item in enumerate(batch) if index in error.errors], error
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; nothing may be lost by it
            return batch, error
        held.settled(deliveries_of(batch), lost or ())
        return (), None

    return tell
