"""Where the queue of a fault test is: here, in a file, in Redis as a list, keyed or not, or a stream, in Kafka."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from tests.kafka_server import Kafka
from tests.redis_server import Redis
from tests.stage import address

_REDIS = {"list": ("redis", "process"), "keyed": ("redis", "key"), "stream": ("redis+stream", "process")}
"""The scheme and the order that go with each kind of queue there."""
ON_REDIS = frozenset(_REDIS)


@frozen
class Home:
    """kind: `channel`, `reference`, `sqlite`, of a Redis `list`, `keyed`, `stream`, or `kafka`; server: where it is."""

    kind: str
    server: Redis | Kafka | None = None

    @property
    def keyed(self) -> bool:
        """Whether the order by key holds across processes."""
        return self.kind not in {"list", "stream"}

    @property
    def rate(self) -> float:
        """Dispatches a second that it is made for, of one process that waits for each fifty."""
        return 500.0 if self.kind == "kafka" else float("inf")

    def url(self, directory: Path, **options: Any) -> str:
        """Of a queue that nobody else has: in this directory, or under a name of its own."""
        if self.server is None:
            query = "&".join(f"{name}={value}" for name, value in options.items())
            return address(self.kind, directory) + (f"?{query}" if query else "")
        if isinstance(self.server, Kafka):
            return topic_of_its_own(self.server, **options)
        scheme, order = _REDIS[self.kind]
        return self.server.queue(f"faults-{uuid.uuid4().hex[:8]}", scheme=scheme, **{"order": order, **options})

    @property
    def port(self) -> int:
        """Where its Redis listens."""
        return urlsplit(self._redis.url).port or 6379

    def behind(self, port: int) -> Home:
        """The same, reached through this port of this machine."""
        return Home(self.kind, Redis(f"redis://127.0.0.1:{port}/0", self._redis.admin))

    @property
    def _redis(self) -> Redis:
        assert isinstance(self.server, Redis)
        return self.server


def topic_of_its_own(server: Kafka, *, lease: float | None = None, partitions: int = 6, **options: Any) -> str:
    """The URL of a new topic, read by a group that nobody else is in. lease: the session's timeout, in seconds."""
    topic = server.create(partitions=partitions)
    session = {} if lease is None else {"session_timeout": lease}
    return server.url(topic, **session, **options)


def homes(*kinds: str, full_size: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """A test's `home` is each of these in turn; those of `full_size` only in `make soak`."""
    rare = [pytest.param(kind, marks=pytest.mark.soak) for kind in full_size]
    return pytest.mark.parametrize("home", [*kinds, *rare], indirect=True)


def kinds(*small: str, full_size: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """The same for a test with a server of its own: its `kind`."""
    return pytest.mark.parametrize(
        "kind", [*small, *(pytest.param(kind, marks=pytest.mark.soak) for kind in full_size)]
    )


EVERY_HOME = homes("sqlite", "list", "stream", "keyed", "kafka")
