"""Telling each route its part of what is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from ._switch_route import Route
from .errors import PushFailed, QueueError
from .message import Delivery, Message, Nack

T = TypeVar("T", Delivery, Nack, tuple[Delivery, Message])
Tell = Callable[[Route, Sequence[T]], Awaitable[list[Delivery]]]
"""Tells one route; returns those that were no longer ours."""


async def tell(
    routes: Mapping[str | None, Route], items: Sequence[T], delivery_of: Callable[[T], Delivery], call: Tell[T]
) -> list[Delivery]:
    """Each route its part, side by side. Returns those that were no longer ours, strangers among them.

    What one route could not be told is in a PushFailed, and nothing else is; where there is only one part, its error
    is raised as it is.
    """
    parts: dict[str | None, list[int]] = {}
    for index, item in enumerate(items):
        parts.setdefault(delivery_of(item).source, []).append(index)
    lost = [delivery_of(items[i]) for name in parts if name not in routes for i in parts[name]]
    ours = {name: places for name, places in parts.items() if name in routes}
    if len(ours) == 1:
        [(name, places)] = ours.items()
        return lost + await call(routes[name], items if len(places) == len(items) else [items[i] for i in places])
    answers = await asyncio.gather(
        *(call(routes[name], [items[i] for i in places]) for name, places in ours.items()), return_exceptions=True
    )
    errors: dict[int, QueueError] = {}
    for places, answer in zip(ours.values(), answers, strict=True):
        if isinstance(answer, PushFailed):
            errors |= {places[index]: error for index, error in answer.errors.items()}
        elif isinstance(answer, QueueError):
            errors |= dict.fromkeys(places, answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            lost += answer
    if errors:
        raise PushFailed(errors)
    return lost


def only_source(deliveries: Sequence[Delivery]) -> str | None:
    """The source of all of these; None when they have several, or there are none."""
    if not deliveries:
        return None
    source = deliveries[0].source
    for delivery in deliveries:
        if delivery.source is not source:
            return None
    return source
