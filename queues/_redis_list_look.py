"""Looking at a list without taking anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from . import wire
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_scripts import Command, Script
from .base import QueueStats
from .clock import Clock
from .errors import ConfigurationError, escape
from .message import EPOCH, Limits, Message

_SIZE = Script.named("list_size")
_FACTS = Script.named("list_facts")
_PAGE = 200
PLACE_DIGITS = 16
"""Before each parked event stands its place in its key."""
_AGAIN = 0.05
"""Seconds between two looks for what has arrived."""


async def size(link: Link, keys: Keys) -> tuple[int, int]:
    """How many wait and are due, and how many are not due."""
    [(waiting, delayed)] = await link.call(_SIZE((keys.waiting, keys.delayed, keys.parked_total)))
    return waiting, delayed


async def stats(link: Link, keys: Keys, dead: Keys, clock: Clock, limits: Limits) -> QueueStats:
    """How the queue stands; what waits, is in flight and is delayed at one moment."""
    facts, oldest, settled, letters = await link.call(
        _facts(keys), ("LRANGE", keys.waiting, -1, -1), ("GET", keys.settled), ("LLEN", dead.waiting)
    )
    message = wire.delivery_of(oldest[0], None, limits=limits).message if oldest else None
    known = message is not None and message.time is not EPOCH
    age = max(0.0, clock.wall() - message.time.timestamp()) if known and message is not None else None
    waiting, delayed, *held = facts
    return QueueStats(waiting, sum(held[1::2]), delayed, letters, age, int(settled or 0))


async def lag(link: Link, keys: Keys) -> tuple[int, dict[str, int]]:
    """How many wait and are due, and how many each owner holds unsettled."""
    [(waiting, _, *held)] = await link.call(_facts(keys))
    return waiting, {owner.decode(): count for owner, count in zip(held[::2], held[1::2], strict=True)}


def _facts(keys: Keys) -> Command:
    return _FACTS((keys.waiting, keys.delayed, keys.parked_total, keys.leases), keys.own(""))


async def browse(
    link: Link, keys: Keys, clock: Clock, limits: Limits, since: datetime | str | None, *, follow: bool
) -> AsyncIterator[Message]:  # fmt: skip
    """What waits, the oldest first. `since` as text: how many of the oldest to leave out."""
    begin = _position(since) if isinstance(since, str) else 0
    last: bytes | None = None
    async for event in pages(link, keys, begin):
        last = event
        if _is_wanted(message := _message(event, limits), since):
            yield message
    while follow:
        await clock.sleep(_AGAIN)
        for event in await _arrived(link, keys, last):
            last = event
            if _is_wanted(message := _message(event, limits), since):
                yield message


async def pages(link: Link, keys: Keys, begin: int = 0) -> AsyncIterator[bytes]:
    """The waiting events, the oldest first. What is taken meanwhile moves the others up: some may be missed."""
    while True:
        [page] = await link.call(("LRANGE", keys.waiting, -(begin + _PAGE), -(begin + 1)))
        for event in reversed(page):
            yield event
        if len(page) < _PAGE:
            break
        begin += _PAGE
    [parked] = await link.call(("GET", keys.parked_total))
    if int(parked or 0) > 0:
        async for event in _parked(link, keys):
            yield event


async def _parked(link: Link, keys: Keys) -> AsyncIterator[bytes]:
    """What waits for its key, key by key."""
    [names] = await link.call(("HKEYS", keys.order))
    for name in names:
        [events] = await link.call(("LRANGE", keys.parked.encode() + name, 0, -1))
        for event in reversed(events):
            yield event[PLACE_DIGITS:]


async def _arrived(link: Link, keys: Keys, last: bytes | None) -> list[bytes]:
    """What is newer than the last one seen, the oldest first; the newest few hundred when that one is gone."""
    [newest] = await link.call(("LRANGE", keys.waiting, 0, 2 * _PAGE))
    found: list[bytes] = []
    for event in newest:
        if event == last:
            break
        found.append(event)
    return found[::-1]


def _message(event: bytes, limits: Limits) -> Message:
    return wire.delivery_of(event, None, limits=limits).expect()


def _is_wanted(message: Message, since: datetime | str | None) -> bool:
    return not isinstance(since, datetime) or message.time >= since


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 14:
        raise ConfigurationError(f"a position in a list is a number, not {escape(text, 40)!r}")
    return int(text)


Match = Callable[[Message], bool]


async def matching(link: Link, keys: Keys, limits: Limits, match: Match, most: int) -> list[bytes]:
    """The first events that match, the oldest first."""
    found: list[bytes] = []
    async for event in pages(link, keys):
        message = wire.delivery_of(event, None, limits=limits).message
        if message is not None and match(message):
            found.append(event)
            if len(found) == most:
                break
    return found
