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

from queues.base import Capability, MessageQueue, name_of
from queues.clock import Clock
from queues.errors import ConfigurationError
from workers.deadline import until
from workers.outcome import describe
from workers.pool import Pool

from .assembly import complete
from .offloop import Soon
from .report import StopReport
from .sender import BatchSender, DirectSender, Sender

log: Final = logging.getLogger("notification.dispatcher")


@frozen
class Start:
    """Begin to consume: a pool to be built on the opened queue, and who waits for it."""

    make: Callable[[MessageQueue, MessageQueue], Pool]
    dead: MessageQueue
    started: asyncio.Future[None]


class Service:
    """Opened queue, sender and, once asked for, the pool. anyio's scopes must be left in the task that entered them,
    and a web server's start-up and shut-down are different tasks: so they all live in one of our own.
    """

    def __init__(self, queue: MessageQueue, clock: Clock) -> None:
        self.queue: MessageQueue = queue
        self.dead: MessageQueue | None = None
        self.clock: Clock = clock
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

    async def consume(self, dead: MessageQueue, make: Callable[[MessageQueue, MessageQueue], Pool]) -> None:
        """Open the dead letters and start the pool."""
        request = Start(make, dead, asyncio.get_running_loop().create_future())
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
            await self.queue.open()
            self.queue = complete(self.queue)
            stack.push_async_callback(self.queue.close)
            local = Capability.LOCAL in self.queue.capabilities
            self.sender = DirectSender(self.queue, self.clock) if local else BatchSender(self.queue, self.clock)
            self.soon = Soon(asyncio.get_running_loop(), self.sender.send_all)
            async with anyio.create_task_group() as group:
                group.start_soon(self.sender.run)
                self._opened.set_result(None)
                while (command := await self._commands.get()) is not None:
                    await self._start(command, stack, group)
                await self._wind_up()
                group.cancel_scope.cancel()
            left = await self._left_behind() if local else 0
        return self._report(left)

    async def _start(self, command: Start, stack: AsyncExitStack, group: anyio.abc.TaskGroup) -> None:
        try:
            await self.queue.begin()
            await command.dead.open()
            stack.push_async_callback(command.dead.close)
            self.dead = command.dead
            self.pool = command.make(self.queue, command.dead)
        except Exception as error:  # noqa: BLE001 - told to who asked; the dispatcher goes on without a pool
            command.started.set_exception(error)
            return
        group.start_soon(self.pool.run)
        command.started.set_result(None)
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

    async def _left_behind(self) -> int:
        """What an in-process queue still holds is gone after this: say so."""
        stats = await self.queue.stats()
        left = stats.waiting + (stats.delayed or 0)
        if left and self.pool is not None:
            log.error(
                "%d events were still in the in-process queue and are lost; a durable queue keeps them",
                left, extra={"queue": name_of(self.queue), "lost": left},
            )  # fmt: skip
        return left

    def _report(self, left: int) -> StopReport:
        if self.pool is None:
            return StopReport(abandoned=left)
        counts = self.pool.settler.counts
        return StopReport(
            counts.handled, counts.retried, counts.dead, counts.released, abandoned=self.pool.abandoned + left
        )

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


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def check_workers(workers: int) -> None:
    """Raise ConfigurationError for a number of workers that makes no sense."""
    if not isinstance(workers, int) or isinstance(workers, bool) or not 0 <= workers <= 10_000:
        raise ConfigurationError(f"start(workers={workers!r}): a number from 0 (only dispatch) to 10000")
