"""A network between us and Kafka that is slow or silent: nothing is lost, and nobody hears of another one's event."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from notification import Context, EventDispatcher
from queues.errors import QueueUnavailable
from queues.registry import open_queue
from tests.kafka_server import KafkaServer, Start
from tests.stage import until

from .homes import topic_of_its_own
from .job import Job
from .traffic import Traffic, at_rest, resident

soak = pytest.mark.soak


@pytest.fixture
def server(kafka_server: Start) -> KafkaServer:
    """Reached through a proxy."""
    return kafka_server(proxied=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cancels", [300, pytest.param(10_000, marks=soak)])
async def test_dispatches_cancelled_anywhere_are_stored_when_they_are_made_again(
    cancels: int, server: KafkaServer
) -> None:
    """F07: with latency, at every await point and at random: no crossed reply, what was not cancelled is stored once,
    and what was cancelled and made again once or twice, for a topic refuses no id.
    """
    dice = random.Random(cancels)
    url, proxy = topic_of_its_own(server.proxied), server.proxy
    proxy.up.delay = proxy.down.delay = proxy.up.jitter = proxy.down.jitter = 0.0005
    async with EventDispatcher(url) as dispatcher:

        async def cancelled(number: int) -> bool:
            sending = asyncio.ensure_future(dispatcher.dispatch(Job(number, 0), id=f"c{number}"))
            asking = [sending, asyncio.ensure_future(dispatcher.size())] if number % 10 < 2 else [sending]
            if number % 2:
                await asyncio.sleep(dice.random() * 0.02)
            else:
                for _ in range(number // 2 % 20):
                    await asyncio.sleep(0)
            for each in asking:
                each.cancel()
            await asyncio.wait(asking)
            return sending.cancelled()

        async def standing(number: int) -> int:
            before = await dispatcher.size() if number % 10 == 0 else -1
            assert (await dispatcher.dispatch(Job(number, 1), id=f"s{number}")).id == f"s{number}"
            after = await dispatcher.size() if number % 10 == 0 else 0
            assert before < after <= 2 * cancels
            return number

        again = set[int]()
        for start in range(0, cancels, 10):
            few = range(start, min(start + 10, cancels))
            cut_off, _ = await asyncio.gather(asyncio.gather(*map(cancelled, few)), asyncio.gather(*map(standing, few)))
            again |= {number for number, cut in zip(few, cut_off, strict=True) if cut}
        assert cancels / 10 < len(again) < cancels
        for start in range(0, cancels, 5_000):
            few = range(start, start + 5_000)
            await asyncio.gather(*(dispatcher.dispatch(Job(n, 0), id=f"c{n}") for n in again.intersection(few)))
    stored = await ids_in(url)
    assert stored.keys() == {f"{kind}{number}" for kind in "cs" for number in range(cancels)}
    assert {stored[f"s{number}"] for number in range(cancels)} == {1}
    assert {stored[f"c{number}"] for number in set(range(cancels)) - again} == {1}
    assert {stored[f"c{number}"] for number in again} <= {1, 2}


async def ids_in(url: str) -> Counter[str]:
    """How often each event is in the topic."""
    async with open_queue(url) as queue:
        return Counter([message.id async for message in queue.browse()])


async def test_a_dispatch_whose_answer_was_lost_says_that_it_may_have_been_stored(server: KafkaServer) -> None:
    """F07: and made again as the same message, while it is still under way, it is stored once."""
    url = topic_of_its_own(server.proxied, timeout="300ms")
    async with open_queue(url) as queue, EventDispatcher(url) as dispatcher:
        await dispatcher.dispatch(Job(1, 1), id="answered")
        [message] = [message async for message in queue.browse()]
        server.proxy.silence()
        with pytest.raises(QueueUnavailable) as unknown:
            await dispatcher.dispatch(message)
        assert unknown.value.may_have_been_stored
        again = asyncio.ensure_future(until(lambda: accepted(dispatcher, message)))
        await asyncio.sleep(0)
        server.proxy.resume()
        await again
    assert await ids_in(url) == {"answered": 2}


async def accepted(dispatcher: EventDispatcher, event: object) -> bool:
    try:
        await dispatcher.dispatch(event)
    except QueueUnavailable:
        return False
    return True


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("silence", "timeout"), [(2.5, "0.4s"), pytest.param(10.0, "3s", marks=soak)])
async def test_a_silent_network_stops_nobody_for_longer_than_its_time_out(
    silence: float, timeout: str, server: KafkaServer
) -> None:
    """F12: every dispatch ends in time, ok or with a typed error; consuming within 3 s after. Who waits is idle, and
    takes no memory.
    """
    handled = Counter[str]()
    dispatcher = EventDispatcher(topic_of_its_own(server.proxied, timeout=timeout, lease=5))

    @dispatcher.on(Job)
    async def work(job: Job, ctx: Context) -> None:
        handled[ctx.id] += 1

    async with dispatcher:
        await dispatcher.start(workers=4)
        traffic = Traffic(dispatcher)
        callers = [asyncio.ensure_future(traffic.caller(1.0)) for _ in range(50)]
        await until(lambda: len(handled) > 200)
        memory, known, busy = resident(), traffic.numbers, time.process_time()
        server.proxy.silence()
        await asyncio.sleep(silence)
        assert traffic.errors.total() > 0
        assert resident() - memory < 40 << 20
        assert time.process_time() - busy < silence / 3
        before = traffic.numbers
        assert before - known < 50 * (silence / 1.0 + 2) * 2
        server.proxy.resume()
        resumed = time.monotonic()
        await until(lambda: any(int(id_) > before for id_ in handled), "consuming again")
        assert time.monotonic() - resumed <= 3
        traffic.going = False
        await asyncio.gather(*callers)
        await until(lambda: traffic.accepted <= handled.keys(), "all that was accepted is handled")
        await until(lambda: at_rest(dispatcher), "nothing is left in the queue")
    assert traffic.slowest <= 2
    assert set(traffic.errors) <= {"QueueFull", "QueueUnavailable"}
