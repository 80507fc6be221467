"""Into the spill: one batch after another, waiting for room or making it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ._spill_directory import SpillDirectory
from ._spill_file import letter_of
from ._spill_replay import Replay
from .clock import Clock
from .errors import QueueError, QueueFull
from .message import Message

log: Final = logging.getLogger("notification.queues")

_TOLD_AGAIN = 60.0
"""Seconds between two log lines about events that were dropped."""


class SpillFull(QueueFull):
    """The queue takes no events, and the spill is full, too. Nothing was stored."""


class Intake:
    """drops: whether the oldest events become dead letters to make room."""

    def __init__(self, spill: SpillDirectory, replay: Replay, clock: Clock, *, drops: bool) -> None:
        self.drops = drops
        self._spill, self._replay, self._clock = spill, replay, clock
        self._dropped = 0
        self._told_at = float("-inf")

    async def store(self, messages: Sequence[Message]) -> dict[int, QueueError]:
        """Store those for which there is room now; to be called with the lock. Why the others were not, by index.

        What is behind the first one that finds no room is not stored: it would overtake that one.
        """
        errors = await self._spill.own.store(messages)
        while self.drops and (full := _full(errors)):
            if not await self._make_room(len(full)):
                break
            again = await self._spill.own.store([messages[index] for index in full])
            errors = {index: error for index, error in errors.items() if index not in full}
            errors |= {full[at]: error for at, error in again.items()}
        return {index: self._meaning(error) for index, error in errors.items()}

    async def wait_for_room(self, deadline: float | None) -> bool:
        """False: there was none until then."""
        if deadline is not None and self._clock.monotonic() >= deadline:
            return False
        return await self._replay.room.wait(self._clock, deadline)

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
