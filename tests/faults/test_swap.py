"""The swap: one service, and only the URL of its queue changes. What it does and what it gives up on stay the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from queues.registry import open_queue

from . import swap
from .checker import check
from .homes import Home, homes
from .programs import Child, Theatre, theatre, wait_until

LEASE = 1.0
WORKERS, PREFETCH = 8, 100


@homes("sqlite", "keyed", "kafka")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "count", "customers", "rate"),
    [(2, 600, 20, 300), pytest.param(20, 20_000, 100, 100, marks=pytest.mark.soak)],
)
def test_a_service_does_the_same_whatever_its_queue_is(
    home: Home, *, kills: int, count: int, customers: int, rate: int, tmp_path: Path
) -> None:
    """Killed in the middle: the same effects, in the same order for each key, and the same dead letters for the same
    reasons, once repeats are removed; and of these there are at most what the killed processes held.
    """
    wanted = swap.expected(swap.orders(count, customers))
    with theatre(tmp_path, home, lease=LEASE) as stage:
        workers = [shipping(stage) for _ in range(2)]
        for worker in workers:
            worker.ready()
        placing = stage.service(place=count, customers=customers, rate=rate)
        for number in range(kills):
            wait_for_effects(stage, len(wanted.effects["ship"]) * (number + 1) // (kills + 2))
            kill_in_the_middle(stage, workers.pop(0))
            workers.append(shipping(stage).ready())
        placing.finished(600)
        wait_until(lambda: is_done(stage, wanted), 300, "all is shipped and archived, or dead")
        stage.finish()
        assert swap.apart(wanted, swap.seen(stage.lines(), stage.dead_letters())) == []
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.phantom, verdict.inversions) == ([], [], [])
        assert verdict.duplicates <= kills * (WORKERS + PREFETCH)
        assert asyncio.run(left(stage.url)) == 0


def kill_in_the_middle(stage: Theatre, victim: Child) -> None:
    wait_until(lambda: stage.running(victim), what=f"{victim.name} handles something")
    victim.kill()


def shipping(stage: Theatre) -> Child:
    return stage.service(workers=WORKERS, prefetch=PREFETCH)


def wait_for_effects(stage: Theatre, goal: int) -> None:
    wait_until(lambda: stage.count("ended") >= goal, 300, f"{goal} orders are shipped")


def is_done(stage: Theatre, wanted: swap.Outcome) -> bool:
    """Whether all is there; dead letters are looked at last, which takes longest."""
    effects = {"ship": stage.ids("ended"), "archive": stage.ids("archived")}
    if any(wanted.effects[handler] - ids for handler, ids in effects.items()):
        return False
    return {letter.id for letter in stage.dead_letters()} >= wanted.dead.keys()


async def left(url: str) -> int:
    """What is still in the queue, waiting, in flight or delayed."""
    async with open_queue(url) as queue:
        stats = await queue.stats()
    return stats.waiting + (stats.in_flight or 0) + (stats.delayed or 0)
