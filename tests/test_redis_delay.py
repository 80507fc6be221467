"""The timer of delayed events: it sleeps here, and a bell at the server cuts its sleep short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from queues._redis_delay import DelayTimer
from queues._redis_link import Link
from queues._redis_scripts import Command
from queues._redis_server import Server, ServerOptions
from queues.clock import ManualClock
from queues.errors import QueueUnavailable
from queues.url import QueueURL

NOWHERE = Server(QueueURL.parse("redis://127.0.0.1:1"), ServerOptions())


class Looks(Link):
    """Answers each look with the next of `answers`: milliseconds, or an error; -1 when there is none left."""

    def __init__(self) -> None:
        super().__init__(NOWHERE)
        self.answers: list[int | QueueUnavailable] = []
        self.looked = 0

    async def call(self, *commands: Command) -> list[Any]:
        self.looked += 1
        answer = self.answers.pop(0) if self.answers else -1
        if isinstance(answer, QueueUnavailable):
            raise answer
        return [answer]


class Bell(Link):
    """Rings when the test says so."""

    def __init__(self) -> None:
        super().__init__(NOWHERE)
        self.rings: asyncio.Queue[object] = asyncio.Queue()

    def begin(self, *commands: Command) -> asyncio.Task[list[Any]]:
        async def rung() -> list[Any]:
            return [await self.rings.get()]

        return asyncio.ensure_future(rung())


class Stage:
    """A timer on a clock that stands still."""

    def __init__(self) -> None:
        self.clock, self.looks, self.bell = ManualClock(), Looks(), Bell()
        self.timer = DelayTimer(
            looks=self.looks, bell=self.bell, key="bell", promote=lambda: ("PING",), clock=self.clock
        )

    async def begins(self, *answers: int | QueueUnavailable) -> None:
        """It starts, and the first looks are answered so."""
        self.looks.answers = [*answers]
        self.timer.start()
        await self.clock.advance(0)
        assert self.looks.looked == 1

    async def looks_after(self, seconds: float) -> int:
        """How many looks it took in this time."""
        before = self.looks.looked
        await self.clock.advance(seconds)
        return self.looks.looked - before


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.timer.close()


async def test_it_looks_when_the_next_event_is_due(stage: Stage) -> None:
    """Not before, and to the millisecond."""
    await stage.begins(250, -1)
    assert await stage.looks_after(0.249) == 0
    assert await stage.looks_after(0.001) == 1


async def test_it_goes_on_at_once_while_more_is_due(stage: Stage) -> None:
    """A look promotes a hundred at most."""
    stage.looks.answers = [0, 0, 0, -1]
    stage.timer.start()
    await stage.clock.advance(0)
    assert stage.looks.looked == 4


async def test_it_looks_each_second_when_nothing_is_known_to_be_due(stage: Stage) -> None:
    """Who heard the bell may have died."""
    await stage.begins(60_000, -1)
    assert await stage.looks_after(3.5) == 3


async def test_the_bell_makes_it_look_at_once(stage: Stage) -> None:
    """A sooner event was pushed."""
    await stage.begins(900, 40, -1)
    stage.bell.rings.put_nowait([b"bell", b"1"])
    assert await stage.looks_after(0) == 1
    assert await stage.looks_after(0.04) == 1


async def test_a_bell_that_did_not_ring_changes_nothing(stage: Stage) -> None:
    """The server's wait is over; the next one begins."""
    await stage.begins(900, -1)
    stage.bell.rings.put_nowait(None)
    assert await stage.looks_after(0.8) == 0
    stage.bell.rings.put_nowait([b"bell", b"1"])
    assert await stage.looks_after(0) == 1


async def test_what_others_have_seen_makes_it_look_sooner_and_never_later(stage: Stage) -> None:
    """A fetch sees the next event, too."""
    await stage.begins(500, -1)
    stage.timer.heard(100)
    stage.timer.heard(400)
    stage.timer.heard(-1)
    assert await stage.looks_after(0.099) == 0
    assert await stage.looks_after(0.001) == 1


async def test_it_outlives_an_outage(stage: Stage) -> None:
    """It looks again after a second."""
    await stage.begins(QueueUnavailable("gone"), QueueUnavailable("gone"), -1)
    assert await stage.looks_after(1.0) == 1
    assert await stage.looks_after(1.0) == 1


async def test_it_ends_at_once(stage: Stage) -> None:
    """Also while the bell is waited for; closing twice is closing once, and so is starting twice."""
    await stage.begins(-1)
    stage.timer.start()
    await stage.timer.close()
    await stage.timer.close()
    assert await stage.looks_after(5.0) == 0
