"""Every setting there is, beside the queue: its name in a file, what it may be, and what it is when nobody says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, get_args

from attrs import frozen

from workers.retry import RetryPolicy

from ..settings import Unhandled
from .given import Given, Read, duration, flag, number, one_of, some_time, text, whole
from .naming import exceptions, function

LEVELS: Final = ("debug", "info", "warning", "error")
ON_FULL: Final = ("wait", "spill", "inline", "drop_oldest")
_RETRY: Final = RetryPolicy()


@frozen
class Known:
    """One setting. name: in a file, with a dot behind the table it stands in. read: from what is given to its value.

    kind: what may be given, for people. default: of the code. told: in place of a default of None. code: it names
    something to import, and so has no environment variable: whoever may set those need not be who may run code.
    in_queue: it may stand in the table of one queue, and then counts for that one.
    """

    name: str
    read: Read
    kind: str
    default: Any
    help: str
    told: str = ""
    code: bool = False
    in_queue: bool = True

    @property
    def variable(self) -> str | None:
        """The environment variable; None: it has none."""
        return None if self.code else f"NOTIFICATION_{self.name.upper().replace('.', '_')}"


def _factor(given: Given) -> float:
    value = number(given)
    if value < 1:
        raise given.wrong("must be 1 or more: waits don't become shorter")
    return value


_WHOLE, _TIME, _FLAG, _TEXT = "whole number", "duration", "true or false", "text"

SETTINGS: Final = (
    Known("workers", whole(1, 10_000), _WHOLE, 1, "events handled at a time in each process of `notification run`"),
    Known("log_level", one_of(LEVELS, warn="warning"), "level", "info", "what `notification run` logs",
          in_queue=False),
    Known("source", text, _TEXT, None, "the CloudEvents source of what is dispatched", "the program's name"),
    Known("prefetch", whole(1), _WHOLE, 1000, "the most events fetched ahead"),
    Known("handler_timeout", some_time, _TIME, 300.0, "how long a run of a handler may take"),
    Known("grace", duration, _TIME, 30.0, "how long stopping may take"),
    Known("hold", duration, _TIME, 60.0, "how long a failed event with a key keeps its place in the process"),
    Known("unhandled", one_of(get_args(Unhandled)), "word", "retry",
          "what becomes of an event that nobody handles: `retry`, `dead_letter` or `skip`"),
    Known("dead_letter", text, "queue", None, "where dead letters go: a URL, or a name from `[queues]`",
          "the queue's sibling"),
    Known("retry.attempts", whole(1), _WHOLE, _RETRY.attempts, "runs in all; 1 means never again"),
    Known("retry.initial", duration, _TIME, _RETRY.initial, "the wait before the second run"),
    Known("retry.factor", _factor, "number", _RETRY.factor, "each later wait is so many times longer"),
    Known("retry.max", duration, _TIME, _RETRY.max, "the longest wait"),
    Known("retry.jitter", flag, _FLAG, _RETRY.jitter, "a wait is anything between 0 and that"),
    Known("retry.within", duration, _TIME, None, "not tried again so long after the event's time", "for ever"),
    Known("retry.fatal", exceptions, "list of names", (), "exceptions that no retry can help: `shop.errors:BadAddress`",
          "none", code=True),
    Known("degradation.spill", text, "directory", None, "where events wait while the queue is out of reach", "nowhere"),
    Known("degradation.inline", flag, _FLAG, False, "handle an event in the caller when it can go nowhere else"),
    Known("degradation.on_full", one_of(ON_FULL), "word", "wait",
          "when the queue is full: `wait`, `spill`, `inline` or `drop_oldest`"),
    Known("degradation.on_change", function, "name", None, "called when that begins or ends: `shop.alerts:page`",
          "nothing", code=True),
)  # fmt: skip
BY_NAME: Final[Mapping[str, Known]] = {known.name: known for known in SETTINGS}
TABLES: Final = tuple(dict.fromkeys(known.name.partition(".")[0] for known in SETTINGS if "." in known.name))
"""Names of tables that settings stand in."""


def shown(value: Any) -> str | int | float | bool | None:
    """A value as it is listed: what is imported by its name."""
    if isinstance(value, list | tuple):
        return ", ".join(str(shown(part)) for part in value) or None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else value
    return f"{value.__module__}:{getattr(value, '__qualname__', type(value).__qualname__)}"


def in_words(known: Known | None, value: Any) -> str:
    """The same for people: durations have their unit."""
    plain = shown(value)
    if plain is None:
        return known.told if known is not None else ""
    if isinstance(plain, bool):
        return str(plain).lower()
    return f"{plain:g}s" if known is not None and known.kind == _TIME and isinstance(plain, int | float) else str(plain)
