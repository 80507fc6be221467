"""Opening the routes of a switch: those that answer at once, the others in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ._switch_route import Route
from .clock import SYSTEM_CLOCK, Clock
from .errors import ConfigurationError, NotificationError, QueueError

log: Final = logging.getLogger("notification.queues")

_AGAIN = 1.0
"""Seconds until a route that did not answer is tried again."""


class Openers:
    """A task for each route that has not answered yet. came: told when one has."""

    def __init__(self, came: Callable[[], None]) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self._came = came
        self._begin = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def get_ready(self, routes: Sequence[Route], written: Route | None, *, begin: bool) -> None:
        """Open all, and begin to consume if that is wanted. `written` must answer, or, if there is none, one of them.

        Raises ConfigurationError, of any of them, and QueueUnavailable.
        """
        self._begin = begin
        if written is not None:
            await self._stop([written])
            await written.get_ready(self.clock, begin=begin)
        others = [route for route in routes if route is not written and route.name not in self._tasks]
        answers = await asyncio.gather(
            *(route.get_ready(self.clock, begin=begin) for route in others), return_exceptions=True
        )
        silent: list[tuple[Route, QueueError]] = []
        for route, answer in zip(others, answers, strict=True):
            if isinstance(answer, QueueError):
                silent.append((route, answer))
            elif isinstance(answer, BaseException):
                raise answer
        if silent and not any(route.is_open for route in routes):
            raise silent[0][1]
        for route, error in silent:
            self._open_later(route, error)

    def _open_later(self, route: Route, error: QueueError) -> None:
        route.trouble = error
        log.warning("%s is down; it is opened as soon as it answers: %s", route, error, extra={"route": route.name})
        self._tasks[route.name] = asyncio.create_task(self._open(route), name=f"notification-opens-{route.name}")

    async def _open(self, route: Route) -> None:
        while True:
            await self.clock.sleep(_AGAIN)
            try:
                await route.get_ready(self.clock, begin=self._begin)
            except NotificationError as error:
                self._say_if_wrong(route, error)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it may come all the same
                self._say_if_wrong(route, ConfigurationError(f"{type(error).__name__}: {error}"))
            else:
                break
        route.trouble = None
        del self._tasks[route.name]
        log.warning("%s is open", route, extra={"route": route.name})
        self._came()

    def _say_if_wrong(self, route: Route, error: NotificationError) -> None:
        """What no waiting mends is an error in the log, once."""
        if isinstance(error, ConfigurationError) and str(error) != str(route.trouble):
            log.error("%s can't be opened: %s", route, error, extra={"route": route.name})
        route.trouble = error

    async def _stop(self, routes: Sequence[Route]) -> None:
        tasks = [task for route in routes if (task := self._tasks.pop(route.name, None)) is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self, routes: Sequence[Route]) -> None:
        """Try no more, and close what is open."""
        await self._stop(routes)
        is_open = [route for route in routes if route.is_open]
        answers = await asyncio.gather(*(route.queue.close() for route in is_open), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
