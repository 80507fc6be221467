"""What the owners of one channel share. Every method is synchronous: nothing can be cancelled half-way."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator

import attrs

from .base import QueueStats
from .clock import SYSTEM_CLOCK, Alarm, Clock
from .errors import Unsupported
from .message import EPOCH, Message


@attrs.define(eq=False)
class Entry:
    """A message with its place in the queue; the receipt of its delivery. `place` grows with every arrival."""

    place: int
    message: Message


@attrs.define
class Hold:
    """Who has unsettled deliveries of a key, and how many. `retrying`: a nacked head keeps everyone away until due."""

    owner: object = None
    count: int = 0
    retrying: int = 0
    parked: list[Entry] = attrs.field(factory=list)


class Bell:
    """Futures of those who wait; ringing wakes the first, and a woken one that gave up passes it on."""

    def __init__(self) -> None:
        self.waiters: deque[asyncio.Future[bool]] = deque()

    async def wait(self, clock: Clock, deadline: float | None) -> bool:
        """True when rung, False at the deadline. Cancel-safe: a ring is never lost."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        alarm = None
        if deadline is not None:
            alarm = clock.call_at(deadline, lambda: None if waiter.done() else waiter.set_result(False))
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.ring()
            raise
        finally:
            if alarm is not None:
                alarm.cancel()

    def ring(self, times: int = 1) -> None:
        """Wake up to `times` waiters, first come first served."""
        while self.waiters and times > 0:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                times -= 1

    def ring_all(self) -> None:
        """Wake everyone."""
        self.ring(len(self.waiters))


class ChannelState:
    """Waiting entries in order, delayed ones by due time, keys by holder."""

    def __init__(self) -> None:
        self.clock: Clock = SYSTEM_CLOCK
        self.arrivals, self.space, self.changes = Bell(), Bell(), Bell()
        self._waiting: deque[Entry] = deque()
        self._parked = 0
        self._delayed: list[tuple[float, int, Entry, bool]] = []
        self._alarm: tuple[float, Alarm] | None = None
        self._holds: dict[str, Hold] = {}
        self._unsettled = 0
        self._next = 0
        self._anew = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(self, loop: asyncio.AbstractEventLoop) -> None:
        """An owner opens the channel, in this event loop."""
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise Unsupported("a channel lives in one event loop; use sqlite:/// or redis:// between loops and threads")
        self._loop = loop
        self._set_alarm()

    def leave(self) -> None:
        """An owner has closed: everyone looks again, and the closed one finds out."""
        for bell in (self.arrivals, self.space, self.changes):
            bell.ring_all()

    def size(self) -> int:
        return len(self._waiting) + self._parked

    def stats(self) -> QueueStats:
        times = [entry.message.time for entry in self.after(-1) if entry.message.time is not EPOCH]
        oldest = max(0.0, self.clock.wall() - min(times).timestamp()) if times else None
        present = self.size() + self._unsettled + len(self._delayed)
        settled = self._next - self._anew - present
        return QueueStats(self.size(), self._unsettled, len(self._delayed), oldest_age=oldest, settled=settled)

    def after(self, place: int) -> list[Entry]:
        """The waiting entries behind a place, in order."""
        parked = [entry for hold in self._holds.values() for entry in hold.parked]
        return sorted((e for e in (*self._waiting, *parked) if e.place > place), key=lambda entry: entry.place)

    # -- in

    def add(self, message: Message) -> None:
        """A new message, at the tail or, with a time of its own, when it falls due."""
        entry = Entry(self._next, message)
        self._next += 1
        if message.not_before is not None and (left := message.not_before.timestamp() - self.clock.wall()) > 0:
            self._delay(self.clock.monotonic() + left, entry, retrying=False)
        else:
            self._append(entry)

    def _append_as_new(self, message: Message) -> None:
        self._append(Entry(self._next, message))
        self._next += 1
        self._anew += 1

    def put_back(self, entry: Entry, message: Message | None, due: float, delay: float) -> None:
        """A nacked entry: at its old place in its key, once due; keyless, at the tail."""
        if message is not None:
            entry = Entry(entry.place, message)
        key = entry.message.key
        if key is not None and delay > 0:
            self._holds[key].retrying += 1
        self.settle(entry)
        if delay > 0:
            self._delay(due, entry, retrying=key is not None)
        elif key is not None:
            self._insert([entry])
        else:
            self._append_as_new(entry.message)

    def release(self, entries: list[Entry]) -> None:
        """Back to the head, in order, unchanged."""
        for entry in entries:
            self.settle(entry)
        self._insert(entries)

    def _append(self, entry: Entry) -> None:
        self._waiting.append(entry)
        if self.arrivals.waiters:
            self.arrivals.ring()
        if self.changes.waiters:
            self.changes.ring_all()

    def _insert(self, entries: list[Entry]) -> None:
        """Back in line, each at its old place: they were at the head once, so only few are before them now."""
        if entries:
            last = max(entry.place for entry in entries)
            while self._waiting and self._waiting[0].place < last:
                entries.append(self._waiting.popleft())
            self._waiting.extendleft(sorted(entries, key=lambda entry: entry.place, reverse=True))
            self.arrivals.ring(len(entries))
            self.changes.ring_all()

    # -- out

    def claim(self, owner: object, limit: int) -> list[Entry]:
        """Up to `limit` entries from the head, leaving out keys that another owner or a retry holds."""
        claimed: list[Entry] = []
        waiting = self._waiting
        while waiting and len(claimed) < limit:
            entry = waiting.popleft()
            if entry.message.key is None or self._hold(owner, entry.message.key, entry):
                claimed.append(entry)
        self._unsettled += len(claimed)
        if claimed and self.size() > 0:
            self.arrivals.ring()
        self.space.ring(len(claimed))
        return claimed

    def _hold(self, owner: object, key: str, entry: Entry) -> bool:
        hold = self._holds.get(key)
        if hold is None:
            hold = self._holds[key] = Hold(owner)
        if hold.parked or hold.retrying or (hold.count and hold.owner is not owner):
            hold.parked.append(entry)
            self._parked += 1
            return False
        hold.owner = owner
        hold.count += 1
        return True

    def settle(self, entry: Entry) -> None:
        """Its hand-out is over: the key goes on to whoever waits for it."""
        self._unsettled -= 1
        key = entry.message.key
        if key is not None:
            hold = self._holds[key]
            hold.count -= 1
            self._unpark(key, hold)

    def _unpark(self, key: str, hold: Hold) -> None:
        if hold.count or hold.retrying:
            return
        del self._holds[key]
        self._parked -= len(hold.parked)
        self._insert(hold.parked)

    # -- later

    def _delay(self, due: float, entry: Entry, *, retrying: bool) -> None:
        heapq.heappush(self._delayed, (due, entry.place, entry, retrying))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if not self._delayed:
            return
        due = self._delayed[0][0]
        if self._alarm is not None:
            if self._alarm[0] == due:
                return
            self._alarm[1].cancel()
        self._alarm = (due, self.clock.call_at(due, self._promote))

    def _promote(self) -> None:
        self._alarm = None
        now = self.clock.monotonic()
        for entry, retrying in self._due(now):
            if retrying:
                assert entry.message.key is not None
                hold = self._holds[entry.message.key]
                hold.retrying -= 1
                hold.parked.append(entry)
                self._parked += 1
                self._unpark(entry.message.key, hold)
            else:
                self._append_as_new(entry.message)
        self._set_alarm()

    def _due(self, now: float) -> Iterator[tuple[Entry, bool]]:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, entry, retrying = heapq.heappop(self._delayed)
            yield entry, retrying
