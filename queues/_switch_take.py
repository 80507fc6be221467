"""Taking what matches out of several routes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ._switch_route import Route
from .base import MessageQueue
from .errors import QueueError
from .message import Delivery, Message


async def take(routes: Sequence[Route], match: Callable[[Message], bool], limit: int) -> list[Delivery]:
    """As `MessageQueue.take`, of one route after another. When one is down it raises, and nothing is taken."""
    queues = [(route, route.opened()) for route in routes]
    taken: list[tuple[MessageQueue, list[Delivery]]] = []
    left = limit
    try:
        for route, queue in queues:
            batch = await queue.take(match, left) if left > 0 else []
            for delivery in batch:
                delivery.source = route.name
            taken.append((queue, batch))
            left -= len(batch)
    except QueueError:
        for queue, batch in taken:
            with contextlib.suppress(QueueError):  # it comes back with its lease
                await queue.release(batch)
        raise
    return [delivery for _, batch in taken for delivery in batch]
