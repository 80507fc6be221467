"""The contract of a queue: four methods to write, and working defaults for everything else."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from attrs import frozen

from .clock import SYSTEM_CLOCK, Clock
from .errors import ConfigurationError, PushFailed, QueueError, QueueFull, Unsupported
from .message import DEFAULT_LIMITS, Delivery, Limits, Message, Nack

if TYPE_CHECKING:
    from .url import QueueURL


class Capability(enum.Flag):
    """What a queue promises. The conformance suite proves each one that is declared."""

    ACK = enum.auto()
    """A delivery that was not settled comes back after its owner died."""
    DELAY = enum.auto()
    """`Message.not_before` and `Nack.delay` are honoured, however long, as durably as the queue keeps anything."""
    KEYED = enum.auto()
    """While an owner (one opened queue) holds unsettled deliveries of a key, no other owner gets that key."""
    DURABLE = enum.auto()
    """What `push` accepted survives a restart of everything."""
    GROUPS = enum.auto()
    """Several consumer groups, each of which sees every event."""
    LOCAL = enum.auto()
    """Events travel by reference, unencoded, inside this process."""


NO_CAPABILITY = Capability(0)


@frozen
class QueueStats:
    """How a queue stands. None: this queue can't say.

    waiting: not yet handed out; in_flight: handed out, unsettled; delayed: not due yet; dead: in the dead-letter
    sibling; oldest_age: seconds since the time of the oldest waiting event; settled: events that have left it for good
    since it exists, a number that only grows: what it grew by in a second is the rate at which events are handled.
    """

    waiting: int
    in_flight: int | None = None
    delayed: int | None = None
    dead: int | None = None
    oldest_age: float | None = None
    settled: int | None = None


class Opener(Protocol):
    """Makes a queue of a URL, not open yet."""

    def __call__(self, url: QueueURL, /) -> MessageQueue:
        """Raises ConfigurationError."""
        ...


class MessageQueue(ABC):
    """Messages in, deliveries out. One opened instance is one *owner* of what it was handed.

    A plugin writes `push`, `pop`, `size` and `close`. Every other method has a default that works on those four;
    override one for a guarantee (and declare its capability) or for speed. All methods are called from one event
    loop. Queues raise `QueueError`s and nothing else.
    """

    capabilities: Capability = NO_CAPABILITY
    """Final once `open()` has returned."""
    capacity: int | None = None
    """The most waiting events `push` accepts; None: unbounded. Never applies to nack, release or reclaim."""
    lease: float | None = None
    """Seconds after which unsettled deliveries of a silent owner go to others; None: no lease. `extend` renews it."""
    url: QueueURL | None = None
    """Where it was opened from; set by `open_queue`. Siblings (dead letters) are found by it."""
    limits: Limits = DEFAULT_LIMITS
    """Size caps, applied when decoding."""
    clock: Clock = SYSTEM_CLOCK
    """Set before `open()`, if at all."""

    #: The most bytes one `pop_many` should hand out, a guide for backends.
    BATCH_BYTES: ClassVar[int] = 1 << 20
    #: Set by the registry, which knows all queues and stands above this file.
    opener: ClassVar[Opener | None] = None

    # -- the four a plugin writes

    @abstractmethod
    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        """Store one message; returns once it is accepted.

        At capacity it waits up to `timeout` seconds (None: for ever, 0: not at all), then raises QueueFull.
        Raises QueueUnavailable, whose `may_have_been_stored` tells whether the result is unknown.
        """

    @abstractmethod
    async def pop(self) -> Delivery:
        """Wait for the next message and take it.

        Cancel-safe: after a cancelled pop the message is handed to the next pop, or was never taken.
        Raises QueueClosed once the queue is closed, to waiters too.
        """

    @abstractmethod
    async def size(self) -> int:
        """How many messages wait, not yet handed out and due."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything and wake whoever waits, with QueueClosed. Idempotent.

        With ACK, what was handed out and not settled goes back, uncounted; deliveries marked `running` stay leased.
        """

    # -- working defaults

    async def open(self) -> None:
        """Connect for pushing. Consuming begins with the first pop. Raises ConfigurationError, QueueUnavailable."""

    async def begin(self) -> None:
        """Workers are about to pop: say now what is missing for that, and begin what takes a while.

        Idempotent; a pop without it works too. Raises ConfigurationError, QueueUnavailable.
        """

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        """Store many `messages`, in order; `timeout` as in `push`.

        Raises PushFailed naming those that were not stored; the others are in. Of what is behind the first one that
        finds no room nothing is stored: it would overtake that one.
        """
        errors: dict[int, QueueError] = {}
        for index, message in enumerate(messages):
            try:
                await self.push(message, timeout=timeout)
            except QueueFull as full:
                errors |= dict.fromkeys(range(index, len(messages)), full)
                break
            except QueueError as error:
                errors[index] = error
        if errors:
            raise PushFailed(errors)

    async def pop_many(self, limit: int) -> list[Delivery]:
        """Between one and `limit` deliveries: waits for the first, never to fill the batch.

        A queue may return an empty list after about a second with none. About 1 MiB at most. Cancel-safe like pop.
        """
        return [await self.pop()]

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Done with these deliveries. Returns those that were no longer ours, and leaves them alone. Idempotent."""
        return []

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """Hand back: each of `nacks` after its `delay`, as its `message` if it has one. Returns those no longer ours.

        Never blocked by capacity (this default raises PushFailed at once, which a DelayedQueue around it makes good).
        With KEYED a nacked delivery holds its key until it is handed out again.
        """
        await self.push_many([nack.message or nack.delivery.expect() for nack in nacks], timeout=0)
        return []

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """These deliveries were not started: back to the head, in order, unchanged, this hand-out not counted."""
        await self.push_many([delivery.expect() for delivery in deliveries], timeout=0)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """Of each of the pairs push the message to the queue `to`, then ack the delivery. Returns those no longer ours.

        One transaction where both are one store. What could not be pushed is not acked; then it raises. In another
        store `to` must not have `?dedup=`: what it takes for a repetition would be gone.
        """
        failed: PushFailed | None = None
        try:
            await to.push_many([message for _, message in pairs])
        except PushFailed as error:
            failed = error
        refused = failed.errors if failed is not None else {}
        lost = await self.ack_many([delivery for i, (delivery, _) in enumerate(pairs) if i not in refused])
        if failed is not None:
            raise failed
        return lost

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew the lease of these deliveries. Returns those that were already lost."""
        return []

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """About to run these: if we die now, count them. Returns those already lost.

        Called only for deliveries whose `times` is 2 or more.
        """
        return []

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        """Up to `limit` waiting deliveries that match, in order, for work on dead letters. Does not wait.

        The default makes one pass over what waits now and releases the others in order.
        """
        taken: list[Delivery] = []
        others: list[Delivery] = []
        todo = await self.size()
        while todo > 0 and len(taken) < limit:
            batch = await self.pop_many(min(todo, 500))
            if not batch:
                break
            todo -= len(batch)
            for delivery in batch:
                wanted = len(taken) < limit and delivery.message is not None and match(delivery.message)
                (taken if wanted else others).append(delivery)
        if others:
            await self.release(others)
        return taken

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """Look at what waits and take nothing. `since`: a time, or this queue's own position as text.

        `follow` goes on with what arrives. Raises Unsupported where a queue can only be consumed.
        """
        raise Unsupported(f"{type(self).__name__} can't be browsed: its messages can only be taken")

    def sibling(self, suffix: str) -> MessageQueue:
        """The queue beside this one that is called like it with `.suffix` behind, not open yet: by URL.

        Raises ConfigurationError for a queue that was not opened by URL, and has no siblings of its own.
        """
        if self.url is None or MessageQueue.opener is None:
            raise ConfigurationError(f"{name_of(self)} was not opened by URL, so it has no sibling {suffix!r}")
        return MessageQueue.opener(self.url.sibling(suffix))

    def home_of(self, delivery: Delivery) -> MessageQueue:
        """The queue that this `delivery` came from: this one, or the one of several that this one is made of."""
        return self

    def volatile(self) -> list[MessageQueue]:
        """What of this queue is gone with the process: itself where it is LOCAL, or some of those it is made of."""
        return [self] if Capability.LOCAL in self.capabilities else []

    def position_of(self, delivery: Delivery) -> str:
        """Where in the queue this `delivery` is, as `browse(since=)` takes it; "" where there are no positions."""
        return ""

    async def stats(self) -> QueueStats:
        """How the queue stands, counted now. Never called on a hot path."""
        return QueueStats(waiting=await self.size())

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def name_of(queue: MessageQueue) -> str:
    """A queue as an error or a log line names it: its URL without secrets, or its own `name`, or else its class."""
    while queue.url is None and isinstance(inner := getattr(queue, "inner", None), MessageQueue):
        queue = inner
    if queue.url is not None:
        return str(queue.url)
    return name if isinstance(name := getattr(queue, "name", None), str) else type(queue).__name__
