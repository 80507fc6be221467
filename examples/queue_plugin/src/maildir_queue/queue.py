"""The contract, over the files: who waits, what a cancelled pop leaves behind, and what goes back at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import attrs

from notification import (
    Capability,
    ConfigurationError,
    Delivery,
    Message,
    MessageQueue,
    Nack,
    QueueClosed,
    QueueStats,
    QueueUnavailable,
    QueueURL,
    Seconds,
    wire,
)

from .files import Files

_T = TypeVar("_T")
_THIRTY = Seconds(30)
_LOOK_AGAIN = 0.02
"""Seconds after which to look for what other processes did."""
_IDLE = 1.0
"""Seconds after which an idle pop_many returns an empty list."""
_PAGE = 100


@attrs.frozen
class MaildirOptions:
    """`?lease=`: how long a silent process keeps what it was handed."""

    lease: Seconds = _THIRTY


class MaildirQueue(MessageQueue):
    """`maildir:///relative/directory` or `maildir:////absolute/directory`, for the processes of one machine.

    Each pop lists the directory: meant for thousands of waiting events, not for millions.
    """

    capabilities = Capability.ACK | Capability.DURABLE

    def __init__(self, directory: Path, name: str = "events", *, lease: float = 30.0) -> None:
        if not name.strip("."):
            raise ConfigurationError(f"?queue={name} would lie outside of {directory}")
        if lease <= 0:
            raise ConfigurationError(f"?lease={lease:g} must be more than 0")
        self.lease = lease
        self._path = directory.absolute() / name
        self._files = Files(self._path, lease, now=lambda: self.clock.wall())  # noqa: PLW0108 - the clock is set later
        self._state = "not open yet"
        self._thread = ThreadPoolExecutor(1, "maildir")
        self._news = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._ready: list[Delivery] = []
        self._held: dict[Delivery, None] = {}

    @classmethod
    def from_url(cls, url: QueueURL) -> MaildirQueue:
        """See MaildirOptions. Raises ConfigurationError."""
        directory = url.path.removeprefix("/")
        if url.hosts or not directory.strip("/"):
            raise ConfigurationError(f"{url}: write maildir:///relative/directory or maildir:////absolute/directory")
        if url.group is not None:
            raise ConfigurationError(f"{url}: a directory has no consumer groups; leave ?group= out")
        return cls(Path(directory), url.name, lease=url.read(MaildirOptions).lease)

    async def open(self) -> None:
        if self._state == "not open yet":
            await self._in_thread(self._files.prepare)
            self._state = "open"
        self._check_open()

    async def close(self) -> None:
        before, self._state = self._state, "closed"
        if before != "open":
            return
        self._news.set()
        if self._fetching is not None:
            await asyncio.wait([self._fetching])
        unsettled = [delivery for delivery in (*self._held, *self._ready) if not delivery.running]
        try:
            await self._in_thread(self._files.release, unsettled)
        finally:
            self._thread.shutdown(wait=False)

    # -- in and out

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        await self._call(self._files.store, wire.encode(message))
        self._news.set()

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        self._check_open()
        if self._ready:  # a cancelled pop left them, perhaps long ago: hand out only what is still ours
            await self.extend([])
        if not self._ready:
            await self._fetched(limit)
        batch, self._ready = self._ready[:limit], self._ready[limit:]
        self._held.update(dict.fromkeys(batch))
        return batch

    async def _fetched(self, limit: int) -> None:
        """Wait for the one fetch under way. A cancelled wait doesn't cancel it: it may have claimed something."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(limit))
        fetching = self._fetching
        await asyncio.wait([fetching])
        self._check_open()
        fetching.result()

    async def _fetch(self, limit: int) -> None:
        end = self.clock.monotonic() + _IDLE
        while self._state == "open" and self.clock.monotonic() < end:
            self._ready += await self._in_thread(self._files.claim, limit, self)
            if self._ready:
                return
            await self._pause()

    async def _pause(self) -> None:
        """Until something changed here, or it is time to see what others did."""
        alarm = self.clock.call_at(self.clock.monotonic() + _LOOK_AGAIN, self._news.set)
        await self._news.wait()
        self._news.clear()
        alarm.cancel()

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._settle(deliveries, self._files.ack, deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """At once: for a queue without DELAY, the dispatcher waits, and nacks when the delay is over."""
        return await self._settle([nack.delivery for nack in nacks], self._files.nack, nacks)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._settle(deliveries, self._files.release, deliveries)

    async def _settle(
        self, deliveries: Sequence[Delivery], work: Callable[..., list[Delivery]], what: object
    ) -> list[Delivery]:
        lost = await self._call(work, what)
        for delivery in deliveries:
            self._held.pop(delivery, None)
        self._news.set()
        return lost

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        lost = await self._call(self._files.extend, [*deliveries, *self._ready])
        self._ready = [delivery for delivery in self._ready if delivery not in lost]
        return [delivery for delivery in lost if delivery in deliveries]

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return await self._call(self._files.started, deliveries)

    # -- looked at

    async def size(self) -> int:
        return len(await self._call(self._files.waiting))

    async def stats(self) -> QueueStats:
        return await self._call(self._files.stats)

    async def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """`since` as text: the name of the last file that is not wanted.

        What another process was storing at the very moment of a look may stay unseen by `follow`.
        """
        after = since if isinstance(since, str) else ""
        while (page := await self._call(self._files.page, after, _PAGE)) or follow:
            for name, raw in page:
                after = name
                message = wire.delivery_of(raw, None, limits=self.limits).expect()
                if raw and not (isinstance(since, datetime) and message.time < since):
                    yield message
            if not page:
                await self._pause()

    # -- the thread

    async def _call(self, work: Callable[..., _T], *arguments: object) -> _T:
        self._check_open()
        return await self._in_thread(work, *arguments)

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        """What has begun in the thread is finished there, even if the caller is cancelled meanwhile."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except OSError as error:
            # a push may have failed after its rename: who pushes again may push twice, and has to know
            raise QueueUnavailable(f"{self._path}: {error}", may_have_been_stored=True) from error

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._path} is {self._state}")
