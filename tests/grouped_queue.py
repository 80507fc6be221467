"""The reference queue with consumer groups: each group has a store of its own, and a push goes into all of them."""

from __future__ import annotations

from queues import wire
from queues.base import Capability
from queues.message import Message
from queues.url import QueueURL
from tests.reference_queue import ReferenceQueue, Store

Topic = dict[str, Store]
_topics: dict[tuple[tuple[str, ...], str], Topic] = {}


class GroupedQueue(ReferenceQueue):
    """A group sees what was pushed since it was first opened, and of copies for one group only its own."""

    capabilities = ReferenceQueue.capabilities | Capability.GROUPS

    def __init__(self, topic: Topic, group: str = "all", *, capacity: int | None = None, lease: float = 30.0) -> None:
        self._topic = topic
        super().__init__(topic.setdefault(group, Store()), capacity=capacity, lease=lease)

    @classmethod
    def from_url(cls, url: QueueURL) -> GroupedQueue:
        """`grouped://topic?group=…&capacity=…&lease=…`."""
        topic = _topics.setdefault((url.hosts, url.name), {})
        options = {name: float(value) for name, value in url.options.items()}
        capacity = options.get("capacity")
        return cls(
            topic, url.group or "all", capacity=None if capacity is None else int(capacity),
            lease=options.get("lease", 30.0),
        )  # fmt: skip

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        if message.group is None or self._topic.get(message.group) is self._store:
            await super().push(message, timeout=timeout)
        due = message.not_before.timestamp() if message.not_before else 0.0
        for group, store in self._topic.items():
            if store is not self._store and message.group in {None, group}:
                self.store_raw(wire.encode(message), message.key, due, store)
