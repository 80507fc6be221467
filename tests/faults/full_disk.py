"""`python -m tests.faults.full_disk URL DIRECTORY NAME JSON`: dispatches and handles while its disk fills up.

The disk is a limit on the size of files, so that no other process notices. JSON: count. Prints, as a line of JSON:
refusals and their type, how long the slowest one took, what health said, and how many the queue holds at the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from notification import Context, EventDispatcher, NotificationError, RetryPolicy

from .job import Job
from .ledger import Ledger


def limit_files(size: int) -> None:
    """No file may grow beyond this many bytes; -1: any."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def main(url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """Fill the disk while handlers wait at a gate; open the gate; make room; finish."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ledger, gate = Ledger(directory, name), asyncio.Event()
    dispatcher = EventDispatcher(url, retry=RetryPolicy(initial=0.05, max=0.1))
    errors: list[str] = []
    slowest = 0.0

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        await gate.wait()
        ledger.write("began", ctx.id, ctx.key, job.seq)
        if job.act == "fails once" and ctx.attempt == 1:
            raise ValueError("as it should")
        ledger.write("ended", ctx.id, ctx.key, job.seq)

    async def send(number: int) -> bool:
        nonlocal slowest
        id_, began = f"{name}-{number}", time.monotonic()
        ledger.write("trying", id_)
        try:
            await dispatcher.dispatch(Job(number, number, act="fails once" if number % 7 == 0 else "x" * 500), id=id_)
        except NotificationError as error:
            slowest = max(slowest, time.monotonic() - began)
            errors.append(type(error).__name__)
            return False
        ledger.write("sent", id_)
        return True

    async with dispatcher:
        await dispatcher.start(workers=4)
        database = Path(url.removeprefix("sqlite:///").partition("?")[0])
        largest = max(path.stat().st_size for path in database.parent.glob(database.name + "*"))
        limit_files(largest + 200_000)
        number = 0
        while len(errors) < 20:
            await send(number)
            number += 1
        gate.set()
        await asyncio.sleep(0.3)  # whatever the workers can do without a disk, they do
        during = await dispatcher.health()
        limit_files(-1)
        while number < options["count"] or not await send(number):
            await send(number)
            number += 1
        await dispatcher.join()
        after = await dispatcher.health()
        size = await dispatcher.size()
    print(json.dumps({
        "errors": sorted(set(errors)), "slowest": slowest, "size": size,
        "live": during.live, "ready": after.ready, "tried": number,
    }))  # fmt: skip


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
