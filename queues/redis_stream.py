"""The Redis Streams queue: entries of a stream of the queue's name, consumed by groups, fenced by leases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import attrs

from . import wire
from ._redis_keys import Keys
from ._redis_list_intake import delay_ms
from ._redis_queue import RedisOptions, RedisQueue
from ._redis_server import Server
from ._redis_stream_consumer import Consumer
from ._redis_stream_intake import StreamIntake
from ._redis_stream_look import Look
from ._redis_stream_owner import Copy, Owner, copy_of, ids_of
from ._redis_stream_reads import take
from .base import Capability, MessageQueue, QueueStats
from .errors import ConfigurationError
from .message import Delivery, Message, Nack
from .url import DEAD, QueueURL, check_name

GROUP = "notification"
"""The group of a URL without ?group=, and of all dead letters: they are one store, each with its own group on it."""


@attrs.frozen(kw_only=True)
class StreamOptions(RedisOptions):
    """As RedisOptions, but for capacity: the most events that wait for any one group.

    consumer: what the names of our consumers begin with. claim: the most events that are taken over at a time from
    those who died or handed them back.
    """

    consumer: str | None = None
    claim: int | None = None


class RedisStreamQueue(RedisQueue):
    """`redis+stream://[user:password@]host:port/db?queue=name&group=name`; also rediss, unix, sentinel and cluster.

    At least once in each group: what was not settled when its owner's lease ended is handed out again, counted. A
    group begins with its first pop, at the oldest event that is still there; an event is removed when all groups are
    past it. Foreign programs push with `XADD name * event <CloudEvents JSON>`. Cancelling never loses a delivery.
    """

    capabilities: Capability = Capability.ACK | Capability.DELAY | Capability.DURABLE | Capability.GROUPS
    _intake_of = StreamIntake
    _length = "XLEN"

    def __init__(self, server: Server, name: str, group: str, options: StreamOptions) -> None:
        super().__init__(server, name, options)
        self._group, self._prefix, self._claim = group, options.consumer, options.claim
        self._holds_letters = name.endswith(f".{DEAD}")

    @classmethod
    def from_url(cls, url: QueueURL) -> RedisStreamQueue:
        """See StreamOptions. Raises ConfigurationError."""
        options = url.read(StreamOptions)
        if options.consumer is not None:
            check_name("consumer", options.consumer)
        if options.claim == 0:
            raise ConfigurationError("?claim=0 must be more than 0")
        group = GROUP if url.name.endswith(f".{DEAD}") else url.group or GROUP
        return cls(Server(url, options), url.name, group, options)

    @property
    def url(self) -> QueueURL | None:
        """With the group, also where the URL that it was opened from names none: dead letters carry it."""
        return self._url

    @url.setter
    def url(self, url: QueueURL | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]  # an attribute there
        self._url = url if url is None or url.group is not None else attrs.evolve(url, group=GROUP)

    _url: QueueURL | None = None

    # -- life

    async def _begin(self) -> None:
        self._owner = Owner(
            self._keys, self._group, self._options.lease, self.limits, self.clock,
            filters=not self._holds_letters, prefix=self._prefix, claim=self._claim,
        )  # fmt: skip
        await self._owner.reap(self._pushes)  # nobody consumes dead letters: a retry that was killed had some
        self._consumer = Consumer(self._server, self._owner, self._settles)
        self._look = Look(self._settles, self._owner, self._dead.waiting)

    async def _end(self) -> None:
        await self._consumer.close()
        await self._leave()

    async def _leave(self) -> None:
        """Hand back what is not settled, uncounted; what a thread still runs stays until its lease ends."""
        owner = self._owner
        if not owner.fresh or self._consumer.began:
            running = ids_of(delivery for delivery in owner.held.values() if delivery.running)
            owner.held.clear()
            await self._settles.call(owner.leave(owner.name, running))

    # -- out

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        return await self._consumer.pop(limit)

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        self._check_open()
        return await take(self._settles, self._owner, match, limit, await self.size())

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        owner = self._owner
        return await owner.settle(self._settles, deliveries, lambda ours: owner.ack(ids_of(ours)))

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """Each goes on as an entry of its own at the tail, for this group only."""
        return await self._go_on(
            [(nack.delivery, copy_of(nack, self._owner)) for nack in nacks], self._keys, leaving=False
        )

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._check_open()
        owner = self._owner
        await owner.settle(self._settles, deliveries, lambda ours: owner.release(ids_of(ours)))

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """One step where `to` is a stream of the same server and slot: a dead letter and its ack are one."""
        self._check_open()
        if not self._is_beside(to):
            return await super().move_many(pairs, to)
        copies = [
            (one, Copy(one, wire.encode(message), delay_ms(message, self.clock), message.group or ""))
            for one, message in pairs
        ]
        return await self._go_on(copies, to._keys, leaving=True)

    def position_of(self, delivery: Delivery) -> str:
        """The id of its entry."""
        return str(delivery.receipt.id.decode())

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        ours = [one for one in deliveries if self._owner.held.get(one.receipt.id) is one]
        return await self._owner.renew(self._settles, deliveries, ids_of(ours))

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self._check_open()
        return await self._owner.renew(self._settles, deliveries)

    async def _go_on(self, pairs: Sequence[tuple[Delivery, Copy]], to: Keys, *, leaving: bool) -> list[Delivery]:
        self._check_open()
        copies, owner = dict(pairs), self._owner
        return await owner.settle(
            self._settles, list(copies), lambda ours: owner.move([copies[one] for one in ours], to, leaving=leaving)
        )

    # -- looked at

    async def size(self) -> int:
        self._check_open()
        return await self._look.size()

    async def stats(self) -> QueueStats:
        self._check_open()
        return await self._look.stats()

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What waits for this group, the oldest first. With `since`, a time or an entry's id, all that is in the stream
        from there on: also what this group has handled, as long as another group has not.
        """
        self._check_open()
        return self._look.browse(since, follow=follow)
