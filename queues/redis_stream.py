"""The Redis Streams queue: entries of a stream of the queue's name, consumed by groups, fenced by leases."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final

import attrs

from . import wire
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_list_intake import delay_ms
from ._redis_server import Server, ServerOptions
from ._redis_stream_consumer import Consumer
from ._redis_stream_intake import StreamIntake
from ._redis_stream_look import Look
from ._redis_stream_owner import Copy, Owner, copy_of, ids_of
from ._redis_stream_reads import take
from .base import Capability, MessageQueue, QueueStats, name_of
from .errors import ConfigurationError, PushFailed, QueueClosed, QueueError
from .message import Delivery, Message, Nack
from .url import DEAD, QueueURL, Seconds

log: Final = logging.getLogger("notification.queues")
GROUP = "notification"
"""The group of a URL without ?group=, and of all dead letters: they are one store, each with its own group on it."""
_THIRTY = Seconds(30)


@attrs.frozen(kw_only=True)
class StreamOptions(ServerOptions):
    """lease: seconds after which what a silent process had goes to others. capacity: the most events that wait for any
    one group. dedup: seconds in which an id is not stored a second time.
    """

    lease: Seconds = _THIRTY
    capacity: int | None = None
    dedup: Seconds | None = None


class RedisStreamQueue(MessageQueue):
    """`redis+stream://[user:password@]host:port/db?queue=name&group=name`; also rediss, unix, sentinel and cluster.

    At least once in each group: what was not settled when its owner's lease ended is handed out again, counted. A
    group begins with its first pop, at the oldest event that is still there; an event is removed when all groups are
    past it. Foreign programs push with `XADD name * event <CloudEvents JSON>`. Cancelling never loses a delivery.
    """

    capabilities: Capability = Capability.ACK | Capability.DELAY | Capability.DURABLE | Capability.GROUPS

    def __init__(self, server: Server, name: str, group: str, options: StreamOptions) -> None:
        for option in ("lease", "capacity"):
            if (value := getattr(options, option)) is not None and value <= 0:
                raise ConfigurationError(f"?{option}={value:g} must be more than 0")
        self.lease: float | None = options.lease
        self.capacity: int | None = options.capacity
        self._server, self._options = server, options
        self._keys, self._group = Keys.of(name), group
        self._dead = Keys.of(f"{name}.{DEAD}")
        self._holds_letters = name.endswith(f".{DEAD}")
        self._state = "not open yet"

    @classmethod
    def from_url(cls, url: QueueURL) -> RedisStreamQueue:
        """See StreamOptions. Raises ConfigurationError."""
        options = url.read(StreamOptions)
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

    async def open(self) -> None:
        if self._state == "open":
            return
        if self._state != "not open yet":
            raise QueueClosed(f"{self._server.name} is closed; make a new queue to use it again")
        self._pushes, self._settles = Link(self._server), Link(self._server)
        self._owner = Owner(
            self._keys, self._group, self._options.lease, self.limits, self.clock, filters=not self._holds_letters
        )
        self._consumer = Consumer(self._server, self._owner, self._settles)
        self._look = Look(self._settles, self._owner, self._dead.waiting)
        try:
            await self._pushes.open(("XLEN", self._keys.waiting))
            await self._owner.reap(self._pushes)  # nobody consumes dead letters: a retry that was killed had some
        except BaseException:
            await self._pushes.close()
            raise
        self._intake = StreamIntake(
            self._pushes, self._keys, self.clock, capacity=self.capacity, dedup=self._options.dedup or 0.0
        )
        self._state = "open"

    async def close(self) -> None:
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        self._intake.closed = True
        await self._consumer.close()
        try:
            await self._leave()
        except QueueError as error:
            log.warning("what was not settled comes back after its lease: %s", error, extra={"queue": name_of(self)})
        for link in (self._pushes, self._settles):
            await link.close()

    async def _leave(self) -> None:
        """Hand back what is not settled, uncounted; what a thread still runs stays until its lease ends."""
        owner = self._owner
        if not owner.fresh or self._consumer.began:
            running = ids_of(delivery for delivery in owner.held.values() if delivery.running)
            owner.held.clear()
            await self._settles.call(owner.leave(owner.name, running))

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._server.name} is {self._state}")

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store([message], timeout):
            raise errors[0]

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store(messages, timeout):
            raise PushFailed(errors)

    # -- out

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

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
        assert isinstance(to, RedisStreamQueue)
        copies = [
            (one, Copy(one, wire.encode(message), delay_ms(message, self.clock), message.group or ""))
            for one, message in pairs
        ]
        return await self._go_on(copies, to._keys, leaving=True)

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

    def _is_beside(self, to: MessageQueue) -> bool:
        """Whether one script reaches both: the same server and slot."""
        return (
            isinstance(to, RedisStreamQueue)
            and type(to) is type(self)
            and to._state == "open"
            and to._server.name == self._server.name
            and to._server.database == self._server.database
            and to._keys.slot == self._keys.slot
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
