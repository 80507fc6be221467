"""`python -m tests.faults.owners URL DIRECTORY NAME JSON`: several owners of a queue in one process, who pop and ack.

JSON: owners; hold: pop so many and settle none; pause: seconds between a pop and its ack.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from queues.base import MessageQueue
from queues.registry import open_queue

from .ledger import Ledger


async def handle(queue: MessageQueue, ledger: Ledger, pause: float) -> None:
    """Write down and ack what is popped, for ever; in this order, or a kill between the two would look like a loss."""
    while True:
        batch = await queue.pop_many(20)
        for delivery in batch:
            ledger.write("began", delivery.expect().id, delivery.expect().key)
        await asyncio.sleep(pause)
        for delivery in batch:
            ledger.write("ended", delivery.expect().id, delivery.expect().key)
        await queue.ack_many(batch)


async def hold(queue: MessageQueue, ledger: Ledger, count: int) -> None:
    """Pop so many, and wait to be killed."""
    while count:
        batch = await queue.pop_many(min(count, 100))
        count -= len(batch)
        for delivery in batch:
            ledger.write("held", delivery.expect().id)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def main(url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """Until it is killed."""
    ledger = Ledger(directory, name)
    queues = [open_queue(url) for _ in range(options["owners"])]
    for queue in queues:
        await queue.open()
    if count := options.get("hold"):
        await hold(queues[0], ledger, count)
    working = [asyncio.ensure_future(handle(queue, ledger, options["pause"])) for queue in queues]
    print("ready", flush=True)
    await asyncio.gather(*working)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
