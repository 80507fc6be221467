"""Records that are sent together: who may still take them back, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ._kafka_wire import Record
from .errors import QueueError

_RECORD_BYTES = 1000
"""What the client holds of a record until it is stored, beside its bytes."""


class Batch:
    """Taken and filled in the writing thread, answered in the client's, over in the event loop that made it.

    errors: why records were not stored, by index, once it is `over`. weight: the bytes that it takes in memory.
    futures: the client's, of each record that it took; refused: why it did not take others; places: their partitions.
    """

    def __init__(self, topic: str, records: Sequence[Record]) -> None:
        self.topic, self.records = topic, records
        self.weight = sum(len(record.value) for record in records) + _RECORD_BYTES * len(records)
        self.errors: dict[int, QueueError] = {}
        self.futures: list[Any] = [None] * len(records)
        self.refused: dict[int, BaseException] = {}
        self.places: Sequence[int] = ()
        self.again = False
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._taken = threading.Lock()

    def take(self) -> bool:
        """True for the first who asks, who may send it, or take it back; never again."""
        return self._taken.acquire(blocking=False)

    def is_stored(self, index: int) -> bool:
        """Whether this record is stored by now, as far as the client knows."""
        future = self.futures[index]
        return future is not None and bool(future.succeeded())

    def failed(self) -> dict[int, BaseException]:
        """Why the client gave up on records that it took. All futures have to be done."""
        return {
            index: future.exception
            for index, future in enumerate(self.futures)
            if future is not None and future.exception is not None
        }

    def when_done(self, call: Callable[[], object]) -> None:
        """Have `call` made, in some thread, once all futures are done.

        A partition's are done in order, unless the client gives up: so only the last one of each is waited for, and
        after them whatever is still open.
        """
        taken = zip(self.places, self.futures, strict=True)
        last = {place: future for place, future in taken if future is not None}
        self._wait(last.values(), call)

    def _wait(self, futures: Iterable[Any], call: Callable[[], object]) -> None:
        waited = [*futures]
        left = [*range(len(waited) + 1)]  # several threads take from it; whoever gets the 0 is the last

        def one_more(_: object = None) -> None:
            if left.pop():
                return
            if still := [future for future in self.futures if future is not None and not future.is_done]:
                self._wait(still, call)
            else:
                call()

        for future in waited:
            future.add_both(one_more)
        one_more()

    def finish(self, errors: dict[int, QueueError]) -> None:
        """From any thread: it is over."""
        with contextlib.suppress(RuntimeError):  # its event loop is closed; nobody is left to tell
            self._loop.call_soon_threadsafe(self.end, errors)

    def end(self, errors: dict[int, QueueError]) -> None:
        """The same in its event loop."""
        self.errors = errors
        if not self.over.done():
            self.over.set_result(None)
