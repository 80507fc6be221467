"""The thread that owns a file: it runs what gathered since the last commit as one transaction."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, Final, Literal

from ._sqlite_errors import ERRORS, translated
from ._sqlite_requests import Call, Request
from ._sqlite_schema import connect
from ._sqlite_transaction import commit, is_more, select
from .clock import Clock
from .errors import NotificationError, QueueClosed, QueueUnavailable

log: Final = logging.getLogger("notification.queues")

Synchronous = Literal["full", "normal"]
POLL_SECONDS = 0.005
"""Between looks for commits of other processes, while somebody waits."""
_EAGER_SECONDS = 0.002
"""The same within a second or so after such a commit."""
_EAGER_LOOKS = 500
_QUIET_SECONDS = 1.0
"""Without work, after which free pages go back to the file system."""
_FREE_PAGES = 2048


class SQLiteThread:
    """One a file and process, shared by the queues in it, which may live in several event loops.

    Each request is run to its end here; who asked only waits for it. So a cancelled caller loses nothing.
    """

    _running: ClassVar[dict[tuple[int, Path], SQLiteThread]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, clock: Clock, synchronous: Synchronous, before: SQLiteThread | None) -> None:
        self._path, self._clock, self._synchronous, self._before = path, clock, synchronous, before
        self._place = (os.getpid(), path)  # a fork inherits no threads
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._waiting: list[Request] = []
        self._end: Request | None = None
        self._users = 0
        self._again = self._untidy = self._blind = False
        self._version = self._quiet = self._eager = 0
        self._thread = threading.Thread(target=self._run, name=f"sqlite {path.name}", daemon=True)

    # -- called in event loops

    @classmethod
    def share(cls, path: Path, clock: Clock, synchronous: Synchronous) -> SQLiteThread:
        """The thread of this file, started if there is none. Whoever shares it leaves once."""
        with cls._lock:
            thread = cls._running.get((os.getpid(), path))
            if thread is None or thread._users == 0:
                thread = cls(path, clock, synchronous, thread)
                cls._running[thread._place] = thread
                thread._thread.start()
            thread._users += 1
            return thread

    async def leave(self) -> None:
        """The last to leave waits until the file is closed."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            await self.ask(_End())

    def submit(self, request: Request) -> None:
        """Have it run; it delivers itself in its event loop."""
        self._inbox.put(request)

    async def ask(self, request: Request) -> Any:
        """Have it run and wait for its result. Cancelled, it is run all the same, unless it may be dropped."""
        self._inbox.put(request)
        try:
            return await request.future
        except asyncio.CancelledError:
            request.given_up = True
            raise

    def poke(self) -> None:
        """Have another look at those that wait: time has passed, or somebody gave up."""
        self._inbox.put(None)

    # -- the thread

    def _run(self) -> None:
        if self._before is not None:
            self._before._thread.join()  # two connections of one process would drop each other's locks
            self._before = None
        try:
            self._connection = connect(self._path, self._clock, self._synchronous)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            self._refuse(error)
        else:
            self._work()
        with self._lock:
            if self._running.get(self._place) is self:
                del self._running[self._place]
        assert self._end is not None
        self._end.result = None
        _report([self._end])

    def _refuse(self, error: Exception) -> None:
        """The file can't be opened: say so to everyone, until the last one has left."""
        if not isinstance(error, NotificationError):
            log.error("%s can't be opened", self._path, exc_info=error, extra={"path": str(self._path)})
            error = QueueUnavailable(f"{self._path} can't be opened: {error!r}")
        while self._end is None:
            self._fail(self._gather(), error)

    def _work(self) -> None:
        with closing(self._connection):
            while self._end is None or self._again:
                if not (requests := self._gather()):
                    continue
                try:
                    self._turn(requests)
                except Exception as error:
                    log.exception("the thread of %s failed", self._path, extra={"path": str(self._path)})
                    self._fail(requests, QueueUnavailable(f"{self._path}: {error!r}", may_have_been_stored=True))
            self._fail(self._waiting, QueueClosed(f"{self._path} is closed"))

    def _fail(self, requests: Iterable[Request], error: NotificationError) -> None:
        self._waiting = []
        failed = [request for request in requests if not request.done]
        for request in failed:
            request.error = error
        _report(failed)

    def _turn(self, requests: Sequence[Request]) -> None:
        written, rest = select(requests)
        if written:
            commit(self._connection, self._path, written)
            self._untidy = True
        for request in rest:
            if isinstance(request, Call):
                self._call(request)
        everyone = [*written, *rest]
        self._waiting = [request for request in everyone if not request.done]
        self._again = is_more(written, self._waiting)
        _report([request for request in everyone if request.done or request.has_news()])

    def _call(self, call: Call) -> None:
        try:
            with translated(self._path):
                call.result = call.function(self._connection)
        except NotificationError as error:
            call.error = error

    # -- waiting for work

    def _gather(self) -> list[Request]:
        """Everything to do now: what arrived, and what waited for something to change."""
        arrived: list[Request | None] = []
        if not self._again:
            try:
                arrived.append(self._inbox.get(timeout=self._patience()))
            except Empty:
                return self._waiting if self._changed_elsewhere() else []
        self._again = False
        while not self._inbox.empty():
            arrived.append(self._inbox.get_nowait())
        self._quiet = 0
        requests = [*self._waiting, *(request for request in arrived if request is not None)]
        self._end = self._end or next((request for request in requests if isinstance(request, _End)), None)
        return [request for request in requests if request is not self._end]

    def _patience(self) -> float | None:
        if self._waiting:
            return _EAGER_SECONDS if self._eager else POLL_SECONDS
        return _QUIET_SECONDS if self._untidy else None

    def _changed_elsewhere(self) -> bool:
        """Nothing was asked for a while: whether another process has committed something since the last look."""
        try:
            self._quiet += 1
            if self._untidy and self._quiet * (self._patience() or 0.0) >= _QUIET_SECONDS:
                self._tidy()
            before, self._version = self._version, _number(self._connection, "data_version")
            self._eager = _EAGER_LOOKS if before != self._version else max(0, self._eager - 1)
        except ERRORS as error:
            if not self._blind:
                log.warning("%s can't be looked at: %s", self._path, error, extra={"path": str(self._path)})
            self._blind = True
            return True
        self._blind = False
        return before != self._version

    def _tidy(self) -> None:
        """Free pages go back to the file system, a few at a time, so that no backlog stays on disk for ever."""
        self._quiet = 0
        self._untidy = _number(self._connection, "freelist_count") > _FREE_PAGES
        step = "incremental_vacuum(512)" if self._untidy else "wal_checkpoint(PASSIVE)"
        # `execute` would stop after the first page: the vacuum gives a row, without columns, for each
        self._connection.executescript(f"PRAGMA {step}")


class _End(Request):
    """The last request of all."""


def _report(requests: Iterable[Request]) -> None:
    """Deliver results, with one call for each event loop that asked."""
    loops: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        loops.setdefault(request.loop, []).append(request)
    for loop, mine in loops.items():
        with suppress(RuntimeError):  # that loop was closed; nobody is left to tell
            loop.call_soon_threadsafe(_deliver, mine)


def _deliver(requests: Iterable[Request]) -> None:
    for request in requests:
        request.deliver()


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
