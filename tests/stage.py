"""Where the tests of pool and dispatcher play: queues that can be broken, and waiting for states."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

from notification import EventDispatcher, StopReport, event
from queues.base import MessageQueue, QueueStats
from queues.clock import ManualClock
from queues.errors import QueueUnavailable
from queues.message import Delivery, Message, Nack
from queues.registry import register_queue
from queues.url import QueueURL
from tests.reference_queue import ReferenceQueue, Store

PATIENCE = 20.0
"""Seconds in which a state that must come has come, on the slowest machine."""


@event("stage.parcel", key="account")
class Parcel:
    """An event with a key."""

    account: int
    number: int = 0


@event("stage.note")
class Note:
    """An event without one."""

    text: str = ""


# -- waiting


async def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until the condition, or what it awaits, is true, and return it."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while True:
        seen = condition()
        if inspect.isawaitable(seen):
            seen = await seen
        if seen:
            return seen
        assert asyncio.get_running_loop().time() < end, f"never came true: {what or inspect.getsource(condition)}"
        await asyncio.sleep(0.001)


async def turns(count: int = 50) -> None:
    """Let the event loop go round, so that whatever can happen without time passing has happened."""
    for _ in range(count):
        await asyncio.sleep(0)


async def passing(clock: ManualClock, awaitable: Awaitable[Any], step: float = 0.5) -> Any:
    """The result of something that takes time on the clock, which moves on until it is there."""
    task = asyncio.ensure_future(awaitable)
    end = asyncio.get_running_loop().time() + PATIENCE
    while not task.done():
        assert asyncio.get_running_loop().time() < end, "the clock moves on and nothing happens"
        await asyncio.wait([task], timeout=0.002)
        if not task.done():
            await clock.advance(step)
    return task.result()


async def stopped(
    dispatcher: EventDispatcher, clock: ManualClock, grace: float = 30.0, quarter: float = 0.001
) -> StopReport:
    """Stop while the clock moves on: to the last call, when handlers are cut off, and, if need be, to the deadline.

    It stands still for a while at the beginning and at the last call, since a real disk takes real time. quarter: real
    seconds that a quarter of a second takes in between, at least.
    """
    stopping = asyncio.ensure_future(dispatcher.stop(grace=grace))
    last_call = clock.monotonic() + grace - min(grace / 2, max(1.0, grace / 10))
    await asyncio.wait([stopping], timeout=0.1)
    while not stopping.done() and clock.monotonic() < last_call:
        await clock.advance(min(0.25, last_call - clock.monotonic()))
        await asyncio.wait([stopping], timeout=quarter)
    await asyncio.wait([stopping], timeout=1.0)
    report: StopReport = await passing(clock, stopping, 0.25)
    return report


# -- queues


_stores: dict[tuple[tuple[str, ...], str], Store] = defaultdict(Store)


def _reference(url: QueueURL) -> ReferenceQueue:
    queue = ReferenceQueue(_stores[url.hosts, url.name], capacity=int(url.options.get("capacity", 0)) or None)
    queue.lease = float(url.options.get("lease", "30"))
    return queue


register_queue("reference", _reference)
"""`reference://store`: a queue with ACK, KEYED, DELAY and DURABLE whose owners share a store of this process."""


class Breakable(MessageQueue):
    """A queue around a queue, whose methods fail while they are named in `broken`, and are written down in `calls`."""

    def __init__(self, inner: MessageQueue, error: Exception | None = None) -> None:
        self.inner = inner
        self.broken: set[str] = set()
        self.calls: list[tuple[str, Any]] = []
        self.error = error or QueueUnavailable("the cable is out")
        self.url, self.capacity, self.lease = inner.url, inner.capacity, inner.lease
        self.capabilities, self.limits = inner.capabilities, inner.limits

    def _called(self, name: str, what: Any = None) -> None:
        self.calls.append((name, what))
        if name in self.broken:
            raise self.error

    async def open(self) -> None:
        self.inner.clock = self.clock
        self._called("open")
        await self.inner.open()
        self.capabilities = self.inner.capabilities

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        self._called("push", message)
        await self.inner.push(message, timeout=timeout)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._called("push", messages)
        await self.inner.push_many(messages, timeout=timeout)

    async def pop(self) -> Delivery:
        return (await self.pop_many(1))[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._called("pop", limit)
        return await self.inner.pop_many(limit)

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._called("ack", list(deliveries))
        return await self.inner.ack_many(deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        self._called("nack", list(nacks))
        return await self.inner.nack_many(nacks)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._called("release", list(deliveries))
        await self.inner.release(deliveries)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        self._called("move", list(pairs))
        return await super().move_many(pairs, to)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._called("extend", list(deliveries))
        return await self.inner.extend(deliveries)

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._called("started", list(deliveries))
        return await self.inner.started(deliveries)

    async def size(self) -> int:
        self._called("size")
        return await self.inner.size()

    async def stats(self) -> QueueStats:
        self._called("stats")
        return await self.inner.stats()

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        return self.inner.browse(since=since, follow=follow)

    async def close(self) -> None:
        await self.inner.close()

    def count(self, name: str) -> int:
        """How often a method was called."""
        return sum(called == name for called, _ in self.calls)


def address(home: str, tmp_path: Path) -> str:
    """The URL of a queue of this kind that nobody else uses."""
    if home == "sqlite":
        return f"sqlite:///{tmp_path / 'events.db'}"
    return f"{home}://" + (tmp_path.name.replace("[", "-").replace("]", "-") if home == "reference" else "")


EVERY_HOME = pytest.mark.parametrize("home", ["channel", "reference", "sqlite"])
DURABLE_HOME = pytest.mark.parametrize("home", ["reference", "sqlite"])


class Stage:
    """A dispatcher on a clock that stands still; `async with` it. Leaving stops it within `grace` seconds."""

    def __init__(self, queue: str | MessageQueue = "channel://", *, grace: float = 5.0, **settings: Any) -> None:
        self.clock = ManualClock()
        self.ran: list[Any] = []
        """For handlers to write down what they did."""
        self.dispatcher = EventDispatcher(queue, clock=self.clock, **settings)
        self._grace = grace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._grace >= 0:
            await stopped(self.dispatcher, self.clock, self._grace)

    async def start(self, workers: int = 1) -> None:
        await self.dispatcher.start(workers)

    async def stop(self, grace: float = 30.0, quarter: float = 0.001) -> StopReport:
        return await stopped(self.dispatcher, self.clock, grace, quarter)

    async def ran_in_all(self, count: int) -> list[Any]:
        """Wait until handlers wrote down so many."""
        await until(lambda: len(self.ran) >= count, f"{count} runs, there are {len(self.ran)}: {self.ran!r}")
        return self.ran

    async def settled(self) -> None:
        """Wait until the queue shows nothing more to do."""
        await asyncio.wait_for(self.dispatcher.join(), PATIENCE)

    async def letters(self) -> list[Message]:
        """What is among the dead letters, in order."""
        return [message async for message in self.dispatcher.dead_letters.browse()]
