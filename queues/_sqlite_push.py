"""Pushes: messages as they are stored, in requests of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple

import orjson
from attrs import define, field

from . import wire
from ._sqlite_requests import Answer, Row, Written, row
from .clock import Clock
from .message import Message

MOST_MESSAGES = 1000
"""In one request, so that no transaction takes long."""
MOST_BYTES = 1 << 20
_LONGEST = 1e10
"""Seconds; JSON has no infinity."""


class Stored(NamedTuple):
    """A message as it is stored. due: monotonic, None: at once; wall: the same moment; id: for `?dedup=`."""

    body: bytes
    key: int
    due: float | None
    wall: float | None
    id: str


@lru_cache(8192)
def key_number(key: str) -> int:
    """63 bits that stand for a key. Two keys of one number are only handled more in order than they had to be."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 1) or 1


def stored(message: Message, clock: Clock, *, keyed: bool) -> Stored:
    """A message as it is stored. Raises CorruptMessage for what JSON can't say."""
    key = key_number(message.key) if keyed and message.key is not None else 0
    due, wall = due_time(message, clock)
    return Stored(wire.encode(message), key, due, wall, message.id)


def due_time(message: Message | None, clock: Clock, delay: float = 0.0) -> tuple[float | None, float | None]:
    """When it may be handed out, by the monotonic clock and by the wall clock; None: at once."""
    if message is not None and message.not_before is not None:
        delay = max(delay, message.not_before.timestamp() - clock.wall())
    delay = min(delay, _LONGEST)
    return (clock.monotonic() + delay, clock.wall() + delay) if delay > 0 else (None, None)


def portions(messages: Sequence[Stored]) -> Iterator[Sequence[Stored]]:
    """The messages in portions, each small enough for one transaction."""
    begin, size = 0, 0
    for index, message in enumerate(messages):
        size += len(message.body)
        if index > begin and (index - begin == MOST_MESSAGES or size > MOST_BYTES):
            yield messages[begin:index]
            begin, size = index, len(message.body)
    if begin < len(messages):
        yield messages[begin:]


@define(eq=False)
class Push(Written):
    """Messages for one queue, of which the first `accepted` out of `count` were stored so far.

    capacity: it waits for room below it. dedup: seconds. expired: the time to wait for room is over.
    """

    rank: ClassVar[int] = 0
    droppable: ClassVar[bool] = True
    queue: int
    messages: Sequence[Stored]
    clock: Clock
    capacity: int | None = None
    dedup: float | None = None
    expired: bool = False
    accepted: int = field(default=0, init=False)
    count: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.count = len(self.messages)

    @property
    def answered(self) -> bool:
        return self.capacity is not None

    def row(self, n: int) -> Row:
        delays = any(message.due is not None for message in self.messages)
        plain = not delays and self.capacity is None and self.dedup is None
        args: list[tuple[Any, ...]] = []
        start, rank = 1, 0
        for body, key, due, wall, name in self.messages:
            rank += due is None
            size = len(body)
            args.append((size, key, start) if plain else (size, key, start, rank, due, wall, name))
            start += size
        now, wall_now = self.clock.monotonic(), self.clock.wall()
        dedup = {} if self.dedup is None else {"until": now + self.dedup, "wall": wall_now + self.dedup}
        return row(
            "push", n, queue=self.queue, most=self.capacity, now=now, other=delays,
            args=orjson.dumps(args).decode(), bodies=b"".join([message.body for message in self.messages]), **dedup,
        )  # fmt: skip

    def read(self, answer: Answer) -> None:
        accepted = len(self.messages) if self.capacity is None else answer.value
        self.accepted += accepted
        self.messages = self.messages[accepted:]
        if not self.messages or self.expired:
            self.result = self.accepted
