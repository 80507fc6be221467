"""What one worker is on at the moment, for those who watch it: the watchdog, the pool at its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Protocol

import anyio
from attrs import Factory, define

from queues.message import Delivery, about

from .outcome import Failure, Outcome
from .threads import WorkerThread


@define(eq=False)
class Desk:
    """One worker's place. `serial` grows with every handler begun; `timeout` is None while none runs.

    todo: handlers still to run of an event that has several, failures: those that failed so far. threaded: a plain
    function runs in a thread, which nothing can cancel; overdue: it has been there for longer than its timeout.
    """

    thread: WorkerThread
    scope: anyio.CancelScope = Factory(anyio.CancelScope)
    delivery: Delivery | None = None
    handler: str = ""
    timeout: float | None = None
    serial: int = 0
    threaded: bool = False
    overdue: bool = False
    todo: list[Any] | None = None
    failures: list[Failure] = Factory(list)

    def begin(self, handler: str, timeout: float) -> None:
        """This handler runs from now on."""
        self.serial += 1
        self.handler = handler
        self.timeout = timeout

    def end(self) -> None:
        """No handler runs."""
        self.timeout = None

    def clear(self) -> None:
        """The delivery is over."""
        self.delivery = None
        if self.todo is not None or self.failures:
            self.todo = None
            self.failures = []

    def about(self) -> dict[str, object]:
        """The `extra` of a log record on what this worker is on."""
        if self.delivery is None:
            return {"handler": self.handler}
        return about(self.delivery.expect(), event_bytes=self.delivery.size, handler=self.handler)

    async def in_thread(self, function: Callable[..., object], *args: object) -> object:
        """Run a plain function in this worker's thread; raises TimeoutError once it ends, if it was overdue.

        Cancelled, it leaves the thread to itself.
        """
        self.threaded, self.overdue = True, False
        try:
            result = await self.thread.run(function, *args)
        finally:
            self.threaded = False
        if self.overdue:
            self.overdue = False
            raise TimeoutError(f"handler {self.handler!r} took longer than {self.timeout:g} s")
        return result


class Handling(Protocol):
    """The one callable a pool is given: it runs the handlers of a delivery and knows their policies."""

    async def run(self, delivery: Delivery, desk: Desk) -> Outcome:
        """Run the handlers still to run. Called again, with the same desk, after one of them was cut off."""
        ...

    def interrupted(self, delivery: Delivery, desk: Desk, error: BaseException) -> None:
        """The handler this desk was on was cut off; `error` is what it counts as."""

    def unfinished(self, delivery: Delivery, desk: Desk) -> Outcome:
        """Out of time: what to do with a delivery whose handlers did not all run."""
        ...


def is_stray_cancellation() -> bool:
    """Inside `except CancelledError`: whether it came from none of the scopes around this code.

    Then it is an error like any other, and the task is as if it had not been cancelled.
    """
    if anyio.current_effective_deadline() == -math.inf:
        return False
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    return True
