"""The load that every benchmark runs: one event of about 250 bytes, standing dispatchers, a handler that counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from importlib import import_module
from typing import Any

from attrs import asdict, field, frozen

from notification import EventDispatcher, event

TEXT = "Your parcel has left the depot and will be with you before noon tomorrow, says the courier." + "." * 30
DISPATCHERS = 100


@event("parcel.shipped")
class Shipped:
    """An event without a key."""

    id: str
    account_id: int
    kind: str
    text: str
    ts: int


@event("parcel.shipped.keyed", key="account_id")
class KeyedShipped:
    """The same, in order by account."""

    id: str
    account_id: int
    kind: str
    text: str
    ts: int


@frozen
class Load:
    """What a child process is to do. rate: events a second for `pace`, 0: as fast as it goes."""

    queue: str
    events: int
    workers: int = 100
    keyed: bool = False
    rate: float = 0.0
    loop: str = "asyncio"

    def event(self, number: int) -> Shipped | KeyedShipped:
        """Event number `number`; 997 accounts take turns."""
        cls = KeyedShipped if self.keyed else Shipped
        return cls(f"evt-{number:012d}", number % 997, "parcel.shipped", TEXT, time.time_ns())


@frozen
class Seen:
    """What a consumer measured."""

    latencies: list[int] = field(factory=list)
    times: list[float] = field(factory=list)


async def produce(load: Load) -> dict[str, Any]:
    """Standing tasks, each awaiting its dispatch before the next one."""
    async with EventDispatcher(load.queue) as dispatcher:
        began = time.perf_counter()
        await dispatch_all(dispatcher, load)
        return {"per_s": load.events / (time.perf_counter() - began)}


async def dispatch_all(dispatcher: EventDispatcher, load: Load) -> None:
    """100 dispatchers share the numbers between them."""
    numbers = iter(range(load.events))

    async def dispatcher_task() -> None:
        for number in numbers:
            await dispatcher.dispatch(load.event(number))

    await asyncio.gather(*(dispatcher_task() for _ in range(DISPATCHERS)))


async def fill(load: Load) -> dict[str, Any]:
    """As many events as asked for, by dispatch_many."""
    async with EventDispatcher(load.queue) as dispatcher:
        for start in range(0, load.events, 1000):
            await dispatcher.dispatch_many(load.event(n) for n in range(start, min(start + 1000, load.events)))
    return {}


async def pace(load: Load) -> dict[str, Any]:
    """One event each 1/rate seconds."""
    async with EventDispatcher(load.queue) as dispatcher:
        began = time.perf_counter()
        for number in range(load.events):
            wait = began + number / load.rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            await dispatcher.dispatch(load.event(number))
    return {}


async def consume(load: Load) -> dict[str, Any]:
    """Handle until all were seen."""
    dispatcher = EventDispatcher(load.queue)
    seen = counting(dispatcher, load)
    await dispatcher.start(load.workers)
    print(json.dumps({"ready": True}), flush=True)
    await seen.wait()
    report = seen.report()
    await dispatcher.stop(grace=2.0)
    return report


class Counter:
    """A handler that counts, and an event for when it has seen enough."""

    def __init__(self, events: int) -> None:
        self.events = events
        self.latencies: list[int] = []
        self.began = self.ended = 0.0
        self._done = asyncio.Event()
        self.wait = self._done.wait

    def see(self, ts: int) -> None:
        """One event was handled."""
        if not self.latencies:
            self.began = time.perf_counter()
        self.latencies.append(time.time_ns() - ts)
        if len(self.latencies) == self.events:
            self.ended = time.perf_counter()
            self._done.set()

    def report(self) -> dict[str, Any]:
        """Rate, latency percentiles in milliseconds, and the memory of this process."""
        ordered = sorted(self.latencies)
        return {
            "per_s": (self.events - 1) / max(self.ended - self.began, 1e-9),
            "p50_ms": ordered[len(ordered) // 2] / 1e6,
            "p99_ms": ordered[int(len(ordered) * 0.99)] / 1e6,
            "max_ms": ordered[-1] / 1e6,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def counting(dispatcher: EventDispatcher, load: Load) -> Counter:
    """Register a counting handler for both kinds of event."""
    counter = Counter(load.events)

    @dispatcher.on(Shipped)
    async def count(shipped: Shipped) -> None:
        counter.see(shipped.ts)

    @dispatcher.on(KeyedShipped)
    async def count_keyed(shipped: KeyedShipped) -> None:
        counter.see(shipped.ts)

    return counter


def command(role: str, load: Load) -> list[str]:
    """How to run a role in a process of its own."""
    return [sys.executable, "-m", "tests.benchmarks.load", role, json.dumps(asdict(load))]


def main() -> None:
    """A child process: run one role and print its result as one line."""
    load = Load(**json.loads(sys.argv[2]))
    role = {"produce": produce, "consume": consume, "pace": pace, "fill": fill}[sys.argv[1]]
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(run(role(load), load.loop)), flush=True)
    os._exit(0)


def run(coroutine: Any, loop: str) -> Any:
    """On asyncio's event loop, or on uvloop's where it is installed."""
    if loop == "uvloop":
        return import_module("uvloop").run(coroutine)
    return asyncio.run(coroutine)


if __name__ == "__main__":
    main()
