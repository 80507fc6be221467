"""Popping several routes as one: each is asked all the time, and none has to wait for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from ._switch_ready import Ready
from ._switch_route import Route
from .clock import SYSTEM_CLOCK, Clock
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

    def __init__(self, routes: Sequence[Route], ready: Ready) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self.closed = False
        self._routes, self._ready = routes, ready
        self._waiting: deque[tuple[asyncio.Future[bool], int]] = deque()

    # -- out

    async def pop(self, limit: int) -> list[Delivery]:
        """Between one and `limit`; none when a route says, after a second, that it has none. Cancel-safe.

        Raises what the routes raise when all of them fail, and QueueClosed.
        """
        while True:
            if self.closed:
                raise QueueClosed("the switch is closed")
            if self._ready:
                await self._ready.renew_stale()
                if batch := self._ready.take(limit):
                    self._pass_on()
                    return batch
            self._ask(limit)
            if await self._answer(limit) and not self._ready:
                return []

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
        if self._ready:
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
                route.fetch = asyncio.create_task(self._fetch(route, limit), name="notification-route")

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
            if nothing:
                self._wake(nothing=True)
            self.ask_more()

    async def _keep(self, route: Route, batch: list[Delivery]) -> None:
        name = route.name
        for delivery in batch:
            delivery.source = name
        shut, route.shut = route.shut, set()
        back = [one for one in batch if one.expect().key in shut] if shut else []
        if back:
            gone = set(back)
            batch = [one for one in batch if one not in gone]
        if batch:
            self._ready.add(route, batch)
            self._wake(nothing=False)
        if back:
            await self._hand_back(route, back)

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
        for route in self._routes:
            if route.ready:
                await self._ready.give_back(route)


def _about(route: Route) -> dict[str, object]:
    return {"route": route.name}
