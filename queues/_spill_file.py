"""One file of a spill: an SQLite queue that one process owns, first in, first out, and what nobody takes beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection

import attrs

from ._spill_lock import FileLock
from .clock import Alarm, Clock
from .errors import PushFailed, QueueError, QueueFull
from .message import UNLIMITED, DeadLetter, Delivery, Message
from .sqlite import SQLiteQueue
from .url import DEAD

_NAME = "events"
_LEASE = 1e6
"""Seconds. Who owns the file is told by its lock; what a dead owner held is taken from it, see `_take_over`."""
_FAR = 4e9
"""A wall clock that has reached every `not_before` there may be."""
_BESIDE = ("", "-wal", "-shm", "-journal")


class SpillFile:
    """`count`: events in it; `letters`: dead letters in it. Both are exact: nobody else writes to the file."""

    def __init__(self, path: Path, lock: FileLock, clock: Clock, capacity: int) -> None:
        self.path: Path = path
        self.capacity: int = capacity
        self.count: int = 0
        self.letters: int = 0
        self._lock, self._clock = lock, clock
        self._head: list[Delivery] = []
        self._moved: list[Delivery] = []
        """Stored elsewhere, and still here: should the disk fail at that moment, they are not moved again."""
        self._events = self._queue(_NAME)
        self._letters = self._queue(f"{_NAME}.{DEAD}")

    def _queue(self, name: str) -> SQLiteQueue:
        queue = SQLiteQueue(self.path, name, order="none", lease=_LEASE)
        queue.clock, queue.limits = _Timeless(self._clock), UNLIMITED
        return queue

    async def open(self) -> None:
        """Open it, with what an owner who died has left. Raises ConfigurationError, QueueUnavailable."""
        await self._events.open()
        await self._letters.open()
        await self._events._call(_take_over)
        await self._count()

    async def _count(self) -> None:
        stats = await self._events.stats()
        self.count = stats.waiting + (stats.in_flight or 0) + (stats.delayed or 0)
        self.letters = stats.dead or 0

    async def close(self) -> None:
        """Close it, and remove it if nothing is in it."""
        empty = await self._is_empty()
        await self._letters.close()
        await self._events.close()
        if empty:
            _remove(self.path)
        self._lock.release(remove=empty)

    async def _is_empty(self) -> bool:
        """Looked at, not counted: what is removed is gone."""
        try:
            await self._count()
        except QueueError:
            return False
        return not self.count and not self.letters

    def leave(self) -> None:
        """Let go of it without a look at what is in it."""
        self._lock.release()

    # -- events

    async def store(self, messages: Sequence[Message]) -> dict[int, QueueError]:
        """Append those for which there is room now. Returns why the others were not stored, by index.

        Cancelled, it goes on.
        """
        return await asyncio.shield(asyncio.ensure_future(self._store(messages)))

    async def _store(self, messages: Sequence[Message]) -> dict[int, QueueError]:
        room = max(0, self.capacity - self.count)
        full = QueueFull(f"{self.path} holds the {self.capacity} events that it may")
        errors: dict[int, QueueError] = dict.fromkeys(range(room, len(messages)), full)
        try:
            if room:
                await self._events.push_many(messages[:room])
        except PushFailed as failed:
            errors |= failed.errors
        self.count += len(messages) - len(errors)
        return errors

    async def head(self, limit: int) -> list[Delivery]:
        """The oldest events, `limit` at most, and never all that there is room for; the same ones until they are
        settled or put back. [] when there are none.
        """
        await self._forget()
        if not self._head and self.count:
            self._head = await self._events.pop_many(min(limit, max(1, self.capacity // 2)))
        return list(self._head)

    async def put_back(self) -> None:
        """Nobody works on the head now: the oldest may be dropped, or are the head again."""
        await self._events.release(self._head)
        self._head = []

    async def settle(self, stored: Sequence[Delivery], refused: Sequence[tuple[Delivery, Message]] = ()) -> None:
        """These of the head are elsewhere now; those are dead letters, and stay here as such."""
        self._moved += stored
        self._take_out(stored)
        await self._forget()
        if refused:
            await self._events.move_many(refused, self._letters)
            self._take_out([delivery for delivery, _ in refused])
            self.count -= len(refused)
            self.letters += len(refused)

    async def _forget(self) -> None:
        if self._moved:
            await self._events.ack_many(self._moved)
            self.count -= len(self._moved)
            self._moved = []

    def _take_out(self, deliveries: Sequence[Delivery]) -> None:
        gone = set(deliveries)
        self._head = [delivery for delivery in self._head if delivery not in gone]

    async def drop_oldest(self, count: int, letter: Callable[[Message], Message]) -> int:
        """Make room: so many of the oldest become dead letters here. Returns how many did; a head that is being moved
        stays.
        """
        waiting = self.count - len(self._head) - len(self._moved)
        dropped = await self._events.pop_many(min(count, waiting)) if waiting > 0 else []
        if dropped:
            try:
                await self._events.move_many([(one, letter(one.expect())) for one in dropped], self._letters)
            except QueueError:
                self._head += dropped  # they keep their place
                raise
            self.count -= len(dropped)
            self.letters += len(dropped)
        return len(dropped)

    # -- dead letters

    async def pop_letters(self, limit: int) -> list[Delivery]:
        """Some of them, [] when there are none; to be acked or released."""
        return await self._letters.pop_many(limit) if self.letters else []

    async def ack_letters(self, deliveries: Sequence[Delivery]) -> None:
        """These are elsewhere now."""
        await self._letters.ack_many(deliveries)
        self.letters -= len(deliveries)

    async def release_letters(self, deliveries: Sequence[Delivery]) -> None:
        """These could not be written elsewhere yet."""
        await self._letters.release(deliveries)


def _remove(path: Path) -> None:
    for suffix in _BESIDE:
        with contextlib.suppress(OSError):
            Path(f"{path}{suffix}").unlink()


def letter_of(message: Message, reason: str, error: object, clock: Clock) -> Message:
    """The dead letter of an event that no handler saw: why, and when."""
    text = str(error)
    dead = DeadLetter(reason=reason, error=text, attempts=message.attempt, time=clock.now())
    return attrs.evolve(message, dead=dead, first_error=message.first_error or text, not_before=None)


def _take_over(connection: Connection) -> None:
    """The lock is ours, so whoever was handed something is dead: its events come back to their places at once."""
    connection.execute("UPDATE owner SET until = -1e9")


class _Timeless(Clock):
    """In a spill nothing waits until it is due, or it would lose its place: the queue behind it sees to that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wall(self) -> float:
        return _FAR

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        return self._clock.call_at(when, callback)
