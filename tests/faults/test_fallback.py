"""F40: a server that is down is noticed by nobody but the operators; and processes that die while it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kafka_server import Start as StartKafka
from tests.redis_server import Start as StartRedis

from .checker import Verdict, check
from .homes import Home, kinds
from .programs import BATCH, Child, Theatre, theatre, wait_until

soak = pytest.mark.soak
WORKERS, PREFETCH = 8, 64
REPEATED = WORKERS + PREFETCH
StartServer = Callable[[str], Any]


@pytest.fixture
def start_server(request: pytest.FixtureRequest) -> StartServer:
    """Starts the server of this kind of queue, of the test's own, that keeps what it accepted."""

    def start(kind: str) -> Any:
        if kind == "kafka":
            kafka: StartKafka = request.getfixturevalue("kafka_server")
            return kafka()
        redis: StartRedis = request.getfixturevalue("redis_server")
        return redis(persistence="always")

    return start


def spiller(stage: Theatre, spill: Path, **options: Any) -> Child:
    """A process that dispatches all the time, not yet ready."""
    until = stage.directory / "enough"
    return stage._child(
        "spiller", {"spill": str(spill), "rate": 400, "keys": 50, "until": str(until), "work": 0.001, **options}
    )  # fmt: skip


def enough(stage: Theatre, spillers: list[Child]) -> None:
    """Let them end when nothing is spilled any more, and everything be handled."""
    (stage.directory / "enough").touch()
    for child in spillers:
        child.finished(180)
        assert "dead letter" not in child.errors, child.errors[-2000:]
    stage.handles_all(lambda: stage.ids("sent") - stage.ids("ended"))
    stage.finish()


def took(stage: Theatre, since: float, until: float) -> list[float]:
    """Seconds that each dispatch took that was begun between these moments, in order of size."""
    answered = stage.lines("sent", "refused")
    return sorted(line["took"] for line in answered if since <= line["at"] - line["took"] < until)


def judged(stage: Theatre, duplicates: int, *, ordered: bool = True) -> Verdict:
    verdict = check(stage.directory)
    assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.dead) == ([], [], [], 0)
    assert verdict.inversions == [] or not ordered
    assert verdict.duplicates <= duplicates
    return verdict


@kinds("keyed", "kafka", full_size=("list", "stream"))
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seconds", "longest"), [(4.0, 0.2), pytest.param(60.0, 0.02, marks=soak)], ids=["small", "full"]
)
def test_a_server_that_is_down_is_noticed_by_nobody_who_dispatches(
    kind: str, *, seconds: float, longest: float, tmp_path: Path, start_server: StartServer
) -> None:
    """Everything is accepted: within 1.5 s at first, and from 2 s after the outage began at once (p99 ≤ 20 ms on a
    machine of one's own). It is handled in order when the server is back, and nothing is lost.
    """
    server = start_server(kind)
    with theatre(tmp_path, Home(kind, server), lease=3) as stage:
        for worker in [stage.worker(workers=WORKERS, prefetch=PREFETCH) for _ in range(2)]:
            worker.ready()
        service = spiller(stage, tmp_path / "spill").ready()
        stage.handles(200)
        down = time.monotonic()
        server.kill()
        service.says("spilling")
        time.sleep(max(0.0, down + seconds - time.monotonic()))
        back = time.monotonic()
        server.start()
        wait_until(lambda: service.output.split()[-1] == "direct", 60, "the spill is empty")
        stage.handles(200)
        enough(stage, [service])
        judged(stage, 2 * REPEATED + BATCH, ordered=kind in {"keyed", "kafka"})
        assert stage.count("refused") == 0
        spilled = [line for line in stage.lines("sent") if line["via"] == "spill"]
        assert len(spilled) >= (back - down - 2.0) * 400 * 0.8
        assert took(stage, down - 0.1, down + 2)[-1] <= 1.5 + longest
        during = took(stage, down + 2, back)
        assert during[int(len(during) * 0.99)] <= longest


@kinds("keyed", full_size=("kafka",))
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [2.5, pytest.param(60.0, marks=soak)])
def test_a_server_that_stands_still_is_noticed_by_nobody_either(
    kind: str, seconds: float, tmp_path: Path, start_server: StartServer
) -> None:
    """It keeps its connections and says nothing; what it had taken when it fell silent is not stored twice."""
    server = start_server(kind)
    with theatre(tmp_path, Home(kind, server), lease=30) as stage:
        stage.worker(workers=WORKERS, prefetch=PREFETCH).ready()
        service = spiller(stage, tmp_path / "spill").ready()
        stage.handles(200)
        down = time.monotonic()
        server.pause()
        service.says("spilling")
        time.sleep(seconds)
        server.resume()
        wait_until(lambda: service.output.split()[-1] == "direct", 60, "the spill is empty")
        enough(stage, [service])
        judged(stage, REPEATED + BATCH)
        assert stage.count("refused") == 0
        assert took(stage, down - 0.1, down + 2)[-1] <= 1.7


@kinds("keyed", full_size=("kafka",))
@pytest.mark.timeout(300)
def test_a_full_spill_refuses_and_keeps_nothing_in_memory(kind: str, tmp_path: Path, start_server: StartServer) -> None:
    """A typed error; as much was accepted while the server was down as the spill may hold, and not one more."""
    server = start_server(kind)
    bound = 300
    with theatre(tmp_path, Home(kind, server), lease=3) as stage:
        stage.worker(workers=WORKERS, prefetch=PREFETCH).ready()
        service = spiller(stage, tmp_path / f"spill?capacity={bound}", timeout=0.2).ready()
        stage.handles(100)
        server.kill()
        wait_until(lambda: stage.count("refused") >= 200, what="the spill is full")
        spilled = sum(line["via"] == "spill" for line in stage.lines("sent"))
        assert spilled == bound
        assert {line["error"] for line in stage.lines("refused")} == {"SpillFull"}
        server.start()
        wait_until(lambda: service.output.split()[-1] == "direct", 60, "the spill is empty")
        stage.handles(100)
        enough(stage, [service])
        judged(stage, REPEATED + BATCH)


@kinds("keyed", full_size=("kafka",))
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("state", "after"),
    [("direct", 0.3), ("spilling", 0.5), ("replaying", 0.0), *[
        pytest.param("replaying", wait / 100, marks=soak) for wait in range(1, 10)
    ]],
)  # fmt: skip
def test_a_process_that_is_killed_in_any_state_loses_nothing(
    kind: str, *, state: str, after: float, tmp_path: Path, start_server: StartServer
) -> None:
    """What it had accepted is in the queue or in its spill; the next process that uses the spill sends it on."""
    server = start_server(kind)
    with theatre(tmp_path, Home(kind, server), lease=3) as stage:
        stage.worker(workers=WORKERS, prefetch=PREFETCH).ready()
        victim = spiller(stage, tmp_path / "spill", rate=1000, die_in=state, die_after=after).ready()
        if state != "direct":
            stage.handles(100)
            server.kill()
            if state == "replaying":
                victim.says("spilling")
                before = stage.count("sent")
                wait_until(lambda: stage.count("sent") >= before + 2000, what="there is something to replay")
                server.start()
        assert victim.process.wait(60) == -9
        if state == "spilling":
            server.start()
        heir = spiller(stage, tmp_path / "spill", rate=100).ready()
        enough(stage, [heir])
        judged(stage, REPEATED + 2 * BATCH)
        assert not list((tmp_path / "spill").glob("*.db"))


@kinds("keyed")
@pytest.mark.timeout(300)
def test_processes_share_a_directory_and_one_finishes_what_another_leaves(
    kind: str, tmp_path: Path, start_server: StartServer
) -> None:
    """Each has a file of its own; one is killed while the server is down, and comes back with the others."""
    server = start_server(kind)
    with theatre(tmp_path, Home(kind, server), lease=3) as stage:
        stage.worker(workers=WORKERS, prefetch=PREFETCH).ready()
        services = [spiller(stage, tmp_path / "spill", rate=200).ready() for _ in range(2)]
        stage.handles(100)
        server.kill()
        for service in services:
            service.says("spilling")
        assert len(list((tmp_path / "spill").glob("*.db"))) == 2
        before = stage.count("sent")
        wait_until(lambda: stage.count("sent") >= before + 200, what="both have something")
        services.pop().kill()
        services.append(spiller(stage, tmp_path / "spill", rate=200).ready())
        services[-1].says("spilling")
        server.start()
        stage.handles(300)
        enough(stage, services)
        judged(stage, REPEATED + 3 * BATCH)
        assert not list((tmp_path / "spill").glob("*.db"))


@kinds("keyed", full_size=("kafka",))
@pytest.mark.timeout(300)
def test_a_service_that_starts_while_its_server_is_down_works_from_the_first_moment(
    kind: str, tmp_path: Path, start_server: StartServer
) -> None:
    """It spills, and a worker with a spill begins when the server is there."""
    server = start_server(kind)
    with theatre(tmp_path, Home(kind, server), lease=3) as stage:
        server.kill()
        worker = stage.worker(workers=WORKERS, prefetch=PREFETCH, spill=str(tmp_path / "worker")).ready()
        service = spiller(stage, tmp_path / "spill").ready()
        service.says("spilling")
        wait_until(lambda: stage.count("sent") >= 200, what="dispatching works")
        server.start()
        wait_until(lambda: service.output.split()[-1] == "direct", 60, "the spill is empty")
        stage.handles(100)
        assert worker.alive
        enough(stage, [service])
        judged(stage, REPEATED + BATCH)
