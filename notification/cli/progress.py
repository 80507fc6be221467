"""Bars on stderr for what takes a while; nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from .lines import Sent


@define
class Bar:
    """A live bar, or nothing."""

    progress: Progress | None
    task: Any

    def sent(self, sent: Sent) -> None:
        """How far a file has been sent."""
        self._update(sent.bytes_read, f"{sent.accepted:,} sent")

    def done(self, number: int) -> None:
        """How many of them are done."""
        self._update(number, "")

    def end(self) -> None:
        """Take it off the screen."""
        if self.progress is not None:
            self.progress.stop()

    def _update(self, completed: int, text: str) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=completed, text=text)


@contextmanager
def bar_over_bytes(name: str, size: int | None) -> Iterator[Bar]:
    """A bar over `size` bytes; None: nobody knows how many will come."""
    known = (BarColumn(), DownloadColumn(), TimeRemainingColumn()) if size is not None else (SpinnerColumn(),)
    with _bar(name, size, *known) as bar:
        yield bar


@contextmanager
def bar_over_events(name: str, total: int) -> Iterator[Bar]:
    """A bar over so many events."""
    with _bar(name, total, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        yield bar


@contextmanager
def _bar(name: str, total: int | None, *columns: ProgressColumn) -> Iterator[Bar]:
    console = Console(stderr=True)
    if not console.is_interactive:
        yield Bar(None, None)
        return
    every = (TextColumn("{task.description}"), *columns, TextColumn("{task.fields[text]}"))
    with Progress(*every, console=console, transient=True) as progress:
        yield Bar(progress, progress.add_task(name, total=total, text=""))
