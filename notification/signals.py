"""SIGINT and SIGTERM: the first one stops in order, the second one ends the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

log: Final = logging.getLogger("notification.dispatcher")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def stopped_by_signal(
    last_act: Callable[[], None] = lambda: None,
) -> AsyncIterator[asyncio.Future[signal.Signals]]:
    """A future that the first signal completes; inside, a second one exits at once, with 128 + its number.

    last_act: what is still done before that.
    """
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[signal.Signals] = loop.create_future()

    def receive(number: signal.Signals) -> None:
        if stopping.done():
            last_act()
            os._exit(128 + number)
        log.warning("%s: stopping in order; a second one leaves at once", number.name, extra={"signal": number.name})
        stopping.set_result(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, receive, number)
    try:
        yield stopping
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
