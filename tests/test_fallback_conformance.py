"""A queue with a fallback around it is the queue that it is without: it passes the same suite."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queues import Message, open_queue, wire
from queues.base import MessageQueue
from queues.conformance import MakeQueue, Owners, QueueConformance
from queues.fallback import FailFastQueue, FallbackQueue
from tests.four_methods import FourMethods, Shelf
from tests.redis_server import Redis
from tests.reference_queue import ReferenceQueue, Store


class Around(QueueConformance):
    """What moves letters back moves them into the queue itself: nothing of it is a dispatch."""

    async def test_a_dead_letter_that_comes_home_is_no_repetition(self, owners: Owners) -> None:
        """Refused as a repetition, for the sibling does not know what is around the queue."""
        owners.skip("letters come home to the queue inside")


@pytest.mark.soak  # the reference below shows more
class TestFallbackAroundFourMethods(QueueConformance):
    """Four methods are enough."""

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        shelf = Shelf()
        return lambda **options: FallbackQueue(FourMethods(shelf, **options), tmp_path)


class TestFallbackAroundAReference(QueueConformance):
    """With all that the contract knows."""

    lease = 0.5

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        store = Store()
        return lambda **options: FallbackQueue(ReferenceQueue(store, **options), tmp_path)

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        assert isinstance(queue, FallbackQueue)
        assert isinstance(queue.inner, ReferenceQueue)
        queue.inner.store_raw(raw)
        return None


class TestFallbackAroundAChannel(QueueConformance):
    """Whose events travel by reference as long as nothing is spilled."""

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> Iterator[MakeQueue]:
        name = f"channel://{uuid.uuid4().hex}"
        with_one_owner = open_queue(name)
        yield lambda **options: FallbackQueue(open_queue(_url(name, options)), tmp_path)
        del with_one_owner


class TestFallbackAroundSQLite(Around):
    """A spill and a queue are files of one kind."""

    lease = 0.6

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> MakeQueue:
        base = f"sqlite:///{tmp_path / 'events.db'}"
        return lambda **options: FallbackQueue(open_queue(_url(base, options)), tmp_path / "spill")

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        assert queue.url is not None
        place = Message(type="place", id=uuid.uuid4().hex, source="/conformance")
        await queue.push(place)
        with contextlib.closing(sqlite3.connect(queue.url.path, isolation_level=None)) as file:
            assert file.execute("UPDATE message SET body = ? WHERE body = ?", (raw, wire.encode(place))).rowcount == 1
        return None


@pytest.mark.soak
class TestFallbackAroundRedis(Around):
    """A list, in order by key."""

    @pytest.fixture
    def make_queue(self, redis: Redis, tmp_path: Path) -> MakeQueue:
        name = f"fallback-{uuid.uuid4().hex}"
        return lambda **options: FallbackQueue(
            open_queue(redis.queue(name, **{"order": "key", **options})), tmp_path
        )  # fmt: skip


class TestFailFast(QueueConformance):
    """What stands in its place where there is no spill."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        shelf = Shelf()
        return lambda **options: FailFastQueue(FourMethods(shelf, **options))


def _url(base: str, options: dict[str, Any]) -> str:
    return base + "?" + "&".join(f"{name}={value}" for name, value in options.items())
