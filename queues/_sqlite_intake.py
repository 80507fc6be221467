"""What one owner pushes: in portions, waiting for room where the queue has a capacity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ._sqlite_claim import Owner
from ._sqlite_push import Push, Stored, portions, stored
from .errors import CorruptMessage, QueueClosed, QueueError, QueueFull
from .message import Message

if TYPE_CHECKING:
    from ._sqlite_thread import SQLiteThread


class Intake:
    """capacity: the most waiting events, None: no bound. dedup: seconds, None: every id is stored."""

    def __init__(self, thread: SQLiteThread, owner: Owner, capacity: int | None, dedup: float | None) -> None:
        self._thread, self._owner, self._capacity, self._dedup = thread, owner, capacity, dedup
        self._waiting: set[Push] = set()
        self._closed = False

    async def store(self, messages: Sequence[Message], timeout: float | None) -> dict[int, QueueError]:
        """Store those for which there is room within `timeout` seconds. Returns why the others were not, by index."""
        errors: dict[int, QueueError] = {}
        ready: list[Stored] = []
        places: list[int] = []
        for index, message in enumerate(messages):
            try:
                ready.append(stored(message, self._owner.clock, keyed=self._owner.keyed))
            except CorruptMessage as error:
                errors[index] = error
            else:
                places.append(index)
        for push in await self._push(ready, timeout):
            if push.accepted < push.count:
                errors |= dict.fromkeys(places[push.accepted : push.count], self._reason(push))
            del places[: push.count]
        return errors

    def close(self) -> None:
        """Whoever waits for room ends with QueueClosed."""
        self._closed = True
        self._expire(self._waiting)

    async def _push(self, messages: Sequence[Stored], timeout: float | None) -> list[Push]:
        owner, expired = self._owner, timeout is not None and timeout <= 0
        pushes = [
            Push(owner.queue, portion, owner.clock, self._capacity, self._dedup, expired)
            for portion in portions(messages)
        ]
        for push in pushes:
            self._thread.submit(push)
        if self._capacity is None or expired:
            return await _all(pushes)
        self._waiting.update(pushes)
        alarm = (
            None
            if timeout is None
            else owner.clock.call_at(owner.clock.monotonic() + timeout, lambda: self._expire(pushes))
        )
        try:
            return await _all(pushes)
        finally:
            self._waiting.difference_update(pushes)
            if alarm is not None:
                alarm.cancel()

    def _expire(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            push.expired = True
        self._thread.poke()

    def _reason(self, push: Push) -> QueueError:
        if isinstance(push.error, QueueError):
            return push.error
        if self._closed:
            return QueueClosed("the queue was closed while a push waited for room")
        return QueueFull(f"the queue is at its capacity of {self._capacity} waiting events")


async def _all(pushes: list[Push]) -> list[Push]:
    """Wait for each. When cancelled, what was not stored yet is not stored any more."""
    try:
        for push in pushes:
            with suppress(QueueError):  # it keeps its error
                await push.future
    except BaseException:
        for push in pushes:
            push.given_up = True
            push.future.cancel()
        raise
    return pushes
