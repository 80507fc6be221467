"""What is left of a topic for a consumer group. Blocks: for a thread that may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from ._kafka_client import IsolationLevel, OffsetSpec, TopicPartition, client
from ._kafka_metadata import Range, decode


@frozen
class Left:
    """Of one partition, for one group. low: the first offset that is not finished; end: of the next event that will be
    written; finished: behind `low`.
    """

    low: int
    end: int
    finished: Sequence[Range] = field(factory=tuple)

    @classmethod
    def of(cls, oldest: int, end: int, committed: Any) -> Left:
        """Of what the broker says. committed: an OffsetAndMetadata, None where the group never committed."""
        if committed is None or committed.offset < 0 or committed.offset > end:
            return cls(oldest, end)
        left = cls(committed.offset, end, decode(committed.offset, committed.metadata or "").finished)
        return cls(max(oldest, left.low), end, left.behind(oldest))

    @property
    def ahead(self) -> int:
        """How many are finished behind `low`."""
        return sum(end - start for start, end in self.finished)

    @property
    def count(self) -> int:
        """How many are not finished."""
        return max(0, self.end - self.low - self.ahead)

    def behind(self, offset: int) -> tuple[Range, ...]:
        """What is finished from this offset on."""
        return tuple(Range(max(offset, start), end) for start, end in self.finished if end > offset)

    def has(self, offset: int) -> bool:
        """Whether this one is left."""
        return offset >= self.low and not any(start <= offset < end for start, end in self.finished)


def partitions_of(admin: Any, topic: str) -> list[TopicPartition]:
    """All of a topic. Raises the client's UnknownTopicOrPartitionError."""
    [described] = admin.describe_topics([topic])
    if described["error_code"]:
        raise client.for_code(described["error_code"])(topic)
    return [TopicPartition(topic, one["partition_index"]) for one in described["partitions"]]


def left_of(admin: Any, topic: str, group: str) -> dict[int, Left]:
    """By partition. A group that never committed begins at the oldest event."""
    places = partitions_of(admin, topic)
    ends = admin.list_partition_offsets(
        dict.fromkeys(places, OffsetSpec.LATEST), isolation_level=IsolationLevel.READ_COMMITTED
    )
    oldest = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
    committed = admin.list_group_offsets({group: places}).get(group, {})
    return {
        place.partition: Left.of(oldest[place].offset, ends[place].offset, committed.get(place)) for place in places
    }
