"""What `@event` makes of a class, and what dispatch takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import assert_type

import attrs

from notification import Context, Dispatched, EventDispatcher, Message, QueueStats, StopReport, event

# -- a plain class becomes attrs.frozen


@event("order.shipped", key="account_id", version=2)
class Shipped:
    """An event."""

    account_id: int
    order_id: str = "?"
    parcels: list[str] = attrs.field(factory=list[str])


shipped = Shipped(7, order_id="A-1", parcels=["P-1"])
assert_type(shipped, Shipped)
assert_type(shipped.account_id, int)
assert_type(shipped.parcels, list[str])

Shipped()  # type: ignore[call-arg]  # account_id is missing
Shipped("7")  # type: ignore[arg-type]  # no int
Shipped(7, 8)  # type: ignore[arg-type]  # no str
Shipped(7, "A-1", [], 9)  # type: ignore[call-arg]  # one too many
Shipped(7, colour="red")  # type: ignore[call-arg]  # no such field
shipped.account_id = 8  # type: ignore[misc]  # events are values
_ = shipped.colour  # type: ignore[attr-defined]  # no such field


# -- attrs classes and dataclasses keep what they are


@event("account.opened")
@attrs.frozen(kw_only=True)
class Opened:
    """An attrs class."""

    account_id: int
    limit: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))


@event("account.closed")
@dataclasses.dataclass(frozen=True, slots=True)
class Closed:
    """A dataclass."""

    account_id: int
    reasons: dict[str, int] = dataclasses.field(default_factory=dict[str, int])


@event("account.closed.by_us")
class ClosedByUs(Closed):
    """One that inherits."""

    employee: str = ""


opened = Opened(account_id=7, limit=1.5)
closed = Closed(7, {"fraud": 1})
assert_type(opened, Opened)
assert_type(dataclasses.replace(closed, account_id=8), Closed)
assert_type(ClosedByUs(7, employee="E-1").employee, str)

Opened(limit=1.5)  # type: ignore[call-arg]  # account_id is missing
Closed(account_id="7")  # type: ignore[arg-type]  # no int
ClosedByUs(7, employee=3)  # type: ignore[arg-type]  # no str
closed.account_id = 8  # type: ignore[misc]  # events are values


# -- the decorator's own arguments


@event()  # type: ignore[call-arg]  # an event has a name
class Nameless:
    """No event."""


@event("no.such.setting", keys="account_id")  # type: ignore[call-arg]  # it is key=
class Misspelled:
    """No event."""


@event  # type: ignore[arg-type]  # mypy only: pyright asks nothing of a decorator of classes without a call
class Undecided:
    """No event."""


@event("a.version", version="2")  # type: ignore[arg-type]  # a number
class Versioned:
    """No event."""


# -- dispatch


async def dispatches(dispatcher: EventDispatcher, headers: Mapping[str, str]) -> None:
    """What there is to say of an event."""
    assert_type(await dispatcher.dispatch(shipped), Dispatched)
    assert_type((await dispatcher.dispatch(shipped)).id, str)
    await dispatcher.dispatch(Message(type="parcel.lost", id="1", source="/shop", data={"parcel": 1}))
    await dispatcher.dispatch(shipped, id="1", key="7", delay=30, headers=headers, timeout=None)
    await dispatcher.dispatch(shipped, delay=datetime(2026, 1, 1, tzinfo=UTC))
    assert_type(await dispatcher.dispatch_many([shipped, opened], timeout=5), list[Dispatched])
    await dispatcher.dispatch_many(closed for _ in range(3))
    await dispatcher.dispatch(event=shipped)  # type: ignore[call-arg]  # the event has no name
    await dispatcher.dispatch(shipped, opened)  # type: ignore[call-arg,arg-type]  # that is dispatch_many
    await dispatcher.dispatch(shipped, wait=5)  # type: ignore[call-arg]  # it is timeout=
    await dispatcher.dispatch(shipped, delay="30s")  # type: ignore[arg-type]  # seconds, or a time
    await dispatcher.dispatch(shipped, key=7)  # type: ignore[arg-type]  # a text
    await dispatcher.dispatch(shipped, headers={"priority": 1})  # type: ignore[dict-item]  # texts
    await dispatcher.dispatch_many(shipped)  # type: ignore[arg-type]  # many
    Dispatched("1").id = "2"  # type: ignore[misc]  # a value


def hears(result: Dispatched | Exception) -> None:
    """Told what became of it."""


def hears_only_good_news(result: Dispatched) -> None:
    """Would be surprised."""


def from_a_thread(dispatcher: EventDispatcher) -> None:
    """And from programs without a loop."""
    assert_type(dispatcher.dispatch_soon(shipped), None)
    dispatcher.dispatch_soon(shipped, on_done=hears)
    dispatcher.dispatch_soon(shipped, on_done=print)
    with dispatcher.blocking() as blocking:
        assert_type(blocking.dispatch(shipped, key="7", delay=1.5), Dispatched)
        assert_type(blocking.dispatch_many([shipped, opened]), list[Dispatched])
        blocking.dispatch(shipped, wait=5)  # type: ignore[call-arg]  # it is timeout=
    dispatcher.dispatch_soon(shipped, on_done=hears_only_good_news)  # type: ignore[arg-type]  # it may be an exception
    dispatcher.dispatch_soon(shipped, hears)  # type: ignore[call-arg]  # on_done=
    with dispatcher.blocking() as blocking, blocking:  # type: ignore[attr-defined]  # it is open already
        pass


async def lives(dispatcher: EventDispatcher, ctx: Context) -> None:
    """From start to stop."""
    async with dispatcher as opened_one:
        assert_type(opened_one, EventDispatcher)
        await opened_one.start(workers=5)
        await opened_one.join()
        assert_type(await opened_one.stats(), QueueStats)
        assert_type((await opened_one.health()).ready, bool)
    assert_type(await dispatcher.stop(grace=5), StopReport)
    assert_type(await dispatcher.run(workers=5), StopReport)
    assert_type(ctx.headers, Mapping[str, str])
    assert_type(await ctx.dispatch(shipped, key="7"), Dispatched)
    await ctx.dispatch(shipped, id="1")  # type: ignore[call-arg]  # its id follows from the event's
    ctx.attempt = 3  # type: ignore[misc]  # only read
    await dispatcher.start("5")  # type: ignore[arg-type]  # a number
    with dispatcher:  # type: ignore[attr-defined]  # async with
        pass
