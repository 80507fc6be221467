"""What every queue in Redis has in common: its options, its keys, its life between open and close, and its way in."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, TypeGuard

import attrs

from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_list_intake import Intake
from ._redis_server import Server, ServerOptions
from .base import MessageQueue, name_of
from .errors import ConfigurationError, PushFailed, QueueClosed, QueueError
from .message import Delivery, Message
from .url import DEAD, Seconds

log: Final = logging.getLogger("notification.queues")
_THIRTY = Seconds(30)


@attrs.frozen(kw_only=True)
class RedisOptions(ServerOptions):
    """lease: seconds after which what a silent process had goes to others. capacity: the most waiting events.

    dedup: seconds in which an id is not stored a second time.
    """

    lease: Seconds = _THIRTY
    capacity: int | None = None
    dedup: Seconds | None = None


class RedisQueue(MessageQueue):
    """Two connections, made when they are needed: one to push, one for what must not wait for pushes.

    A form of it says what begins when it is opened and how it ends, and its capabilities.
    """

    _intake_of: ClassVar[type[Intake]] = Intake
    _length: ClassVar[str] = "LLEN"
    """The command that counts what is under its name, and fails where that is something else."""
    _left: ClassVar[str] = "what was not settled comes back after its lease"
    """What is to be said when nothing can be handed back."""

    def __init__(self, server: Server, name: str, options: RedisOptions) -> None:
        for option in ("lease", "capacity"):
            if (value := getattr(options, option)) is not None and value <= 0:
                raise ConfigurationError(f"?{option}={value:g} must be more than 0")
        self.lease: float | None = options.lease
        self.capacity: int | None = options.capacity
        self._server, self._options = server, options
        self._keys, self._dead = Keys.of(name), Keys.of(f"{name}.{DEAD}")
        self._state = "not open yet"

    # -- life

    async def open(self) -> None:
        if self._state == "open":
            return
        if self._state != "not open yet":
            raise QueueClosed(f"{self._server.name} is closed; make a new queue to use it again")
        self._pushes, self._settles = Link(self._server), Link(self._server)
        try:
            await self._pushes.open((self._length, self._keys.waiting))
            await self._begin()
        except BaseException:
            await self._pushes.close()
            raise
        self._intake = self._intake_of(
            self._pushes, self._keys, self.clock, capacity=self.capacity, dedup=self._options.dedup or 0.0
        )
        self._state = "open"

    async def close(self) -> None:
        was_open, self._state = self._state == "open", "closed"
        if not was_open:
            return
        self._intake.closed = True
        try:
            await self._end()
        except QueueError as error:
            log.warning("%s: %s", self._left, error, extra={"queue": name_of(self)})
        for link in (self._pushes, self._settles):
            await link.close()

    @abstractmethod
    async def _begin(self) -> None:
        """Make what consuming needs; the server was reached, and nothing else is under the name."""

    @abstractmethod
    async def _end(self) -> None:
        """Wake who waits, and hand back what is not settled. A QueueError is told as a warning."""

    def _check_open(self) -> None:
        if self._state != "open":
            raise QueueClosed(f"{self._server.name} is {self._state}")

    def _is_beside(self, other: MessageQueue) -> TypeGuard[RedisQueue]:
        """Whether one script reaches both: open, of one kind, on one server and slot."""
        return (
            isinstance(other, RedisQueue)
            and type(other) is type(self)
            and other._state == "open"
            and other._server.name == self._server.name
            and other._server.database == self._server.database
            and other._keys.slot == self._keys.slot
        )

    # -- in and out

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store([message], timeout):
            raise errors[0]

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self._check_open()
        if errors := await self._intake.store(messages, timeout):
            raise PushFailed(errors)

    async def pop(self) -> Delivery:
        while not (batch := await self.pop_many(1)):
            pass
        return batch[0]
