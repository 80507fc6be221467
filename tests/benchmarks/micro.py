"""What each stage of an event's way costs, in microseconds, on one core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from notification.composing import Composer
from notification.event import spec_of
from notification.handlers import Handler, Handlers, Step
from notification.report import Dispatched
from notification.routing import Router
from queues import Delivery, Message
from queues.channel import ChannelQueue
from queues.clock import SYSTEM_CLOCK
from queues.message import DEFAULT_LIMITS
from queues.wire import decode, encode
from workers.desk import Desk
from workers.inbox import Inbox
from workers.lease import Held
from workers.outcome import DONE
from workers.retry import RetryPolicy
from workers.settle import Settler
from workers.threads import WorkerThread

from .load import KeyedShipped, Load

_ROUNDS, _CALLS = 5, 20_000


async def stages() -> dict[str, float]:
    """The best of five rounds, in microseconds a call."""
    event = Load("channel://", 1, keyed=True).event(1)
    spec = spec_of(event)
    compose = Composer(SYSTEM_CLOCK, "/bench", DEFAULT_LIMITS, by_reference=False, on_dispatch=())
    refer = Composer(SYSTEM_CLOCK, "/bench", DEFAULT_LIMITS, by_reference=True, on_dispatch=())
    message = compose(event)
    raw, data = encode(message), spec.codec.encode(event)
    return {
        "event → JSON value (unstructure)": best(lambda: spec.codec.encode(event)),
        "compose, by reference": best(lambda: refer(event)),
        "compose and encode": best(lambda: compose(event)),
        "decode the wire form": best(lambda: decode(raw)),
        "JSON value → event (structure)": best(lambda: spec.codec.decode(data)),
        "lanes: in, out, next": best(_lanes(message)),
        "route, structure and call the handler": await best_async(_routed(message)),
        "settle: decide": best(_settled(message)),
        "channel: push, pop, ack": await best_async(_channel(message)),
    }


def best(call: Callable[[], object]) -> float:
    """Microseconds a call."""
    return min(_timed(call) for _ in range(_ROUNDS)) * 1e6 / _CALLS


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return time.perf_counter() - began


async def best_async(call: Callable[[], Awaitable[object]]) -> float:
    """Microseconds a call of something that is awaited."""
    fastest = float("inf")
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_CALLS):
            await call()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest * 1e6 / _CALLS


def _inbox() -> Inbox:
    return Inbox(SYSTEM_CLOCK, lambda message: message.key)


def _lanes(message: Message) -> Callable[[], object]:
    inbox = _inbox()
    delivery = Delivery(message)

    def go() -> None:
        inbox.lanes.add(delivery)
        inbox.take()
        inbox.lanes.next(delivery)

    return go


def _routed(message: Message) -> Callable[[], Awaitable[object]]:
    async def handle(event: KeyedShipped) -> None:
        pass

    async def send(*_: object, **__: object) -> Dispatched:
        return Dispatched("1")

    spec = spec_of(Load("", 1, keyed=True).event(1))
    handlers = Handlers()
    handlers.add(Handler.of(handle, spec.name, spec, name=None, retry=None, timeout=None, order="key"))
    make = partial(Step.of, retry=RetryPolicy(), timeout=300.0, middleware=(), send=send)
    router = Router(handlers, make, SYSTEM_CLOCK, default=RetryPolicy(), unhandled="retry")
    desk, delivery = Desk(WorkerThread("bench")), Delivery(message)
    return lambda: router.run(delivery, desk)


def _settled(message: Message) -> Callable[[], object]:
    queue, inbox = ChannelQueue(), _inbox()
    settler = Settler(
        queue, queue, inbox.lanes, Held(), SYSTEM_CLOCK, hold=60, mark=lambda _, letter: letter, progress=lambda: None
    )
    delivery = Delivery(message)
    return lambda: settler.add(delivery, DONE)


def _channel(message: Message) -> Callable[[], Awaitable[object]]:
    queue = ChannelQueue()

    async def go() -> None:
        await queue.push(message)
        await queue.ack_many(await queue.pop_many(1))

    return go


def run() -> dict[str, float]:
    """All stages."""
    return asyncio.run(stages())
