"""Whatever owners do, in whatever order: nothing is lost, no key is shared, and the file's own books are right."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from queues.clock import ManualClock
from queues.message import Delivery, Message, Nack
from queues.sqlite import SQLiteQueue
from tests.sqlite_audit import audit

_LEASE = 10.0
_KEYS = [None, "a", "b", "c"]


class World:
    """Three owners of one queue, what they hold, and what became of every event."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.owners: list[SQLiteQueue] = []
        self.held: dict[SQLiteQueue, list[Delivery]] = {}
        self.open: dict[str, Message] = {}
        """Neither acked nor moved."""
        self.pushed: list[Message] = []
        self.letters: set[str] = set()
        self.number = 0

    def queue(self, name: str = "events", **options: object) -> SQLiteQueue:
        queue = SQLiteQueue(self.path, name, lease=_LEASE, **options)  # type: ignore[arg-type]  # a test's own keywords
        queue.clock = self.clock
        return queue

    async def another(self) -> SQLiteQueue:
        queue = self.queue()
        await queue.open()
        self.owners.append(queue)
        self.held[queue] = []
        return queue

    async def step(self, stack: AsyncExitStack) -> None:
        """One thing that an owner may do."""
        owner = self.random.choice(self.owners)
        action = self.random.choice(
            [self.push] * 3 + [self.pop] * 4 + [self.ack] * 3 + [self.nack, self.release, self.move, self.started]
            + [self.wait, self.leave, self.die, self.take]
        )  # fmt: skip
        await action(owner)

    async def push(self, owner: SQLiteQueue) -> None:
        messages = []
        for _ in range(self.random.randint(1, 6)):
            self.number += 1
            later = self.random.random() < 0.15
            due = self.clock.now() + timedelta(seconds=self.random.uniform(0.5, 15)) if later else None
            messages.append(
                Message(type="t", id=f"e{self.number}", source="/s", key=self.random.choice(_KEYS), not_before=due)
            )
        await owner.push_many(messages)
        self.pushed += messages
        self.open |= {message.id: message for message in messages}

    async def pop(self, owner: SQLiteQueue) -> None:
        task = asyncio.ensure_future(owner.pop_many(self.random.choice([1, 3, 10, 40])))
        await asyncio.sleep(0)
        await owner.size()  # runs after the claim: what there was to hand out has come
        task.cancel()
        await asyncio.wait([task])
        for delivery in [] if task.cancelled() else task.result():
            self.check(owner, delivery)
            self.held[owner].append(delivery)

    def check(self, owner: SQLiteQueue, delivery: Delivery) -> None:
        """It is still open and due, nobody else's, and no earlier one of its key is anywhere but with this owner."""
        message = delivery.expect()
        assert message.id in self.open, "what was settled never comes back"
        assert message.not_before is None or message.not_before <= self.clock.now(), "nothing comes before it is due"
        if message.key is not None:
            mine = {one.expect().id for one in self.held[owner]}
            before = self.pushed[: [one.id for one in self.pushed].index(message.id)]
            passed = [
                one.id for one in before
                if one.key == message.key and one.not_before is None and one.id in self.open and one.id not in mine
            ]  # fmt: skip
            assert not passed, f"{message.id} was handed out before earlier ones of its key"

    def some(self, owner: SQLiteQueue) -> list[Delivery]:
        """Some of what an owner holds, from the first on, as if it had done these."""
        held = self.held[owner]
        some, self.held[owner] = held[: len(held) // 2 + 1], held[len(held) // 2 + 1 :]
        return some

    async def ack(self, owner: SQLiteQueue) -> None:
        some = self.some(owner)
        lost = await owner.ack_many(some)
        self.settled(some, lost)

    def settled(self, some: list[Delivery], lost: list[Delivery]) -> None:
        for delivery in some:
            if delivery not in lost:
                del self.open[delivery.expect().id]

    async def move(self, owner: SQLiteQueue) -> None:
        some = self.some(owner)
        async with self.queue("events.dead", order="none") as dead:
            lost = await owner.move_many([(delivery, delivery.expect()) for delivery in some], dead)
        self.settled(some, lost)
        self.letters |= {delivery.expect().id for delivery in some if delivery not in lost}

    async def nack(self, owner: SQLiteQueue) -> None:
        nacks = []
        for delivery in self.some(owner):
            changed = attrs.evolve(delivery.expect(), attempt=delivery.expect().attempt + 1)
            nacks.append(Nack(delivery, self.random.choice([0.0, 3.0]), self.random.choice([None, changed])))
        await owner.nack_many(nacks)

    async def release(self, owner: SQLiteQueue) -> None:
        await owner.release(self.some(owner))

    async def started(self, owner: SQLiteQueue) -> None:
        await owner.started(self.held[owner])

    async def wait(self, owner: SQLiteQueue) -> None:
        """Time passes; those who are alive renew their leases."""
        await self.clock.advance(self.random.uniform(0.1, 6))
        for alive in self.owners:
            if self.random.random() < 0.7:
                await alive.extend(self.held[alive])

    async def leave(self, owner: SQLiteQueue) -> None:
        await owner.close()
        self.owners.remove(owner)
        del self.held[owner]
        await self.another()

    async def die(self, owner: SQLiteQueue) -> None:
        """It falls silent, with everything it held."""
        self.owners.remove(owner)
        del self.held[owner]
        await self.another()

    async def take(self, owner: SQLiteQueue) -> None:
        wanted = f"{self.random.randint(0, 9)}"
        self.held[owner] += await owner.take(lambda message: message.id.endswith(wanted), 3)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_owners_do_nothing_is_lost_and_the_books_are_right(tmp_path: Path, seed: int) -> None:
    """Random pushes, pops, settles, deaths and waits; then one heir is handed exactly what is open."""
    world = World(tmp_path / "q.db", seed)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await world.another()
        for _ in range(250):
            await world.step(stack)
            audit(world.path)
        for owner in world.owners:
            await owner.close()
        await world.clock.advance(100)
        got: list[str] = []
        async with world.queue() as heir:
            while len(got) < len(world.open):
                batch = await asyncio.wait_for(heir.pop_many(50), 5)
                got += [delivery.expect().id for delivery in batch]
                await heir.ack_many(batch)
            assert sorted(got) == sorted(world.open), "what is open is handed out, each once"
            audit(world.path)
            stats = await heir.stats()
        assert (stats.waiting, stats.in_flight, stats.delayed) == (0, 0, 0)
        assert stats.dead == len(world.letters), "every dead letter is in the sibling"
