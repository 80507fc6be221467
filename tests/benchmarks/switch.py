"""`python -m tests.benchmarks.switch [URL ...]`: what a switch costs, side by side with the same queue without one.

Each round dispatches and handles so many events without the switch and with it, whose other route is an idle channel. A
Redis to measure on is started when no URLs are given.
"""

from __future__ import annotations

from notification import EventDispatcher, MessageQueue, SwitchQueue

from .beside import Seconds, compare, places, timed
from .load import Load, counting, dispatch_all

EVENTS = 40_000


async def plain(queue: str | MessageQueue) -> Seconds:
    """From the first dispatch to the last event handled."""
    load = Load("", EVENTS)
    dispatcher = EventDispatcher(queue, dead_letter="channel://")
    counter = counting(dispatcher, load)

    async def work() -> None:
        await dispatch_all(dispatcher, load)
        await counter.wait()

    async with dispatcher:
        await dispatcher.start(load.workers)
        return await timed(work)


async def switched(url: str) -> Seconds:
    """The same, through a switch."""
    return await plain(SwitchQueue({"main": url, "idle": "channel://"}, lambda: "main"))


def main() -> None:
    """All of them, or those that are named."""
    with places("channel://") as (urls, _):
        for url in urls:
            compare(url, EVENTS, name="a switch", without=plain, with_it=switched)


if __name__ == "__main__":
    main()
