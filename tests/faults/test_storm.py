"""Everything at once, by dice: failures, delays, timeouts, outages, two dispatchers. Nothing is lost, order holds."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from notification import Context, EventDispatcher, Message, RetryLater, RetryPolicy
from queues.clock import SYSTEM_CLOCK, Clock, ManualClock
from queues.registry import open_queue
from tests.stage import PATIENCE, Breakable, Parcel, passing, stopped

from .homes import Home, homes

EVENTS = 120


class Storm:
    """One throw of the dice: how the dispatchers are set up, what handlers do, and what was seen."""

    def __init__(self, seed: int, home: Home) -> None:
        self.dice = random.Random(seed)
        self.clock: Clock = ManualClock() if home.server is None else SYSTEM_CLOCK
        self.unit = 1.0 if home.server is None else 0.005
        """What a second of the storm takes: the clock of a server can't be moved."""
        self.keys = self.dice.choice([1, 3, 9])
        self.second = self.dice.random() < 0.4
        self.runs: dict[int, list[int]] = defaultdict(list)
        self.done: set[tuple[int, int]] = set()
        self._running: set[int] = set()

    def dispatcher(self, queue: Breakable) -> EventDispatcher:
        pick, unit = self.dice.choice, self.unit
        retry = RetryPolicy(attempts=4, initial=pick([0, 0.5, 2]) * unit, max=4 * unit)
        made = EventDispatcher(
            queue, clock=self.clock, retry=retry, hold=pick([0, 0.7, 3]) * unit, prefetch=pick([1, 5, 50]),
            handler_timeout=pick([2, 50]) * unit,
        )  # fmt: skip
        made.on(Parcel)(self.carry)
        if self.second:
            made.on(Parcel)(self.weigh)
        return made

    async def carry(self, parcel: Parcel, ctx: Context) -> None:
        assert parcel.account not in self._running, "two of a key at once"
        self._running.add(parcel.account)
        try:
            self.runs[parcel.account].append(parcel.number)
            for _ in range(self.dice.randrange(4)):
                await asyncio.sleep(0)
            await self._fail_perhaps(ctx.attempt)
            self.done.add((parcel.account, parcel.number))
        finally:
            self._running.remove(parcel.account)

    async def _fail_perhaps(self, attempt: int) -> None:
        what = self.dice.random()
        if what < 0.15:
            raise OSError
        if what < 0.22 and attempt < 4:
            raise RetryLater(self.dice.choice([0, 0.3, 1, 5]) * self.unit)
        if what < 0.25 and attempt < 3:
            await self.clock.sleep(100 * self.unit)

    async def weigh(self, parcel: Parcel) -> None:
        if self.dice.random() < 0.2:
            raise OSError

    async def passes(self, awaitable: Awaitable[Any]) -> Any:
        """Wait for it, while the clock moves on."""
        if isinstance(self.clock, ManualClock):
            return await passing(self.clock, awaitable, 0.25)
        return await asyncio.wait_for(awaitable, PATIENCE)

    async def stop(self, dispatcher: EventDispatcher) -> None:
        if isinstance(self.clock, ManualClock):
            await stopped(dispatcher, self.clock, 2)
        else:
            await dispatcher.stop(grace=2)

    async def outages(self, queues: list[Breakable]) -> None:
        """Two methods at a time stop working, again and again."""
        for _ in range(6):
            await asyncio.sleep(0.003)
            queue = self.dice.choice(queues)
            queue.broken = set(self.dice.sample(["ack", "nack", "release", "pop", "move", "extend"], 2))
            await asyncio.sleep(0.004)
            queue.broken = set()


@asynccontextmanager
async def consuming(storm: Storm, queues: list[Breakable]) -> AsyncIterator[list[EventDispatcher]]:
    dispatchers = [storm.dispatcher(queue) for queue in queues]
    for dispatcher in dispatchers:
        await dispatcher.start(workers=storm.dice.choice([1, 2, 8]))
    yield dispatchers
    for dispatcher in dispatchers:
        await storm.stop(dispatcher)


def seeds(small: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "seed", [*range(small), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(small, 100))]
    )


@homes("channel", "reference", "sqlite")
@pytest.mark.timeout(300)
@seeds(4)
async def test_whatever_happens_nothing_is_lost_and_no_key_loses_its_order(
    home: Home, seed: int, tmp_path: Path
) -> None:
    """Each event is handled or dead, and all its runs come before those of the next one of its key."""
    await weather(home, seed, tmp_path)


@homes("list", "stream", "keyed")
@pytest.mark.timeout(300)
@seeds(2)
async def test_on_redis_nothing_is_lost_and_no_key_loses_its_order(home: Home, seed: int, tmp_path: Path) -> None:
    """The same in real time; without KEYED, of one dispatcher."""
    await weather(home, seed, tmp_path)


@homes("kafka")
@pytest.mark.timeout(300)
@seeds(2)
async def test_on_kafka_nothing_is_lost_and_no_key_loses_its_order(home: Home, seed: int, tmp_path: Path) -> None:
    """The same in real time."""
    await weather(home, seed, tmp_path)


async def weather(home: Home, seed: int, tmp_path: Path) -> None:
    """One storm, and what it left."""
    storm = Storm(seed, home)
    url = f"channel://storm{seed}" if home.kind == "channel" else home.url(tmp_path)
    queues = [Breakable(open_queue(url)) for _ in range(storm.dice.choice([1, 2]) if home.keyed else 1)]
    async with consuming(storm, queues) as dispatchers:
        outages = asyncio.ensure_future(storm.outages(queues))
        for number in range(EVENTS):
            await dispatchers[0].dispatch(Parcel(number % storm.keys, number))
            if storm.dice.random() < 0.2:
                await asyncio.sleep(0.001)
        await outages
        for dispatcher in dispatchers:
            await storm.passes(dispatcher.join())
        letters = [letter for one in dispatchers for letter in await browsed(one)]
    dead = {numbers(letter) for letter in letters if "carry" in letter.handlers}
    assert {(number % storm.keys, number) for number in range(EVENTS)} - storm.done - dead == set()
    for account, seen in storm.runs.items():
        assert [number for number, _ in itertools.groupby(seen)] == sorted(set(seen)), f"order of key {account}"


async def browsed(dispatcher: EventDispatcher) -> list[Message]:
    return [message async for message in dispatcher.dead_letters.browse()]


def numbers(letter: Message) -> tuple[int, int]:
    data: Any = letter.data
    return (data.account, data.number) if isinstance(data, Parcel) else (data["account"], data["number"])
