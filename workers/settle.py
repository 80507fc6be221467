"""Settle: one function of the outcome, then the I/O for it, in batches that form while the last one is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define

from queues.base import MessageQueue
from queues.clock import Clock
from queues.errors import PushFailed
from queues.message import Delivery, Message, Nack

from .lanes import Lanes
from .lease import Held
from .outcome import DONE, Dead, Done, Outcome, Retry, Untouched
from .supervise import Trouble

_BATCH = 1000


@define
class Counts:
    """What became of events in this process. released: handed back uncounted."""

    handled: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0


@define
class Errand:
    """What has to be done in this order: write `letters`, then nack or move one delivery, then release those behind."""

    letters: tuple[Message, ...] = ()
    nack: Nack | None = None
    move: tuple[Delivery, Message] | None = None
    head: Delivery | None = None
    behind: tuple[Delivery, ...] = ()


class Settler:
    """Takes outcomes, and tells the queue. What fails stays and is tried again; nothing is acked in its place."""

    def __init__(
        self, queue: MessageQueue, dead: MessageQueue, lanes: Lanes, held: Held, clock: Clock, *,
        hold: float, mark: Callable[[Message], Message], progress: Callable[[], None],
    ) -> None:  # fmt: skip
        self.counts = Counts()
        self.trouble = Trouble("settle", clock)
        self.acks: list[Delivery] = []
        self._nacks: list[Nack] = []
        self._moves: list[tuple[Delivery, Message]] = []
        self._releases: list[Delivery] = []
        self._errands: list[Errand] = []
        self._queue, self._dead, self._lanes, self._held = queue, dead, lanes, held
        self._hold = hold
        self._mark = mark
        self._progress = progress
        self._waiting: asyncio.Future[None] | None = None
        self._under_way = False

    # -- decide

    def add(self, delivery: Delivery, outcome: Outcome) -> None:
        """Decide what the queue has to be told. Pure bookkeeping: the I/O comes later."""
        if outcome is DONE or isinstance(outcome, Done):
            self.counts.handled += 1
            self.acks.append(delivery)
            self._lanes.next(delivery)
        elif isinstance(outcome, Dead):
            self._bury(delivery, outcome)
            self._lanes.next(delivery)
        elif isinstance(outcome, Retry):
            self._retry(delivery, outcome)
        elif isinstance(outcome, Untouched):
            self._put_back(delivery)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _bury(self, delivery: Delivery, outcome: Dead) -> None:
        self.counts.dead += 1 + len(outcome.also)
        move = (delivery, self._mark(outcome.letter))
        if outcome.also:
            self._errands.append(Errand(tuple(map(self._mark, outcome.also)), move=move))
        else:
            self._moves.append(move)

    def _retry(self, delivery: Delivery, outcome: Retry) -> None:
        self.counts.retried += 1
        self.counts.dead += len(outcome.dead)
        letters = tuple(map(self._mark, outcome.dead))
        nack = Nack(delivery, outcome.delay, outcome.message)
        if not self._lanes.keyed(outcome.message):
            self._lanes.next(delivery)
            if letters:
                self._errands.append(Errand(letters, nack))
            else:
                self._nacks.append(nack)
        elif outcome.delay <= self._hold:
            self._lanes.hold(delivery, outcome.message, outcome.delay)
            if letters:
                self._errands.append(Errand(letters))
        else:
            behind = self._lanes.clear(delivery)
            self._errands.append(Errand(letters, nack, head=delivery, behind=tuple(behind)))

    def _put_back(self, delivery: Delivery) -> None:
        """Not run to its end: unchanged to the head of the queue, and with it those that wait behind it in its lane."""
        message = delivery.message
        if message is None or not self._lanes.keyed(message):
            self.release([delivery])
            return
        changed = delivery in self._lanes.changed
        behind = tuple(self._lanes.clear(delivery))
        if changed:
            self.counts.released += 1
            self._errands.append(Errand(nack=Nack(delivery, 0.0, message), head=delivery, behind=behind))
        else:
            self._errands.append(Errand(head=delivery, behind=(delivery, *behind)))

    def give_back(self, delivery: Delivery, message: Message, delay: float) -> None:
        """At the end: a head that waits in its lane for a retry goes back with its changed message."""
        self.counts.released += 1
        self._nacks.append(Nack(delivery, delay, message))

    def release(self, deliveries: list[Delivery]) -> None:
        """Fetched and not started: back to the head of the queue."""
        self.counts.released += len(deliveries)
        self._releases += deliveries

    # -- then do

    @property
    def pending(self) -> bool:
        """Whether anything is still to be told."""
        return self._under_way or self._has_work()

    def _has_work(self) -> bool:
        return bool(self.acks or self._nacks or self._moves or self._errands or self._releases)

    async def run(self) -> None:
        """Tell the queue what was decided, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._has_work():
                self._waiting = loop.create_future()
                await self._waiting
                self._waiting = None
            self._under_way = True
            try:
                fine = await self._settle()
            finally:
                self._under_way = False
            self._progress()
            if not fine:
                await self.trouble.pause()

    async def _settle(self) -> bool:
        """One round: every kind on its own, so that a dead-letter queue that is down does not hold up acks."""
        fine = True
        for step in (self._send_acks, self._send_errands, self._send_nacks, self._send_moves, self._send_releases):
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; nothing may be lost by it
                self.trouble.failed(error)
                fine = False
        if fine:
            self.trouble.worked()
        return fine

    async def _send_acks(self) -> None:
        while self.acks:
            batch = self.acks[:_BATCH]
            self._held.settled(batch, await self._queue.ack_many(batch))
            del self.acks[: len(batch)]

    async def _send_nacks(self) -> None:
        while self._nacks:
            batch = self._nacks[:_BATCH]
            lost = await self._queue.nack_many(batch)
            del self._nacks[: len(batch)]
            self._held.settled([nack.delivery for nack in batch], lost)

    async def _send_moves(self) -> None:
        while self._moves:
            batch = self._moves[:_BATCH]
            await self._move(batch)
            del self._moves[: len(batch)]

    async def _move(self, batch: list[tuple[Delivery, Message]]) -> None:
        try:
            lost = await self._queue.move_many(batch, self._dead)
        except PushFailed as error:
            stored = [pair for index, pair in enumerate(batch) if index not in error.errors]
            self._moves[: len(batch)] = [pair for index, pair in enumerate(batch) if index in error.errors]
            self._held.settled([delivery for delivery, _ in stored])
            raise
        self._held.settled([delivery for delivery, _ in batch], lost)

    async def _send_releases(self) -> None:
        if self._releases:
            batch, self._releases = self._releases, []
            try:
                await self._queue.release(batch)
            except BaseException:
                self._releases[:0] = batch
                raise
            self._held.settled(batch)

    async def _send_errands(self) -> None:
        todo, self._errands = self._errands, []
        failure: Exception | None = None
        while todo:
            try:
                await self._run_errand(todo[0])
            except Exception as error:  # noqa: BLE001 - one that can't be done must not hold up the others
                failure = error
                self._errands.append(todo[0])
            except BaseException:
                self._errands += todo
                raise
            del todo[0]
        if failure is not None:
            raise failure

    async def _write_letters(self, errand: Errand) -> None:
        try:
            await self._dead.push_many(errand.letters)
        except PushFailed as error:
            errand.letters = tuple(letter for index, letter in enumerate(errand.letters) if index in error.errors)
            raise
        errand.letters = ()

    async def _run_errand(self, errand: Errand) -> None:
        if errand.letters:
            await self._write_letters(errand)
        if errand.move is not None:
            self._held.settled([errand.move[0]], await self._queue.move_many([errand.move], self._dead))
            errand.move = None
        if errand.nack is not None:
            self._held.settled([errand.nack.delivery], await self._queue.nack_many([errand.nack]))
            errand.nack = None
        if errand.behind:
            await self._queue.release(list(errand.behind))
            self._held.settled(errand.behind)
            self.counts.released += len(errand.behind)
            errand.behind = ()
        if errand.head is not None:
            self._lanes.reopen(errand.head)
