"""Requests about deliveries: each answers with those that were no longer ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import orjson
from attrs import define

from ._sqlite_claim import Owner
from ._sqlite_push import due_time, stored
from ._sqlite_requests import Answer, Row, Written, row
from .message import Delivery, Message, Nack
from .wire import encode

_T = TypeVar("_T")
_AT_ONCE = 1000


@define(eq=False)
class Settle(Written):
    """kind: `ack`, `release`, `started`, `extend`, `nack` or `move`. values: what its procedure needs beside."""

    kind: str
    owner: Owner
    deliveries: Sequence[Delivery]
    values: Mapping[str, Any]

    def row(self, n: int) -> Row:
        receipts: dict[str, list[int]] = {}
        for delivery in self.deliveries:
            seq, receipt = delivery.receipt
            receipts.setdefault(str(receipt), []).append(seq)
        return row(
            self.kind, n, queue=self.owner.queue, owner=self.owner.id, most=len(self.deliveries),
            deliveries=orjson.dumps(receipts).decode(), **self.values,
        )  # fmt: skip

    def read(self, answer: Answer) -> None:
        lost = {(seq, receipt) for seq, receipt in orjson.loads(answer.lost or b"[]")}
        self.result = [delivery for delivery in self.deliveries if delivery.receipt in lost] if lost else []


def settle(kind: str, owner: Owner, deliveries: Sequence[Delivery], **values: Any) -> list[Settle]:
    """The same for all of them."""
    return [Settle(kind, owner, some, values) for some in _portions(deliveries)]


def nack(owner: Owner, nacks: Sequence[Nack]) -> list[Settle]:
    """Back to the queue, each after its delay and as its message. Raises CorruptMessage for one without a JSON form."""
    return [_nack(owner, some) for some in _portions(nacks)]


def _nack(owner: Owner, nacks: Sequence[Nack]) -> Settle:
    args: list[tuple[Any, ...]] = []
    bodies: list[bytes] = []
    start = 1
    for one in nacks:
        body = None if one.message is None else encode(one.message)
        due, wall = due_time(one.message or one.delivery.message, owner.clock, one.delay)
        args.append((*one.delivery.receipt, due, wall, *((None, None) if body is None else (start, len(body)))))
        if body is not None:
            bodies.append(body)
            start += len(body)
    values = {"args": orjson.dumps(args).decode(), "bodies": b"".join(bodies)}
    return Settle("nack", owner, [one.delivery for one in nacks], values)


def move(owner: Owner, pairs: Sequence[tuple[Delivery, Message]], to: Owner) -> list[Settle]:
    """Each message into the queue of `to`, in the same file, and its delivery out of this one.

    Raises CorruptMessage for a message without a JSON form.
    """
    return [_move(owner, some, to) for some in _portions(pairs)]


def _move(owner: Owner, pairs: Sequence[tuple[Delivery, Message]], to: Owner) -> Settle:
    args: list[tuple[Any, ...]] = []
    bodies: list[bytes] = []
    start = 1
    for delivery, message in pairs:
        body, key, due, wall, _ = stored(message, to.clock, keyed=to.keyed)
        args.append((*delivery.receipt, key, start, len(body), due, wall))
        bodies.append(body)
        start += len(body)
    values = {"args": orjson.dumps(args).decode(), "bodies": b"".join(bodies), "other": to.queue}
    return Settle("move", owner, [delivery for delivery, _ in pairs], values)


def _portions(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """So that no transaction takes long."""
    return (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))


@define(eq=False)
class Farewell(Written):
    """The owner leaves: what it holds goes back uncounted, but for those that `stay` with its lease."""

    rank: ClassVar[int] = 3
    owner: Owner
    stay: Sequence[Delivery]

    def row(self, n: int) -> Row:
        args = orjson.dumps([delivery.receipt[0] for delivery in self.stay]).decode()
        return row("farewell", n, queue=self.owner.queue, owner=self.owner.id, args=args)

    def read(self, answer: Answer) -> None:
        self.result = None
