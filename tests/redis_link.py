"""Connections to the servers of the tests, as the queues make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from queues._redis_link import Link
from queues._redis_server import Server, ServerOptions
from queues.url import QueueURL

from .redis_server import PASSWORD


def server_of(url: str) -> Server:
    """Where that is; `url` as users write it."""
    parsed = QueueURL.parse(url)
    return Server(parsed, parsed.read(ServerOptions))


@asynccontextmanager
async def linked(url: str, *, block: float = 0.0, opened: bool = True) -> AsyncIterator[Link]:
    """A link there, opened, and closed in the end."""
    link = Link(server_of(url), block=block)
    try:
        if opened:
            await link.open()
        yield link
    finally:
        await link.close()


def with_password(url: str, user: str = "", password: str = PASSWORD) -> str:
    """The same place for somebody."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"
