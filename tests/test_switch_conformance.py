"""A switch passes the suite of queues, whatever its routes are and whichever of them is written."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queues import Message, open_queue, wire
from queues.base import Capability, MessageQueue
from queues.conformance import MakeQueue, QueueConformance
from queues.delayed import DelayedQueue
from queues.switch import SwitchQueue
from tests.four_methods import FourMethods, Shelf
from tests.redis_server import Redis
from tests.reference_queue import ReferenceQueue, Store


def switches(chosen: str, **routes: Callable[..., MessageQueue | str]) -> MakeQueue:
    """Makes switches over these routes, each made with the options of the switch, of which one is written."""
    return lambda **options: SwitchQueue({name: make(**options) for name, make in routes.items()}, lambda: chosen)


def address(base: str) -> Callable[..., str]:
    """Makes URLs with options."""
    return lambda **options: (
        base + ("&" if "?" in base else "?") + "&".join(f"{name}={value}" for name, value in options.items())
    )


class TestSwitchOfFourMethods(QueueConformance):
    """Four methods are enough, here, too."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        old, new = Shelf(), Shelf()
        return switches("new", old=lambda **options: FourMethods(old, **options),
                        new=lambda **options: FourMethods(new, **options))  # fmt: skip


class TestSwitchOfChannels(QueueConformance):
    """Events travel by reference on both."""

    @pytest.fixture
    def make_queue(self) -> Iterator[MakeQueue]:
        names = [f"channel://{uuid.uuid4().hex}" for _ in range(2)]
        kept = [open_queue(name) for name in names]
        yield switches("new", old=address(names[0]), new=address(names[1]))
        kept.clear()


class TestSwitchOfReferences(QueueConformance):
    """With all that the contract knows; the first route is written."""

    lease = 0.5

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        old, new = Store(), Store()
        return switches("old", old=lambda **options: ReferenceQueue(old, **options),
                        new=lambda **options: ReferenceQueue(new, **options))  # fmt: skip


class WithoutDelay(ReferenceQueue):
    """Leases and keys, and no word about delays."""

    capabilities = ReferenceQueue.capabilities & ~Capability.DELAY


class TestSwitchWithALesserRoute(QueueConformance):
    """The route that is written has no DELAY: retries wait here."""

    lease = 0.5

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        old, new = Store(), Store()
        return switches("new", old=lambda **options: ReferenceQueue(old, **options),
                        new=lambda **options: DelayedQueue(WithoutDelay(new, **options)))  # fmt: skip


class TestSwitchOfFiles(QueueConformance):
    """Two SQLite files."""

    lease = 0.6

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        old, new = (address(f"sqlite:///{tmp_path / name}.db") for name in ("old", "new"))
        return switches("new", old=old, new=new)

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        """Into the file that is written, in the place of an event that was pushed."""
        assert isinstance(queue, SwitchQueue)
        url = queue.routes["new"].url
        assert url is not None
        place = Message(type="place", id=uuid.uuid4().hex, source="/conformance")
        await queue.push(place)
        with contextlib.closing(sqlite3.connect(url.path, isolation_level=None)) as file:
            file.execute("UPDATE message SET body = ? WHERE body = ?", (raw, wire.encode(place)))
        return None


class SwitchOfFileAndList(QueueConformance):
    """SQLite and a Redis list. Closing takes up to a second: for so long the server keeps what waits for the list."""

    lease = 0.6
    delay = 0.9
    chosen = "list"

    @pytest.fixture
    def make_queue(self, redis: Redis, tmp_path: Path) -> MakeQueue:
        name, file = f"conformance-{uuid.uuid4().hex}", f"sqlite:///{tmp_path / 'events.db'}"

        def listed(**options: Any) -> str:
            return redis.queue(name, **{"order": "key", **options})

        return switches(self.chosen, file=address(file), list=listed)


class TestSwitchToAList(SwitchOfFileAndList):
    """The list is written."""


@pytest.mark.soak  # each test waits a second at its end, for the list
class TestSwitchToAFile(SwitchOfFileAndList):
    """The file is written."""

    chosen = "file"
