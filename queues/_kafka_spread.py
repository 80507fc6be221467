"""Which event goes to which partition."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ._kafka_options import Partitioner
from ._kafka_partition import partition_of
from ._kafka_wire import Record


class Spread:
    """By the key, or not, as `?partitioner=` says. A record that names its partition goes there."""

    def __init__(self, partitioner: Partitioner) -> None:
        self._partitioner = partitioner
        self._turn = random.randrange(1 << 16)  # noqa: S311 - so that not all processes begin with the same partition

    def places(self, records: Sequence[Record], count: int, led: Iterable[int]) -> list[int]:
        """The partition of each record, in a topic of `count`. led: those that have a leader now."""
        if self._partitioner == "key":
            return self._by_key(records, count, sorted(led))
        if self._partitioner == "random":
            spots = random.choices(range(count), k=len(records))  # noqa: S311 - no secret hangs on it
        else:
            spots = [number % count for number in range(self._turn, self._turn + len(records))]
            self._turn += len(records)
        return [
            spot if record.partition is None else record.partition for spot, record in zip(spots, records, strict=True)
        ]

    def _by_key(self, records: Sequence[Record], count: int, led: Sequence[int]) -> list[int]:
        """What has no key goes to the next partition that has a leader, all of a batch together."""
        self._turn += 1
        spot = led[self._turn % len(led)] if led else self._turn % count
        return [
            partition if partition is not None else spot if key is None else partition_of(key, count)
            for _, key, partition in records
        ]
