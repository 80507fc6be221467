"""Claims of a list whose answers were lost on the way: the events are with their owner, and he does not know."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from queues._redis_scripts import Command
from queues.conformance.waiting import events, ids, popped
from queues.errors import QueueUnavailable
from queues.redis_list import RedisListQueue
from queues.registry import open_queue

from .homes import Home, homes

ON_LISTS = homes("list", "keyed")
PATIENCE = 10.0


class Claimant:
    """A queue of one key, and claims on it that nobody hears of."""

    def __init__(self, queue: RedisListQueue) -> None:
        self.queue = queue

    async def loses(self, number: int, limit: int) -> None:
        """The claim is done, and the answer does not come."""
        await self.arrives(number, limit)
        self.doubts(number)

    def doubts(self, number: int) -> None:
        """The connection broke under this claim."""
        self.queue._consumer._claims.strays.doubt(number)

    async def arrives(self, number: int, limit: int) -> int:
        """The claim comes to the server; how many events it takes."""
        answer, _ = await self.queue._pushes.call(*self.queue._owner.claim(number, limit))
        return int(answer[0])

    async def gets(self, count: int) -> list[str]:
        """So many, not settled."""
        return ids(await popped(self.queue, count, "it is handed out", PATIENCE))


@pytest.fixture
async def claimant(home: Home, tmp_path: Path) -> AsyncIterator[Claimant]:
    """With five events of one key, of which the first was handed out and settled."""
    async with open_queue(home.url(tmp_path)) as queue:
        assert isinstance(queue, RedisListQueue)
        await queue.push_many(events(5, key="k"))
        assert await queue.ack_many(await popped(queue, 1, "it consumes", PATIENCE)) == []
        yield Claimant(queue)


@ON_LISTS
async def test_what_a_lost_answer_brought_comes_before_what_is_behind_it(claimant: Claimant) -> None:
    """F11: at once, or the later events of its key would overtake it."""
    await claimant.loses(claimant.queue._owner.next_number(), 2)
    assert await claimant.gets(4) == ["e1", "e2", "e3", "e4"]


@ON_LISTS
async def test_a_look_that_breaks_off_keeps_what_it_had_found(
    claimant: Claimant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: the answers of two claims were lost, and the connection breaks again between the looks at them."""
    owner, link = claimant.queue._owner, claimant.queue._consumer._fetches
    for number in (owner.next_number(), owner.next_number()):
        await claimant.loses(number, 1)
    call, calls = link.call, itertools.count(1)

    async def breaks(*commands: Command) -> list[Any]:
        if next(calls) == 3:  # which batches there are, the first, the second
            raise QueueUnavailable("cut")
        return await call(*commands)

    monkeypatch.setattr(link, "call", breaks)
    got: list[str] = []
    while len(got) < 2:
        with contextlib.suppress(QueueUnavailable):
            got += await claimant.gets(1)
    assert got == ["e1", "e2"]


@homes("keyed")
async def test_a_claim_that_comes_after_its_owner_has_gone_on_takes_nothing(claimant: Claimant) -> None:
    """F12: a network that was silent delivers it later; what it took would come behind later events of its key."""
    late = claimant.queue._owner.next_number()
    claimant.doubts(late)
    assert await claimant.gets(1) == ["e1"]
    assert await claimant.arrives(late, 2) == 0
    assert await claimant.gets(3) == ["e2", "e3", "e4"]
