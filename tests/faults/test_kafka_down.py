"""Brokers that are killed, stay away and come back: what was accepted is kept, and all goes on by itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kafka_server import Start

from .homes import Home
from .kafka_stage import REPEATED, busy_worker, consumes_again, judged, load
from .programs import theatre, wait_until

soak = pytest.mark.soak


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("events", "outages"), [(5_000, (0, 0, 10)), pytest.param(50_000, (0, 0, 0, 0, 0, 10, 60), marks=soak)]
)
def test_a_broker_killed_and_started_again_loses_nothing(
    events: int, outages: tuple[int, ...], tmp_path: Path, kafka_server: Start
) -> None:
    """F21: at once, or after so many seconds; lost 0, keys in order, consuming within 30 s after."""
    server = kafka_server()
    with theatre(tmp_path, Home("kafka", server), lease=3) as stage:
        for worker in [busy_worker(stage) for _ in range(2)]:
            worker.ready()
        with load(stage, events):
            for seconds in outages:
                stage.handles(500)
                server.kill()
                time.sleep(seconds)
                server.start()
                consumes_again(stage, within=30)
        judged(stage, events, duplicates=len(outages) * 2 * REPEATED)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("events", "deaths"), [(3_000, 2), pytest.param(50_000, 9, marks=soak)])
def test_one_of_three_brokers_may_die_at_any_time(
    events: int, deaths: int, tmp_path: Path, kafka_server: Start
) -> None:
    """Whatever it led, all goes on while it is away: nothing is refused, lost or out of order."""
    servers = kafka_server(brokers=3)
    with theatre(tmp_path, Home("kafka", servers), lease=3, timeout="10s") as stage:
        for worker in [busy_worker(stage) for _ in range(2)]:
            worker.ready()
        with load(stage, events):
            for number in range(deaths):
                stage.handles(500)
                broker = servers.nodes[number % 3]
                broker.kill()
                consumes_again(stage, within=30)
                broker.start()
                wait_until(servers.in_sync, 60, "it has caught up, so that the next may die")
        judged(stage, events, duplicates=deaths * 2 * REPEATED)
        assert {line["text"] for line in stage.lines("refused")} == set()
