"""`notification stats`."""

from __future__ import annotations

import asyncio

from attrs import evolve

from queues.base import Capability, MessageQueue, QueueStats
from queues.clock import SYSTEM_CLOCK
from queues.errors import ConfigurationError
from queues.registry import open_queue

from .screen import show_stats
from ..assembly import build_dead, name_of


def show(url: str | None, *, as_json: bool) -> None:
    """Print the figures of a queue, with its sibling's for the dead letters."""
    queue = open_queue(chosen(url))
    refuse_local(queue)
    show_stats(name_of(queue), asyncio.run(_stats(queue)), as_json=as_json)


def chosen(url: str | None) -> str:
    """The URL, or a ConfigurationError. There is no default: an event sent to a queue nobody reads is lost."""
    if url is None:
        raise ConfigurationError(
            "which queue? Give --queue URL or set NOTIFICATION_QUEUE, for instance to sqlite:///events.db"
        )
    return url


def refuse_local(queue: MessageQueue) -> None:
    """Raise ConfigurationError for a queue that lives and dies with this process."""
    if Capability.LOCAL in queue.capabilities:
        raise ConfigurationError(
            f"{name_of(queue)} lives inside one process and is empty in any other; use a queue that outlives a "
            "process, such as sqlite:///events.db"
        )


async def _stats(queue: MessageQueue) -> QueueStats:
    async with queue:
        stats = await queue.stats()
        if stats.dead is None:
            async with build_dead(queue, None, SYSTEM_CLOCK) as dead:
                stats = evolve(stats, dead=await dead.size())
        return stats
