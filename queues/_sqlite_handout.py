"""What one owner is handed: the pops that wait, and what came for a pop that was cancelled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._sqlite_claim import Claim, Demand, HandOut, Owner
from .clock import Alarm
from .errors import NotificationError
from .message import Delivery

if TYPE_CHECKING:
    from ._sqlite_thread import SQLiteThread


class Handout:
    """Pops share one claim at a time, for as much as they want together; it comes back when there is something.

    A pop that is cancelled cancels nothing in the file: what was claimed for it is the next pop's.
    """

    def __init__(self, thread: SQLiteThread, owner: Owner) -> None:
        self.owner = owner
        self._thread = thread
        self.ready: deque[Delivery] = deque()
        self._pops: dict[asyncio.Future[list[Delivery]], int] = {}
        self._demand = Demand()
        self._claim: Claim | None = None
        self._alarm: Alarm | None = None

    async def pop(self, limit: int) -> list[Delivery]:
        """Between one and `limit`, waiting for the first. Cancel-safe."""
        if self.ready and not self._pops:
            return self._first(limit)
        waiting: asyncio.Future[list[Delivery]] = asyncio.get_running_loop().create_future()
        self._pops[waiting] = limit
        self._ask()
        try:
            return await waiting
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def stale(self) -> list[Delivery]:
        """What nobody popped before the lease was over: others may have it."""
        over = self.ready and self.owner.clock.monotonic() >= self.owner.until
        return list(self.ready) if over else []

    def forget(self, lost: Sequence[Delivery]) -> list[Delivery]:
        """Drop what was lost before it was popped; returns the others of them."""
        if not lost:
            return []
        dropped = set(lost).intersection(self.ready)
        self.ready = deque(delivery for delivery in self.ready if delivery not in dropped)
        return [delivery for delivery in lost if delivery not in dropped]

    def accept(self, handed_out: HandOut) -> list[Delivery]:
        """The deliveries of it; they renewed the lease."""
        self.owner.until = max(self.owner.until, handed_out.until)
        return list(handed_out.deliveries())

    def keep(self, handed_out: HandOut) -> None:
        """This came for those who pop, now or next."""
        self.ready.extend(self.accept(handed_out))
        self._serve()

    def fail(self, error: NotificationError) -> None:
        """Every waiting pop ends with this error."""
        pops, self._pops = self._pops, {}
        for waiting in pops:
            if not waiting.done():
                waiting.set_exception(error)

    def close(self, error: NotificationError) -> None:
        """Wake whoever waits with this error, and forget what nobody popped: the farewell returns it."""
        self._drop_claim()
        self.ready.clear()
        self.fail(error)

    # -- one claim at a time

    def _ask(self) -> None:
        self._measure()
        if self._claim is None:
            self._claim = Claim(self.owner, self._demand, self._arrived)
            self._thread.submit(self._claim)

    def _measure(self) -> None:
        self._demand.wanted = sum(self._pops.values())
        self._demand.widest = max(self._pops.values(), default=0)

    def _arrived(self, claim: Claim) -> None:
        """In the event loop: the claim is done, or knows when it is worth another try."""
        if not claim.done:
            if claim is self._claim:
                self._wait_until(claim)
            return
        if claim is self._claim:
            self._drop_claim()
        if claim.error is not None:
            self.fail(claim.error)
        else:
            self.keep(claim.result)
        if self._pops:
            self._ask()

    def _wait_until(self, claim: Claim) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if claim.wake is not None:
            self._alarm = self.owner.clock.call_at(claim.wake, lambda: self._wake(claim))

    def _wake(self, claim: Claim) -> None:
        claim.told = None
        self._thread.poke()

    def _drop_claim(self) -> None:
        if self._claim is not None:
            self._claim.given_up = True
            self._claim = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # -- from what came to those who wait

    def _serve(self) -> None:
        while self.ready and self._pops:
            waiting = next(iter(self._pops))
            limit = self._pops.pop(waiting)
            if not waiting.done():
                waiting.set_result(self._first(limit))

    def _first(self, limit: int) -> list[Delivery]:
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]

    def _give_up(self, waiting: asyncio.Future[list[Delivery]]) -> None:
        """The pop was cancelled, perhaps in the moment between its answer and its turn."""
        self._pops.pop(waiting, None)
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self.ready.extendleft(reversed(waiting.result()))
            self._serve()
        self._measure()
        if not self._pops:
            self._drop_claim()
