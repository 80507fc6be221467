"""What a dispatcher is told once, checked at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from queues.base import MessageQueue
from queues.errors import ConfigurationError
from workers.retry import RetryPolicy

from .composing import check_source
from .context import Middleware
from .degradation import Degradation

Unhandled = Literal["retry", "dead_letter", "skip"]


def _seconds(_: object, attribute: Attribute[float], value: float) -> None:
    if not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{attribute.name}={value!r} is no time in seconds")


def _more_than_zero(_: object, attribute: Attribute[Any], value: float) -> None:
    if not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{attribute.name}={value!r} must be more than 0")


def _one_of_unhandled(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value not in get_args(Unhandled):
        raise ConfigurationError(f"{attribute.name}={value!r} is none of {', '.join(get_args(Unhandled))}")


def _a_source(_: object, attribute: Attribute[str], value: str) -> None:
    check_source(value)


def _a_degradation(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, Degradation):
        raise ConfigurationError(f"{attribute.name}={value!r} is no Degradation(spill=…, inline=…, on_full=…)")


@frozen(kw_only=True)
class Settings:
    """See `EventDispatcher`."""

    retry: RetryPolicy
    dead_letter: str | MessageQueue | None
    middleware: Sequence[Middleware]
    prefetch: int = field(validator=_more_than_zero)
    handler_timeout: float = field(validator=_more_than_zero)
    grace: float = field(validator=_seconds)
    hold: float = field(validator=_seconds)
    source: str = field(validator=_a_source)
    unhandled: Unhandled = field(validator=_one_of_unhandled)
    degradation: Degradation | None = field(default=None, validator=_a_degradation)
