"""A worker: takes one delivery at a time, has it handled under a deadline, and turns it into an outcome."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import anyio
from attrs import frozen

from queues.base import MessageQueue
from queues.clock import Clock
from queues.message import Delivery, about

from .desk import Desk, Handling, is_stray_cancellation
from .inbox import Inbox
from .lease import Held
from .outcome import UNTOUCHED, Dead, Outcome, bury, describe
from .settle import Settler
from .suspect import CRASH_CAP, Suspects

log: Final = logging.getLogger("notification.workers")


@frozen
class Floor:
    """What all workers of a pool share."""

    queue: MessageQueue
    inbox: Inbox
    settler: Settler
    held: Held
    suspects: Suspects
    clock: Clock


class Worker:
    """Runs until the inbox closes. One cancel scope spans many events: only a handler that is cut off ends it."""

    def __init__(self, desk: Desk, handling: Handling, floor: Floor) -> None:
        self.desk = desk
        self.cut = False
        """The pool is out of time: what still runs is handed back."""
        self._handling = handling
        self._floor = floor
        self._inbox, self._settler = floor.inbox, floor.settler
        self._suspect: Delivery | None = None

    async def run(self) -> None:
        """Work; after a handler was cut off, go on in a new scope."""
        desk = self.desk
        while not (self._inbox.closed and desk.delivery is None):
            try:
                with anyio.CancelScope() as desk.scope:
                    await self._work()
            except asyncio.CancelledError:
                if not is_stray_cancellation():
                    raise
                log.warning(
                    "code in handler %s has cancelled its worker, which goes on", desk.handler, extra=desk.about()
                )
            if desk.delivery is not None:
                self._cut_off(desk.delivery)

    async def _work(self) -> None:
        desk, inbox, run = self.desk, self._inbox, self._handling.run
        while not desk.scope.cancel_called:
            if (delivery := desk.delivery) is None:
                if inbox.closed:
                    return
                if (delivery := inbox.take()) is None:
                    await inbox.idle()
                    continue
                desk.delivery = delivery
                if (delivery.times > 1 or delivery.lost) and not await self._may_run(delivery):
                    continue
            self._finish(delivery, await run(delivery, desk))
            if inbox.slice.over():
                await asyncio.sleep(0)

    def _finish(self, delivery: Delivery, outcome: Outcome) -> None:
        self.desk.delivery = None
        if self.desk.todo is not None:
            self.desk.clear()
        if self._suspect is not None:
            self._suspect = None
            self._floor.suspects.leave()
        self._settler.add(delivery, outcome)

    def _cut_off(self, delivery: Delivery) -> None:
        desk = self.desk
        if self.cut and delivery.running:
            desk.clear()
        elif self.cut:
            self._finish(delivery, self._handling.unfinished(delivery, desk))
        elif desk.timeout is not None:
            self._handling.interrupted(delivery, desk, TimeoutError(f"handler took longer than {desk.timeout:g} s"))
            desk.end()

    async def _may_run(self, delivery: Delivery) -> bool:
        """A delivery that was handed out before: count its run, keep it apart, or give it up."""
        if delivery.lost:
            return self._drop(delivery)
        if delivery.times > CRASH_CAP:
            self._finish(delivery, self._crashed(delivery))
            return False
        await self._floor.suspects.enter(alone=delivery.times == CRASH_CAP)
        self._suspect = delivery
        try:
            lost = await self._floor.queue.started([delivery])
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the event goes back and comes again
            log.warning(
                "event %s could not be marked as started and goes back: %s",
                delivery.expect().id, describe(error), extra=about(delivery.expect(), event_bytes=delivery.size),
            )  # fmt: skip
            self._finish(delivery, UNTOUCHED)
            return False
        if lost:
            self._floor.held.mark_lost(lost)
            return self._drop(delivery)
        return True

    def _crashed(self, delivery: Delivery) -> Outcome:
        message, error = delivery.expect(), f"its process died in each of {CRASH_CAP} runs"
        log.error(
            "event %s (%s) is a dead letter: %s",
            message.id, message.type, error, extra=about(message, event_bytes=delivery.size, reason="crashed"),
        )  # fmt: skip
        return Dead(bury(message, "crashed", error, self._floor.clock.now()))

    def _drop(self, delivery: Delivery) -> bool:
        """Another owner has it: forget it, and let its key go on."""
        self.desk.clear()
        if self._suspect is not None:
            self._suspect = None
            self._floor.suspects.leave()
        self._floor.held.settled([delivery])
        self._inbox.lanes.next(delivery)
        return False
