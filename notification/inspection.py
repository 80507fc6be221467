"""How an opened dispatcher stands: figures, health, and whether its work is done."""

from __future__ import annotations

from attrs import evolve

from queues.base import QueueStats
from workers.outcome import describe

from .report import Health
from .service import Service


async def stats_of(service: Service) -> QueueStats:
    """The queue's figures, with the number of dead letters."""
    stats = await service.queue.stats()
    if stats.dead is None and service.dead is not None:
        stats = evolve(stats, dead=await service.dead.size())
    return stats


async def is_finished(service: Service) -> bool:
    """Whether nothing is on its way to the queue, waits in it, is in flight or delayed."""
    if service.sender.waiting or service.soon.waiting or (service.pool is not None and not service.pool.idle):
        return False
    stats = await service.queue.stats()
    return not (stats.waiting or stats.in_flight or stats.delayed)


async def health_of(service: Service | None) -> Health:
    """For probes. Never raises."""
    if service is None or service.over:
        failed = service.failure if service is not None else None
        return Health(live=failed is None, ready=False, last_error=str(failed or ""))
    lag, error = await _lag(service)
    pool = service.pool
    if pool is None:
        return Health(live=True, ready=not error, degraded=bool(error), lag=lag, last_error=error)
    for trouble in (pool.fetcher.trouble, pool.settler.trouble):
        if trouble.failures:
            error = error or trouble.last_error
    popped = pool.fetcher.last_pop
    return Health(
        live=True,
        ready=not error,
        degraded=bool(error),
        last_pop_age=None if popped is None else service.clock.monotonic() - popped,
        lag=lag,
        lost_leases=pool.held.lost,
        in_threads=pool.in_threads,
        last_error=error,
    )


async def _lag(service: Service) -> tuple[int | None, str]:
    try:
        return await service.queue.size(), ""
    except Exception as unreachable:  # noqa: BLE001 - a plugin may raise anything; a probe wants an answer
        return None, describe(unreachable)
