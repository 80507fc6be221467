"""From the spill to the queue: what was spilled follows in order, as soon as the queue takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ._channel_state import Bell
from ._spill_attempt import Attempt
from ._spill_course import Course, State
from ._spill_directory import SpillDirectory
from ._spill_file import SpillFile, letter_of
from ._spill_letters import Letterbox
from .base import MessageQueue
from .clock import Clock
from .errors import CorruptMessage, QueueError, QueueFull, QueueUnavailable, Unsupported
from .message import Delivery

log: Final = logging.getLogger("notification.queues")

PATIENCE = 1.0
"""Seconds that a try to push may take."""
AGAIN = 1.0
"""Seconds from one try to the next while the queue takes nothing."""
ROOM = 0.5
"""Seconds to wait for room in a full queue."""
BATCH = 500
LOOK = 30.0
"""Seconds between two looks for files that nobody owns."""
_HANGING = 30.0
"""Seconds after which a push that never ends is given up."""
_AT_ONCE = 0.0
_FULL_AGAIN = 0.05


class Replay:
    """One task. It alone reads the spill, and alone writes to the queue while there is anything in our file.

    lock: held by whoever writes to our file; the last batch is moved under it, so that none comes behind it.
    """

    def __init__(
        self, queue: Callable[[], MessageQueue], reach: Callable[[], Coroutine[Any, Any, bool]], *,
        course: Course, spill: SpillDirectory, letterbox: Letterbox | None, clock: Clock,
    ) -> None:  # fmt: skip
        self.lock: asyncio.Lock = asyncio.Lock()
        self.room: Bell = Bell()
        """Rung when something has left the spill."""
        self._queue, self._reach, self._course, self._spill = queue, reach, course, spill
        self._letterbox, self._clock = letterbox, clock
        self._trial: tuple[SpillFile, list[Delivery], Attempt] | None = None
        self._full = self._slow = self._closing = self._failing = False
        self._suspects = 0
        """Events at the head that were refused together with others, and are offered one by one."""
        self._look_at = clock.monotonic() + LOOK
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start to work."""
        self._task = asyncio.create_task(self._run(), name="notification-replay")

    async def close(self) -> None:
        """End after the step under way, so that what was pushed is not pushed again. Idempotent."""
        self._closing = True
        self._course.wake()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._trial is not None:
            self._trial[2].give_up()

    # -- the task

    async def _run(self) -> None:
        while not self._closing:
            serial = self._course.serial
            try:
                rest = await self._step()
                self._failing = False
            except Exception as error:
                rest = AGAIN
                if not self._failing:
                    log.exception(
                        "the spill %s can't be moved to its queue; trying again",
                        self._spill.path, extra={"spill": str(self._spill.path)},
                    )  # fmt: skip
                self._failing = True
                self._course.error = str(error)
            if rest > 0 and serial == self._course.serial and not self._closing:
                await self._course.changes(rest)

    async def _step(self) -> float:
        """Do one thing; seconds until the next one."""
        course, now = self._course, self._clock.monotonic()
        if course.state is State.SPILLING and (early := course.since + AGAIN - now) > 0:
            return early
        if not await self._reach():
            return AGAIN
        if now >= self._look_at:
            self._look_at = now + LOOK
            await self._spill.adopt()
        if self._spill.others:
            return await self._drain(self._spill.others[0])
        if course.state is State.DIRECT:
            if self._spill.own.count:  # who dispatched was cancelled, and it was written all the same
                course.replaying("takes events")
                return _AT_ONCE
            await self._move_letters(self._spill.own)
            return self._look_at - now
        return await self._catch_up()

    async def _drain(self, file: SpillFile) -> float:
        """A file that another process has left."""
        if file.count and not await self._move(file, ROOM):
            return self._later()
        if not file.count:
            await self._move_letters(file)
            await self._spill.drained(file)
        return _AT_ONCE

    async def _catch_up(self) -> float:
        """Our own file: without the lock until the queue takes events, and is near; the last batch with it."""
        own, replaying = self._spill.own, self._course.state is State.REPLAYING
        if own.count and (not replaying or self._full or own.count > BATCH):
            if await self._move(own, ROOM):
                self._course.replaying("takes events again")
                return _AT_ONCE
            return self._later()
        async with self.lock:
            while own.count:
                if not await self._move(own, _AT_ONCE):
                    return self._later()
            self._course.direct()
        return _AT_ONCE

    def _later(self) -> float:
        """A try that has taken its time is made again at once: a queue that still sends what it was given, and knows it
        when it is asked for it again, might else be done with it meanwhile, and store it twice.
        """
        if self._trial is None and (self._slow or self._suspects):
            return _AT_ONCE
        return _FULL_AGAIN if self._full else AGAIN

    # -- one batch

    async def _move(self, file: SpillFile, room: float) -> bool:
        """Push the head of the file; whether all of it is gone from there."""
        if self._trial is None:
            if not (head := await file.head(BATCH)):
                return True
            if self._suspects:
                head = head[:1]
            attempt = Attempt(self._queue(), [one.expect() for one in head], room, self._clock)
        else:
            file, head, attempt = self._trial
        if not await attempt.answered(room + PATIENCE):
            return self._unanswered(file, head, attempt)
        self._trial = None
        self._slow = self._clock.monotonic() - attempt.began >= PATIENCE
        return await self._settle(file, head, attempt.errors)

    def _unanswered(self, file: SpillFile, head: list[Delivery], attempt: Attempt) -> bool:
        """It goes on, and is asked again: a second one beside it would store everything twice."""
        self._trial = (file, head, attempt)
        if self._clock.monotonic() - attempt.began > _HANGING:
            attempt.give_up()
            self._trial = None
        self._fails(file, QueueUnavailable("the queue gave no answer in time"))
        return False

    async def _settle(self, file: SpillFile, head: list[Delivery], errors: dict[int, QueueError]) -> bool:
        wait = {index: error for index, error in errors.items() if not isinstance(error, CorruptMessage | Unsupported)}
        refused = [
            (head[index], letter_of(head[index].expect(), "refused", error, self._clock))
            for index, error in errors.items()
            if index not in wait
        ]
        self._suspects = max(0, self._suspects - 1)
        if refused and len(head) > 1:  # a client that loses its way blames all that it had
            self._suspects, refused = len(refused), []
        await file.settle([one for index, one in enumerate(head) if index not in errors], refused)
        if refused:
            _tell_refused(refused)
        if len(wait) < len(head):
            self.room.ring_all()
        away = next((error for error in wait.values() if not isinstance(error, QueueFull)), None)
        self._full = bool(wait) and away is None
        if away is not None:
            self._fails(file, away)
            await file.put_back()
        elif self._full and file is self._spill.own:
            self._course.replaying("answers, and has no room")
        return not wait and (len(head) == 1 or not self._suspects)

    def _fails(self, file: SpillFile, error: QueueError) -> None:
        """Of another's file: what is dispatched here finds out for itself."""
        if file is self._spill.own or self._course.state is not State.DIRECT:
            self._course.spilling(error)

    # -- dead letters

    async def _move_letters(self, file: SpillFile) -> None:
        """What died in the spill goes where dead letters are."""
        while file.letters and self._letterbox is not None:
            deliveries = await file.pop_letters(BATCH)
            try:
                await self._letterbox.put([delivery.expect() for delivery in deliveries])
            except QueueError as error:
                await file.release_letters(deliveries)
                log.warning(
                    "dead letters in %s can't be written yet: %s", file.path, error, extra={"path": str(file.path)}
                )
                return
            await file.ack_letters(deliveries)


def _tell_refused(refused: list[tuple[Delivery, Any]]) -> None:
    for _, letter in refused:
        log.error(
            "event %s (%s) was spilled, and its queue refuses it; it is a dead letter (refused): %s",
            letter.id, letter.type, letter.dead.error,
            extra={"event_id": letter.id, "event_type": letter.type, "attempt": letter.attempt, "reason": "refused"},
        )  # fmt: skip
