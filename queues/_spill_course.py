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
        if self._enters(State.DIRECT):
            log.warning("the spill %s is empty; events go to %s again", self._spill, self._queue, extra=self._extra)
            self._tell()

    def spilling(self, error: QueueError | str) -> None:
        """The queue takes nothing."""
        if self._enters(State.SPILLING, escape(str(error))):
            log.warning(
                "%s takes no events, which go to the spill %s until it does: %s",
                self._queue, self._spill, self.error, extra=self._extra,
            )  # fmt: skip
            self._tell()

    def replaying(self, why: str) -> None:
        """The queue takes events again, or has no room, or the spill was not empty at the start."""
        if self._enters(State.REPLAYING):
            log.warning(
                "%s %s; events go to the spill %s until it is empty",
                self._queue, why, self._spill, extra=self._extra,
            )  # fmt: skip
            self._tell()

    async def changes(self, within: float | None = None) -> None:
        """Wait for the next change, so many seconds at most. Cancel-safe."""
        await self._changed.wait(self._clock, None if within is None else self._clock.monotonic() + within)

    def wake(self) -> None:
        """Let those who wait look again."""
        self._changed.ring_all()

    def _enters(self, state: State, error: str = "") -> bool:
        """Whether it is another state than before."""
        self.error = error
        if state is self.state:
            return False
        self.state, self.since = state, self._clock.monotonic()
        self.serial += 1
        return True

    @property
    def _extra(self) -> dict[str, object]:
        return {"queue": self._queue, "spill": self._spill, "state": self.state.value}

    def _tell(self) -> None:
        self._changed.ring_all()
        if self._on_change is not None:
            try:
                self._on_change(self.state.value)
            except Exception:
                log.exception("on_change(%r) of the degradation failed", self.state.value, extra=self._extra)
