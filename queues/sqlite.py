"""The embedded durable queue: one SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final

import attrs

from . import _sqlite_look as look
from ._sqlite_claim import Owner, Take
from ._sqlite_file import path_of
from ._sqlite_handout import Handout
from ._sqlite_intake import Intake
from ._sqlite_requests import Call
from ._sqlite_settle import Farewell, Settle, move, nack, settle
from ._sqlite_thread import SQLiteThread, Synchronous
from .base import Capability, MessageQueue, QueueStats
from .errors import ConfigurationError, PushFailed, QueueClosed, QueueError
from .message import Delivery, Message, Nack
from .url import Order, QueueURL, Seconds
from .wire import delivery_of

log: Final = logging.getLogger("notification.queues")

_THIRTY = Seconds(30)
_NEW = "not open yet"


@attrs.frozen
class SQLiteOptions:
    """lease: seconds. capacity: the most waiting events. dedup: seconds in which an id is not stored a second time.

    synchronous: `normal` does not wait for the disk; after a power loss the last accepted events may be missing.
    """

    lease: Seconds = _THIRTY
    capacity: int | None = None
    dedup: Seconds | None = None
    synchronous: Synchronous = "full"


class SQLiteQueue(MessageQueue):
    """`sqlite:///relative.db` or `sqlite:////absolute.db`; several queues may be in one file, and their dead letters.

    Waits without polling for what happens in its own process, and for 5 ms at most for other processes. One thread
    a file runs everything, see SQLiteThread. Cancelling never loses a delivery.
    """

    def __init__(
        self,
        path: Path,
        name: str = "events",
        *,
        order: Order | None = None,
        lease: float = 30.0,
        capacity: int | None = None,
        dedup: float | None = None,
        synchronous: Synchronous = "full",
    ) -> None:
        self.capabilities: Capability = Capability.ACK | Capability.DELAY | Capability.DURABLE
        if order != "none":
            self.capabilities |= Capability.KEYED
        for option, value in (("lease", lease), ("capacity", capacity)):
            if value is not None and value <= 0:
                raise ConfigurationError(f"?{option}={value:g} must be more than 0")
        self.lease: float | None = lease
        self.capacity = capacity
        self._path, self._name, self._dedup = path, name, dedup or None
        self._synchronous: Synchronous = synchronous
        self._state = _NEW
        self._held: dict[Delivery, None] = {}

    @classmethod
    def from_url(cls, url: QueueURL) -> SQLiteQueue:
        """See SQLiteOptions. Raises ConfigurationError."""
        if url.group is not None:
            raise ConfigurationError(f"{url}: SQLite has no consumer groups; leave ?group= out, or use redis+stream://")
        options = url.read(SQLiteOptions)
        return cls(path_of(url), url.name, order=url.order, **attrs.asdict(options))

    async def open(self) -> None:
        if self._state == "open":
            return None
        if self._state != _NEW:
            raise QueueClosed(f"{self._path} is closed; make a new queue to use it again")
        thread = SQLiteThread.share(self._path, self.clock, self._synchronous)
        try:
            full = self._synchronous == "full"
            queue, owner = await thread.ask(Call(lambda connection: look.enter(connection, self._name, full=full)))
        except BaseException:
            await thread.leave()
            raise
        if self._state != _NEW:  # closed, or opened by another task, meanwhile
            await thread.leave()
            return self._check_open()
        assert self.lease is not None
        self._owner = Owner(queue, owner, self.clock, self.lease, self.limits, Capability.KEYED in self.capabilities)
        self._handout = Handout(thread, self._owner)
        self._intake = Intake(thread, self._owner, self.capacity, self._dedup)
        self._thread, self._state = thread, "open"
        return None

    async def close(self) -> None:
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        self._intake.close()
        self._handout.close(QueueClosed(f"{self._path} is closed"))
        stay = [delivery for delivery in self._held if delivery.running]
        self._held.clear()
        try:
            await self._thread.ask(Farewell(self._owner, stay))
        except QueueError as error:
            log.warning(
                "closing: what was not settled comes back after its lease: %s", error, extra={"path": str(self._path)}
            )
        finally:
            await self._thread.leave()

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._path} is {self._state}")

    @property
    def _me(self) -> Owner:
        self._check_open()
        return self._owner

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
        return (await self.pop_many(1))[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        if stale := self._handout.stale():
            await self.release(stale)
            self._handout.forget(stale)
        deliveries = await self._handout.pop(limit)
        self._held.update(dict.fromkeys(deliveries))
        return deliveries

    async def take(self, match: Callable[[Message], bool], limit: int) -> list[Delivery]:
        owner = self._me
        taken: list[Delivery] = []
        after = owner.queue << look.PLACE_BITS
        while len(taken) < limit and (rows := await self._page(after)):
            wanted, after = look.matching(rows, match, self.limits, limit - len(taken))
            if wanted:
                taken += self._handout.accept(await self._thread.ask(Take(owner, wanted, self._handout.keep)))
        self._held.update(dict.fromkeys(taken))
        return taken

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._settle(settle("ack", self._me, deliveries))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(settle("release", self._me, deliveries))

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        return await self._settle(nack(self._me, nacks))

    async def move_many(self, pairs: Sequence[tuple[Delivery, Message]], to: MessageQueue) -> list[Delivery]:
        """One transaction where `to` is in the same file; a move is no second dispatch, so `?dedup=` has no say."""
        owner = self._me
        if not isinstance(to, SQLiteQueue) or to._state != "open" or to._thread is not self._thread:
            return await super().move_many(pairs, to)
        return await self._settle(move(owner, pairs, to._owner))

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._ask_all(settle("started", self._me, deliveries))

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        owner = self._me
        until = self.clock.monotonic() + owner.lease
        deliveries = [*deliveries, *self._handout.ready]
        lost = await self._ask_all(settle("extend", owner, deliveries, until=until))
        owner.until = max(owner.until, until)
        return self._handout.forget(lost)

    async def _settle(self, requests: Sequence[Settle]) -> list[Delivery]:
        """They are no longer held, whether they were still ours or not."""
        lost = await self._ask_all(requests)
        for request in requests:
            for delivery in request.deliveries:
                self._held.pop(delivery, None)
        return lost

    async def _ask_all(self, requests: Sequence[Settle]) -> list[Delivery]:
        self._check_open()
        lost: list[Delivery] = []
        for request in requests:
            lost += await self._thread.ask(request)
        return lost

    # -- looked at

    async def size(self) -> int:
        queue, now = self._me.queue, self.clock.monotonic()
        size: int = await self._call(lambda connection: look.size(connection, queue, now))
        return size

    async def stats(self) -> QueueStats:
        queue, now = self._me.queue, self.clock.monotonic()
        counts: look.Counts = await self._call(lambda connection: look.counts(connection, queue, self._name, now))
        return counts.stats(self.clock, self.limits)

    async def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """What waits and is due, in order. `since` as text: the number of events pushed before the first one wanted."""
        place = look.place(since) if isinstance(since, str) else 0
        after = (self._me.queue << look.PLACE_BITS) + place
        while rows := await self._page(after, wait=follow):
            after = rows[-1][0] + 1
            for _, body in rows:
                message = delivery_of(body, None, limits=self.limits).expect()
                if not isinstance(since, datetime) or message.time >= since:
                    yield message

    async def _page(self, after: int, *, wait: bool = False) -> look.Page:
        queue = self._me.queue
        rows: look.Page = await self._call(lambda connection: look.page(connection, queue, after, wait=wait))
        return rows

    async def _call(self, function: Callable[[Connection], Any]) -> Any:
        return await self._thread.ask(Call(function))
