"""SQLite's errors in our words: one context manager for opening, and for everything after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigurationError, NotificationError, QueueUnavailable, escape

BUSY_SECONDS = 5.0
"""How long a transaction waits for those of other processes."""

_AT_OPEN = {
    sqlite3.SQLITE_ERROR: "is damaged, or was changed by hand; move it away, or restore a copy",
    sqlite3.SQLITE_CANTOPEN: "can't be opened; check that it, its -wal and -shm files and their directory are ours",
    sqlite3.SQLITE_READONLY: "can't be written; check the permissions of the file and its directory",
    sqlite3.SQLITE_PERM: "can't be written; check the permissions of the file and its directory",
    sqlite3.SQLITE_NOTADB: "is no SQLite database; name another file, or move this one away",
    sqlite3.SQLITE_CORRUPT: "is damaged; move it and its -wal file away, and run `sqlite3 FILE .recover` on them",
}
_AT_WORK = {
    sqlite3.SQLITE_BUSY: f"was locked by another process for more than {BUSY_SECONDS:g} s",
    sqlite3.SQLITE_LOCKED: "is locked",
    sqlite3.SQLITE_FULL: "could not grow: the disk is full",
    sqlite3.SQLITE_CORRUPT: "is damaged; stop, and run `sqlite3 FILE .recover` to save what is left",
}
#: The sqlite3 module fails to decode the text of an error that quotes damaged bytes.
ERRORS = (sqlite3.Error, UnicodeDecodeError)
#: After these nobody knows whether the commit reached the disk.
_UNKNOWN = {sqlite3.SQLITE_IOERR}


@contextmanager
def translated(path: Path, *, opening: bool = False) -> Iterator[None]:
    """SQLite's errors become ConfigurationError while opening, where that helps, and else QueueUnavailable."""
    try:
        yield
    except ERRORS as error:
        raise meaning(error, path, opening=opening) from error


def meaning(error: Exception, path: Path, *, opening: bool = False) -> NotificationError:
    """The error to raise in place of SQLite's."""
    code = primary_code(error)
    if opening and code in _AT_OPEN:
        return ConfigurationError(f"{path} {_AT_OPEN[code]} ({escape(str(error))})")
    text = f"{path} {_AT_WORK.get(code, 'could not be read or written')} ({escape(str(error))})"
    return QueueUnavailable(text, may_have_been_stored=code in _UNKNOWN)


def primary_code(error: BaseException | None) -> int:
    """SQLite's result code without its extensions."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
