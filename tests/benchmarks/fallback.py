"""`python -m tests.benchmarks.fallback [URL ...]`: what a spill costs while it is not needed, side by side.

Each round dispatches so many events without a degradation and with a spill, in one process, and handles none: only the
way in has a price. Printed are the medians, by the clock and by the processor's, and how much slower it is with the
spill: the median of the rounds' ratios. A Redis to measure on is started when no URLs are given.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from pathlib import Path

from notification import Degradation, EventDispatcher

from .load import Load, dispatch_all
from .places import places, two_queues

ROUNDS = 15
EVENTS = 20_000
Seconds = tuple[float, float]


async def dispatched(url: str, degradation: Degradation | None) -> Seconds:
    """How long it took, by the clock and by the processor's."""
    async with EventDispatcher(url, degradation=degradation) as dispatcher:
        gc.collect()
        clock, processor = time.perf_counter(), time.process_time()
        await dispatch_all(dispatcher, Load("", EVENTS))
        return time.perf_counter() - clock, time.process_time() - processor


def compare(url: str, spill: Path) -> None:
    """Print one line about this queue."""
    rounds: list[tuple[Seconds, Seconds]] = []
    for number in range(ROUNDS + 1):
        names = two_queues(url)
        first = asyncio.run(dispatched(names[0], None if number % 2 else Degradation(spill=spill)))
        second = asyncio.run(dispatched(names[1], Degradation(spill=spill) if number % 2 else None))
        rounds.append((first, second) if number % 2 else (second, first))
    rounds = rounds[1:]  # the first warms up
    for at, what in enumerate(("clock", "processor")):
        plain = statistics.median(EVENTS / without[at] for without, _ in rounds)
        spilling = statistics.median(EVENTS / with_spill[at] for _, with_spill in rounds)
        cost = 1 - statistics.median(without[at] / with_spill[at] for without, with_spill in rounds)
        figures = f"{plain:9,.0f}/s without, {spilling:9,.0f}/s with a spill"
        print(f"{url.partition(':')[0]:8} {figures}, by the {what}: {cost:+.1%}", flush=True)


def main() -> None:
    """All of them, or those that are named."""
    with places() as (urls, directory):
        for url in urls:
            compare(url, directory / "spill")


if __name__ == "__main__":
    main()
