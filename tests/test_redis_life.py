"""Queues in Redis of every form between their opening and their end."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import timedelta

import pytest

from queues.conformance.waiting import event, events, popped
from queues.errors import ConfigurationError, QueueClosed, QueueFull
from queues.registry import open_queue

from .redis_forms import FORMS, formed
from .redis_server import Redis, Start

every_form = pytest.mark.parametrize("form", FORMS)


@every_form
@pytest.mark.parametrize("option", ["capacity=0", "lease=0"])
def test_an_option_that_allows_nothing_is_refused(redis: Redis, form: str, option: str) -> None:
    """No room, or no time: with the name of the option."""
    with pytest.raises(ConfigurationError, match=rf"\?{option} must be more than 0"):
        open_queue(f"{formed(redis, form)}&{option}")


@every_form
async def test_a_queue_is_opened_once_and_closed_for_good(redis: Redis, form: str) -> None:
    """Opening an open one and closing a closed one do nothing; a closed one stays closed, opened before or not."""
    queue, never = open_queue(formed(redis, form)), open_queue(formed(redis, form))
    with pytest.raises(QueueClosed, match="not open yet"):
        await queue.push(event("e"))
    await queue.open()
    await queue.open()
    await queue.push(event("e"))
    for closed in (queue, never):
        await closed.close()
        await closed.close()
        with pytest.raises(QueueClosed, match="make a new queue"):
            await closed.open()


@every_form
async def test_closing_in_an_outage_says_what_becomes_of_what_is_left(
    redis_server: Start, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And raises nothing: whoever closes can do nothing about it."""
    server = redis_server()
    queue = open_queue(formed(server, form, connect_timeout="200ms", timeout="200ms"))
    await queue.open()
    popping = asyncio.ensure_future(queue.pop())
    await asyncio.sleep(0)
    popping.cancel()  # what it asked for comes all the same
    await queue.push(event("e"))
    async with asyncio.timeout(10):
        while await queue.size():
            await asyncio.sleep(0.01)
    server.kill()
    await queue.close()
    [line] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert ("is lost" if form == "at most once" else "comes back after its lease") in line.message


@every_form
async def test_a_server_without_memory_stores_nothing_with_dedup_either(redis_server: Start, form: str) -> None:
    """A script that has written once may go on writing: it has to be refused before it begins."""
    server = redis_server()
    async with open_queue(formed(server, form, dedup="1m")) as queue:
        await queue.push(event("before"))
        server.admin.config_set("maxmemory", "1")
        for message in (event("e"), event("later", not_before=queue.clock.now() + timedelta(hours=1))):
            with pytest.raises(QueueFull, match="maxmemory"):
                await queue.push(message)
        stats = await queue.stats()
        assert (stats.waiting, stats.delayed) == (1, 0)
        server.admin.config_set("maxmemory", "0")
        await queue.push(event("e"))
        assert await queue.size() == 2, "it was not noted as stored either"


@pytest.mark.parametrize("order", ["list stream", "stream list", "keyed stream", "stream keyed"])
async def test_a_name_that_was_drained_may_be_used_for_another_form(redis: Redis, order: str) -> None:
    """What a list or a stream leaves beside its key is nothing to the other."""
    name = f"q-{uuid.uuid4().hex[:12]}"
    for form in order.split():
        async with open_queue(formed(redis, form, name)) as queue:
            await queue.push_many([*events(3, key="k"), event("later", not_before=queue.clock.now())])
            assert await queue.ack_many(await popped(queue, 4, "it is handed out", 10)) == []
            stats = await queue.stats()
            assert (stats.waiting, stats.in_flight, stats.delayed, stats.settled) == (0, 0, 0, 4)
        redis.admin.delete(name)  # a stream stays when it is empty
