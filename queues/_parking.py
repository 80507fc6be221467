"""Where retries wait in this process until they are due, and what has to stay behind them. Decides; does no I/O."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence

from .message import Delivery, Nack


class Parking:
    """Nacks by due time, and deliveries parked behind one of their key."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Nack]] = []
        self._serial = itertools.count()
        self._keys: dict[str, list[Delivery]] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, nack: Nack, *, keyed: bool) -> None:
        """`keyed`: those behind it in its key must wait for it, as they do in a queue with KEYED and DELAY."""
        heapq.heappush(self._heap, (due, next(self._serial), nack))
        if keyed and (key := nack.delivery.expect().key) is not None:
            self._keys.setdefault(key, [])

    def earliest(self) -> float | None:
        """When the first of them is due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, limit: int) -> list[Nack]:
        """Take out up to `limit` that are due."""
        found: list[Nack] = []
        while self._heap and self._heap[0][0] <= now and len(found) < limit:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def waits(self) -> list[tuple[float, Nack]]:
        """All that waits for its time, with that."""
        return [(due, nack) for due, _, nack in sorted(self._heap)]

    def take_farthest(self, which: Callable[[Delivery], bool]) -> list[Delivery]:
        """Take out the half of these that is due last."""
        chosen = sorted(entry for entry in self._heap if which(entry[2].delivery))
        gone = {entry[1] for entry in chosen[len(chosen) // 2 :]}
        self._heap = [entry for entry in self._heap if entry[1] not in gone]
        heapq.heapify(self._heap)
        return [entry[2].delivery for entry in chosen if entry[1] in gone]

    def let_pass(self, batch: list[Delivery]) -> list[Delivery]:
        """Those of the batch whose key no retry holds; the others are parked."""
        if not self._keys:
            return batch
        passing: list[Delivery] = []
        for delivery in batch:
            key = delivery.expect().key
            parked = None if key is None else self._keys.get(key)
            (passing if parked is None else parked).append(delivery)
        return passing

    def free_keys(self, nacks: Iterable[Nack]) -> list[Delivery]:
        """What was parked behind these, unless another retry still holds the key."""
        return self._free(dict.fromkeys(nack.delivery.expect().key for nack in nacks))

    def deliveries(self) -> list[Delivery]:
        """All that is here."""
        return [nack.delivery for _, _, nack in self._heap] + [one for parked in self._keys.values() for one in parked]

    def drop(self, lost: Sequence[Delivery]) -> list[Delivery]:
        """Forget these, another owner's now; returns what was parked behind them and is ours still."""
        if not lost:
            return []
        gone = set(lost)
        self._heap = [entry for entry in self._heap if entry[2].delivery not in gone]
        heapq.heapify(self._heap)
        for key, parked in self._keys.items():
            self._keys[key] = [delivery for delivery in parked if delivery not in gone]
        return self._free(dict.fromkeys(delivery.expect().key for delivery in lost))

    def _free(self, keys: Collection[str | None]) -> list[Delivery]:
        still = {nack.delivery.expect().key for _, _, nack in self._heap}
        return [one for key in keys if key is not None and key not in still for one in self._keys.pop(key, ())]
