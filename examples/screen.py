"""How far it has got: bars on a terminal, a line a second elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from attrs import frozen
from rich import progress as rich
from rich.console import Console


@frozen
class Progress:
    """Lines so far: read and dispatched, broken, handled, retried, dead."""

    lines: int
    broken: int
    handled: int
    retried: int
    dead: int


class Show(Protocol):
    """Shows progress `every` so many seconds."""

    every: float

    def progress(self, now: Progress) -> None:
        """Where it is."""


class Bars:
    """For people at a terminal."""

    every = 0.1

    def __init__(self, bars: rich.Progress, total: int) -> None:
        self._bars = bars
        self._sent = bars.add_task("dispatched", total=total, note="")
        self._over = bars.add_task("handled", total=total, note="")

    def progress(self, now: Progress) -> None:
        """Two bars: dispatched, and over."""
        self._bars.update(self._sent, completed=now.lines)
        note = f"{now.retried:,} retried, {now.dead:,} dead"
        self._bars.update(self._over, completed=now.handled + now.dead + now.broken, note=note)


class Lines:
    """For logs and pipes."""

    every = 1.0

    def __init__(self) -> None:
        self._last = ""

    def progress(self, now: Progress) -> None:
        """One line, unless nothing changed."""
        line = (
            f"dispatched {now.lines:,}, handled {now.handled:,}, retried {now.retried:,}, dead {now.dead:,}, "
            f"broken lines {now.broken:,}"
        )
        if line != self._last:
            print(line, flush=True)
        self._last = line


@contextmanager
def screen(total: int) -> Iterator[Show]:
    """What fits where the output goes; `total` lines are to come."""
    console = Console(file=sys.stdout)
    if not console.is_interactive:
        yield Lines()
        return
    columns = (
        rich.TextColumn("{task.description:<10}"),
        rich.BarColumn(bar_width=24),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    with rich.Progress(*columns, console=console) as bars:
        yield Bars(bars, total)
