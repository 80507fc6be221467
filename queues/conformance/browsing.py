"""Browse: look at what waits, take nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from ..base import MessageQueue
from ..errors import Unsupported
from ..message import Message
from .suite import Owners, Suite, cancelled
from .waiting import event, events, ids


class Browsing(Suite):
    """Group: browsing."""

    async def test_browsing_shows_what_waits_and_takes_nothing(self, owners: Owners) -> None:
        """In order, as often as one likes."""
        queue = await self._browsable(owners)
        await queue.push_many(events(5, key="k"))
        for _ in range(2):
            seen = await self.soon(_all(queue.browse()), "browse ends after what waits")
            assert [message.id for message in seen] == [f"e{n}" for n in range(5)], "browse shows what waits, in order"
        got = await self.popped(queue, 5, "browse takes nothing")
        assert [delivery.times for delivery in got] == [1] * 5, "browse counts as no hand-out"

    async def test_browsing_an_empty_queue_shows_nothing(self, owners: Owners) -> None:
        """And ends."""
        queue = await self._browsable(owners)
        assert await self.soon(_all(queue.browse()), "browse ends after what waits") == []

    async def test_browsing_since_a_time_leaves_out_what_is_older(self, owners: Owners) -> None:
        """From then on."""
        queue = await self._browsable(owners)
        now = queue.clock.now()
        await queue.push_many([event(f"e{number}", key="k", time=now) for number in range(3)])
        before: datetime = now - timedelta(hours=1)
        seen = await self.soon(_all(queue.browse(since=before)), "browse ends after what waits")
        assert [message.id for message in seen] == ["e0", "e1", "e2"], "browse(since) shows what is not older"
        later = now + timedelta(hours=1)
        assert await self.soon(_all(queue.browse(since=later)), "browse ends") == [], (
            "browse(since) leaves out the rest"
        )

    async def test_a_delivery_is_found_again_where_it_was(self, owners: Owners) -> None:
        """For a queue that has positions, as its own text."""
        queue = await self._browsable(owners)
        await queue.push_many(events(3, key="k"))
        for delivery in await self.popped(queue, 3, "three were pushed"):
            if not (position := queue.position_of(delivery)):
                owners.skip("no positions")
            seen = await self.soon(_all(queue.browse(since=position)), "browse ends after what waits")
            assert [one.id for one in seen][:1] == ids([delivery]), "browse(since) begins with what has the position"

    async def test_following_shows_what_arrives(self, owners: Owners) -> None:
        """follow=True goes on with what is pushed later."""
        queue = await self._browsable(owners)
        await queue.push(event("first", key="k"))
        seen: list[str] = []
        both = asyncio.Event()

        async def follow() -> None:
            async for message in queue.browse(follow=True):
                seen.append(message.id)
                if len(seen) == 2:
                    both.set()

        following = asyncio.ensure_future(follow())
        await asyncio.sleep(0)
        await queue.push(event("second", key="k"))
        await self.soon(both.wait(), "browse(follow=True) goes on with what arrives")
        await cancelled(following)
        assert seen == ["first", "second"], "browse(follow=True) shows each message once, in order"
        assert ids(await self.popped(queue, 2, "browse takes nothing")) == ["first", "second"], "browse takes nothing"

    async def _browsable(self, owners: Owners) -> MessageQueue:
        queue = await owners.open()
        try:
            await self.soon(_all(queue.browse()), "browse ends after what waits")
        except Unsupported:
            owners.skip("no browse")
        return queue


async def _all(messages: AsyncIterator[Message]) -> list[Message]:
    return [message async for message in messages]
