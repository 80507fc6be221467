"""Into the spill: one batch after another, waiting for room or making it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ._spill_course import Course, State
from ._spill_directory import SpillDirectory
from ._spill_file import letter_of
from ._spill_replay import Replay
from .clock import Clock
from .errors import QueueError, QueueFull, QueueUnavailable
from .message import Message

log: Final = logging.getLogger("notification.queues")

_TOLD_AGAIN = 60.0
"""Seconds between two log lines about events that were dropped."""


class SpillFull(QueueFull):
    """The queue takes no events, and the spill is full, too. Nothing was stored."""


class Intake:
    """drops: whether the oldest events become dead letters to make room."""

    def __init__(self, spill: SpillDirectory, replay: Replay, course: Course, clock: Clock, *, drops: bool) -> None:
        self.drops: bool = drops
        self._spill, self._replay, self._course, self._clock = spill, replay, course, clock
        self._dropped = 0
        self._told_at = float("-inf")

    async def put(
        self, messages: Sequence[Message], before: dict[int, QueueError], timeout: float | None
    ) -> tuple[dict[int, QueueError], list[int]]:
        """Store these, waiting so many seconds for room. before: what the queue said of them.

        Returns why some were not stored, and, should the spill be emptied meanwhile, which are for the queue.
        """
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        left, errors = list(range(len(messages))), dict[int, QueueError]()
        while True:
            async with self._replay.lock:
                if self._course.state is State.DIRECT:
                    return errors, left
                found = await self._store([messages[index] for index in left])
            full = {left[at]: error for at, error in found.items() if isinstance(error, SpillFull)}
            failed = {left[at]: error for at, error in found.items() if not isinstance(error, SpillFull)}
            errors |= {index: _together(before.get(index), error) for index, error in failed.items()}
            left = list(full)
            if not left or not await self._has_room_by(deadline):
                return errors | {index: _together(before.get(index), full[index]) for index in left}, []

    async def _has_room_by(self, deadline: float | None) -> bool:
        if deadline is not None and self._clock.monotonic() >= deadline:
            return False
        return await self._replay.room.wait(self._clock, deadline)

    async def _store(self, messages: Sequence[Message]) -> dict[int, QueueError]:
        """Store those for which there is room now. What is behind the first one that finds none would overtake it."""
        errors = await self._spill.own.store(messages)
        while self.drops and (full := _full(errors)):
            if not await self._make_room(len(full)):
                break
            again = await self._spill.own.store([messages[index] for index in full])
            errors = {index: error for index, error in errors.items() if index not in full}
            errors |= {full[at]: error for at, error in again.items()}
        return {index: self._meaning(error) for index, error in errors.items()}

    async def _make_room(self, count: int) -> int:
        dropped = await self._spill.own.drop_oldest(
            count, lambda message: letter_of(message, "dropped", "the spill was full", self._clock)
        )
        self._dropped += dropped
        if self._dropped and self._clock.monotonic() - self._told_at >= _TOLD_AGAIN:
            log.error(
                "the spill %s is full: its %d oldest events are dead letters (dropped)",
                self._spill.path, self._dropped, extra={"spill": str(self._spill.path), "dropped": self._dropped},
            )  # fmt: skip
            self._dropped, self._told_at = 0, self._clock.monotonic()
        return dropped

    def _meaning(self, error: QueueError) -> QueueError:
        if not isinstance(error, QueueFull):
            return error
        return SpillFull(
            f"the queue takes no events, and the spill {self._spill.path} holds the {self._spill.capacity} that it may"
        )


def _full(errors: dict[int, QueueError]) -> list[int]:
    return [index for index, error in errors.items() if isinstance(error, QueueFull)]


def _together(before: QueueError | None, error: QueueError) -> QueueError:
    """What the queue said and what the spill said. QueueFull says that nothing was stored: not of a push without an
    answer, of which nobody knows that.
    """
    if not isinstance(before, QueueUnavailable):
        return error
    if before.may_have_been_stored or isinstance(error, QueueUnavailable):
        return QueueUnavailable(f"{before}; the spill: {error}", may_have_been_stored=before.may_have_been_stored)
    return error
