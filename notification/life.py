"""From set-up to stop: what a dispatcher has open, opened once and closed in order."""

from __future__ import annotations

import os

from queues.base import Capability, MessageQueue
from queues.clock import Clock
from queues.errors import ConfigurationError, QueueClosed
from queues.fallback import Letterbox

from .assembly import Needs, PoolMaker, build, build_dead, make_composer
from .composing import Composer
from .context import Send
from .handlers import Handlers
from .ladder import Ladder
from .offloop import LoopThread, wait_for
from .report import StopReport
from .service import Service, check_workers
from .settings import Settings
from .signals import stopped_by_signal


class Life:
    """A dispatcher's queue and settings, and, while it is open, the service that works with them."""

    def __init__(self, queue: str | MessageQueue, settings: Settings, handlers: Handlers, clock: Clock) -> None:
        self.queue: MessageQueue = build(queue, clock)
        self.service: Service | None = None
        self._settings, self._handlers, self._clock = settings, handlers, clock
        self._compose: Composer | None = None

    def use(self, queue: str | MessageQueue) -> None:
        """Another queue instead, before it is open."""
        if self.service is not None:
            raise ConfigurationError("use() comes too late: the dispatcher has been opened")
        self.queue = build(queue, self._clock)

    def opened(self) -> tuple[Service, Composer]:
        """What is open. Raises QueueClosed, which says why nothing is."""
        service = self.service
        if service is None or self._compose is None:
            raise QueueClosed("the dispatcher is not open; use `async with dispatcher:` or await dispatcher.start()")
        if service.over:
            raise QueueClosed(
                f"the dispatcher has stopped: {service.failure or 'stop() was called'}"
            ) from service.failure
        return service, self._compose

    async def start(self, workers: int, send: Send) -> None:
        """Open, and consume if there are workers. What it opened is closed again when it fails."""
        check_workers(workers)
        was_open = self.service is not None
        await self._open(send)
        if workers == 0:
            return
        try:
            await self._consume(workers, send)
        except BaseException:
            if not was_open:
                await self._close_again()
            raise

    async def _open(self, send: Send) -> None:
        """Open, or wait for another task that does."""
        if self.service is None:
            self.service = Service(self.queue, Ladder(self._settings, self._handlers, self._clock, send))
        service = self.service
        if service.over:
            self.opened()  # says that it has stopped
        try:
            await service.opened()
        except BaseException:
            if self.service is service:
                self.service = None
            raise
        if self._compose is None:
            self._compose = make_composer(self.queue, self._settings, self._clock)

    async def _consume(self, workers: int, send: Send) -> None:
        service, _ = self.opened()
        if service.pool is not None:
            raise ConfigurationError(f"started already, with {len(service.pool.workers)} workers; start() works once")
        if service.starting:
            raise ConfigurationError("started already; the workers begin when the queue is there")
        needs = Needs(self._handlers, self._settings.unhandled)
        needs.check(service.queue)
        letters = service.letters or Letterbox(build_dead(self.queue, self._settings.dead_letter, self._clock))
        make = PoolMaker(self._settings, self._handlers, self._clock, send, workers)
        await service.consume(letters, make, needs.check)

    def dead_letters(self) -> MessageQueue:
        """The queue where dead letters go: the open one, or a new one while no workers have started."""
        if (service := self.service) is not None:
            if service.dead is not None:
                return service.dead
            if service.letters is not None and Capability.LOCAL in service.letters.queue.capabilities:
                return service.letters.queue  # another one would be empty
        return build_dead(self.queue, self._settings.dead_letter, self._clock)

    async def _close_again(self) -> None:
        service, self.service, self._compose = self.service, None, None
        if service is not None:
            await service.stop(0)

    async def stop(self, grace: float | None) -> StopReport:
        """End in order. Idempotent."""
        if self.service is None:
            return StopReport()
        return await self.service.stop(self._settings.grace if grace is None else grace)

    async def run(self, workers: int, send: Send) -> StopReport:
        """Start, work until the first signal or a failure, and stop in order; also when this is cancelled."""
        async with stopped_by_signal() as stopping:
            await self.start(workers, send)
            service, _ = self.opened()
            try:
                await service.ended(or_when=stopping)
            finally:
                report = await self.stop(None)
            return report

    def open_off_loop(self, send: Send) -> Service:
        """For callers without an event loop: what is open already, or is opened now, in the loop of this process."""
        thread = LoopThread.get()
        with thread.opening:
            if self.service is None:
                wait_for(self.start(0, send), thread.loop)
                thread.at_exit(lambda: self.stop(None))
        service, _ = self.opened()
        if service.pid != os.getpid():
            raise ConfigurationError("the dispatcher was opened before this process forked; open it in each child")
        return service
