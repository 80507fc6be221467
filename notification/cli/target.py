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

from ..config import Config, PlainQueue, SwitchedQueue, read_config
from ..degradation import Degradation
from ..dispatcher import EventDispatcher
from .loading import load
from .screen import finish

T = TypeVar("T")


def app_on(app: str, queue: str | None) -> EventDispatcher:
    """The app's dispatcher, on the queue that counts: of the command line, the environment, a file, the code.

    queue: of the command line or the environment. Raises ConfigurationError, BrokenApp.
    """
    dispatcher = load(app)
    config = config_for(dispatcher, queue)
    if config.queue is not None and config is not dispatcher.config:
        dispatcher.use(config.opened())
    return dispatcher


def dispatcher_for(queue: str | None, app: str | None) -> EventDispatcher:
    """The app's, on the queue that counts; without an app, one of our own.

    Raises ConfigurationError without either, and for a queue that lives and dies with one process. There is no
    default: an event sent to a queue that nobody reads is lost.
    """
    dispatcher = _our_own(queue) if app is None else app_on(app, queue)
    if Capability.LOCAL in dispatcher.queue.capabilities:
        raise ConfigurationError(
            f"{name_of(dispatcher.queue)} lives inside one process and is empty in any other; use a queue that "
            "outlives a process, such as sqlite:///events.db"
        )
    return dispatcher


def one_queue(queue: str | None, app: str | None) -> PlainQueue:
    """The queue that counts, where there has to be one with a URL; with what a file says about making it.

    Raises ConfigurationError: for a switch, which is several queues, too.
    """
    dispatcher = None if app is None else load(app)
    config = config_for(dispatcher, queue)
    if config.queue is None and dispatcher is not None:
        if dispatcher.queue.url is not None:
            return PlainQueue(dispatcher.queue.url, str(app))
        raise ConfigurationError(f"the queue of {app} has no URL, so nobody else can reach it; give --queue URL")
    chosen = config.chosen()
    if isinstance(chosen, SwitchedQueue):
        routes = ", ".join(chosen.routes)
        raise ConfigurationError(f"{chosen.place} is several queues; give --queue the name of one: {routes}")
    return chosen


def config_for(dispatcher: EventDispatcher | None, queue: str | None) -> Config:
    """The settings that count: those that the dispatcher was made from, or else those of the environment."""
    if dispatcher is None or dispatcher.config is None:
        return read_config(queue=queue)
    return dispatcher.config if queue is None else dispatcher.config.on(queue)


def _our_own(queue: str | None) -> EventDispatcher:
    config = read_config(queue=queue)
    return EventDispatcher(config.opened(), dead_letter=config.dead_letter(), degradation=_spill(config))


def _spill(config: Config) -> Degradation | None:
    """Where a strict switch keeps events while it changes routes, and nothing else of the degradation: a command would
    rather fail than leave events elsewhere, and has no handlers that it might run.
    """
    strict = isinstance(config.queue, SwitchedQueue) and config.queue.strict
    return Degradation(spill=config.get("degradation.spill")) if strict else None


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
    if url is None and partition is not None:
        raise ConfigurationError(
            f"{name_of(dispatcher.queue)} is several queues; give --queue the one with the partition"
        )
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
