"""What travels, one hand-out of it, and what is handed back."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, evolve, field, frozen

from .errors import CorruptMessage

CORRUPT_TYPE = "notification.corrupt"
"""The type under which bytes that could not be decoded travel on to the dead letters."""

_EMPTY: Mapping[str, str] = {}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of an event that came without one."""


@frozen
class Limits:
    """Size caps: bytes of a whole event on the wire, bytes of a key, count and bytes of headers."""

    event: int = 256 * 1024
    key: int = 512
    headers: int = 32
    header_bytes: int = 8 * 1024


DEFAULT_LIMITS = Limits()
#: For dead letters: they must take whatever failed elsewhere.
UNLIMITED = Limits(event=1 << 30)


@frozen
class DeadLetter:
    """Why and where an event died.

    reason: one word (`attempts`, `fatal`, `rejected`, `expired`, `unknown`, `corrupt`, `crashed`, …); error: the last
    error as text; handler: the handlers it failed in, comma-separated; attempts: runs it had; time: when it died;
    origin: the queue it died in; position: where in it, as `browse(since=)` takes it, where a queue has positions;
    group: the consumer group, where there are groups.
    """

    reason: str
    error: str = ""
    handler: str = ""
    attempts: int = 0
    time: datetime = EPOCH
    origin: str = ""
    group: str = ""
    position: str = ""


@frozen(kw_only=True, slots=False)  # a frozen class without slots is made in two thirds of the time
class Message:
    """An event on its way: a frozen value with the meaning of a CloudEvents 1.0 event.

    type, id, source: what it is, which one, and where from; time: of the dispatch, aware. data: a JSON value, or
    bytes; on a LOCAL queue the event object itself. key: events with the same key are handled in order. headers:
    CloudEvents extension attributes, lower-case letters and digits. attempt: 1 for the first run, raised by a retry.
    not_before: not handed out earlier. deliveries: hand-outs that ended with their owner's death, on queues that keep
    the count in the event. handlers: who is still to run; empty: everyone. group: the only consumer group it is for.
    version: of the event's class. partition: of a queue that has them. first_error: of the first failed run. dead: on
    dead letters only.
    """

    type: str
    id: str
    source: str
    data: Any = None
    time: datetime = EPOCH
    key: str | None = None
    headers: Mapping[str, str] = _EMPTY
    attempt: int = 1
    not_before: datetime | None = None
    deliveries: int = 0
    handlers: tuple[str, ...] = ()
    group: str | None = None
    version: int = 1
    partition: int | None = None
    first_error: str = ""
    dead: DeadLetter | None = None
    wire: bytes | None = field(default=None, init=False, eq=False, repr=False)
    """The encoded form, once `queues.wire.encode` has made it."""

    def pristine(self) -> Message:
        """The event as it was dispatched: without the marks of retries, deaths and dead letters."""
        return evolve(
            self, attempt=1, not_before=None, deliveries=0, handlers=(), group=None, first_error="", dead=None
        )


def about(message: Message, **more: object) -> dict[str, object]:
    """The `extra` of a log record on this event: which one it is, and never what is in it, nor its key."""
    return {"event_id": message.id, "event_type": message.type, "attempt": message.attempt, **more}


@define(eq=False)
class Delivery:
    """One hand-out of a message; compared by identity.

    message: None when the bytes could not be decoded; then `raw` holds them and `error` says why.
    receipt: the queue's own, new for every hand-out. times: hand-outs since the last settle, this one included,
    counted before the handler runs; a hand-back does not count. size: bytes on the wire, 0 where there are none.
    lost: its lease ran out and it is another owner's now; settling it is refused. running: a thread that nothing can
    stop still works on it: `close()` leaves it to its lease. source: which of its queues it came from, where a queue is
    made of several.
    """

    message: Message | None
    receipt: Any = None
    times: int = 1
    raw: bytes = b""
    error: CorruptMessage | None = None
    size: int = 0
    lost: bool = False
    running: bool = False
    source: str | None = None

    def expect(self) -> Message:
        """The message; for corrupt bytes, a message of type `notification.corrupt` that carries them."""
        if self.message is not None:
            return self.message
        return Message(
            type=CORRUPT_TYPE,
            id=f"corrupt-{binascii.crc32(self.raw):08x}-{len(self.raw)}",
            source="/unknown",
            data=self.raw,
        )


@frozen(eq=False)
class Nack:
    """Hand `delivery` back: due again after `delay` seconds, as `message` if one is given, else unchanged."""

    delivery: Delivery
    delay: float = 0.0
    message: Message | None = None
