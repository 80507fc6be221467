"""What it came to: where every line is, how fast it went, what to type next."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from rich.console import Console
from rich.table import Table
from rich.text import Text

from notification import Message

_SHOWN = 10


@frozen
class Result:
    """Lines that were read, and what became of them. others: events in the queue that were not of this file."""

    lines: int
    handled: int
    retried: int
    broken: Mapping[int, str]
    letters: Sequence[Message]
    others: int
    latencies: Sequence[float]
    seconds: float

    @property
    def missing(self) -> int:
        """Lines that are nowhere: there must be none."""
        return self.lines - self.handled - len(self.letters) - len(self.broken)


def show_result(result: Result, workers: int, log: Path, queue: str) -> None:
    """Print it, plainly where there is no terminal."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print()
    console.print(_totals(result))
    if result.latencies:
        console.print(_speed(result, workers), style="dim")
    if result.broken:
        _show_broken(console, result.broken)
    if result.letters:
        console.print("\n[bold]dead letters[/], by type and reason")
        console.print(_deaths(result.letters))
    _show_next(console, log, queue)


def _totals(result: Result) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row(Text("lines read", style="bold"), f"{result.lines:,}")
    table.add_row(
        "  handled", f"{result.handled:,}", f"{result.retried:,} of them after a retry" if result.retried else ""
    )
    table.add_row("  dead", f"{len(result.letters):,}", "kept with their reason" if result.letters else "")
    table.add_row("  broken lines", f"{len(result.broken):,}")
    lost = Text(f"{result.missing:,}", style="bold red" if result.missing else "green")
    table.add_row("  not accounted for", lost)
    if result.others:
        table.add_row("besides", f"{result.others:,}", "events that were in the queue before")
    return table


def _speed(result: Result, workers: int) -> str:
    number, rate = len(result.latencies), len(result.latencies) / result.seconds
    p50, p99 = (_milliseconds(result.latencies, share) for share in (0.5, 0.99))
    return (
        f"{number:,} events in {result.seconds:.1f} s, {rate:,.0f} a second with {workers} workers\n"
        f"from dispatch to handled p50 {p50:,.0f} ms, p99 {p99:,.0f} ms, waits and retries included"
    )


def _milliseconds(ordered: Sequence[float], share: float) -> float:
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _show_broken(console: Console, broken: Mapping[int, str]) -> None:
    console.print("\n[bold]broken lines[/]")
    for number, error in list(broken.items())[:_SHOWN]:
        console.print(Text(f"  {number}: {error}"))
    if len(broken) > _SHOWN:
        console.print(f"  and {len(broken) - _SHOWN:,} more")


def _deaths(letters: Sequence[Message]) -> Table:
    groups = Counter((letter.type, letter.dead.reason if letter.dead else "") for letter in letters)
    example = {(letter.type, letter.dead.reason if letter.dead else ""): letter for letter in reversed(letters)}
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for (type_, reason), number in groups.most_common(_SHOWN):
        dead = example[type_, reason].dead
        table.add_row(Text(f"  {type_}"), reason, f"{number:,}", Text(dead.error if dead else ""))
    if len(groups) > _SHOWN:
        table.add_row(f"  and {len(groups) - _SHOWN:,} groups more")
    return table


def _show_next(console: Console, log: Path, queue: str) -> None:
    command = ".venv/bin/notification" if Path(".venv/bin/notification").exists() else "notification"
    console.print("\n[bold]next[/]")
    for line in (
        f"{command} stats --queue {shlex.quote(queue)}",
        f"{command} run examples/shop.py --workers 8",
        f'{command} send stock.low \'{{"sku": "TEA", "left": 3}}\' \\',
        "    --app examples/shop.py",
        "make run EVENTS=your.ndjson    # kill -9 it in the middle, and make run again",
        f"less {log}            # every retry and every failure",
    ):
        console.print(Text(f"  {line}"))
