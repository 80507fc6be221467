"""SIGKILL and SIGSTOP on worker processes: nothing is lost, little is repeated, and every key keeps its order."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from .checker import check
from .homes import EVERY_HOME, Home, homes
from .programs import PREFETCH, REPEATED, WORKERS, Child, Theatre, theatre, wait_until

soak = pytest.mark.soak


@EVERY_HOME
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kills", "events", "keys", "rate"), [(5, 5_000, 100, 1_200), pytest.param(20, 100_000, 1_000, 2_000, marks=soak)]
)
def test_killed_workers_lose_nothing_and_repeat_little(
    home: Home, *, kills: int, events: int, keys: int, rate: int, tmp_path: Path
) -> None:
    """F01: lost 0; duplicates at most what the killed ones held; orphans are back in time; 0 inversions per key."""
    lease, options = 2.0, {"workers": WORKERS, "prefetch": PREFETCH}
    with theatre(tmp_path, home, lease=lease) as stage:
        workers = [stage.worker(**options) for _ in range(2 if events < 100_000 or home.kind == "sqlite" else 4)]
        for worker in workers:
            worker.ready()
        enough = tmp_path / "enough"
        producer = stage.producer(
            count=events, keys=keys, rate=min(rate, home.rate), work=0.004, until=str(enough)
        )  # fmt: skip
        orphaned: list[tuple[float, list[str]]] = []
        for number in range(kills):
            wait_for_handled(stage, events * (number + 1) // (kills + 3))
            orphaned.append(kill_in_the_middle(stage, workers.pop(0)))
            workers.append(stage.worker(**options).ready())
        enough.touch()
        producer.finished()
        wait_for_handled(stage, stage.count("sent"))
        stage.finish()
        stage.dead_letters()
        verdict = check(tmp_path)
        assert verdict.sent >= events
        assert (verdict.lost, verdict.phantom) == ([], [])
        assert verdict.inversions == [] or not home.keyed
        assert verdict.duplicates <= kills * REPEATED + uncommitted(stage, home, [moment for moment, _ in orphaned])
        assert verdict.dead == 0
        began = stage.lines("began")
        for moment, orphans in orphaned:
            for orphan in orphans:
                again = min(line["at"] for line in began if line["id"] == orphan and line["at"] > moment)
                assert again - moment <= lease + 3


def wait_for_handled(stage: Theatre, goal: int) -> None:
    wait_until(lambda: stage.count("ended") >= goal, 300, f"{goal} events handled")


def uncommitted(stage: Theatre, home: Home, deaths: list[float]) -> int:
    """What was handled in the last tenth of a second before each death: where acks are committed behind our back."""
    if home.kind != "kafka":
        return 0
    return sum(any(0 <= death - line["at"] <= 0.1 for death in deaths) for line in stage.lines("ended"))


def kill_in_the_middle(stage: Theatre, victim: Child) -> tuple[float, list[str]]:
    """Kill it while handlers run; when that was, and what they were on."""
    wait_until(lambda: stage.running(victim), what=f"{victim.name} handles something")
    moment = victim.kill()
    return moment, stage.running(victim)


@homes("sqlite", "list", "stream", full_size=("keyed",))
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lease", [1.5, pytest.param(30.0, marks=soak)])
def test_a_worker_that_was_stopped_for_longer_than_its_lease_settles_nothing_any_more(
    home: Home, lease: float, tmp_path: Path
) -> None:
    """F03: its stale acks are refused, all of them, and no event runs more than twice."""
    options: dict[str, Any] = {"workers": 4, "prefetch": 4}
    with theatre(tmp_path, home, lease=lease) as stage:
        stopped = stage.worker(**options).ready()
        stage.producer(count=60, keys=60, work=0.2).finished()
        wait_until(lambda: len(stage.running(stopped)) == 4)
        stage.freeze(stopped)
        held = set(stage.running(stopped))
        other = stage.worker(**options).ready()
        wait_until(
            lambda: held <= {line["id"] for line in stage.lines("ended") if line["who"] == other.name}, lease + 30
        )
        stopped.signal(signal.SIGCONT)
        wait_until(lambda: not stage.running(stopped) and stage.count("ended") == 60)
        said = [stopped.stop(), other.stop()]
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.phantom, verdict.stuck) == ([], [], [])
        assert verdict.most_runs == 2
        assert said[0]["lost_leases"] >= len(held)
        assert said[1]["lost_leases"] == 0


@homes("sqlite", "list", "stream", full_size=("keyed",))
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("lease", "short", "long"), [(2.5, 1.0, 5.0), pytest.param(30.0, 5.0, 40.0, marks=soak)]
)  # fmt: skip
def test_an_event_loop_that_is_blocked_loses_its_lease_only_after_its_time(
    home: Home, lease: float, short: float, long: float, tmp_path: Path
) -> None:
    """F04: shorter, no redelivery, however long the handler runs besides; longer, one, the stale ack is refused, and a
    warning names the handler.
    """
    first, then = tmp_path / "first", tmp_path / "then"
    with theatre(tmp_path, home, lease=lease) as stage:
        blocked = stage.worker(workers=1, prefetch=1).ready()
        other, second = (stage.worker(workers=1, prefetch=1, after=str(go)).says("loaded") for go in (first, then))
        act = {"0": f"block:{short}:{blocked.name}"}
        stage.producer(count=1, keys=1, act=act, least=lease, work=lease)
        wait_until(lambda: stage.running(blocked))
        first.touch()
        other.ready()
        wait_until(lambda: stage.count("ended") == 1)
        assert check(tmp_path).most_runs == 1
        other.stop()
        stage.producer(count=1, keys=1, act={"0": f"block:{long}:{blocked.name}"})
        wait_until(lambda: stage.running(blocked))
        then.touch()
        second.ready()
        wait_until(lambda: len(stage.lines("ended")) == 3, lease + 2 * long + 30)
        said = [blocked.stop(), second.stop()]
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.most_runs) == ([], 2)
        assert [one["lost_leases"] for one in said] == [1, 0]
        assert "the event loop has stood still for 1 s in handler work" in blocked.errors


@homes("sqlite", "list", "stream", "kafka", full_size=("keyed",))
@pytest.mark.timeout(300)
def test_a_worker_killed_while_its_dead_letters_cannot_be_written_loses_nothing(home: Home, tmp_path: Path) -> None:
    """F38: what should be dead was not acked, so it comes back and is dead in the end."""
    with theatre(tmp_path, home, lease=1) as stage:
        victim = stage.worker(attempts=1, no_letters=True).ready()
        stage.producer(count=20, keys=10, act={str(number): "fails" for number in range(5)}).finished()
        wait_until(lambda: stage.count("began") == 20 and stage.count("ended") == 15)
        wait_until(lambda: "no letters today; trying again" in victim.errors)
        victim.kill()
        assert stage.dead_letters() == []
        healthy = stage.worker(attempts=1)
        wait_until(lambda: len(stage.dead_letters()) == 5)
        healthy.stop()
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.dead) == ([], 5)
        assert verdict.duplicates <= 15


def supervised(stage: Theatre, done: Any, **options: Any) -> int:
    """Start a worker again and again, as an operating system would, until it is done; how many died."""
    deaths, worker = 0, stage.worker(**options)
    end = time.monotonic() + 240
    while not done():
        assert time.monotonic() < end, f"never done; {deaths} deaths"
        if not worker.alive:
            deaths += 1
            worker = stage.worker(**options)
        time.sleep(0.02)
    worker.ready().stop()
    return deaths


@EVERY_HOME
@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ["segfault", pytest.param("killed", marks=soak)])
def test_an_event_that_kills_its_process_is_dead_after_three_deaths(home: Home, act: str, tmp_path: Path) -> None:
    """F10: with the reason; its neighbours are neither lost nor blamed."""
    events = 300
    with theatre(tmp_path, home, lease=1) as stage:
        stage.producer(count=events, keys=50, work=0.02, act={"100": act}).finished()
        deaths = supervised(
            stage, lambda: stage.count("ended") == events - 1 and finished(stage), workers=8, prefetch=8
        )
        [letter] = stage.dead_letters()
        assert letter.dead is not None
        assert (letter.id, letter.dead.reason) == ("producer1-100", "crashed")
        assert "died in each of 3 runs" in letter.dead.error
        assert deaths == 3
        verdict = check(tmp_path)
        assert (verdict.lost, verdict.dead) == ([], 1)
        assert verdict.inversions == [] or not home.keyed
        strikes = 0.05  # seconds after it began, see `worker`
        moments = [line["at"] + strikes for line in stage.lines("began") if line["id"] == "producer1-100"]
        assert verdict.duplicates <= deaths * (8 + 8) + uncommitted(stage, home, moments)


def finished(stage: Theatre) -> bool:
    return bool(stage.dead_letters())


@homes("sqlite", full_size=("list", "stream", "keyed", "kafka"))
@pytest.mark.timeout(300)
def test_an_event_that_needs_more_memory_than_there_is_fails_and_kills_nobody(home: Home, tmp_path: Path) -> None:
    """F10, F42: MemoryError under RLIMIT_AS is a failed run: tried again, then a dead letter; others go on."""
    with theatre(tmp_path, home, lease=2) as stage:
        worker = stage.worker(workers=4, prefetch=8, attempts=3).ready()
        stage.producer(count=200, keys=50, work=0.01, act={"50": "memory"}).finished()
        wait_until(lambda: stage.count("ended") == 199 and finished(stage))
        worker.stop()
        [letter] = stage.dead_letters()
        assert letter.dead is not None
        assert (letter.id, letter.dead.reason, letter.dead.attempts) == ("producer2-50", "attempts", 3)
        assert letter.dead.error.startswith("MemoryError")
        assert check(tmp_path).lost == []


@pytest.mark.timeout(300)
def test_an_interrupt_out_of_a_handler_ends_the_process_and_acks_nothing(tmp_path: Path) -> None:
    """F42: KeyboardInterrupt is passed on."""
    with theatre(tmp_path, lease=1) as stage:
        worker = stage.worker(workers=1).ready()
        stage.producer(count=1, keys=1, act={"0": "interrupted"}).finished()
        wait_until(lambda: not worker.alive)
        assert worker.process.returncode != 0
        again = stage.worker(workers=1)
        wait_until(lambda: len(stage.lines("began")) == 2)
        wait_until(lambda: not again.alive)
        assert stage.lines("ended") == []
