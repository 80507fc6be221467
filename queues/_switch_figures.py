"""Several queues as one in figures: what they hold together, and the smallest of what they allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from attrs import asdict

from ._switch_route import Route
from .base import MessageQueue, QueueStats
from .errors import QueueError
from .message import Limits

T = TypeVar("T")
N = TypeVar("N", int, float)


async def each(routes: Iterable[Route], ask: Callable[[MessageQueue], Awaitable[T]]) -> dict[str, T | QueueError]:
    """What each of them says, asked side by side, or why it does not."""

    async def answer(route: Route) -> T | QueueError:
        try:
            return await ask(route.opened())
        except QueueError as error:
            return error

    routes = list(routes)
    answers = await asyncio.gather(*map(answer, routes))
    return {route.name: said for route, said in zip(routes, answers, strict=True)}


def smallest(values: Iterable[N | None]) -> N | None:
    """Of those that are given; None when none is."""
    return min((value for value in values if value is not None), default=None)


def narrowest(limits: Iterable[Limits]) -> Limits:
    """What fits here fits everywhere."""
    every = [asdict(one) for one in limits]
    return Limits(**{name: min(one[name] for one in every) for name in every[0]})


def total(figures: Sequence[QueueStats]) -> QueueStats:
    """Added up; what one of them can't say, all can't. oldest_age: of the oldest of them all."""
    return QueueStats(
        waiting=sum(one.waiting for one in figures),
        in_flight=_sum(one.in_flight for one in figures),
        delayed=_sum(one.delayed for one in figures),
        dead=_sum(one.dead for one in figures),
        oldest_age=max((one.oldest_age for one in figures if one.oldest_age is not None), default=None),
        settled=_sum(one.settled for one in figures),
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = 0
    for number in numbers:
        if number is None:
            return None
        known += number
    return known
