"""A queue that does what a test says: takes events, refuses them, or gives no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from queues.base import NO_CAPABILITY, Capability, MessageQueue
from queues.errors import PushFailed, QueueError, QueueFull, QueueUnavailable, Unsupported
from queues.message import Delivery, Message

AWAY = QueueUnavailable("the cable is out")
LOST = QueueUnavailable("the answer was lost", may_have_been_stored=True)


class Scripted(MessageQueue):
    """`stored`: ids in the order in which they came in. Set any attribute at any time.

    answer: what a push raises, None: nothing. silent: a push gives no answer while this is set; then it goes on.
    refused: ids that are never taken. tries: of each push the ids, whatever became of it.
    """

    def __init__(self, capacity: int | None = None, capabilities: Capability = NO_CAPABILITY) -> None:
        self.capacity, self.capabilities = capacity, capabilities
        self.answer: QueueError | None = None
        self.open_answer: QueueError | None = None
        self.refused: set[str] = set()
        self.stored: list[str] = []
        self.messages: list[Message] = []
        self.tries: list[list[str]] = []
        self.opened = self.closed = 0
        self.on_push: Callable[[], object] = lambda: None
        self._loud = asyncio.Event()
        self._loud.set()

    @property
    def silent(self) -> bool:
        return not self._loud.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        (self._loud.clear if silent else self._loud.set)()

    async def open(self) -> None:
        self.opened += 1
        await self._loud.wait()
        if self.open_answer is not None:
            raise self.open_answer

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        await self.push_many([message], timeout=timeout)

    async def push_many(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        self.tries.append([message.id for message in messages])
        self.on_push()
        await self._loud.wait()
        if self.answer is not None:
            raise self.answer
        errors: dict[int, QueueError] = {}
        for index, message in enumerate(messages):
            if message.id in self.refused:
                errors[index] = Unsupported("never")
            elif self.capacity is not None and len(self.messages) >= self.capacity:
                errors |= dict.fromkeys(range(index, len(messages)), QueueFull("no room"))
                break
            else:
                self.stored.append(message.id)
                self.messages.append(message)
        if errors:
            raise PushFailed(errors)

    async def pop(self) -> Delivery:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def size(self) -> int:
        if self.answer is not None:
            raise self.answer
        return len(self.messages)

    async def close(self) -> None:
        self.closed += 1
