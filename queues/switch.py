"""A queue made of several: one is written, as a flag says, and all are consumed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import reduce
from operator import and_
from types import MappingProxyType
from typing import Any

from ._switch_choice import HOLD
from ._switch_figures import narrowest, smallest
from ._switch_intake import Intake
from ._switch_look import Looking
from ._switch_openers import Openers
from ._switch_pops import Pops
from ._switch_ready import Ready
from ._switch_route import Route
from ._switch_settle import Settling
from ._switch_take import take
from .base import Capability, MessageQueue, name_of
from .errors import ConfigurationError, QueueClosed, QueueError
from .message import Delivery, Limits, Message
from .registry import open_queue
from .url import check_name


class SwitchQueue(Looking, Settling):
    """Writes the route that `choose()` names, read once a push batch, and consumes all routes at all times.

    routes: URLs or instances by name, opened and closed by the switch. choose: your flag, quick and not async. When it
    raises or names no route, the last route stays, at first the first one; the switch never chooses by itself. A
    delivery is settled where it came from; retries, delayed events and dead letters stay in their route until done.

    Relaxed, a flip loses and doubles nothing, and a key may be out of order while its events are on two routes. strict:
    a route is written once all others show nothing waiting, in flight or delayed for this group; until then, and while
    the flag says `hold`, push raises QueueUnavailable at once, and the spill of a `Degradation` keeps the events. Then
    what one process dispatches stays in order by key, whatever the flag does. Between processes that see the flag at
    different times there is no order, unless it says `hold` for longer than it takes to reach them all.

    capabilities are what all routes can do; lease and capacity the smallest of theirs; limits, for what is dispatched,
    too. A route that is down when the switch is opened is opened in the background, but for the one that is written.
    Raises ConfigurationError.
    """

    def __init__(
        self, routes: Mapping[str, str | MessageQueue], choose: Callable[[], str], *, strict: bool = False
    ) -> None:
        self._routes = {name: Route(name, _queue_of(name, route)) for name, route in routes.items()}
        _check(self._routes, choose)
        self._sources: dict[str | None, Route] = dict(self._routes.items())
        self.strict: bool = strict
        self._intake = Intake(self._routes, choose, strict=strict)
        self._choice = self._intake.choice
        self._choose, self._last = choose, ""
        self._put: Callable[..., Coroutine[Any, Any, None]] | None = None
        """Into the route that was written last, `_last`; None where more has to be looked at than the flag."""
        every = list(self._routes.values())
        self._ready = Ready(every)
        self._pops = Pops(every, self._ready)
        self._openers = Openers(self._pops.ask_more)
        self._state = "not open yet"
        self.limits: Limits = narrowest(route.queue.limits for route in self._routes.values())
        self._own_limits = self.limits
        self._adopt()

    @property
    def name(self) -> str:
        """As error and log lines name it."""
        return f"switch of {', '.join(f'{name} ({name_of(route.queue)})' for name, route in self._routes.items())}"

    @property
    def routes(self) -> Mapping[str, MessageQueue]:
        """The queues by name, in the order given."""
        return MappingProxyType({name: route.queue for name, route in self._routes.items()})

    @property
    def chosen(self) -> str:
        """What the flag says now: the name of a route, or `hold` of a strict switch."""
        return self._choice.read()

    @property
    def flag_trouble(self) -> str:
        """Why the flag could not be followed when it was read last, so that the last route stays; "" when it could."""
        return self._choice.trouble

    @property
    def _every(self) -> Sequence[Route]:
        self._check_open()
        return list(self._routes.values())

    @property
    def _written(self) -> str:
        return self._choice.route

    @property
    def _by_source(self) -> Mapping[str | None, Route]:
        return self._sources

    @property
    def _fetched(self) -> Ready:
        return self._ready

    # -- life

    def _adopt(self) -> None:
        queues = list(self.routes.values())
        self.capabilities: Capability = reduce(and_, (queue.capabilities for queue in queues))
        self.capacity: int | None = smallest(queue.capacity for queue in queues)
        self.lease: float | None = smallest(queue.lease for queue in queues)
        self._intake.adopt()

    async def open(self) -> None:
        """May be called again after it raised QueueUnavailable."""
        if self._state == "open":
            return
        if self._state == "closed":
            raise QueueClosed("the switch is closed; make a new one to use it again")
        self._choice.clock = self._ready.clock = self._pops.clock = self._openers.clock = self.clock
        if self.limits != self._own_limits:
            for queue in self.routes.values():
                queue.limits = self.limits
        await self._get_ready(begin=False)
        self._adopt()
        self._state = "open"

    async def begin(self) -> None:
        self._check_open()
        await self._get_ready(begin=True)

    async def _get_ready(self, *, begin: bool) -> None:
        routes = list(self._routes.values())
        try:
            await self._openers.get_ready(routes, self._routes.get(self.chosen), begin=begin)
            await self._intake.check()
        except QueueError:
            raise
        except BaseException:
            await self._openers.close(routes)
            raise

    async def close(self) -> None:
        if self._state != "closed":
            self._state, self._put = "closed", None
            await self._pops.close()
            await self._openers.close(list(self._routes.values()))

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"the switch is {self._state}")

    def sibling(self, suffix: str) -> MessageQueue:
        """A switch of the routes' siblings, each with this `suffix`, so that what lies beside a route stays there."""
        choice = self._choice
        return SwitchQueue({name: one.sibling(suffix) for name, one in self.routes.items()}, lambda: choice.route)

    def volatile(self) -> list[MessageQueue]:
        return [one for route in self._routes.values() if route.is_open for one in route.queue.volatile()]

    # -- in

    def push(  # pyright: ignore[reportIncompatibleMethodOverride]  # awaited it is the same, and there is one less
        self, message: Message, *, timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        put = self._put
        if put is None or message.not_before is not None:
            return self._push(message, timeout)
        # What `Choice.read` does, without a call: this is the way of every event into a queue of this process.
        try:
            said = self._choose()
        except Exception as error:  # noqa: BLE001 - as there
            self._put = None
            self._choice.failed(error)
        else:
            if said != self._last:
                return self._push_to(self._routes[self._choice.heard(said)], message, timeout)
        return put(message, timeout=timeout)

    async def _push(self, message: Message, timeout: float | None) -> None:
        self._check_open()
        await self._intake.push(message, timeout)
        self._remember()

    def _push_to(self, route: Route, message: Message, timeout: float | None) -> Coroutine[Any, Any, None]:
        self._remember()
        return route.opened().push(message, timeout=timeout)

    def _remember(self) -> None:
        self._last = self._choice.route
        route = self._routes[self._last]
        plain = route.is_open and not self.strict and not self._choice.trouble
        self._put = route.queue.push if plain else None

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._check_open()
        await self._intake.push_many(messages, timeout)

    # -- out

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        return await self._pops.pop(limit)

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        """As `MessageQueue.take`, of one route after another. Nothing is taken when one of them does not answer."""
        self._check_open()
        return await take(list(self._routes.values()), match, limit)


def _queue_of(name: str, route: str | MessageQueue) -> MessageQueue:
    check_name("route", name)
    if name == HOLD:
        raise ConfigurationError(f"no route is called {HOLD!r}: that is what a flag says when none shall be written")
    queue = open_queue(route) if isinstance(route, str) else route
    if not isinstance(queue, MessageQueue) or isinstance(queue, SwitchQueue):
        raise ConfigurationError(f"route {name!r} is {queue!r:.100}, neither a queue URL nor a queue; nor a switch")
    return queue


def _check(routes: Mapping[str, Route], choose: Callable[[], str]) -> None:
    """No route leads where another one leads."""
    if not routes:
        raise ConfigurationError("a switch needs routes: {'name': URL or queue, ...}")
    if not callable(choose) or inspect.iscoroutinefunction(choose):
        raise ConfigurationError(f"choose={choose!r:.100} is no plain function that returns the name of a route")
    known: dict[object, str] = {}
    for name, route in routes.items():
        place = id(route.queue) if route.queue.url is None else route.queue.url.raw
        if place in known and place != "channel://":
            raise ConfigurationError(f"the routes {known[place]!r} and {name!r} are one queue: {name_of(route.queue)}")
        known[place] = name
