"""Where dispatched events go at the moment, who is told when that changes, and who waits for it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from typing import Final

from ._channel_state import Bell
from .clock import Clock
from .errors import QueueError, escape

log: Final = logging.getLogger("notification.queues")


class State(enum.Enum):
    """Of a fallback."""

    DIRECT = "direct"
    """To the queue; the spill is empty."""
    SPILLING = "spilling"
    """To the spill, for the queue takes nothing."""
    REPLAYING = "replaying"
    """To the spill, which is moved to the queue in order."""


class Course:
    """The state, one log line a change. on_change: told of each new state by its name; what it raises is logged."""

    def __init__(self, queue: str, spill: str, clock: Clock, on_change: Callable[[str], object] | None) -> None:
        self.state: State = State.DIRECT
        self.error: str = ""
        """Why the queue took nothing when it was last asked; empty while it takes events."""
        self.since: float = clock.monotonic()
        self.serial: int = 0
        """Grows with each change."""
        self._queue, self._spill, self._clock, self._on_change = queue, spill, clock, on_change
        self._changed = Bell()

    def direct(self) -> None:
        """The spill is empty."""
        self._enter(State.DIRECT, "the spill %s is empty; events go to %s again", self._spill, self._queue)

    def spilling(self, error: QueueError | str) -> None:
        """The queue takes nothing."""
        self.error = escape(str(error))
        told = "%s takes no events, which go to the spill %s until it does: %s"
        self._enter(State.SPILLING, told, self._queue, self._spill, self.error)

    def replaying(self, why: str) -> None:
        """The queue takes events again, or has no room, or the spill was not empty at the start."""
        self._enter(
            State.REPLAYING, "%s %s; events go to the spill %s until it is empty", self._queue, why, self._spill
        )

    async def changes(self, within: float | None = None) -> None:
        """Wait for the next change, so many seconds at most. Cancel-safe."""
        await self._changed.wait(self._clock, None if within is None else self._clock.monotonic() + within)

    def wake(self) -> None:
        """Let those who wait look again."""
        self._changed.ring_all()

    def _enter(self, state: State, told: str, *args: str) -> None:
        if state is not State.SPILLING:
            self.error = ""
        if state is self.state:
            return
        self.state, self.since = state, self._clock.monotonic()
        self.serial += 1
        log.warning(told, *args, extra={"queue": self._queue, "spill": self._spill, "state": state.value})
        self._changed.ring_all()
        if self._on_change is not None:
            try:
                self._on_change(state.value)
            except Exception:
                log.exception("on_change(%r) of the degradation failed", state.value, extra={"queue": self._queue})
