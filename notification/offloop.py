"""Dispatching from outside the event loop: from any thread, and from programs that have no loop at all."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, TypeVar

from queues.errors import ConfigurationError, NotificationError, QueueClosed, QueueFull
from queues.message import Message, about
from workers.outcome import describe

from .report import Dispatched

log: Final = logging.getLogger("notification.dispatcher")

OnDone = Callable[[Dispatched | Exception], object]
SendAll = Callable[[Sequence[Message], float | None], Coroutine[Any, Any, list[str | Exception]]]
MAX_SOON = 10_000
"""How many events `dispatch_soon` may have on their way; one more is QueueFull."""
_T = TypeVar("_T")


class Soon:
    """Messages that threads left for the event loop. Failures nobody asked to hear of are logged and counted."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send_all: SendAll) -> None:
        self.failed: int = 0
        self._loop = loop
        self._send_all = send_all
        self._waiting: deque[tuple[Message, OnDone | None]] = deque()
        self._lock = threading.Lock()
        self._under_way = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Events not accepted by the queue yet."""
        return len(self._waiting) + self._under_way

    def put(self, message: Message, on_done: OnDone | None) -> None:
        """From any thread. Raises QueueFull at the bound."""
        with self._lock:
            if self.waiting >= MAX_SOON:
                raise QueueFull(f"{MAX_SOON} events are on their way from dispatch_soon already")
            if not self._scheduled:
                self._schedule()
            self._scheduled = True
            self._waiting.append((message, on_done))

    def _schedule(self) -> None:
        try:  # in a context of its own: that of a handler would forbid it to wait for room
            self._loop.call_soon_threadsafe(self._begin, context=Context())
        except RuntimeError:
            raise QueueClosed("the event loop in which the dispatcher was opened is closed") from None

    def _begin(self) -> None:
        task = self._loop.create_task(self._send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self) -> None:
        while True:
            with self._lock:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), 1000))]
                self._under_way = len(batch)
                self._scheduled = bool(batch)
            if not batch:
                return
            await self._send_batch(batch)

    async def _send_batch(self, batch: list[tuple[Message, OnDone | None]]) -> None:
        answers: list[str | Exception]
        try:
            answers = await self._send_all([message for message, _ in batch], 5.0)
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            answers = [error] * len(batch)
        for (message, on_done), answer in zip(batch, answers, strict=True):
            self._tell(message, on_done, answer)

    def _tell(self, message: Message, on_done: OnDone | None, answer: str | Exception) -> None:
        if on_done is not None:
            try:
                on_done(answer if isinstance(answer, Exception) else Dispatched(message.id, answer))
            except Exception:
                log.exception("on_done of event %s (%s) failed", message.id, message.type, extra=about(message))
        elif isinstance(answer, Exception):
            self.failed += 1
            log.error(
                "event %s (%s) from dispatch_soon was not accepted: %s",
                message.id, message.type, describe(answer), extra=about(message, error_type=type(answer).__name__),
            )  # fmt: skip

    async def drained(self) -> None:
        """Wait until everything is on its way no more."""
        while self._tasks or self._scheduled:
            await asyncio.wait(self._tasks) if self._tasks else await asyncio.sleep(0)


class LoopThread:
    """The one event loop that a process without a loop runs, in a daemon thread, from first use to the end."""

    _instance: LoopThread | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.pid: int = os.getpid()
        self.opening: threading.Lock = threading.Lock()
        """Held while a dispatcher is opened, which only one of several threads should do."""
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._stops: list[Callable[[], Coroutine[Any, Any, object]]] = []
        running = threading.Event()
        self.loop.call_soon(running.set)
        threading.Thread(target=self.loop.run_forever, name="notification-loop", daemon=True).start()
        running.wait()
        atexit.register(self._stop)

    @classmethod
    def get(cls) -> LoopThread:
        """This process's; a forked child gets its own."""
        with cls._lock:
            if cls._instance is None or cls._instance.pid != os.getpid():
                cls._instance = cls()
            return cls._instance

    def at_exit(self, stop: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Have `stop` awaited when the process ends."""
        self._stops.append(stop)

    def _stop(self) -> None:
        if self.pid != os.getpid():
            return
        for stop in self._stops:
            try:
                wait_for(stop(), self.loop)
            except Exception:
                log.exception("stopping a dispatcher at the end of the process failed", extra={"pid": self.pid})


def wait_for(coroutine: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop) -> _T:
    """Run a coroutine in a loop that lives in another thread, and wait for its result."""
    if (refusal := _refusal(loop)) is not None:
        coroutine.close()
        raise refusal
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def _refusal(loop: asyncio.AbstractEventLoop) -> NotificationError | None:
    """Why waiting for this loop would last for ever, if it would."""
    if not loop.is_running():
        return QueueClosed("the event loop in which the dispatcher was opened runs no more")
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        return None
    text = "blocking() inside its own event loop would wait for itself; await dispatch()"
    return ConfigurationError(text) if here is loop else None
