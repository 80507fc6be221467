"""One opened list queue: who it is for the server, what it was handed, and the scripts it calls."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field

from . import wire
from ._redis_batch import Batch, Change, Item, Place, mark_started
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_scripts import Command, Script
from .clock import Clock
from .message import Delivery, Limits

_CLAIM, _CLAIM_BY_MOVES = Script.named("list_claim"), Script.named("list_claim_by_moves")
_SETTLE, _EXTEND, _TAKE = Script.named("list_settle"), Script.named("list_extend"), Script.named("list_take")
_REAP, _EXPIRED, _PROMOTE = Script.named("list_reap"), Script.named("list_expired"), Script.named("list_promote")
GRAVE_MS = 600_000
"""How long a dead owner's empty batches are kept: a blocking move that he had sent may still fill one."""
REAPED_AT_ONCE = 1_000
LEFT, DIED, LEFT_IN_DOUBT = 0, 1, 2
"""How an owner ended; in doubt, something that he had sent may still arrive."""


@define(eq=False)
class Owner:
    """An incarnation: its name is random and never used again, nor are the numbers of its batches.

    lease: seconds. held: what was handed out and not settled. batches: those with something open, by number.
    taking: numbers of batches whose answer is awaited.
    """

    keys: Keys
    lease: float
    limits: Limits
    clock: Clock
    name: str = field(factory=lambda: secrets.token_hex(8))
    held: dict[Delivery, None] = field(factory=dict)
    batches: dict[int, Batch] = field(factory=dict)
    until: float = 0.0
    by_moves: bool = False
    turn: asyncio.Lock = field(factory=asyncio.Lock)
    taking: set[int] = field(factory=set)
    _last_number: int = 0

    @property
    def lease_ms(self) -> int:
        """For the server."""
        return int(self.lease * 1000)

    def next_number(self) -> int:
        """Of a new batch."""
        self._last_number += 1
        return self._last_number

    def renewed(self, sent_at: float) -> None:
        """The server has a new lease of ours, which it began after this moment."""
        self.until = max(self.until, sent_at + self.lease)

    # -- commands

    def claim(self, number: int, limit: int) -> tuple[Command, Command]:
        """Fill a batch, and read it."""
        keys, script = self.keys, _CLAIM_BY_MOVES if self.by_moves else _CLAIM
        batch = keys.batch(self.name, number)
        names = (keys.waiting, keys.own(self.name), batch, keys.leases, keys.delayed)
        return script(names, self.name, self.lease_ms, limit, number), ("LRANGE", batch, 0, -1)

    def claimed(self, number: int, answer: Sequence[Any], events: Sequence[bytes]) -> tuple[int, list[Delivery]]:
        """What the server said to a claim: the milliseconds to the next delayed event, and the deliveries."""
        count, due = answer
        return due, self.received(number, events) if count else []

    def look(self, number: int) -> tuple[Command, Command]:
        """What came of a batch of which we do not know."""
        return ("HGET", self.keys.own(self.name), number), ("LRANGE", self.keys.batch(self.name, number), 0, -1)

    def found(self, number: int, answer: Any, events: Sequence[bytes]) -> list[Delivery]:
        """What the server said to a look: of a batch that is registered, what is not settled is ours."""
        if answer is None or not events:
            return []
        deliveries = self.received(number, events)
        batch = self.batches[number]
        batch.resume(answer)
        if not batch.left:
            del self.batches[number]
        return [delivery for delivery in deliveries if not batch.is_done(delivery.receipt.position)]

    async def wait(self, link: Link, number: int, seconds: float) -> list[Delivery] | None:
        """Wait for one event, straight into the registered batch; None: claim again, for something is there."""
        batch = self.keys.batch(self.name, number)
        [event] = await link.call(("BLMOVE", self.keys.waiting, batch, "RIGHT", "RIGHT", seconds))
        return [] if event is None else self.received(number, [event])

    def settle(self, change: Change, dead: str | None) -> Command:
        """See list_settle.lua. dead: the list for items `m`."""
        return _SETTLE(self.settled(change, dead), *change.arguments())

    def settled(self, change: Change, dead: str | None) -> list[str]:
        """The keys for settle.lua."""
        keys = self.keys
        names = (keys.own(self.name), keys.waiting, keys.delayed, keys.bell, keys.seq, keys.settled)
        return [*names, dead or keys.waiting, *(keys.batch(self.name, batch.number) for batch in change.positions)]

    def extend(self, batches: Iterable[Batch]) -> Command:
        """Renew the lease and ask which of these batches are still ours."""
        names = (self.keys.leases, self.keys.own(self.name))
        return _EXTEND(names, self.name, self.lease_ms, *(batch.number for batch in batches))

    def take(self, number: int, events: Sequence[bytes]) -> Command:
        """Take these very events."""
        keys = self.keys
        names = (keys.waiting, keys.own(self.name), keys.batch(self.name, number), keys.leases)
        return _TAKE(names, self.name, self.lease_ms, number, *events)

    # -- what was handed out

    def received(self, number: int, events: Sequence[bytes]) -> list[Delivery]:
        """A batch that the server has filled."""
        batch = self.batches[number] = Batch.of(number, len(events))
        deliveries = []
        for position, event in enumerate(events):
            delivery = wire.delivery_of(event, Place(batch, position), limits=self.limits)
            if delivery.message is not None:
                delivery.times = delivery.message.deliveries + 1
            deliveries.append(delivery)
        return deliveries

    async def change(
        self, link: Link, deliveries: Sequence[Delivery], items: Sequence[Item] = (), *, leaving: bool = True,
        dead: str | None = None,
    ) -> list[Delivery]:  # fmt: skip
        """Settle these in one call. Returns those that were no longer ours; they are no longer held either way."""
        async with self.turn:  # the marks of one call say what the last one did
            ours = [delivery for delivery in deliveries if delivery in self.held]
            lost = [delivery for delivery in deliveries if delivery not in self.held]
            if not ours:
                return lost
            change = Change(ours, [item for item in items if item.delivery in self.held], leaving)
            try:
                [answer] = await link.call(self.settle(change, dead))
            except BaseException:  # cancelled, too: it may be on its way
                change.failed()
                raise
            lost += change.answered(answer)
            self.forget(ours)
            return lost

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """These are no longer held."""
        for delivery in deliveries:
            self.held.pop(delivery, None)
            batch = delivery.receipt.batch
            if batch.gone or batch.left == 0:
                self.batches.pop(batch.number, None)

    async def started(self, link: Link, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Mark these as about to run. Returns those that are another owner's."""
        async with self.turn:
            change = Change([], leaving=False)
            change.positions = {batch: [] for batch in mark_started(deliveries)}
            [answer] = await link.call(self.settle(change, None))
            change.answered(answer)
        return [delivery for delivery in deliveries if delivery.receipt.batch.gone]

    async def renew(self, link: Link) -> None:
        """Renew the lease, and find out which batches are gone."""
        batches, now = list(self.batches.values()), self.clock.monotonic()
        [answer] = await link.call(self.extend(batches))
        self.renewed(now)
        for batch, ours in zip(batches, answer, strict=True):
            batch.gone = batch.gone or not ours

    # -- giving back

    def promote(self) -> Command:
        """Move what is due to the waiting events."""
        return promote(self.keys)

    def reap_command(self, owner: str, numbers: Sequence[int], how: int) -> Command:
        """Give back what an owner holds in these batches, the oldest first. how: LEFT, DIED or LEFT_IN_DOUBT."""
        return _REAP(self.reaped(owner, numbers), owner, how, GRAVE_MS, REAPED_AT_ONCE, *numbers)

    def reaped(self, owner: str, numbers: Sequence[int]) -> list[str]:
        """The keys for reap.lua."""
        keys = self.keys
        return [keys.waiting, keys.leases, keys.own(owner), *(keys.batch(owner, number) for number in numbers)]

    async def reap(self, link: Link) -> None:
        """Give back what owners held whose lease is over."""
        [expired] = await link.call(_EXPIRED((self.keys.leases,)))
        for owner in expired:
            await self.give_back(link, owner.decode(), DIED)

    async def give_back(self, link: Link, owner: str, how: int) -> None:
        """Return all that an owner holds, a thousand at a time."""
        moved = REAPED_AT_ONCE
        while moved >= REAPED_AT_ONCE:
            [fields] = await link.call(("HKEYS", self.keys.own(owner)))
            numbers = sorted(int(one) for one in fields if one.isdigit())
            [moved] = await link.call(self.reap_command(owner, numbers, how))


def promote(keys: Keys) -> Command:
    """Move what is due to the waiting events."""
    return _PROMOTE((keys.waiting, keys.delayed))
