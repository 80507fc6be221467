"""Looking at a stream without taking anything."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from attrs import define

from . import wire
from ._redis_link import Link
from ._redis_scripts import Script
from ._redis_stream_owner import Owner, _event, aside, settled
from .base import QueueStats
from .errors import ConfigurationError, escape
from .message import EPOCH, Message

_FACTS = Script.named("stream_facts")
_PAGE = 200
_COUNTED = 2_000
_AGAIN = 0.05
"""Seconds between two looks for what has arrived."""
_SKEW_MS = 60_000
"""How far the clock of who dispatched may be ahead of the server's."""
_ID = re.compile(r"\d{1,20}(-\d{1,20})?")


@define
class Facts:
    """See stream_facts.lua. waiting: in the stream, those that were handed back among them."""

    waiting: int
    released: int
    in_flight: int
    last: bytes
    due: int
    delayed: int
    settled: int
    groups: int


class Look:
    """dead: the key of the dead letters."""

    def __init__(self, link: Link, owner: Owner, dead: str) -> None:
        self._link, self._owner, self._dead = link, owner, dead

    async def facts(self) -> Facts:
        """How it stands for this group."""
        keys = self._owner.keys
        names = (keys.waiting, keys.delayed, aside(keys), settled(keys))
        [answer] = await self._link.call(_FACTS(names, self._owner.group))
        facts = Facts(*answer)
        if facts.waiting < 0:
            facts.waiting = facts.released + await self._count(b"(" + facts.last)
        return facts

    async def size(self) -> int:
        """How many wait and are due."""
        facts = await self.facts()
        return facts.waiting + facts.due

    async def stats(self) -> QueueStats:
        """How the queue stands for this group."""
        facts = await self.facts()
        [dead] = [await self._letters()] if facts.groups > 1 else await self._link.call(("XLEN", self._dead))
        return QueueStats(
            facts.waiting + facts.due, facts.in_flight, facts.delayed, dead, await self._age(facts), facts.settled
        )

    async def browse(self, since: datetime | str | None, *, follow: bool) -> AsyncIterator[Message]:
        """What waits, the oldest first; with `since`, all that is in the stream from there on."""
        begin: str | bytes = _position(since) if since is not None else ""
        if since is None:
            more: bytes | None = b"-" if (await self.facts()).released else None
            while more is not None:
                events, more = await self._released(more, _PAGE)
                for event in events:
                    if (message := self._message(event)) is not None:
                        yield message
            begin = b"(" + (await self.facts()).last
        while True:
            [page] = await self._link.call(("XRANGE", self._owner.keys.waiting, begin, "+", "COUNT", _PAGE))
            for entry, fields in page:
                begin = b"(" + entry
                message = self._message(_event(fields))
                if message is not None and not (isinstance(since, datetime) and message.time < since):
                    yield message
            if len(page) < _PAGE:
                if not follow:
                    return
                await self._owner.clock.sleep(_AGAIN)

    def _message(self, event: bytes) -> Message | None:
        """None: another group's."""
        message = wire.delivery_of(event, None, limits=self._owner.limits).expect()
        return message if message.group in {None, self._owner.group} or not self._owner.filters else None

    async def _released(self, begin: bytes, most: int) -> tuple[list[bytes], bytes | None]:
        """What was handed back and waits, the oldest first, and where there is more of it."""
        key, group = self._owner.keys.waiting, self._owner.group
        [entries] = await self._link.call(("XPENDING", key, group, begin, "+", most, "released"))
        if not entries:
            return [], None
        found = await self._link.call(*(("XRANGE", key, entry[0], entry[0]) for entry in entries))
        return [_event(one[0][1]) for one in found if one], b"(" + entries[-1][0] if len(entries) == most else None

    async def _age(self, facts: Facts) -> float | None:
        events: list[bytes] = []
        if facts.released:
            events, _ = await self._released(b"-", 1)
        if not events and facts.waiting:
            [page] = await self._link.call(("XRANGE", self._owner.keys.waiting, b"(" + facts.last, "+", "COUNT", 1))
            events = [_event(fields) for _, fields in page]
        message = wire.delivery_of(events[0], None, limits=self._owner.limits).message if events else None
        if message is None or message.time is EPOCH:
            return None
        return max(0.0, self._owner.clock.wall() - message.time.timestamp())

    async def _count(self, begin: bytes) -> int:
        """How many entries come after this one."""
        count = 0
        async for page in self._pages(self._owner.keys.waiting, begin):
            count += len(page)
        return count

    async def _letters(self) -> int:
        """How many dead letters are of this group."""
        mark, count = f'"deadgroup":"{self._owner.group}"'.encode(), 0
        async for page in self._pages(self._dead, b"-"):
            count += sum(mark in _event(fields) for _, fields in page)
        return count

    async def _pages(self, key: str, begin: bytes) -> AsyncIterator[list[Any]]:
        page: list[Any] = [None] * _COUNTED
        while len(page) == _COUNTED:
            [page] = await self._link.call(("XRANGE", key, begin, "+", "COUNT", _COUNTED))
            yield page
            begin = b"(" + page[-1][0] if page else begin


def _position(since: datetime | str) -> str:
    """The id to begin with. Raises ConfigurationError for a text that is none."""
    if isinstance(since, datetime):
        return str(max(0, int(since.timestamp() * 1000) - _SKEW_MS))
    if not _ID.fullmatch(since):
        raise ConfigurationError(f"a position in a stream is an entry's id, 1700000000000-0, not {escape(since, 40)!r}")
    return since
