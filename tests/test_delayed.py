"""DelayedQueue: retries wait in this process, and nothing is lost or promised by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from queues.base import Capability, MessageQueue
from queues.clock import ManualClock
from queues.delayed import DelayedQueue
from queues.errors import PushFailed, QueueClosed, QueueUnavailable, Unsupported
from queues.message import Delivery, Message, Nack
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store


def message(name: str, **fields: Any) -> Message:
    return Message(**{"type": "t", "id": name, "source": "/s", **fields})


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.expect().id for delivery in deliveries]


async def opened(inner: MessageQueue) -> tuple[DelayedQueue, ManualClock]:
    queue, clock = DelayedQueue(inner), ManualClock()
    queue.clock = clock
    await queue.open()
    return queue, clock


class Leased(ReferenceQueue):
    """ACK without DELAY; counts renewals, and is out of reach while told so."""

    capabilities = Capability.ACK
    renewals = 0
    down = False

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        self.renewals += 1
        return await super().extend(deliveries)

    async def nack_many(self, nacks: Sequence[Nack]) -> list[Delivery]:
        if self.down:
            raise QueueUnavailable("down, as the test wants")
        return await super().nack_many(nacks)


async def test_a_retry_goes_back_when_it_is_due_and_not_before() -> None:
    """On the clock, with the message the policy made."""
    queue, clock = await opened(FourMethods(Shelf()))
    await queue.push(message("e"))
    delivery = await queue.pop()
    await queue.nack_many([Nack(delivery, 30.0, message("e", attempt=2))])
    await clock.advance(29.9)
    assert await queue.size() == 0
    await clock.advance(0.2)
    assert await queue.size() == 1
    assert (await queue.pop()).expect().attempt == 2


async def test_retries_go_back_in_the_order_they_fall_due() -> None:
    """One alarm, always for the earliest."""
    queue, clock = await opened(FourMethods(Shelf()))
    await queue.push_many([message("a"), message("b"), message("c")])
    deliveries = [await queue.pop() for _ in range(3)]
    for delivery, delay in zip(deliveries, (30.0, 10.0, 20.0), strict=True):
        await queue.nack_many([Nack(delivery, delay)])
    await clock.advance(60)
    assert ids([await queue.pop() for _ in range(3)]) == ["b", "c", "a"]


async def test_what_waits_is_shown_as_delayed() -> None:
    """stats() of this process; size() counts only what is due."""
    queue, clock = await opened(Leased(Store()))
    await queue.push_many([message("a"), message("b")])
    [first, _] = await queue.pop_many(2)
    await queue.nack_many([Nack(first, 30.0)])
    stats = await queue.stats()
    assert (stats.waiting, stats.in_flight, stats.delayed) == (0, 1, 1)
    await clock.advance(31)
    stats = await queue.stats()
    assert (stats.waiting, stats.in_flight, stats.delayed) == (1, 1, 0)


async def test_a_dispatch_with_a_delay_is_refused() -> None:
    """It would die with this process; the error names queues that keep it. The rest of the batch is stored."""
    queue, clock = await opened(FourMethods(Shelf()))
    late = message("late", not_before=clock.now() + timedelta(seconds=1))
    past = message("past", not_before=clock.now() - timedelta(seconds=1))
    with pytest.raises(Unsupported, match="sqlite:///"):
        await queue.push(late)
    with pytest.raises(PushFailed) as failed:
        await queue.push_many([message("now"), late, past])
    assert {index: type(error) for index, error in failed.value.errors.items()} == {1: Unsupported}
    assert await queue.size() == 2


async def test_the_indices_of_a_refused_batch_are_those_of_the_caller() -> None:
    """Although the inner queue was given a shorter batch."""
    queue, clock = await opened(FourMethods(Shelf(), capacity=1))
    late = message("late", not_before=clock.now() + timedelta(seconds=1))
    with pytest.raises(PushFailed) as failed:
        await queue.push_many([late, message("fits"), message("too much")], timeout=0)
    assert set(failed.value.errors) == {0, 2}


async def test_nothing_is_declared_that_the_inner_queue_does_not_have() -> None:
    """DELAY is for what survives a process."""
    queue, _ = await opened(Leased(Store(), lease=12.0))
    assert queue.capabilities == Capability.ACK
    assert queue.lease == 12.0


async def test_a_nack_into_a_full_queue_is_offered_again() -> None:
    """The default nack of the contract is refused by a full queue; nothing is lost and nobody waits."""
    queue, clock = await opened(FourMethods(Shelf(), capacity=1))
    await queue.push(message("mine"))
    mine = await queue.pop()
    await queue.push(message("other"))
    await queue.nack_many([Nack(mine)])
    assert (await queue.stats()).delayed == 1
    await clock.advance(5)
    assert ids([await queue.pop()]) == ["other"]
    await clock.advance(5)
    assert ids([await queue.pop()]) == ["mine"]


async def test_a_retry_survives_an_outage_of_its_queue() -> None:
    """Offered again until it is taken."""
    inner = Leased(Store())
    queue, clock = await opened(inner)
    await queue.push(message("e"))
    await queue.nack_many([Nack(await queue.pop(), 10.0)])
    inner.down = True
    await clock.advance(20)
    assert (await queue.stats()).delayed == 1
    inner.down = False
    await clock.advance(1)
    assert await queue.size() == 1


async def test_what_waits_keeps_its_lease() -> None:
    """ACK: renewed here each third of the lease, and with what the caller renews."""
    inner = Leased(Store(), lease=30.0)
    queue, clock = await opened(inner)
    await queue.push(message("e"))
    await queue.nack_many([Nack(await queue.pop(), 120.0, message("e", attempt=2))])
    await clock.advance(119)
    assert inner.renewals >= 12
    await clock.advance(2)
    again = await queue.pop()
    assert (again.expect().attempt, again.times) == (2, 1)


async def test_a_retry_that_lost_its_lease_is_forgotten() -> None:
    """It is another owner's by then; a nack at once would make two of it."""
    store = Store()
    inner = Leased(store, lease=30.0)
    queue, clock = await opened(inner)
    other = Leased(store, lease=30.0)
    other.clock = clock
    await queue.push(message("e"))
    await queue.nack_many([Nack(await queue.pop(), 100.0)])
    store.lives_until[inner] = 0.0
    assert ids(await other.pop_many(1)) == ["e"]
    await clock.advance(200)
    assert (await queue.stats()).delayed == 0
    assert await queue.size() == 0


class LeasedByKey(Leased):
    """The same with KEYED."""

    capabilities = Capability.ACK | Capability.KEYED


async def test_a_lost_retry_frees_its_key() -> None:
    """What comes of it later, when the other owner is through, is handed out here."""
    store = Store()
    inner = LeasedByKey(store, lease=30.0)
    queue, clock = await opened(inner)
    other = LeasedByKey(store, lease=30.0)
    other.clock = clock
    await queue.push(message("e", key="k"))
    await queue.nack_many([Nack(await queue.pop(), 100.0)])
    store.lives_until[inner] = 0.0
    assert await other.ack_many(await other.pop_many(1)) == []
    await clock.advance(30)
    await queue.push(message("next", key="k"))
    assert ids(await queue.pop_many(1)) == ["next"]


async def test_a_retry_that_was_lost_before_it_waits_is_reported() -> None:
    """nack_many returns what was no longer ours, with a delay too."""
    store = Store()
    inner = Leased(store, lease=30.0)
    queue, clock = await opened(inner)
    other = Leased(store)
    other.clock = clock
    await queue.push(message("e"))
    delivery = await queue.pop()
    store.lives_until[inner] = 0.0
    await other.pop_many(1)
    assert await queue.nack_many([Nack(delivery, 10.0)]) == [delivery]


async def test_closing_puts_back_what_waits_at_once() -> None:
    """Without ACK it would be gone: the delay is lost, the event and its attempt are not."""
    shelf = Shelf()
    queue, _ = await opened(FourMethods(shelf))
    await queue.push(message("e"))
    await queue.nack_many([Nack(await queue.pop(), 3600.0, message("e", attempt=2))])
    await queue.close()
    assert (await FourMethods(shelf).pop()).expect().attempt == 2


async def test_closing_a_full_queue_says_what_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    """A queue of four methods that has no room can't take it back; that is an ERROR with the ids."""
    queue, _ = await opened(FourMethods(Shelf(), capacity=1))
    await queue.push(message("retry-7"))
    await queue.nack_many([Nack(await queue.pop(), 3600.0)])
    await queue.push(message("other"))
    with caplog.at_level(logging.ERROR):
        await queue.close()
    assert "retry-7" in caplog.text


async def test_a_closed_queue_takes_no_retries() -> None:
    """They would wait for ever."""
    queue, _ = await opened(FourMethods(Shelf()))
    await queue.push(message("e"))
    delivery = await queue.pop()
    await queue.close()
    with pytest.raises(QueueClosed):
        await queue.nack_many([Nack(delivery, 1.0)])


async def test_a_key_waits_behind_its_retry() -> None:
    """KEYED without DELAY: what the inner queue hands out of that key is parked until the retry is back."""

    class KeyedOnly(ReferenceQueue):
        capabilities = Capability.ACK | Capability.KEYED

    queue, clock = await opened(KeyedOnly(Store()))
    await queue.push_many([message(name, key="k") for name in "abc"])
    await queue.nack_many([Nack((await queue.pop_many(1))[0], 10.0)])
    waiting = asyncio.ensure_future(queue.pop_many(5))
    await clock.advance(9)
    await queue.push(message("other", key="x"))
    got = ids(await waiting)
    await clock.advance(2)
    while len(got) < 4:
        got += ids(await queue.pop_many(5))
    assert got == ["other", "a", "b", "c"]
