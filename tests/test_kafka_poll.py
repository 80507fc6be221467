"""What the polling thread reads is handed over whole, once, whatever the group does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from queues._kafka_client import TopicPartition
from queues._kafka_ledger import Ledger
from queues._kafka_poll import Poller, Subscription
from queues.clock import SYSTEM_CLOCK

A = TopicPartition("t", 0)


class Client:
    """A consumer with one partition of some events, of which a poll brings five. then: happens at its end; ask:
    while it is asked what the group has committed; think: before anything is done with the partition.
    """

    def __init__(self, events: int = 10) -> None:
        self.events = events
        self.position_, self.paused_, self.ours = 0, set[TopicPartition](), {A}
        self.then: Callable[[], object] = lambda: None
        self.ask: Callable[[], object] = lambda: None
        self.think: Callable[[], object] = lambda: None
        self.commits: list[Any] = []
        self.offsets_committed: set[TopicPartition] = set()

    def _check(self, partitions: Iterable[TopicPartition]) -> None:
        if not self.ours.issuperset(partitions):
            raise KeyError(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.ours)

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_)

    def pause(self, *partitions: TopicPartition) -> None:
        self.think()
        self._check(partitions)
        self.paused_.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.think()
        self._check(partitions)
        self.paused_.difference_update(partitions)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        found = (
            []
            if A in self.paused_
            else [record(n) for n in range(self.position_, min(self.position_ + 5, self.events))]
        )
        self.position_ += len(found)
        then, self.then = self.then, lambda: None
        then()
        return {A: found} if found else {}

    def group_metadata(self) -> Any:
        return SimpleNamespace(member_id="us")

    def committed(self, partition: TopicPartition, **_: Any) -> None:
        self.ask()

    def beginning_offsets(self, partitions: Sequence[TopicPartition], **_: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._check([partition])
        self.position_ = offset

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        self.think()
        self._check([partition])
        return self.position_

    def commit_async(self, offsets: Mapping[TopicPartition, object]) -> Any:
        self.offsets_committed.update(offsets)
        self.commits.append(SimpleNamespace(is_done=False, exception=None, value=None))
        return self.commits[-1]


class Owner:
    """Whom it is handed to."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def deliver(self, new: Mapping[TopicPartition, tuple[Ledger, Sequence[Any]]]) -> None:
        self.offsets += [one.offset for _, batch in new.values() for one in batch]

    def changed(self) -> None: ...
    def proved(self, began: float) -> None: ...
    def failed(self, error: Exception) -> None: ...
    def ended(self) -> None: ...


def polled_for(client: Client, owner: Owner) -> Poller:
    poller = Poller(Subscription(settings=dict, topics=["t"]), owner, SYSTEM_CLOCK)
    poller._listener.consumer = client
    return poller


def go_on(poller: Poller, client: Client, turns: int = 12) -> None:
    for _ in range(turns):
        for commit in client.commits:
            commit.is_done = True
        poller._once(client)


def record(offset: int) -> Any:
    return SimpleNamespace(offset=offset, value=b"{}", key=None, headers=[])


def test_a_partition_that_is_assigned_anew_while_it_is_paused_loses_nothing() -> None:
    """The client reads it on then; what it brings before the broker knows of us is dropped, so it is paused again."""
    client, owner = Client(), Owner()
    poller = polled_for(client, owner)

    def assign_anew() -> None:
        """All within one poll, in the client's own thread."""
        poller.books.drop([A])
        client.paused_.clear()

    poller._once(client)  # it is ours, and early
    client.then = assign_anew
    for _ in range(3):
        poller._once(client)
    assert owner.offsets == []
    go_on(poller, client)
    assert owner.offsets == [*range(10)]


def test_a_commit_of_the_books_before_admits_nobody() -> None:
    """It says what the owner had finished who has given it up; nobody knows of the one who has it now."""
    client, owner = Client(), Owner()
    poller = polled_for(client, owner)
    poller._once(client)
    poller.books.drop([A])
    poller._once(client)  # new books
    client.commits[0].is_done = True
    for _ in range(3):
        poller._once(client)
    assert owner.offsets == []
    go_on(poller, client)
    assert owner.offsets == [*range(10)]


def test_a_partition_that_was_read_before_it_was_told_of_loses_nothing() -> None:
    """A rebalance that gives and takes: the client has the new ones while it still waits for those that it gives up,
    and only then tells of them.
    """
    client, owner = Client(), Owner()
    poller = polled_for(client, owner)
    poller._once(client)
    client.commits[0].is_done = True
    poller._once(client)  # the broker knows that it is ours

    def tell() -> None:
        asyncio.run(poller._listener.on_partitions_assigned([A]))

    client.then = tell
    go_on(poller, client)
    assert owner.offsets == [*range(10)]


def test_no_books_are_opened_for_a_partition_that_is_taken_from_us_meanwhile() -> None:
    """They would be committed on and on, over what its owner commits."""
    client, owner = Client(), Owner()
    poller = polled_for(client, owner)
    client.ask = client.ours.clear
    poller._once(client)
    assert poller.books.ledgers == {}
    go_on(poller, client)
    assert client.offsets_committed == set()


@pytest.mark.parametrize(("turns", "events"), [(1, 10), (2, 10), (4, 0)], ids=["pause", "resume", "look"])
def test_a_partition_that_is_taken_from_us_at_any_moment_costs_nothing_else(turns: int, events: int) -> None:
    """The client raises for what it has not any more; it must not end for that, and with it all else that we run."""
    client, owner = Client(events), Owner()
    poller = polled_for(client, owner)
    go_on(poller, client, turns)

    def take_away() -> None:
        client.ours.clear()
        poller.books.drop([A])

    client.think = take_away
    poller._look_at = 0.0
    for _ in range(3):
        poller._once(client)
    assert poller.books.ledgers == {}
