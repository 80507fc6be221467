"""A network between us and Redis that is slow, cut or silent: nothing is lost, no answer is taken for another one."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from notification import Context, EventDispatcher
from queues.base import MessageQueue
from queues.errors import QueueUnavailable
from queues.message import Message
from queues.registry import open_queue
from tests.proxy import Proxy, Way
from tests.stage import until

from .checker import check
from .homes import Home, homes
from .job import Job
from .programs import HELD, PREFETCH, REPEATED, WORKERS, theatre, wait_until
from .traffic import Traffic, at_rest, resident

soak = pytest.mark.soak
ON_REDIS = homes("list", "stream", full_size=("keyed",))


async def ids_of(queue: MessageQueue) -> list[str]:
    """What the queue holds, in order."""
    return [message.id async for message in queue.browse()]


# -- dispatches


@ON_REDIS
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cancels", [300, pytest.param(10_000, marks=soak)])
async def test_dispatches_cancelled_anywhere_are_stored_once_when_they_are_made_again(
    home: Home, cancels: int, tmp_path: Path
) -> None:
    """F07: with latency, at every await point and at random: no crossed reply, one copy after a second dispatch."""
    dice = random.Random(cancels)
    async with Proxy(home.port) as proxy:
        url = home.behind(proxy.port).url(tmp_path, dedup=300)
        proxy.up.delay = proxy.down.delay = proxy.up.jitter = proxy.down.jitter = 0.0005
        async with EventDispatcher(url) as dispatcher:

            async def cancelled(number: int) -> bool:
                sending = asyncio.ensure_future(dispatcher.dispatch(Job(number, 0), id=f"c{number}"))
                counting = asyncio.ensure_future(dispatcher.size())
                if number % 2:
                    await asyncio.sleep(dice.random() * 0.006)
                else:
                    for _ in range(number // 2 % 20):
                        await asyncio.sleep(0)
                sending.cancel()
                counting.cancel()
                await asyncio.wait([sending, counting])
                return sending.cancelled()

            async def standing(number: int) -> int:
                before = await dispatcher.size()
                assert (await dispatcher.dispatch(Job(number, 1), id=f"s{number}")).id == f"s{number}"
                after = await dispatcher.size()
                assert before < after <= 2 * cancels
                return number

            again: list[int] = []
            for start in range(0, cancels, 10):
                few = range(start, min(start + 10, cancels))
                cut_off, _ = await asyncio.gather(
                    asyncio.gather(*map(cancelled, few)), asyncio.gather(*map(standing, few))
                )
                again += [number for number, cut in zip(few, cut_off, strict=True) if cut]
            assert cancels / 10 < len(again)
            await asyncio.gather(*(dispatcher.dispatch(Job(number, 0), id=f"c{number}") for number in again[:5_000]))
            await asyncio.gather(*(dispatcher.dispatch(Job(number, 0), id=f"c{number}") for number in again[5_000:]))
        async with open_queue(url) as queue:
            stored = await ids_of(queue)
    assert sorted(stored) == sorted([*(f"c{n}" for n in range(cancels)), *(f"s{n}" for n in range(cancels))])


@ON_REDIS
async def test_a_dispatch_whose_answer_was_lost_says_that_it_may_have_been_stored(home: Home, tmp_path: Path) -> None:
    """F07: and one that was never sent says that it was not."""
    async with Proxy(home.port) as proxy:
        url = home.behind(proxy.port).url(tmp_path)
        async with EventDispatcher(url) as dispatcher:
            await dispatcher.dispatch(Job(1, 1), id="answered")
            proxy.down.cut_after = 0
            with pytest.raises(QueueUnavailable) as unknown:
                await dispatcher.dispatch(Job(1, 2), id="unanswered")
            assert unknown.value.may_have_been_stored
            await dispatcher.dispatch(Job(1, 3), id="after")
            await proxy.refuse()
            proxy.cut()
            await until(lambda: proxy.open == 0)
            with pytest.raises(QueueUnavailable) as refused:
                await dispatcher.dispatch(Job(1, 4), id="unsent")
            assert not refused.value.may_have_been_stored
            await proxy.listen()
        async with open_queue(url) as queue:
            assert await ids_of(queue) == ["answered", "unanswered", "after"]


# -- cuts


@ON_REDIS
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cuts", [12, pytest.param(100, marks=soak)])
def test_connections_reset_at_random_bytes_lose_nothing(home: Home, cuts: int, tmp_path: Path) -> None:
    """F11: lost 0, duplicates at most what a process holds for each cut, consuming again within 5 s, keys in order."""
    dice = random.Random(cuts)
    with Proxy(home.port).in_thread() as proxy, theatre(tmp_path, home.behind(proxy.port), lease=3) as stage:
        worker = stage.worker(workers=WORKERS, prefetch=PREFETCH).ready()
        enough = tmp_path / "enough"
        producer = stage.producer(count=5_000, keys=100, rate=1_500, work=0.002, until=str(enough))
        wait_until(lambda: stage.count("ended") > 100)
        for _ in range(cuts):
            way = dice.choice([proxy.up, proxy.down])
            way.cut_after = dice.randrange(1, 5_000)
            wait_until(partial(is_cut, way), what="the cut")
            stage.goes_on(within=5, held=HELD)
        wait_until(lambda: stage.count("sent") >= 5_000, what="enough were accepted")
        enough.touch()
        producer.finished()
        stage.handles_all(lambda: stage.ids("sent") - stage.ids("ended"))
        worker.stop()
        verdict = check(tmp_path)
        assert verdict.sent >= 5_000
        assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.dead) == ([], [], [], 0)
        assert verdict.duplicates <= cuts * REPEATED
        assert verdict.inversions == [] or not home.keyed


def is_cut(way: Way) -> bool:
    return way.cut_after is None


@ON_REDIS
async def test_replies_in_single_bytes_and_cut_at_every_offset_lose_nothing(home: Home, tmp_path: Path) -> None:
    """F14: no reply is matched to another command, and what was handed out is handed out once."""
    accepted, unknown, got = set[str](), set[str](), Counter[str]()
    async with Proxy(home.port) as proxy:
        proxy.up.slices = proxy.down.slices = 1
        async with open_queue(home.behind(proxy.port).url(tmp_path)) as queue:

            async def pushed(id_: str) -> None:
                try:
                    await queue.push(Message(type="faults.cut", id=id_, source="/t"))
                    accepted.add(id_)
                except QueueUnavailable as error:
                    unknown.update([id_] if error.may_have_been_stored else [])

            async def popped() -> None:
                try:
                    batch = await queue.pop_many(10)
                except QueueUnavailable:
                    return
                got.update(delivery.expect().id for delivery in batch)
                while batch:
                    try:
                        assert await queue.ack_many(batch) == []
                        return
                    except QueueUnavailable:
                        continue

            for offset in range(120):
                await pushed(f"{offset}-first")
                proxy.down.cut_after = offset
                await asyncio.gather(pushed(f"{offset}-second"), popped())
            proxy.down.cut_after = None
            await until(lambda: drained(queue, popped, accepted, got), "all that was accepted comes")
            assert await queue.size() == 0
            assert (await queue.stats()).in_flight == 0
    assert accepted <= got.keys() <= accepted | unknown
    assert set(got.values()) == {1}


async def drained(queue: MessageQueue, popped: object, accepted: set[str], got: Counter[str]) -> bool:
    """Pop once more; whether everything was seen."""
    assert callable(popped)
    if await queue.size() or not accepted <= got.keys():
        await popped()
    return accepted <= got.keys()


# -- silence


@ON_REDIS
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("silence", "timeout"), [(2.5, "0.4s"), pytest.param(10.0, "3s", marks=soak)])
async def test_a_silent_network_stops_nobody_for_longer_than_its_time_out(
    home: Home, silence: float, timeout: str, tmp_path: Path
) -> None:
    """F12: every dispatch ends in time, ok or with a typed error; consuming within 3 s after; memory bounded."""
    handled = Counter[str]()
    async with Proxy(home.port) as proxy:
        dispatcher = EventDispatcher(home.behind(proxy.port).url(tmp_path, timeout=timeout, lease=5))

        @dispatcher.on(Job)
        async def work(job: Job, ctx: Context) -> None:
            handled[ctx.id] += 1

        async with dispatcher:
            await dispatcher.start(workers=4)
            traffic = Traffic(dispatcher)
            callers = [asyncio.ensure_future(traffic.caller(1.0)) for _ in range(50)]
            await until(lambda: len(handled) > 200)
            memory, known = resident(), traffic.numbers
            proxy.silence()
            await asyncio.sleep(silence)
            assert traffic.errors.total() > 0
            assert resident() - memory < 40 << 20
            before = traffic.numbers
            assert before - known < 50 * (silence / 1.0 + 2) * 2
            proxy.resume()
            resumed = time.monotonic()
            await until(lambda: any(int(id_) > before for id_ in handled), "consuming again")
            assert time.monotonic() - resumed <= 3
            traffic.going = False
            await asyncio.gather(*callers)
            await until(lambda: traffic.accepted <= handled.keys(), "all that was accepted is handled")
            await until(lambda: at_rest(dispatcher), "nothing is left in the queue")
    assert traffic.slowest <= 2
    assert set(traffic.errors) <= {"QueueFull", "QueueUnavailable"}
