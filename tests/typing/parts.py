"""What goes into a dispatcher: settings, policies, middleware, queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import assert_type

from notification import (
    CallNext,
    Capability,
    Context,
    Delivery,
    EventDispatcher,
    Message,
    MessageQueue,
    Middleware,
    Nack,
    QueueURL,
    RetryPolicy,
    open_queue,
    register_queue,
    wire,
)

# -- policies


class BadAddress(Exception):
    """No retry will make it good."""


RetryPolicy(attempts=8, initial=0.5, factor=2, max=300, jitter=False, fatal=(BadAddress, KeyError), within=3600)
RetryPolicy(attempt=8)  # type: ignore[call-arg]  # it is attempts=
RetryPolicy(attempts="8")  # type: ignore[arg-type]  # a number
RetryPolicy(fatal=BadAddress)  # type: ignore[arg-type]  # a tuple
RetryPolicy(fatal=(BadAddress(),))  # type: ignore[arg-type]  # classes
RetryPolicy().attempts = 3  # type: ignore[misc]  # a value


# -- middleware


async def timed(message: Message, ctx: Context, call_next: CallNext) -> None:
    """A function."""
    await call_next()


async def with_names_of_its_own(m: Message, c: Context, inner: Callable[[], Awaitable[None]]) -> None:
    """They are given by position."""
    await inner()


class Traced:
    """An object that changes what is dispatched, too."""

    def on_dispatch(self, message: Message) -> Message:
        """Called before the push."""
        return message

    async def __call__(self, message: Message, ctx: Context, call_next: CallNext) -> None:
        """Around the handler."""
        await call_next()


async def takes_too_little(message: Message, call_next: CallNext) -> None:
    """No context."""


def is_not_async(message: Message, ctx: Context, call_next: CallNext) -> None:
    """Can't await what is inside."""


traced: Middleware = Traced()
EventDispatcher(middleware=[timed, with_names_of_its_own, traced, Traced()])
EventDispatcher(middleware=(timed,))
EventDispatcher(middleware=timed)  # type: ignore[arg-type]  # a list of them
EventDispatcher(middleware=[takes_too_little])  # type: ignore[list-item]  # three arguments
EventDispatcher(middleware=[is_not_async])  # type: ignore[list-item]  # async
EventDispatcher(middleware=[Traced])  # type: ignore[list-item]  # an instance of it


# -- queues


class Unguarded(MessageQueue):
    """The four methods."""

    capabilities = Capability.LOCAL | Capability.DURABLE

    def __init__(self, url: QueueURL) -> None:
        self.place = url.name

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        """In."""
        assert_type(wire.encode(message), bytes)

    async def pop(self) -> Delivery:
        """Out."""
        return wire.delivery_of(b"{}", None, limits=self.limits)

    async def size(self) -> int:
        """How many."""
        return 0

    async def close(self) -> None:
        """The end."""


class Guarded(Unguarded):
    """More of them."""

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Done."""
        return [delivery for delivery in deliveries if delivery.lost]

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """Back."""
        return [nack.delivery for nack in nacks if nack.delay > 3]


class Unfinished(MessageQueue):
    """Only one of the four."""

    async def size(self) -> int:
        """How many."""
        return 0


class Odd(Unguarded):
    """Breaks the contract."""

    async def push(self, message: Message) -> None:  # type: ignore[override]  # without its timeout
        """In."""

    def size(self) -> int:  # type: ignore[override]  # not async
        """How many."""
        return 0


def made_here(url: QueueURL) -> MessageQueue:
    """A factory."""
    return Guarded(url)


def made_of_text(url: str) -> MessageQueue:
    """No factory: it gets the parsed URL."""
    return Guarded(QueueURL.parse(url))


Unfinished()  # type: ignore[abstract]  # three are missing
register_queue("unguarded", Unguarded)
register_queue("made", made_here, replace=True)
register_queue("mine", made_of_text)  # type: ignore[arg-type]  # it gets a QueueURL
register_queue("mine", dict)  # type: ignore[arg-type]  # no queue
register_queue("mine", Unguarded(QueueURL.parse("my://")))  # type: ignore[arg-type]  # what makes one, not one
assert_type(open_queue("channel://"), MessageQueue)
assert_type(open_queue(QueueURL.parse("channel://")), MessageQueue)

# -- a dispatcher

EventDispatcher("sqlite:///events.db", prefetch=10, handler_timeout=5, grace=1.5, hold=60, source="/shop")
EventDispatcher(Guarded(QueueURL.parse("my://")), dead_letter="sqlite:///dead.db", unhandled="skip")
EventDispatcher().use("sqlite:///events.db")
EventDispatcher(queue=3)  # type: ignore[arg-type]  # a URL or a queue
EventDispatcher(Guarded)  # type: ignore[arg-type]  # an instance of it
EventDispatcher("channel://", RetryPolicy())  # type: ignore[call-arg]  # settings have names
EventDispatcher(workers=5)  # type: ignore[call-arg]  # start() and run() take it
EventDispatcher(unhandled="ignore")  # type: ignore[arg-type]  # none of the three
