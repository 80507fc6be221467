"""A queue around a queue that may be out of reach, where nothing keeps the events meanwhile: it fails at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from ._spill_attempt import pushed
from ._spill_replay import AGAIN, PATIENCE
from .around import QueueAround
from .base import MessageQueue, name_of
from .errors import PushFailed, QueueError, QueueUnavailable, escape
from .message import Message

log: Final = logging.getLogger("notification.queues")


class FailFastQueue(QueueAround):
    """A push waits for an answer for a second. After one without, and after a failed one, others fail at once; each
    second one of them is tried again.

    on_change: called with `direct` or `failing` after each change, in the event loop; what it raises is logged.
    """

    def __init__(self, inner: MessageQueue, on_change: Callable[[str], object] | None = None) -> None:
        super().__init__(inner)
        self.error: str = ""
        """Why the queue took nothing when it was last asked; empty while it takes events."""
        self._on_change = on_change
        self._try_at = float("-inf")

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        try:
            await self.push_many([message], timeout=timeout)
        except PushFailed as failed:
            raise failed.errors[0] from None

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        now = self.clock.monotonic()
        if self.error and now < self._try_at:
            error = QueueUnavailable(f"the queue is not asked before another second is over: {self.error}")
            raise PushFailed(dict.fromkeys(range(len(messages)), error))
        self._try_at = now + AGAIN
        within = None if timeout is None and self.capacity is not None else PATIENCE + (timeout or 0.0)
        errors = await pushed(self.inner, messages, timeout, within, self.clock)
        self._note(errors)
        if errors:
            raise PushFailed(errors)

    def _note(self, errors: dict[int, QueueError]) -> None:
        away = next((error for error in errors.values() if isinstance(error, QueueUnavailable)), None)
        if away is not None:
            self._try_at = self.clock.monotonic() + AGAIN
        before, self.error = self.error, escape(str(away)) if away is not None else ""
        if bool(before) == bool(self.error):
            return
        if away is not None:
            log.warning("%s takes no events: %s", name_of(self), self.error, extra={"queue": name_of(self)})
        else:
            log.warning("%s takes events again", name_of(self), extra={"queue": name_of(self)})
        if self._on_change is not None:
            try:
                self._on_change("failing" if away is not None else "direct")
            except Exception:
                log.exception("on_change of the degradation failed", extra={"queue": name_of(self)})
