"""Whether what an SQLite queue's file says about itself is true: counters, keys and places against the messages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_QUERIES = {
    "waiting, as the queue counts it": """
        SELECT q.name, q.waiting, (
            SELECT count(*) FROM message AS m WHERE m.seq >> 47 = q.id
            AND NOT EXISTS (SELECT 1 FROM claim WHERE seq = m.seq)
            AND NOT EXISTS (SELECT 1 FROM delayed WHERE seq = m.seq)
        ) AS found FROM queue AS q WHERE waiting <> found""",
    "in flight, as the queue counts it": """
        SELECT q.name, q.in_flight, (SELECT count(*) FROM claim WHERE seq >> 47 = q.id) AS found
        FROM queue AS q WHERE in_flight <> found""",
    "delayed, as the queue counts it": """
        SELECT q.name, q.delayed, (SELECT count(*) FROM delayed WHERE queue = q.id) AS found
        FROM queue AS q WHERE delayed <> found""",
    "a claim without a message": "SELECT * FROM claim WHERE seq NOT IN (SELECT seq FROM message)",
    "a claim without an owner": "SELECT * FROM claim WHERE receipt >> 32 NOT IN (SELECT id FROM owner)",
    "a message before the head that nothing leads to": """
        SELECT m.* FROM message AS m JOIN queue AS q ON q.id = m.seq >> 47 WHERE m.seq < q.head
        AND (SELECT count(*) FROM claim WHERE seq = m.seq) + (SELECT count(*) FROM delayed WHERE seq = m.seq)
            + (SELECT count(*) FROM parked WHERE seq = m.seq AND key = m.key AND queue = q.id) <> 1""",
    "a message in line that is somewhere else too": """
        SELECT m.* FROM message AS m JOIN queue AS q ON q.id = m.seq >> 47 WHERE m.seq >= q.head
        AND m.aside <> (SELECT count(*) FROM claim WHERE seq = m.seq)
            + (SELECT count(*) FROM delayed WHERE seq = m.seq)""",
    "a message beyond the tail": """
        SELECT m.* FROM message AS m JOIN queue AS q ON q.id = m.seq >> 47 WHERE m.seq >= q.tail""",
    "parked without a message": "SELECT * FROM parked WHERE seq NOT IN (SELECT seq FROM message)",
    "a key that miscounts": """
        SELECT k.*, (SELECT count(*) FROM claim AS c WHERE c.key = k.key AND c.seq >> 47 = k.queue) AS claims,
            (SELECT count(*) FROM parked AS p WHERE p.key = k.key AND p.queue = k.queue) AS places,
            (SELECT min(seq) FROM parked AS p WHERE p.key = k.key AND p.queue = k.queue) AS first_place,
            (SELECT count(*) FROM delayed AS d JOIN message AS m ON m.seq = d.seq
                WHERE m.key = k.key AND d.queue = k.queue AND d.retrying) AS retries
        FROM keys AS k WHERE k.held <> claims OR k.parked <> places OR k.retrying <> retries
            OR (k.parked > 0 AND k.first IS NOT first_place) OR (k.owner = 0) <> (k.held = 0)
            OR k.held + k.parked + k.retrying = 0""",
    "a key with two holders": """
        SELECT c.seq >> 47, c.key FROM claim AS c WHERE c.key <> 0
        GROUP BY 1, 2 HAVING count(DISTINCT c.receipt >> 32) > 1""",
    "a held key that is not known": """
        SELECT c.* FROM claim AS c WHERE c.key <> 0 AND NOT EXISTS (
            SELECT 1 FROM keys AS k WHERE k.queue = c.seq >> 47 AND k.key = c.key AND k.owner = c.receipt >> 32)""",
}


def audit(path: Path) -> None:
    """Fail with what is wrong."""
    with closing(sqlite3.connect(path)) as connection:
        for what, query in _QUERIES.items():
            assert not (found := connection.execute(query).fetchall()), f"{what}: {found}"
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
