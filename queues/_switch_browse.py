"""Looking at several routes: one after another, or, to follow them, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from .message import Message


async def in_turn(views: Sequence[AsyncIterator[Message]]) -> AsyncIterator[Message]:
    """What the first has, then what the next has."""
    for view in views:
        async for message in view:
            yield message


async def together(views: Sequence[AsyncIterator[Message]]) -> AsyncIterator[Message]:
    """What any of them has, as it comes, until all have ended. Raises what any of them raises."""
    looks = {asyncio.ensure_future(anext(view)): view for view in views}
    try:
        while looks:
            done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            for look in done:
                view = looks.pop(look)
                try:
                    message = look.result()
                except StopAsyncIteration:
                    continue
                looks[asyncio.ensure_future(anext(view))] = view
                yield message
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
