"""How results look: tables that fit a terminal, plain aligned lines everywhere else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from queues.clock import SYSTEM_CLOCK
from queues.errors import escape

from ..report import StopReport

T = TypeVar("T")
_WIDEST, _NARROWEST = 30, 8
"""Of a column that is cut to fit a terminal."""


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


def short_moment(time: datetime) -> str:
    """Local time, with the date when it is not today's."""
    today = SYSTEM_CLOCK.now().astimezone().date()
    return f"{time.astimezone():%H:%M:%S}" if time.astimezone().date() == today else moment(time)


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


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their columns, the most telling column first.

    On a terminal long cells are cut, except those of the first column, and columns that don't fit any more are left
    out; without one everything is there.
    """
    cells = [list(columns), *([escape(cell, 1 << 30) for cell in row] for row in rows)]
    console = Console(highlight=False)
    natural = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    widths = _fit(natural, console.width) if console.is_terminal else natural
    for number, row in enumerate(cells):
        line = "  ".join(_sized(cell, width) for cell, width in zip(row, widths, strict=False)).rstrip()
        if console.is_terminal:
            console.print(Text(line, style="" if number else "bold"), no_wrap=True, crop=True)
        else:
            say(line)


def _fit(natural: Sequence[int], width: int) -> list[int]:
    """The widths of as many columns as fit."""
    fitting: list[int] = []
    for place, whole in enumerate(natural):
        wanted = whole if place in {0, len(natural) - 1} else min(whole, _WIDEST)
        left = width - sum(fitting) - 2 * len(fitting)
        if left < min(wanted, _NARROWEST):
            break
        fitting.append(min(wanted, left))
    return fitting


def _sized(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names with their values, a line each; values are never cut."""
    shown = [(name, escape(value, 1 << 30)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    console = Console(highlight=False, soft_wrap=True)
    for name, value in shown:
        console.print(Text.assemble((name.ljust(width) if value else name, "dim"), "  " if value else "", value))


def fitted(text: str) -> str:
    """One line of at most the terminal's width; whole where there is none."""
    console = Console()
    if not console.is_terminal or len(text) <= console.width:
        return text
    return f"{text[: console.width - 1]}…"
