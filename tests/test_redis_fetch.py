"""What pops on Redis wait for loses nothing, whatever happens while it is under way."""

from __future__ import annotations

import asyncio

from queues._redis_fetch import Fetch
from queues.message import Delivery, Message


async def test_what_is_fetched_while_something_else_is_dropped_is_there() -> None:
    """A lease is renewed, and what it lost is forgotten, while the server is asked for more."""
    first, second, answer = (Delivery(Message(type="t", id=one, source="/t")) for one in "abc")
    asked, go = asyncio.Event(), asyncio.Event()
    answers = [[first, second], [answer]]

    async def bring(limit: int) -> list[Delivery]:
        if len(answers) == 1:
            asked.set()
            await go.wait()
        return answers.pop(0)

    fetch = Fetch(bring, "closed")
    assert await fetch.pop(2) == [first, second]
    popping = asyncio.ensure_future(fetch.pop(1))
    await asked.wait()
    fetch.drop([first])
    go.set()
    assert await popping == [answer]
    await fetch.close()
