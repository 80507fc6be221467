"""Pushing to a list: many events in one command, waiting for room where there is a capacity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from . import wire
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_scripts import Argument, Command, Script
from .clock import Clock
from .errors import CorruptMessage, QueueClosed, QueueError, QueueFull, QueueUnavailable
from .message import Message

_MOST, _MOST_BYTES = 1_000, 1 << 20
_LOOK = 0.02
"""Seconds between two looks for room."""


class Stored(NamedTuple):
    """An event of a batch, by its place in it. delay_ms: -1 is none."""

    place: int
    id: str
    event: bytes
    delay_ms: int


class Intake:
    """capacity: the most waiting events, None: no bound. dedup: seconds in which an id is not stored again; 0: none."""

    script: ClassVar[Script] = Script.named("list_push")

    def __init__(self, link: Link, keys: Keys, clock: Clock, *, capacity: int | None, dedup: float) -> None:
        self._link, self._keys, self._clock = link, keys, clock
        self._capacity, self._dedup = capacity, dedup
        self.closed = False

    async def store(self, messages: Sequence[Message], timeout: float | None) -> dict[int, QueueError]:
        """Store those for which there is room within `timeout` seconds. Returns why the others were not, by index.

        The first one that finds no room, or whose fate is unknown, ends it: what is behind it is not sent.
        """
        errors: dict[int, QueueError] = {}
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        ready = self._ready(messages, errors)
        while ready:
            portion = list(_portion(ready))
            try:
                accepted = await self._push(portion)
            except QueueError as error:
                errors |= {stored.place: error for stored in portion}
                rest = error if isinstance(error, QueueFull) else QueueUnavailable(f"not sent, for before it: {error}")
                errors |= {stored.place: rest for stored in ready[len(portion) :]}
                break
            ready = ready[accepted:]
            if accepted < len(portion) and not await self._may_wait(deadline):
                full = QueueFull(f"the queue is at its capacity of {self._capacity} waiting events")
                errors |= {stored.place: full for stored in ready}
                break
        return errors

    async def _may_wait(self, deadline: float | None) -> bool:
        now = self._clock.monotonic()
        if deadline is not None and now >= deadline:
            return False
        await self._clock.sleep(_LOOK if deadline is None else min(_LOOK, deadline - now))
        if self.closed:
            raise QueueClosed("the queue is closed")
        return True

    async def _push(self, portion: Sequence[Stored]) -> int:
        if self._capacity is None and not self._dedup and all(stored.delay_ms < 0 for stored in portion):
            await self._push_plain(portion)
            return len(portion)
        [accepted] = await self._link.call(self._scripted(portion))
        return int(accepted)

    async def _push_plain(self, portion: Sequence[Stored]) -> None:
        """All of them, now, whatever waits."""
        await self._link.call(("LPUSH", self._keys.waiting, *(stored.event for stored in portion)))

    def _scripted(self, portion: Sequence[Stored]) -> Command:
        keys, arguments = self._keys, list[Argument]()
        for stored in portion:
            arguments += (stored.delay_ms, stored.id, stored.event)
        names = (keys.waiting, keys.delayed, keys.bell, keys.seq, keys.seen)
        return self.script(names, -1 if self._capacity is None else self._capacity, int(self._dedup * 1000), *arguments)

    def _ready(self, messages: Sequence[Message], errors: dict[int, QueueError]) -> list[Stored]:
        ready: list[Stored] = []
        for index, message in enumerate(messages):
            try:
                ready.append(Stored(index, message.id, wire.encode(message), delay_ms(message, self._clock)))
            except CorruptMessage as error:
                errors[index] = error
        return ready


def delay_ms(message: Message, clock: Clock) -> int:
    """How long it must wait from now, in milliseconds; -1: not at all."""
    if message.not_before is None:
        return -1
    left = message.not_before.timestamp() - clock.wall()
    return int(left * 1000) + 1 if left > 0 else -1


def _portion(ready: Sequence[Stored]) -> Iterator[Stored]:
    """As many as go in one command."""
    size = 0
    for count, stored in enumerate(ready):
        size += len(stored.event)
        if count and (count == _MOST or size > _MOST_BYTES):
            return
        yield stored
