"""Every queue of ours, and one as a plugin author would write it, passes the public suite."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queues import Message, QueueURL, open_queue, register_queue, wire
from queues.base import Capability, MessageQueue
from queues.conformance import MakeQueue, QueueConformance
from queues.delayed import DelayedQueue
from tests.four_methods import FourMethods, Shelf
from tests.grouped_queue import GroupedQueue
from tests.reference_queue import ReferenceQueue, Store


class TestFourMethods(QueueConformance):
    """Four methods are enough."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        shelf = Shelf()
        return lambda **options: FourMethods(shelf, **options)


class TestDelayedFourMethods(QueueConformance):
    """The same as a dispatcher assembles it."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        shelf = Shelf()
        return lambda **options: DelayedQueue(FourMethods(shelf, **options))


class TestReference(QueueConformance):
    """The contract as short as it can be kept."""

    lease = 0.5

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        store = Store()
        return lambda **options: ReferenceQueue(store, **options)

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        assert isinstance(queue, ReferenceQueue)
        queue.store_raw(raw)
        return None


class TestGrouped(QueueConformance):
    """The same with consumer groups, opened by URL."""

    lease = 0.5
    other_processes = False

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        register_queue("grouped", GroupedQueue.from_url, replace=True)
        base = f"grouped://{uuid.uuid4().hex}"
        return lambda **options: open_queue(_url(base, options))


class ReferenceWithoutDelay(ReferenceQueue):
    """Leases and keys, and no word about delays."""

    capabilities = ReferenceQueue.capabilities & ~Capability.DELAY


class TestDelayedReference(QueueConformance):
    """A queue with ACK and KEYED, and its delays added around it."""

    lease = 0.5

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        store = Store()
        return lambda **options: DelayedQueue(ReferenceWithoutDelay(store, **options))


class TestPrivateChannel(QueueConformance):
    """channel://"""

    shared = False

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        return lambda **options: open_queue(_url("channel://", options))


class TestSharedChannel(QueueConformance):
    """channel://name"""

    @pytest.fixture
    def make_queue(self, request: pytest.FixtureRequest) -> Iterator[MakeQueue]:
        # A shared channel lives as long as one of its owners.
        name = f"channel://{uuid.uuid4().hex}"
        with_one_owner = open_queue(name)
        yield lambda **options: open_queue(_url(name, options))
        del with_one_owner


class SQLite(QueueConformance):
    """sqlite:///, with or without order by key."""

    lease = 0.6
    order = "key"

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        base = f"sqlite:///{tmp_path / 'events.db'}?order={self.order}"
        return lambda **options: open_queue(_url(base, options))

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        """Into the file, in the place of an event that was pushed."""
        assert queue.url is not None
        place = Message(type="place", id=uuid.uuid4().hex, source="/conformance")
        await queue.push(place)
        with contextlib.closing(sqlite3.connect(queue.url.path, isolation_level=None)) as file:
            changed = file.execute("UPDATE message SET body = ? WHERE body = ?", (raw, wire.encode(place)))
            assert changed.rowcount == 1
        return None


class TestSQLite(SQLite):
    """sqlite:///events.db"""


class TestSQLiteWithoutOrder(SQLite):
    """sqlite:///events.db?order=none"""

    order = "none"


def _url(base: str, options: dict[str, Any]) -> str:
    """Options as a URL has them."""
    url = base + ("&" if "?" in base else "?") + "&".join(f"{name}={value}" for name, value in options.items())
    return QueueURL.parse(url).raw
