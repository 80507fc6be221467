"""The books of a partition: what was delivered, what is finished, and the offset below which everything is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from attrs import define, field

from ._kafka_metadata import Note, Range, Suspicion, encode, runs


class Placed(Protocol):
    """Anything with an offset in its partition."""

    @property
    def offset(self) -> int: ...


_P = TypeVar("_P", bound=Placed)


@define(eq=False)
class Ledger:
    """One partition, for as long as it is assigned to us: another assignment is another ledger. Decides; does no I/O.

    Its methods are called from several threads, each under the lock of the consumer.

    low: the offset to commit; what is below is finished. high: the next offset that the broker will deliver. window:
    what was delivered from `low` on, in order; offsets have holes (transactions, compaction), so the next one is never
    reckoned. done: the finished ones among them. popped: handed out, not settled. mark: see `Note`. over: it is another
    owner's now. leaving: on its way there; nothing more is handed out. dirty: there is something new to commit.
    cut: the last note had no room for all that is finished.
    """

    low: int
    high: int
    mark: int = 0
    suspects: dict[int, Suspicion] = field(factory=dict)
    loaded: deque[Range] = field(factory=deque)
    window: deque[int] = field(factory=deque)
    done: set[int] = field(factory=set)
    popped: set[int] = field(factory=set)
    owned: bool = True
    over: bool = False
    leaving: bool = False
    dirty: bool = True
    cut: bool = False

    @classmethod
    def after(cls, low: int, note: Note, in_flight: int) -> Ledger:
        """Go on where the last owner stood. in_flight: how many he may have had in flight, if he died."""
        suspects = {
            offset: Suspicion(deaths + (note.owned and running), running=False)
            for offset, (deaths, running) in note.suspects.items()
        }
        mark = max(note.mark, low + in_flight if note.owned else 0)
        return cls(low, low, mark, suspects, deque(note.finished))

    @property
    def unfinished(self) -> int:
        """How many were delivered and are not finished."""
        return len(self.window) - len(self.done)

    def holds(self, offset: int) -> bool:
        """Whether it is handed out and ours."""
        return not self.over and offset in self.popped

    def times(self, offset: int) -> int:
        """Hand-outs, this one included, that we know of."""
        if (suspicion := self.suspects.get(offset)) is not None:
            return suspicion.deaths + 1
        return 2 if offset < self.mark else 1

    def deliver(self, records: Sequence[_P]) -> Sequence[_P]:
        """Note what the broker brought; returns those that are not finished yet."""
        if records[0].offset < self.low:
            self._begin_anew(records[0].offset)
        offsets = [record.offset for record in records]
        self.window.extend(offsets)
        self.high = offsets[-1] + 1
        if not self.loaded:
            return records
        finished = {offset for offset in offsets if self._is_loaded(offset)}
        self.done |= finished
        self._advance()
        return [record for record in records if record.offset not in finished]

    def reached(self, position: int) -> None:
        """The broker has nothing more below this position: what lies between was no event."""
        if position > self.high and not self.window:
            self.low = self.high = position
            self.dirty = True

    def take(self, offset: int) -> None:
        """Handed out."""
        self.popped.add(offset)

    def give_back(self, offset: int, *, settled: bool) -> bool:
        """Back here, to be handed out again. settled: by a nack, which begins its count anew. False: not ours."""
        if not self.holds(offset):
            return False
        self.popped.discard(offset)
        if offset in self.suspects or offset < self.mark:
            deaths = 0 if settled else self.times(offset) - 1
            self.suspects[offset] = Suspicion(deaths, running=False)
            self.dirty = True
        return True

    def finish(self, offset: int) -> bool:
        """Done with it. False: not ours."""
        if not self.holds(offset):
            return False
        self.popped.discard(offset)
        self.done.add(offset)
        self.dirty = True
        if self.window[0] == offset:
            self._advance()
        return True

    def pass_over(self, offset: int) -> None:
        """Done with it without handing it out."""
        self.popped.add(offset)
        self.finish(offset)

    def started(self, offset: int) -> bool:
        """It is about to run: a death from now on counts for it. False: not ours."""
        if not self.holds(offset):
            return False
        self.suspects[offset] = Suspicion(self.times(offset) - 1, running=True)
        self.dirty = True
        return True

    def commit(self, *, leaving: bool = False) -> tuple[int, str]:
        """The offset and the text to commit now. leaving: in good order, so whatever ran is not blamed."""
        suspects = self.suspects
        if leaving:
            suspects = {offset: Suspicion(one.deaths, running=False) for offset, one in suspects.items()}
        ahead = [Range(max(self.high, start), end) for start, end in self.loaded if end > self.high]
        finished = (*runs(sorted(self.done)), *ahead)
        note = Note(self.owned and not leaving, self.mark if self.mark > self.low else 0, suspects, finished)
        text, whole = encode(self.low, note)
        self.cut, self.dirty = not whole, False
        return self.low, text

    def _advance(self) -> None:
        window, done = self.window, self.done
        while window and window[0] in done:
            done.discard(window.popleft())
        self.low = window[0] if window else self.high
        self.dirty = True
        if self.suspects:
            self.suspects = {offset: one for offset, one in self.suspects.items() if offset >= self.low}

    def _is_loaded(self, offset: int) -> bool:
        while self.loaded and self.loaded[0].end <= offset:
            self.loaded.popleft()
        return bool(self.loaded) and self.loaded[0].start <= offset

    def _begin_anew(self, offset: int) -> None:
        """The topic was deleted and made again, or somebody has moved the group back: nothing we know is true."""
        self.low = self.high = offset
        self.mark, self.dirty = 0, True
        for memory in (self.window, self.done, self.popped, self.loaded, self.suspects):
            memory.clear()


def unfinished(ledgers: Iterable[Ledger]) -> int:
    """How many of all these were delivered and are not finished."""
    return sum(ledger.unfinished for ledger in ledgers)
