"""`python -m tests.faults.producer URL DIRECTORY NAME JSON`: dispatches jobs, and writes down which were accepted.

JSON: count; keys; rate, a second; work and least, the longest and shortest handling in seconds; act, {"number of the
job": "what to do"}; until, a file: it goes on beyond the count until that is there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from notification import EventDispatcher, NotificationError

from .job import Job
from .ledger import Ledger

AT_A_TIME = 50


async def main(url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """Send them all, in order within each key."""
    ledger, dice = Ledger(directory, name), random.Random(name)
    count, keys, rate = options["count"], options["keys"], options.get("rate", 1e9)
    until: str | None = options.get("until")
    acts: dict[str, str] = options.get("act", {})
    dispatcher = EventDispatcher(url)

    async def send(number: int) -> None:
        seq, account = divmod(number, keys)
        job = Job(
            account, seq, dice.uniform(options.get("least", 0.0), options.get("work", 0.0)), acts.get(str(number), "")
        )
        id_ = f"{name}-{number}"
        ledger.write("trying", id_, f"{name}-{account}", seq)
        try:
            await dispatcher.dispatch(job, id=id_, key=f"{name}-{account}", timeout=30)
        except NotificationError as error:
            ledger.write("refused", id_, error=type(error).__name__, text=str(error))
        else:
            ledger.write("sent", id_, f"{name}-{account}", seq)

    async with dispatcher:
        began = time.monotonic()
        size = min(AT_A_TIME, keys)  # never two of a key on their way at once
        start = 0
        while start < count or (until is not None and not Path(until).exists()):
            last = start + size if until is not None else min(start + size, count)
            await asyncio.gather(*(send(number) for number in range(start, last)))
            start = last
            await asyncio.sleep(max(0.0, began + start / rate - time.monotonic()))
    print("sent", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
