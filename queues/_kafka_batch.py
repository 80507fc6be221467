"""Records that are sent together: who may still take them back, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

from ._kafka_pack import Pack
from ._kafka_wire import Record
from .errors import QueueError

_RECORD_BYTES = 1000
"""What the client holds of a record until it is stored, beside its bytes."""


class Batch:
    """Taken and filled in the writing thread, answered in the client's, over in the event loop that made it.

    errors: why records were not stored, by index, once it is `over`. weight: the bytes that it takes in memory.
    packs: of the records that the client took; refused: why it did not take others; places: their partitions.
    """

    def __init__(self, topic: str, records: Sequence[Record]) -> None:
        self.topic, self.records = topic, records
        self.weight = sum(len(record.value) for record in records) + _RECORD_BYTES * len(records)
        self.errors: dict[int, QueueError] = {}
        self.packs: list[Pack] = []
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
        return any(pack.is_stored and index in pack.indexes for pack in self.packs)

    def failed(self) -> dict[int, BaseException]:
        """Why the client gave up on records that it took."""
        return {index: error for pack in self.packs for index, error in pack.errors().items()}

    def when_done(self, call: Callable[[], object]) -> None:
        """Have `call` made, in some thread, once the fate of all packs is known."""
        left = [*range(len(self.packs) + 1)]  # several threads take from it; whoever gets the 0 is the last

        def one_more(_: object = None) -> None:
            if not left.pop():
                call()

        for pack in self.packs:
            pack.when_done(one_more)
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
