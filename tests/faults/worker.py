"""`python -m tests.faults.worker URL DIRECTORY NAME JSON`: handles jobs and writes down each run, until a signal comes.

JSON: workers; attempts; hurry: no work takes time; no_letters: dead letters can't be written; spill: a directory; and
what EventDispatcher takes. At the end it prints its report and the count of its lost leases as a line of JSON.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from attrs import asdict

from notification import (
    Context,
    Degradation,
    Delivery,
    EventDispatcher,
    Message,
    MessageQueue,
    QueueUnavailable,
    RetryPolicy,
)

from .job import Job
from .ledger import Ledger


def segfault() -> None:
    """What a broken native library does."""
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


def limit_memory(more: int) -> tuple[int, int]:
    """Get no more than so many mebibytes from now on; the limits that there were."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), limits[1]))
    return limits


def out_of_memory() -> None:
    """A limit as a container has it: Python raises MemoryError, and whatever else needs memory dies."""
    limits = limit_memory(64)
    try:
        bytearray(1 << 33)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def interrupted() -> None:
    """Ctrl-C where no handler of ours catches it."""
    raise KeyboardInterrupt


class NoLetters(MessageQueue):
    """A place for dead letters that takes none."""

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        raise QueueUnavailable("no letters today")

    async def pop(self) -> Delivery:
        raise QueueUnavailable("none were taken")

    async def size(self) -> int:
        return 0

    async def close(self) -> None:
        """Nothing is open."""


ACTS = {
    "segfault": segfault,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": out_of_memory,
    "interrupted": interrupted,
}


async def main(url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """Handle until the first signal."""
    if after := options.pop("after", None):
        print("loaded", flush=True)
        while not Path(after).exists():
            await asyncio.sleep(0.01)
    ledger, workers = Ledger(directory, name), options.pop("workers")
    retry = RetryPolicy(attempts=options.pop("attempts", 5), initial=0.05, max=0.2)
    hurry = options.pop("hurry", False)
    if options.pop("no_letters", False):
        options["dead_letter"] = NoLetters()
    if (spill := options.pop("spill", None)) is not None:
        options["degradation"] = Degradation(spill=spill)
    dispatcher = EventDispatcher(url, retry=retry, **options)

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        ledger.write("began", ctx.id, ctx.key, job.seq, attempt=ctx.attempt)
        if job.act.startswith("block:"):
            _, seconds, who = job.act.split(":")
            time.sleep(float(seconds) if who == name else 0)
        elif job.act.startswith("limit:"):
            limit_memory(int(job.act.removeprefix("limit:")))
        elif job.act == "fails":
            raise ValueError("as it should")
        elif job.act:
            await asyncio.sleep(0.05)  # others run beside it when it strikes
            ACTS[job.act]()
        await asyncio.sleep(0 if hurry else job.work)
        ledger.write("ended", ctx.id, ctx.key, job.seq, attempt=ctx.attempt, lost=ctx.lost)

    running = asyncio.ensure_future(dispatcher.run(workers))
    while not (await dispatcher.health()).ready:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    last = await dispatcher.health()
    while not running.done():
        await asyncio.wait([running], timeout=0.05)
        if not running.done():
            last = await dispatcher.health()
    print(json.dumps({"report": asdict(running.result()), "lost_leases": lost_leases(dispatcher, last.lost_leases)}))


def lost_leases(dispatcher: EventDispatcher, last_seen: int) -> int:
    """Counted to the very end: health no longer tells after stop."""
    service = dispatcher._life.service
    return service.pool.held.lost if service is not None and service.pool is not None else last_seen


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
