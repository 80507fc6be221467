"""Dead letters on the screen: one a line, in groups, or one in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum

import orjson
from attrs import define, field

from queues.clock import SYSTEM_CLOCK
from queues.message import EPOCH, Message

from .letters import cause_of, death_of, died_at
from .screen import count, duration, moment, say, show_pairs, show_table


class By(StrEnum):
    """What dead letters are grouped by."""

    cause = "cause"
    type = "type"


@define
class Group:
    """Letters that died alike: how many, when the first and the last died, and what the last one died of."""

    number: int
    oldest: datetime
    newest: datetime
    error: str


@define
class Groups:
    """Letters, counted by type, or by type and cause."""

    by: By
    found: dict[tuple[str, ...], Group] = field(factory=dict)

    def add(self, letter: Message) -> None:
        """Count one more."""
        name = (letter.type, cause_of(letter)) if self.by is By.cause else (letter.type,)
        at, error = died_at(letter), death_of(letter).error
        group = self.found.get(name)
        if group is None:
            self.found[name] = Group(1, at, at, error)
            return
        group.number += 1
        group.oldest = min(group.oldest, at)
        if at >= group.newest:
            group.newest, group.error = at, error

    @property
    def number(self) -> int:
        """Of all letters."""
        return sum(group.number for group in self.found.values())

    def show(self) -> None:
        """The largest group first."""
        now = SYSTEM_CLOCK.now()
        names = ("TYPE", "CAUSE") if self.by is By.cause else ("TYPE",)
        show_table(
            ("COUNT", *names, "NEWEST", "OLDEST", "LAST ERROR"),
            [
                (f"{group.number:,}", *name, _ago(group.newest, now), _ago(group.oldest, now), group.error)
                for name, group in self._in_order()
            ],
        )

    def lines(self) -> Iterator[str]:
        """A JSON object each."""
        for name, group in self._in_order():
            names = dict(zip(("type", "cause"), name, strict=False))
            times = {"oldest": group.oldest, "newest": group.newest}
            yield orjson.dumps({**names, "count": group.number, **times, "last_error": group.error}).decode()

    def _in_order(self) -> list[tuple[tuple[str, ...], Group]]:
        return sorted(self.found.items(), key=lambda item: -item[1].number)


def show_letters(letters: Sequence[Message]) -> None:
    """One a line; ids are never cut."""
    now = SYSTEM_CLOCK.now()
    show_table(
        ("ID", "TYPE", "CAUSE", "AGE", "HANDLER", "ERROR"),
        [
            (m.id, m.type, cause_of(m), _ago(died_at(m), now), death_of(m).handler or "-", death_of(m).error)
            for m in letters
        ],
    )


def show_letter(letter: Message) -> None:
    """All there is to know about one."""
    show_pairs(_facts(letter))
    data = letter.data
    say(data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else pretty(data))


def pretty(data: object) -> str:
    """JSON as people like to read it."""
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()


def kinds(types: Counter[str]) -> str:
    """The types there are, the most frequent first: `order.shipped (9), order.placed (1)`."""
    shown = [f"{name} ({number:,})" for name, number in types.most_common(5)]
    return ", ".join([*shown, *(["…"] if len(types) > len(shown) else [])])


def _facts(letter: Message) -> Iterator[tuple[str, str]]:
    death = death_of(letter)
    yield "id", letter.id
    yield "type", letter.type
    yield "died", f"{moment(died_at(letter))}, {_ago(died_at(letter), SYSTEM_CLOCK.now())} ago"
    runs = f", after {count(death.attempts, 'run')}" if death.attempts else ""
    yield "reason", death.reason + runs + (f", in {death.handler}" if death.handler else "")
    yield "error", death.error or "-"
    if letter.first_error and letter.first_error != death.error:
        yield "first error", letter.first_error
    if death.origin:
        place = f", at {death.position}" if death.position else ""
        yield "queue", death.origin + place + (f", group {death.group}" if death.group else "")
    if letter.time is not EPOCH:
        yield "dispatched", f"{moment(letter.time)} by {letter.source}"
    if letter.key is not None:
        yield "key", letter.key
    yield from letter.headers.items()
    yield "data", ""


def _ago(at: datetime, now: datetime) -> str:
    return "-" if at is EPOCH else duration((now - at).total_seconds())
