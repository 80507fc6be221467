"""What ties a worker process to the parent that started it: it tells how it is, and ends when the parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from attrs import frozen

from queues.clock import SYSTEM_CLOCK

VARIABLE = "NOTIFICATION_LIFELINE"
"""The file descriptor of the child's end of a socket pair."""
_EVERY = 1.0
"""Seconds between two words about its health."""


@frozen
class Lifeline:
    """The child's end. Lines of JSON go up; a word to go on comes down, and at last that it breaks."""

    sock: socket.socket

    @classmethod
    def to_parent(cls) -> Lifeline | None:
        """The one that the parent left for this process; None when nobody started it so."""
        number = os.environ.pop(VARIABLE, None)  # not for processes that the app starts
        if number is None or not number.isdecimal():
            return None
        try:
            sock = socket.socket(fileno=int(number))
        except OSError:
            return None
        sock.set_inheritable(False)
        sock.setblocking(False)
        return cls(sock)

    def tell(self, **message: Any) -> None:
        """A word to the parent; none if it doesn't listen."""
        with contextlib.suppress(OSError):
            self.sock.send(orjson.dumps(message) + b"\n")

    @asynccontextmanager
    async def held(
        self, facts: Mapping[str, object], look: Callable[[], Awaitable[Mapping[str, object]]]
    ) -> AsyncIterator[None]:
        """Inside: say how it is each second, and stop in order when the parent is gone.

        Begins once the parent knows what is going to run, so that its line comes before those of handlers.
        """
        self.tell(loaded=facts)
        await self._hear()
        tasks = [asyncio.create_task(self._talk(look)), asyncio.create_task(self._watch())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _talk(self, look: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
        while not (health := await look())["ready"]:
            await SYSTEM_CLOCK.sleep(0.02)
        self.tell(started=True)
        while True:
            self.tell(health=health)
            await SYSTEM_CLOCK.sleep(_EVERY)
            health = await look()

    async def _watch(self) -> None:
        while await self._hear():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    async def _hear(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self.sock, 64)
        except OSError:  # the parent was killed before it had read everything
            return b""
