"""The one facade: dispatch events, register handlers, start and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar, overload

from queues.base import MessageQueue
from queues.clock import SYSTEM_CLOCK, Clock
from queues.errors import ConfigurationError, PushFailed
from queues.message import Message
from workers.retry import RetryPolicy

from .blocking import BlockingDispatcher
from .composing import default_source
from .config import Config, read_config
from .context import Middleware
from .degradation import Degradation
from .handlers import Handler, Handlers, Order, what_is_handled
from .inline import as_queue_error
from .life import Life
from .observed import Observed
from .offloop import OnDone
from .registration import Registration
from .report import Dispatched, StopReport
from .settings import Settings, Unhandled

E = TypeVar("E")

_DEFAULT_RETRY = RetryPolicy()


class EventDispatcher(Observed):
    """Dispatches typed events through a queue, and handles them with N workers. It belongs to one event loop.

    queue: a URL or an instance, which the dispatcher opens and closes. retry: the policy of handlers without one.
    dead_letter: a queue or a URL; None: the queue's sibling `<name>.dead`. middleware: wrapped around every handler.
    prefetch: the most events fetched ahead; None: 1000. handler_timeout: seconds that a run of a handler may take.
    grace: seconds that `stop()` may take. hold: seconds a failed event with a key keeps its place in this process
    before it goes back to the queue. source: the CloudEvents source; None: `/` and the program's name. unhandled: what
    becomes of an event that nobody handles here: `retry`, `dead_letter` or, where there are groups, `skip`.
    degradation: how dispatching goes on while the queue takes no events; None: it waits, and raises. clock: the time it
    goes by; tests bring their own. Nothing is opened yet. Raises ConfigurationError.
    """

    def __init__(
        self, queue: str | MessageQueue = "channel://", *, retry: RetryPolicy = _DEFAULT_RETRY,
        dead_letter: str | MessageQueue | None = None, middleware: Sequence[Middleware] = (),
        prefetch: int | None = None, handler_timeout: float = 300.0, grace: float = 30.0, hold: float = 60.0,
        source: str | None = None, unhandled: Unhandled = "retry", degradation: Degradation | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        settings = Settings(
            retry=retry,
            dead_letter=dead_letter,
            middleware=tuple(middleware),
            prefetch=1000 if prefetch is None else prefetch,
            handler_timeout=handler_timeout,
            grace=grace,
            hold=hold,
            source=default_source() if source is None else source,
            unhandled=unhandled,
            degradation=degradation,
        )
        self._config: Config | None = None
        self._handlers = Handlers()
        self._life = Life(queue, settings, self._handlers, clock)

    @classmethod
    def from_config(
        cls, config: Path | str | Mapping[str, Any] | None = None, *, name: str | None = None,
        middleware: Sequence[Middleware] = (), clock: Clock = SYSTEM_CLOCK,
    ) -> Self:  # fmt: skip
        """One whose queue and settings stand in a file of TOML or JSON, in a mapping, and in environment variables.

        config: the file, or the mapping. The file that NOTIFICATION_CONFIG names counts more, and environment variables
        more than both; with None there are only those. name: which of the `[queues]` of a file with several. Raises
        ConfigurationError, which names the file and the key, or the variable; also when nobody names a queue.
        """
        settings = read_config(config, name=name)
        made = cls(settings.opened(), middleware=middleware, clock=clock, **settings.arguments())
        made._config = settings
        return made

    # -- set up

    def use(self, queue: str | MessageQueue) -> None:
        """Take another queue, by URL or as an instance, before it is open; else raises ConfigurationError."""
        self._life.use(queue)

    @overload
    def on(
        self, event: type[E], /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Registration[E]: ...  # fmt: skip
    @overload
    def on(
        self, event: str, /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Registration[Message]: ...  # fmt: skip
    def on(
        self, event: type[Any] | str, /, *, name: str | None = None, retry: RetryPolicy | None = None,
        timeout: float | None = None, order: Order = "key",
    ) -> Registration[Any]:  # fmt: skip
        """Register a handler for an event class, or for the types that a pattern like `"github.*"` matches.

        A pattern's handler gets the `Message`. name: of the handler, stable over deployments; default: the function's.
        retry: when it runs again; timeout: seconds a run may take; both default to the dispatcher's. order: events of a
        key one after the other everywhere (`key`), within each process (`process`), or not (`none`): a waiver for
        queues that can't do better. Gives back the handler unchanged. Raises ConfigurationError, also once workers run.
        """
        if self._life.service is not None and self._life.service.pool is not None:
            raise ConfigurationError("on() comes too late: the workers have started")
        pattern, spec = what_is_handled(event)

        def add(function: Callable[..., Any]) -> None:
            handler = Handler.of(function, pattern, spec, name=name, retry=retry, timeout=timeout, order=order)
            self._handlers.add(handler)

        return Registration(add)

    # -- in

    async def dispatch(
        self, event: Any, /, *, id: str | None = None, key: str | None = None,  # noqa: A002 - CloudEvents' name for it
        delay: float | datetime = 0, headers: Mapping[str, str] | None = None, timeout: float | None = 5.0,
    ) -> Dispatched:  # fmt: skip
        """Hand an event to the queue; returns once the queue has accepted it, or what a degradation puts in its place.

        event: an instance of an `@event` class, or a `Message` for a type without one. id: to repeat a dispatch whose
        result was unknown. key: instead of the class's. delay: seconds, or an aware datetime. headers: extension
        attributes, names of lower-case letters and digits. timeout: seconds to wait for a full or silent queue, None:
        for ever; inside a handler a full queue raises at once. Cancelled, the event may have been accepted, or not.
        Raises UnknownEvent, CorruptMessage (no JSON form, over a limit), QueueFull, QueueUnavailable, QueueClosed; and
        what its handlers raise, where a degradation runs them inline.
        """
        service, compose = self._life.opened()
        message = compose(event, id=id, key=key, delay=delay, headers=headers)
        via = await service.sender.send(message, timeout)
        return Dispatched(message.id, via or "queue")

    async def dispatch_many(self, events: Iterable[Any], /, *, timeout: float | None = 5.0) -> list[Dispatched]:
        """Dispatch many `events` at once, in order; `timeout` and errors as for one.

        Nothing is sent when one of them is no event. Raises PushFailed naming those that were not accepted, or failed
        inline; the others are in.
        """
        service, compose = self._life.opened()
        messages = [compose(event) for event in events]
        answers = await service.sender.send_all(messages, timeout)
        if errors := {at: as_queue_error(one) for at, one in enumerate(answers) if isinstance(one, Exception)}:
            raise PushFailed(errors)
        return [Dispatched(message.id, str(via)) for message, via in zip(messages, answers, strict=True)]

    def dispatch_soon(self, event: Any, /, *, on_done: OnDone | None = None) -> None:
        """Dispatch from any thread, without waiting. At most 10,000 may be on their way: one more raises QueueFull.

        on_done: called in the event loop with a Dispatched or the exception; without it a failure is an error in the
        log. What is wrong with the event itself is raised here. `stop()` waits for those that are on their way.
        """
        service, compose = self._life.opened()
        service.soon.put(compose(event), on_done)

    @contextmanager
    def blocking(self) -> Iterator[BlockingDispatcher]:
        """For code without an event loop: `with dispatcher.blocking() as d: d.dispatch(event)`.

        The dispatcher is opened at first use, in the one loop thread of this process, and closed when the process
        ends. Open it after a fork, not before.
        """
        service = self._life.open_off_loop(self.dispatch)
        yield BlockingDispatcher(self, service.loop)

    # -- life

    async def start(self, workers: int = 1) -> None:
        """Open the queue and, with workers, consume; returns once it does. `workers=0` only dispatches.

        workers: events at a time; they can be started once. What it opened is closed again when it fails. Raises
        ConfigurationError when the queue can't do what the handlers need, QueueUnavailable when it can't be reached;
        with a spill it dispatches into that, and the workers begin when the queue is there.
        """
        await self._life.start(workers, self.dispatch)

    async def stop(self, *, grace: float | None = None) -> StopReport:
        """Within `grace` seconds (None: the dispatcher's): fetch no more, finish handlers, settle, hand back, close.

        Idempotent: every caller gets the same report, or what made the dispatcher fail. Cancelled, it goes on.
        """
        return await self._life.stop(grace)

    async def run(self, workers: int = 1) -> StopReport:
        """Start `workers`, work until SIGINT or SIGTERM, and stop in order, also when cancelled.

        A second signal ends the process at once, with 128 and its number. Raises as `start()`. Main thread only.
        """
        return await self._life.run(workers, self.dispatch)

    async def __aenter__(self) -> Self:
        await self.start(workers=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
