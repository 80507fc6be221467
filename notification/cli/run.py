"""`notification run`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from .loading import load, queue_of
from .screen import count, say, stop_line
from ..assembly import name_of


def run(app: str, queue: str | None, workers: int, level: str) -> None:
    """Run an app's workers until a signal, and report. Ends the process when a handler's thread does not end."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    dispatcher = load(app)
    if queue is not None:
        dispatcher.use(queue)
    say(
        f"{app}: {count(workers, 'worker')}, {count(len(dispatcher.handlers), 'handler')} "
        f"on {name_of(queue_of(dispatcher))} (Ctrl-C stops in order)"
    )
    report = asyncio.run(dispatcher.run(workers))
    say(stop_line(report))
    if report.abandoned:
        sys.stdout.flush()
        os._exit(1)  # what a thread still runs would hold up the end; its events come back with their lease
