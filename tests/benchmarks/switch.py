"""`python -m tests.benchmarks.switch [URL ...]`: what a switch costs, side by side with the same queue without one.

Each round dispatches and handles so many events without the switch and with it, in one process, whose other route is an
idle channel. Printed are the best rounds of each, those that were disturbed least, and how much slower the switch is. A
Redis to measure on is started when no URLs are given.
"""

from __future__ import annotations

import asyncio
import gc
import time

from notification import EventDispatcher, MessageQueue, SwitchQueue

from .load import Load, counting, dispatch_all
from .places import places, two_queues

ROUNDS = 15
EVENTS = {"channel": 40_000, "sqlite": 20_000, "redis": 20_000}


async def rate(queue: str | MessageQueue, events: int) -> float:
    """Events from the first dispatch to the last one handled, by second of the processor: other work slows no clock."""
    load = Load("", events)
    dispatcher = EventDispatcher(queue, dead_letter="channel://")
    counter = counting(dispatcher, load)
    async with dispatcher:
        await dispatcher.start(load.workers)
        gc.collect()
        began = time.process_time()
        await dispatch_all(dispatcher, load)
        await counter.wait()
        seconds = time.process_time() - began
    return events / seconds


def compare(url: str) -> None:
    """Print one line about this queue."""
    events = EVENTS[url.partition(":")[0]]
    without: list[float] = []
    with_switch: list[float] = []
    for number in range(ROUNDS + 1):
        plain, switched = two_queues(url)
        pair = [
            lambda one=plain: without.append(asyncio.run(rate(one, events))),
            lambda one=switched: with_switch.append(
                asyncio.run(rate(SwitchQueue({"main": one, "idle": "channel://"}, lambda: "main"), events))
            ),
        ]
        for run in pair if number % 2 else reversed(pair):
            run()
    without, with_switch = without[1:], with_switch[1:]  # the first warms up
    best, routed = max(without), max(with_switch)
    figures = f"{best:9,.0f}/s without, {routed:9,.0f}/s with a switch"
    print(f"{url.partition(':')[0]:8} {figures}: {1 - routed / best:+.1%}", flush=True)


def main() -> None:
    """All of them, or those that are named."""
    with places("channel://") as (urls, _):
        for url in urls:
            compare(url)


if __name__ == "__main__":
    main()
