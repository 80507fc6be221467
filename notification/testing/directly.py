"""Handlers called as the functions they are, and the context that some of them want."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve

from queues.clock import SYSTEM_CLOCK
from queues.message import DEFAULT_LIMITS, Delivery, Message

from ..composing import Composer, default_source
from ..context import Context
from ..report import Dispatched

_compose = Composer(SYSTEM_CLOCK, default_source(), DEFAULT_LIMITS, by_reference=False, on_dispatch=())


class LooseContext(Context):
    """A `Context` that belongs to no dispatcher: what is dispatched through it is kept, and goes nowhere.

    dispatched: the events, as the handler gave them. messages: the same as they would travel, with id, key, headers
    and `not_before`.
    """

    __slots__ = ("dispatched", "messages")

    def __init__(self, delivery: Delivery, handler: str) -> None:
        super().__init__(delivery, handler, self._keep)
        self.dispatched: list[Any] = []
        self.messages: list[Message] = []

    async def _keep(
        self, event: Any, *, id: str, key: str | None, delay: float | datetime, headers: Mapping[str, str] | None,  # noqa: A002 - the dispatcher's own name for it
    ) -> Dispatched:  # fmt: skip
        message = _compose(event, id=id, key=key, delay=delay, headers=headers)
        self.dispatched.append(event)
        self.messages.append(message)
        return Dispatched(message.id)


def context(
    event: Any = None,
    /,
    *,
    attempt: int = 1,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    id: str | None = None,  # noqa: A002 - the name that CloudEvents and users have for it
    handler: str = "handler",
    lost: bool = False,
) -> LooseContext:
    """A context for calling a handler directly: `await tell_the_customer(shipped, context(shipped, attempt=2))`.

    event: an instance of an `@event` class, or a `Message`; without one the context is of an event of type `test`.
    Everything else is what the handler is to see; None: what the event has. Raises what `dispatch` of that event
    would raise: UnknownEvent, CorruptMessage.
    """
    if event is None:
        event = Message(type="test", id="test-1", source=default_source(), time=SYSTEM_CLOCK.now())
    message = evolve(_compose(event, id=id, key=key, headers=headers), attempt=attempt)
    return LooseContext(Delivery(message, lost=lost), handler)
