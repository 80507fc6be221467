"""Taking from a stream: what was handed back and what dead owners had first, then what is new."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ._redis_link import Link
from ._redis_stream_owner import Owner, ids_of
from .base import MessageQueue
from .errors import QueueError
from .message import Delivery, Message

BLOCK = 0.5
"""Seconds for which a fetch waits at the server: what others hand back meanwhile is seen after it."""
_SWEEP = 1.0
"""Seconds between two looks for consumers without a lease, and for what can be removed."""
_SMALLEST = 256
"""Bytes that an event is taken to have before one was seen."""
_PAGE = 500
_LEAST_BLOCK = 0.01
_GONE = ("NOGROUP", "no longer exists")
"""What the server says when somebody has removed the group or the stream."""


class Reads:
    """heard: told the milliseconds to the next delayed event with each look."""

    def __init__(self, link: Link, owner: Owner, heard: Callable[[int], None]) -> None:
        self._link, self._owner, self._heard = link, owner, heard
        self._size = float(_SMALLEST)
        self._swept = float("-inf")
        self._doubts: deque[float] = deque()
        self._foreign: list[bytes] = []

    async def fetch(self, limit: int) -> list[Delivery]:
        """Up to `limit` of what is new and about a mebibyte; waits for the first, for a second."""
        limit = max(1, min(limit, int(MessageQueue.BATCH_BYTES / self._size)))
        try:
            if self._doubts and self._doubts[0] <= self._owner.clock.monotonic():
                await self._compare()
            return await self._look(limit) or await self._wait(limit)
        except QueueError as error:
            if any(text in str(error) for text in _GONE):
                self._owner.died(self._owner.name)
                self._doubts.clear()
                return []
            # What was asked may still be served to the connection that is gone: compare now, and once that is over.
            now = self._owner.clock.monotonic()
            self._doubts = deque((now, now + self._block() + 1.0))
            raise

    def _block(self) -> float:
        return max(_LEAST_BLOCK, min(BLOCK, self._owner.lease / 4))

    async def _look(self, limit: int) -> list[Delivery]:
        owner, now = self._owner, self._owner.clock.monotonic()
        sweep = now - self._swept >= _SWEEP
        commands = [owner.look(limit, sweep=sweep)]
        name, known = owner.name, not owner.fresh and now < owner.until - owner.lease / 2
        if known:  # else a new entry might be handed to a name that has no lease
            commands.append(owner.read(limit))
        looked, *read = await self._link.call(*commands)
        if looked[0] == -1:
            owner.died(name)
        elif name == owner.name:
            owner.renewed(now)
            owner.fresh = False
            self._heard(looked[1])
            self._swept = now if sweep else self._swept
        return await self._received(name, [*(looked[2] if looked[0] == 1 else ()), *_entries(read)])

    async def _wait(self, limit: int) -> list[Delivery]:
        owner = self._owner
        if owner.fresh:  # lost meanwhile
            return []
        name = owner.name
        return await self._received(name, _entries(await self._link.call(owner.read(limit, self._block()))))

    async def _received(self, name: str, entries: Sequence[Any]) -> list[Delivery]:
        """What came for this name of ours. When its lease was ended meanwhile, it is handed back."""
        owner = self._owner
        if name != owner.name:
            if entries:
                await self._link.call(owner.leave(name))
            return []
        if not entries:
            return []
        deliveries, foreign = owner.received(entries)
        size = sum(delivery.size for delivery in deliveries) / max(1, len(deliveries))
        self._size += 0.2 * (max(size, 1.0) - self._size)
        self._foreign += foreign
        if self._foreign:
            await self._settle_foreign()
        return deliveries

    async def _settle_foreign(self) -> None:
        """Other groups' retries. What came beside them must not go with an error: they are left to the next fetch."""
        try:
            await self._link.call(self._owner.ack(self._foreign, count=False))
        except QueueError:
            return
        self._foreign = []

    async def _compare(self) -> None:
        """Hand back what the server takes to be ours and we never saw: the answer was lost."""
        owner = self._owner
        name, after, page = owner.name, "-", _PAGE
        while page == _PAGE:
            [pending] = await self._link.call(owner.pending(after, _PAGE))
            page = len(pending)
            unseen = [entry[0] for entry in pending if entry[0] not in owner.held and entry[0] not in self._foreign]
            if unseen and name == owner.name:
                await self._link.call(owner.release(unseen))
            after = "(" + pending[-1][0].decode() if pending else after
        self._doubts.popleft()


async def take(link: Link, owner: Owner, match: Callable[[Message], bool], limit: int, todo: int) -> list[Delivery]:
    """Up to `limit` of the `todo` that wait now and match; the others are handed back at once."""
    taken: list[Delivery] = []
    after: bytes | str = "-"
    while len(taken) < limit:
        page = min(_PAGE, todo) if todo > 0 else 0
        name, now = owner.name, owner.clock.monotonic()
        [looked] = await link.call(owner.look(_PAGE, after))
        if looked[0] == -1:
            owner.died(name)
            return []
        owner.renewed(now)
        owner.fresh = False
        entries = looked[2]
        if entries:
            after = b"(" + entries[-1][0]
        elif page:
            entries = _entries(await link.call(owner.read(page)))
            todo -= len(entries)
        if not entries or name != owner.name:
            break
        deliveries, foreign = owner.received(entries)
        if foreign:
            await link.call(owner.ack(foreign, count=False))
        wanted = [one for one in deliveries if one.message is not None and match(one.message)][: limit - len(taken)]
        taken += wanted
        await owner.settle(link, _others(deliveries, wanted), lambda ours: owner.release(ids_of(ours)))
    return taken


def _others(deliveries: Sequence[Delivery], wanted: Sequence[Delivery]) -> list[Delivery]:
    chosen = set(wanted)
    return [one for one in deliveries if one not in chosen]


def _entries(replies: Sequence[Any]) -> list[Any]:
    """Of replies to XREADGROUP on one stream."""
    return replies[0][0][1] if replies and replies[0] else []
