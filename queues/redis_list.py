"""The Redis List queue: CloudEvents JSON in a list of the queue's name, handed out in fenced batches under a lease."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Literal

import attrs

from . import _redis_list_look as look
from . import wire
from ._redis_bare import RedisBareQueue
from ._redis_batch import Item, newest_first
from ._redis_keyed import KeyedOwner
from ._redis_list_consumer import Consumer
from ._redis_list_intake import delay_ms
from ._redis_list_owner import LEFT, LEFT_IN_DOUBT, Owner
from ._redis_queue import RedisOptions, RedisQueue
from ._redis_server import Server
from .base import Capability, MessageQueue, QueueStats
from .errors import ConfigurationError
from .message import Delivery, Message, Nack
from .url import QueueURL


@attrs.frozen(kw_only=True)
class ListOptions(RedisOptions):
    """As RedisOptions. delivery: `at-most-once` loses what a process had when it dies, and is a little faster."""

    delivery: Literal["at-least-once", "at-most-once"] = "at-least-once"


class RedisListQueue(RedisQueue):
    """`redis://[user:password@]host:port/db?queue=name`; also rediss, unix, redis+sentinel and redis+cluster.

    At least once: what was not settled when its owner's lease ended is handed out again, counted, in order. Foreign
    programs push with LPUSH. Cancelling never loses a delivery. `?order=key` keeps order by key across all consumers.
    """

    capabilities: Capability = Capability.ACK | Capability.DELAY | Capability.DURABLE

    def __init__(self, server: Server, name: str, options: ListOptions, *, keyed: bool = False) -> None:
        super().__init__(server, name, options)
        self._keyed = keyed
        if keyed:
            self.capabilities |= Capability.KEYED

    @classmethod
    def from_url(cls, url: QueueURL) -> MessageQueue:
        """See ListOptions. Raises ConfigurationError."""
        if url.group is not None:
            raise ConfigurationError(f"{url}: a list has no consumer groups; leave ?group= out, or use redis+stream://")
        options = url.read(ListOptions)
        if options.delivery == "at-most-once" and not url.unlimited:  # dead letters are kept all the same
            if url.order == "key":
                raise ConfigurationError(f"{url}: order=key needs to know what is in flight; leave delivery= out")
            return RedisBareQueue(Server(url, options), url.name, options)
        return cls(Server(url, options), url.name, options, keyed=url.order == "key")

    # -- life

    async def _begin(self) -> None:
        kind = KeyedOwner if self._keyed else Owner
        self._owner = kind(self._keys, self._options.lease, self.limits, self.clock)
        await self._owner.reap(self._pushes)  # nobody consumes dead letters: a retry that was killed had some
        self._consumer = Consumer(self._server, self._owner)

    async def _end(self) -> None:
        await self._consumer.close()
        await self._leave()

    async def _leave(self) -> None:
        """Hand back what is not settled, uncounted; what a thread still runs stays until its lease ends."""
        owner = self._owner
        if any(delivery.running for delivery in owner.held):
            await self._release([one for one in (*owner.held, *self._consumer.ready) if not one.running])
        elif self._consumer.began or owner.until:
            await owner.give_back(self._settles, owner.name, LEFT_IN_DOUBT if self._consumer.in_doubt else LEFT)
        owner.held.clear()

    # -- out

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        if self._consumer.ready and self.clock.monotonic() >= self._owner.until:
            await self.extend([])  # nobody renewed the lease of what nobody popped
        deliveries = await self._consumer.pop(limit)
        self._owner.held.update(dict.fromkeys(deliveries))
        return deliveries

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        self._check_open()
        if self._keyed:
            return await super().take(match, limit)
        owner = self._owner
        events = await look.matching(self._settles, self._keys, self.limits, match, limit)
        if not events:
            return []
        number, now = owner.next_number(), self.clock.monotonic()
        owner.taking.add(number)
        try:
            [taken] = await self._settles.call(owner.take(number, events))
        finally:
            owner.taking.discard(number)
        owner.renewed(now)
        deliveries = owner.received(number, [event for event, ours in zip(events, taken, strict=True) if ours])
        owner.held.update(dict.fromkeys(deliveries))
        return deliveries

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        return await self._owner.change(self._settles, deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        self._check_open()
        items = [self._item(nack) for nack in nacks if nack.delivery in self._owner.held]
        return await self._owner.change(self._settles, [nack.delivery for nack in nacks], items, leaving=False)

    def _item(self, nack: Nack) -> Item:
        message = nack.message or nack.delivery.message
        event = nack.delivery.raw if message is None else wire.encode(attrs.evolve(message, deliveries=0))
        later = max(int(nack.delay * 1000), -1 if nack.message is None else delay_ms(nack.message, self.clock))
        return Item(nack.delivery, "d", later, event) if later > 0 else Item(nack.delivery, "w", event=event)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        await self._release([delivery for delivery in deliveries if delivery in self._owner.held])

    async def _release(self, deliveries: Sequence[Delivery]) -> None:
        items = [Item(delivery, "r") for delivery in newest_first(deliveries)]
        self._owner.held.update(dict.fromkeys(deliveries))
        await self._owner.change(self._settles, deliveries, items, leaving=False)

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """One step where `to` is a list of the same server and slot: a dead letter and its ack are one.

        A move is no second dispatch: `?dedup=` has no say.
        """
        self._check_open()
        if not self._is_beside(to):
            return await super().move_many(pairs, to)
        items = [
            Item(delivery, "m", event=wire.encode(message))
            for delivery, message in pairs
            if delivery in self._owner.held
        ]
        return await self._owner.change(
            self._settles, [delivery for delivery, _ in pairs], items, dead=to._keys.waiting
        )  # fmt: skip

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        ours = [delivery for delivery in deliveries if delivery in self._owner.held]
        lost = await self._owner.started(self._settles, ours) if ours else []
        return [*(one for one in deliveries if one not in self._owner.held), *lost]

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        owner = self._owner
        await owner.renew(self._settles)
        self._consumer.drop_lost()
        return [one for one in deliveries if one not in owner.held or one.receipt.batch.gone]

    # -- looked at

    async def size(self) -> int:
        self._check_open()
        return (await look.size(self._settles, self._keys))[0]

    async def stats(self) -> QueueStats:
        self._check_open()
        return await look.stats(self._settles, self._keys, self._dead, self.clock, self.limits)

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What waits, the oldest first. `since` as text: how many of the oldest to leave out."""
        self._check_open()
        return look.browse(self._settles, self._keys, self.clock, self.limits, since, follow=follow)
