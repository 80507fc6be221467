"""The event loop's side of a consumer: what was read and waits to be popped, what is held, what comes again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ._kafka_books import Records
from ._kafka_buffers import Buffers, Read
from ._kafka_membership import Membership
from ._kafka_poll import Poller, Subscription
from ._parking import Parking
from .clock import Alarm, Clock, patience
from .errors import QueueClosed
from .message import Delivery, Nack

log: Final = logging.getLogger("notification.queues")

_WAIT = 1.0
"""Seconds after which a pop comes back with nothing."""
_LEAVING = 10.0
"""Seconds to wait for the thread to leave the group; it goes on without us."""
_BATCH = 500
_SOON = 1.0


class Standing(NamedTuple):
    """Of one partition: the next offset to come, how many are here and unfinished, how many of these are handed out."""

    next: int
    unfinished: int
    popped: int


class Consumer:
    """One member of a group, from the first pop on. keyed: a retry holds its key. read: makes deliveries. meaning: of
    what the client raised.
    """

    def __init__(
        self, subscription: Subscription, read: Read, clock: Clock, *,
        keyed: bool, meaning: Callable[[Exception], Exception],
    ) -> None:  # fmt: skip
        self._poller = Poller(subscription, self, clock)
        self._clock, self._keyed, self._meaning = clock, keyed, meaning
        self._loop = asyncio.get_running_loop()
        self._buffers = Buffers(self._poller.books, read, self._may_pass)
        self.membership: Membership = Membership(
            self._poller, float("inf") if subscription.partitions else subscription.lease, clock
        )
        self._parking = Parking()
        self._alarm: Alarm | None = None
        self._pops: deque[asyncio.Future[None]] = deque()
        self._error: Exception | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._name = subscription.topics[0]
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
        if not (batch := self._buffers.take(limit)):
            await self._arrival()
            batch = self._buffers.take(limit)
        if self._pops and self._buffers:
            self._wake()
        if self._buffers.held_up:
            self._poller.prove()
        if not batch and self._error is not None:
            error, self._error = self._error, None
            raise self._meaning(error)
        return batch

    async def _arrival(self) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self._pops.append(turn)
        try:
            async with patience(_WAIT):
                await turn
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if turn.done():
                self._wake()  # what it was woken for is left to the next
            raise
        finally:
            if not turn.done():
                self._pops.remove(turn)
        self._check_open()

    def _may_pass(self, delivery: Delivery) -> bool:
        """Not while it is not due, or a retry holds its key."""
        message = delivery.message
        if message is not None and message.not_before is not None:
            later = message.not_before.timestamp() - self._clock.wall()
            if later > 0:
                self._park(Nack(delivery, later), keyed=False)
                return False
        return bool(self._parking.let_pass([delivery]))

    # -- settled

    async def finish(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Done with these. Returns those that were not ours any more. Raises QueueUnavailable."""
        await self.membership.sure()
        with self._poller.books.lock:
            lost = [one for one in deliveries if not one.receipt.ledger.finish(one.receipt.offset)]
        self._poller.go_on()
        return lost

    async def give_back(self, nacks: Sequence[Nack], *, settled: bool) -> list[Delivery]:
        """Each comes again after its delay, as its message if it has one. settled: it was tried, so its count begins
        anew. Returns those that were not ours any more. Raises QueueUnavailable.
        """
        await self.membership.sure()
        ours: list[Nack] = []
        with self._poller.books.lock:
            for nack in nacks:
                ledger, offset = nack.delivery.receipt
                if ledger.give_back(offset, settled=settled):
                    ours.append(nack)
        for nack in ours:
            if nack.delay > 0:
                self._park(Nack(_changed(nack), nack.delay), keyed=self._keyed)
        self._put_back([_changed(nack) for nack in ours if nack.delay <= 0])
        kept = {nack.delivery for nack in ours}
        return [nack.delivery for nack in nacks if nack.delivery not in kept]

    async def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Returns once the broker knows that these are about to run: those that were not ours any more."""
        with self._poller.books.lock:
            ours = [one for one in deliveries if one.receipt.ledger.started(one.receipt.offset)]
        if ours:
            await self.membership.proof()
        return self._lost_of(deliveries)

    async def lost_of(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are not ours any more. Raises QueueUnavailable."""
        await self.membership.sure()
        return self._lost_of(deliveries)

    def _lost_of(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        with self._poller.books.lock:
            return [one for one in deliveries if not one.receipt.ledger.holds(one.receipt.offset)]

    # -- looked at

    @property
    def most(self) -> int:
        """Of the deliveries of a topic that may be unfinished."""
        return self._poller.most

    @most.setter
    def most(self, most: int) -> None:
        self._poller.most = most
        self._poller.go_on()

    @property
    def parked(self) -> int:
        """How many wait here for their time."""
        return len(self._parking)

    def crowded(self) -> set[str]:
        """The topics of which so many wait that no more are read, although nothing is due soon."""
        due = self._parking.earliest()
        return set() if due is None or due - self._clock.monotonic() < _SOON else self._poller.full

    def take_farthest(self, topic: str) -> list[Delivery]:
        """Of what waits of this topic, the half that is due last."""
        topics = self._buffers.topics()
        taken = self._parking.take_farthest(lambda one: topics.get(one.receipt.ledger) == topic)
        with self._poller.books.lock:
            for delivery in taken:
                delivery.receipt.ledger.take(delivery.receipt.offset)
        return taken

    def waiting_retries(self) -> list[Nack]:
        """What was handed back and waits for its time, with the seconds that are left to it; handed out once more."""
        now = self._clock.monotonic()
        retries = [
            Nack(nack.delivery, max(0.0, due - now))
            for due, nack in self._parking.waits()
            if nack.delivery.expect().not_before is None
        ]
        with self._poller.books.lock:
            for nack in retries:
                nack.delivery.receipt.ledger.take(nack.delivery.receipt.offset)
        return retries

    def standing(self) -> dict[int, Standing]:
        """By number, the partitions of the topic that are ours."""
        with self._poller.books.lock:
            return {
                partition.partition: Standing(ledger.high, ledger.unfinished, len(ledger.popped))
                for partition, ledger in self._poller.books.ledgers.items()
            }

    # -- the end

    def stop(self) -> None:
        """Hand out nothing more: whoever pops gets QueueClosed. What is held can be settled. Idempotent."""
        self.stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        while self._pops:
            self._wake_one()

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

    # -- from the thread

    def deliver(self, records: Records) -> None:
        """See `_kafka_books.Owner`, here and below."""
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
        gone = [one for one in self._parking.deliveries() if one.receipt.ledger.over or one.receipt.ledger.leaving]
        self._put_back(self._parking.drop(gone))

    def _is_proved(self, began: float) -> None:
        self._error = None
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
            self._wake_one()

    def _wake_one(self) -> None:
        while self._pops:
            turn = self._pops.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    # -- what comes again

    def _put_back(self, deliveries: Sequence[Delivery]) -> None:
        self._buffers.put_back(deliveries)
        self._wake()

    def _park(self, nack: Nack, *, keyed: bool) -> None:
        self._parking.add(self._clock.monotonic() + nack.delay, nack, keyed=keyed)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self._parking.earliest()
        if due is not None and not self.stopped:
            self._alarm = self._clock.call_at(due, self._ring)

    def _ring(self) -> None:
        due = self._parking.due(self._clock.monotonic(), _BATCH)
        self._put_back([nack.delivery for nack in due] + self._parking.free_keys(due))
        self._set_alarm()


def _changed(nack: Nack) -> Delivery:
    old = nack.delivery
    return old if nack.message is None else Delivery(nack.message, old.receipt, old.times, size=old.size)
