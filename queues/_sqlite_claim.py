"""Requests for messages: the next ones, or certain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import orjson
from attrs import define, field

from . import wire
from ._sqlite_requests import Answer, Row, Written, row
from .clock import Clock
from .message import Delivery, Limits

MOST = 4096
"""The most that one claim takes, and the most that it looks at."""
BATCH_BYTES = 1 << 20
_EVERY = 1 << 31


@define(eq=False)
class Owner:
    """One opened queue, as the file knows it. until: the end of its lease, monotonic; receipts: hand-outs so far."""

    queue: int
    id: int
    clock: Clock
    lease: float
    limits: Limits
    keyed: bool
    until: float = 0.0
    receipts: int = 0

    def receipt(self) -> int:
        """New for every hand-out, and never another owner's."""
        self.receipts += 1
        return self.id << 32 | self.receipts


class HandOut(NamedTuple):
    """Messages as they came out of the file: `bodies` is one after the other, each of its size."""

    owner: Owner
    receipt: int
    until: float
    seqs: list[int | None]
    times: list[int | None]
    sizes: list[int | None]
    bodies: bytes

    @classmethod
    def read(cls, owner: Owner, receipt: int, until: float, answer: Answer) -> HandOut:
        """What an answer holds."""
        seqs, times, sizes = map(orjson.loads, (answer.seqs, answer.times, answer.sizes))
        return cls(owner, receipt, until, seqs, times, sizes, answer.bodies or b"")

    def deliveries(self) -> Iterator[Delivery]:
        """Decoded, each on its own."""
        limits, start = self.owner.limits, 0
        for seq, times, size in zip(self.seqs, self.times, self.sizes, strict=True):
            if seq is not None and times is not None and size is not None:
                body = self.bodies[start : start + size]
                start += size
                yield wire.delivery_of(body, (seq, self.receipt), times + 1, limits)


@define(eq=False)
class Demand:
    """How much the pops of an owner wait for. Written in the event loop, read in the thread.

    wanted: by all of them; widest: by the one that wants most; stretch: how many times more than wanted a claim may
    look at, because messages that it may not take lie at the head.
    """

    wanted: int = 0
    widest: int = 0
    stretch: int = 1


@define(eq=False)
class Claim(Written):
    """The next messages, as many as are in demand. Waits while there are none. `result` is a HandOut.

    arrived: called in the event loop with this claim when it is done, and when there is nothing before `wake`, the
    moment at which something falls due or a lease ends. told: the `wake` that was told last.
    """

    rank: ClassVar[int] = 2
    droppable: ClassVar[bool] = True
    owner: Owner
    demand: Demand
    arrived: Callable[[Claim], None]
    wake: float | None = field(default=None, init=False)
    told: float | None = field(default=None, init=False)
    _delivered: bool = field(default=False, init=False)
    _most: int = field(default=0, init=False)
    _receipt: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def row(self, n: int) -> Row:
        owner, demand = self.owner, self.demand
        now = owner.clock.monotonic()
        self._most = max(1, min(demand.wanted, MOST))
        self._receipt, self._until = owner.receipt(), now + owner.lease
        return row(
            "claim", n, queue=owner.queue, owner=owner.id, receipt=self._receipt, now=now, until=self._until,
            most=self._most, each=max(1, demand.widest // 8) if owner.keyed else _EVERY,
            span=min(MOST, self._most * demand.stretch), bytes=BATCH_BYTES,
        )  # fmt: skip

    def read(self, answer: Answer) -> None:
        self.wake = answer.wake
        self.again = not answer.value and bool(answer.more)
        if answer.value:
            self.result = HandOut.read(self.owner, self._receipt, self._until, answer)
        passed_over = answer.value < self._most and answer.more and len(answer.bodies or b"") < BATCH_BYTES
        self.demand.stretch = min(MOST, self.demand.stretch * 2) if passed_over else 1

    def has_news(self) -> bool:
        if self.wake is None or self.wake == self.told:
            return False
        self.told = self.wake
        return True

    def deliver(self) -> None:
        if not self._delivered:
            self._delivered = self.done
            self.arrived(self)


@define(eq=False)
class Take(Written):
    """Those of `seqs` that still wait, out of turn. `result` is a HandOut.

    unwanted: called in the event loop with it when nobody waits for it any more.
    """

    rank: ClassVar[int] = 2
    owner: Owner
    seqs: Sequence[int]
    unwanted: Callable[[HandOut], None]
    _receipt: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def row(self, n: int) -> Row:
        self._receipt, self._until = self.owner.receipt(), self.owner.clock.monotonic() + self.owner.lease
        return row(
            "take", n, queue=self.owner.queue, owner=self.owner.id, receipt=self._receipt, until=self._until,
            args=orjson.dumps(list(self.seqs)).decode(),
        )  # fmt: skip

    def read(self, answer: Answer) -> None:
        self.result = HandOut.read(self.owner, self._receipt, self._until, answer)

    def deliver(self) -> None:
        if self.future.done() and self.error is None:
            self.unwanted(self.result)
        else:
            super().deliver()
