"""Threads for plain functions: one a worker, daemons, so that the end of the process waits for none of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from attrs import frozen


@frozen(eq=False)
class _Job:
    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    def run(self) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = self.call()
        except StopIteration as stop:  # can't be set on a future
            error = RuntimeError(f"the function raised {stop!r}")
        except BaseException as raised:  # noqa: BLE001 - whatever it is, whoever awaits the call gets it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._tell, result, error)

    def _tell(self, result: Any, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(result)


class WorkerThread:
    """Runs one function at a time. The thread is begun at first use and ends with `close()`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] | None = None

    async def run(self, function: Callable[..., Any], *args: object) -> Any:
        """The function's result. Cancelled, it leaves the thread to itself."""
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
        loop = asyncio.get_running_loop()
        context = copy_context()
        job = _Job(lambda: context.run(function, *args), loop, loop.create_future())
        self._jobs.put(job)
        return await job.done

    def close(self) -> None:
        """The thread ends after what it runs now. Idempotent."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # or its event would stay in memory until the next one
