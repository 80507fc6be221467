"""A place to move messages to, which refuses those it is told to refuse."""

from __future__ import annotations

from collections.abc import Container

from ..base import MessageQueue
from ..errors import QueueUnavailable, Unsupported
from ..message import Delivery, Message


class Collector(MessageQueue):
    """Keeps what is pushed in `messages`; refuses ids in `refuses` with QueueUnavailable."""

    def __init__(self, refuses: Container[str] = ()) -> None:
        self.messages: list[Message] = []
        self._refuses = refuses

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        if message.id in self._refuses:
            raise QueueUnavailable(f"{message.id} is refused, as the test wants")
        self.messages.append(message)

    async def pop(self) -> Delivery:
        raise Unsupported("what was moved here is looked at in `messages`")

    async def size(self) -> int:
        return len(self.messages)

    async def close(self) -> None:
        """Nothing to let go of."""
