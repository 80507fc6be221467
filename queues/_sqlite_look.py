"""What is read without taking anything, and the entry of a queue in its file. Each runs in the file's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from . import wire
from ._sqlite_requests import NOT_YET
from ._sqlite_schema import transaction
from .base import QueueStats
from .clock import Clock
from .errors import ConfigurationError, escape
from .message import EPOCH, Limits, Message
from .url import DEAD

PLACE_BITS = 47
"""Of a seq; the bits above are the id of its queue."""
_PAGE_BYTES = 1 << 20
_PAGE_ROWS = 500
Page = list[tuple[int, bytes]]
"""Messages with their seq, in order."""


def enter(connection: sqlite3.Connection, name: str, *, full: bool) -> tuple[int, int]:
    """The id of this queue, made if need be, and of a new owner. full: one user of the file who wants it is enough."""
    if full:
        connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection, "IMMEDIATE"):
        connection.execute(
            "INSERT INTO queue (id, name, head, tail) SELECT id, ?1, id << ?2, id << ?2 "
            "FROM (SELECT coalesce(max(id), 0) + 1 AS id FROM queue) WHERE true ON CONFLICT (name) DO NOTHING",
            (name, PLACE_BITS),
        )
        queue = connection.execute("SELECT id FROM queue WHERE name = ?", (name,)).fetchone()[0]
        owner = connection.execute("UPDATE meta SET owners = owners + 1 RETURNING owners").fetchall()[0][0]
    return queue, owner


def size(connection: sqlite3.Connection, queue: int, now: float) -> int:
    """How many wait; what fell due and no claim has seen yet among them."""
    query = "SELECT waiting + (SELECT count(*) FROM delayed WHERE queue = ?1 AND due <= ?2) FROM queue WHERE id = ?1"
    return int(connection.execute(query, (queue, now)).fetchone()[0])


class Counts(NamedTuple):
    """As in QueueStats; `oldest` is the event that waits longest."""

    waiting: int
    in_flight: int
    delayed: int
    dead: int
    oldest: bytes | None
    pushed: int

    def stats(self, clock: Clock, limits: Limits) -> QueueStats:
        """With the oldest event read."""
        message = None if self.oldest is None else wire.delivery_of(self.oldest, None, limits=limits).message
        known = message is not None and message.time is not EPOCH
        age = max(0.0, clock.wall() - message.time.timestamp()) if known and message is not None else None
        settled = self.pushed - self.waiting - self.in_flight - self.delayed
        return QueueStats(self.waiting, self.in_flight, self.delayed, self.dead, age, settled)


def counts(connection: sqlite3.Connection, queue: int, name: str, now: float) -> Counts:
    """How a queue stands."""
    waiting = size(connection, queue, now)
    total, in_flight, tail = connection.execute(
        "SELECT waiting + delayed, in_flight, tail FROM queue WHERE id = ?", (queue,)
    ).fetchone()
    dead = connection.execute(
        "SELECT waiting + delayed + in_flight FROM queue WHERE name = ?", (f"{name}.{DEAD}",)
    ).fetchone()
    first = connection.execute(_OLDEST, (queue,)).fetchone()
    pushed = tail - (queue << PLACE_BITS)
    return Counts(waiting, in_flight, total - waiting, dead[0] if dead else 0, first[0] if first else None, pushed)


_OLDEST = """
    SELECT CAST(coalesce(body, '') AS BLOB) FROM message WHERE seq = (SELECT min(seq) FROM (
        SELECT min(seq) AS seq FROM parked WHERE queue = ?1 AND key = 0
        UNION ALL
        SELECT min(first) FROM keys WHERE queue = ?1 AND parked > 0
        UNION ALL
        SELECT (
            SELECT seq FROM message WHERE seq >= q.head AND seq < q.tail AND NOT aside ORDER BY seq LIMIT 1
        ) FROM queue AS q WHERE q.id = ?1
    ))"""


def page(connection: sqlite3.Connection, queue: int, after: int, *, wait: bool = False) -> Page | object:
    """Some messages that wait, from this seq on; with `wait`, NOT_YET in place of none."""
    rows: Page = []
    size = 0
    for seq, body in connection.execute(_WAITING, (after, (queue + 1) << PLACE_BITS, _PAGE_ROWS)):
        rows.append((seq, body))
        size += len(body)
        if size > _PAGE_BYTES:
            break
    return rows if rows or not wait else NOT_YET


def matching(rows: Page, match: Callable[[Message], bool], limits: Limits, most: int) -> tuple[list[int], int]:
    """The seqs of those that match, `most` at most, and the seq to look on from."""
    seqs: list[int] = []
    for seq, body in rows:
        message = wire.delivery_of(body, None, limits=limits).message
        if message is not None and match(message):
            seqs.append(seq)
            if len(seqs) == most:
                return seqs, seq + 1
    return seqs, rows[-1][0] + 1


def place(text: str) -> int:
    """A position as text. Raises ConfigurationError for one that is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 14:
        raise ConfigurationError(f"a position in an SQLite queue is a number, not {escape(text, 40)!r}")
    return int(text)


_WAITING = """
    SELECT seq, CAST(coalesce(body, '') AS BLOB) FROM message
    WHERE seq >= ? AND seq < ? AND NOT aside AND NOT EXISTS (SELECT 1 FROM claim WHERE claim.seq = message.seq)
    ORDER BY seq LIMIT ?"""
