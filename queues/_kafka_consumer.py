"""The event loop's side of a consumer: what was read and waits to be popped, what is held, what comes again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ._kafka_books import Books, Records
from ._kafka_buffers import Buffers, Read
from ._kafka_membership import Membership
from ._kafka_poll import Poller, Subscription
from ._kafka_pops import Pops
from ._kafka_waits import Waits
from .clock import Clock, patience
from .errors import QueueClosed
from .message import Delivery, Nack

log: Final = logging.getLogger("notification.queues")

_WAIT = 1.0
"""Seconds after which a pop comes back with nothing."""
_LEAVING = 10.0
"""Seconds to wait for the thread to leave the group; it goes on without us."""


class Consumer:
    """One member of a group, from the first pop on. keyed: a retry holds its key. read: makes deliveries. meaning: of
    what the client raised. waits: what is here and not due.
    """

    def __init__(
        self, subscription: Subscription, read: Read, clock: Clock, *,
        keyed: bool, meaning: Callable[[Exception], Exception],
    ) -> None:  # fmt: skip
        self._poller = Poller(subscription, self, clock)
        self.books: Books = self._poller.books
        self._meaning, self._name = meaning, subscription.topics[0]
        self._loop = asyncio.get_running_loop()
        self.waits: Waits = Waits(self.books, self._put_back, clock, keyed=keyed)
        self._buffers = Buffers(self.books, read, self.waits.may_pass)
        lease = float("inf") if subscription.partitions else subscription.lease
        self.membership: Membership = Membership(self._poller, lease, clock)
        self._pops = Pops()
        self._error: Exception | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.began: bool = False
        self.stopped: bool = False

    # -- popped

    def begin(self) -> None:
        """Join the group. Idempotent."""
        if not self.began:
            self.began = True
            self._poller.start()

    async def pop(self, limit: int) -> list[Delivery]:
        """As `MessageQueue.pop_many`. Cancel-safe: whatever is taken is returned without waiting again."""
        self._check_open()
        self.begin()
        if not (batch := self._buffers.take(limit)) and self._error is None:
            await self._pops.wait(_WAIT)
            self._check_open()
            batch = self._buffers.take(limit)
        self._wake()
        if self._buffers.held_up:
            self._poller.prove()
        if not batch and self._error is not None:
            error, self._error = self._error, None
            raise self._meaning(error)
        return batch

    # -- settled

    async def finish(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Done with these. Returns those that were not ours any more. Raises QueueUnavailable."""
        await self.membership.sure()
        with self.books.lock:
            lost = [one for one in deliveries if not one.receipt.ledger.finish(*one.receipt[1:])]
        self._poller.go_on()
        return lost

    async def give_back(self, nacks: Sequence[Nack], *, settled: bool) -> list[Delivery]:
        """Each comes again after its delay, as its message if it has one. settled: it was tried, so its count begins
        anew. Returns those that were not ours any more. Raises QueueUnavailable.
        """
        await self.membership.sure()
        ours: list[Nack] = []
        with self.books.lock:
            for nack in nacks:
                ledger, offset, serial = nack.delivery.receipt
                if ledger.give_back(offset, serial, settled=settled):
                    ours.append(nack)
        for nack in ours:
            if nack.delay > 0:
                self.waits.add(Nack(_changed(nack), nack.delay))
        self._put_back([_changed(nack) for nack in ours if nack.delay <= 0])
        kept = {nack.delivery for nack in ours}
        return [nack.delivery for nack in nacks if nack.delivery not in kept]

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Returns once the broker knows that these are about to run: those that were not ours any more."""
        with self.books.lock:
            ours = [one for one in deliveries if one.receipt.ledger.started(*one.receipt[1:])]
        if ours:
            await self.membership.proof()
        return self._lost_of(deliveries)

    async def lost_of(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are not ours any more. Raises QueueUnavailable."""
        await self.membership.sure()
        return self._lost_of(deliveries)

    def _lost_of(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        with self.books.lock:
            return [one for one in deliveries if not one.receipt.ledger.holds(*one.receipt[1:])]

    # -- looked at

    @property
    def most(self) -> int:
        """Of the deliveries of a topic that may be unfinished."""
        return self._poller.most

    @most.setter
    def most(self, most: int) -> None:
        self._poller.most = most
        self._poller.go_on()

    def crowded(self) -> set[str]:
        """The topics of which so many wait that no more are read, although nothing is due soon."""
        return self._poller.full if self.waits.idle_for_now() else set()

    def take_farthest(self, topic: str) -> list[Delivery]:
        """Of what waits of this topic, the half that is due last."""
        topics = self._buffers.topics()
        return self.waits.take_farthest(lambda one: topics.get(one.receipt.ledger) == topic)

    # -- the end

    def stop(self) -> None:
        """Hand out nothing more: whoever pops gets QueueClosed. What is held can be settled. Idempotent."""
        self.stopped = True
        self.waits.stop()
        self._pops.wake_all()

    async def close(self) -> None:
        """Leave the group in good order, so that what is not settled goes to others. Idempotent."""
        self.stop()
        self.membership.close()
        if not self.began or self._ended.done():
            return
        self._poller.leave()
        try:
            async with patience(_LEAVING):
                await asyncio.shield(self._ended)
        except TimeoutError:
            log.warning("the broker is left without a farewell: its answer takes too long", extra={"queue": self._name})

    def _check_open(self) -> None:
        if self.stopped:
            raise QueueClosed("the queue is closed")

    # -- from the thread; see `_kafka_books.Owner`

    def deliver(self, records: Records) -> None:
        self._soon(self._received, records)

    def changed(self) -> None:
        self._soon(self._drop_lost)

    def proved(self, began: float) -> None:
        self._soon(self._is_proved, began)

    def failed(self, error: Exception) -> None:
        self._soon(self._has_failed, error)

    def ended(self) -> None:
        self._soon(self._has_ended)

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            self._poller.leave()  # the loop is closed, and nobody has closed the queue

    def _received(self, records: Records) -> None:
        self._buffers.add(records)
        self._wake()

    def _drop_lost(self) -> None:
        self._buffers.drop_lost()
        self.waits.drop_lost()

    def _is_proved(self, began: float) -> None:
        self.membership.proved(began)
        if self._buffers.held_up:
            self._buffers.go_on()
            self._wake()

    def _has_failed(self, error: Exception) -> None:
        self._error = error
        self._wake()

    def _has_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _wake(self) -> None:
        if self._pops and (self._buffers or self._error is not None):
            self._pops.wake()

    def _put_back(self, deliveries: Sequence[Delivery]) -> None:
        self._buffers.put_back(deliveries)
        self._wake()


def _changed(nack: Nack) -> Delivery:
    old = nack.delivery
    return old if nack.message is None else Delivery(nack.message, old.receipt, old.times, size=old.size)
