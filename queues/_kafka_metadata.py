"""What is committed beside an offset: what is finished above it, and who may have died of what. Pure."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from attrs import frozen

LONGEST: Final = 4096
"""Characters that a broker takes (`offset.metadata.max.bytes`); one more, and it refuses the whole commit."""
_PREFIX = "n1:"
_MOST_BYTES = (LONGEST - len(_PREFIX)) // 5 * 4
MOST_RANGES: Final = _MOST_BYTES // 2
"""Of them in one note, at least two bytes each."""
_LARGEST = 2**63 - 1


class Range(NamedTuple):
    """Offsets from `start` up to, and without, `end`."""

    start: int
    end: int


class Suspicion(NamedTuple):
    """deaths: of owners that had this event running, or may have. running: it runs now, so its next one counts too."""

    deaths: int
    running: bool


@frozen
class Note:
    """What one owner of a partition tells the next one, above the committed offset.

    owned: somebody has the partition; still so when the next one reads it, that owner died. mark: what is below it may
    have been in flight at a death. reach: he has handed out nothing from this offset on. suspects: by offset. finished:
    in order. Of the two offsets, those at or below the committed one say nothing.
    """

    owned: bool = False
    mark: int = 0
    reach: int = 0
    suspects: Mapping[int, Suspicion] = {}
    finished: Sequence[Range] = ()


def encode(low: int, note: Note) -> tuple[str, bool]:
    """The text to commit at the offset `low`, and whether all ranges had room; what is cut off is run again by the next
    owner. Suspects go first, those who are blamed most before the others.
    """
    head = bytearray([note.owned])
    _put(head, max(0, note.mark - low))
    _put(head, max(0, note.reach - low))
    suspects = sorted(_worst((offset, one) for offset, one in note.suspects.items() if offset >= low))
    _put(head, len(suspects))
    at = low
    for offset, (deaths, running) in suspects:
        _put(head, offset - at)
        _put(head, deaths * 2 + running)
        at = offset
    at = low
    for start, end in note.finished:
        pair = bytearray()
        _put(pair, start - at)
        _put(pair, end - start)
        if len(head) + len(pair) > _MOST_BYTES:
            return _text(head), False
        head += pair
        at = end
    return _text(head), True


def decode(low: int, text: str | None) -> Note:
    """What `encode` made; an empty note for what somebody else wrote."""
    if text is None or not text.startswith(_PREFIX):
        return Note()
    try:
        numbers = _numbers(base64.b85decode(text[len(_PREFIX) :]))
        owned, mark, reach = bool(next(numbers)), next(numbers), next(numbers)
        suspects, at = {}, low
        for _ in range(next(numbers)):
            at += next(numbers)
            deaths = next(numbers)
            suspects[at] = Suspicion(deaths >> 1, bool(deaths & 1))
        return Note(owned, _above(low, mark), _above(low, reach), suspects, tuple(_ranges(low, numbers)))
    except (ValueError, binascii.Error, StopIteration):
        return Note()


def finished_of(text: str | None) -> int:
    """How many offsets above the committed one are finished: no longer part of a group's lag."""
    return sum(end - start for start, end in decode(0, text).finished)


def _worst(suspects: Iterable[tuple[int, Suspicion]]) -> list[tuple[int, Suspicion]]:
    """As many as have room whatever their numbers are."""
    return heapq.nlargest(_MOST_BYTES // 32, suspects, key=itemgetter(1))


def _above(low: int, distance: int) -> int:
    return low + distance if distance else 0


def _ranges(at: int, numbers: Iterator[int]) -> Iterator[Range]:
    for gap in numbers:
        start = at + gap
        at = start + next(numbers, 0)
        yield Range(start, at)


def _text(raw: bytearray) -> str:
    return _PREFIX + base64.b85encode(raw).decode("ascii")


def _put(raw: bytearray, number: int) -> None:
    """As a varint: seven bits a byte, the lowest first."""
    while number > 127:
        raw.append(number & 127 | 128)
        number >>= 7
    raw.append(number)


def _numbers(raw: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in raw:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            if number > _LARGEST:
                raise ValueError("no offset is as large as this")
            yield number
            number = shift = 0
