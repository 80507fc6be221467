"""A Redis that stands still, is killed, or has no memory left: what was accepted is kept, and all goes on by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from notification import Context, EventDispatcher, RetryPolicy
from queues.errors import QueueFull, QueueUnavailable
from queues.registry import open_queue
from queues.url import QueueURL
from tests.redis_server import RedisServer, Start
from tests.stage import until

from .checker import check
from .homes import Home, kinds
from .job import Job
from .programs import HELD, PREFETCH, WORKERS, Theatre, theatre, wait_until

soak = pytest.mark.soak
POWER_LOSS = 1.0
"""Seconds of writes that `appendfsync everysec` may lose; the promise is two."""


@kinds("list", "stream", full_size=("keyed",))
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("events", "pause", "timeout"), [(5_000, 1.5, "0.4s"), pytest.param(10_000, 8.0, "3s", marks=soak)]
)
async def test_a_server_that_stands_still_has_what_was_accepted_and_nothing_that_was_refused(
    kind: str, *, events: int, pause: float, timeout: str, tmp_path: Path, redis_server: Start
) -> None:
    """F15: accepted ⊆ stored ⊆ accepted and unknown; no id twice with dedup, after a second dispatch of the unknown."""
    server = redis_server()
    url = Home(kind, server).url(tmp_path, dedup=300, timeout=timeout)
    accepted, unknown, numbers = set[int](), set[int](), iter(range(events))
    async with EventDispatcher(url) as dispatcher:

        async def caller() -> None:
            for number in numbers:
                try:
                    await dispatcher.dispatch(Job(number % 100, number), id=str(number), timeout=pause / 2)
                    accepted.add(number)
                except QueueFull:
                    pass
                except QueueUnavailable as error:
                    unknown.update([number] if error.may_have_been_stored else [])

        callers = [asyncio.ensure_future(caller()) for _ in range(100)]
        await until(lambda: len(accepted) > events / 5)
        server.pause()
        await asyncio.sleep(pause)
        server.resume()
        await asyncio.gather(*callers)
        stored = await stored_in(url)
        assert unknown
        assert accepted <= stored.keys() <= accepted | unknown
        assert set(stored.values()) == {1}
        await asyncio.gather(*(dispatcher.dispatch(Job(n % 100, n), id=str(n)) for n in sorted(unknown)))
        stored = await stored_in(url)
    assert stored.keys() == accepted | unknown
    assert set(stored.values()) == {1}


async def stored_in(url: str) -> Counter[int]:
    """How often each number is in the queue."""
    async with open_queue(url) as queue:
        return Counter([int(message.id) async for message in queue.browse()])


@kinds("list", "stream", full_size=("keyed",))
@pytest.mark.timeout(600)
@pytest.mark.parametrize("persistence", ["always", "everysec"])
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=soak)])
def test_a_server_killed_and_started_again_keeps_what_it_had_to(
    kind: str, persistence: str, kills: int, tmp_path: Path, redis_server: Start
) -> None:
    """F16: always: lost 0; everysec: nothing but what was accepted within 2 s before; consuming within 5 s after."""
    server = redis_server(persistence=persistence)
    with theatre(tmp_path, Home(kind, server), lease=2) as stage:
        workers = [stage.worker(workers=WORKERS, prefetch=PREFETCH).ready() for _ in range(2)]
        enough = tmp_path / "enough"
        producer = stage.producer(count=5_000, keys=100, rate=2_500, work=0.002, until=str(enough))
        deaths: list[float] = []
        for _ in range(kills):
            stage.handles(500)
            deaths.append(die(server, persistence))
            stage.goes_on(within=5, held=2 * HELD)
        wait_until(lambda: stage.count("sent") >= 5_000, what="enough were accepted")
        enough.touch()
        producer.finished()
        stage.handles_all(lambda: missing(stage, deaths, persistence))
        wait_until(lambda: asyncio.run(at_rest(stage.url)), 30, "nothing is left in the queue")
        for worker in workers:
            worker.stop()
        verdict = check(tmp_path)
        assert verdict.sent >= 5_000
        assert (verdict.phantom, verdict.dead) == ([], 0)
        if persistence == "always":
            assert verdict.lost == []
        assert verdict.inversions == [] or kind != "keyed"


def die(server: RedisServer, persistence: str) -> float:
    """Kill it and start it again; when that was. With everysec its disk has not got what it wrote last."""
    [log] = (server.directory / "appendonlydir").glob("*.incr.aof")
    written, noted = log.stat().st_size, time.monotonic()
    if persistence == "everysec":
        wait_until(lambda: time.monotonic() - noted >= random.uniform(0.1, POWER_LOSS) and log.stat().st_size > written)
    server.kill()
    moment = time.monotonic()
    if persistence == "everysec":
        with log.open("r+b") as file:
            file.truncate(written)
    server.start()
    return moment


def missing(stage: Theatre, deaths: list[float], persistence: str) -> set[str]:
    """Accepted, not handled, and not excused by a loss of power soon after."""
    lost = stage.ids("sent") - stage.ids("ended")
    if persistence == "always" or not lost:
        return lost
    accepted = {line["id"]: line["at"] for line in stage.lines("sent")}
    return {id_ for id_ in lost if not any(-0.1 <= death - accepted[id_] <= 2 for death in deaths)}


async def at_rest(url: str) -> bool:
    async with open_queue(url) as queue:
        stats = await queue.stats()
        return (stats.waiting, stats.in_flight, stats.delayed) == (0, 0, 0)


@kinds("list", "stream", full_size=("keyed",))
async def test_a_server_without_memory_refuses_dispatches_and_takes_acks(
    kind: str, tmp_path: Path, redis_server: Start
) -> None:
    """F17: QueueFull; what was accepted is handled, retries too; then dispatches are taken again; none is evicted."""
    server = redis_server(maxmemory="5mb", maxmemory_policy="noeviction")
    dispatcher = EventDispatcher(
        Home(kind, server).url(tmp_path), retry=RetryPolicy(initial=0.01, max=0.02), prefetch=50
    )
    gate, accepted, handled = asyncio.Event(), set[str](), Counter[str]()

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        await gate.wait()
        if job.seq % 7 == 0 and ctx.attempt == 1:
            raise ValueError("as it should")
        handled[ctx.id] += 1

    async with dispatcher:
        await dispatcher.start(workers=8)

        async def fill() -> None:
            for number in range(20_000):
                await dispatcher.dispatch(Job(number % 100, number, act="x" * 1_000), id=str(number), timeout=0)
                accepted.add(str(number))

        with pytest.raises(QueueFull, match="maxmemory"):
            await fill()
        assert len(accepted) > 500
        gate.set()
        await until(lambda: accepted <= handled.keys(), "all that was accepted is handled")
        await until(lambda: sent(dispatcher), "there is room again")
        await asyncio.wait_for(dispatcher.join(), 20)
    assert set(handled.values()) == {1}
    assert server.admin.info("stats")["evicted_keys"] == 0


async def sent(dispatcher: EventDispatcher) -> bool:
    try:
        await dispatcher.dispatch(Job(1, 1), id="afterwards")
    except QueueFull:
        return False
    return True


@kinds("list", "stream", full_size=("keyed",))
async def test_dead_letters_that_cannot_be_written_are_not_acked_and_are_made_good(
    kind: str, tmp_path: Path, redis_server: Start
) -> None:
    """F38: something else lies under their name: health tells; when it is gone they are written; others go on."""
    server = redis_server()
    url = Home(kind, server).url(tmp_path)
    letters_key = f"{{{QueueURL.parse(url).name}}}.dead"
    dispatcher = EventDispatcher(url, retry=RetryPolicy(attempts=1))
    handled = Counter[int]()

    @dispatcher.on(Job)
    async def work(job: Job) -> None:
        handled[job.seq] += 1
        if job.act:
            raise ValueError("as it should")

    async with dispatcher:
        await dispatcher.start(workers=4)
        server.admin.set(letters_key, "in the way")
        for number in range(20):
            await dispatcher.dispatch(Job(number, number, act="fails" if number < 5 else ""), id=str(number))
        await until(lambda: len(handled) == 20)
        await until(lambda: told(dispatcher), "health tells")
        server.admin.delete(letters_key)
        await asyncio.wait_for(dispatcher.join(), 20)
        letters = [letter.id async for letter in dispatcher.dead_letters.browse()]
    assert sorted(letters, key=int) == ["0", "1", "2", "3", "4"]
    assert set(handled.values()) == {1}


async def told(dispatcher: EventDispatcher) -> bool:
    health = await dispatcher.health()
    return health.degraded and "WRONGTYPE" in health.last_error
