"""A loop that outlives outages: its step is tried again, with growing pauses, for ever, and the trouble is visible."""

from __future__ import annotations

import logging
import random
from typing import Final

from attrs import define

from queues.clock import Clock
from queues.errors import NotificationError

from .outcome import describe

log: Final = logging.getLogger("notification.workers")

SHORTEST, LONGEST = 0.1, 5.0


@define
class Trouble:
    """One role's record of failures: how many in a row, and the last error as text. One log line a transition."""

    role: str
    clock: Clock
    failures: int = 0
    total: int = 0
    last_error: str = ""
    queue: str = ""

    def failed(self, error: Exception) -> None:
        """The step raised. Outages are logged once; anything else is a bug, logged with its traceback."""
        self.failures += 1
        self.total += 1
        self.last_error = describe(error)
        if self.failures == 1:
            unexpected = not isinstance(error, NotificationError)
            log.warning(
                "%s: %s; trying again until it works",
                self.role, self.last_error, exc_info=unexpected, extra={"role": self.role, "queue": self.queue},
            )  # fmt: skip

    def worked(self) -> None:
        """The step went through."""
        if self.failures:
            log.warning(
                "%s: works again after %d failures",
                self.role, self.failures, extra={"role": self.role, "queue": self.queue},
            )  # fmt: skip
            self.failures = 0

    async def pause(self) -> None:
        """Full jitter between 0.1 and 5 seconds, longer with every failure in a row."""
        ceiling = min(LONGEST, SHORTEST * 2 ** min(self.failures, 10))
        await self.clock.sleep(random.uniform(SHORTEST, ceiling))  # noqa: S311 - jitter, not a secret
