"""What code without an event loop is given to dispatch with."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from .offloop import LoopThread
from .report import Dispatched


class _Dispatching(Protocol):
    def dispatch(
        self, event: Any, /, *, id: str | None = None,  # noqa: A002 - as below
        key: str | None = None, delay: float | datetime = 0,
        headers: Mapping[str, str] | None = None, timeout: float | None = 5.0,
    ) -> Coroutine[Any, Any, Dispatched]: ...  # fmt: skip

    def dispatch_many(
        self, events: Iterable[Any], /, *, timeout: float | None = 5.0
    ) -> Coroutine[Any, Any, list[Dispatched]]: ...


class BlockingDispatcher:
    """`dispatch` and `dispatch_many` as plain calls, from any thread but the loop's own."""

    def __init__(self, dispatcher: _Dispatching, thread: LoopThread) -> None:
        self._dispatcher = dispatcher
        self._thread = thread

    def dispatch(
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
        """As `EventDispatcher.dispatch`, and blocks until the queue has accepted the event."""
        return self._thread.call(
            self._dispatcher.dispatch(event, id=id, key=key, delay=delay, headers=headers, timeout=timeout)
        )

    def dispatch_many(self, events: Iterable[Any], /, *, timeout: float | None = 5.0) -> list[Dispatched]:
        """As `EventDispatcher.dispatch_many`, and blocks until the queue has answered."""
        return self._thread.call(self._dispatcher.dispatch_many(events, timeout=timeout))
