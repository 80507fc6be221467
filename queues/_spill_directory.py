"""A spill: a directory in which each process owns one file, and drains those that nobody owns any more."""

from __future__ import annotations

import logging
import re
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

import attrs

from ._spill_file import SpillFile
from ._spill_lock import FileLock
from .base import MessageQueue, name_of
from .clock import Clock
from .errors import ConfigurationError, NotificationError

log: Final = logging.getLogger("notification.queues")

CAPACITY = 100_000
"""Events that the spill of one process holds, when nothing else was said."""


@attrs.frozen
class SpillSettings:
    """directory: made if it is not there. capacity: the most events in the file of one process."""

    directory: Path
    capacity: int = CAPACITY

    @classmethod
    def read(cls, spill: str | Path) -> SpillSettings:
        """`/var/spool/orders`, or `/var/spool/orders?capacity=50000`. Raises ConfigurationError."""
        if isinstance(spill, Path):
            return cls(spill)
        path, _, options = spill.partition("?")
        name, _, value = options.partition("=")
        if not path or "\0" in path or (options and (name != "capacity" or not re.fullmatch(r"[1-9]\d{0,9}", value))):
            raise ConfigurationError(
                f"spill={spill!r} is no directory: write a path, or a path and its bound in events, "
                "as in '/var/spool/orders?capacity=50000'"
            )
        return cls(Path(path), int(value) if value else CAPACITY)


class SpillDirectory:
    """`own` is the file of this process; `others` are those it has found without an owner and not drained yet.

    Files carry the name of their queue: what was dispatched to one queue is never replayed to another.
    """

    def __init__(self, settings: SpillSettings, queue: MessageQueue, clock: Clock) -> None:
        self.path: Path = settings.directory.absolute()
        self.capacity: int = settings.capacity
        self.own: SpillFile
        self.others: list[SpillFile] = []
        self._queue, self._clock = queue, clock
        self._left_alone: set[Path] = set()

    @property
    def count(self) -> int:
        """Events in the files that are ours."""
        return self.own.count + sum(file.count for file in self.others)

    @property
    def letters(self) -> int:
        """Dead letters in the files that are ours."""
        return self.own.letters + sum(file.letters for file in self.others)

    async def open(self) -> None:
        """Make our file and take over those that nobody owns. Raises ConfigurationError where that can't be."""
        prefix = self._prefix()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.path / f"{prefix}{self._next_number():08d}-{secrets.token_hex(6)}.db"
            lock = FileLock.taken(path.with_suffix(".lock"))
        except OSError as error:
            raise ConfigurationError(
                f"spill={str(self.path)!r} can't be written: {error.strerror}; name a directory that is ours"
            ) from error
        assert lock is not None, "a name that nobody else has"
        self.own = SpillFile(path, lock, self._clock, self.capacity)
        try:
            await self.own.open()
        except NotificationError as error:
            lock.release(remove=True)
            raise ConfigurationError(f"spill={str(self.path)!r} can't be used: {error}") from error
        except BaseException:
            lock.release(remove=True)
            raise
        try:
            await self.adopt()
            await self._tell_of_strangers()
        except BaseException:
            await self.close()
            raise

    async def adopt(self) -> None:
        """Take over the files of this queue whose owner is gone, the oldest first: one may have followed another."""
        for path in self._files():
            if path not in self._left_alone and (file := await self._opened(path)) is not None:
                self.others.append(file)

    async def drained(self, file: SpillFile) -> None:
        """This one has no events left; with dead letters that could not be written it stays for another time."""
        self.others.remove(file)
        if file.letters:
            self._left_alone.add(file.path)
        await file.close()

    async def close(self) -> None:
        """Let go of all files; those with something in them stay."""
        for file in (*self.others, self.own):
            await file.close()

    def _files(self) -> list[Path]:
        """Of this queue, in the order in which they were made; also where only the lock is left."""
        return sorted({path.with_suffix(".db") for path in self.path.glob(f"{self._prefix()}*.*")})

    def _next_number(self) -> int:
        numbers = [path.name.removeprefix(self._prefix()).partition("-")[0] for path in self._files()]
        return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1

    def _prefix(self) -> str:
        name, identity = identity_of(self._queue)
        return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-{blake2b(identity.encode(), digest_size=5).hexdigest()}-"

    async def _opened(self, path: Path) -> SpillFile | None:
        """This file, if nobody owns it; a damaged one is told of once."""
        if (lock := _lock_of(path)) is None:
            return None
        file = SpillFile(path, lock, self._clock, self.capacity)
        try:
            await file.open()
        except NotificationError as error:
            damage = error
        else:
            return file
        file.leave()
        self._left_alone.add(path)
        log.error("the spill file %s can't be read and stays as it is: %s", path, damage, extra={"path": str(path)})
        return None

    async def _tell_of_strangers(self) -> None:
        """Files of other queues that nobody owns: perhaps this queue has moved, and they are forgotten."""
        prefix = self._prefix()
        for path in sorted(self.path.glob("*.db")):
            if path.name.startswith(prefix) or (file := await self._opened(path)) is None:
                continue
            if file.count:
                log.warning(
                    "%d events in %s are for another queue than %s, and no process with that queue uses the spill; "
                    "`notification move --from 'sqlite:///%s?order=none' --to URL` sends them where they belong",
                    file.count, path, name_of(self._queue), path, extra={"path": str(path), "spilled": file.count},
                )  # fmt: skip
            await file.close()


def _lock_of(path: Path) -> FileLock | None:
    """The lock of a file that nobody owns."""
    try:
        lock = FileLock.taken(path.with_suffix(".lock"))
    except OSError:
        return None
    if lock is not None and not path.exists():  # drained and removed while we looked
        lock.release(remove=True)
        return None
    return lock


def identity_of(queue: MessageQueue) -> tuple[str, str]:
    """The name of a queue, and a text that tells it from all others: where it is, not how it is reached or used."""
    while queue.url is None and isinstance(inner := getattr(queue, "inner", None), MessageQueue):
        queue = inner
    url = queue.url
    if url is None:
        return type(queue).__name__, type(queue).__name__
    return url.name, f"{url.scheme}://{','.join(url.hosts)}{url.path}?queue={url.name}"
