"""`python -m tests.faults.flipping ROUTES DIRECTORY NAME JSON`: places jobs, or does them, through a switch.

ROUTES is JSON: URLs by name. JSON: flag, the file with the name of the route; late, seconds until this process sees a
change of it; strict; spill, its directory. Of one that does jobs: workers, prefetch. Of one that places them: place,
how many at least; keys; rate, a second; work, seconds a job takes; until, a file: it goes on until that is there, and
then until its spill is empty. Some jobs fail once, some are placed for later. A flag that says `!` raises.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from notification import Context, Degradation, EventDispatcher, NotificationError, RetryPolicy, SwitchQueue

from .job import Job
from .ledger import Ledger

AT_A_TIME = 20
DELAY = 0.3


class Flag:
    """What the file said so many seconds ago."""

    def __init__(self, path: Path, late: float) -> None:
        self._path, self._late = path, late
        self._said = deque([(float("-inf"), path.read_text())])

    def __call__(self) -> str:
        now = time.monotonic()
        if (text := self._path.read_text()) and text != self._said[-1][1]:
            self._said.append((now, text))
        while len(self._said) > 1 and self._said[1][0] <= now - self._late:
            self._said.popleft()
        if self._said[0][1] == "!":
            raise LookupError("the provider of flags is away")
        return self._said[0][1]


def dispatcher_of(routes: str, options: dict[str, Any], name: str) -> EventDispatcher:
    """On a switch, with a spill where one is given."""
    switch = SwitchQueue(
        json.loads(routes), Flag(Path(options["flag"]), options.get("late", 0.0)), strict=options.get("strict", False)
    )
    spill = options.get("spill")
    return EventDispatcher(
        switch,
        retry=RetryPolicy(attempts=5, initial=0.05, max=0.1),
        prefetch=options.get("prefetch"),
        degradation=Degradation(spill=spill) if spill else None,
        source=f"/{name}",
    )


async def do(dispatcher: EventDispatcher, ledger: Ledger, workers: int) -> None:
    """Until the first signal."""

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        ledger.write("began", ctx.id, ctx.key, job.seq, attempt=ctx.attempt)
        await asyncio.sleep(job.work)
        if job.act == "again" and ctx.attempt == 1:
            raise ConnectionError("as it should")
        ledger.write("ended", ctx.id, ctx.key, job.seq)

    running = asyncio.ensure_future(dispatcher.run(workers))
    while not (await dispatcher.health()).live or dispatcher._life.service is None:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await running
    print(json.dumps({}))


async def place(dispatcher: EventDispatcher, ledger: Ledger, name: str, options: dict[str, Any]) -> None:
    """In order within each key, whatever the switch does meanwhile."""
    keys, until = options["keys"], Path(options["until"])

    async def send(number: int) -> None:
        seq, account = divmod(number, keys)
        later = number % 17 == 5
        key = f"{name}-late{number}" if later else f"{name}-{account}"
        job = Job(account, seq, options.get("work", 0.002), "again" if number % 23 == 7 else "")
        id_ = f"{name}-{number}"
        ledger.write("trying", id_, key, seq)
        while True:
            try:
                sent = await dispatcher.dispatch(job, id=id_, key=key, delay=DELAY if later else 0, timeout=30)
            except NotificationError as error:
                ledger.write("refused", id_, error=str(error))
                await asyncio.sleep(0.05)
            else:
                ledger.write("sent", id_, key, seq, via=sent.via)
                return

    async with dispatcher:
        print("ready", flush=True)
        began, start = time.monotonic(), 0
        while start < options["place"] or not until.exists():
            await asyncio.gather(*(send(number) for number in range(start, start + min(AT_A_TIME, keys))))
            start += min(AT_A_TIME, keys)
            await asyncio.sleep(max(0.0, began + start / options["rate"] - time.monotonic()))
        while (await dispatcher.health()).spilled:
            await asyncio.sleep(0.05)
    print("sent", flush=True)


async def main(routes: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """One or the other."""
    ledger, dispatcher = Ledger(directory, name), dispatcher_of(routes, options, name)
    if "place" in options:
        await place(dispatcher, ledger, name, options)
    else:
        await do(dispatcher, ledger, options["workers"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
