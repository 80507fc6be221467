"""What was dealt with leaves the topics that nobody else reads: the dead letters, the delayed events."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Final

from ._kafka_look import Look
from .clock import Clock, patience
from .errors import QueueError

log: Final = logging.getLogger("notification.queues")

_EACH = 20.0
"""Seconds between two removals, of one topic each."""
_PATIENCE = 2.0


class Past:
    """Kafka keeps what was read, and forgets a group that has had no member for a week. Then all of that would come
    again: every letter that was ever retried, every event that was ever delayed. So it is removed, up to the first one
    that is left. What can't be removed stays, which is told once.
    """

    def __init__(self, look: Look, topics: Iterable[str], group: str, clock: Clock) -> None:
        self._look, self._topics, self._group, self._clock = look, deque(topics), group, clock
        self._grown: set[str] = set()
        self._next_at = clock.monotonic() + _EACH
        self._told = False

    def grows(self) -> None:
        """Something of them was dealt with."""
        self._grown |= set(self._topics)

    async def shorten(self) -> None:
        """To be called often: now and then it removes the past of one topic."""
        if self._grown and self._clock.monotonic() >= self._next_at:
            self._next_at = self._clock.monotonic() + _EACH
            self._topics.rotate()
            await self._remove(self._topics[0])

    async def end(self) -> None:
        """The same for all of them, at the end."""
        for topic in self._topics:
            await self._remove(topic)

    async def _remove(self, topic: str) -> None:
        if topic not in self._grown or self._told:
            return
        self._grown.remove(topic)
        try:
            async with patience(_PATIENCE):
                await self._look.remove_past(topic, self._group)
        except (QueueError, TimeoutError) as error:
            self._told = True
            log.warning(
                "what was dealt with stays in its topic, and comes again when the group %s is forgotten: %s",
                self._group, error or "no answer", extra={"queue": topic},
            )  # fmt: skip
