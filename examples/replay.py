"""Runs the shop over a file of events: `python -m examples.replay [EVENTS] [--queue URL] [--workers N]`.

Every line is dispatched to a queue and handled by the shop's workers; at the end every line is accounted for. Killed in
the middle, even with -9, and started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve

from examples.journal import Busy, Journal
from examples.screen import Progress, screen
from examples.shop import dispatcher, watch
from examples.summary import Result, show_result
from notification import ConfigurationError, Context, Message, NotificationError, QueueStats, QueueURL, Unsupported
from notification.ndjson import Line, LineReader
from notification.signals import stopped_by_signal

SHIPPED = Path(__file__).parent / "shop_events.ndjson"
DIRECTORY = Path("run")
_CHUNK = 64 * 1024


class Replay:
    """One run over one file."""

    def __init__(self, events: Path, journal: Journal) -> None:
        self.events, self.journal = events, journal
        self.broken: dict[int, str] = {}
        self.dead: dict[int, Message] = {}
        self.lines = 0
        self.others: set[str] = set()
        """Events in the queue that are not of this run."""
        self._dead_before = 0
        self._sent_at: dict[int, float] = {}

    async def run(self, workers: int) -> bool:
        """Dispatch, and wait until the queue is empty. False when a signal came first."""
        watch.runs = self._ran
        async with stopped_by_signal() as stopping, dispatcher:
            before = await dispatcher.stats()
            await dispatcher.start(workers)
            await self._look_for_dead()
            self._dead_before = (await self._count_dead()) - len(self.dead)
            self._greet(before)
            with screen(_count_lines(self.events)) as show:
                work = asyncio.create_task(self._work())
                ends: list[asyncio.Future[Any]] = [work, stopping]
                while not (work.done() or stopping.done()):
                    await asyncio.wait(ends, timeout=show.every, return_when=asyncio.FIRST_COMPLETED)
                    show.progress(await self._progress())
            if not work.done():
                work.cancel()
                return False
            await work
            await self._look_for_dead()
            return True

    def _greet(self, before: QueueStats) -> None:
        still_there = before.waiting + (before.in_flight or 0) + (before.delayed or 0)
        if self.journal.continued:
            print(f"{still_there:,} events were still in the queue from a run that was killed or stopped")
            handled = sum(fate.handled and line not in self.dead for line, fate in self.journal.fates.items())
            print(f"{handled:,} of its lines were handled before and {len(self.dead):,} are dead; going on", flush=True)
        elif still_there:
            print(
                f"{still_there:,} events were in the queue already; they are handled along with the file's", flush=True
            )
        if before.in_flight:
            print(f"{before.in_flight:,} are held by whoever took them, until its lease ends", flush=True)

    def _ran(self, message: Message, ctx: Context, failure: Exception | None) -> None:
        line = self.journal.line_of(message.id)
        if line is None:
            self.others.add(message.id)
            return
        sent = self._sent_at.get(line)
        seconds = None if sent is None else time.monotonic() - sent
        self.journal.note(line, ctx.handler, well=failure is None, seconds=seconds)

    # -- dispatching

    async def _work(self) -> None:
        for lines in self._chunks():
            batch = []
            for line in lines:
                self.lines += 1
                if line.message is None:
                    self.broken[line.number] = line.error
                elif not self._is_done(line.number):
                    self._sent_at[line.number] = time.monotonic()
                    # an id of this run, so that a file can be replayed; a service of yours keeps the ids it is given
                    batch.append(evolve(line.message, id=self.journal.id_of(line.number)))
            await dispatcher.dispatch_many(batch, timeout=60)
        await dispatcher.join()

    def _chunks(self) -> Iterator[list[Line]]:
        reader = LineReader(source="/shop", next_id=lambda number, _: self.journal.id_of(number))
        with self.events.open("rb") as file:
            yield from map(reader.feed, iter(partial(file.read, _CHUNK), b""))
        yield reader.finish()

    def _is_done(self, line: int) -> bool:
        """In the part of this run that came before."""
        fate = self.journal.fates.get(line)
        return line in self.dead or (fate is not None and fate.handled)

    # -- looking

    async def _progress(self) -> Progress:
        dead = (await self._count_dead()) - self._dead_before
        handled = min(self.journal.handled, self.lines - len(self.broken) - dead)
        return Progress(self.lines, len(self.broken), handled, self.journal.retried, dead)

    async def _count_dead(self) -> int:
        return (await dispatcher.stats()).dead or 0

    async def _look_for_dead(self) -> None:
        """The dead letters of this run, by line."""
        with suppress(Unsupported):
            async for letter in dispatcher.dead_letters.browse():
                if (line := self.journal.line_of(letter.id)) is not None:
                    self.dead[line] = letter

    def result(self, seconds: float) -> Result:
        """Where every line is."""
        handled = {line: fate for line, fate in self.journal.fates.items() if fate.handled and line not in self.dead}
        return Result(
            lines=self.lines,
            handled=len(handled),
            retried=sum(fate.failures > 0 for fate in handled.values()),
            broken=self.broken,
            letters=list(self.dead.values()),
            others=len(self.others),
            latencies=sorted(fate.seconds for fate in handled.values() if fate.seconds is not None),
            seconds=seconds,
        )


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(partial(file.read, 1 << 20), b""))


def main() -> int:
    """The command. 0: every line was an event and is accounted for; 1: not; 2: wrong usage; 130: Ctrl-C."""
    options = _options()
    try:
        return _replay(options.events, options.queue, options.workers)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: be quiet at exit too
        return 1
    except (ConfigurationError, Busy, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except NotificationError as error:
        print(f"{error}\nrun it again to go on from here", file=sys.stderr)
        return 1


def _replay(events: Path, queue: str | None, workers: int) -> int:
    if queue is not None:
        dispatcher.use(queue)
    shown = "sqlite:///run/shop.db" if queue is None else str(QueueURL.parse(queue))
    journal = Journal(DIRECTORY, events, queue or "")
    log = DIRECTORY / "replay.log"
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    replay = Replay(events, journal)
    print(f"{os.path.relpath(events)} to {shown}, {workers} workers", flush=True)
    began = time.monotonic()
    if not asyncio.run(replay.run(workers)):
        print(f"stopped; {journal.handled:,} lines are handled. Run it again to go on from here")
        return 130
    result = replay.result(time.monotonic() - began)
    if not result.missing:
        journal.finish()
    show_result(result, workers, log, shown)
    return 1 if result.missing or result.broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.replay", description=__doc__)
    parser.add_argument("events", type=Path, nargs="?", default=SHIPPED, help="NDJSON; default: the shop's own")
    parser.add_argument("--queue", help="queue URL; default: sqlite:///run/shop.db")
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    if not options.events.is_file():
        parser.error(f"there is no file {str(options.events)!r}")
    if options.workers < 1:
        parser.error("--workers: at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
