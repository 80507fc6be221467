"""Taking those that match, for work on dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ._kafka_consumer import Consumer
from ._kafka_left import Left
from .message import Delivery, Message, Nack

_PAGE = 500
_ALL = 1 << 31
_EMPTY = 30
"""Pops in a row with nothing, a second each, after which it ends: others have the partitions."""


async def take(
    consumer: Consumer, left: Mapping[int, Left], match: Callable[[Message], bool], limit: int
) -> list[Delivery]:
    """Up to `limit` of what is left of the partitions that are ours. What does not match is held meanwhile."""
    taken: list[Delivery] = []
    others: list[Delivery] = []
    most, consumer.most = consumer.most, _ALL
    empty = 0
    found = False
    try:
        while len(taken) < limit and empty < _EMPTY:
            batch = await consumer.pop(_PAGE)
            empty = 0 if batch else empty + 1
            for delivery in batch:
                wanted = len(taken) < limit and delivery.message is not None and match(delivery.message)
                (taken if wanted else others).append(delivery)
            if not batch and _is_through(consumer, left):
                break
        found = True
    finally:
        consumer.most = most
        back = others if found else [*taken, *others]
        await consumer.give_back([Nack(delivery) for delivery in back], settled=False)
    return taken


def _is_through(consumer: Consumer, left: Mapping[int, Left]) -> bool:
    standing = consumer.books.standing()
    return bool(standing) and all(one.next >= left[number].end for number, one in standing.items() if number in left)
