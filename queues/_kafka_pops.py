"""Whoever waits for something to pop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from .clock import patience


class Pops:
    """They are woken one at a time, the one that has waited longest first."""

    def __init__(self) -> None:
        self._turns: deque[asyncio.Future[None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    async def wait(self, seconds: float) -> None:
        """Until it is woken, or for so long. Cancelled after it was woken, it wakes the next."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            async with patience(seconds):
                await turn
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.wake()
            raise
        finally:
            with contextlib.suppress(ValueError):  # whoever woke it has taken it out
                self._turns.remove(turn)

    def wake(self) -> None:
        """One of them."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def wake_all(self) -> None:
        """There is nothing more to wait for."""
        while self._turns:
            self.wake()
