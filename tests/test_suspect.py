"""Events that were handed out before and not settled: who is blamed for a death, and who is not."""

from __future__ import annotations

import asyncio

import pytest

from queues.message import Message
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import Parcel, Stage, turns, until
from tests.test_pool import Suspicious
from workers.suspect import Suspects


@pytest.mark.parametrize("gives_up", [False, True])
async def test_who_waits_to_be_alone_is_not_overtaken(gives_up: bool) -> None:
    """By those that come later; they go on when it has run, or has given up."""
    suspects, order = Suspects(), list[str]()

    async def run(name: str, *, alone: bool = False) -> None:
        await suspects.enter(alone=alone)
        order.append(name)

    await run("first")
    last_chance = asyncio.ensure_future(run("alone", alone=True))
    await turns()
    later = [asyncio.ensure_future(run(name)) for name in ("second", "third")]
    await turns()
    assert order == ["first"]
    if gives_up:
        last_chance.cancel()
    else:
        suspects.leave()
        await last_chance
        await turns()
        assert order == ["first", "alone"]
        suspects.leave()
    await asyncio.gather(*later)
    assert order[-2:] == ["second", "third"]


async def test_a_suspect_that_failed_waits_in_the_queue_and_is_cleared_of_suspicion() -> None:
    """In a lane it would be counted at the next death of its process, though it does not run."""
    queue = Suspicious(ReferenceQueue(Store()))
    async with Stage(queue, dead_letter=ReferenceQueue(Store())) as stage:

        @stage.dispatcher.on(Parcel)
        async def fail(parcel: Parcel) -> None:
            stage.ran.append(parcel)
            raise ValueError("not this time")

        await stage.start()
        await stage.dispatcher.dispatch(Parcel(1))
        await stage.ran_in_all(1)
        await until(lambda: queue.count("nack") == 1)
        [nack] = next(what for name, what in queue.calls if name == "nack")
        message: Message = nack.message
        assert (message.attempt, nack.delay > 0) == (2, True)
        assert (await queue.stats()).delayed == 1
