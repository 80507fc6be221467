"""Which route is written: what the flag says, and, for a strict switch, whether it may be done yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ._switch_route import Route
from .clock import SYSTEM_CLOCK, Clock
from .errors import QueueUnavailable, escape

log: Final = logging.getLogger("notification.queues")

HOLD = "hold"
"""What the flag of a strict switch says while no route shall be written."""
_SAY_AGAIN = 60.0
"""Seconds between two warnings of a flag that can't be followed."""
_CHANGES = 10.0
"""Seconds between two lines about a flag that changes: one that flaps must not fill the log."""


class Choice:
    """Reads the flag. What can't be followed is warned of once a minute, and the last route stays.

    name: what the flag said last that could be followed, at first the first of the routes; route: the same, `HOLD` left
    out.
    """

    def __init__(self, choose: Callable[[], str], names: Iterable[str], *, may_hold: bool) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self.choose = choose
        self._names = {name: name for name in (*names, *([HOLD] if may_hold else []))}
        self.name: str = next(iter(self._names))
        self.route: str = self.name
        self.trouble: str = ""
        """Why the flag can't be followed now."""
        self._warn_at = self._tell_at = float("-inf")

    def read(self) -> str:
        """What the flag says now: a route, or `HOLD`. Never raises."""
        try:
            said = self.choose()
        except Exception as error:  # noqa: BLE001 - a provider of flags may raise anything; dispatching has to go on
            return self.failed(error)
        return self.name if said == self.name and not self.trouble else self.heard(said)

    def failed(self, error: Exception) -> str:
        """It raised."""
        self._stay(f"it raised {type(error).__name__}: {escape(str(error))}")
        return self.name

    def heard(self, said: object) -> str:
        """It said something new."""
        name = self._names.get(said) if isinstance(said, str) else None
        if name is None:
            self._stay(f"it says {escape(repr(said))}, which is none of {', '.join(self._names)}")
        else:
            self._change(name)
        return self.name

    def _change(self, name: str) -> None:
        before, self.name, self.trouble = self.name, name, ""
        if before == name:
            return
        self.route = self.route if name == HOLD else name
        now = self.clock.monotonic()
        level = logging.INFO if now >= self._tell_at else logging.DEBUG
        if level == logging.INFO:
            self._tell_at = now + _CHANGES
        log.log(level, "the flag of the switch says %s now, after %s", name, before, extra={"route": name})

    def _stay(self, why: str) -> None:
        self.trouble = why
        now = self.clock.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + _SAY_AGAIN
            log.warning("the flag of the switch can't be followed, %s stays: %s", self.name, why,
                        extra={"route": self.name})  # fmt: skip


class Gate:
    """Lets a strict switch write the route that the flag names once all others show zero.

    Asked when the flag changes, and at each try until it passes; then no more until the flag changes again. So whoever
    pushes here has nothing left elsewhere: what he wrote to another route was done before he writes this one.
    """

    def __init__(self, choice: Choice, routes: Mapping[str, Route]) -> None:
        self._choice, self._routes = choice, routes
        self._named = ""
        self._turn = 0
        self._passed = False

    async def pass_to(self) -> Route:
        """The route to write now. Raises QueueUnavailable: nothing was stored."""
        name = self._choice.read()
        if name != self._named:
            self._named, self._passed = name, False
            self._turn += 1
        if not self._passed:
            turn = self._turn
            await self._check(name)
            if turn != self._turn:
                raise QueueUnavailable("the flag of the switch has changed meanwhile")
            self._passed = True
        return self._routes[name]

    async def _check(self, name: str) -> None:
        if name == HOLD:
            raise QueueUnavailable("the flag of the switch says hold: no route is written")
        others = [route for route in self._routes.values() if route.name != name]
        # Twice: what moves from "delayed" to "waiting" between two questions is in neither answer, once.
        for _ in range(2):
            for route, empty in zip(others, await asyncio.gather(*(one.is_empty() for one in others)), strict=True):
                if not empty:
                    raise QueueUnavailable(f"{self._routes[name]} is not written before {route} is empty")
