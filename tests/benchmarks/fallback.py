"""`python -m tests.benchmarks.fallback [URL ...]`: what a spill costs while it is not needed, side by side.

Each round dispatches so many events without a degradation and with a spill, and handles none: only the way in has a
price. A Redis to measure on is started when no URLs are given.
"""

from __future__ import annotations

from functools import partial

from notification import Degradation, EventDispatcher

from .beside import Seconds, compare, places, timed
from .load import Load, dispatch_all

EVENTS = 20_000


async def dispatched(url: str, *, degradation: Degradation | None) -> Seconds:
    """How long it took."""
    async with EventDispatcher(url, degradation=degradation) as dispatcher:
        return await timed(lambda: dispatch_all(dispatcher, Load("", EVENTS)))


def main() -> None:
    """All of them, or those that are named."""
    with places() as (urls, directory):
        spill = Degradation(spill=directory / "spill")
        for url in urls:
            compare(
                url, EVENTS, name="a spill", without=partial(dispatched, degradation=None),
                with_it=partial(dispatched, degradation=spill),
            )  # fmt: skip


if __name__ == "__main__":
    main()
