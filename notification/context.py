"""What a handler may know about the event it is given, and what can be wrapped around handlers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from queues.message import Delivery, Message

from .report import Dispatched

Send = Callable[..., Awaitable[Dispatched]]
CallNext = Callable[[], Awaitable[None]]
"""What a middleware awaits to have the handler run, or the middleware inside it."""


class Context:
    """A handler's second parameter, optional: the event's id, attempt, headers and key, and a way to dispatch more."""

    __slots__ = ("_delivery", "_message", "_ordinal", "_send", "handler")

    def __init__(self, delivery: Delivery, handler: str, send: Send) -> None:
        self._delivery = delivery
        self._message = delivery.expect()
        self._send = send
        self._ordinal = 0
        self.handler: str = handler
        """The name of the handler that runs."""

    @property
    def id(self) -> str:
        """The event's id: the same in every run, so good as an idempotency key for calls to outside services."""
        return self._message.id

    @property
    def type(self) -> str:
        """The event's type."""
        return self._message.type

    @property
    def attempt(self) -> int:
        """The number of this run: 1 the first time, raised by a retry, not by a crash or a hand-back."""
        return self._message.attempt

    @property
    def headers(self) -> Mapping[str, str]:
        """The event's headers, such as `traceparent`."""
        return self._message.headers

    @property
    def key(self) -> str | None:
        """The key in whose order the event is handled; None: in no order."""
        return self._message.key

    @property
    def time(self) -> datetime:
        """When the event was dispatched, or what its producer said; aware, in UTC."""
        return self._message.time

    @property
    def lost(self) -> bool:
        """Whether the lease ran out: another worker has the event now, and this run's ack will be refused."""
        return self._delivery.lost

    async def dispatch(
        self,
        event: Any,
        /,
        *,
        key: str | None = None,
        delay: float | datetime = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Dispatched:
        """Dispatch an event that follows from this one.

        key, delay, headers: as in `EventDispatcher.dispatch`. Its id is computed from this event's, the handler's name
        and the count of such calls: a run that is repeated dispatches the same ids again, which a queue with `?dedup=`
        refuses. At capacity it raises QueueFull at once: waiting for room would be waiting for oneself.
        """
        self._ordinal += 1
        name = f"{self._message.id}\n{self.handler}\n{self._ordinal}"
        id_ = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return await self._send(event, id=id_, key=key, delay=delay, headers=headers)


@runtime_checkable
class Middleware(Protocol):
    """Wrapped around every run of a handler, the first given outermost: an async function, or an object like one.

    What it raises counts as raised by the handler. A middleware may also have a method
    `on_dispatch(message) -> Message`, called with every message before it is pushed; what that raises is raised by
    `dispatch`.
    """

    async def __call__(self, message: Message, ctx: Context, call_next: CallNext, /) -> None:
        """Do something around `await call_next()`, which runs the handler and raises what it raises.

        message: the event as it travels, its data as JSON; ctx: what the handler may have too. Without `call_next()`
        the handler does not run, and its event counts as handled.
        """
