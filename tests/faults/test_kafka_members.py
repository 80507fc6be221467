"""Members of a group that come, go and die under load: who has which partition, and for how long nobody has it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from queues._kafka_partition import partition_of
from tests.kafka_server import Kafka

from .homes import Home
from .kafka_stage import REPEATED, SESSION, busy_worker, judged, load
from .programs import Child, Theatre, theatre, wait_until

soak = pytest.mark.soak
PARTITIONS = 6


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("events", "seconds"), [(5_000, 12), pytest.param(30_000, 60, marks=soak)])
def test_members_may_join_and_leave_all_the_time(events: int, seconds: int, tmp_path: Path, kafka: Kafka) -> None:
    """F22: every two seconds one comes or goes; lost 0, duplicates at most 1 %, no partition idle for over 15 s."""
    with theatre(tmp_path, Home("kafka", kafka), partitions=PARTITIONS) as stage:
        busy_worker(stage).ready()
        guests = [busy_worker(stage)]
        with load(stage, events):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                guests.append(busy_worker(stage))
                time.sleep(2)
                guests.pop(0).ready().stop()
                time.sleep(2)
        judged(stage, events, duplicates=events / 100)
        assert longest_pause(stage.lines("began")) <= 15


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("rounds", "patience"), [(1, 3.0), pytest.param(7, 1.0, marks=soak)])
def test_partitions_change_hands_quickly_and_only_a_death_repeats_anything(
    rounds: int, patience: float, tmp_path: Path, kafka: Kafka
) -> None:
    """A member joins: mostly idle for 1 s; leaves: 0.5 s; dies: its session and 1 s. One round says less."""
    with theatre(tmp_path, Home("kafka", kafka), partitions=PARTITIONS, lease=SESSION) as stage:
        stays = busy_worker(stage).ready()
        with load(stage, 3_000):
            phases = [change_hands(stage, stays) for _ in range(rounds)]
        judged(stage, 3_000, duplicates=rounds * REPEATED)
    began = stage.lines("began")
    for phase, accepted in zip(zip(*phases, strict=True), [1.0, 0.5, SESSION + 1.0], strict=True):
        idle = statistics.median(longest_pause(began, *moments) for moments in phase)
        assert idle <= accepted * patience


def change_hands(stage: Theatre, stays: Child) -> list[tuple[float, float]]:
    """One comes and goes, and another one comes and is killed; when each began and was over."""
    caught_up(stage)
    moments, before = [time.monotonic()], repeats(stage)
    leaves = joined(stage, busy_worker(stage))
    moments.append(time.monotonic())
    leaves.stop()
    alone(stage, stays)
    moments.append(time.monotonic())
    dies = joined(stage, busy_worker(stage))
    caught_up(stage)
    stage.handles(200)  # else it dies in the burst of what waited for it, and has more to repeat
    assert repeats(stage) == before
    moments.append(time.monotonic())
    dies.kill()
    alone(stage, stays)
    moments.append(time.monotonic())
    join, leave, _, death = itertools.pairwise(moments)
    return [join, leave, death]


def joined(stage: Theatre, worker: Child) -> Child:
    """It handles events of its share."""
    wait_until(lambda: owners(stage).get(worker.name, 0) == PARTITIONS // 2, what=f"{worker.name} has its share")
    return worker


def alone(stage: Theatre, worker: Child) -> None:
    """All partitions are its own."""
    wait_until(lambda: owners(stage) == {worker.name: PARTITIONS}, what=f"{worker.name} has all partitions")


def caught_up(stage: Theatre) -> None:
    """What was sent before now is handled."""
    sent = set(stage.ids("sent"))
    wait_until(lambda: sent <= stage.ids("ended"), what="all so far is handled")


def owners(stage: Theatre) -> Counter[str]:
    """How many partitions each process has, going by what began last in them."""
    last = {partition_of(line["key"], PARTITIONS): line["who"] for line in stage.lines("began")[-2_000:]}
    return Counter(last.values())


def repeats(stage: Theatre) -> int:
    """Effects beyond the first of an event, so far."""
    ended = [line["id"] for line in stage.lines("ended")]
    return len(ended) - len(set(ended))


def longest_pause(began: list[dict[str, Any]], start: float = 0.0, end: float = float("inf")) -> float:
    """The longest time in which nothing of some partition began, of those that end between these two moments."""
    last, longest = dict[int, float](), 0.0
    for line in began:
        partition = partition_of(line["key"], PARTITIONS)
        if start <= line["at"] <= end:
            longest = max(longest, line["at"] - last.get(partition, line["at"]))
        last[partition] = line["at"]
    return longest
