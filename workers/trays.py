"""The trays of one place: what a queue has to be told, each kind in its own, so that none holds up another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from anyio.abc import TaskGroup
from attrs import frozen

from queues.base import MessageQueue, name_of
from queues.clock import Clock
from queues.message import Delivery, Message, Nack

from .errand import Errand, Errands
from .lanes import Lanes
from .lease import Held
from .supervise import Trouble
from .tray import Tray, in_batches


@frozen(eq=False)
class Trays:
    """See `Settler`, which fills them."""

    acks: Tray[Delivery]
    nacks: Tray[Nack]
    moves: Tray[tuple[Delivery, Message]]
    errands: Tray[Errand]
    releases: Tray[Delivery]

    @property
    def all(self) -> tuple[Tray[Delivery], Tray[Nack], Tray[tuple[Delivery, Message]], Tray[Errand], Tray[Delivery]]:
        """In the order in which trouble is told."""
        return self.acks, self.nacks, self.moves, self.errands, self.releases

    @property
    def failing(self) -> Trouble | None:
        """What fails at the moment, if anything."""
        return next((tray.trouble for tray in self.all if tray.trouble.failures), None)

    def begin(self, group: TaskGroup) -> None:
        """Tell the queue what comes, until the group is cancelled."""
        for tray in self.all:
            group.start_soon(tray.run)


@frozen(eq=False)
class TrayMaker:
    """Makes those of a queue, or of one of the queues that it is made of."""

    queue: MessageQueue
    dead: MessageQueue
    lanes: Lanes
    held: Held
    clock: Clock
    progress: Callable[[], None]

    def __call__(self) -> Trays:
        """Empty ones."""
        queue, held, progress = self.queue, self.held, self.progress

        async def move(pairs: list[tuple[Delivery, Message]]) -> list[Delivery]:
            return await queue.move_many(pairs, self.dead)

        trouble = partial(Trouble, clock=self.clock, queue=name_of(queue))
        return Trays(
            acks=Tray(trouble("ack"), in_batches(queue.ack_many, _themselves, held), progress),
            nacks=Tray(trouble("nack"), in_batches(queue.nack_many, _of_nacks, held), progress),
            moves=Tray(trouble("dead letters"), in_batches(move, _of_pairs, held), progress),
            errands=Tray(trouble("settle"), Errands(queue, self.dead, self.lanes, held).tell, progress),
            releases=Tray(trouble("release"), in_batches(queue.release, _themselves, held), progress),
        )


def _themselves(deliveries: list[Delivery]) -> list[Delivery]:
    return deliveries


def _of_nacks(nacks: list[Nack]) -> list[Delivery]:
    return [nack.delivery for nack in nacks]


def _of_pairs(pairs: list[tuple[Delivery, Message]]) -> list[Delivery]:
    return [delivery for delivery, _ in pairs]
