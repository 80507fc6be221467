"""Popping several routes as one: each is asked all the time, and none has to wait for another."""

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
from .errors import NotificationError, QueueClosed, QueueError
from .message import Delivery

log: Final = logging.getLogger("notification.queues")

_AGAIN = 1.0
"""Seconds until a route that failed is asked again."""


class Pops:
    """A pop of each route is under way, in a task of its own, while somebody waits and nothing of it is ready.

    A pop here only waits for these, so that cancelling it takes nothing along. What one route brought for whoever did
    not take it is handed out next.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self.closed = False
        self._routes = routes
        self._turns: deque[Route] = deque()
        """Routes with something ready, the one whose turn it is first."""
        self._waiting: deque[tuple[asyncio.Future[bool], int]] = deque()

    # -- out

    async def pop(self, limit: int) -> list[Delivery]:
        """Between one and `limit`; none when a route says, after a second, that it has none. Cancel-safe.

        Raises what the routes raise when all of them fail, and QueueClosed.
        """
        while True:
            if self.closed:
                raise QueueClosed("the switch is closed")
            if self._turns:
                await self._renew_stale()
                if batch := self._take(limit):
                    self._pass_on()
                    return batch
            self._ask(limit)
            if await self._answer(limit) and not self._turns:
                return []

    def _take(self, limit: int) -> list[Delivery]:
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

    async def _answer(self, limit: int) -> bool:
        """Wait until something is ready, or a route has answered that it has nothing: True."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = (answer, limit)
        self._waiting.append(waiting)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.cancelled():
                with contextlib.suppress(ValueError):  # whoever wanted to wake it has taken it out
                    self._waiting.remove(waiting)
            elif answer.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """To the next of those who wait: what is left, or another question."""
        if self._turns:
            self._wake(nothing=False)
        else:
            self.ask_more()

    def _wake(self, *, nothing: bool) -> None:
        """The first of those who wait."""
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                answer.set_result(nothing)
                return

    # -- in

    def _ask(self, limit: int) -> None:
        for route in self._routes:
            if route.fetch is None and route.is_open and not route.ready:
                route.fetch = asyncio.create_task(self._fetch(route, limit), name=f"notification-route-{route.name}")

    def ask_more(self) -> None:
        """A route has come, or one is free again: whoever waits wants something of it."""
        if self._waiting and not self.closed:
            self._ask(self._waiting[0][1])

    async def _fetch(self, route: Route, limit: int) -> None:
        nothing = False
        try:
            batch = await route.queue.pop_many(limit)
            self._works(route)
            nothing = not batch
            await self._keep(route, batch)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the other routes have to go on
            self._fails(route, error)
            await self.clock.sleep(_AGAIN)
        finally:
            route.fetch = None
            if nothing or route.ready:
                self._wake(nothing=nothing)
            self.ask_more()

    async def _keep(self, route: Route, batch: list[Delivery]) -> None:
        name = route.name
        for delivery in batch:
            delivery.source = name
        shut, route.shut = route.shut, set()
        if shut and (back := [one for one in batch if one.expect().key in shut]):
            gone = set(back)
            batch = [one for one in batch if one not in gone]
            self._add(route, batch)
            await self._hand_back(route, back)
        else:
            self._add(route, batch)

    def _add(self, route: Route, batch: Iterable[Delivery]) -> None:
        if route.queue.lease is not None:
            route.renewed = self.clock.monotonic()
        if not route.ready and batch:
            self._turns.append(route)
        route.ready.extend(batch)

    async def _hand_back(self, route: Route, deliveries: list[Delivery]) -> None:
        """Until it works: an owner keeps what he has for as long as he lives."""
        while True:
            try:
                return await route.queue.release(deliveries)
            except QueueError as error:
                log.warning("events of a key that went back can't follow it yet: %s", error, extra=_about(route))
                await self.clock.sleep(_AGAIN)

    # -- trouble

    def _fails(self, route: Route, error: Exception) -> None:
        if not route.failing:
            unexpected = not isinstance(error, NotificationError)
            log.warning("%s can't be consumed; trying again until it works: %s", route, error,
                        exc_info=unexpected, extra=_about(route))  # fmt: skip
        route.failing = True
        if all(one.failing for one in self._routes if one.is_open):
            self._tell(error)

    def _works(self, route: Route) -> None:
        if route.failing:
            log.warning("%s is consumed again", route, extra=_about(route))
        route.failing = False

    def _tell(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, deque()
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(error)

    # -- what is ready, and not handed out

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

    async def _renew_stale(self) -> None:
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

    # -- the end

    async def close(self) -> None:
        """Wake whoever waits, with QueueClosed, stop fetching, and give back what is ready."""
        self.closed = True
        while self._waiting:
            self._wake(nothing=False)
        if tasks := [route.fetch for route in self._routes if route.fetch is not None]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._turns.clear()
        for route in self._routes:
            if route.ready:
                await self._give_back(route)

    async def _give_back(self, route: Route) -> None:
        ready = list(route.ready)
        route.ready.clear()
        try:
            await route.queue.release(ready)
        except QueueError as error:
            log.warning("closing: %d events that nobody popped come back with their lease: %s", len(ready), error,
                        extra=_about(route))  # fmt: skip


def _about(route: Route) -> dict[str, object]:
    return {"route": route.name}
