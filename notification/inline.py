"""The last step of the ladder: an event that no queue takes is handled where it was dispatched, at once and once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import anyio
from attrs import frozen

from queues.clock import Clock
from queues.errors import QueueError, QueueFull, QueueUnavailable
from queues.fallback import SpillFull
from queues.message import Delivery, Message
from workers.deadline import until
from workers.desk import Desk
from workers.lanes import Lanes
from workers.outcome import describe
from workers.pool import in_handler
from workers.threads import WorkerThread

from .degradation import Degradation
from .handlers import Step
from .routing import Router
from .sender import Answer, Sender


@frozen
class Inline:
    """Runs the handlers of this process. lanes: those of the pool, or our own while there is none."""

    router: Router
    clock: Clock
    lanes: Callable[[], Lanes]

    def takes(self, message: Message) -> bool:
        """Whether it is due and somebody here handles it."""
        due = message.not_before is None or message.not_before <= self.clock.now()
        return due and bool(self.router.route(message.type).steps)

    async def run(self, message: Message, timeout: float | None) -> bool:
        """Handle it in its key's turn, waited for so many seconds. False: the turn did not come, nothing ran.

        Inside a handler it does not wait: that handler may be the one that is waited for. All handlers run, one after
        another; then it raises what one of them raised, or an ExceptionGroup when several failed.
        """
        lanes, guest = self.lanes(), Delivery(message)
        if not await self._turn(lanes, guest, timeout):
            return False
        try:
            await self._handle(guest)
        finally:
            lanes.leave(guest)
        return True

    async def _turn(self, lanes: Lanes, guest: Delivery, seconds: float | None) -> bool:
        waits = not in_handler.get() and (seconds is None or seconds > 0)
        if not waits or seconds is None:
            return await lanes.turn(guest, wait=waits)
        with until(self.clock, self.clock.monotonic() + seconds):
            return await lanes.turn(guest)
        return False

    async def _handle(self, guest: Delivery) -> None:
        message, errors = guest.expect(), list[Exception]()
        desk = Desk(WorkerThread("notification-inline"), delivery=guest)
        inside = in_handler.set(True)
        try:
            for step in self.router.route(message.type).pick(message):
                try:
                    await self._run(step, guest, desk)
                except Exception as error:  # noqa: BLE001 - a handler may raise anything; the others run all the same
                    error.add_note(f"raised by handler {step.name}, run inline for event {message.id}")
                    errors.append(error)
        finally:
            in_handler.reset(inside)
            desk.thread.close()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} handlers failed on event {message.id}, run inline", errors)

    async def _run(self, step: Step, guest: Delivery, desk: Desk) -> None:
        """One handler under its timeout. A plain function can't be cut off: its end is waited for."""
        argument = step.argument(guest.expect())
        desk.begin(step.name, step.timeout)
        with anyio.CancelScope() as desk.scope:
            alarm = self.clock.call_at(self.clock.monotonic() + step.timeout, partial(_overdue, desk))
            try:
                await step.invoke(argument, guest, desk)
            finally:
                alarm.cancel()
                desk.end()
        if desk.scope.cancelled_caught:
            raise TimeoutError(f"handler {step.name!r} took longer than {step.timeout:g} s")


def _overdue(desk: Desk) -> None:
    if desk.threaded:
        desk.overdue = True
    else:
        desk.scope.cancel()


class InlineSender:
    """A sender around a sender: what that does not get rid of is handled here, where the degradation says so."""

    def __init__(self, inner: Sender, inline: Inline, degradation: Degradation) -> None:
        self._inner, self._inline, self._degradation = inner, inline, degradation
        self._under_way: set[asyncio.Future[None]] = set()
        self._ended = False

    @property
    def waiting(self) -> int:
        return self._inner.waiting + len(self._under_way)

    async def send(self, message: Message, timeout: float | None) -> str | None:
        error: QueueError
        try:
            return await self._inner.send(message, timeout)
        except (QueueFull, QueueUnavailable) as raised:
            error = raised
        if not await self._handled(message, error, timeout):
            raise error
        return "inline"

    async def send_all(self, messages: Sequence[Message], timeout: float | None) -> list[Answer]:
        answers = await self._inner.send_all(messages, timeout)
        for index, answer in enumerate(answers):
            if isinstance(answer, QueueFull | QueueUnavailable):
                answers[index] = await self._answer(messages[index], answer, timeout)
        return answers

    async def _answer(self, message: Message, error: QueueError, timeout: float | None) -> Answer:
        try:
            return "inline" if await self._handled(message, error, timeout) else error
        except Exception as raised:  # noqa: BLE001 - the answer of one; the others have to be asked, too
            return raised

    async def _handled(self, message: Message, error: QueueError, timeout: float | None) -> bool:
        if self._ended or not self._steps_in(error) or not self._inline.takes(message):
            return False
        over = asyncio.get_running_loop().create_future()
        self._under_way.add(over)
        try:
            return await self._inline.run(message, timeout)
        finally:
            self._under_way.discard(over)
            over.set_result(None)

    def _steps_in(self, error: QueueError) -> bool:
        if isinstance(error, SpillFull):
            return True
        return self._degradation.on_full == "inline" if isinstance(error, QueueFull) else self._degradation.inline

    async def run(self) -> None:
        try:
            await self._inner.run()
        except asyncio.CancelledError:
            self._ended = True  # whom that left without an answer hears of it, and nothing is handled any more
            raise

    async def drained(self) -> None:
        await self._inner.drained()
        while self._under_way:
            await asyncio.wait(set(self._under_way))


def as_queue_error(error: Exception) -> QueueError:
    """What a handler that ran inline has raised, as one error among those of a batch."""
    if isinstance(error, QueueError):
        return error
    failed = QueueError(f"the queue did not take it, and handling it inline failed: {describe(error)}")
    failed.__cause__ = error
    return failed
