"""`notification stats`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from attrs import asdict, evolve, frozen
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from queues.admin import Share
from queues.base import QueueStats
from queues.clock import SYSTEM_CLOCK
from queues.errors import QueueError

from .inventory import figures_of, share_lines, show_shares
from .options import AppOption, Format, Formatted, Interval, Level, Queue, Watch, logged
from .screen import finish, say, show_pairs
from .target import Target, opened


@logged(Level.warning)
def stats(
    *,
    queue: Queue = None,
    app: AppOption = None,
    watch: Watch = False,
    interval: Interval = 1.0,
    format_: Formatted = Format.table,
) -> None:
    """Show how a queue stands.

    Events waiting, in flight, delayed and dead, the age of the oldest that waits, and who consumes them. With --watch
    also how many came in and were handled in a second; Ctrl-C ends it.

    \b
    Examples:
      notification stats --queue sqlite:///events.db
      notification stats --queue sqlite:///events.db --watch
      notification stats --queue sqlite:///events.db --format json | jq .waiting
    """
    finish(_watch(queue, app, interval, format_) if watch else _show(queue, app, format_))


async def _show(queue: str | None, app: str | None, format_: Format) -> None:
    async with opened(queue, app, with_shares=True) as target:
        look = Look(await target.stats(), await target.shares())
    if format_ is Format.json:
        say(json.dumps({"queue": target.name, **_facts(look)}))
        return
    Console(highlight=False, soft_wrap=True).print(Text(target.name, style="bold"))
    show_pairs(figures_of(look.figures))
    show_shares(look.shares)


# -- watched


@frozen
class Rates:
    """Events a second between two looks: come in, handled. None: the queue doesn't count them."""

    arrived: float | None = None
    settled: float | None = None


@frozen
class Look:
    """What one look has shown. shares: who has what of the group's events. trouble: why there is nothing new."""

    figures: QueueStats
    shares: Sequence[Share] = ()
    rates: Rates = Rates()
    trouble: str = ""


def rates_between(before: QueueStats, now: QueueStats, seconds: float) -> Rates:
    """What came in and what was handled meanwhile."""
    if before.settled is None or now.settled is None or seconds <= 0:
        return Rates()
    settled = now.settled - before.settled
    return Rates(max(0, settled + _present(now) - _present(before)) / seconds, max(0, settled) / seconds)


def _present(figures: QueueStats) -> int:
    return figures.waiting + (figures.in_flight or 0) + (figures.delayed or 0)


async def _looks(target: Target, interval: float) -> AsyncIterator[Look]:
    """One after another, for ever; a queue out of reach is looked at again."""
    seen, at = Look(await target.stats(), await target.shares()), SYSTEM_CLOCK.monotonic()
    yield seen
    while True:
        await SYSTEM_CLOCK.sleep(interval)
        try:
            figures, shares, now = await target.stats(), await target.shares(), SYSTEM_CLOCK.monotonic()
        except QueueError as error:
            yield evolve(seen, rates=Rates(), trouble=str(error))
            continue
        seen, at = Look(figures, shares, rates_between(seen.figures, figures, now - at)), now
        yield seen


async def _watch(queue: str | None, app: str | None, interval: float, format_: Format) -> None:
    console = Console(highlight=False)
    async with opened(queue, app, with_shares=True) as target:
        if format_ is Format.table and console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=False) as live:
                async for look in _looks(target, interval):
                    live.update(_screen(target.name, look), refresh=True)
            return
        async for look in _looks(target, interval):
            say(_json(target.name, look) if format_ is Format.json else _line(look))


def _json(name: str, look: Look) -> str:
    rates = {"arrived_per_second": look.rates.arrived, "settled_per_second": look.rates.settled}
    return json.dumps({"queue": name, **_facts(look), **rates, "trouble": look.trouble})


def _facts(look: Look) -> dict[str, Any]:
    return {**asdict(look.figures), "shares": [asdict(share) for share in look.shares]}


def _line(look: Look) -> str:
    if look.trouble:
        return look.trouble
    return ", ".join(f"{name} {value}" for name, value in (*figures_of(look.figures), *_rate_lines(look.rates)))


def _rate_lines(rates: Rates) -> Iterator[tuple[str, str]]:
    for name, rate in (("arriving", rates.arrived), ("handled", rates.settled)):
        yield name, "-" if rate is None else f"{rate:,.1f}/s" if rate < 10 else f"{rate:,.0f}/s"


def _screen(name: str, look: Look) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right", min_width=12)
    for row in (*figures_of(look.figures), *_rate_lines(look.rates)):
        table.add_row(*row)
    lines: list[RenderableType] = [Text(name, style="bold", no_wrap=True, overflow="ellipsis"), table]
    lines += [Text(line, no_wrap=True, overflow="ellipsis") for line in share_lines(look.shares)]
    return Group(*lines, *([Text(look.trouble, style="red")] if look.trouble else []))
