"""Runs outside of the workers take their turn in the lanes, and no queue hears of them."""

from __future__ import annotations

import asyncio

import pytest

from queues.clock import ManualClock
from queues.message import Delivery, Message
from tests.stage import turns
from workers.lanes import Lanes


def delivery(name: str, key: str | None = "k") -> Delivery:
    return Delivery(Message(type="stage.note", id=name, source="/tests", key=key))


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(ManualClock(), lambda message: message.key, lambda: None)


async def test_a_guest_of_a_free_key_runs_at_once_and_holds_those_behind_it(lanes: Lanes) -> None:
    """As a worker's run does; without a key it holds nobody."""
    guest, worker = delivery("guest"), delivery("worker")
    assert await lanes.turn(guest)
    lanes.add(worker)
    assert list(lanes.ready) == []
    lanes.leave(guest)
    assert list(lanes.ready) == [worker]
    assert await lanes.turn(delivery("free", key=None))


async def test_guests_and_deliveries_come_in_the_order_of_their_arrival(lanes: Lanes) -> None:
    """One at a time."""
    first, guest, last = delivery("first"), delivery("guest"), delivery("last")
    lanes.add(first)
    waiting = asyncio.ensure_future(lanes.turn(guest))
    await turns(3)
    lanes.add(last)
    assert list(lanes.ready) == [first]
    lanes.next(first)
    assert await waiting
    assert list(lanes.ready) == [first]
    lanes.leave(guest)
    assert list(lanes.ready) == [first, last]


async def test_a_guest_that_may_not_wait_is_told_so(lanes: Lanes) -> None:
    """And leaves nothing behind."""
    head = delivery("head")
    lanes.add(head)
    assert not await lanes.turn(delivery("guest"), wait=False)
    lanes.next(head)
    assert await lanes.turn(delivery("another"), wait=False)


async def test_a_guest_behind_what_goes_back_to_the_queue_is_sent_home(lanes: Lanes) -> None:
    """Its key is not ours any more; those that are the queue's go back, without it. So does one that comes late."""
    head, guest, behind = delivery("head"), delivery("guest"), delivery("behind")
    lanes.add(head)
    waiting = asyncio.ensure_future(lanes.turn(guest))
    await turns(3)
    lanes.add(behind)
    assert lanes.clear(head) == [behind]
    assert not await waiting
    assert not await lanes.turn(delivery("late"))


async def test_at_the_end_waiting_guests_are_sent_home(lanes: Lanes) -> None:
    """What is handed back is the queue's."""
    head, guest, behind = delivery("head"), delivery("guest"), delivery("behind")
    lanes.add(head)
    waiting = asyncio.ensure_future(lanes.turn(guest))
    await turns(3)
    lanes.add(behind)
    assert lanes.drain() == ([], [head, behind])
    assert not await waiting


@pytest.mark.parametrize("in_the_same_moment", [False, True])
async def test_a_guest_that_gives_up_lets_the_next_one_pass(lanes: Lanes, *, in_the_same_moment: bool) -> None:
    """Before its turn came, or just when it came."""
    head, guest, behind = delivery("head"), delivery("guest"), delivery("behind")
    lanes.add(head)
    waiting = asyncio.ensure_future(lanes.turn(guest))
    await turns(3)
    lanes.add(behind)
    if in_the_same_moment:
        lanes.next(head)
    waiting.cancel()
    await asyncio.wait([waiting])
    if not in_the_same_moment:
        lanes.next(head)
    assert list(lanes.ready) == [head, behind]


async def test_a_guest_that_was_cancelled_and_has_not_noticed_yet_is_passed_over(lanes: Lanes) -> None:
    """Its future is done; the next one has its turn."""
    head, guest, behind = delivery("head"), delivery("guest"), delivery("behind")
    lanes.add(head)
    waiting = asyncio.ensure_future(lanes.turn(guest))
    await turns(3)
    lanes.add(behind)
    waiting.cancel()
    lanes.next(head)
    await asyncio.wait([waiting])
    assert list(lanes.ready) == [head, behind]
