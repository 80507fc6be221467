"""What the administration of every queue keeps, proved on a real one: a subclass has a fixture `url`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import pytest

from queues.admin import QueueAdmin, Share
from queues.base import MessageQueue
from queues.errors import ConfigurationError, QueueError, Unsupported
from queues.message import Delivery, Message
from queues.registry import open_admin, open_queue
from queues.url import QueueURL

T = TypeVar("T")
PATIENCE = 20.0


async def eventually(look: Callable[[], Awaitable[T]], fits: Callable[[T], object]) -> T:
    """What is seen once it fits; the last look when it never does."""
    end = time.monotonic() + PATIENCE
    while not fits(seen := await look()) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    assert fits(seen), seen
    return seen


def events(number: int) -> list[Message]:
    return [Message(type="order.placed", id=f"e-{n}", source="/test", key=str(n)) for n in range(number)]


def lag_of(shares: Sequence[Share]) -> int:
    return sum(share.lag for share in shares)


async def popped(queue: MessageQueue, number: int) -> list[Delivery]:
    """So many deliveries."""
    found: list[Delivery] = []
    while len(found) < number:
        found += await queue.pop_many(number - len(found))
    return found


class AdminContract:
    """Administration as a command, or a program, finds it. missing_is_told: a queue is there only once it is made."""

    missing_is_told = True

    @pytest.fixture
    def made(self, url: str) -> Callable[[], Awaitable[str]]:
        """Makes the queue; its URL."""

        async def make() -> str:
            async with open_admin(url) as admin:
                await admin.create(admin.options())
            return url

        return make

    async def test_what_is_created_exists_from_then_on(self, url: str) -> None:
        """A second time nothing is made, and it is told; what lies beside the queue is made with it."""
        async with open_admin(url) as admin:
            first = await admin.create(admin.options())
            again = await admin.create(admin.options())
        assert first[0].name == again[0].name
        assert first[0].name in url
        assert {change.done for change in first} <= {"created", "ready"}
        assert {change.done for change in again} <= {"exists", "ready"}
        async with open_queue(url) as queue, open_queue(_sibling(queue)) as dead:
            assert (await queue.size(), await dead.size()) == (0, 0)

    async def test_a_queue_that_was_not_made_is_told_with_the_command_that_makes_it(self, url: str) -> None:
        """Where queues are made at all."""
        if not self.missing_is_told:
            return
        async with open_admin(url) as admin:
            for ask in (admin.describe, admin.lag, admin.delete):
                with pytest.raises(ConfigurationError, match="notification queue create"):
                    await ask()

    async def test_shares_together_are_what_is_not_settled(self, made: Callable[[], Awaitable[str]]) -> None:
        """Waiting or in flight; an owner is among them while he consumes, and gone once he has closed."""
        url = await made()
        async with open_admin(url) as admin, open_queue(url) as queue:
            await queue.push_many(events(5))
            got = await popped(queue, 2)
            shares = await eventually(admin.lag, lambda shares: any(share.owner for share in shares))
            assert lag_of(shares) == 5
            assert await admin.lag(own=True) == shares
            await queue.ack_many(got)
            await eventually(admin.lag, lambda shares: lag_of(shares) == 3)
            await queue.close()
            left = await eventually(admin.lag, lambda shares: not any(share.owner for share in shares))
            assert lag_of(left) == 3

    async def test_a_queue_is_described_with_its_figures(self, made: Callable[[], Awaitable[str]]) -> None:
        """Those that it tells itself; and its name."""
        url = await made()
        async with open_admin(url) as admin, open_queue(url) as queue, open_queue(_sibling(queue)) as dead:
            await queue.push_many(events(3))
            await dead.push_many(events(2))
            info = await eventually(admin.describe, lambda info: (info.stats.waiting, info.stats.dead) == (3, 2))
            assert info.name in url
            assert info.tables

    async def test_the_queues_of_a_place_are_listed(self, made: Callable[[], Awaitable[str]]) -> None:
        """Without those that lie beside another one; or it says that it can't."""
        url = await made()
        async with open_admin(url) as admin:
            with suppress(Unsupported):
                names = [info.name for info in await admin.list()]
                assert names == sorted(names)
                assert any(name in url for name in names)
                assert not any(name.endswith(".dead") for name in names)

    async def test_a_queue_that_is_consumed_is_not_deleted(self, made: Callable[[], Awaitable[str]]) -> None:
        """Its workers have to be stopped first: they would go on with what is no longer there."""
        url = await made()
        async with open_admin(url) as admin, open_queue(url) as queue:
            await queue.push_many(events(3))
            got = await popped(queue, 1)
            with pytest.raises(QueueError, match="stop"):
                await admin.delete()
            await queue.release(got)
            await queue.close()
            await eventually(lambda: deleted(admin), lambda done: done)

    async def test_what_was_deleted_is_gone_for_good(self, made: Callable[[], Awaitable[str]]) -> None:
        """Waiting, delayed and dead events; the queue can be used, or made, again."""
        url = await made()
        async with open_queue(url) as queue, open_queue(_sibling(queue)) as dead:
            await queue.push_many(events(3))
            await dead.push_many(events(1))
        async with open_admin(url) as admin:
            await eventually(lambda: deleted(admin), lambda done: done)
            await eventually(lambda: _made_again(admin), lambda done: done)
            async with open_queue(url) as queue, open_queue(_sibling(queue)) as dead:
                assert (await queue.size(), await dead.size()) == (0, 0)
                await queue.push_many(events(2))
                assert len(await popped(queue, 2)) == 2


async def deleted(admin: QueueAdmin) -> bool:
    """Whether it could be deleted; not while a consumer that has left is still known."""
    try:
        return bool(await admin.delete())
    except QueueError:
        return False


async def _made_again(admin: QueueAdmin) -> bool:
    return bool(await admin.create(admin.options()))


def _sibling(queue: MessageQueue) -> QueueURL:
    assert queue.url is not None
    return queue.url.sibling("dead")
