"""Waiting for states, bounded, with the duty of the contract in the failure's text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, TypeVar

import pytest

from ..base import MessageQueue
from ..message import Delivery, Message

_T = TypeVar("_T")
_PAUSE = 0.01
# `__tracebackhide__`, here and in suite.py: a failure is shown where the test stands, not where it waits.


async def soon(awaitable: Awaitable[_T], duty: str, patience: float) -> _T:
    """What the awaitable gives; the test fails with `duty` when it takes longer than `patience` seconds."""
    __tracebackhide__ = True
    task = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait([task], timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=patience)
        broken(duty, f"nothing within {patience:g} s")
    return task.result()


async def eventually(look: Callable[[], Awaitable[_T]], wanted: Callable[[_T], bool], duty: str, patience: float) -> _T:
    """The first look that is as wanted; the test fails with `duty` when there is none within `patience` seconds."""
    __tracebackhide__ = True
    end = asyncio.get_running_loop().time() + patience
    while not wanted(seen := await soon(look(), duty, patience)):
        if asyncio.get_running_loop().time() > end:
            broken(duty, f"after {patience:g} s it is still {seen!r}")
        await asyncio.sleep(_PAUSE)
    return seen


async def popped(
    queue: MessageQueue, count: int, duty: str, patience: float, limit: int | None = None
) -> list[Delivery]:
    """`count` deliveries of this queue, in the order they came out; exactly so many, unless each pop has a `limit`."""
    __tracebackhide__ = True
    got: list[Delivery] = []

    async def collect() -> None:
        while len(got) < count:
            got.extend(await some(queue, limit or count - len(got)))

    task = asyncio.ensure_future(collect())
    done, _ = await asyncio.wait([task], timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=patience)
        broken(duty, f"{len(got)} of {count} came out within {patience:g} s: {ids(got)}")
    task.result()
    return got


async def some(queue: MessageQueue, limit: int) -> list[Delivery]:
    """One pop_many; the test fails when it gives no list of deliveries."""
    __tracebackhide__ = True
    batch: object = await queue.pop_many(limit)
    if not isinstance(batch, list):
        broken("pop_many returns a list of deliveries", f"this one returned {batch!r:.200}")
    if wrong := [type(one).__name__ for one in batch if not isinstance(one, Delivery)]:
        broken("pop and pop_many hand out a Delivery, which wire.delivery_of() makes", f"this is a {wrong[0]}")
    if not batch:  # a queue that never waits must not keep the end of our patience from coming
        await asyncio.sleep(0)
    return batch


def broken(duty: str, seen: str) -> NoReturn:
    """Fail the running test: what the contract obliges to, and what was seen instead."""
    __tracebackhide__ = True
    pytest.fail(f"{duty} ({seen})", pytrace=True)


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    """The ids of the events handed out, in order."""
    return [delivery.expect().id for delivery in deliveries]


def event(name: str, **fields: Any) -> Message:
    """A small message whose id is `name`; `fields` as those of Message."""
    return Message(**{"type": "conformance.event", "id": name, "source": "/conformance", **fields})


def events(count: int, *, key: str | None = None, prefix: str = "e") -> list[Message]:
    """`count` small messages, e0, e1, …"""
    return [event(f"{prefix}{number}", key=key) for number in range(count)]
