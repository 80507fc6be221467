"""Order by key inside one process: events of a key never run at once, and a failed one holds those behind it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from queues.clock import Alarm, Clock
from queues.message import Delivery, Message

from .guests import Guests

KeyOf = Callable[[Message], str | None]


class Lanes:
    """What was fetched and waits for a worker: `ready` to run now, or in its key's lane behind another.

    A key is in `_lanes` from the moment one of its events is ready until none is left. A retry stays at the head of
    its lane until due, with its changed message.
    """

    def __init__(self, clock: Clock, key_of: KeyOf, wake: Callable[[], None]) -> None:
        self.ready: deque[Delivery] = deque()
        self.changed: dict[Delivery, float] = {}
        """Heads whose message a retry changed, with when they are due."""
        self.returning: set[str] = set()
        """Keys that the queue is being given back at this moment: no fetch may begin, it could bring them in part."""
        self._shut: dict[str, list[Delivery] | None] = {}
        """Keys on their way back to the queue, with what arrived of them meanwhile; None: they are back."""
        self._clock = clock
        self._key_of = key_of
        self._wake = wake
        self._lanes: dict[str, deque[Delivery] | None] = {}
        self._guests = Guests()
        self._waiting: list[tuple[float, int, Delivery]] = []
        self._alarm: Alarm | None = None
        self._serial = 0

    def __len__(self) -> int:
        return len(self.ready) + sum(len(lane) for lane in self._lanes.values() if lane) + len(self._waiting)

    def add(self, delivery: Delivery) -> bool:
        """Take in one delivery. False: it may have overtaken others of its key, and has to go back."""
        message = delivery.message
        key = self._key_of(message) if message is not None else None
        if key is None:
            self.ready.append(delivery)
        elif key in self._lanes:
            lane = self._lanes[key]
            if lane is None:
                lane = self._lanes[key] = deque()
            lane.append(delivery)
        elif key in self._shut:
            late = self._shut[key]
            if late is None:
                return False
            late.append(delivery)
        else:
            self._lanes[key] = None
            self.ready.append(delivery)
        return True

    def next(self, delivery: Delivery) -> None:
        """This delivery is over: the next of its key is ready."""
        if self.changed:
            self.changed.pop(delivery, None)
        message = delivery.message
        key = self._key_of(message) if message is not None else None
        if key is None:
            return
        lane = self._lanes.get(key)
        if lane and self._guests.first_in(lane):
            return
        if lane:
            self.ready.append(lane.popleft())
        else:
            self._lanes.pop(key, None)

    # -- runs that are no worker's

    async def turn(self, guest: Delivery, *, wait: bool = True) -> bool:
        """Wait until nothing of its key runs or is before it: then it runs, outside of the workers, and `leave` is due.

        False: its key goes back to the queue, or it would have to `wait`: it may not run. Cancel-safe: then it was
        never there.
        """
        key = self._key_of(guest.expect())
        if key is None:
            return True
        if key in self._lanes:
            if not wait:
                return False
            lane = self._lanes[key] = self._lanes[key] or deque()
            return await self._guests.wait(guest, lane, self.leave)
        if key in self._shut:
            return False
        self._lanes[key] = None
        return True

    def leave(self, guest: Delivery) -> None:
        """Its run is over."""
        self.next(guest)
        self._wake()

    # -- retries

    def keyed(self, message: Message) -> bool:
        """Whether this message waits its turn in a lane."""
        return self._key_of(message) is not None

    def hold(self, delivery: Delivery, message: Message, delay: float) -> None:
        """Run this head again, as `message`, after `delay` seconds; those behind it wait."""
        due = self._clock.monotonic() + delay
        delivery.message = message
        self.changed[delivery] = due
        self._serial += 1
        heapq.heappush(self._waiting, (due, self._serial, delivery))
        self._set_alarm()

    def clear(self, delivery: Delivery) -> list[Delivery]:
        """This head goes back to the queue: shut its lane until `reopen`, and return those behind it, in order."""
        key = self._key(delivery)
        self._shut[key] = []
        if self.changed.pop(delivery, None) is not None:
            self._waiting = [one for one in self._waiting if one[2] is not delivery]
            heapq.heapify(self._waiting)
        lane = self._lanes.pop(key, None)
        return self._guests.sent_away(lane) if lane else []

    def late(self, head: Delivery) -> list[Delivery]:
        """What arrived of this key since it was shut and has to follow; once there is none, `reopen` it."""
        key = self._key(head)
        late, self._shut[key] = self._shut.get(key), []
        return late or []

    @contextmanager
    def giving_back(self, head: Delivery) -> Iterator[None]:
        """While the queue is told: no fetch begins."""
        key = self._key(head)
        self.returning.add(key)
        try:
            yield
        finally:
            self.returning.discard(key)

    def reopen(self, head: Delivery) -> None:
        """The queue has it all back. The lane opens with the next fetch: one on its way may still bring its key."""
        self._shut[self._key(head)] = None

    def refuse(self, deliveries: Iterable[Delivery]) -> list[list[Delivery]]:
        """Those that `add` did not take, by key and in order. Their keys are shut again until `reopen`."""
        by_key: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_key.setdefault(self._key(delivery), []).append(delivery)
        for key in by_key:
            self._shut[key] = []
            self.returning.add(key)
        return list(by_key.values())

    def fetching(self) -> None:
        """A new fetch begins: what it brings of a key that is back comes after what went back."""
        if self._shut:
            self._shut = {key: late for key, late in self._shut.items() if late is not None}

    def _key(self, delivery: Delivery) -> str:
        key = self._key_of(delivery.expect())
        assert key is not None
        return key

    def most_crowded(self) -> Delivery | None:
        """The head that waits for its retry with the most behind it; None when nothing waits behind one."""
        lengths = {head: len(self._lanes[self._key(head)] or ()) for _, _, head in self._waiting}
        crowded = max(lengths, key=lengths.__getitem__, default=None)
        return crowded if crowded is not None and lengths[crowded] else None

    def drain(self) -> tuple[list[Delivery], list[Delivery]]:
        """At the end: those whose message was changed by a retry, and all others not started, both in order."""
        if self._alarm is not None:
            self._alarm.cancel()
        heads = [delivery for _, _, delivery in sorted(self._waiting)]
        behind = [delivery for lane in self._lanes.values() if lane for delivery in lane]
        rest = list(self.ready) + self._guests.sent_away(behind)
        self.ready.clear()
        self._waiting.clear()
        for key, lane in self._lanes.items():
            if lane:
                self._lanes[key] = None
        changed = heads + [delivery for delivery in rest if delivery in self.changed]
        return changed, [delivery for delivery in rest if delivery not in self.changed]

    def changed_message(self, delivery: Delivery) -> Message | None:
        """Its message, if a retry changed it since it was handed out."""
        return delivery.message if delivery in self.changed else None

    def remaining(self, delivery: Delivery) -> float:
        """Seconds until a changed head is due."""
        return max(0.0, self.changed.get(delivery, 0.0) - self._clock.monotonic())

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._waiting[0][0], self._promote) if self._waiting else None

    def _promote(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self.ready.append(heapq.heappop(self._waiting)[2])
        self._set_alarm()
        self._wake()
