"""What code without an event loop is given to dispatch with."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from .offloop import wait_for
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
    """`dispatch` and `dispatch_many` as plain calls, from any thread but that of the dispatcher's loop."""

    def __init__(self, dispatcher: _Dispatching, loop: asyncio.AbstractEventLoop) -> None:
        self._dispatcher = dispatcher
        self._loop = loop

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
        """As `EventDispatcher.dispatch`, and blocks until the queue has accepted the event.

        Raises ConfigurationError in the thread of the dispatcher's own loop, where it would wait for itself.
        """
        coroutine = self._dispatcher.dispatch(event, id=id, key=key, delay=delay, headers=headers, timeout=timeout)
        return wait_for(coroutine, self._loop)

    def dispatch_many(self, events: Iterable[Any], /, *, timeout: float | None = 5.0) -> list[Dispatched]:
        """As `EventDispatcher.dispatch_many`, and blocks until the queue has answered. Raises as `dispatch` does."""
        return wait_for(self._dispatcher.dispatch_many(events, timeout=timeout), self._loop)
