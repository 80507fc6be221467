"""Everything this process was handed and has not settled, and the leases on it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from queues.base import MessageQueue, name_of
from queues.clock import Clock
from queues.message import Delivery, about

from .supervise import Trouble

log: Final = logging.getLogger("notification.workers")


@define
class Held:
    """What we hold: fetched, in a lane, running, or not settled yet. `size` in bytes; `lost` counts lost leases."""

    deliveries: dict[Delivery, None] = field(factory=dict)
    size: int = 0
    lost: int = 0

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Just handed out to us."""
        for delivery in deliveries:
            self.deliveries[delivery] = None
            self.size += delivery.size

    def settled(self, deliveries: Iterable[Delivery], lost: Iterable[Delivery] = ()) -> None:
        """No longer ours: settled, or found to be `lost`."""
        held = self.deliveries
        for delivery in deliveries:
            if held.pop(delivery, self) is None:
                self.size -= delivery.size
        self.mark_lost(lost)

    def mark_lost(self, lost: Iterable[Delivery]) -> None:
        """Another owner has these now; whoever runs them may ask."""
        for delivery in lost:
            if not delivery.lost:
                delivery.lost = True
                self.lost += 1
                message = delivery.expect()
                log.warning(
                    "lost the lease on event %s (%s): it is handled again elsewhere",
                    message.id, message.type, extra=about(message, event_bytes=delivery.size),
                )  # fmt: skip


class LeaseKeeper:
    """Renews the leases each third of their length, from the event loop: a loop that stands still loses them."""

    def __init__(self, queue: MessageQueue, held: Held, clock: Clock) -> None:
        self._queue = queue
        self._held = held
        self._clock = clock
        self._trouble = Trouble("renewing leases", clock, queue=name_of(queue))

    async def run(self) -> None:
        """Renew until cancelled. What fails is tried again in the next round, before the lease is over."""
        if self._queue.lease is None:
            return
        while True:
            await self._clock.sleep(self._queue.lease / 3)
            if self._held.deliveries:
                await self._renew()

    async def _renew(self) -> None:
        try:
            lost = await self._queue.extend(list(self._held.deliveries))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the other rounds have to come
            self._trouble.failed(error)
        else:
            self._trouble.worked()
            self._held.mark_lost(delivery for delivery in lost if delivery in self._held.deliveries)
