"""A dispatcher's life while it is tested: its own handlers and settings, on a queue and a clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import attrs

from queues.base import MessageQueue
from queues.clock import Clock
from queues.errors import ConfigurationError
from queues.message import Message
from queues.registry import open_queue
from queues.url import DEAD, QueueURL

from ..context import Send
from ..life import Life
from ..report import StopReport
from ..sender import Answer, Sender
from .recording import Record, RecordingQueue


class Rehearsal(Life):
    """The tester has opened it, and ends it. That the application starts and stops it meanwhile changes nothing."""

    @classmethod
    def of(cls, life: Life, clock: Clock, record: Record) -> Self:
        """A rehearsal of this life. Raises ConfigurationError while it is open, or is a rehearsal itself."""
        if isinstance(life, Rehearsal):
            raise ConfigurationError("the dispatcher is being tested already; one EventTester at a time")
        if life.service is not None and not life.service.over:
            raise ConfigurationError(
                "the dispatcher is open on its own queue; stop it before it is tested: leave its `async with`, "
                "or await dispatcher.stop()"
            )
        url = _url_like(life.queue)
        queue = RecordingQueue(open_queue(url), record.note_dispatch)
        queue.limits = life.queue.limits
        dead = RecordingQueue(open_queue(url.sibling(DEAD)), record.dead.append)
        settings = attrs.evolve(
            life._settings, dead_letter=dead, middleware=(record, *life._settings.middleware), degradation=None
        )
        return cls(queue, settings, life._handlers, clock)

    def use(self, queue: str | MessageQueue) -> None:
        """Stays on the test's queue."""

    async def start(self, workers: int, send: Send) -> None:
        """The first time, which is the tester's."""
        if self.service is None:
            await super().start(workers, send)
            service, _ = self.opened()
            service.sender = HomeSender(service.sender, service.loop)

    async def stop(self, grace: float | None) -> StopReport:
        """The tester's part; see `end`."""
        return StopReport()

    async def end(self, grace: float) -> StopReport:
        """Stop in order, within seconds of the test's clock."""
        return await super().stop(grace)


class HomeSender:
    """Refuses what a dispatcher on a queue elsewhere would never answer: a dispatch in an event loop not its own."""

    def __init__(self, inner: Sender, loop: asyncio.AbstractEventLoop) -> None:
        self._inner, self._loop = inner, loop

    async def send(self, message: Message, timeout: float | None) -> str | None:
        self._check_loop()
        return await self._inner.send(message, timeout)

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> list[Answer]:
        self._check_loop()
        return await self._inner.send_all(messages, timeout)

    async def run(self) -> None:
        await self._inner.run()

    async def drained(self) -> None:
        await self._inner.drained()

    @property
    def waiting(self) -> int:
        return self._inner.waiting

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "dispatch() in another event loop than the test's: a web framework's synchronous test client runs the "
                "application in one of its own; use httpx.AsyncClient(transport=httpx.ASGITransport(app)). From "
                "threads there are dispatch_soon() and blocking()"
            )


def _url_like(queue: MessageQueue) -> QueueURL:
    """A channel with the name and the order of this queue: dead letters name the one, the other decides about keys."""
    url = queue.url
    if url is None:
        return QueueURL.parse("channel://")
    return QueueURL(raw="channel://", scheme="channel", name=url.name, order=url.order)
