"""Administration of the queues in an SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from attrs import evolve

from . import _sqlite_look as look
from ._sqlite_file import path_of
from ._sqlite_requests import Call
from ._sqlite_schema import transaction
from ._sqlite_thread import SQLiteThread, Synchronous
from .admin import Change, QueueAdmin, QueueInfo, Share, Value, counted, no_such_queue
from .clock import SYSTEM_CLOCK
from .errors import QueueError
from .message import DEFAULT_LIMITS
from .sqlite import SQLiteOptions, SQLiteQueue
from .url import DEAD, QueueURL


class SQLiteAdmin(QueueAdmin):
    """Several queues may be in one file. Deleting empties: who has the queue open goes on with it."""

    def __init__(self, url: QueueURL) -> None:
        super().__init__(url)
        SQLiteQueue.from_url(url)  # what is wrong with the URL is raised here
        self._urls = [url, url.sibling(DEAD)]
        self._path = path_of(url)
        self._synchronous: Synchronous = url.read(SQLiteOptions).synchronous
        self._clock = SYSTEM_CLOCK

    async def create(self, options: Any) -> Sequence[Change]:
        """The file, if there is none, and the queue in it, with its dead letters."""
        before = await self._call(_ids) if self._path.exists() else {}
        for url in self._urls:
            async with SQLiteQueue.from_url(url):
                pass
        names = [url.name for url in self._urls]
        return [Change(name, "exists" if name in before else "created", f"in {self._path}") for name in names]

    async def list(self) -> Sequence[QueueInfo]:
        """Every queue of the file."""
        ids: dict[str, int] = await self._call(_ids)
        dead = {f"{name}.{DEAD}" for name in ids}
        return [await self._info(name, number) for name, number in sorted(ids.items()) if name not in dead]

    async def describe(self) -> QueueInfo:
        """Its figures, its file, and who has events of it."""
        info = await self._info(self.url.name, await self._id())
        owners: list[Mapping[str, Value]] = [
            {"owner": share.owner, "in flight": share.lag} for share in await self.lag() if share.owner
        ]
        facts: dict[str, Value] = {"file": str(self._path), "bytes": self._path.stat().st_size}
        return evolve(info, facts=facts, tables={"owners": owners})

    async def delete(self) -> Sequence[Change]:
        """All their events, in one transaction."""
        await self._id()
        now, names = self._clock.monotonic(), [url.name for url in self._urls]
        return [
            Change(name, "emptied", f"{counted(number)} deleted")
            for name, number in await self._call(lambda connection: _empty(connection, names, now))
        ]

    async def lag(self, *, own: bool = False) -> Sequence[Share]:
        """There are no groups: what waits, and what each owner has."""
        number, now = await self._id(), self._clock.monotonic()
        shares: list[Share] = await self._call(lambda connection: _shares(connection, number, now))
        return shares

    async def _id(self) -> int:
        ids: dict[str, int] = await self._call(_ids)
        if self.url.name not in ids:
            raise no_such_queue(self.url)
        return ids[self.url.name]

    async def _info(self, name: str, number: int) -> QueueInfo:
        now = self._clock.monotonic()
        counts: look.Counts = await self._call(lambda connection: look.counts(connection, number, name, now))
        return QueueInfo(name, counts.stats(self._clock, DEFAULT_LIMITS))

    async def _call(self, function: Callable[[Connection], Any]) -> Any:
        if not self._path.exists():
            raise no_such_queue(self.url, "its file")
        thread = SQLiteThread.share(self._path, self._clock, self._synchronous)
        try:
            return await thread.ask(Call(function))
        finally:
            await thread.leave()


# -- in the thread


def _ids(connection: Connection) -> dict[str, int]:
    return {name.decode(): number for name, number in connection.execute("SELECT name, id FROM queue")}


def _shares(connection: Connection, queue: int, now: float) -> list[Share]:
    waiting = Share(look.size(connection, queue, now))
    return [waiting, *(Share(held, owner=str(owner)) for owner, held in connection.execute(_OWNERS, (queue, -1e18)))]


def _empty(connection: Connection, names: Sequence[str], now: float) -> list[tuple[str, int]]:
    with transaction(connection, "IMMEDIATE"):
        ids = _ids(connection)
        mine = [(name, ids[name]) for name in names if name in ids]
        for name, queue in mine:
            if alive := connection.execute(_OWNERS, (queue, now)).fetchall():
                held = sum(held for _, held in alive)
                raise QueueError(f"{name} is being consumed: {counted(held)} in flight; stop its workers first")
        return [(name, _emptied(connection, queue)) for name, queue in mine]


def _emptied(connection: Connection, queue: int) -> int:
    """How many events are deleted."""
    first, beyond = queue << look.PLACE_BITS, (queue + 1) << look.PLACE_BITS
    connection.execute("DELETE FROM claim WHERE seq >= ? AND seq < ?", (first, beyond))
    for table in ("owner", "parked", "keys", "delayed", "seen"):
        connection.execute(f"DELETE FROM {table} WHERE queue = ?", (queue,))  # noqa: S608 - a name from the line above
    connection.execute("UPDATE queue SET head = tail, waiting = 0, delayed = 0, in_flight = 0 WHERE id = ?", (queue,))
    return connection.execute("DELETE FROM message WHERE seq >= ? AND seq < ?", (first, beyond)).rowcount


_OWNERS = """
    SELECT o.id, count(*) FROM owner AS o JOIN claim AS c ON c.receipt >> 32 = o.id
    WHERE o.queue = ? AND o.until > ? GROUP BY o.id ORDER BY o.id"""
