"""The in-process queue: a deque, futures for those who wait, and keys that one owner holds at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import ClassVar
from weakref import WeakValueDictionary

import attrs

from ._channel_state import ChannelState
from .base import Capability, MessageQueue, QueueStats
from .errors import ConfigurationError, PushFailed, QueueClosed, QueueError, QueueFull
from .message import Delivery, Message, Nack
from .url import QueueURL


@attrs.frozen
class ChannelOptions:
    """`?capacity=N` bounds the waiting events; default: unbounded."""

    capacity: int | None = None


class ChannelQueue(MessageQueue):
    """`channel://` is private to its owner; `channel://name` is shared by all owners of this process and event loop.

    At most once: what it holds is gone with the process. Nothing is lost in a clean stop.
    """

    capabilities: Capability = Capability.DELAY | Capability.KEYED | Capability.LOCAL
    _shared: ClassVar[WeakValueDictionary[tuple[str, str], ChannelState]] = WeakValueDictionary()

    def __init__(self, capacity: int | None = None, *, shared: tuple[str, str] | None = None) -> None:
        self.capacity = capacity
        state = self._shared.get(shared) if shared else None
        self._state = state if state is not None else ChannelState()
        if shared:
            self._shared[shared] = self._state
        self._held: dict[Delivery, None] = {}
        self._closed = False

    @classmethod
    def from_url(cls, url: QueueURL) -> ChannelQueue:
        """`channel://[name][?queue=…&capacity=…]`."""
        if len(url.hosts) > 1 or url.path.strip("/"):
            raise ConfigurationError(f"{url}: write channel:// or channel://name")
        if url.group is not None:
            raise ConfigurationError(f"{url}: a channel has no groups; leave ?group= out")
        shared = (url.hosts[0], url.name) if url.hosts else None
        return cls(url.read(ChannelOptions).capacity, shared=shared)

    async def open(self) -> None:
        self._check_open()
        self._state.clock = self.clock
        self._state.join(asyncio.get_running_loop())

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        if self._closed:
            self._check_open()
        if self.capacity is not None and self._state.size() >= self.capacity:
            await self._wait_for_space(timeout)
        self._state.add(message)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        errors: dict[int, QueueError] = {}
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        for index, message in enumerate(messages):
            try:
                await self.push(message, timeout=None if deadline is None else deadline - self.clock.monotonic())
            except QueueFull as full:
                errors |= dict.fromkeys(range(index, len(messages)), full)
                break
            except QueueError as error:
                errors[index] = error
        if errors:
            raise PushFailed(errors)

    async def _wait_for_space(self, timeout: float | None) -> None:
        assert self.capacity is not None
        full = QueueFull(f"the channel is at its capacity of {self.capacity} waiting events")
        if timeout is not None and timeout <= 0:
            raise full
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        while self._state.size() >= self.capacity:
            if not await self._state.space.wait(self.clock, deadline):
                raise full
            self._check_open()

    # -- out

    async def pop(self) -> Delivery:
        return (await self.pop_many(1))[0]

    async def pop_many(self, limit: int) -> list[Delivery]:
        while True:
            self._check_open()
            if entries := self._state.claim(self, limit):
                batch = [Delivery(entry.message, entry) for entry in entries]
                self._held.update(dict.fromkeys(batch))
                return batch
            await self._state.arrivals.wait(self.clock, None)

    # -- settled

    async def ack_many(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        lost = []
        for delivery in deliveries:
            if self._drop(delivery):
                self._state.settle(delivery.receipt)
            else:
                lost.append(delivery)
        return lost

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        lost = []
        for nack in nacks:
            if self._drop(nack.delivery):
                self._state.put_back(
                    nack.delivery.receipt, nack.message, self.clock.monotonic() + nack.delay, nack.delay
                )
            else:
                lost.append(nack.delivery)
        return lost

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._state.release([delivery.receipt for delivery in deliveries if self._drop(delivery)])

    def _drop(self, delivery: Delivery) -> bool:
        return self._held.pop(delivery, self) is None

    # -- looked at

    async def size(self) -> int:
        return self._state.size()

    async def stats(self) -> QueueStats:
        return self._state.stats()

    async def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """`since` as text is the count of events ever pushed before the first one wanted."""
        position = -1 if since is None or isinstance(since, datetime) else _position(since) - 1
        while True:
            for entry in self._state.after(position):
                position = entry.place
                if not isinstance(since, datetime) or entry.message.time >= since:
                    yield entry.message
            if not follow:
                return
            await self._state.changes.wait(self.clock, None)
            self._check_open()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self.release(list(self._held))
            self._state.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the channel is closed")


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(f"a channel's position is a number, not {text!r}")
    return int(text)
