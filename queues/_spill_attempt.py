"""One try to push to a queue that may not answer: waiting for it ends, the try goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .base import MessageQueue
from .clock import Clock
from .errors import PushFailed, QueueError, QueueUnavailable, escape
from .message import Message


class Attempt:
    """A push under way. `errors`: once it has ended, why some of its messages were not stored, by index."""

    def __init__(self, queue: MessageQueue, messages: Sequence[Message], room: float | None, clock: Clock) -> None:
        """room: seconds to wait for room in the queue, as in `push`."""
        self.messages = messages
        self.began = clock.monotonic()
        self._clock = clock
        self._ended: asyncio.Future[None] | None = None
        self._task = asyncio.ensure_future(_pushed(queue, messages, room))

    async def answered(self, within: float | None) -> bool:
        """Wait so many seconds, None: for ever; whether it has ended. Cancel-safe."""
        task = self._task
        if task.done():
            return True
        ended = self._ended = asyncio.get_running_loop().create_future()
        task.add_done_callback(self._end)
        alarm = None
        if within is not None:
            alarm = self._clock.call_at(self._clock.monotonic() + within, lambda: self._end(task))
        try:
            await ended
        finally:
            self._ended = None
            if alarm is not None:
                alarm.cancel()
        return task.done()

    def _end(self, _: object) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    @property
    def errors(self) -> dict[int, QueueError]:
        """{}: all are stored. While it has not ended, nobody knows."""
        if not self._task.done() or self._task.cancelled():
            unknown = QueueUnavailable("the queue gave no answer in time", may_have_been_stored=True)
            return dict.fromkeys(range(len(self.messages)), unknown)
        return self._task.result()

    def give_up(self) -> None:
        """End it; what became of it stays unknown."""
        self._task.cancel()


async def _pushed(queue: MessageQueue, messages: Sequence[Message], room: float | None) -> dict[int, QueueError]:
    try:
        await queue.push_many(messages, timeout=room)
    except PushFailed as failed:
        return failed.errors
    except QueueError as error:
        return dict.fromkeys(range(len(messages)), error)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; an outage has many faces
        text = f"push failed: {type(error).__name__}: {escape(str(error))}"
        return dict.fromkeys(range(len(messages)), QueueUnavailable(text, may_have_been_stored=True))
    return {}
