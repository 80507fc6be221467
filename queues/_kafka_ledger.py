"""The books of a partition: what was delivered, what is finished, and the offset below which everything is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from attrs import define, field

from ._kafka_metadata import MOST_RANGES, Note, Range, Suspicion, encode


class Placed(Protocol):
    """Anything with an offset in its partition."""

    @property
    def offset(self) -> int: ...


_P = TypeVar("_P", bound=Placed)
_ALLOWANCE = 200
"""Offsets ahead of what is handed out that a note allows, at least; twice as many as were handed out since the last."""


@define(eq=False)
class Ledger:
    """One partition, for as long as it is assigned to us: another assignment is another ledger. Decides; does no I/O.

    Its methods are called from several threads, each under the lock of the consumer.

    partition: its number. low: the offset to commit; what is below is finished. high: the next offset that the broker
    will deliver. left: what was delivered and is not finished; whatever else lies between `low` and `high` is finished,
    or a hole (transactions, compaction), so the next offset is never reckoned. window: `left` in order, and no more
    than as many that left it. popped: handed out, not settled, each with the `serial` number of its last hand-out.
    mark: see `Note`. allowed: nothing is handed out from here on, before the broker has accepted a note with a larger
    `reach`, so that no death is overlooked; promised: the one of the last note. over: it is another owner's now.
    leaving: on its way there; nothing more is handed out. dirty: there is something new to commit. cut: the last note
    had no room for all that is finished. member: whom the group knew us as when this was opened.
    """

    low: int
    high: int
    mark: int = 0
    suspects: dict[int, Suspicion] = field(factory=dict)
    loaded: deque[Range] = field(factory=deque)
    window: deque[int] = field(factory=deque)
    left: set[int] = field(factory=set)
    popped: dict[int, int] = field(factory=dict)
    allowed: int = 0
    promised: int = 0
    owned: bool = True
    over: bool = False
    leaving: bool = False
    dirty: bool = True
    cut: bool = False
    member: str = ""
    partition: int = -1
    serial: int = 0
    _wanted: int = 0
    _taken: int = 0

    @classmethod
    def after(cls, low: int, note: Note) -> Ledger:
        """Go on where the last owner stood."""
        suspects = {
            # one that nobody was blamed for is run without `started`, so its owner's death counts as it is
            offset: Suspicion(deaths + (note.owned and (running or not deaths)), running=False)
            for offset, (deaths, running) in note.suspects.items()
        }
        mark = max(note.mark, note.reach) if note.owned else note.mark
        return cls(low, low, mark, suspects, deque(note.finished))

    @property
    def unfinished(self) -> int:
        """How many were delivered and are not finished."""
        return len(self.left)

    def holds(self, offset: int, serial: int = 0) -> bool:
        """Whether it is handed out and ours. serial: by this hand-out; 0: by any."""
        return not self.over and offset in self.popped and serial in {0, self.popped[offset]}

    def times(self, offset: int) -> int:
        """Hand-outs, this one included, that we know of."""
        if (suspicion := self.suspects.get(offset)) is not None:
            return suspicion.deaths + 1
        return 2 if offset < self.mark else 1

    def deliver(self, records: Sequence[_P]) -> Sequence[_P]:
        """Note what the broker brought; returns those that are not finished yet."""
        if records[0].offset < self.high:
            self._go_back(records[0].offset)
        self.high = records[-1].offset + 1
        if self.loaded:
            records = [record for record in records if not self._is_loaded(record.offset)]
        offsets = [record.offset for record in records]
        self.window.extend(offsets)
        self.left.update(offsets)
        self._advance()
        return records

    def reached(self, position: int) -> None:
        """The broker delivers from this position on: what lies before it was no event."""
        if position < self.high:
            self._go_back(position)
        elif position > self.high and not self.left:
            self.low = self.high = position
            self.dirty = True

    def may_take(self, offset: int) -> bool:
        """Whether this one may be handed out now; else the next note will allow it."""
        if offset >= self._wanted:
            self._wanted = offset + 1
            if self._wanted > self.allowed - _ALLOWANCE // 2:
                self.dirty = True
        return offset < self.allowed

    def take(self, offset: int) -> int:
        """Handed out; returns the serial number of that."""
        self.serial += 1
        self.popped[offset] = self.serial
        self._taken += 1
        return self.serial

    def give_back(self, offset: int, serial: int = 0, *, settled: bool) -> bool:
        """Back here, to be handed out again. settled: by a nack, which begins its count anew. False: not ours."""
        if not self.holds(offset, serial):
            return False
        del self.popped[offset]
        if settled and (offset in self.suspects or offset < self.mark):
            self._suspect(offset, Suspicion(0, running=False))
        elif offset in self.suspects:
            self._suspect(offset, self.suspects[offset]._replace(running=False))
        return True

    def finish(self, offset: int, serial: int = 0) -> bool:
        """Done with it. False: not ours."""
        if not self.holds(offset, serial):
            return False
        del self.popped[offset]
        self.left.discard(offset)
        self.suspects.pop(offset, None)
        self.dirty = True
        if self.window[0] == offset:
            self._advance()
        return True

    def pass_over(self, offset: int) -> None:
        """Done with it without handing it out."""
        self.popped[offset] = 0
        self.finish(offset)

    def started(self, offset: int, serial: int = 0) -> bool:
        """It is about to run: a death from now on counts for it. False: not ours."""
        if not self.holds(offset, serial):
            return False
        self._suspect(offset, Suspicion(self.times(offset) - 1, running=True))
        return True

    def commit(self, *, leaving: bool = False) -> tuple[int, str]:
        """The offset and the text to commit now. leaving: in good order, so whatever ran is not blamed."""
        self.promised = max(self._wanted, self.low) + max(_ALLOWANCE, 2 * self._taken)
        self._taken = 0
        note = Note(
            owned=self.owned and not leaving, mark=max(self.mark, self.low), reach=self.promised,
            suspects=self.suspects, finished=tuple(islice(self._finished(), MOST_RANGES + 1)),
        )  # fmt: skip
        text, whole = encode(self.low, note)
        self.cut, self.dirty = not whole, False
        return self.low, text

    def _finished(self) -> Iterator[Range]:
        """Between what is left, and what the last owner had finished of what did not come yet."""
        if len(self.window) > 2 * len(self.left):
            self.window = deque(offset for offset in self.window if offset in self.left)
        at = self.low
        for offset in self.window:
            if offset in self.left:
                if offset > at:
                    yield Range(at, offset)
                at = offset + 1
        if self.high > at:
            yield Range(at, self.high)
        for start, end in self.loaded:
            if end > self.high:
                yield Range(max(self.high, start), end)

    def _suspect(self, offset: int, suspicion: Suspicion) -> None:
        self.suspects[offset] = suspicion
        self.dirty = True

    def _advance(self) -> None:
        window, left = self.window, self.left
        while window and window[0] not in left:
            window.popleft()
        low = window[0] if window else self.high
        if low != self.low:
            self.low, self.dirty = low, True

    def _is_loaded(self, offset: int) -> bool:
        while self.loaded and self.loaded[0].end <= offset:
            self.loaded.popleft()
        return bool(self.loaded) and self.loaded[0].start <= offset

    def _go_back(self, offset: int) -> None:
        """The broker delivers from here once more, because the topic was made anew, or has lost its end, or somebody
        has moved the group back: what we know from there on is not true.
        """
        self.window = deque(one for one in self.window if one < offset)
        self.loaded = deque(Range(start, min(end, offset)) for start, end in self.loaded if start < offset)
        self.left &= set(self.window)
        self.popped = {one: serial for one, serial in self.popped.items() if one < offset}
        self.suspects = {one: suspicion for one, suspicion in self.suspects.items() if one < offset}
        self.low, self.high, self.mark = min(self.low, offset), offset, min(self.mark, offset)
        self._wanted, self.allowed = min(self._wanted, offset), min(self.allowed, offset)
        self.dirty = True


def unfinished(ledgers: Iterable[Ledger]) -> int:
    """How many of all these were delivered and are not finished."""
    return sum(ledger.unfinished for ledger in ledgers)
