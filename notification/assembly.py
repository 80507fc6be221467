"""A queue and what has to be put around it, decided once: after this nobody asks what the queue can do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from attrs import evolve, frozen

from queues.around import QueueAround
from queues.base import Capability, MessageQueue, name_of
from queues.clock import Clock
from queues.delayed import DelayedQueue
from queues.errors import ConfigurationError
from queues.message import Delivery, Message
from queues.registry import open_queue
from queues.switch import SwitchQueue
from queues.url import DEAD, Order
from workers.pool import Pool, PoolSettings

from .composing import Composer
from .context import Send
from .handlers import Handler, Handlers, Step, read
from .routing import Router, order_of
from .settings import Settings, Unhandled

log: Final = logging.getLogger("notification.dispatcher")
_MAX_KNOWN = 4096
"""The most types to remember something about."""


def build(queue: str | MessageQueue, clock: Clock) -> MessageQueue:
    """The queue that a URL names, or the instance given; not open yet."""
    built = open_queue(queue) if isinstance(queue, str) else queue
    if not isinstance(built, MessageQueue):
        raise ConfigurationError(f"{built!r} is neither a queue URL nor a MessageQueue")
    built.clock = clock
    return built


def build_dead(queue: MessageQueue, dead_letter: str | MessageQueue | None, clock: Clock) -> MessageQueue:
    """Where dead letters go: the queue given, or the sibling of the main one."""
    if dead_letter is not None:
        dead = build(dead_letter, clock)
        if dead.url is not None and "dedup" in dead.url.options:
            raise ConfigurationError(
                f"dead_letter={name_of(dead)}: leave dedup= out; dead letters have the ids of their events, and two "
                "handlers may each leave one"
            )
        return dead
    try:
        dead = queue.sibling(DEAD)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; pass dead_letter=, a queue or a URL, for dead letters") from None
    dead.clock = clock
    return dead


def complete(queue: MessageQueue) -> MessageQueue:
    """The opened queue, with what it lacks added around it."""
    has_all = Capability.DELAY in queue.capabilities or isinstance(queue, SwitchQueue)  # its routes have what they lack
    return queue if has_all else DelayedQueue(queue)


def places(queue: MessageQueue) -> list[Place]:
    """The queue, or the routes that it switches between."""
    inner = queue
    while isinstance(inner, QueueAround):
        inner = inner.inner
    if not isinstance(inner, SwitchQueue):
        return [Place(queue)]  # with what is added around it
    return [Place(one, f"route {name!r}, ") for name, one in inner.routes.items()]


@frozen
class Place:
    """One queue in which events may be. what: of a switch, which route it is, for an error to begin with."""

    queue: MessageQueue
    what: str = ""

    def __str__(self) -> str:
        return f"{self.what}{name_of(self.queue)}"

    @property
    def waived(self) -> Order | None:
        """What `?order=` says."""
        return self.queue.url.order if self.queue.url is not None else None

    @property
    def keeps_order(self) -> bool:
        """Whether it keeps order by key, or was told that less will do."""
        return Capability.KEYED in self.queue.capabilities or self.waived in {"process", "none"}


@frozen
class Needs:
    """What the handlers need of a queue."""

    handlers: Handlers
    unhandled: Unhandled

    def check(self, queue: MessageQueue) -> None:
        """Raise ConfigurationError, naming queue, handler and the ways out, where the queue can't do it."""
        for place in places(queue):
            if self.unhandled == "skip" and Capability.GROUPS not in place.queue.capabilities:
                raise ConfigurationError(
                    f"unhandled='skip' on {place} would lose events: it has no consumer groups, so nobody else "
                    "would see them. Use 'retry' or 'dead_letter'"
                )
            if not place.keeps_order:
                self._check_order(place)

    def _check_order(self, place: Place) -> None:
        for handler in self.handlers.all:
            if handler.order == "key" and handler.spec is not None and handler.spec.key is not None:
                raise ConfigurationError(_keyed(place, handler))


def _keyed(place: Place, handler: Handler) -> str:
    return (
        f"handler {handler.name!r} takes {handler.pattern} in order by key, and {place} keeps no order by key "
        "between processes. Choose a queue that is KEYED, or say that less will do: order='process' (order within "
        "each process) or order='none' in on(), or ?order=process or ?order=none on the queue's URL"
    )


def key_of(queue: MessageQueue, handlers: Handlers) -> Callable[[Message], str | None]:
    """The key by which a message takes its turn in this process."""
    if all(place.waived == "none" for place in places(queue)):
        return lambda message: None
    if all(handler.order != "none" for handler in handlers.all):
        return _ProcessOrder(queue, handlers) if Capability.KEYED not in queue.capabilities else lambda m: m.key
    orders: dict[str, bool] = {}

    def key(message: Message) -> str | None:
        if message.key is None:
            return None
        ordered = orders.get(message.type)
        if ordered is None:
            ordered = order_of([handler.order for handler in handlers.of(message.type)]) != "none"
            if len(orders) < _MAX_KNOWN:
                orders[message.type] = ordered
        return message.key if ordered else None

    return key


class _ProcessOrder:
    """Order within this process only; says so once for each type that came with a key nobody declared."""

    def __init__(self, queue: MessageQueue, handlers: Handlers) -> None:
        self._name = name_of(queue)
        waived = all(place.keeps_order for place in places(queue))
        self._known = {h.pattern for h in handlers.all if h.order != "key" or waived}
        self._waived = waived

    def __call__(self, message: Message) -> str | None:
        if message.key is not None and not self._waived and message.type not in self._known:
            self._warn(message.type)
        return message.key

    def _warn(self, type_name: str) -> None:
        if len(self._known) < _MAX_KNOWN:  # types come from outside; what is remembered of them is bounded
            self._known.add(type_name)
            log.warning(
                "events of type %s have keys, and %s keeps their order only within each process",
                type_name, self._name, extra={"event_type": type_name, "queue": self._name},
            )  # fmt: skip


def make_composer(queue: MessageQueue, settings: Settings, clock: Clock) -> Composer:
    """What makes messages for this queue. By reference only where a dead letter is never encoded either."""
    dead = settings.dead_letter
    spills = settings.degradation is not None and settings.degradation.spill is not None
    stays_here = dead is None or (isinstance(dead, MessageQueue) and Capability.LOCAL in dead.capabilities)
    return Composer(
        clock,
        settings.source,
        queue.limits,
        by_reference=Capability.LOCAL in queue.capabilities and not settings.middleware and stays_here and not spills,
        on_dispatch=[change for m in settings.middleware if (change := getattr(m, "on_dispatch", None))],
    )


@frozen
class PoolMaker:
    """Makes the pool for an opened queue and its dead letters."""

    settings: Settings
    handlers: Handlers
    clock: Clock
    send: Send
    workers: int

    def __call__(self, queue: MessageQueue, dead: MessageQueue) -> Pool:
        """A pool, not running yet."""
        settings = self.settings
        longest = settings.handler_timeout
        pool = PoolSettings(
            workers=self.workers,
            prefetch=settings.prefetch,
            timeout=min((handler.timeout or longest for handler in self.handlers.all), default=longest),
            hold=settings.hold if Capability.KEYED in queue.capabilities else float("inf"),
            key_of=key_of(queue, self.handlers),
            mark=partial(_mark, queue),
        )
        return Pool(queue, dead, self.router(queue), self.clock, pool)

    def router(self, queue: MessageQueue) -> Router:
        """From deliveries to handlers."""
        settings = self.settings
        make = partial(
            Step.of, retry=settings.retry, timeout=settings.handler_timeout, middleware=settings.middleware,
            send=self.send,
        )  # fmt: skip
        return Router(
            self.handlers, make, self.clock,
            default=settings.retry, unhandled=settings.unhandled, queue=name_of(queue),
        )  # fmt: skip


def _mark(queue: MessageQueue, delivery: Delivery, letter: Message) -> Message:
    """Note on a dead letter where it died. Its data are JSON, on an in-process queue too: they are there to be read."""
    queue = queue.home_of(delivery)
    letter, url = read(letter, None), queue.url
    assert letter.dead is not None
    origin = url.name if url is not None else name_of(queue)
    group = (url.group if url is not None else None) or ""
    return evolve(letter, dead=evolve(letter.dead, origin=origin, position=queue.position_of(delivery), group=group))
