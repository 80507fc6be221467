"""A thread for calls that block: the client's own way to look things up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from .clock import patience
from .errors import QueueUnavailable

_T = TypeVar("_T")
_Call = tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]


class CallThread:
    """One call after the other, each to its end; who asked only waits for it. Started with the first.

    timeout: seconds after which whoever waits gets QueueUnavailable.
    """

    def __init__(self, name: str, timeout: float) -> None:
        self._name, self._timeout = name, timeout
        self._calls: SimpleQueue[_Call | Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[[], _T]) -> _T:
        """What `function` returns or raises. Cancel-safe: the call goes on, and its result is dropped."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        self._calls.put((function, loop, answer))
        try:
            async with patience(self._timeout):
                return await answer
        except TimeoutError:
            raise QueueUnavailable(f"{self._name} gave no answer within {self._timeout:g} s") from None

    def close(self, last: Callable[[], None] | None = None) -> None:
        """End after the calls under way, and after this one. Idempotent."""
        if self._thread is not None:
            self._calls.put(last)

    def _run(self) -> None:
        while isinstance(asked := self._calls.get(), tuple):
            function, loop, answer = asked
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - told to whoever asked
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_answer, answer, result, error)
            except RuntimeError:
                continue  # its event loop is closed
        if asked is not None:
            asked()


def _answer(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
