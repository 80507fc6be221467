"""A queue around a queue that may be out of reach: dispatched events are kept on disk until it takes them.

Three states. DIRECT: events go to the queue, each try may take a second; a batch whose fate is bad or unknown goes to
the spill, with the same ids. SPILLING: events go to the spill only; each second its head is offered to the queue.
REPLAYING: events go to the spill only, which is moved to the queue in order, and the last batch under a lock. So the
queue is written only while our part of the spill is empty, and the order of one producer survives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import attrs

from ._spill_attempt import pushed
from ._spill_course import Course, State
from ._spill_directory import SpillDirectory, SpillSettings
from ._spill_dropping import DroppingQueue
from ._spill_failing import FailFastQueue
from ._spill_intake import Intake, SpillFull
from ._spill_letters import Letterbox
from ._spill_opening import Opening
from ._spill_replay import PATIENCE, Replay
from .around import QueueAround
from .base import MessageQueue, name_of
from .errors import PushFailed, QueueClosed, QueueError, QueueFull, QueueUnavailable
from .message import Message

__all__ = [
    "DroppingQueue", "FailFastQueue", "FallbackQueue", "Letterbox", "Placed", "SpillFull", "SpillSettings", "State",
]  # fmt: skip

log: Final = logging.getLogger("notification.queues")

WhenFull = Literal["refuse", "spill", "drop_oldest"]
"""What becomes of an event for which the queue has no room: `refuse` it, or take it into the spill, where
`drop_oldest` makes room by turning the oldest into dead letters.
"""


@attrs.frozen
class Placed:
    """Of a batch: `errors` of those that were not accepted and `spilled`, those in the spill, by index."""

    errors: dict[int, QueueError] = attrs.field(factory=dict)
    spilled: frozenset[int] = frozenset()


_ALL_IN_THE_QUEUE = Placed()


class FallbackQueue(QueueAround):
    """The push side of one process; pop, ack, nack, extend go to the queue untouched.

    spill: a directory, see SpillSettings; each process owns one file in it and drains those of dead ones. when_full:
    see WhenFull. on_change: called with `direct`, `spilling` or `replaying` after each change, in the event loop.
    letterbox: where dead letters go; None: they stay in the spill. complete: wraps the queue once it is open. A queue
    that can't be reached when this is opened is opened in the background: until then events are spilled.
    """

    def __init__(
        self, inner: MessageQueue, spill: str | Path | SpillSettings, *, when_full: WhenFull = "refuse",
        on_change: Callable[[str], object] | None = None, letterbox: Letterbox | None = None,
        complete: Callable[[MessageQueue], MessageQueue] = lambda queue: queue,
    ) -> None:  # fmt: skip
        super().__init__(inner)
        self._settings = spill if isinstance(spill, SpillSettings) else SpillSettings.read(spill)
        self._when_full, self._on_change = when_full, on_change
        self._letterbox, self._complete = letterbox, complete
        self._phase = "not open yet"

    # -- life

    async def open(self) -> None:
        """Raises ConfigurationError: the queue's own, and for a spill that can't be written."""
        if self._phase == "open":
            return
        self._check_closed()
        self.inner.clock, self.inner.limits = self.clock, self.limits
        self._spill = SpillDirectory(self._settings, self.inner, self.clock)
        await self._spill.open()
        self._opening = Opening(self.inner, self.clock)
        self._course = Course(name_of(self.inner), str(self._spill.path), self.clock, self._on_change)
        self._replay = Replay(
            lambda: self.inner, self._reach,
            course=self._course, spill=self._spill, letterbox=self._letterbox, clock=self.clock,
        )  # fmt: skip
        self._intake = Intake(
            self._spill, self._replay, self._course, self.clock, drops=self._when_full == "drop_oldest"
        )
        self._reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            if not await self._reach():
                self._course.spilling(self._opening.error)
            elif self._spill.count:
                self._course.replaying(f"gets {self._spill.count} events that were left in the spill")
        except BaseException:
            await self._opening.close()
            await self._spill.close()
            raise
        self._phase = "open"
        self._replay.begin()

    async def close(self) -> None:
        """What is in the spill stays there for the next process."""
        was_open, self._phase = self._phase == "open", "closed"
        if was_open:
            await self._replay.close()
            await self._opening.close()
        await self.inner.close()
        if was_open:
            await self._spill.close()

    def _check_closed(self) -> None:
        if self._phase == "closed":
            raise QueueClosed(f"{name_of(self)} is closed; make a new queue to use it again")

    async def _reach(self) -> bool:
        """Whether the queue is open; opens it."""
        if not self._reached.done():
            if not await self._opening.reached():
                self._course.error = str(self._opening.error)
                return False
            self.inner: MessageQueue = self._complete(self.inner)
            self._adopt()
            self._reached.set_result(None)
        return True

    # -- how it stands

    @property
    def state(self) -> State:
        """Where dispatched events go."""
        return self._course.state

    @property
    def error(self) -> str:
        """Why the queue took nothing when it was last asked; empty when all is well."""
        return self._course.error

    @property
    def spilled(self) -> int:
        """Events that wait in the spill, in the files of this process and those it has taken over."""
        return self._spill.count

    @property
    def has_room(self) -> bool:
        """Whether an event would be accepted now."""
        return self.state is State.DIRECT or self._intake.drops or self._spill.own.count < self._spill.capacity

    @property
    def spill_path(self) -> Path:
        """The directory of the spill."""
        return self._spill.path

    @property
    def reached(self) -> bool:
        """Whether the queue was open at least once."""
        return self._reached.done()

    async def when_reached(self) -> None:
        """Wait until the queue is open. Cancel-safe."""
        await asyncio.shield(self._reached)

    async def replayed(self) -> None:
        """Wait until the spill is empty, or nothing can be moved for the time being. Cancel-safe."""
        while self.state is State.REPLAYING:
            await self._course.changes()

    # -- in

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        placed = await self.place([message], timeout=timeout)
        if placed.errors:
            raise placed.errors[0]

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        placed = await self.place(messages, timeout=timeout)
        if placed.errors:
            raise PushFailed(placed.errors)

    async def place(self, messages: Sequence[Message], *, timeout: float | None = None) -> Placed:
        """As `push_many`, and tells where each event went. timeout: seconds to wait for room, wherever it goes."""
        if self._phase != "open":
            raise QueueClosed(f"{name_of(self)} is {self._phase}")
        if self._course.state is not State.DIRECT:
            return await self._spill_all(messages, {}, timeout)
        room = timeout if self._when_full == "refuse" else 0.0
        within = None if room is None and self.capacity is not None else PATIENCE + (room or 0.0)
        errors = await pushed(self.inner, messages, room, within, self.clock)
        return await self._divert(messages, errors, timeout) if errors else _ALL_IN_THE_QUEUE

    async def _divert(
        self, messages: Sequence[Message], errors: dict[int, QueueError], timeout: float | None
    ) -> Placed:
        """What the queue did not take goes to the spill, if that is what becomes of it."""
        away = {index: error for index, error in errors.items() if self._is_to_be_spilled(error)}
        if not away:
            return Placed(errors)
        reason = next((error for error in away.values() if isinstance(error, QueueUnavailable)), None)
        if reason is not None:
            self._course.spilling(reason)
        else:
            self._course.replaying("has no room")
        places = list(away)
        placed = await self._spill_all([messages[index] for index in places], dict(enumerate(away.values())), timeout)
        kept = {index: error for index, error in errors.items() if index not in away}
        return Placed(
            kept | {places[at]: error for at, error in placed.errors.items()},
            frozenset(places[at] for at in placed.spilled),
        )

    def _is_to_be_spilled(self, error: QueueError) -> bool:
        return isinstance(error, QueueUnavailable) or (isinstance(error, QueueFull) and self._when_full != "refuse")

    async def _spill_all(
        self, messages: Sequence[Message], before: dict[int, QueueError], timeout: float | None
    ) -> Placed:
        """Into the spill; what finds it emptied meanwhile goes to the queue. before: what the queue said of them."""
        errors, left = await self._intake.put(messages, before, timeout)
        spilled = set(range(len(messages))) - set(left) - errors.keys()
        if not left:
            return Placed(errors, frozenset(spilled))
        placed = await self.place([messages[index] for index in left], timeout=timeout)
        return Placed(
            errors | {left[at]: error for at, error in placed.errors.items()},
            frozenset(spilled | {left[at] for at in placed.spilled}),
        )
