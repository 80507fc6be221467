"""The one facade: dispatch events, register handlers, start and stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self, TypeVar, overload

import anyio

from queues.base import MessageQueue, QueueStats
from queues.clock import SYSTEM_CLOCK, Clock
from queues.errors import ConfigurationError, QueueClosed
from queues.message import Message
from workers.retry import RetryPolicy

from .assembly import Needs, PoolMaker, build, build_dead, make_composer
from .blocking import BlockingDispatcher
from .composing import Composer, default_source
from .context import Context, Middleware
from .event import spec_of_class
from .handlers import Handler, Handlers, Order
from .inspection import health_of, is_finished, stats_of
from .offloop import LoopThread, OnDone
from .report import Dispatched, Health, StopReport
from .service import Service, check_workers
from .settings import Settings, Unhandled
from .signals import stopped_by_signal

E = TypeVar("E")
HandlerOf = TypeVar("HandlerOf", bound=Callable[..., Any])
EventHandler = Callable[[E], Awaitable[None] | None] | Callable[[E, Context], Awaitable[None] | None]

_DEFAULT_RETRY = RetryPolicy()


class EventDispatcher:
    """Dispatches typed events through a queue, and handles them with N workers.

    queue: a URL or an instance, which the dispatcher opens and closes. retry: the policy of handlers without one.
    dead_letter: a queue or a URL; None: the queue's sibling `<name>.dead`. middleware: wrapped around every handler.
    prefetch: the most events fetched ahead; None: 1000. handler_timeout: seconds. grace: seconds that `stop()` may
    take. hold: seconds a failed event with a key keeps its place in this process before it goes back to the queue.
    source: the CloudEvents source; None: `/` and the program's name. unhandled: what becomes of an event that nobody
    handles here.
    """

    def __init__(
        self,
        queue: str | MessageQueue = "channel://",
        *,
        retry: RetryPolicy = _DEFAULT_RETRY,
        dead_letter: str | MessageQueue | None = None,
        middleware: Sequence[Middleware] = (),
        prefetch: int | None = None,
        handler_timeout: float = 300.0,
        grace: float = 30.0,
        hold: float = 60.0,
        source: str | None = None,
        unhandled: Unhandled = "retry",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = Settings(
            retry=retry,
            dead_letter=dead_letter,
            middleware=tuple(middleware),
            prefetch=1000 if prefetch is None else prefetch,
            handler_timeout=handler_timeout,
            grace=grace,
            hold=hold,
            source=default_source() if source is None else source,
            unhandled=unhandled,
        )
        self._clock = clock
        self._queue = build(queue, clock)
        self._handlers = Handlers()
        self._service: Service | None = None
        self._compose: Composer | None = None
        self._report = StopReport()

    # -- set up

    def use(self, queue: str | MessageQueue) -> None:
        """Take another queue instead, before the dispatcher is open."""
        if self._service is not None:
            raise ConfigurationError("use() comes too late: the dispatcher is open")
        self._queue = build(queue, self._clock)

    @overload
    def on(
        self, event: type[E], /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Callable[[EventHandler[E]], EventHandler[E]]: ...  # fmt: skip
    @overload
    def on(
        self, event: str, /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Callable[[EventHandler[Message]], EventHandler[Message]]: ...  # fmt: skip
    def on(
        self, event: type[Any] | str, /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Callable[[Any], Any]:  # fmt: skip
        """Register a handler for an event class, or for the types that a pattern like `"github.*"` matches.

        A pattern's handler gets the `Message`. name: of the handler, stable over deployments; default: the function's.
        retry, timeout: default to the dispatcher's. order: `key`, or less: see `Needs`. Returns the function unchanged.
        Raises ConfigurationError.
        """
        if self._service is not None and self._service.pool is not None:
            raise ConfigurationError("on() comes too late: the workers have started")
        spec = None if isinstance(event, str) else spec_of_class(event)
        pattern = event if isinstance(event, str) else spec.name if spec is not None else ""
        if not pattern or len(pattern) > 256 or not pattern.isprintable():
            raise ConfigurationError("a pattern is 1 to 256 printable characters, like 'github.*'")

        def register(function: HandlerOf) -> HandlerOf:
            handler = Handler.of(function, pattern, spec, name=name, retry=retry, timeout=timeout, order=order)
            self._handlers.add(handler)
            return function

        return register

    # -- in

    async def dispatch(
        self,
        event: Any,
        /,
        *,
        id: str | None = None,  # noqa: A002 - the name that CloudEvents and users have for it
        key: str | None = None,
        delay: float | datetime = 0,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 5.0,
    ) -> Dispatched:
        """Hand an event to the queue; returns once the queue has accepted it.

        event: an instance of an `@event` class, or a `Message` for a type without one. id: to repeat a dispatch whose
        result was unknown. key: instead of the class's. delay: seconds, or an aware datetime. timeout: seconds to wait
        for a full or silent queue; inside a handler a full queue raises at once.
        Raises UnknownEvent, CorruptMessage (no JSON form, over a limit), QueueFull, QueueUnavailable, QueueClosed.
        """
        service, compose = self._opened()
        message = compose(event, id=id, key=key, delay=delay, headers=headers)
        await service.sender.send(message, timeout)
        return Dispatched(message.id)

    async def dispatch_many(self, events: Iterable[Any], /, *, timeout: float | None = 5.0) -> list[Dispatched]:
        """Dispatch many at once, in order. Raises PushFailed naming those that were not accepted; the others are in."""
        service, compose = self._opened()
        messages = [compose(event) for event in events]
        await service.sender.send_all(messages, timeout)
        return [Dispatched(message.id) for message in messages]

    def dispatch_soon(self, event: Any, /, *, on_done: OnDone | None = None) -> None:
        """Dispatch from any thread, without waiting. At most 10,000 may be on their way: one more raises QueueFull.

        on_done: called in the event loop with a Dispatched or the exception; without it a failure is an error in the
        log, and counted. What is wrong with the event itself is raised here.
        """
        service, compose = self._opened()
        service.soon.put(compose(event), on_done)

    @contextmanager
    def blocking(self) -> Iterator[BlockingDispatcher]:
        """For code without an event loop: `with dispatcher.blocking() as d: d.dispatch(event)`.

        The dispatcher is opened at first use, in the one loop thread of this process, and closed when the process
        ends. Open it after a fork, not before.
        """
        thread = LoopThread.get()
        if self._service is None:
            thread.call(self.start(workers=0))
            thread.at_exit(self.stop)
        yield BlockingDispatcher(self, thread)

    # -- life

    async def start(self, workers: int = 1) -> None:
        """Open the queue and, with workers, consume; returns at once. `workers=0` only dispatches.

        Raises ConfigurationError when the queue can't do what the handlers need, QueueUnavailable when it can't be
        reached.
        """
        check_workers(workers)
        if self._service is None:
            await self._open()
        service, _ = self._opened()
        if workers == 0:
            return
        if service.pool is not None:
            raise ConfigurationError(f"started already, with {len(service.pool.workers)} workers; start() works once")
        Needs(self._handlers, self._settings.unhandled).check(service.queue)
        dead = build_dead(service.queue, self._settings.dead_letter, self._clock)
        make = PoolMaker(self._settings, self._handlers, self._clock, self.dispatch, workers)
        await service.consume(dead, make)

    async def stop(self, *, grace: float | None = None) -> StopReport:
        """Within `grace` seconds: fetch no more, finish handlers, settle, hand back, close. Idempotent."""
        if self._service is None:
            return self._report
        self._report = await self._service.stop(self._settings.grace if grace is None else grace)
        return self._report

    async def run(self, workers: int = 1) -> StopReport:
        """Start, work until SIGINT or SIGTERM, and stop in order. A second signal ends the process at once."""
        async with stopped_by_signal() as stopping:
            await self.start(workers)
            assert self._service is not None
            await self._service.ended(or_when=stopping)
            return await self.stop()

    async def __aenter__(self) -> Self:
        await self.start(workers=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- looked at

    @property
    def capacity(self) -> int | None:
        """The most events that may wait in the queue; None: unbounded."""
        return self._queue.capacity

    @property
    def dead_letters(self) -> MessageQueue:
        """The queue of dead letters, once workers have started."""
        if self._service is None or self._service.dead is None:
            raise QueueClosed("the dead letters are opened by start() with workers")
        return self._service.dead

    async def size(self) -> int:
        """Events that wait, not yet handed out."""
        service, _ = self._opened()
        return await service.queue.size()

    async def stats(self) -> QueueStats:
        """The queue's figures, with the number of dead letters."""
        service, _ = self._opened()
        return await stats_of(service)

    async def join(self) -> None:
        """Wait until the queue shows nothing waiting, in flight or delayed, and nothing is on its way to it."""
        while not await is_finished(self._opened()[0]):
            with anyio.move_on_after(0.02):
                await anyio.sleep_forever()

    async def health(self) -> Health:
        """For probes. Never raises."""
        return await health_of(self._service)

    # -- assembled once

    async def _open(self) -> None:
        self._service = Service(self._queue, self._clock)
        try:
            await self._service.opened()
        except BaseException:
            self._service = None
            raise
        self._compose = make_composer(self._queue, self._settings, self._clock)

    def _opened(self) -> tuple[Service, Composer]:
        service = self._service
        if service is None or self._compose is None:
            raise QueueClosed("the dispatcher is not open; use `async with dispatcher:` or await dispatcher.start()")
        if service.over:
            raise QueueClosed(
                f"the dispatcher has stopped: {service.failure or 'stop() was called'}"
            ) from service.failure
        return service, self._compose
