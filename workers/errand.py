"""An errand: steps about one delivery that have to be taken in order, each only once the one before is done."""

from __future__ import annotations

from attrs import define, frozen

from queues.base import MessageQueue
from queues.errors import PushFailed
from queues.message import Delivery, Message, Nack

from .lanes import Lanes
from .lease import Held
from .tray import Told


@define(eq=False)
class Errand:
    """Write `letters`; move or nack one delivery; release those `behind`; let the key of `reopens` in again, or have
    `hold` wait in its lane: a delivery, its message and the delay.
    """

    letters: tuple[Message, ...] = ()
    move: tuple[Delivery, Message] | None = None
    nack: Nack | None = None
    behind: tuple[Delivery, ...] = ()
    reopens: Delivery | None = None
    hold: tuple[Delivery, Message, float] | None = None

    @property
    def delivery(self) -> Delivery:
        """The one that the letters are of."""
        first = self.move or self.hold
        return first[0] if first is not None else self.nack.delivery if self.nack is not None else self.behind[0]


@frozen
class Errands:
    """Runs errands. A step that is done is crossed off, so that a second try begins where the first one failed."""

    queue: MessageQueue
    dead: MessageQueue
    lanes: Lanes
    held: Held

    async def tell(self, batch: list[Errand]) -> Told[Errand]:
        """Run them all; one that can't be done does not hold up the others."""
        left: list[Errand] = []
        failure: Exception | None = None
        for errand in batch:
            try:
                await self._run(errand)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; nothing may be lost by it
                failure = error
                left.append(errand)
        return left, failure

    async def _run(self, errand: Errand) -> None:
        if errand.letters:
            await self._write(errand)
        if errand.reopens is None:
            await self._settle(errand)
        else:
            with self.lanes.giving_back(errand.reopens):
                await self._give_back(errand, errand.reopens)
        if errand.hold is not None:
            self.lanes.hold(*errand.hold)

    async def _give_back(self, errand: Errand, head: Delivery) -> None:
        await self._settle(errand)
        while late := self.lanes.late(head):
            errand.behind = tuple(late)
            await self._release(errand)
        self.lanes.reopen(head)

    async def _settle(self, errand: Errand) -> None:
        if errand.move is not None:
            self.held.settled([errand.move[0]], await self.queue.move_many([errand.move], self.dead))
            errand.move = None
        if errand.nack is not None:
            self.held.settled([errand.nack.delivery], await self.queue.nack_many([errand.nack]))
            errand.nack = None
        if errand.behind:
            await self._release(errand)

    async def _write(self, errand: Errand) -> None:
        try:
            await self.dead.home_of(errand.delivery).push_many(errand.letters)
        except PushFailed as error:
            errand.letters = tuple(letter for index, letter in enumerate(errand.letters) if index in error.errors)
            raise
        errand.letters = ()

    async def _release(self, errand: Errand) -> None:
        behind = errand.behind
        try:
            await self.queue.release(list(behind))
        except PushFailed as error:
            errand.behind = tuple(delivery for index, delivery in enumerate(behind) if index in error.errors)
            self.held.settled([delivery for index, delivery in enumerate(behind) if index not in error.errors])
            raise
        self.held.settled(behind)
        errand.behind = ()
