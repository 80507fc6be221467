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


async def soon(awaitable: Awaitable[_T], duty: str, patience: float) -> _T:
    """What the awaitable gives; the test fails with `duty` when it takes longer than `patience` seconds."""
    task = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait([task], timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=patience)
        broken(duty, f"nothing within {patience:g} s")
    return task.result()


async def eventually(look: Callable[[], Awaitable[_T]], wanted: Callable[[_T], bool], duty: str, patience: float) -> _T:
    """The first look that is as wanted; the test fails with `duty` when there is none within `patience` seconds."""
    end = asyncio.get_running_loop().time() + patience
    while not wanted(seen := await soon(look(), duty, patience)):
        if asyncio.get_running_loop().time() > end:
            broken(duty, f"after {patience:g} s it is still {seen!r}")
        await asyncio.sleep(_PAUSE)
    return seen


async def popped(queue: MessageQueue, count: int, duty: str, patience: float) -> list[Delivery]:
    """Exactly `count` deliveries of this queue, in the order they came out."""
    got: list[Delivery] = []

    async def collect() -> None:
        while len(got) < count:
            got.extend(await queue.pop_many(count - len(got)))

    task = asyncio.ensure_future(collect())
    done, _ = await asyncio.wait([task], timeout=patience)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=patience)
        broken(duty, f"{len(got)} of {count} came out within {patience:g} s: {ids(got)}")
    task.result()
    return got


def broken(duty: str, seen: str) -> NoReturn:
    """Fail the running test: what the contract obliges to, and what was seen instead."""
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
