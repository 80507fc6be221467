"""The fallback by dice: outages at any time, restarts, a full spill. What was accepted arrives in order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from queues.clock import ManualClock
from queues.errors import PushFailed, QueueError, QueueFull
from queues.fallback import FallbackQueue, SpillSettings, State, WhenFull
from queues.message import Message
from tests.scripted_queue import AWAY, LOST, Scripted
from tests.stage import passing, until


class Weather(Scripted):
    """Changes with every push: takes all, some or none of it, before or after it says so, or says nothing for long."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice, self.bad = dice, 0.5
        self.unknown: set[str] = set()
        """Stored, though it was not said."""

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        kind = self.dice.choice(["away", "lost", "silent", "part", "full"]) if self.dice.random() < self.bad else "fine"
        if kind == "away":
            raise AWAY
        if kind == "silent":
            self.silent = True
            self.clock.call_at(self.clock.monotonic() + self.dice.uniform(0.1, 5), self.speak)
            await self._loud.wait()
        some = self.dice.randrange(len(messages) + 1) if kind in {"part", "full"} else len(messages)
        for message in messages[:some]:
            self.stored.append(message.id)
        if kind == "lost":
            self.unknown |= {message.id for message in messages}
            raise LOST
        if some < len(messages):
            error: QueueError = AWAY if kind == "part" else QueueFull("no room")
            raise PushFailed(dict.fromkeys(range(some, len(messages)), error))

    def speak(self) -> None:
        self.silent = False


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(5, 200))])
async def test_whatever_the_weather_what_was_accepted_arrives_in_order(seed: int, tmp_path: Path) -> None:
    """Each event's first arrival comes after those of all that were accepted before it; what was refused is not there,
    and only what nobody knew the fate of is there twice.
    """
    dice = random.Random(seed)
    inner, clock = Weather(dice), ManualClock()
    inner.clock = clock
    when_full: WhenFull = dice.choice(["refuse", "spill"])
    settings = SpillSettings(tmp_path, dice.choice([5, 40, 100_000]))

    async def opened() -> FallbackQueue:
        fallback = FallbackQueue(inner, settings, when_full=when_full)
        fallback.clock = clock
        await passing(clock, fallback.open(), step=0.05)
        return fallback

    fallback = await opened()
    accepted: list[str] = []
    number = 0
    for _ in range(60):
        batch = [f"{number + at}" for at in range(dice.randrange(1, 30))]
        number += len(batch)
        messages = [Message(type="stage.note", id=id_, source="/tests") for id_ in batch]
        placed = await passing(clock, fallback.place(messages, timeout=dice.choice([0, 0.25])), step=0.02)
        accepted += [id_ for at, id_ in enumerate(batch) if at not in placed.errors]
        if dice.random() < 0.3:
            await clock.advance(dice.uniform(0, 3))
        if dice.random() < 0.05:
            await passing(clock, fallback.close(), step=0.05)
            fallback = await opened()
    inner.bad = 0.0

    async def emptied() -> None:
        await until(lambda: fallback.state is State.DIRECT and not fallback.spilled)

    await passing(clock, emptied(), step=0.2)
    await passing(clock, fallback.close(), step=0.2)
    first = list(dict.fromkeys(inner.stored))
    assert set(accepted) <= set(first)
    assert [id_ for id_ in first if id_ in set(accepted)] == accepted
    assert set(first) - set(accepted) <= inner.unknown
    assert list(tmp_path.iterdir()) == []
