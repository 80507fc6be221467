"""The one error tree. Backends translate their client's errors into it; nothing else escapes a queue."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class NotificationError(Exception):
    """Everything this project raises on purpose."""


class ConfigurationError(NotificationError):
    """Something is set up wrong; the text says what and what to write instead. Raised before anything runs."""


class UnknownQueue(ConfigurationError):
    """No queue is registered for a URL's scheme."""


class MissingDependency(ConfigurationError):
    """An optional package is needed; the text names the extra to install."""


class UnknownEvent(NotificationError):
    """An object or a type name that no `@event` class stands for."""


class QueueError(NotificationError):
    """A queue could not do what was asked."""


class QueueFull(QueueError):
    """The queue is at its capacity, or too many callers already wait to dispatch. Nothing was stored."""


class QueueClosed(QueueError):
    """The queue or dispatcher was not opened yet, or is closed; the text says which."""


class QueueUnavailable(QueueError):
    """The queue could not be reached or could not store.

    `may_have_been_stored` is True when the answer was lost, so that the event may be in the queue all the same:
    dispatching it again with the same id is safe where the queue refuses a repeated id (`?dedup=SECONDS`).
    """

    def __init__(self, text: str, *, may_have_been_stored: bool = False) -> None:
        super().__init__(text)
        self.may_have_been_stored = may_have_been_stored


class CorruptMessage(QueueError):
    """Bytes that are no event of ours, or an event beyond the limits. The text is the reason."""


class Unsupported(QueueError):
    """This queue can't do that; the text names a queue or an option that can."""


class PushFailed(QueueError):
    """Some messages of a batch were not stored: `errors` maps their index in the batch to the reason.

    Every message whose index is not in `errors` was stored.
    """

    def __init__(self, errors: Mapping[int, QueueError]) -> None:
        first = next(iter(errors.values()), None)
        super().__init__(f"{len(errors)} message(s) were not stored; the first: {first}")
        self.errors: dict[int, QueueError] = dict(errors)


class HandlerSignal(NotificationError):
    """Raised by a handler to decide what happens next, instead of its retry policy."""


class RetryLater(HandlerSignal):
    """Run this handler again after `delay` seconds, whatever its policy says, for `reason`. It counts as an attempt.

    It is no failure: it is logged at DEBUG only.
    """

    def __init__(self, delay: float = 0.0, reason: str = "") -> None:
        super().__init__(reason or f"asked to run again in {delay:g} s")
        self.delay = delay


class Reject(HandlerSignal):
    """Put this event among the dead letters now, with `reason`. It is logged at ERROR, without a traceback."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


def escape(text: str, limit: int = 500) -> str:
    """Text from outside, safe for a log line or an error: control characters escaped, cut at `limit`."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
