"""`python -m tests.faults.spiller URL DIRECTORY NAME JSON`: dispatches at a steady rate through outages, with a spill.

JSON: spill, its directory; rate, a second; keys; timeout; until, a file: it goes on until that is there, and then until
its spill is empty; work, seconds of handling; die_in, a state, and die_after, seconds: it kills itself so long after
it came to that state. Each change of state is a word in its output. The ledger has what a dispatch took in seconds, and
which way it went.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from notification import Degradation, EventDispatcher, NotificationError

from .job import Job
from .ledger import Ledger


class Spiller:
    """One process of a service that goes on while its queue is down."""

    def __init__(self, url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.ledger = Ledger(directory, name)
        self.dispatcher = EventDispatcher(url, degradation=Degradation(spill=options["spill"], on_change=self.changed))
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, state: str) -> None:
        self.ledger.write("state", self.name, state=state)
        print(state, flush=True)
        if state == self.options.get("die_in"):
            asyncio.get_running_loop().call_later(self.options.get("die_after", 0.0), die)

    async def run(self) -> None:
        """Dispatch until told to stop, and wait until nothing of it is spilled."""
        async with self.dispatcher:
            print("ready", flush=True)
            if self.options.get("die_in") == "direct":
                asyncio.get_running_loop().call_later(self.options.get("die_after", 0.0), die)
            began, number, until = time.monotonic(), 0, Path(self.options["until"])
            while not until.exists():
                task = asyncio.create_task(self.send(number, time.monotonic()))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                number += 1
                wait = began + number / self.options["rate"] - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
            await asyncio.gather(*self._tasks)
            while (health := await self.dispatcher.health()).spilled or health.degraded:
                await asyncio.sleep(0.05)
        print("sent", flush=True)

    async def send(self, number: int, began: float) -> None:
        seq, account = divmod(number, self.options["keys"])
        id_, key = f"{self.name}-{number}", f"{self.name}-{account}"
        self.ledger.write("trying", id_, key, seq)
        job = Job(account, seq, self.options.get("work", 0.0))
        timeout = self.options.get("timeout", 5.0)
        try:
            sent = await self.dispatcher.dispatch(job, id=id_, key=key, timeout=timeout)
        except NotificationError as error:
            self.ledger.write("refused", id_, error=type(error).__name__, took=time.monotonic() - began)
        else:
            self.ledger.write("sent", id_, key, seq, via=sent.via, took=time.monotonic() - began)


def die() -> None:
    """As a kernel that needs memory does it."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(Spiller(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])).run())
