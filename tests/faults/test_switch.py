"""F39: the route changes under load, and nobody notices. One service, two queues, a flag in a file."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from notification import Context, Degradation, EventDispatcher, MessageQueue, RetryLater
from queues.base import QueueStats
from queues.switch import SwitchQueue
from tests.redis_server import Start
from tests.reference_queue import ReferenceQueue, Store

from .checker import Verdict, check
from .homes import Home
from .job import Job
from .programs import BATCH, REPEATED, Child, Theatre, wait_until

soak = pytest.mark.soak
WORKERS, PREFETCH = 8, 16
LEASE = 2.0
either = pytest.mark.parametrize(
    "strict", [pytest.param(False, id="relaxed", marks=soak), pytest.param(True, id="strict")]
)
"""Relaxed is the easier one."""
OPTIONS: dict[str, Any] = {"workers": WORKERS, "prefetch": PREFETCH}


class Flips(Theatre):
    """Two routes, the flag that says which is written, and the processes of one test."""

    def __init__(self, routes: dict[str, str], directory: Path, **options: Any) -> None:
        super().__init__(json.dumps(routes), directory)
        self.routes, self._options = routes, options
        self.flag, self.until = directory / "flag", directory / "enough"
        self.say(next(iter(routes)))

    def say(self, text: str) -> None:
        """Change the flag, in one go."""
        (new := self.flag.with_suffix(".new")).write_text(text)
        os.replace(new, self.flag)

    def doing(self, **options: Any) -> Child:
        """A process that does jobs, not yet ready."""
        return self._child("flipping", {"flag": str(self.flag), **self._options, **OPTIONS, **options})

    def placing(self, **options: Any) -> Child:
        """A process that places jobs until it is enough, not yet ready."""
        given = {"flag": str(self.flag), "until": str(self.until), "place": 0, **self._options, **options}
        return self._child("flipping", given)

    def flip(self, times: int, jobs: int) -> None:
        """Each time so many jobs are done in between, wherever they come from."""
        names = list(self.routes)
        for number in range(1, times + 1):
            self.handles(jobs)
            self.say(names[number % len(names)])

    def ends(self, *placing: Child) -> Verdict:
        """Enough: everything that was placed is done, and everybody stops."""
        self.until.touch()
        for child in placing:
            child.finished()
        self.handles_all(lambda: self.ids("sent") - self.ids("ended"))
        self.finish()
        return check(self.directory)

    def figures(self) -> dict[str, QueueStats]:
        """How each route stands."""

        async def look() -> dict[str, Any]:
            async with SwitchQueue(self.routes, lambda: next(iter(self.routes))) as switch:
                return {**await switch.stats_by_route()}

        return asyncio.run(look())


@contextmanager
def flips(directory: Path, homes: dict[str, Home], **options: Any) -> Iterator[Flips]:
    """At the end no process is left."""
    routes: dict[str, str] = {}
    for name, home in homes.items():
        (place := directory / name).mkdir()
        routes[name] = home.url(place, lease=LEASE)
    stage = Flips(routes, directory, **options)
    try:
        yield stage
    finally:
        for child in stage.children:
            if child.alive:
                child.kill()


def pairs(*small: str, full_size: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """The routes of a test, as `sqlite keyed`; those of `full_size` only in `make soak`."""
    return pytest.mark.parametrize(
        "homes", [*small, *(pytest.param(one, marks=soak) for one in full_size)], indirect=True
    )


@pytest.fixture
def homes(request: pytest.FixtureRequest) -> dict[str, Home]:
    """Where the routes lead; each is called after its kind."""
    servers = {"list": "redis", "keyed": "redis", "stream": "redis", "kafka": "kafka"}
    kinds: list[str] = request.param.split()
    return {kind: Home(kind, request.getfixturevalue(servers[kind]) if kind in servers else None) for kind in kinds}


def rate_of(homes: dict[str, Home]) -> float:
    return min(300.0, *(home.rate for home in homes.values()))


@pairs("sqlite keyed", "keyed kafka", full_size=("kafka sqlite", "sqlite list", "list stream"))
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("times", "jobs"), [(10, 60), pytest.param(40, 1_000, marks=soak)])
def test_the_route_changes_under_load_and_nothing_is_lost_or_done_twice(
    homes: dict[str, Home], times: int, jobs: int, tmp_path: Path
) -> None:
    """F39, relaxed: also what is delayed or retried across a flip, and what is flipped back."""
    with flips(tmp_path, homes) as stage:
        workers = [stage.doing().ready() for _ in range(2)]
        placing = stage.placing(keys=40, rate=rate_of(homes)).ready()
        stage.flip(times, jobs)
        assert all(worker.alive for worker in workers)
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.duplicates) == ([], [], [], 0)
        assert verdict.sent >= times * jobs
        assert all(one.settled and not one.waiting for one in stage.figures().values()), stage.figures()


@pairs("sqlite keyed", "keyed kafka", full_size=("kafka sqlite",))
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("times", "jobs"), [(10, 60), pytest.param(40, 1_000, marks=soak)])
def test_a_strict_switch_changes_the_route_under_load_and_no_key_is_out_of_order(
    homes: dict[str, Home], times: int, jobs: int, tmp_path: Path
) -> None:
    """F39, strict: what is dispatched while a route runs empty waits in the spill, and follows in order."""
    with flips(tmp_path, homes, strict=True, spill=str(tmp_path / "spill")) as stage:
        for _ in range(2):
            stage.doing(spill=str(tmp_path / "none")).ready()
        placing = stage.placing(keys=40, rate=rate_of(homes)).ready()
        stage.flip(times, jobs)
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom, verdict.duplicates, verdict.inversions) == ([], [], 0, [])
        assert all(one.settled and not one.waiting for one in stage.figures().values()), stage.figures()
        assert {"queue", "spill"} == {line["via"] for line in stage.lines("sent")}


@pairs("sqlite keyed", full_size=("keyed kafka", "kafka sqlite"))
@pytest.mark.timeout(900)
@either
@pytest.mark.parametrize(("kills", "jobs"), [(3, 60), pytest.param(20, 500, marks=soak)])
def test_processes_killed_in_the_middle_of_a_flip_lose_nothing_and_repeat_little(
    homes: dict[str, Home], *, strict: bool, kills: int, jobs: int, tmp_path: Path
) -> None:
    """F39: workers and those who place, SIGKILL; at most what a killed worker held is done twice, and, of one that
    placed, what was on its way out of the spill.
    """
    spill = str(tmp_path / "spill")
    with flips(tmp_path, homes, strict=strict, spill=spill) as stage:
        workers = [stage.doing(spill=str(tmp_path / "none")).ready() for _ in range(2)]
        placing = stage.placing(keys=40, rate=rate_of(homes)).ready()
        names = list(homes)
        for number in range(kills):
            stage.handles(jobs)
            stage.say(names[(number + 1) % 2])
            workers.pop(0).kill()
            workers.append(stage.doing(spill=str(tmp_path / "none")).ready())
            stage.handles(jobs)
            stage.say(names[number % 2])
            placing.kill()
            placing = stage.placing(keys=40, rate=rate_of(homes)).ready()
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom) == ([], [])
        assert verdict.inversions == [] or not strict
        direct = {line["id"] for line in stage.lines("sent") if line["via"] == "queue"}
        done = Counter(line["id"] for line in stage.lines("ended"))
        twice = sum(done[one] - 1 for one in direct)
        assert twice <= kills * REPEATED + uncommitted(stage, homes)
        assert verdict.duplicates - twice <= kills * (REPEATED + BATCH)


def uncommitted(stage: Flips, homes: dict[str, Home]) -> int:
    """On Kafka an ack is committed a moment later, so that a kill may repeat a tenth of a second's."""
    return 50 * len(stage.children) if "kafka" in homes else 0


@pairs("sqlite keyed")
@pytest.mark.timeout(300)
@either
def test_a_flag_that_flaps_raises_and_lies_costs_nothing(
    homes: dict[str, Home], *, strict: bool, tmp_path: Path
) -> None:
    """Ten times a second another route, none, or an error."""
    with flips(tmp_path, homes, strict=strict, spill=str(tmp_path / "spill")) as stage:
        stage.doing(spill=str(tmp_path / "none")).ready()
        placing = stage.placing(keys=40, rate=rate_of(homes), work=0.03).ready()
        for number in range(40):
            stage.say(["keyed", "!", "sqlite", "elsewhere", "keyed", "hold"][number % 6])
            time.sleep(0.1)
        stage.say("sqlite")
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom, verdict.duplicates) == ([], [], 0)
        assert verdict.inversions == [] or not strict


@pairs("sqlite keyed", full_size=("keyed kafka",))
@pytest.mark.timeout(300)
@either
def test_processes_that_see_the_flag_a_second_apart_lose_nothing(
    homes: dict[str, Home], *, strict: bool, tmp_path: Path
) -> None:
    """Both routes are written meanwhile. Strict: what each of them places stays in order all the same."""
    with flips(tmp_path, homes, strict=strict, spill=str(tmp_path / "spill")) as stage:
        for late in (0.0, 1.0):
            stage.doing(spill=str(tmp_path / "none"), late=late).ready()
        both = [stage.placing(keys=20, rate=rate_of(homes) / 2, work=0.06, late=late).ready() for late in (0.0, 1.0)]
        for number in range(1, 5):
            stage.handles(100)
            stage.say(list(homes)[number % 2])
            time.sleep(1.5)
        verdict = stage.ends(*both)
        assert (verdict.lost, verdict.phantom, verdict.duplicates) == ([], [], 0)
        assert verdict.inversions == [] or not strict


@pytest.mark.timeout(300)
def test_a_route_that_was_down_at_the_start_takes_its_part_later(redis_server: Start, tmp_path: Path) -> None:
    """An idle one costs nothing until then; the flip comes when it is there."""
    server = redis_server()
    routes = {"sqlite": f"sqlite:///{tmp_path / 'a.db'}", "keyed": server.queue("jobs", order="key", lease=LEASE)}
    server.kill()
    stage = Flips(routes, tmp_path)
    try:
        worker = stage.doing().ready()
        placing = stage.placing(keys=20, rate=200).ready()
        stage.handles(100)
        assert "route 'keyed'" in worker.errors
        assert "is down; it is opened as soon as it answers" in worker.errors
        server.start()
        for child in (worker, placing):
            wait_until(partial(is_open, child), what="the route is open")
        stage.say("keyed")
        stage.handles(200)
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom, verdict.duplicates) == ([], [], 0)
        assert stage.figures()["keyed"].settled
    finally:
        for child in stage.children:
            if child.alive:
                child.kill()


def is_open(child: Child) -> bool:
    return "is open" in child.errors


@pytest.mark.timeout(300)
def test_a_route_that_goes_down_does_not_stop_the_other(redis_server: Start, tmp_path: Path) -> None:
    """The one that is written is consumed at its pace, while what was left in the other waits for its server."""
    server = redis_server(persistence="always")
    routes = {"keyed": server.queue("jobs", order="key", lease=LEASE), "sqlite": f"sqlite:///{tmp_path / 'a.db'}"}
    stage = Flips(routes, tmp_path)
    try:
        stage.doing().ready()
        placing = stage.placing(keys=40, rate=400, work=0.04).ready()  # twice as many as can be done
        wait_until(lambda: stage.count("sent") >= 400)
        stage.say("sqlite")
        wait_until(lambda: stage.count("sent") >= 450)
        server.kill()
        began = time.monotonic()
        stage.handles(600)
        assert time.monotonic() - began < 10
        server.start()
        verdict = stage.ends(placing)
        assert (verdict.lost, verdict.phantom) == ([], [])
        assert verdict.duplicates <= REPEATED
    finally:
        for child in stage.children:
            if child.alive:
                child.kill()


@pytest.mark.parametrize("strict", [False, True], ids=["relaxed", "strict"])
async def test_a_plugin_takes_part_as_any_other_route(*, strict: bool, tmp_path: Path) -> None:
    """F39 on a queue of somebody else, in one process: the reference of the contract."""
    flag, ran, numbers = ["plugin"], list[tuple[int, int]](), itertools.count()
    routes: dict[str, str | MessageQueue] = {
        "plugin": ReferenceQueue(Store()),
        "sqlite": f"sqlite:///{tmp_path / 'a.db'}",
    }
    switch = SwitchQueue(routes, lambda: flag[0], strict=strict)
    spill = Degradation(spill=tmp_path / "spill")
    dispatcher = EventDispatcher(switch, dead_letter="channel://", degradation=spill if strict else None)

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        if ctx.attempt == 1:
            ran.append((job.account, job.seq))
        if job.act == "again" and ctx.attempt == 1:
            raise RetryLater(0.02)

    async with dispatcher:
        await dispatcher.start(4)
        for flip in range(10):
            flag[0] = ("plugin", "sqlite")[flip % 2]
            for number in itertools.islice(numbers, 40):
                seq, account = divmod(number, 10)
                await dispatcher.dispatch(Job(account, seq, act="again" if number % 13 == 5 else ""))
        while len(ran) < 400:
            await asyncio.sleep(0.01)
        await dispatcher.join()
        figures = await switch.stats_by_route()
    assert len(set(ran)) == len(ran) == 400
    assert not strict or all(seqs == sorted(seqs) for seqs in by_account(ran).values())
    assert all(isinstance(one, QueueStats) and one.waiting == 0 for one in figures.values())


def by_account(ran: list[tuple[int, int]]) -> dict[int, list[int]]:
    """The numbers of each in the order in which they ran first."""
    return {account: [seq for one, seq in ran if one == account] for account, _ in ran}


LEGS = {"sqlite": 2000.0, "keyed": 2000.0, "kafka": 500.0}
"""Events a second that are dispatched while this route is written."""


@pairs("sqlite keyed kafka")
@pytest.mark.timeout(1800)
@either
@pytest.mark.parametrize("seconds", [1.0, pytest.param(40.0, marks=soak)])
def test_a_service_travels_from_queue_to_queue_and_back(
    homes: dict[str, Home], *, strict: bool, seconds: float, tmp_path: Path
) -> None:
    """SQLite, Redis, Kafka, Redis: nothing is lost or done twice, and, strict, no key is out of order."""
    with flips(tmp_path, homes, strict=strict, spill=str(tmp_path / "spill")) as stage:
        for _ in range(2):
            stage.doing(spill=str(tmp_path / "none")).ready()
        for number, route in enumerate(["sqlite", "keyed", "kafka", "keyed"]):
            until = tmp_path / f"enough-{number}"
            placing = stage.placing(keys=100, rate=LEGS[route], work=0.0, until=str(until)).ready()
            time.sleep(seconds / 4)
            stage.say(route)
            time.sleep(seconds)
            until.touch()
            placing.finished(600)
        verdict = stage.ends()
        print(verdict, {name: one.settled for name, one in stage.figures().items()})
        assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.duplicates) == ([], [], [], 0)
        assert verdict.inversions == [] or not strict
        assert all(one.settled and not one.waiting for one in stage.figures().values()), stage.figures()
