"""The files of one queue. Everything here blocks, and runs in the queue's own thread, one call after another.

An event is one file, and where it lies says how it stands. A rename takes it from one state to the next, and of two
processes that try, one gets FileNotFoundError: that is all the locking there is.

    tmp/<place>                           being written
    new/<place>,<deaths>                  waits; places sort in the order in which the events came
    cur/<place>,<deaths>,<receipt>[,S]    handed out, and leased until the file's mtime; S: reported by `started`
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from notification import Delivery, Message, MessageQueue, Nack, QueueStats, wire

_WAITING = re.compile(r"[^,.][^,]{0,150},\d{1,9}")
_ABANDONED = 36 * 3600.0
"""Seconds after which a file in `tmp` is taken to be left by a process that died."""


@attrs.define
class Files:
    """`now`: the wall clock, in seconds. Methods about deliveries return those that were no longer ours."""

    path: Path
    lease: float
    now: Callable[[], float]
    _owner: str = attrs.field(factory=lambda: uuid.uuid4().hex[:12])
    _serial: itertools.count[int] = attrs.field(factory=itertools.count)
    _last: int = 0
    _look_for_dead_at: float = 0.0

    def prepare(self) -> None:
        """Make the directories, and sweep up what was never finished."""
        for state in ("tmp", "new", "cur"):
            (self.path / state).mkdir(0o700, parents=True, exist_ok=True)
        _sync(self.path)
        _sync(self.path.parent)
        for entry in os.scandir(self.path / "tmp"):
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < self.now() - _ABANDONED:
                    os.unlink(entry)

    # -- in

    def store(self, raw: bytes) -> None:
        """It is on the disk, name and content, when this returns."""
        place = self._next_place()
        os.rename(self._write(place, raw), self.path / "new" / f"{place},0")
        _sync(self.path / "new")

    def _next_place(self) -> str:
        self._last = max(self._last + 1, int(self.now() * 1e9))
        return f"{self._last:020d}.{self._owner}"

    def _write(self, place: str, raw: bytes) -> Path:
        path = self.path / "tmp" / place
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            try:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                path.unlink()
                raise
        return path

    # -- out

    def claim(self, limit: int, queue: MessageQueue) -> list[Delivery]:
        """Up to `limit` deliveries of what waits, the oldest first."""
        self._bury_the_dead()
        batch: list[Delivery] = []
        size = 0
        for name in heapq.nsmallest(limit, self.waiting()):
            try:
                batch.append(self._take(name, queue))
            except FileNotFoundError:  # another owner was faster
                continue
            except OSError:  # it can't be read: say so, but first hand out what is claimed already
                if not batch:
                    raise
                break
            if (size := size + batch[-1].size) >= queue.BATCH_BYTES:
                break
        return batch

    def _take(self, name: str, queue: MessageQueue) -> Delivery:
        receipt = f"{name},{self._owner}.{next(self._serial)}"  # new for every hand-out, so that no old one is valid
        with open(self.path / "new" / name, "rb") as file:
            self._renew(self.path / "new" / name)  # before the rename: in `cur` an old mtime means a dead owner
            os.rename(self.path / "new" / name, self.path / "cur" / receipt)
            return wire.delivery_of(file.read(), receipt, 1 + int(name.rpartition(",")[2]), queue.limits)

    def _bury_the_dead(self) -> None:
        """What nobody renewed waits again. A death counts what was handed out for the first time, or had started."""
        if self.now() < self._look_for_dead_at:
            return
        self._look_for_dead_at = self.now() + self.lease / 5
        for entry in os.scandir(self.path / "cur"):
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime <= self.now():
                    place, deaths, _, *started = entry.name.split(",")
                    count = int(deaths) + (deaths == "0" or bool(started))
                    os.rename(entry, self.path / "new" / f"{place},{count}")

    # -- handed out

    def ack(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return _lost(deliveries, lambda delivery: os.unlink(self._file(delivery)))

    def release(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return _lost(deliveries, lambda delivery: self._put_back(delivery, delivery.receipt.split(",")[1]))

    def nack(self, nacks: Sequence[Nack]) -> list[Delivery]:
        messages = {nack.delivery: nack.message for nack in nacks}
        return _lost([*messages], lambda delivery: self._nack(delivery, messages[delivery]))

    def _nack(self, delivery: Delivery, message: Message | None) -> None:
        self._renew(self._file(delivery))  # it is ours, and stays so for what follows
        if message is not None:  # replaced where it lies, so that at every moment one file holds the event
            os.replace(self._write(self._next_place(), wire.encode(message)), self._file(delivery))
        self._put_back(delivery, "0")

    def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return _lost(deliveries, lambda delivery: self._renew(self._file(delivery)))

    def started(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return _lost(deliveries, self._mark)

    def _mark(self, delivery: Delivery) -> None:
        marked = delivery.receipt.removesuffix(",S") + ",S"
        os.rename(self._file(delivery), self.path / "cur" / marked)
        delivery.receipt = marked

    def _file(self, delivery: Delivery) -> Path:
        return self.path / "cur" / str(delivery.receipt)

    def _renew(self, path: Path) -> None:
        until = self.now() + self.lease
        os.utime(path, (until, until))

    def _put_back(self, delivery: Delivery, deaths: str) -> None:
        place = delivery.receipt.split(",")[0]
        os.rename(self._file(delivery), self.path / "new" / f"{place},{deaths}")

    # -- looked at

    def waiting(self) -> list[str]:
        """The names of what waits. What is no regular file, or not named as ours are, is left alone."""
        found = os.scandir(self.path / "new")
        return [one.name for one in found if _WAITING.fullmatch(one.name) and one.is_file(follow_symlinks=False)]

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Some of what waits, in order, from behind this name on."""
        names = heapq.nsmallest(limit, (name for name in self.waiting() if name > after))
        return [(name, self._read(name)) for name in names]

    def _read(self, name: str) -> bytes:
        """Empty when it was taken meanwhile."""
        with suppress(FileNotFoundError):
            return (self.path / "new" / name).read_bytes()
        return b""

    def stats(self) -> QueueStats:
        names, age = self.waiting(), None
        oldest = wire.delivery_of(self._read(min(names)), None).expect() if names else None
        if oldest is not None and (time := oldest.time.timestamp()) > 0:  # an event may come without one
            age = max(0.0, self.now() - time)
        dead = self.path.with_name(f"{self.path.name}.dead")
        letters = sum(len(os.listdir(dead / state)) for state in ("new", "cur") if (dead / state).is_dir())
        return QueueStats(len(names), len(os.listdir(self.path / "cur")), delayed=0, dead=letters, oldest_age=age)


def _lost(deliveries: Sequence[Delivery], settle: Callable[[Delivery], object]) -> list[Delivery]:
    """A receipt is a file's name. Whoever took the delivery over has renamed the file, and ours names nothing."""
    lost = []
    for delivery in deliveries:
        try:
            settle(delivery)
        except FileNotFoundError:
            lost.append(delivery)
    return lost


def _sync(directory: Path) -> None:
    """A new name is on the disk once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
