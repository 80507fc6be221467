"""Where two ways of doing the same are measured side by side."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.redis_server import RedisServer


@contextlib.contextmanager
def places(*more: str) -> Iterator[tuple[list[str], Path]]:
    """The URLs that the command names, or `more`, a file and a Redis that is started; and a directory."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = sys.argv[1:]
        if not urls:
            server = stack.enter_context(RedisServer())
            urls = [*more, f"sqlite:///{directory / 'events.db'}", f"{server.url}?order=process"]
        yield urls, directory


def two_queues(url: str) -> tuple[str, str]:
    """Two new queues in this place."""
    mark = "&" if "?" in url else "?"
    first, second = (f"{url}{mark}queue=bench-{uuid.uuid4().hex[:8]}" for _ in range(2))
    return first, second
