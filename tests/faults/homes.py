"""Where the queue of a fault test is: here, in a file, or in a Redis as a list, a list in order by key, a stream."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from tests.redis_server import Redis
from tests.stage import address

_REDIS = {"list": ("redis", "process"), "keyed": ("redis", "key"), "stream": ("redis+stream", "process")}
"""The scheme and the order that go with each kind of queue there."""
ON_REDIS = frozenset(_REDIS)


@frozen
class Home:
    """kind: `channel`, `reference`, `sqlite`, or of a Redis `list`, `keyed`, `stream`; server: that Redis."""

    kind: str
    server: Redis | None = None

    @property
    def keyed(self) -> bool:
        """Whether the order by key holds across processes."""
        return self.kind not in {"list", "stream"}

    def url(self, directory: Path, **options: object) -> str:
        """Of a queue that nobody else has: in this directory, or under a name of its own."""
        if self.server is None:
            query = "&".join(f"{name}={value}" for name, value in options.items())
            return address(self.kind, directory) + (f"?{query}" if query else "")
        scheme, order = _REDIS[self.kind]
        given: dict[str, Any] = {"order": order, **options}
        return self.server.queue(f"faults-{uuid.uuid4().hex[:8]}", scheme=scheme, **given)

    @property
    def port(self) -> int:
        """Where its Redis listens."""
        assert self.server is not None
        return urlsplit(self.server.url).port or 6379

    def behind(self, port: int) -> Home:
        """The same, reached through this port of this machine."""
        assert self.server is not None
        return Home(self.kind, Redis(f"redis://127.0.0.1:{port}/0", self.server.admin))


def homes(*kinds: str, full_size: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """A test's `home` is each of these in turn; those of `full_size` only in `make soak`."""
    rare = [pytest.param(kind, marks=pytest.mark.soak) for kind in full_size]
    return pytest.mark.parametrize("home", [*kinds, *rare], indirect=True)


def kinds(*small: str, full_size: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """The same for a test with a server of its own: its `kind`."""
    return pytest.mark.parametrize(
        "kind", [*small, *(pytest.param(kind, marks=pytest.mark.soak) for kind in full_size)]
    )


EVERY_HOME = homes("sqlite", "list", "stream", "keyed")
