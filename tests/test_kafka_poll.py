"""What the polling thread reads is handed over whole, whatever the group does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from queues._kafka_client import TopicPartition
from queues._kafka_ledger import Ledger
from queues._kafka_poll import Poller, Subscription
from queues.clock import SYSTEM_CLOCK

A = TopicPartition("t", 0)


class Client:
    """A consumer with one partition of ten events, of which a poll brings five. then: happens at the end of a poll."""

    def __init__(self) -> None:
        self.position_, self.paused_ = 0, set[TopicPartition]()
        self.then: Callable[[], object] = lambda: None
        self.commits: list[Any] = []

    def assignment(self) -> set[TopicPartition]:
        return {A}

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused_.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused_.difference_update(partitions)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        found = [] if A in self.paused_ else [record(n) for n in range(self.position_, min(self.position_ + 5, 10))]
        self.position_ += len(found)
        then, self.then = self.then, lambda: None
        then()
        return {A: found} if found else {}

    def group_metadata(self) -> Any:
        return SimpleNamespace(member_id="us")

    def committed(self, partition: TopicPartition, **_: Any) -> None:
        return None

    def beginning_offsets(self, partitions: Sequence[TopicPartition], **_: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position_ = offset

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        return self.position_

    def commit_async(self, offsets: object) -> Any:
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


def record(offset: int) -> Any:
    return SimpleNamespace(offset=offset, value=b"{}", key=None, headers=[])


def test_a_partition_that_is_assigned_anew_while_it_is_paused_loses_nothing() -> None:
    """The client reads it on then; what it brings before the broker knows of us is dropped, so it is paused again."""
    client, owner = Client(), Owner()
    poller = Poller(Subscription(settings=dict, topics=["t"]), owner, SYSTEM_CLOCK)
    poller._listener.consumer = client
    poller._listener.assigned.append(A)

    def assign_anew() -> None:
        """All within one poll, in the client's own thread."""
        poller._listener.gone.append(A)
        poller.books.drop([A])
        client.paused_.clear()
        poller._listener.assigned.append(A)

    poller._once(client)  # it is ours, and early
    client.then = assign_anew
    for _ in range(3):
        poller._once(client)
    assert owner.offsets == []
    for _ in range(12):
        for commit in client.commits:
            commit.is_done = True
        poller._once(client)
    assert owner.offsets == [*range(10)]
