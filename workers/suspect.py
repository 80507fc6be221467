"""Events that were handed out before and never settled: they may be what killed their process."""

from __future__ import annotations

import asyncio
from collections import deque

CRASH_CAP = 3
"""Hand-outs without a settle after which an event is a dead letter instead of being run again."""


class Suspects:
    """Lets an event at its last chance run while no other suspect runs, so that the right one is blamed. Who waits for
    that is not overtaken: many would occupy all workers until there are no other suspects any more.
    """

    def __init__(self) -> None:
        self._running = 0
        self._alone = False
        self._at_last = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, *, alone: bool) -> None:
        """Wait for a turn; `alone` for one at its last chance. Cancel-safe."""
        self._at_last += alone
        try:
            while self._alone or (self._running if alone else self._at_last):
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn
        except BaseException:
            self._wake()
            raise
        finally:
            self._at_last -= alone
        self._running += 1
        self._alone = alone

    def leave(self) -> None:
        """It is over."""
        self._running -= 1
        self._alone = False
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
