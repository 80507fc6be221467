"""Which handlers `on` takes, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NoReturn, assert_type

from notification import Context, EventDispatcher, Message, Reject, RetryPolicy, event


class Shipment:
    """What both events are."""

    order_id: str


@event("order.shipped", key="order_id")
class Shipped(Shipment):
    """One event."""

    order_id: str


@event("order.returned")
class Returned(Shipment):
    """Another."""

    order_id: str


dispatcher = EventDispatcher()


# -- a handler keeps its type


@dispatcher.on(Shipped)
async def tell(shipped: Shipped) -> None:
    """Async, with the event alone."""


@dispatcher.on(Shipped, name="count", retry=RetryPolicy(attempts=1), timeout=5, order="none")
def count(shipped: Shipped) -> None:
    """Plain."""


@dispatcher.on(Shipped)
async def tell_once(shipped: Shipped, ctx: Context) -> None:
    """With the context."""


@dispatcher.on(Shipped)
def count_once(shipped: Shipped, ctx: Context) -> None:
    """Plain, with the context."""


# Not assert_type: to mypy a function is no Callable, and to pyright what it returns no Coroutine but a CoroutineType.
tell_as_it_was: Callable[[Shipped], Coroutine[Any, Any, None]] = tell
count_as_it_was: Callable[[Shipped], None] = count
tell_once_as_it_was: Callable[[Shipped, Context], Coroutine[Any, Any, None]] = tell_once
count_once_as_it_was: Callable[[Shipped, Context], None] = count_once


async def handlers_are_functions_still() -> None:
    """As tests call them."""
    assert_type(await tell(Shipped("A-1")), None)
    await tell(shipped=Shipped("A-1"))
    count(shipped=Shipped("A-1"))
    await tell(returned=Shipped("A-1"))  # type: ignore[call-arg]  # its parameter has another name
    await tell(Returned("A-1"))  # type: ignore[arg-type]  # another event
    await tell_once(Shipped("A-1"))  # type: ignore[call-arg]  # its context is missing
    await count(Shipped("A-1"))  # type: ignore[misc]  # it is not async


# -- handlers of more than the event


def note(shipment: Shipment) -> None:
    """Of the base class."""


async def either(shipment: Shipped | Returned, ctx: Context) -> None:
    """Of two events."""


def anything(what: object) -> None:
    """Of all."""


noted = dispatcher.on(Shipped)(note)
noted(shipment=Shipment())
noted(Returned("A-1"))
dispatcher.on(Shipped)(dispatcher.on(Returned)(note))
dispatcher.on(Shipped)(dispatcher.on(Returned)(either))
dispatcher.on(Shipped)(dispatcher.on("parcel.*")(anything))


@dispatcher.on(Shipped)
@dispatcher.on(Returned)
async def both(shipment: Shipment) -> None:
    """Two of them above one function."""


async def both_is_a_function_still() -> None:
    """Of either event."""
    await both(Shipped("A-1"))
    await both(Returned("A-1"))


# -- other callables


class Mailer:
    """Has handlers."""

    async def mail(self, shipped: Shipped) -> None:
        """A method."""

    def __call__(self, shipped: Shipped, ctx: Context) -> None:
        """And is one."""

    @staticmethod
    async def post(shipped: Shipped) -> None:
        """A static one."""


async def mail_from(sender: str, shipped: Shipped, *, subject: str) -> None:
    """To be bound to its first argument."""


def logged(handler: Callable[[Shipped], Awaitable[None]]) -> Callable[[Shipped], Awaitable[None]]:
    """A decorator of somebody else's."""
    return handler


async def with_options(shipped: Shipped, ctx: Context, sender: str = "us") -> None:
    """What has a default need not be given."""


async def always_rejects(shipped: Shipped) -> NoReturn:
    """Never comes back."""
    raise Reject("no")


seen: list[Shipped] = []
dispatcher.on(Shipped)(Mailer().mail)
dispatcher.on(Shipped)(Mailer())
dispatcher.on(Shipped)(Mailer.post)
dispatcher.on(Shipped)(partial(mail_from, "us", subject="shipped"))
dispatcher.on(Shipped)(logged(tell))
dispatcher.on(Shipped)(with_options)
dispatcher.on(Shipped)(always_rejects)
dispatcher.on(Shipped)(seen.append)
dispatcher.on(Shipped)(lambda shipped: print(shipped.order_id))  # pyright: ignore  # strict, it wants a def: types
dispatcher.on(Shipped)(lambda shipped, ctx: print(ctx.attempt))  # pyright: ignore  # strict, it wants a def: types


# -- patterns


@dispatcher.on("parcel.*")
async def archive(message: Message) -> None:
    """Gets the message."""


@dispatcher.on("parcel.*")
async def archive_once(message: Message, ctx: Context) -> None:
    """And the context."""


archive_as_it_was: Callable[[Message], Coroutine[Any, Any, None]] = archive


# -- what is no handler


async def of_returned(returned: Returned) -> None:
    """Of the other event."""


async def of_returned_with_context(returned: Returned, ctx: Context) -> None:
    """Of the other event."""


async def of_nothing() -> None:
    """Takes no event."""


async def of_three(shipped: Shipped, ctx: Context, sender: str) -> None:
    """Who should give the third?"""


async def of_a_wrong_second(shipped: Shipped, sender: str) -> None:
    """Who should give that?"""


async def of_a_keyword(shipped: Shipped, *, sender: str) -> None:
    """Who should give that?"""


def returns(shipped: Shipped) -> int:
    """A number that goes nowhere."""
    return 1


async def returns_a_signal(shipped: Shipped) -> Reject:
    """It has to be raised."""
    return Reject("no")


def yields(shipped: Shipped) -> Iterator[int]:
    """Nobody iterates."""
    yield 1


dispatcher.on(Shipped)(of_returned)  # type: ignore[arg-type]  # of another event
dispatcher.on(Shipped)(of_returned_with_context)  # type: ignore[arg-type]  # of another event
dispatcher.on(Shipped)(Mailer.mail)  # type: ignore[arg-type]  # a method without its object
dispatcher.on(Shipment)(tell)  # type: ignore[arg-type]  # a base class may be another event
dispatcher.on("order.*")(tell)  # type: ignore[arg-type]  # a pattern's handler gets the Message
dispatcher.on(Shipped)(archive)  # type: ignore[arg-type]  # the handler of a class gets the event
dispatcher.on(Shipped)(of_nothing)  # type: ignore[arg-type]  # takes no event
dispatcher.on(Shipped)(of_three)  # type: ignore[arg-type]  # nobody gives the third
dispatcher.on(Shipped)(of_a_wrong_second)  # type: ignore[arg-type]  # the second is a Context
dispatcher.on(Shipped)(of_a_keyword)  # type: ignore[arg-type]  # nobody gives that
dispatcher.on(Shipped)(returns)  # type: ignore[type-var]  # what it returns goes nowhere
dispatcher.on(Shipped)(returns_a_signal)  # type: ignore[type-var]  # a signal is raised
dispatcher.on(Shipped)(yields)  # type: ignore[type-var]  # a generator does nothing
dispatcher.on(Shipped)(Shipped("A-1"))  # type: ignore[call-overload]  # no function
dispatcher.on(Shipped("A-1"))  # type: ignore[call-overload]  # an event, not its class
dispatcher.on(Shipped, 3)  # type: ignore[call-overload]  # settings have names
dispatcher.on(Shipped, retries=3)  # type: ignore[call-overload]  # it is retry=
dispatcher.on(Shipped, retry=3)  # type: ignore[call-overload]  # a policy, not a number
dispatcher.on(Shipped, order="strict")  # type: ignore[call-overload]  # none of the three
dispatcher.on(tell)  # type: ignore[call-overload]  # of which event?
