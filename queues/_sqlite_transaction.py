"""One transaction out of many requests, and what a failure of it means to each."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ._sqlite_claim import Claim, Take
from ._sqlite_errors import primary_code, translated
from ._sqlite_push import Push
from ._sqlite_requests import ANSWERS, NO_ANSWER, Answer, Request, Written, row, run
from ._sqlite_settle import Farewell
from .errors import NotificationError, QueueUnavailable

_ROWS = 63
"""Requests in one transaction."""
_IN_LINE = 8
"""Of the pushes that wait for room in one queue, so many are tried at once."""
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def select(requests: Iterable[Request]) -> tuple[list[Written], list[Request]]:
    """What the next transaction holds, in the order it runs, and what waits on. What was given up is dropped."""
    chosen: list[Written] = []
    rest: list[Request] = []
    line: Counter[int] = Counter()
    for request in requests:
        if request.given_up and request.droppable:
            continue
        if not isinstance(request, Written) or len(chosen) == _ROWS:
            rest.append(request)
            continue
        if isinstance(request, Push) and request.capacity is not None and not request.expired:
            line[request.queue] += 1
            if line[request.queue] > _IN_LINE:
                rest.append(request)
                continue
        chosen.append(request)
    chosen.sort(key=lambda request: request.rank)
    return chosen, rest


def is_more(written: Sequence[Written], waiting: Iterable[Request]) -> bool:
    """Whether some of those that wait have reason to try again at once."""
    left = [request for request in waiting if isinstance(request, Written)]
    if not left:
        return False
    if len(written) == _ROWS or any(request.again for request in left):
        return True
    done = {type(request) for request in written if request.done}
    waits = {type(request) for request in left}
    # These ran after those that they make room for, or messages.
    return (Push in waits and not done.isdisjoint({Claim, Take, Push})) or (Claim in waits and Farewell in done)


def commit(connection: sqlite3.Connection, path: Path, requests: Sequence[Written], *, once_more: bool = True) -> None:
    """Run the requests as one transaction; afterwards each is done or has to wait.

    A transaction that failed is tried once more, request by request: a push for which the disk is full takes no ack
    with it.
    """
    try:
        with translated(path):
            run(connection, [row("start"), *(request.row(n) for n, request in enumerate(requests, 1))])
    except QueueUnavailable as error:
        code = primary_code(error.__cause__)
        if not once_more or code in _LOCKED:
            _fail(requests, error)
            return
        if code == sqlite3.SQLITE_FULL:
            _free_log(connection)
        for request in requests:
            commit(connection, path, [request], once_more=False)
        return
    try:
        with translated(path):
            answers = _answers(connection) if any(request.answered for request in requests) else {}
    except QueueUnavailable as error:
        _fail(requests, error)
        return
    for n, request in enumerate(requests, 1):
        request.read(answers.get(n, NO_ANSWER))


def _free_log(connection: sqlite3.Connection) -> None:
    """Once everything in the -wal file is in the database, acks can be written over it, which takes no room."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _answers(connection: sqlite3.Connection) -> dict[int, Answer]:
    return {answer[0]: Answer._make(answer) for answer in connection.execute(ANSWERS)}


def _fail(requests: Iterable[Request], error: NotificationError) -> None:
    for request in requests:
        request.error = error
