"""A process that works on an SQLite queue and writes down what it does; for tests that kill it.

`python -m tests.sqlite_worker ROLE URL LEDGER [COUNT]`; a line of the ledger is a monotonic time in ns, a word, an id.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time

from queues import Message, open_queue
from queues.errors import QueueError, QueueUnavailable


class Ledger:
    """Appended to by one write() each, so that a kill leaves whole lines."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, word: str, names: list[str]) -> None:
        now = time.monotonic_ns()
        os.write(self._file, b"".join(f"{now} {word} {name}\n".encode() for name in names))


def event(number: int, keys: int = 100) -> Message:
    """Events number 0, 1, 2, … of 100 keys; the number of an event grows within its key."""
    return Message(type="t", id=f"{number}", source="/s", key=f"k{number % keys}", data="x" * 200)


async def handle(url: str, ledger: Ledger, _: int) -> None:
    """Take up to 20, write them down, acknowledge, write that down."""
    async with open_queue(url) as queue:
        ledger.write("ready", ["-"])
        while True:
            got = await queue.pop_many(20)
            ids = [delivery.expect().id for delivery in got]
            ledger.write("got", ids)
            await asyncio.sleep(0.005)
            lost = {id(delivery) for delivery in await queue.ack_many(got)}
            ledger.write("done", [delivery.expect().id for delivery in got if id(delivery) not in lost])


async def produce(url: str, ledger: Ledger, _: int) -> None:
    """Push batches of ten until killed; written down once they are accepted."""
    async with open_queue(url) as queue:
        number = 0
        while True:
            messages = [event(number + step) for step in range(10)]
            await queue.push_many(messages)
            ledger.write("accepted", [message.id for message in messages])
            number += 10


async def pace(url: str, ledger: Ledger, count: int) -> None:
    """Push `count` events, one each 5 ms."""
    async with open_queue(url) as queue:
        for number in range(count):
            await asyncio.sleep(0.005)
            ledger.write("pushed", [f"{number}"])
            await queue.push(event(number))


async def outgrow(url: str, ledger: Ledger, count: int) -> None:
    """Under a limit on the size of files: push until it is reached, lift it, and go on with the same queue."""
    async with open_queue(url) as queue:
        await queue.push(event(0))
        held = await queue.pop_many(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
        number = 1
        try:
            while True:
                await queue.push(event(number))
                ledger.write("accepted", [f"{number}"])
                number += 1
        except QueueUnavailable as error:
            ledger.write("refused", [type(error).__name__])
        try:
            assert await queue.ack_many(held) == []
            ledger.write("acked", ["0"])
        except QueueError as error:
            ledger.write("unacked", [type(error).__name__])
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await queue.push(event(number))
        ledger.write("accepted", [f"{number}"])


if __name__ == "__main__":
    role, url, path, *rest = sys.argv[1:]
    roles = {"handle": handle, "produce": produce, "pace": pace, "outgrow": outgrow}
    asyncio.run(roles[role](url, Ledger(path), int(rest[0]) if rest else 0))
