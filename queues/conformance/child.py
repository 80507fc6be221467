"""`python -m queues.conformance.child`: an owner in a process of its own, told by JSON lines what to do.

The first line names the URL and the modules to import; it comes by the pipe because a URL may hold a password, which
every user of the machine could read from the list of processes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from ..base import MessageQueue
from ..message import Delivery
from ..registry import open_queue
from .waiting import event, ids


class Owner:
    """One opened queue and what it was handed."""

    def __init__(self, queue: MessageQueue) -> None:
        self._queue = queue
        self._held: list[Delivery] = []

    async def push(self, order: dict[str, Any]) -> None:
        await self._queue.push_many([event(name) for name in order["names"]])

    async def pop(self, order: dict[str, Any]) -> list[str]:
        while len(self._held) < order["count"]:
            self._held += await self._queue.pop_many(order["count"] - len(self._held))
        return ids(self._held)

    async def ack(self, order: dict[str, Any]) -> list[str]:
        count = len(self._held) if order["count"] is None else order["count"]
        settled, self._held = self._held[:count], self._held[count:]
        return ids(await self._queue.ack_many(settled))

    async def stay_alive(self) -> None:
        """Renew the lease in good time, as a pool of workers does."""
        while self._queue.lease is not None:
            await self._queue.clock.sleep(self._queue.lease / 4)
            if self._held:
                await self._queue.extend(self._held)


async def main() -> None:
    """Obey until the pipe closes, or a signal comes."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    first = json.loads(await lines.readline())
    for module in first["imports"]:
        importlib.import_module(module)
    async with open_queue(first["url"]) as queue:
        owner = Owner(queue)
        alive = asyncio.ensure_future(owner.stay_alive())
        _say(None)
        while line := await lines.readline():
            order = json.loads(line)
            _say(await getattr(owner, order["do"])(order))
        alive.cancel()


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201  # the pipe to the test is this process's standard output


if __name__ == "__main__":
    asyncio.run(main())
