"""What dead owners held, and many who give it back at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from queues.message import Message
from queues.registry import open_queue

from .checker import check
from .homes import Home, homes
from .programs import Theatre, theatre, wait_until

PERIOD = 1.0
"""Seconds between two looks for leases that are over."""
SLACK = 1.5
"""What a busy machine may add."""


@homes("list", "stream", full_size=("keyed",))
@pytest.mark.timeout(120)
def test_eight_reapers_of_which_some_are_killed_give_every_orphan_back_once(home: Home, tmp_path: Path) -> None:
    """F19: nobody locks anybody out; an orphan comes back a lease and a period after its owner's death."""
    lease, orphans = 2.0, 3_000
    with theatre(tmp_path, home, lease=lease) as stage:
        asyncio.run(push(stage, orphans))
        victim = stage.owners(owners=1, hold=orphans).ready()
        killed, survivor = (stage.owners(owners=4, pause=0.01) for _ in range(2))
        killed.ready(), survivor.ready()
        first = victim.kill()
        wait_until(lambda: stage.count("ended") > orphans / 4, lease + PERIOD + SLACK + 5)
        second = killed.kill()
        wait_until(lambda: len(stage.ids("ended")) == orphans, lease + PERIOD + SLACK + 10)
        ended = stage.lines("ended")
        assert ended[0]["at"] - first <= lease + PERIOD + SLACK
        had = set(stage.running(killed))
        came_back = [line["at"] for line in ended if line["id"] in had and line["who"] == survivor.name]
        assert max(came_back, default=second) - second <= lease + PERIOD + SLACK
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.stuck) == ([], [])
        assert verdict.duplicates <= 4 * 20  # written down by those who were killed before they could ack it
        assert verdict.most_runs <= 2


async def push(stage: Theatre, count: int) -> None:
    """Events 0 to count, of a hundred keys."""
    events = [Message(type="faults.orphan", id=str(n), source="/t", key=str(n % 100)) for n in range(count)]
    async with open_queue(stage.url) as queue:
        await queue.push_many(events)
    for event in events:
        stage.write("trying", event.id)
        stage.write("sent", event.id)
