"""How an opened dispatcher stands: figures, health, and whether its work is done."""

from __future__ import annotations

from attrs import evolve

from queues.base import QueueStats
from queues.clock import Clock, patience
from queues.fallback import State
from workers.outcome import describe
from workers.pool import Pool

from .report import Health
from .service import Service

_PATIENCE = 1.0
"""Seconds to wait for the queue's size; who asks over HTTP waits for two."""


async def stats_of(service: Service) -> QueueStats:
    """The queue's figures, with the number of dead letters."""
    stats = await service.queue.stats()
    if stats.dead is None and service.dead is not None:
        stats = evolve(stats, dead=await service.dead.size())
    return stats


async def is_finished(service: Service) -> bool:
    """Whether nothing is on its way to the queue, is spilled, waits in the queue, is in flight or delayed."""
    if service.sender.waiting or service.soon.waiting or (service.pool is not None and not service.pool.idle):
        return False
    if (fallback := service.fallback) is not None and (fallback.spilled or fallback.state is not State.DIRECT):
        return False
    stats = await service.queue.stats()
    return not (stats.waiting or stats.in_flight or stats.delayed)


async def health_of(service: Service | None) -> Health:
    """For probes. Never raises, and takes no more than a second."""
    if service is None or service.over:
        failed = service.failure if service is not None else None
        return Health(live=failed is None, ready=False, last_error=str(failed or ""))
    if not service.is_open:
        return Health(live=True, ready=False, last_error="the queue is not open yet")
    lag, error = await _lag(service)
    pool, fallback = service.pool, service.fallback
    for trouble in (pool.fetcher.trouble, pool.settler.trouble) if pool is not None else ():
        if trouble.failures:
            error = error or trouble.last_error
    return Health(
        live=True,
        ready=not error or service.goes_on,
        degraded=bool(error) or (fallback is not None and fallback.state is not State.DIRECT),
        spilled=0 if fallback is None else fallback.spilled,
        last_pop_age=None if pool is None else _pop_age(pool, service.clock, idle=lag == 0 and not error),
        lag=lag,
        lost_leases=0 if pool is None else pool.held.lost,
        in_threads=0 if pool is None else pool.in_threads,
        last_error=error,
    )


def _pop_age(pool: Pool, clock: Clock, *, idle: bool) -> float | None:
    """A fetch that waits for events is as good as answered when there are none, and so is none at all."""
    if (popped := pool.fetcher.last_pop) is None:
        return None
    return 0.0 if idle or pool.inbox.full else clock.monotonic() - popped


async def _lag(service: Service) -> tuple[int | None, str]:
    """How many wait, or why nobody knows. A queue that takes no events is not asked: it may be long in answering."""
    if (fallback := service.fallback) is not None and (fallback.state is State.SPILLING or not fallback.reached):
        return None, fallback.error
    try:
        async with patience(_PATIENCE):
            return await service.queue.size(), ""
    except TimeoutError:
        return None, f"the queue gave no answer within {_PATIENCE:g} s"
    except Exception as unreachable:  # noqa: BLE001 - a plugin may raise anything; a probe wants an answer
        return None, describe(unreachable)
