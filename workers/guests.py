"""Runs that are no worker's and wait in the lanes for their turn: events that are handled where they are dispatched."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from queues.message import Delivery


class Guests:
    """Those that wait in a lane, with whom to tell. No queue knows of them."""

    def __init__(self) -> None:
        self._turns: dict[Delivery, asyncio.Future[bool]] = {}

    async def wait(self, guest: Delivery, lane: deque[Delivery], leave: Callable[[Delivery], None]) -> bool:
        """Wait in this lane. False: the lane was cleared. leave: called when the turn came and nobody takes it."""
        lane.append(guest)
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._turns[guest] = turn
        try:
            return await turn
        except asyncio.CancelledError:
            if self._turns.pop(guest, None) is not None:
                lane.remove(guest)
            elif not turn.cancelled() and turn.result():
                leave(guest)
            raise

    def first_in(self, lane: deque[Delivery]) -> bool:
        """If a guest is first there, it is its turn. One that has just given up is sent home."""
        if not self._turns:
            return False
        while lane and (turn := self._turns.pop(lane[0], None)) is not None:
            lane.popleft()
            if not turn.done():
                turn.set_result(True)
                return True
        return False

    def sent_away(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Those that are the queue's; guests go home."""
        ours: list[Delivery] = []
        for delivery in deliveries:
            turn = self._turns.pop(delivery, None)
            if turn is None:
                ours.append(delivery)
            elif not turn.done():
                turn.set_result(False)
        return ours
