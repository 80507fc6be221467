"""The pool: three roles, one direction (fetch, workers, settle), and the order in which they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Final

import anyio
from attrs import frozen

from queues.base import Capability, MessageQueue
from queues.clock import Clock
from queues.message import Delivery, Message

from .deadline import StallWatch, Watchdog, until
from .desk import Desk, Handling
from .fetch import Fetcher
from .inbox import Inbox
from .lanes import KeyOf
from .lease import Held, LeaseKeeper
from .settle import Settler
from .suspect import Suspects
from .threads import WorkerThread
from .worker import Floor, Worker

log: Final = logging.getLogger("notification.workers")

in_handler: ContextVar[bool] = ContextVar("notification_in_handler", default=False)
"""Whether this code runs inside a handler. Waiting there for a full queue to empty would be waiting for oneself."""


@frozen(kw_only=True)
class PoolSettings:
    """workers: events at a time. prefetch: most deliveries ready ahead. timeout: the shortest handler timeout, seconds.
    hold: the longest wait of a keyed retry in its lane, seconds. key_of: the key of a message that has to be in order.
    mark: adds to the dead letter of a delivery where it died.
    """

    workers: int
    prefetch: int
    timeout: float
    hold: float
    key_of: KeyOf
    mark: Callable[[Delivery, Message], Message]


class Pool:
    """N workers on one queue. `run()` lives until `stop()`; then `ended` is set."""

    def __init__(
        self, queue: MessageQueue, dead: MessageQueue, handling: Handling, clock: Clock, settings: PoolSettings
    ) -> None:
        self._queue, self._clock = queue, clock
        self.held: Held = Held()
        self.inbox: Inbox = Inbox(clock, settings.key_of)
        self.settler: Settler = Settler(
            queue, dead, self.inbox.lanes, self.held, clock,
            hold=settings.hold, mark=settings.mark, progress=self._progress,
        )  # fmt: skip
        self.fetcher: Fetcher = Fetcher(
            queue, self.inbox, self.held, self.settler, clock, workers=settings.workers, prefetch=settings.prefetch
        )
        floor = Floor(queue, self.inbox, self.settler, self.held, Suspects(), clock)
        threads = [WorkerThread(f"notification-worker-{number}") for number in range(1, settings.workers + 1)]
        self.workers: list[Worker] = [Worker(Desk(thread), handling, floor) for thread in threads]
        self._desks = [worker.desk for worker in self.workers]
        self._watchdog = Watchdog(self._desks, clock, settings.timeout)
        self._tasks: dict[asyncio.Task[object], Desk] = {}
        self._fetching = anyio.CancelScope()
        self._background = anyio.CancelScope()
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved: asyncio.Future[None] | None = None
        self._deadline = self._last_call = 0.0
        self.ended: anyio.Event = anyio.Event()
        self.abandoned: int = 0

    def stop(self, grace: float) -> None:
        """End within `grace` seconds; what still runs shortly before is cut off. `run()` returns when it is done."""
        if not self._stopping.done():
            self._deadline = self._clock.monotonic() + grace
            self._last_call = self._deadline - min(grace / 2, max(1.0, grace / 10))
            self._stopping.set_result(None)

    @property
    def in_threads(self) -> int:
        """Handlers that run in a thread beyond their timeout."""
        return sum(desk.threaded and desk.overdue for desk in self._desks)

    @property
    def idle(self) -> bool:
        """Whether nothing is held here."""
        return not self.held.deliveries and not self.settler.pending

    async def run(self) -> None:
        """Fetch, work and settle until `stop()`, then end in order."""
        # Not a task of the group: a handler that nothing can stop must not stop the end of all others.
        working = asyncio.create_task(self._run_workers(), name="notification-workers")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._run_background)
                group.start_soon(self._run_fetch)
                await asyncio.wait([self._stopping, working], return_when=asyncio.FIRST_COMPLETED)
                await self._end_fetching()
                self.inbox.close()
                await self._end_working(working)
                await self._hand_back()
                group.cancel_scope.cancel()
        finally:
            working.cancel()
            for desk in self._desks:
                desk.thread.close()
        self.ended.set()

    async def _run_workers(self) -> None:
        async with anyio.create_task_group() as group:
            for worker in self.workers:
                group.start_soon(self._run_worker, worker)

    async def _run_background(self) -> None:
        stalls = StallWatch(self._name_of)
        with self._background:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watchdog.run)
                group.start_soon(stalls.run)
                group.start_soon(LeaseKeeper(self._queue, self.held, self._clock).run)
                group.start_soon(self.settler.run)

    async def _run_fetch(self) -> None:
        with self._fetching:
            await self.fetcher.run()

    async def _run_worker(self, worker: Worker) -> None:
        in_handler.set(True)
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = worker.desk
        await worker.run()

    def _name_of(self, task: asyncio.Task[object]) -> str:
        desk = self._tasks.get(task)
        return f"handler {desk.handler}" if desk is not None else f"the task {task.get_name()}"

    # -- the end, in order

    async def _end_fetching(self) -> None:
        """What is gone with the process is drained first."""
        if volatile := self._queue.volatile():
            with until(self._clock, self._last_call):
                while not await self._drained(volatile):
                    await self._next_progress()
        self._fetching.cancel()

    async def _drained(self, volatile: Sequence[MessageQueue]) -> bool:
        if not self.idle and Capability.LOCAL in self._queue.capabilities:
            return False
        for queue in volatile:
            if await queue.size():
                return False
            stats = await queue.stats()
            if stats.waiting or stats.in_flight or stats.delayed:
                return False
        return True

    async def _end_working(self, working: asyncio.Task[None]) -> None:
        """Let handlers finish until the last call, then cancel what still runs; leave to itself what does not end."""
        with until(self._clock, self._last_call):
            await asyncio.wait([working])
        if not working.done():
            self._each_busy(self._cut)
            with until(self._clock, (self._last_call + self._deadline) / 2):
                await asyncio.wait([working])
        if working.done():
            working.result()
        else:
            self._each_busy(self._abandon)

    def _each_busy(self, act: Callable[[Worker, Delivery], None]) -> None:
        for worker in self.workers:
            if worker.desk.delivery is not None:
                act(worker, worker.desk.delivery)

    def _cut(self, worker: Worker, delivery: Delivery) -> None:
        if worker.desk.threaded:
            self._abandon(worker, delivery)
        worker.cut = True
        worker.desk.scope.cancel()

    def _abandon(self, worker: Worker, delivery: Delivery) -> None:
        self.abandoned += 1
        delivery.running = True
        log.warning(
            "handler %s still runs and can't be stopped; event %s returns with its lease",
            worker.desk.handler, delivery.expect().id, extra=worker.desk.about(),
        )  # fmt: skip

    async def _hand_back(self) -> None:
        """Settle what is decided, and return what was not started; all of it by the deadline."""
        with until(self._clock, self._deadline):
            self._drain_lanes()
            while self.settler.pending:
                await self._next_progress()
                self._drain_lanes()
        self._background.cancel()

    def _drain_lanes(self) -> None:
        lanes = self.inbox.lanes
        changed, untouched = lanes.drain()
        for delivery in changed:
            self.settler.give_back(delivery, delivery.expect(), lanes.remaining(delivery))
        self.settler.release([delivery for delivery in untouched if not delivery.lost])

    async def _next_progress(self) -> None:
        self._moved = asyncio.get_running_loop().create_future()
        await self._moved

    def _progress(self) -> None:
        """Something was settled: fetch may go on, and the end may be near."""
        self.inbox.feed()
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)
