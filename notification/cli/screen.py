"""How results look: tables that fit a terminal, plain aligned lines everywhere else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from queues.errors import escape

from ..report import StopReport

T = TypeVar("T")


def say(text: str) -> None:
    """A line of the result, on stdout."""
    typer.echo(text)


def complain(text: str) -> None:
    """A line about what went wrong, on stderr."""
    typer.echo(text, err=True)


def finish(work: Coroutine[Any, Any, T], run: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run) -> T:
    """Run it in an event loop. Ctrl-C ends it in order and the command with 130."""
    try:
        return run(work)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None


# -- words


def count(number: int, thing: str) -> str:
    """`1 worker`, `2 workers`, `12,000 workers`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 10 min`, `2 d 3 h`."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // part)} {smaller}"
    raise AssertionError


def moment(time: datetime) -> str:
    """Local date and time, to the second."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def stop_line(report: StopReport) -> str:
    """What a dispatcher did, in one line; what is always zero in a quiet run is left out."""
    parts = [f"{report.handled:,} handled", f"{report.retried:,} retried", f"{report.dead:,} dead"]
    parts += [
        f"{number:,} {what}"
        for number, what in (
            (report.released, "handed back to the queue"),
            (report.abandoned, "abandoned"),
            (report.spilled, "spilled"),
        )
        if number
    ]
    return f"stopped: {', '.join(parts)}"


# -- tables


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()) -> None:
    """Rows under their columns. On a terminal they are cut to its width, the columns in `whole` last; else never."""
    safe = [[escape(cell, 1 << 30) for cell in row] for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        for line in _aligned([columns, *safe]):
            say(line)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=_width(name, safe, columns, whole))
    for row in safe:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _width(name: str, rows: Sequence[Sequence[str]], columns: Sequence[str], whole: Sequence[str]) -> int | None:
    place = list(columns).index(name)
    return max((len(row[place]) for row in rows), default=0) if name in whole else None


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names with their values, a line each; values are never cut."""
    shown = [(name, escape(value, 1 << 30)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    console = Console(highlight=False, soft_wrap=True)
    for name, value in shown:
        console.print(Text.assemble((name.ljust(width), "dim"), "  ", value))


def fitted(text: str) -> str:
    """One line of at most the terminal's width; whole where there is none."""
    console = Console()
    if not console.is_terminal or len(text) <= console.width:
        return text
    return f"{text[: console.width - 1]}…"
