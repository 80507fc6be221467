"""What happens next to an event whose handler failed: again after a while, or never."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tenacity
from attrs import field, frozen

from queues.errors import ConfigurationError, Reject, RetryLater


@frozen
class Again:
    """Run it again after `delay` seconds."""

    delay: float


Verdict = Again | str
"""Again, or the one word why the event is dead."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _at_least(minimum: float) -> Callable[[object, Any, Any], None]:
    def check(_: object, attribute: Any, value: Any) -> None:
        if not (_is_number(value) and value >= minimum):
            raise ConfigurationError(f"RetryPolicy({attribute.name}={value!r}) must be a number from {minimum:g} up")

    return check


def _whole(_: object, attribute: Any, value: Any) -> None:
    if type(value) is not int:
        raise ConfigurationError(f"RetryPolicy({attribute.name}={value!r}) must be a whole number")


def _seconds_or_none(_: object, attribute: Any, value: Any) -> None:
    if value is not None:
        _at_least(0)(_, attribute, value)


def _exceptions(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(t, type) and issubclass(t, BaseException) for t in value):
        raise ConfigurationError(
            f"RetryPolicy({attribute.name}={value!r}) must be a tuple of exception classes, like (ValueError,)"
        )


@frozen
class RetryPolicy:
    """How often and when a failed handler runs again.

    attempts: runs in all, 1 means never again. initial: seconds before the second run, each later wait `factor` times
    longer, at most `max`; with `jitter` a wait is anything between 0 and that. fatal: exceptions that no retry can
    help. within: seconds since the event's time after which it is not tried again.
    """

    attempts: int = field(default=5, validator=[_whole, _at_least(1)])
    initial: float = field(default=1.0, validator=_at_least(0))
    factor: float = field(default=2.0, validator=_at_least(1))
    max: float = field(default=60.0, validator=_at_least(0))
    jitter: bool = True
    fatal: tuple[type[BaseException], ...] = field(default=(), validator=_exceptions)
    within: float | None = field(default=None, validator=_seconds_or_none)
    _tenacity: tenacity.Retrying = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        wait = tenacity.wait_random_exponential if self.jitter else tenacity.wait_exponential
        settings = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=wait(multiplier=self.initial, exp_base=self.factor, max=self.max),
            retry=tenacity.retry_if_not_exception_type(self.fatal),
        )
        object.__setattr__(self, "_tenacity", settings)

    def decide(self, error: BaseException, attempt: int, age: float) -> Verdict:
        """What to do after run number `attempt` of an event that is `age` seconds old ended with `error`."""
        if isinstance(error, Reject):
            return "rejected"
        if isinstance(error, RetryLater) and _is_number(error.delay):
            return "expired" if self._expires(age + error.delay) else Again(max(0.0, error.delay))
        state = tenacity.RetryCallState(self._tenacity, None, (), {})
        state.attempt_number = attempt
        state.set_exception((type(error), error, error.__traceback__))
        if not self._tenacity.retry(state):
            return "fatal"
        if self._tenacity.stop(state):
            return "attempts"
        delay = self._tenacity.wait(state)
        return "expired" if self._expires(age + delay) else Again(delay)

    def _expires(self, age: float) -> bool:
        return self.within is not None and age > self.within
