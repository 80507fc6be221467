"""Two ways of doing the same, side by side: in turns, in one process, on one server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.redis_server import RedisServer

ROUNDS = 15
Seconds = tuple[float, float]
"""By the clock, and by the processor's."""
Way = Callable[[str], Awaitable[Seconds]]
"""Does it once, on a new queue at this URL."""


@contextlib.contextmanager
def places(*more: str) -> Iterator[tuple[list[str], Path]]:
    """The URLs that the command names, or `more`, a file and a Redis that is started; and a directory."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = sys.argv[1:]
        if not urls:
            server = stack.enter_context(RedisServer())
            urls = [*more, f"sqlite:///{directory / 'events.db'}", f"{server.url}?order=process"]
        yield urls, directory


async def timed(work: Callable[[], Awaitable[object]]) -> Seconds:
    """How long it takes."""
    gc.collect()
    clock, processor = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - clock, time.process_time() - processor


def compare(url: str, events: int, *, without: Way, with_it: Way, name: str) -> None:
    """Print two lines about this queue: the medians of both ways, and by how much the second is slower, which is the
    median of the rounds' ratios.
    """
    rounds: list[tuple[Seconds, Seconds]] = []
    for number in range(ROUNDS + 1):
        ways = (without, with_it) if number % 2 else (with_it, without)
        first, second = (asyncio.run(_once(way, url)) for way in ways)
        rounds.append((first, second) if number % 2 else (second, first))
    rounds = rounds[1:]  # the first warms up
    for at, what in enumerate(("clock", "processor")):
        plain = statistics.median(events / one[at] for one, _ in rounds)
        changed = statistics.median(events / other[at] for _, other in rounds)
        cost = 1 - statistics.median(one[at] / other[at] for one, other in rounds)
        figures = f"{plain:9,.0f}/s without, {changed:9,.0f}/s with {name}"
        print(f"{url.partition(':')[0]:8} {figures}, by the {what}: {cost:+.1%}", flush=True)


async def _once(way: Way, url: str) -> Seconds:
    return await way(f"{url}{'&' if '?' in url else '?'}queue=bench-{uuid.uuid4().hex[:8]}")
