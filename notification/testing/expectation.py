"""What a test expects of events, and what it is told when things were different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from queues.errors import ConfigurationError, CorruptMessage
from queues.message import Message
from queues.url import did_you_mean
from workers.outcome import describe

from ..event import EventSpec, spec_of_class
from ..handlers import read
from .recording import Dispatch, Record, Run

_MOST = 10
"""How many things a failure lists."""
_LONGEST = 160
"""Characters of an event that a failure shows; a longer one only shows the fields that were asked for."""


@frozen
class Wanted:
    """Events of one type whose fields have these values."""

    name: str
    spec: EventSpec | None
    fields: Mapping[str, object]

    @classmethod
    def of(cls, event: type[Any] | str, fields: Mapping[str, object]) -> Wanted:
        """Raises UnknownEvent for a class that is no event, ConfigurationError for a field that it does not have."""
        if isinstance(event, str):
            return cls(event, None, fields)
        spec = spec_of_class(event)
        known = spec.codec.fields
        for name in fields:
            if name not in known:
                hint = did_you_mean(name, known) or f"; it has {', '.join(known) or 'none'}"
                raise ConfigurationError(f"{spec.cls.__name__} has no field {name!r}{hint}")
        return cls(spec.name, spec, fields)

    def event_in(self, message: Message) -> Any:
        """The event as an instance of the class; for a type name, the message."""
        return message if self.spec is None else read(message, self.spec)

    def is_met_by(self, message: Message) -> bool:
        """Whether the message is of the type and has the values."""
        if message.type != self.name:
            return False
        if not self.fields:
            return True
        values = self._values(message)
        return all(name in values and bool(values[name] == value) for name, value in self.fields.items())

    def _values(self, message: Message) -> Mapping[str, Any]:
        if self.spec is None:
            return message.data if isinstance(message.data, dict) else {}
        try:
            event = read(message, self.spec)
        except CorruptMessage:
            return {}
        return {name: getattr(event, name) for name in self.spec.codec.fields}

    def shown(self, message: Message) -> str:
        """An event of the type, or, where that is long, its fields that were asked for."""
        try:
            event = self.event_in(message)
        except CorruptMessage as error:
            return f"{self._name} that can't be read ({error})"
        text = repr(event) if self.spec is not None else f"{self._name} {message.data!r}"
        if len(text) <= _LONGEST:
            return text
        if not self.fields:
            return f"{text[:_LONGEST]}…"
        values = self._values(message)
        return self._with({name: values[name] for name in self.fields if name in values}, more=True)

    def __str__(self) -> str:
        return self._with(self.fields)

    @property
    def _name(self) -> str:
        return self.spec.cls.__name__ if self.spec is not None else repr(self.name)

    def _with(self, values: Mapping[str, object], *, more: bool = False) -> str:
        listed = [f"{name}={_short(value)}" for name, value in values.items()] + (["…"] if more else [])
        return f"{self._name}({', '.join(listed)})" if listed else self._name


def met(found: Sequence[object], times: int | None) -> bool:
    """Whether there is one, or exactly `times`. Raises ConfigurationError for a number that asserts nothing."""
    if times is not None and times < 1:
        raise ConfigurationError(f"times={times!r} is less than 1; write assert_not_dispatched(), or look at the list")
    return bool(found) if times is None else len(found) == times


def check_handler(name: str | None, known: Sequence[str]) -> None:
    """Raise ConfigurationError for a handler that is not registered."""
    if name is not None and name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
        raise ConfigurationError(f"no handler is named {name!r}{hint}")


# -- what is said


def of_dispatches(wanted: Wanted, found: Sequence[Dispatch], all_: Sequence[Dispatch], times: int | None) -> str:
    """It was not dispatched, or not as often."""
    if found:
        return _counted(wanted, "dispatched", len(found), times, (wanted.shown(each.message) for each in found))
    alike = [wanted.shown(each.message) for each in all_ if each.message.type == wanted.name]
    others = alike or _types(each.message for each in all_)
    return f"{wanted} was not dispatched; " + (_listed("dispatched", others) if others else "nothing was")


def unwanted(wanted: Wanted, found: Sequence[Dispatch]) -> str:
    """It was dispatched, and should not have been."""
    return f"{wanted} was dispatched{_list([wanted.shown(each.message) for each in found])}"


def of_runs(
    wanted: Wanted, handler: str | None, found: Sequence[Run], *, runs: Sequence[Run], record: Record,
    times: int | None,
) -> str:  # fmt: skip
    """No run of it ended well, or not as many."""
    by = f" by {handler!r}" if handler is not None else ""
    if found:
        return _counted(wanted, f"handled{by}", len(found), times, (_run(wanted, run) for run in found))
    said = f"{wanted} was not handled{by}; "
    if runs:
        return f"{said}its runs were{_list([_run(wanted, run) for run in runs])}"
    if letters := [letter for letter in record.dead if wanted.is_met_by(letter)]:
        return f"{said}no run of it is over; {_listed('dead', [_letter(wanted, letter) for letter in letters])}"
    if any(wanted.is_met_by(each.message) for each in record.dispatched):
        return f"{said}it was dispatched, and no run of it is over: await settle(), or advance the clock"
    return said + of_dispatches(wanted, (), record.dispatched, None).partition("; ")[2]


def of_letters(
    wanted: Wanted, reason: str | None, handler: str | None, found: Sequence[Message], *, letters: Sequence[Message],
    times: int | None,
) -> str:  # fmt: skip
    """It did not die, or not of this, or not as often."""
    of = (f" of {reason!r}" if reason is not None else "") + (f" in {handler!r}" if handler is not None else "")
    if found:
        return _counted(wanted, f"dead{of}", len(found), times, (_letter(wanted, letter) for letter in found))
    alike = [_letter(wanted, letter) for letter in letters if letter.type == wanted.name]
    others = alike or _types(letters)
    return f"{wanted} is not dead{of}; " + (_listed("dead", others) if others else "nothing is")


def _counted(wanted: Wanted, was: str, count: int, times: int | None, shown: Iterable[str]) -> str:
    return f"{wanted} was {was} {_times(count)}, not {_times(times or 1)}{_list(list(shown))}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _run(wanted: Wanted, run: Run) -> str:
    how = "ended well" if run.error is None else f"failed: {describe(run.error)}"
    return f"run {run.attempt} of {run.handler} for {wanted.shown(run.message)} {how}"


def _letter(wanted: Wanted, letter: Message) -> str:
    dead = letter.dead
    assert dead is not None
    where = f" in {dead.handler}" if dead.handler else ""
    return f"{wanted.shown(letter)} ({dead.reason}{where}: {dead.error})"


def _types(messages: Iterable[Message]) -> list[str]:
    return [f"{count} of type {name}" for name, count in Counter(message.type for message in messages).items()]


def _listed(was: str, items: Sequence[str]) -> str:
    return f"{was} were{_list(items)}" if was != "dead" else f"dead are{_list(items)}"


def _list(items: Sequence[str]) -> str:
    """One thing behind the colon, several below it."""
    if len(items) == 1:
        return f": {items[0]}"
    more = [f"… and {len(items) - _MOST} more"] if len(items) > _MOST else []
    return ":\n  " + "\n  ".join([*items[:_MOST], *more])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
