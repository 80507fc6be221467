"""The detached task that owns everything between open and stop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio
import anyio.abc
from attrs import asdict, frozen

from queues.base import MessageQueue, name_of
from queues.clock import Clock
from queues.errors import ConfigurationError, QueueUnavailable
from queues.fallback import FallbackQueue, Letterbox
from workers.deadline import until
from workers.outcome import describe
from workers.pool import Pool

from .assembly import complete
from .ladder import Ladder
from .offloop import Soon
from .report import StopReport
from .sender import Sender

log: Final = logging.getLogger("notification.dispatcher")

_BEGIN_AGAIN = 1.0
"""Seconds until workers that could not begin are tried again."""


@frozen
class Start:
    """Begin to consume: a pool to be built on the opened queue, and who waits for it.

    check: raises ConfigurationError when the opened queue can't do what the handlers need.
    """

    make: Callable[[MessageQueue, MessageQueue], Pool]
    check: Callable[[MessageQueue], None]
    letters: Letterbox
    started: asyncio.Future[None]


class Service:
    """Opened queue, sender and, once asked for, the pool. anyio's scopes must be left in the task that entered them,
    and a web server's start-up and shut-down are different tasks: so they all live in one of our own.
    """

    def __init__(self, queue: MessageQueue, ladder: Ladder) -> None:
        self.clock: Clock = ladder.clock
        self._ladder = ladder
        self.letters: Letterbox | None = _letters_of(queue, ladder)
        self.queue: MessageQueue = ladder.around(queue, self.letters)
        self.fallback: FallbackQueue | None = self.queue if isinstance(self.queue, FallbackQueue) else None
        self.dead: MessageQueue | None = None
        self.starting: bool = False
        """Workers were asked for, and begin when the queue is there."""
        self.pool: Pool | None = None
        self.sender: Sender
        self.soon: Soon
        self.closing: bool = False
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.pid: int = os.getpid()
        self._commands: asyncio.Queue[Start | None] = asyncio.Queue()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._grace = 0.0
        self._task = asyncio.create_task(self._live(), name="notification-dispatcher")
        self._task.add_done_callback(self._say_how_it_ended)

    # -- asked from any task

    async def opened(self) -> None:
        """Wait until the queue is open; raises what opening raised."""
        try:
            await _first_of(self._opened, self._task)
        except asyncio.CancelledError:
            if not self._opened.done():
                self._task.cancel()
            raise
        if self._task.done():
            await self._task
        await self._opened

    async def consume(
        self,
        letters: Letterbox,
        make: Callable[[MessageQueue, MessageQueue], Pool],
        check: Callable[[MessageQueue], None],
    ) -> None:
        """Open the dead letters and start the pool; later, if the queue is down and there is a spill."""
        request = Start(make, check, letters, asyncio.get_running_loop().create_future())
        self._commands.put_nowait(request)
        await _first_of(request.started, self._task)
        if request.started.done():
            await request.started
        else:
            await self._task

    async def stop(self, grace: float) -> StopReport:
        """End in order within `grace` seconds. Idempotent: all callers get the same report, or the failure."""
        if not self._task.done() and not self.closing:
            self.closing = True
            self._grace = grace
            if self.pool is not None:
                log.info("stopping within %g s", grace, extra={"queue": name_of(self.queue)})
            self._commands.put_nowait(None)
        return await asyncio.shield(self._task)

    @property
    def is_open(self) -> bool:
        """Whether the queue was opened, or a spill stands in for it."""
        return self._opened.done()

    @property
    def goes_on(self) -> bool:
        """Whether dispatch works even while the queue takes no events."""
        spills = self.fallback is not None and self.fallback.has_room
        return spills or self._ladder.degradation.inline

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self._task.done()

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if it was not `stop()`."""
        if not self._task.done():
            return None
        return asyncio.CancelledError() if self._task.cancelled() else self._task.exception()

    async def ended(self, *, or_when: asyncio.Future[Any]) -> None:
        """Wait for the end, whatever it is, or for something else."""
        await _first_of(self._task, or_when)

    # -- in the task

    async def _live(self) -> StopReport:
        async with AsyncExitStack() as stack:
            if self.letters is not None:
                stack.push_async_callback(self.letters.close)
            await self.queue.open()
            if self.fallback is None:
                self.queue = complete(self.queue)
            stack.push_async_callback(self.queue.close)
            self.sender = self._ladder.sender(self.queue, self.fallback, lambda: self.pool)
            self.soon = Soon(asyncio.get_running_loop(), self.sender.send_all)
            async with anyio.create_task_group() as group:
                group.start_soon(self.sender.run)
                self._opened.set_result(None)
                while (command := await self._commands.get()) is not None:
                    await self._start(command, stack, group)
                await self._wind_up()
                group.cancel_scope.cancel()
            left = await self._left_behind()
            spilled = 0 if self.fallback is None else _left_in(self.fallback)
        return self._report(left, spilled)

    async def _start(self, command: Start, stack: AsyncExitStack, group: anyio.abc.TaskGroup) -> None:
        self.starting = True
        if self.letters is not command.letters:
            stack.push_async_callback(command.letters.close)
        if self.fallback is not None and not self.fallback.reached:
            log.warning("workers begin when %s is there", name_of(self.queue), extra={"queue": name_of(self.queue)})
            group.start_soon(self._start_later, self.fallback, command, group)
            command.started.set_result(None)
            return
        try:
            await self._begin(command, group)
        except Exception as error:  # noqa: BLE001 - told to who asked; the dispatcher goes on without a pool
            self.starting = False
            command.started.set_exception(error)
        else:
            command.started.set_result(None)

    async def _start_later(self, fallback: FallbackQueue, command: Start, group: anyio.abc.TaskGroup) -> None:
        """What is set up wrong ends the dispatcher: nobody waits for it any more who could be told."""
        await fallback.when_reached()
        while True:
            try:
                await self._begin(command, group)
            except QueueUnavailable:
                await self.clock.sleep(_BEGIN_AGAIN)
            else:
                return

    async def _begin(self, command: Start, group: anyio.abc.TaskGroup) -> None:
        command.check(self.queue)
        await self.queue.begin()
        self.dead = await command.letters.opened()
        self.pool = command.make(self.queue, self.dead)
        group.start_soon(self.pool.run)
        queue, workers = name_of(self.queue), len(self.pool.workers)
        log.info("consuming %s with %d workers", queue, workers, extra={"queue": queue, "workers": workers})

    async def _wind_up(self) -> None:
        deadline = self.clock.monotonic() + self._grace
        with until(self.clock, deadline):
            await self.soon.drained()
        if self.pool is not None:
            self.pool.stop(max(0.0, deadline - self.clock.monotonic()))
            await self.pool.ended.wait()
        with until(self.clock, deadline):
            await self.sender.drained()
            if self.fallback is not None:
                await self.fallback.replayed()

    async def _left_behind(self) -> int:
        """What an in-process queue still holds is gone after this: say so."""
        every = [await queue.stats() for queue in self.queue.volatile()]
        left = sum(stats.waiting + (stats.delayed or 0) for stats in every)
        if left and self.pool is not None:
            log.error(
                "%d events were still in the in-process queue and are lost; a durable queue keeps them",
                left, extra={"queue": name_of(self.queue), "lost": left},
            )  # fmt: skip
        return left

    def _report(self, left: int, spilled: int) -> StopReport:
        if self.pool is None:
            return StopReport(abandoned=left, spilled=spilled)
        counts = self.pool.settler.counts
        return StopReport(
            counts.handled, counts.retried, counts.dead, counts.released,
            abandoned=self.pool.abandoned + left, spilled=spilled,
        )  # fmt: skip

    def _say_how_it_ended(self, task: asyncio.Task[StopReport]) -> None:
        """An end that nobody asked for would else be seen only by who stops the dispatcher, perhaps much later."""
        extra: dict[str, object] = {"queue": name_of(self.queue)}
        if task.cancelled() or not self._opened.done():
            return
        if (error := task.exception()) is not None:
            log.error("the dispatcher has failed: %s", describe(error), exc_info=error, extra=extra)
        elif self.pool is not None:
            counts = asdict(task.result())
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            log.info("stopped: %s", told, extra=extra | counts)


def _letters_of(queue: MessageQueue, ladder: Ladder) -> Letterbox | None:
    """Where a degradation leaves what nobody takes; None: it needs no place, or keeps them where they are."""
    told = ladder.degradation
    if told.spill is None and told.on_full != "drop_oldest":
        return None
    try:
        return ladder.letterbox(queue)
    except ConfigurationError:
        if told.spill is None:
            raise
        return None


def _left_in(fallback: FallbackQueue) -> int:
    """What is still spilled waits for the next process: say so."""
    if spilled := fallback.spilled:
        log.warning(
            "%d events are left in the spill %s; they go to %s when a process that uses both is started",
            spilled, fallback.spill_path, name_of(fallback), extra={"queue": name_of(fallback), "spilled": spilled},
        )  # fmt: skip
    return spilled


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def check_workers(workers: int) -> None:
    """Raise ConfigurationError for a number of workers that makes no sense."""
    if not isinstance(workers, int) or isinstance(workers, bool) or not 0 <= workers <= 10_000:
        raise ConfigurationError(f"start(workers={workers!r}): a number from 0 (only dispatch) to 10000")
