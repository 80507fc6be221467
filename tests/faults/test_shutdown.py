"""SIGTERM to a busy worker process: it ends in time, and what it could not finish is at once another's."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from queues.message import Delivery
from queues.registry import open_queue

from .checker import check
from .homes import Home, homes
from .programs import Theatre, theatre, wait_until

AT_ONCE = 4
"""Runs at a time: they mostly wait."""


@homes("sqlite", "list", "stream", "kafka", full_size=("keyed",))
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("runs", "grace", "longest"), [(1, 2.0, 6.0), pytest.param(100, 10.0, 30.0, marks=pytest.mark.soak)]
)
def test_a_busy_worker_ends_in_time_and_hands_back_the_rest(
    home: Home, runs: int, grace: float, longest: float, tmp_path: Path
) -> None:
    """F06: lost 0; what ended in time is not run again; the rest is there within a second, and uncounted."""

    def run(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        with theatre(directory, home) as stage:
            shut_down_and_take_over(stage, grace, longest)

    with ThreadPoolExecutor(AT_ONCE) as several:
        for _ in several.map(run, range(runs)):
            pass


def shut_down_and_take_over(stage: Theatre, grace: float, longest: float) -> None:
    """One run."""
    worker = stage.worker(workers=8, prefetch=8, grace=grace).ready()
    stage.producer(count=24, keys=24, least=0.1, work=longest).finished()
    wait_until(lambda: len(stage.running(worker)) == 8)
    busy, asked = worker.kept_waiting(), worker.signal(signal.SIGTERM)
    os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT)
    took = time.monotonic() - asked
    assert took - (worker.kept_waiting() - busy) <= grace + 0.5
    worker.process.wait()
    report = worker.said()["report"]
    ended = {line["id"] for line in stage.lines("ended")}
    left, waited = asyncio.run(waiting(stage))
    assert waited <= 1
    assert len(left) == len({delivery.expect().id for delivery in left}) == 24 - len(ended)
    assert not ended & {delivery.expect().id for delivery in left}
    assert {(delivery.times, delivery.expect().attempt) for delivery in left} <= {(1, 1)}
    assert (report["handled"], report["abandoned"]) == (len(ended), 0)
    assert report["released"] >= 8 - len(ended)
    again = stage.worker(workers=24, hurry=True)
    wait_until(lambda: stage.count("ended") == 24)
    again.ready().stop()
    verdict = check(stage.directory)
    assert (verdict.lost, verdict.duplicates, verdict.phantom) == ([], 0, [])


async def waiting(stage: Theatre) -> tuple[list[Delivery], float]:
    """All that another process is handed, and how long that took. It is handed back afterwards."""
    began, found = time.monotonic(), list[Delivery]()
    async with open_queue(stage.url) as queue:
        count = await queue.size()
        while len(found) < count:
            found += await asyncio.wait_for(queue.pop_many(100), 20)
    return found, time.monotonic() - began
