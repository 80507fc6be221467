"""What an owner knows of the batches that were handed to it. Decides; does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from attrs import define, field, frozen

from ._redis_scripts import Argument
from .message import Delivery

_OPEN, _DONE, _STARTED = b"012"


@define(eq=False)
class Batch:
    """A batch with a mark for each position: open, done, or reported to be started.

    unsure: an answer was lost, so the server may know of more that is done than we do. finishing: one of the lost
    answers was to the call that would have ended it. gone: another owner has it. keys: of each event, where the server
    keeps the order of keys.
    """

    number: int
    marks: bytearray
    left: int = field(init=False)
    unsure: bool = False
    finishing: bool = False
    gone: bool = False
    keys: Sequence[bytes] = ()

    def __attrs_post_init__(self) -> None:
        self.left = len(self.marks)

    @classmethod
    def of(cls, number: int, size: int) -> Batch:
        """A new one, all open."""
        return cls(number, bytearray(b"0" * size))

    def resume(self, marks: bytes) -> None:
        """Take over what the server knows of it."""
        if marks:
            self.marks = bytearray(marks)
            self.left = len(marks) - self.marks.count(_DONE)

    def is_done(self, position: int) -> bool:
        """Whether this one is settled."""
        return self.marks[position] == _DONE


class Place(NamedTuple):
    """Where a delivery is; its receipt, and what fences it: no other hand-out ever has the same place."""

    batch: Batch
    position: int


@frozen
class Item:
    """What becomes of a delivery that is not just done: see list_settle.lua."""

    delivery: Delivery
    what: str
    delay: int = 0
    event: bytes = b""


@define(eq=False)
class Change:
    """One call that settles: these deliveries are done, some of them with an item. `leaving`: they leave the queue."""

    deliveries: Sequence[Delivery]
    items: Sequence[Item] = ()
    leaving: bool = True
    positions: dict[Batch, list[int]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for delivery in self.deliveries:
            batch, position = delivery.receipt
            self.positions.setdefault(batch, []).append(position)

    def heads(self) -> list[Argument]:
        """How many batches there are, and of each what settle.lua wants to know."""
        heads: list[Argument] = [len(self.positions)]
        for batch, positions in self.positions.items():
            heads += (batch.number, self._marks(batch, positions), len(positions) * self.leaving, int(batch.unsure))
        return heads

    def arguments(self) -> list[Argument]:
        """For list_settle.lua."""
        arguments = self.heads()
        places = {batch: number for number, batch in enumerate(self.positions, 1)}
        for item in self.items:
            batch, position = item.delivery.receipt
            arguments += (places[batch], position + 1, item.what, item.delay, item.event)
        return arguments

    def _marks(self, batch: Batch, positions: Sequence[int]) -> bytes:
        """What is known to be done, and what this call does; nothing of another call that may have failed."""
        if batch.left == len(positions):
            return b"*"
        marks = batch.marks.copy()
        for position in positions:
            marks[position] = _DONE
        return bytes(marks)

    def failed(self) -> None:
        """Nobody knows whether it was done."""
        for batch, positions in self.positions.items():
            batch.unsure = True
            batch.finishing = batch.finishing or batch.left == len(positions)

    def answered(self, ours: Iterable[int]) -> list[Delivery]:
        """Take it as done, batch by batch; returns the deliveries that were no longer ours."""
        for (batch, positions), still in zip(self.positions.items(), ours, strict=True):
            if still or batch.finishing:
                for position in positions:
                    batch.marks[position] = _DONE
                batch.left -= len(positions)
            else:
                batch.gone = True
        return [delivery for delivery in self.deliveries if delivery.receipt.batch.gone]


def mark_started(deliveries: Sequence[Delivery]) -> set[Batch]:
    """Note that these are about to run; the batches whose marks the server has to be told."""
    for delivery in deliveries:
        batch, position = delivery.receipt
        if batch.marks[position] == _OPEN:
            batch.marks[position] = _STARTED
    return {delivery.receipt.batch for delivery in deliveries}


def newest_first(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """In the order in which they go back to the tail, so that the oldest is taken first."""
    return sorted(deliveries, key=lambda one: (one.receipt.batch.number, one.receipt.position), reverse=True)
