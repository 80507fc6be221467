"""Which queue a command is about, with its dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from attrs import evolve, frozen

from queues.admin import QueueAdmin, Share
from queues.base import Capability, MessageQueue, QueueStats, name_of
from queues.errors import ConfigurationError, Unsupported
from queues.registry import open_admin, open_queue
from queues.url import QueueURL

from ..dispatcher import EventDispatcher
from .loading import load
from .screen import finish

T = TypeVar("T")


def dispatcher_for(queue: str | None, app: str | None) -> EventDispatcher:
    """The app's, on the queue given if one is; without an app, one of our own.

    Raises ConfigurationError without either, and for a queue that lives and dies with one process. There is no
    default: an event sent to a queue that nobody reads is lost.
    """
    if app is None and queue is None:
        raise ConfigurationError(
            "which queue? Give --queue URL or set NOTIFICATION_QUEUE, for instance to sqlite:///events.db"
        )
    dispatcher = EventDispatcher() if app is None else load(app)
    if queue is not None:
        dispatcher.use(queue)
    if Capability.LOCAL in dispatcher.queue.capabilities:
        raise ConfigurationError(
            f"{name_of(dispatcher.queue)} lives inside one process and is empty in any other; use a queue that "
            "outlives a process, such as sqlite:///events.db"
        )
    return dispatcher


@frozen
class Target:
    """A queue and its dead letters, both open, without a dispatcher around them; its administration if asked for."""

    queue: MessageQueue
    dead: MessageQueue
    admin: QueueAdmin | None = None

    @property
    def name(self) -> str:
        """As a line on the screen names it, without secrets."""
        return name_of(self.queue)

    async def stats(self) -> QueueStats:
        """The queue's figures, with the number of dead letters."""
        stats = await self.queue.stats()
        return stats if stats.dead is not None else evolve(stats, dead=await self.dead.size())

    async def shares(self) -> Sequence[Share]:
        """Who has what of the events of its group; nothing where a queue can't tell."""
        with suppress(Unsupported):
            return await self.admin.lag(own=True) if self.admin is not None else ()
        return ()


@asynccontextmanager
async def opened(
    queue: str | None, app: str | None, *, partition: int | None = None, with_shares: bool = False
) -> AsyncIterator[Target]:
    """The queue and its dead letters, open for as long as the context lasts. partition: only this one of its own.

    Without `?dedup=`: a dead letter that is sent back has the id of the event that was dispatched.
    """
    dispatcher = dispatcher_for(queue, app)
    url = dispatcher.queue.url
    if url is not None:
        dispatcher.use(open_queue(_narrowed(url.without("dedup"), partition)))
    admin = _admin_of(url) if with_shares and url is not None else None
    async with dispatcher.queue as opened_queue, dispatcher.dead_letters as dead, admin or nullcontext():
        yield Target(opened_queue, dead, admin)


def _narrowed(url: QueueURL, partition: int | None) -> QueueURL:
    """To one partition. A queue that has none refuses the option."""
    return url if partition is None else evolve(url, options={**url.options, "partitions": str(partition)})


def _admin_of(url: QueueURL) -> QueueAdmin | None:
    with suppress(Unsupported):
        return open_admin(url)
    return None


@frozen
class Session:
    """An open target for a command that asks its user something between two steps, outside of the event loop."""

    target: Target
    _runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """One step."""
        return finish(work, self._runner.run)


@contextmanager
def session(queue: str | None, app: str | None) -> Iterator[Session]:
    """As `opened`, for code that is not async."""
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        target = finish(stack.enter_async_context(opened(queue, app)), runner.run)
        try:
            yield Session(target, runner)
        finally:
            runner.run(stack.aclose())
