"""What a dispatcher does when its queue is out of reach or full."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from queues.errors import ConfigurationError
from queues.fallback import SpillSettings, WhenFull

OnFull = Literal["wait", "spill", "inline", "drop_oldest"]
_WHEN_FULL: dict[OnFull, WhenFull] = {
    "wait": "refuse", "inline": "refuse", "spill": "spill", "drop_oldest": "drop_oldest"
}  # fmt: skip


def _a_spill(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{attribute.name}={value!r} is no directory; write a path")
    SpillSettings.read(value)


def _a_bool(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name}={value!r} is neither True nor False")


def _an_on_full(degradation: Degradation, attribute: Attribute[Any], value: Any) -> None:
    if value not in get_args(OnFull):
        raise ConfigurationError(f"{attribute.name}={value!r} is none of {', '.join(get_args(OnFull))}")
    if value == "spill" and degradation.spill is None:
        raise ConfigurationError("on_full='spill' needs a directory for it: Degradation(spill='shop-spill', …)")


def _an_alert(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise ConfigurationError(f"{attribute.name}={value!r} is no plain function of one argument, the new state")


@frozen
class Degradation:
    """How dispatching goes on while the queue takes no events: into the spill, else inline, else it raises.

    spill: a directory on a local disk, one a queue, made if need be. Events go there, accepted, and follow to the queue
    in order; each process has a file in it and finishes those of dead ones. It holds 100,000 events a process,
    `path?capacity=N` says otherwise; a full one refuses, or leaves it to `inline`. Duplicates: at most the events whose
    fate was unknown when the outage began, with their ids.

    inline: the handlers of this process run once, in the task that dispatches; what they raise, `dispatch` raises. Such
    an event overtakes those of its key that are in the queue or the spill.

    on_full: what becomes of an event for which the queue has no room: `wait` for it as long as dispatch may, then
    QueueFull; take it into the `spill`; run it `inline`; or `drop_oldest`, which makes what waits longest a dead
    letter, on channel:// or, with a spill, in that.

    on_change: called in the event loop with the new state: `direct`, `spilling`, `replaying`; without a spill `direct`
    or `failing`. It must not block; what it raises is logged. Raises ConfigurationError for what makes no sense.
    """

    spill: str | Path | None = field(default=None, validator=_a_spill)
    inline: bool = field(default=False, validator=_a_bool)
    on_full: OnFull = field(default="wait", validator=_an_on_full)
    on_change: Callable[[str], object] | None = field(default=None, validator=_an_alert)

    @property
    def runs_inline(self) -> bool:
        """Whether handlers may run in the task that dispatches."""
        return self.inline or self.on_full == "inline"

    @property
    def when_full(self) -> WhenFull:
        """What the fallback does with what finds no room in the queue."""
        return _WHEN_FULL[self.on_full]


NO_DEGRADATION = Degradation()
"""Dispatching waits, and raises."""
