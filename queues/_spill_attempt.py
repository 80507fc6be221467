"""Pushing to a queue that may not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import anyio

from .base import MessageQueue
from .clock import Clock
from .errors import PushFailed, QueueError, QueueUnavailable, escape
from .message import Message


async def pushed(
    queue: MessageQueue, messages: Sequence[Message], room: float | None, within: float | None, clock: Clock
) -> dict[int, QueueError]:
    """Why some of these were not stored, by index. room: seconds to wait for room in the queue, as in `push`; within:
    seconds to wait for an answer, None: for ever. Then the push is cancelled, and its fate unknown.
    """
    with anyio.CancelScope() as scope:
        alarm = None if within is None else clock.call_at(clock.monotonic() + within, scope.cancel)
        try:
            return await _pushed(queue, messages, room)
        finally:
            if alarm is not None:
                alarm.cancel()
    return _unknown(messages)


class Attempt:
    """A push that goes on when nobody waits for it any more. `errors`: once it has ended, why some of its messages were
    not stored, by index.
    """

    def __init__(self, queue: MessageQueue, messages: Sequence[Message], room: float | None, clock: Clock) -> None:
        """room: seconds to wait for room in the queue, as in `push`."""
        self.messages: Sequence[Message] = messages
        self.began: float = clock.monotonic()
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
    def errors(self) -> dict[int, QueueError]:
        """{}: all are stored. While it has not ended, nobody knows."""
        if not self._task.done() or self._task.cancelled():
            return _unknown(self.messages)
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


def _unknown(messages: Sequence[Message]) -> dict[int, QueueError]:
    unknown = QueueUnavailable("the queue gave no answer in time", may_have_been_stored=True)
    return dict.fromkeys(range(len(messages)), unknown)
