"""What the command shows: live bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from attrs import asdict, define
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from queues.base import QueueStats

from .lines import Sent
from ..report import StopReport


def say(text: str) -> None:
    """A line of the result, on stdout."""
    typer.echo(text)


def complain(text: str) -> None:
    """A line about what went wrong, on stderr."""
    typer.echo(text, err=True)


def count(number: int, thing: str) -> str:
    """`1 worker`, `2 workers`, `12,000 workers`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


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


# -- stats


def show_stats(queue: str, stats: QueueStats, *, as_json: bool) -> None:
    """A queue's figures, for people or for programs."""
    if as_json:
        say(json.dumps({"queue": queue, **asdict(stats)}))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(queue, style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in _figures(stats):
        table.add_row(name, value)
    console.print(table)


def _figures(stats: QueueStats) -> Iterator[tuple[str, str]]:
    for name in ("waiting", "in_flight", "delayed", "dead"):
        number = getattr(stats, name)
        yield name.replace("_", " "), "unknown" if number is None else f"{number:,}"
    yield "oldest", "-" if stats.oldest_age is None else duration(stats.oldest_age)


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 10 min`, `2 d 3 h`."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // part)} {smaller}"
    raise AssertionError


# -- progress


@define
class Bar:
    """A live bar, or nothing where there is no terminal."""

    progress: Progress | None
    task: Any

    def show(self, sent: Sent) -> None:
        """Where sending has got to."""
        if self.progress is not None:
            self.progress.update(self.task, completed=sent.bytes_read, events=f"{sent.accepted:,} sent")


@contextmanager
def sending_bar(name: str, size: int | None) -> Iterator[Bar]:
    """A bar on stderr over `size` bytes; None: nobody knows how many will come."""
    console = Console(stderr=True)
    if not console.is_interactive:
        yield Bar(None, None)
        return
    known = (BarColumn(), DownloadColumn(), TimeRemainingColumn()) if size is not None else (SpinnerColumn(),)
    columns = (TextColumn("{task.description}"), *known, TextColumn("{task.fields[events]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, progress.add_task(name, total=size, events=""))
