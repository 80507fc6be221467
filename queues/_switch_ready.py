"""What a switch has fetched of its routes and not handed out yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from ._switch_route import Route
from .base import Capability
from .clock import SYSTEM_CLOCK, Clock
from .delayed import DelayedQueue
from .errors import QueueError
from .message import Delivery

log: Final = logging.getLogger("notification.queues")


class Ready:
    """It is ours under a lease, which is renewed with that of what was handed out."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self._routes = routes
        self._turns: deque[Route] = deque()
        """Routes with something ready, the one whose turn it is first."""

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, route: Route, batch: Iterable[Delivery]) -> None:
        """These came of it."""
        if route.queue.lease is not None:
            route.renewed = self.clock.monotonic()
        if not route.ready:
            self._turns.append(route)
        route.ready.extend(batch)

    def take(self, limit: int) -> list[Delivery]:
        """From each in turn: one with much to do gets no more than its share while others have something."""
        taken: list[Delivery] = []
        turns = self._turns
        while turns and (room := limit - len(taken)) > 0:
            route = turns.popleft()
            share = max(1, room // (len(turns) + 1))
            if len(route.ready) <= share:
                taken += route.ready
                route.ready.clear()
            else:
                taken += [route.ready.popleft() for _ in range(share)]
                turns.append(route)
        return taken

    # -- what goes back

    def take_behind(self, route: Route, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """These go back to their route: what was fetched behind them of their keys has to, too, before them.

        What is being fetched at this moment follows them when it comes.
        """
        if Capability.KEYED not in route.queue.capabilities or not (route.ready or route.fetch):
            return []
        keys = {key for one in deliveries if (key := one.expect().key) is not None}
        if route.fetch is not None:
            route.shut |= keys
        behind = [one for one in route.ready if one.expect().key in keys]
        self.drop(route, behind)
        return behind

    def drop(self, route: Route, gone: Sequence[Delivery]) -> None:
        """Forget some of what is ready."""
        if gone:
            dropped = set(gone)
            route.ready = deque(one for one in route.ready if one not in dropped)
            if not route.ready and route in self._turns:
                self._turns.remove(route)

    async def renew_stale(self) -> None:
        """Nobody has renewed the lease of what nobody popped."""
        for route in tuple(self._turns):
            lease = route.queue.lease
            if lease is not None and self.clock.monotonic() >= route.renewed + lease:
                with contextlib.suppress(QueueError):  # whether they are ours still is seen when they are settled
                    await self.extend(route, [])

    async def extend(self, route: Route, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew the lease of these and of what is ready. Returns those of these that are lost."""
        now, ready = self.clock.monotonic(), list(route.ready)
        lost = await route.queue.extend([*deliveries, *ready])
        route.renewed = now
        if not lost:
            return lost
        gone = set(lost)
        self.drop(route, [one for one in ready if one in gone])
        return [one for one in deliveries if one in gone]

    async def extend_all(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The same of all routes. Raises when no route could be asked."""
        parts: dict[str | None, list[Delivery]] = {}
        for delivery in deliveries:
            parts.setdefault(delivery.source, []).append(delivery)
        asked = [
            (route, parts.pop(route.name, []))
            for route in self._routes
            if route.is_open and (route.name in parts or route.ready or isinstance(route.queue, DelayedQueue))
        ]
        answers = await asyncio.gather(*(self.extend(route, part) for route, part in asked), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        if errors and len(errors) == len(answers):
            raise errors[0]
        lost = [one for answer in answers if not isinstance(answer, BaseException) for one in answer]
        return lost + [one for part in parts.values() for one in part]

    async def give_back(self, route: Route) -> None:
        """At the end; what can't be told comes back with its lease."""
        ready = list(route.ready)
        self.drop(route, ready)
        try:
            await route.queue.release(ready)
        except QueueError as error:
            log.warning("closing: %d events that nobody popped come back with their lease: %s", len(ready), error,
                        extra={"route": route.name})  # fmt: skip
