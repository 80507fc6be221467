"""Opening the database: made where it is new, migrated where it is older, set up for durable group commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import _sqlite_file as file
from ._sqlite_errors import BUSY_SECONDS, translated
from ._sqlite_requests import row, run
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clock import Clock

_HERE = Path(__file__).parent
_NEEDED = (3, 38)
#: From the version that a file has to the statements that make it the next one.
MIGRATIONS: Mapping[int, str] = {}
_WAL_PAGES = 4000


def connect(path: Path, clock: Clock, synchronous: str) -> sqlite3.Connection:
    """A connection for the thread that calls. Raises ConfigurationError, QueueUnavailable; then nothing was changed."""
    if sqlite3.sqlite_version_info < _NEEDED:
        raise ConfigurationError(
            f"sqlite:/// needs SQLite {'.'.join(map(str, _NEEDED))} or newer, and this Python has "
            f"{sqlite3.sqlite_version}; install a newer Python, or use redis://"
        )
    file.prepare(path)
    file.check_header(path)
    with translated(path, opening=True):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=64)
        try:
            _set_up(connection, path, clock, synchronous)
        except BaseException:
            connection.close()
            raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, clock: Clock, synchronous: str) -> None:
    # no code that a crafted file brings along is run; ours is temporary and not affected
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts for a new file only
    with transaction(connection, "DEFERRED"):  # one look: another process may make the file between two
        version = file.check_owner(connection, path)
    if version < file.VERSION:
        with transaction(connection, "EXCLUSIVE"):
            _upgrade(connection, file.check_owner(connection, path))
    _use_wal(connection, path)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_PAGES * 4096 * 2}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16000")
    connection.text_factory = bytes
    for name in ("_sqlite_procedures.sql", "_sqlite_claim.sql"):
        connection.executescript((_HERE / name).read_text("utf-8"))
    run(connection, [row("start")])  # compiles every procedure, so a table that was changed by hand is found here
    rebase(connection, clock)


def _upgrade(connection: sqlite3.Connection, version: int, migrations: Mapping[int, str] | None = None) -> None:
    """From any version to ours, inside one transaction."""
    if version == 0:
        statements(connection, (_HERE / "_sqlite_schema.sql").read_text("utf-8"))
        connection.execute(f"PRAGMA application_id = {file.APPLICATION_ID}")
        version = file.VERSION
    migrations = MIGRATIONS if migrations is None else migrations
    while version < file.VERSION:
        statements(connection, migrations[version])
        version += 1
    connection.execute(f"PRAGMA user_version = {version}")


def statements(connection: sqlite3.Connection, script: str) -> None:
    """Run a script inside the transaction that is open; `executescript` would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    for _ in range(20):
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            # The switch itself doesn't wait for another process that opens the file; a transaction does.
            with transaction(connection, "IMMEDIATE"):
                continue
        if mode in {"wal", b"wal"}:
            return
        raise ConfigurationError(f"{path} is on a file system without shared memory, which SQLite's WAL needs; move it")
    raise ConfigurationError(f"{path} is held by another program that keeps SQLite from using its WAL")


def rebase(connection: sqlite3.Connection, clock: Clock) -> None:
    """After a reboot every lease is over, and what was due later is due by the wall clock."""
    boot = file.boot_id()
    with transaction(connection, "IMMEDIATE"):
        if connection.execute("SELECT boot FROM meta").fetchone()[0] == boot.encode():
            return
        shift = clock.monotonic() - clock.wall()
        connection.execute("UPDATE owner SET until = -1e9")
        # Through a temporary table: `due` is part of the key that is walked along.
        connection.execute("CREATE TEMP TABLE rebased AS SELECT * FROM delayed")
        connection.execute("DELETE FROM delayed")
        connection.execute("INSERT INTO delayed SELECT queue, wall + ?, seq, wall, retrying FROM rebased", (shift,))
        connection.execute("DROP TABLE rebased")
        connection.execute("UPDATE seen SET until = wall + ?", (shift,))
        connection.execute("UPDATE meta SET boot = ?", (boot,))


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """All of the block, or nothing of it."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
